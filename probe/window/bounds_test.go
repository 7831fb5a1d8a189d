package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// histogramOver returns the histogram of values over bucket bounds.
func histogramOver(values, bounds []float64) Histogram {
	h := Histogram{Count: float64(len(values))}
	for _, b := range append(slices.Clone(bounds), math.Inf(1)) {
		n := 0
		for _, v := range values {
			if v <= b {
				n++
			}
		}
		h.Buckets = append(h.Buckets, Bucket{b, float64(n)})
	}
	for _, v := range values {
		h.Sum += v
	}
	return h
}

// vLLM's own bucket bounds for latencies of requests (vllm/v1/metrics/loggers.py).
var requestBounds = []float64{0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}

// The true quantile lies within the bounds, whatever the distribution, the buckets and
// the number of observations.
func TestQuantileBoundsHold(t *testing.T) {
	const seed = 13
	rng := rand.New(rand.NewPCG(seed, 0))
	shapes := map[string]func() float64{
		"exponential": func() float64 { return rng.ExpFloat64() * 0.7 },
		"tiny":        func() float64 { return rng.Float64() * 3e-5 },
		"lognormal":   func() float64 { return math.Exp(2 * rng.NormFloat64()) },
		"two points":  func() float64 { return []float64{0.001, 9}[rng.IntN(2)] },
		"on bounds":   func() float64 { return requestBounds[rng.IntN(len(requestBounds))] },
		"beyond":      func() float64 { return 7000 + 3000*rng.Float64() },
		"zero":        func() float64 { return 0 },
	}
	layouts := map[string][]float64{"requests": requestBounds, "one": {1}, "fine": {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}, "none": nil}
	narrower := 0
	for name, draw := range shapes {
		for layout, bounds := range layouts {
			for range 200 {
				values := make([]float64, 1+rng.IntN(300))
				for i := range values {
					values[i] = draw()
				}
				h := histogramOver(values, bounds)
				slices.Sort(values)
				for _, q := range []float64{0.5, 0.9, 0.95, 0.99} {
					truth := values[int(math.Ceil(q*float64(len(values))))-1]
					b, ok := h.QuantileBounds(q)
					if !ok || truth < b.Low-1e-12 || truth > b.High+1e-12 {
						t.Fatalf("seed %d, %s over %s: the %v-quantile of %d values is %v, bounds %v", seed, name, layout, q, len(values), truth, b)
					}
					if i := slices.IndexFunc(h.Buckets, func(x Bucket) bool { return x.UpperBound >= b.High }); b.High < h.Buckets[i].UpperBound {
						narrower++
					}
				}
			}
		}
	}
	if narrower < 1000 {
		t.Errorf("the sum narrowed only %d intervals", narrower)
	}
}

func TestQuantileBounds(t *testing.T) {
	inf := math.Inf(1)
	first := func(count, sum float64) Histogram {
		return Histogram{Count: count, Sum: sum, Buckets: []Bucket{{0.3, count}, {0.5, count}, {inf, count}}}
	}
	for _, c := range []struct {
		name string
		h    Histogram
		q    float64
		want Bounds
	}{
		// 80 requests of a real engine: request_queue_time of 0.00133 s in all.
		{"far below the first bound, p50", first(80, 0.00133), 0.5, Bounds{0, 0.00003325}},
		{"far below the first bound, p99", first(80, 0.00133), 0.99, Bounds{0, 0.0016625}},
		{"a sum of 0", first(80, 0), 0.99, Bounds{0, 0}},
		{"no buckets", Histogram{Count: 10, Sum: 20}, 0.9, Bounds{0, 20}},
		{"the bucket alone", Histogram{Count: 4, Sum: 3, Buckets: []Bucket{{0.5, 1}, {1, 4}, {inf, 4}}}, 0.5, Bounds{0.5, 1}},
		{"beyond the last bound", Histogram{Count: 2, Sum: 30, Buckets: []Bucket{{1, 1}, {inf, 2}}}, 0.9, Bounds{1, 146}},
		{"buckets of another instant", Histogram{Count: 3, Sum: 0, Buckets: []Bucket{{1, 2}, {inf, 2}}}, 0.5, Bounds{0, 1}},
	} {
		got, ok := c.h.QuantileBounds(c.q)
		near := func(a, b float64) bool { return a == b || math.Abs(a-b) <= 1e-6*math.Max(math.Abs(a), math.Abs(b)) }
		if !ok || !near(got.Low, c.want.Low) || !near(got.High, c.want.High) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for _, h := range []Histogram{{}, {Count: -1, Sum: 1}, {Count: 1, Sum: math.NaN()}} {
		if b, ok := h.QuantileBounds(0.5); ok {
			t.Errorf("%v: bounds %v of nothing", h, b)
		}
	}
}

func ExampleHistogram_QuantileBounds() {
	h := Histogram{Count: 80, Sum: 0.00133, Buckets: []Bucket{{0.3, 80}, {math.Inf(1), 80}}}
	b, _ := h.QuantileBounds(0.99)
	fmt.Printf("%.2g to %.3g s\n", b.Low, b.High)
	// Output: 0 to 0.00166 s
}
