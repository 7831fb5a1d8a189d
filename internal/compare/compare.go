package compare

import (
	"cmp"
	"math"
	"slices"

	"github.com/vobs/vobs/schema"
)

// Verdict is the answer for one metric, or for the whole comparison.
type Verdict string

// The verdicts.
const (
	Regression   Verdict = "regression"   // the new side is worse, beyond the tolerances
	Improvement  Verdict = "improvement"  // it is better, beyond the tolerances
	Changed      Verdict = "changed"      // it differs, beyond the tolerances, and neither direction is better
	Equivalent   Verdict = "equivalent"   // any change is within the tolerances
	Inconclusive Verdict = "inconclusive" // the runs do not decide it
	Missing      Verdict = "missing"      // one side or both have no value
	Incomparable Verdict = "incomparable" // the sides differ in what must be alike
)

const (
	// DefaultAlpha is how often equal sides are called a regression or an improvement.
	DefaultAlpha = 0.05
	// equivalenceLevel is the level of the interval that must lie within the tolerances: two
	// one-sided tests at 5 %.
	equivalenceLevel = 0.9
	// power is how likely a regression of the size of the tolerance should be found.
	power = 0.8
)

// Options of a comparison.
type Options struct {
	Metrics []Metric
	// Alpha is how often equal sides may be called a regression or an improvement; 0: [DefaultAlpha].
	Alpha float64
	// Ignore lists conditions that may differ, as gpus.driver_version or engine.config.
	Ignore []string
	// Treatment reports that the runs come from vobs ab: what the command lines differ in,
	// the servers that they name included, is what is compared.
	Treatment bool
	// History are earlier runs. They tell how far sessions differ by chance.
	History []*Run
}

// Sample summarises one side of a metric.
type Sample struct {
	N      int      `json:"n"`
	Median *float64 `json:"median"`
	Low    *float64 `json:"low"`
	High   *float64 `json:"high"`
}

// Comparison is the result for one metric. Changes are relative to the base's median; they
// are null if that is 0.
type Comparison struct {
	Name      string           `json:"name"`
	Unit      schema.Unit      `json:"unit"`
	Direction schema.Direction `json:"direction"`
	Kind      Kind             `json:"kind"`
	Gated     bool             `json:"gated"`
	Base      Sample           `json:"base"`
	New       Sample           `json:"new"`
	// Tolerance is the change, relative to the base's median, that is not large yet; null if
	// that median is 0.
	Tolerance  *float64 `json:"tolerance"`
	Change     *float64 `json:"change"`
	ChangeLow  *float64 `json:"change_low"`
	ChangeHigh *float64 `json:"change_high"`
	// P is the probability of so large a difference between equal sides, after Holm's
	// correction if the metric is gated; null for a metric that has no test.
	P       *float64 `json:"p"`
	Verdict Verdict  `json:"verdict"`
	Reason  string   `json:"reason"`
	// RunsNeeded is how many runs a side would probably decide an inconclusive metric.
	RunsNeeded *int `json:"runs_needed"`
	// History is what earlier runs tell; null without any.
	History *History `json:"history"`
}

// Result is the answer to whether the new runs are better than the base.
type Result struct {
	Verdict       Verdict      `json:"verdict"`
	Reasons       []string     `json:"reasons"`
	BaseRuns      int          `json:"base_runs"`
	NewRuns       int          `json:"new_runs"`
	Comparability []Difference `json:"comparability"`
	Order         Order        `json:"order"`
	Paired        bool         `json:"paired"`
	// HistoryLeftOut is how many runs of the history were made in other conditions.
	HistoryLeftOut int          `json:"history_left_out"`
	Metrics        []Comparison `json:"metrics"`
}

// Compare compares two sets of runs, whose values are those of the metrics in opt. Neither
// set may be empty.
func Compare(base, new []*Run, opt Options) *Result {
	opt.Alpha = cmp.Or(opt.Alpha, DefaultAlpha)
	base, new = byTime(base), byTime(new)
	all := [][]*Run{base, new, opt.History}
	settleRates(all, opt.Metrics)
	settleShares(all, opt.Metrics)
	r := &Result{
		Reasons: []string{}, Metrics: []Comparison{}, BaseRuns: len(base), NewRuns: len(new),
		Comparability: differences(base, new, opt.Treatment, opt.Ignore),
		Order:         orderOf(base, new),
	}
	if r.Comparability == nil {
		r.Comparability = []Difference{}
	}
	pairs := pairsOf(base, new)
	r.Paired = pairs != nil
	history := alike(opt.History, base)
	r.HistoryLeftOut = len(opt.History) - len(history)
	sessions := sessionsOf(history)
	tests := make([]test, len(opt.Metrics))
	for i, m := range opt.Metrics {
		tests[i] = newTest(m, i, base, new, pairs)
		tests[i].History = historyOf(sessions, new, i, opt.Alpha)
	}
	correct(tests, opt.Alpha)
	for i := range tests {
		r.Metrics = append(r.Metrics, tests[i].decide(opt.Alpha, r.Order))
	}
	r.conclude(opt.Metrics)
	return r
}

func byTime(runs []*Run) []*Run {
	runs = slices.Clone(runs)
	slices.SortStableFunc(runs, func(a, b *Run) int {
		return cmp.Or(cmp.Compare(a.started, b.started), cmp.Compare(*a.source, *b.source))
	})
	return runs
}

// settleRates makes rates alike: if those of some runs are over the whole window, because their
// active time is not resolved, all of them are.
func settleRates(all [][]*Run, metrics []Metric) {
	index := slices.IndexFunc(conditions, func(c condition) bool { return c.field == over })
	if !contains(all, func(r *Run) bool { return r.facts[index] == "window" }) {
		return
	}
	for i, m := range metrics {
		if m.count == "" {
			continue
		}
		for _, runs := range all {
			for _, r := range runs {
				if rate := r.get(lowOf(i)); !math.IsNaN(rate) {
					r.set(valueOf(i), rate)
				}
			}
		}
	}
}

// settleShares makes shares of requests exact for runs whose bucket below the limit is empty,
// which are those of an engine that counts up to that limit.
func settleShares(all [][]*Run, metrics []Metric) {
	for i, m := range metrics {
		if m.limit == 0 {
			continue
		}
		isBound := contains(all, func(r *Run) bool { return r.isBound[i] })
		for _, runs := range all {
			for _, r := range runs {
				low := r.get(lowOf(i))
				if isBound && !math.IsNaN(low) {
					r.set(highOf(i), low)
				}
				if low == r.get(highOf(i)) {
					r.set(valueOf(i), low)
				}
			}
		}
	}
}

func contains(all [][]*Run, f func(*Run) bool) bool {
	return slices.ContainsFunc(all, func(runs []*Run) bool { return slices.ContainsFunc(runs, f) })
}

// numbers returns the values of one metric that are not null.
func numbers(runs []*Run, metric int) []float64 {
	xs := make([]float64, 0, len(runs))
	for _, r := range runs {
		if x := r.value(metric); !math.IsNaN(x) {
			xs = append(xs, x)
		}
	}
	return xs
}

// pairsOf returns the pairs of runs with the same pair label, or nil if some run has none. The
// labels of several vobs ab repeat: their runs are paired in the order of time.
func pairsOf(base, new []*Run) [][2]*Run {
	if len(base) != len(new) {
		return nil
	}
	// The base's runs that wait for theirs are lists: first has the index in base of the first
	// run of each pair, and next that of the run after another, both from 1.
	first, next := map[uint64]int{}, make([]int, len(base))
	for i, r := range slices.Backward(base) {
		if r.pair == 0 {
			return nil
		}
		next[i], first[r.pair] = first[r.pair], i+1
	}
	pairs := make([][2]*Run, 0, len(new))
	for _, r := range new {
		i := first[r.pair] - 1
		if i < 0 {
			return nil
		}
		pairs = append(pairs, [2]*Run{base[i], r})
		first[r.pair] = next[i]
	}
	return pairs
}
