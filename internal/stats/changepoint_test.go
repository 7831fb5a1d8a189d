package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// series returns values of the given levels, with n values and normal noise at each.
func series(rng *rand.Rand, noise float64, n int, levels ...float64) []float64 {
	var values []float64
	for _, level := range levels {
		values = append(values, normal(rng, n, level, noise)...)
	}
	return values
}

func TestChangePointsOfClearSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	for _, c := range []struct {
		name   string
		series []float64
		want   []int
	}{
		{"nothing", nil, nil},
		{"one value", []float64{1}, nil},
		{"constant", make([]float64, 50), nil},
		{"too short", []float64{1, 1, 9, 9}, nil}, // a third of all orders has such a split
		{"a step", series(rng, 0.01, 10, 1, 1.1), []int{10}},
		{"up and back", series(rng, 0.01, 12, 1, 1.1, 1), []int{12, 24}},
		{"steps", series(rng, 0.01, 15, 1, 1.1, 0.9, 1.2), []int{15, 30, 45}},
		{"two levels without noise", append(make([]float64, 8), slices.Repeat([]float64{3}, 8)...), []int{8}},
		{"one outlier", append(series(rng, 0.01, 20, 1), append([]float64{5}, series(rng, 0.01, 20, 1)...)...), nil},
	} {
		for seed := range uint64(5) {
			if got := ChangePoints(c.series, 0.01, 3, seed); !slices.Equal(got, c.want) {
				t.Errorf("%s, seed %d: %v, want %v", c.name, seed, got, c.want)
			}
		}
	}
}

// Apache Otava 0.8.0, which tests splits with Student's t, finds the same changes in the
// series of its own tests and examples, with the options used there: its defaults, but
// max_pvalue=0.05 for series_3 (github.com/apache/otava, tests/series_test.py and
// examples/csv/data/local_sample.csv).
func TestChangePointsAsOtava(t *testing.T) {
	for _, c := range []struct {
		name   string
		series []float64
		want   []int
	}{
		{"series_1", []float64{1.02, 0.95, 0.99, 1.00, 1.12, 0.90, 0.50, 0.51, 0.48, 0.48, 0.55}, []int{6}},
		{"series_2", []float64{2.02, 2.03, 2.01, 2.04, 1.82, 1.85, 1.79, 1.81, 1.80, 1.76, 1.78}, []int{4}},
		{"series_3", slices.Concat(slices.Repeat([]float64{1}, 5), slices.Repeat([]float64{5}, 8), slices.Repeat([]float64{9}, 8), slices.Repeat([]float64{3}, 9)), []int{5, 13, 21}},
		{"test_div_by_zero", []float64{0, 0, 0, 1.00, 1.12, 0.90, 0.50, 0.51, 0.48, 0.48, 0.55}, []int{3, 6}},
		{"metric1", []float64{154023, 138455, 143112, 149190, 132098, 151344, 155145, 148889, 149466, 148209}, nil},
		{"metric2", []float64{10.43, 10.23, 10.29, 10.91, 10.34, 10.69, 9.23, 9.11, 9.13, 9.03}, []int{6}},
	} {
		for seed := range uint64(5) {
			if got := ChangePoints(c.series, 0.05, 3, seed); !slices.Equal(got, c.want) {
				t.Errorf("%s, seed %d: %v, want %v", c.name, seed, got, c.want)
			}
		}
	}
}

// The best split by the definition of the energy statistic, and by running sums.
func TestBestSplit(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	for range 100 {
		values := sample(rng, 4+rng.IntN(20), 1000, rng.IntN(3))
		n, minLength := len(values), 2+rng.IntN(2)
		mean := func(a, b []float64, pairs float64) float64 {
			sum := 0.0
			for _, x := range a {
				for _, y := range b {
					sum += math.Abs(x - y)
				}
			}
			return sum / pairs
		}
		want := math.Inf(-1)
		for end := 2 * minLength; end <= n; end++ {
			for k := minLength; k <= end-minLength; k++ {
				a, b := values[:k], values[k:end]
				first, second := float64(k), float64(end-k)
				q := 2*mean(a, b, first*second) - mean(a, a, first*(first-1)) - mean(b, b, second*(second-1))
				want = max(want, q*first*second/float64(end))
			}
		}
		s := newSplitter(n, minLength)
		for range 2 { // the second time with working memory that was used
			if k, got := s.best(values); math.Abs(got-want) > 1e-9 && !math.IsInf(want, -1) || k > n-minLength {
				t.Errorf("%v: split at %d with %v, want %v", values, k, got, want)
			}
		}
	}
}

// In a series without a change, one is found at most as often as alpha allows, whatever the
// distribution of its values.
func TestChangePointsFalseAlarms(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 13))
	rounds := testkit.Scale(2000, 100)
	for _, c := range noShift {
		for _, n := range []int{8, 20, 60} {
			for _, alpha := range []float64{0.05, 0.01} {
				alarms := 0
				for i := range rounds {
					if ChangePoints(draws(rng, n, c.draw), alpha, 3, uint64(i)) != nil {
						alarms++
					}
				}
				t.Logf("%s, %d values, alpha %v: alarms in %.4f", c.name, n, alpha, float64(alarms)/float64(rounds))
				if !withinAlpha(alarms, rounds, alpha) {
					t.Errorf("%s, %d values, alpha %v: alarms in %d of %d series", c.name, n, alpha, alarms, rounds)
				}
			}
		}
	}
}

// Shifts of two standard deviations are found, near where they are.
func TestChangePointsPower(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 14))
	rounds := testkit.Scale(500, 40)
	for _, c := range []struct {
		name   string
		n      int
		levels []float64
		least  float64 // share of series in which all changes are found, and no other
	}{
		{"step", 12, []float64{0, 2}, 0.6},
		{"step back", 20, []float64{0, 2, 0}, 0.6},
		{"larger step", 8, []float64{0, 4}, 0.9},
	} {
		right := 0
		for i := range rounds {
			got := ChangePoints(series(rng, 1, c.n, c.levels...), 0.01, 3, uint64(i))
			hit := len(got) == len(c.levels)-1
			for j, at := range got {
				hit = hit && math.Abs(float64(at-(j+1)*c.n)) <= 2
			}
			if hit {
				right++
			}
		}
		share := float64(right) / float64(rounds)
		t.Logf("%s: %.3f", c.name, share)
		if share < c.least {
			t.Errorf("%s: the changes are found in %.3f of the series", c.name, share)
		}
	}
}

// SplitMix64's first numbers for the seed 1234567, as in its reference implementation.
func TestRandom(t *testing.T) {
	r := random{1234567}
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		if got := r.next(); got != want {
			t.Errorf("number %d is %d, want %d", i, got, want)
		}
	}
}
