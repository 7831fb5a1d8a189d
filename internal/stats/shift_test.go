package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sample returns n values around center, rounded to so many decimal digits.
func sample(rng *rand.Rand, n int, center float64, digits int) []float64 {
	scale := math.Pow(10, float64(digits))
	values := make([]float64, n)
	for i := range values {
		values[i] = math.Round((center+rng.NormFloat64())*scale) / scale
	}
	return values
}

// listed returns all values of p, in ascending order.
func listed(p pairs) []float64 {
	var all []float64
	switch p := p.(type) {
	case differences:
		for _, x := range p.x {
			for _, y := range p.y {
				all = append(all, y-x)
			}
		}
	case averages:
		for i, x := range p {
			for _, y := range p[i:] {
				all = append(all, (x+y)/2)
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestSelection(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 200 {
		n, m, digits := 1+rng.IntN(30), 1+rng.IntN(30), rng.IntN(3)
		if i < 2 {
			n, m, digits = 500, 700, 14*i
		}
		center := 3*rng.Float64() - 1.5
		for _, p := range []pairs{
			differences{sorted(sample(rng, n, 0, digits)), sorted(sample(rng, m, center, digits))},
			averages(sorted(sample(rng, n, center, digits))),
		} {
			all := listed(p)
			if p.size() != int64(len(all)) {
				t.Fatalf("%T of %d and %d values has size %d", p, n, m, p.size())
			}
			for k := 1; k <= len(all); k += 1 + rng.IntN(1+len(all)/50) {
				if got := nth(p, int64(k)); got != all[k-1] {
					t.Fatalf("case %d: %T: value %d of %d is %v, want %v", i, p, k, len(all), got, all[k-1])
				}
			}
			if got, want := median(p), (all[(len(all)-1)/2]+all[len(all)/2])/2; got != want {
				t.Fatalf("case %d: %T: median %v, want %v", i, p, got, want)
			}
		}
	}
}

// The bounds are those of R's wilcox.test(conf.int = TRUE, exact = TRUE): the qwilcox(alpha/2)-th
// value from either end, where the quantile is at least 1 (below, the level is not achieved).
func TestShiftAsInR(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		n, m := 3+rng.IntN(7), 3+rng.IntN(7)
		alpha := []float64{0.01, 0.05, 0.1, 0.2}[rng.IntN(4)]
		x, y := sample(rng, n, 0, 15), sample(rng, m, 1, 15)
		checkBounds(t, Shift(x, y, alpha), differences{sorted(x), sorted(y)}, quantile(countedU(n, m), alpha/2))
		checkBounds(t, PairedShift(y, alpha), averages(sorted(y)), quantile(countedW(m), alpha/2))
	}
}

func checkBounds(t *testing.T, got Interval, p pairs, k int) {
	t.Helper()
	all := listed(p)
	want := Interval{(all[(len(all)-1)/2] + all[len(all)/2]) / 2, math.Inf(-1), math.Inf(1)}
	if k > 0 {
		want.Low, want.High = all[k-1], all[len(all)-k]
	}
	if got != want {
		t.Errorf("%T of %d pairs: %+v, want %+v", p, len(all), got, want)
	}
}

// countedU returns how many choices of m among n+m ranks have each U, by recursion over
// whether the highest rank is chosen. countedW does the same for signs of n ranks.
func countedU(n, m int) []int {
	if n == 0 || m == 0 {
		return []int{1}
	}
	out := make([]int, n*m+1)
	for u, c := range countedU(n, m-1) {
		out[u+n] += c
	}
	for u, c := range countedU(n-1, m) {
		out[u] += c
	}
	return out
}

func countedW(n int) []int {
	if n == 0 {
		return []int{1}
	}
	out := make([]int, n*(n+1)/2+1)
	for w, c := range countedW(n - 1) {
		out[w] += c
		out[w+n] += c
	}
	return out
}

// quantile returns the lowest value whose probability of not being exceeded is above p.
func quantile(counts []int, p float64) int {
	total, sum := 0, 0
	for _, c := range counts {
		total += c
	}
	for v, c := range counts {
		if sum += c; float64(sum) > p*float64(total)*(1+1e-12) {
			return v
		}
	}
	return len(counts)
}

// The interval has those shifts inside that the test does not reject, exact and approximate.
func TestShiftInvertsTest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{4, 8, 13, 60} {
		const alpha = 0.05
		x, y := sample(rng, n, 0, 15), sample(rng, n+1, 0.5, 15)
		i := Shift(x, y, alpha)
		checkInversion(t, i, listed(differences{x, y}), alpha, func(shift float64) Test { return MannWhitney(x, minus(y, shift)) })
		i = PairedShift(y, alpha)
		checkInversion(t, i, listed(averages(y)), alpha, func(shift float64) Test { return SignedRank(minus(y, shift)) })
	}
}

func checkInversion(t *testing.T, i Interval, all []float64, alpha float64, test func(shift float64) Test) {
	t.Helper()
	all = slices.Concat([]float64{all[0] - 1}, all, []float64{all[len(all)-1] + 1})
	step := max(1, len(all)/200)
	for k := 0; k+1 < len(all); k += step {
		shift := (all[k] + all[k+1]) / 2
		if p, inside := test(shift).P, i.Low < shift && shift < i.High; inside != (p > alpha) {
			t.Errorf("shift %v has p %v; interval %+v of %d pairs", shift, p, i, len(all)-2)
		}
	}
}

func minus(values []float64, shift float64) []float64 {
	values = slices.Clone(values)
	for i := range values {
		values[i] -= shift
	}
	return values
}

// Test and interval agree with ties and zeros too.
func TestShiftAgreesWithTest(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	rejected, moved := 0, 0
	check := func(what string, test Test, i Interval, alpha float64) {
		t.Helper()
		if test.P > alpha && !(i.Low <= 0 && 0 <= i.High) || test.P <= alpha && i.Low < 0 && 0 < i.High {
			t.Errorf("%s: %+v, interval %+v at %v", what, test, i, alpha)
		}
		if !(i.Low <= i.Estimate && i.Estimate <= i.High) {
			t.Errorf("%s: the estimate is outside: %+v", what, i)
		}
		if test.P <= alpha {
			rejected++
			if i.Low == 0 || i.High == 0 {
				moved++
			}
		}
	}
	for range 4000 {
		n, m, digits := 2+rng.IntN(14), 2+rng.IntN(14), rng.IntN(2)
		alpha := []float64{0.01, 0.05, 0.1}[rng.IntN(3)]
		x, y := sample(rng, n, 0, digits), sample(rng, m, 2*rng.Float64()-1, digits)
		what := fmt.Sprint(x, y)
		check(what, MannWhitney(x, y), Shift(x, y, alpha), alpha)
		check(what, SignedRank(y), PairedShift(y, alpha), alpha)
	}
	for range 20 { // beyond the limits of exact distributions
		x, y := sample(rng, 80, 0, 0), sample(rng, 60, rng.Float64()-0.5, 0)
		check("80 and 60", MannWhitney(x, y), Shift(x, y, 0.05), 0.05)
		check("60", SignedRank(y), PairedShift(y, 0.05), 0.05)
	}
	t.Logf("%d rejected, %d with a bound of zero", rejected, moved)
	if rejected < 500 || moved == 0 {
		t.Error("the cases do not cover what they are for")
	}
}

func TestShiftOfFewValues(t *testing.T) {
	infinite := func(i Interval) bool { return math.IsInf(i.Low, -1) && math.IsInf(i.High, 1) }
	for _, i := range []Interval{Shift(nil, []float64{1}, 0.05), Shift([]float64{1}, nil, 0.05), PairedShift(nil, 0.05)} {
		if !math.IsNaN(i.Estimate) || !infinite(i) {
			t.Errorf("without values: %+v", i)
		}
	}
	// 3 a side reach p = 0.1, and 5 pairs 0.0625.
	x, y, d := []float64{1, 2, 3}, []float64{5, 7, 9}, []float64{1, 2, 3, 4, 5}
	for _, i := range []Interval{Shift(x, y, 0.05), PairedShift(d, 0.05)} {
		if math.IsNaN(i.Estimate) || !infinite(i) {
			t.Errorf("too few values: %+v", i)
		}
	}
	if i := Shift(x, y, 0.1); i != (Interval{5, 2, 8}) {
		t.Errorf("3 a side at 0.1: %+v", i)
	}
	if i := PairedShift(d, 0.0625); i != (Interval{3, 1, 5}) {
		t.Errorf("5 pairs at 0.0625: %+v", i)
	}
}

// Known examples: Hollander & Wolfe (1973), pages 29 and 69, as in the documentation of R's
// wilcox.test, which prints these results.
func TestHollanderWolfeExamples(t *testing.T) {
	first := []float64{1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30}
	second := []float64{0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29}
	d := make([]float64, len(first))
	for i := range d {
		d[i] = first[i] - second[i]
	}
	if got := SignedRank(d); got.Statistic != 40 || math.Abs(got.P-2*0.01953125) > 1e-12 { // R: V = 40, p-value = 0.01953 one-sided
		t.Errorf("depression: %+v", got)
	}
	x := []float64{1.15, 0.88, 0.90, 0.74, 1.21}
	y := []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}
	got := MannWhitney(x, y)
	if got.Statistic != 35 || math.Abs(got.P-2*0.1272061) > 1e-6 { // R: W = 35, p-value = 0.1272 one-sided
		t.Errorf("permeability: %+v", got)
	}
	if i := Shift(x, y, 0.05); math.Abs(i.Estimate-0.305) > 1e-9 || math.Abs(i.Low+0.15) > 1e-9 || math.Abs(i.High-0.76) > 1e-9 { // R: 0.305, -0.15 to 0.76
		t.Errorf("permeability: %+v", i)
	}
}
