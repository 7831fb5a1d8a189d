package compare

import (
	"cmp"
	"io"
	"math"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/internal/stats"
	"github.com/vobs/vobs/schema"
)

// Noise is how much a metric varies between equal runs, and what that hides.
type Noise struct {
	Name string      `json:"name"`
	Unit schema.Unit `json:"unit"`
	Runs int         `json:"runs"`
	// Median of all runs.
	Median *float64 `json:"median"`
	// Variation is the standard deviation between runs, relative to their level.
	Variation *float64 `json:"variation"`
	// Detectable is the smallest relative change that as many pairs find with a
	// probability of 0.8; null if there are too few to find any.
	Detectable *float64 `json:"detectable"`
}

// NoiseOf returns the noise of the metrics over pairs of equal runs. Metrics that are null
// or not above 0 are left out.
func NoiseOf(base, new []*Run, opt Options) []Noise {
	pairs := pairsOf(base, new)
	alpha := cmp.Or(opt.Alpha, DefaultAlpha) / float64(max(1, GatedNoisy(opt.Metrics)))
	var out []Noise
	for i, m := range opt.Metrics {
		x, y := numbers(base, i), numbers(new, i)
		all := append(append([]float64{}, x...), y...)
		if len(all) == 0 || len(all) < len(base)+len(new) {
			continue
		}
		n := Noise{Name: m.Name, Unit: m.Unit, Runs: len(all)}
		middle := median(all)
		n.Median = &middle
		logs := make([]float64, len(all))
		positive := true
		for k, v := range all {
			positive = positive && v > 0
			logs[k] = math.Log(v)
		}
		if !positive {
			continue
		}
		if sd := deviation(logs); !math.IsNaN(sd) {
			v := math.Expm1(sd)
			n.Variation = &v
		}
		var differences []float64
		for _, p := range pairs {
			differences = append(differences, math.Log(p[1].value(i)/p[0].value(i)))
		}
		tolerance := -math.Log1p(-min(0.9, max(m.Relative, m.Absolute/middle)))
		if d := detectable(len(differences), deviation(differences), alpha, tolerance); !math.IsNaN(d) && !math.IsInf(d, 0) {
			d = math.Expm1(d)
			n.Detectable = &d
		}
		out = append(out, n)
	}
	return out
}

// GatedNoisy returns the number of gated metrics that a test decides.
func GatedNoisy(metrics []Metric) int {
	n := 0
	for _, m := range metrics {
		if m.Gated && m.Kind == Noisy {
			n++
		}
	}
	return n
}

// MinPairs returns how many pairs it takes at least to decide the gated metrics.
func MinPairs(metrics []Metric, alpha float64) int {
	n := GatedNoisy(metrics)
	if n == 0 {
		return 1
	}
	return stats.MinPairs(alpha / float64(n))
}

// detectable returns the smallest difference of logarithms that as many pairs call a regression
// with a probability of 0.8: it must be significant, and the estimate must exceed the tolerance.
// sd is the standard deviation of the differences of pairs.
func detectable(pairs int, sd, alpha, tolerance float64) float64 {
	normal := func(p float64) float64 { return stats.StudentQuantile(p, 1_000_000) }
	d := stats.DetectableByPairs(pairs, sd, alpha, power)
	if pairs == stats.MinPairs(alpha) { // all differences must have the same sign
		d = max(d, sd*normal(math.Pow(power, 1/float64(pairs))))
	}
	// The estimate's standard error, by the efficiency of the rank test (3/π).
	return max(d, tolerance+normal(power)*sd*math.Sqrt(math.Pi/3/float64(pairs)))
}

// DetectableChange returns the smallest relative change that a number of pairs finds with a
// probability of 0.8, if equal runs vary by a share of their level.
func DetectableChange(pairs int, variation, alpha float64, metrics []Metric) float64 {
	alpha /= float64(max(1, GatedNoisy(metrics)))
	return math.Expm1(detectable(pairs, math.Sqrt2*math.Log1p(variation), alpha, -math.Log1p(-noisyTolerance)))
}

// WriteNoise writes the noise of metrics as a table.
func WriteNoise(w io.Writer, noise []Noise, f render.Format, text render.TextOptions) error {
	t := &render.Table{Columns: []render.Column{
		{Key: "name", Title: "metric"}, {Key: "runs", Right: true}, {Key: "median", Right: true},
		{Key: "variation", Title: "runs vary by", Right: true}, {Key: "detectable", Title: "a change is found from", Right: true},
	}}
	for _, n := range noise {
		t.Add(render.String(n.Name), count(&n.Runs), amount(n.Median, n.Unit), shareCell(n.Variation), shareCell(n.Detectable))
	}
	return t.Write(w, f, text)
}
