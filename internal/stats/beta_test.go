package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The incomplete beta function agrees with the sum of the binomial distribution.
func TestBinomial(t *testing.T) {
	for _, n := range []int{1, 2, 10, 137, 1000} {
		for _, p := range []float64{0.001, 0.01, 0.3, 0.95} {
			sum := 0.0
			for k := 0; k < n; k++ {
				a, _ := math.Lgamma(float64(n + 1))
				b, _ := math.Lgamma(float64(k + 1))
				c, _ := math.Lgamma(float64(n - k + 1))
				sum += math.Exp(a - b - c + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
				atMost, atLeast := BinomialAtMost(float64(k), float64(n), p), BinomialAtLeast(float64(k+1), float64(n), p)
				if math.Abs(atMost-sum) > 1e-9 || math.Abs(atLeast-(1-sum)) > 1e-9 {
					t.Fatalf("n=%d p=%v k=%d: %v and %v, expected %v", n, p, k, atMost, atLeast, sum)
				}
			}
		}
	}
	if BinomialAtLeast(0, 10, 0.1) != 1 || BinomialAtMost(10, 10, 0.1) != 1 || Beta(0, 1, 1) != 0 || Beta(1, 1, 1) != 1 {
		t.Error("ends")
	}
}

// MLPerf's early stopping needs 459 queries within a 99th percentile, and none beyond, for 99 %
// confidence: the smallest n for which 0.99^n <= 0.01.
func TestMLPerfMinimum(t *testing.T) {
	n := 1.0
	for BinomialAtMost(0, n, 0.01) > 0.01 {
		n++
	}
	if n != 459 {
		t.Errorf("%v queries, expected 459", n)
	}
}

func TestBinomialBounds(t *testing.T) {
	// The textbook example of 10 successes in 100 trials: 4.90 % to 17.62 %.
	if low, high := BinomialBounds(10, 100, 0.05); math.Abs(low-0.0490) > 5e-5 || math.Abs(high-0.1762) > 5e-5 {
		t.Errorf("%v to %v", low, high)
	}
	if low, high := BinomialBounds(0, 50, 0.05); low != 0 || math.Abs(high-(1-math.Pow(0.025, 0.02))) > 1e-9 {
		t.Errorf("%v to %v", low, high)
	}
}

// An autoregressive series has the variance inflation (1+r)/(1-r); independent values none.
func TestInflation(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, r := range []float64{0, 0.5, 0.8} {
		sum, trials := 0.0, 200
		for range trials {
			series, x := make([]float64, 3000), 0.0
			for i := range series {
				x = r*x + rng.NormFloat64()
				series[i] = x
			}
			sum += Inflation(series, 30)
		}
		want := (1 + r) / (1 - r)
		if got := sum / float64(trials); got < 0.9*want || got > 1.2*want {
			t.Errorf("r=%v: %.2f, expected about %.2f", r, got, want)
		}
	}
	if Inflation(make([]float64, 100), 30) != 1 || Inflation(nil, 30) != 1 {
		t.Error("a constant series")
	}
}
