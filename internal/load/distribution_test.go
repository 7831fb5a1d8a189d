package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestExact(t *testing.T) {
	var values []time.Duration
	for i := range 1000 {
		values = append(values, time.Duration(1000-i)*time.Millisecond)
	}
	d := exact(values)
	for _, f := range []struct {
		name      string
		got, want float64
	}{
		{"mean", seconds(t, d.Mean), 0.5005}, {"p50", seconds(t, d.P50), 0.5}, {"p90", seconds(t, d.P90), 0.9}, {"p95", seconds(t, d.P95), 0.95},
		{"p99", seconds(t, d.P99), 0.99}, {"max", seconds(t, d.Max), 1}, {"low", seconds(t, d.P99Interval[0]), 0.983}, {"high", seconds(t, d.P99Interval[1]), 0.997},
	} {
		if math.Abs(f.got-f.want) > 1e-9 {
			t.Errorf("%s is %v, want %v", f.name, f.got, f.want)
		}
	}
	if *d.Count != 1000 {
		t.Errorf("count %d", *d.Count)
	}
	if d := exact(nil); *d.Count != 0 || d.Mean != nil || d.P99 != nil || d.Max != nil || d.P99Interval != nil {
		t.Errorf("of nothing: %+v", d)
	}
	if d := exact([]time.Duration{time.Second}); seconds(t, d.P50) != 1 || seconds(t, d.P99) != 1 || d.P99Interval[1] != nil {
		t.Errorf("of one: %+v", d)
	}
}

// The ranks are the narrowest whose binomial tails are at most 2.5 %.
func TestQuantileRanks(t *testing.T) {
	for _, n := range []int{1, 2, 10, 100, 367, 368, 500, 1000, 20_000} {
		low, high := quantileRanks(n, 0.99, 0.95)
		below := func(k int) float64 { // P(B < k), summed from the other end than quantileRanks does
			p := 1.0
			for i := n; i >= k; i-- {
				p -= binomial(n, i, 0.99)
			}
			return p
		}
		if low < 1 || below(low) > 0.025+1e-9 || low < n && below(low+1) <= 0.025-1e-9 {
			t.Errorf("%d observations: the lower rank is %d", n, low)
		}
		if (high > 0) != (n >= 368) { // 0.99^368 < 0.025
			t.Errorf("%d observations: the upper rank is %d", n, high)
		}
		if high > 0 && (1-below(high) > 0.025+1e-9 || 1-below(high-1) <= 0.025-1e-9) {
			t.Errorf("%d observations: the upper rank is %d", n, high)
		}
		if r := rank(n, 0.99); r < low || high > 0 && r > high {
			t.Errorf("%d observations: the percentile's rank %d is not between %d and %d", n, r, low, high)
		}
	}
}

// In at least 95 % of samples, the interval holds the distribution's own percentile.
func TestIntervalCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	const rounds, n = 2000, 1000
	truth := -math.Log(0.01) // of the exponential distribution
	low, high := quantileRanks(n, 0.99, 0.95)
	held := 0
	values := make([]float64, n)
	for range rounds {
		for i := range values {
			values[i] = rng.ExpFloat64()
		}
		slices.Sort(values)
		if values[low-1] <= truth && truth <= values[high-1] {
			held++
		}
	}
	if share := float64(held) / rounds; share < 0.94 || share > 0.985 {
		t.Errorf("the interval holds the percentile in %.3f of the samples", share)
	}
}

// The histogram's percentiles are those of the values, to four digits.
func TestGapHistogram(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	g := newGapHistogram()
	var values []time.Duration
	for range 50_000 {
		values = append(values, time.Duration(20e6*math.Exp(0.7*rng.NormFloat64())))
	}
	values = append(values, 0, 3*time.Hour)
	g.add(values[:100])
	g.add(values[100:])
	got, want := g.distribution(), exact(values)
	if *got.Count != *want.Count || got.P99Interval != nil {
		t.Errorf("%+v", got)
	}
	for i, pair := range [][2]float64{
		{seconds(t, got.P50), seconds(t, want.P50)}, {seconds(t, got.P90), seconds(t, want.P90)}, {seconds(t, got.P95), seconds(t, want.P95)},
		{seconds(t, got.P99), seconds(t, want.P99)}, {seconds(t, got.Mean), seconds(t, want.Mean)}, {seconds(t, got.Max), seconds(t, want.Max)},
	} {
		if math.Abs(pair[0]/pair[1]-1) > 1e-4 {
			t.Errorf("figure %d: %v, want %v", i, pair[0], pair[1])
		}
	}
	if d := newGapHistogram().distribution(); *d.Count != 0 || d.P50 != nil {
		t.Errorf("of nothing: %+v", d)
	}
}
