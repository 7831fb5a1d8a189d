package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// Distributions of values without a shift.
var noShift = []struct {
	name string
	draw func(rng *rand.Rand) float64
}{
	{"normal", func(rng *rand.Rand) float64 { return rng.NormFloat64() }},
	{"lognormal", func(rng *rand.Rand) float64 { return math.Exp(rng.NormFloat64()) }},
	{"rounded", func(rng *rand.Rand) float64 { return math.Round(2 * rng.NormFloat64()) }},
	{"few values", func(rng *rand.Rand) float64 { return float64(rng.IntN(3)) }},
}

func draws(rng *rand.Rand, n int, draw func(*rand.Rand) float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = draw(rng)
	}
	return values
}

// withinAlpha reports whether so many errors in so many rounds are consistent with a
// probability of at most alpha: within 3.5 standard deviations.
func withinAlpha(errors, rounds int, alpha float64) bool {
	n := float64(rounds)
	return float64(errors) <= n*alpha+3.5*math.Sqrt(n*alpha*(1-alpha))
}

// Comparisons of equals are significant at most as often as alpha allows, with ties or
// without, exact or not, and so are any of three under Holm's adjustment.
func TestFalsePositives(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	const alpha = 0.05
	for _, c := range noShift {
		for _, n := range []int{5, 8, 12, 30, 60} {
			rounds := testkit.Scale(10_000, 400)
			if n == 30 {
				rounds /= 4 // the most expensive: exact without ties
			}
			twoSamples, signs, family := 0, 0, 0
			for range rounds {
				smallest := 1.0
				ps := make([]float64, 3)
				for i := range ps {
					ps[i] = MannWhitney(draws(rng, n, c.draw), draws(rng, n+2, c.draw)).P
				}
				for _, p := range Holm(ps) {
					smallest = min(smallest, p)
				}
				if ps[0] <= alpha {
					twoSamples++
				}
				if smallest <= alpha {
					family++
				}
				d := draws(rng, n, func(rng *rand.Rand) float64 { return c.draw(rng) - c.draw(rng) })
				if SignedRank(d).P <= alpha {
					signs++
				}
			}
			t.Logf("%s, %d a side: %.4f, paired %.4f, any of three %.4f", c.name, n,
				float64(twoSamples)/float64(rounds), float64(signs)/float64(rounds), float64(family)/float64(rounds))
			if !withinAlpha(twoSamples, rounds, alpha) || !withinAlpha(signs, rounds, alpha) || !withinAlpha(family, rounds, alpha) {
				t.Errorf("%s, %d a side: of %d comparisons of equals, %d are significant, %d if paired, and any of three in %d", c.name, n, rounds, twoSamples, signs, family)
			}
		}
	}
}

// Intervals miss the true shift at most as often as alpha allows, with ties or without.
func TestCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	rounds := testkit.Scale(10_000, 400)
	for _, c := range noShift {
		for _, alpha := range []float64{0.1, 0.05} {
			for _, shift := range []float64{0, 1} {
				for _, n := range []int{6, 10} {
					missed, missedPaired := 0, 0
					for range rounds {
						x, y := draws(rng, n, c.draw), draws(rng, n+1, c.draw)
						if i := Shift(x, minus(y, -shift), alpha); shift < i.Low || shift > i.High {
							missed++
						}
						d := draws(rng, n, func(rng *rand.Rand) float64 { return shift + c.draw(rng) - c.draw(rng) })
						if i := PairedShift(d, alpha); shift < i.Low || shift > i.High {
							missedPaired++
						}
					}
					if !withinAlpha(missed, rounds, alpha) || !withinAlpha(missedPaired, rounds, alpha) {
						t.Errorf("%s shifted by %v, %d a side, alpha %v: %d and, if paired, %d of %d intervals miss it", c.name, shift, n, alpha, missed, missedPaired, rounds)
					}
				}
			}
		}
	}
}

// A new mean lies outside the prediction interval as often as alpha says.
func TestPredictionCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	const alpha = 0.05
	rounds := testkit.Scale(20_000, 4000)
	for _, n := range []int{2, 8, 30} {
		outside := 0
		for range rounds {
			if i := PredictionInterval(normal(rng, n, 5, 2), alpha); math.Abs(5+2*rng.NormFloat64()-i.Estimate) > i.High-i.Estimate {
				outside++
			}
		}
		if !withinAlpha(outside, rounds, alpha) || !withinAlpha(rounds-outside, rounds, 1-alpha) {
			t.Errorf("%d values: %d of %d new values are outside", n, outside, rounds)
		}
	}
}

// A random order of sides fails the test for too few runs at most as often as alpha allows.
func TestRunsTestOfRandomOrders(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	const alpha = 0.05
	rounds := testkit.Scale(20_000, 4000)
	for _, n := range []int{4, 10, 40} {
		few := 0
		sequence := make([]bool, 2*n)
		for i := range n {
			sequence[i] = true
		}
		for range rounds {
			rng.Shuffle(len(sequence), func(i, j int) { sequence[i], sequence[j] = sequence[j], sequence[i] })
			if RunsTest(CountRuns(sequence)) <= alpha {
				few++
			}
		}
		if !withinAlpha(few, rounds, alpha) {
			t.Errorf("%d a side: %d of %d random orders have too few runs", n, few, rounds)
		}
	}
}
