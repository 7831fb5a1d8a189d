package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/internal/stats"
	"github.com/vobs/vobs/schema"
)

// maxRunsNeeded is the most runs that are worth naming.
const maxRunsNeeded = 100_000

// A test is the comparison of one metric before it is decided.
type test struct {
	Comparison
	metric    Metric
	p         float64 // NaN if there is no test
	threshold float64 // that p must not exceed
	absolute  float64 // the change in the metric's unit
	large     bool    // the change exceeds both tolerances
	small     bool    // the interval of the change lies within the tolerances
	sd        float64 // between equal runs, in the unit of effect; NaN if unknown
	effect    float64 // the change that should be found: the tolerance, as sd is measured
	n         int     // runs a side, or pairs
	paired    bool
}

func newTest(m Metric, index int, base, new []*Run, pairs [][2]*Run) test {
	x, y := numbers(base, index), numbers(new, index)
	t := test{metric: m, p: math.NaN(), sd: math.NaN(), Comparison: Comparison{
		Name: m.Name, Unit: m.Unit, Direction: m.Better, Kind: m.Kind, Gated: m.Gated, Base: sampleOf(x), New: sampleOf(y),
	}}
	switch {
	case len(x) == 0 && len(y) == 0:
		t.Reason = "null on both sides" + because(base, index)
	case len(x) == 0:
		t.Reason = "null in the base" + because(base, index)
	case len(y) == 0:
		t.Reason = "null in the new runs" + because(new, index)
	case m.Kind == Noisy:
		t.rank(x, y, pairs, index)
	default:
		t.byExtremes(x, y)
	}
	if nulls := len(base) + len(new) - len(x) - len(y); nulls > 0 && t.Reason == "" {
		t.Reason = fmt.Sprintf("null in %d of %d runs%s", nulls, len(base)+len(new), because(slices.Concat(base, new), index))
	}
	return t
}

// because returns the most common reason why a metric is null.
func because(runs []*Run, metric int) string {
	count := map[string]int{}
	most := ""
	for _, r := range runs {
		if !math.IsNaN(r.value(metric)) {
			continue
		}
		if why := r.whyNull(metric); why != "" {
			if count[why]++; count[why] > count[most] || most == "" {
				most = why
			}
		}
	}
	if most == "" {
		return ""
	}
	return ": " + most
}

func sampleOf(xs []float64) Sample {
	if len(xs) == 0 {
		return Sample{}
	}
	m, low, high := median(xs), slices.Min(xs), slices.Max(xs)
	return Sample{N: len(xs), Median: &m, Low: &low, High: &high}
}

func median(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	xs = slices.Sorted(slices.Values(xs))
	n := len(xs)
	return xs[(n-1)/2]/2 + xs[n/2]/2
}

// byExtremes compares a metric that hardly varies: by its median or by the worst of its values,
// whichever changed more. A peak that only some runs reach matters too.
func (t *test) byExtremes(x, y []float64) {
	base, shift := median(x), median(y)-median(x)
	worst := slices.Max[[]float64]
	if t.metric.Better == schema.HigherIsBetter {
		worst = slices.Min[[]float64]
	}
	if s := worst(y) - worst(x); math.Abs(s) > math.Abs(shift) {
		base, shift = worst(x), s
	}
	t.change(base, shift, shift, shift)
	t.ChangeLow, t.ChangeHigh = nil, nil
}

// rank compares a noisy metric by ranks: ratios if all values are above 0, else differences.
func (t *test) rank(x, y []float64, pairs [][2]*Run, index int) {
	base := median(x)
	logs := slices.Min(x) > 0 && slices.Min(y) > 0
	scale := func(v float64) float64 {
		if logs {
			return math.Log(v)
		}
		return v
	}
	for _, values := range [][]float64{x, y} {
		for i := range values {
			values[i] = scale(values[i])
		}
	}
	var differences []float64
	for _, p := range pairs {
		if b, n := p[0].value(index), p[1].value(index); !math.IsNaN(b) && !math.IsNaN(n) {
			differences = append(differences, scale(n)-scale(b))
		}
	}
	var interval stats.Interval
	if t.paired = len(differences) > 0; t.paired {
		t.n = len(differences)
		t.p = stats.SignedRank(differences).P
		interval = stats.PairedShift(differences, 1-equivalenceLevel)
		t.sd = deviation(differences)
	} else {
		t.n = min(len(x), len(y))
		t.p = stats.MannWhitney(x, y).P
		interval = stats.Shift(x, y, 1-equivalenceLevel)
		t.sd = deviation(x, y)
	}
	for _, bound := range []*float64{&interval.Low, &interval.High} {
		if math.IsInf(*bound, 0) {
			*bound = math.NaN() // there are too few runs for an interval
		}
	}
	tolerance := t.tolerance(base)
	if !logs {
		t.effect = tolerance
		t.change(base, interval.Estimate, interval.Low, interval.High)
		return
	}
	t.effect = math.Log1p(tolerance / base)
	t.change(base, base*math.Expm1(interval.Estimate), base*math.Expm1(interval.Low), base*math.Expm1(interval.High))
}

// deviation returns the standard deviation within groups of values: NaN if none has two.
func deviation(groups ...[]float64) float64 {
	squares, freedom := 0.0, 0
	for _, xs := range groups {
		mean := 0.0
		for _, x := range xs {
			mean += x / float64(len(xs))
		}
		for _, x := range xs {
			squares += (x - mean) * (x - mean)
		}
		freedom += max(0, len(xs)-1)
	}
	if freedom == 0 {
		return math.NaN()
	}
	return math.Sqrt(squares / float64(freedom))
}

// tolerance returns by how much the metric may change, in its unit.
func (t *test) tolerance(base float64) float64 {
	return max(t.metric.Relative*math.Abs(base), t.metric.Absolute)
}

// toleranceText returns the tolerance that is the larger one.
func (t *test) toleranceText() string {
	if t.Base.Median != nil && *t.Base.Median != 0 {
		return fmt.Sprintf("%.2g %%", 100*t.tolerance(*t.Base.Median)/math.Abs(*t.Base.Median))
	}
	return amount(&t.metric.Absolute, t.Unit).Text
}

// change records a change of the base's median and its interval, in the metric's unit.
func (t *test) change(base, shift, low, high float64) {
	tolerance := t.tolerance(base)
	t.absolute = shift
	t.large = math.Abs(shift) > tolerance
	t.small = low >= -tolerance && high <= tolerance
	if base == 0 {
		return
	}
	relative := func(x float64) *float64 {
		if x /= math.Abs(base); math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	t.Tolerance = relative(tolerance)
	t.Change, t.ChangeLow, t.ChangeHigh = relative(shift), relative(low), relative(high)
}

// correct sets the p values that the tests are decided by: gated ones share the risk of a
// false alarm.
func correct(tests []test, alpha float64) {
	var gated []int
	var ps []float64
	for i := range tests {
		t := &tests[i]
		if math.IsNaN(t.p) {
			continue
		}
		t.P, t.threshold = &t.p, alpha
		if t.Gated {
			gated, ps = append(gated, i), append(ps, t.p)
		}
	}
	for k, p := range stats.Holm(ps) {
		tests[gated[k]].P = &p
		tests[gated[k]].threshold = alpha / float64(len(ps)) // for how many runs it takes: the worst case
	}
}

// decide returns the comparison with its verdict.
func (t *test) decide(alpha float64, order Order) Comparison {
	c := t.Comparison
	switch {
	case c.Base.N == 0 || c.New.N == 0:
		c.Verdict = Missing
	case t.metric.Kind != Noisy:
		c.Verdict = Equivalent
		if t.large {
			c.Verdict = t.direction()
		}
	case !order.Interleaved && !t.History.exceeds(*c.Base.Median, t.absolute):
		c.Verdict = Inconclusive
		c.Reason = "the runs of the two sides were not interleaved, so that whatever drifted in between may explain any change: interleave them with vobs ab"
		if h := c.History; h != nil && h.Low == nil {
			c.Reason += fmt.Sprintf(" (the history has %d sessions and %d runs: it takes %d and %d to know how far sessions differ by chance)", h.Sessions, h.Runs, minSessions, minHistoryRuns)
		}
		if c.Base.N == 1 && c.New.N == 1 {
			c.Reason = "one run on each side cannot tell a change from noise: interleave several with vobs ab"
		}
	case *t.P <= alpha && t.large:
		c.Verdict = t.direction()
	case t.small:
		c.Verdict = Equivalent
	default:
		c.Verdict = Inconclusive
		c.Reason = "the runs vary too much for their number"
		if *t.P <= alpha {
			c.Reason = fmt.Sprintf("it changed, but the runs leave open whether by more than the tolerance (%s)", t.toleranceText())
		}
		smallest, needed := stats.MinRuns, stats.RunsNeeded
		if t.paired {
			smallest, needed = stats.MinPairs, stats.PairsNeeded
		}
		if need := smallest(t.threshold); t.n < need {
			c.Reason = render.Count(t.n, "run") + " on each side can show nothing at this level"
			c.RunsNeeded = &need
		}
		// With no spread at all, more runs would change nothing.
		if n := needed(t.effect, t.sd, t.threshold, power); t.sd > 0 && t.effect > 0 && n > t.n && n < maxRunsNeeded {
			c.RunsNeeded = &n
		}
	}
	return c
}

// direction returns what a large change is.
func (t *test) direction() Verdict {
	switch {
	case t.metric.Better == schema.NeitherBetter || t.metric.Better == "":
		return Changed
	case t.absolute > 0 == (t.metric.Better == schema.HigherIsBetter):
		return Improvement
	}
	return Regression
}

// conclude sets the verdict of the whole comparison: the worst of what is gated.
func (r *Result) conclude(metrics []Metric) {
	reason := func(format string, args ...any) { r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...)) }
	for _, d := range r.Comparability {
		if d.Severity == Matters {
			reason("%s differs: %s against %s", d.Field, d.Base, d.New)
		}
	}
	if len(r.Reasons) > 0 {
		r.Verdict = Incomparable
		return
	}
	var found []Verdict // of the gated metrics; "" if it is not gated
	decided := false
	for i, c := range r.Metrics {
		verdict := Verdict("")
		switch {
		case !c.Gated || c.Verdict == Missing && c.Base.N == 0 && c.New.N == 0 && !metrics[i].Requested:
			// A run without GPUs has no peak of their memory.
		case c.Verdict == Missing:
			verdict = Inconclusive
		default:
			verdict = c.Verdict
			// The peak of memory alone does not tell which side is better.
			decided = decided || c.Kind == Noisy || metrics[i].Requested
		}
		found = append(found, verdict)
	}
	r.Verdict = Equivalent
	for _, v := range []Verdict{Regression, Changed, Inconclusive, Improvement} {
		if slices.Contains(found, v) {
			r.Verdict = v
			break
		}
	}
	for i, c := range r.Metrics {
		switch {
		case found[i] != r.Verdict || r.Verdict == Equivalent:
		case r.Verdict == Inconclusive:
			reason("%s: %s", c.Name, c.Reason)
		default:
			reason("%s", describeChange(c))
		}
	}
	if !decided && r.Verdict != Regression {
		if r.Verdict != Inconclusive {
			r.Reasons = []string{}
		}
		r.Verdict = Inconclusive
		reason("no gated metric that varies from run to run has values: gate one that the events have, as --metric duration")
	}
}

func describeChange(c Comparison) string {
	s := c.Name + " changed"
	if c.Change != nil {
		s = c.Name + " " + signed(*c.Change)
	}
	if c.P != nil {
		s += fmt.Sprintf(" (p %.2g)", *c.P)
	}
	return s
}
