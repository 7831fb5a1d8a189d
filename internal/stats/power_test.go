package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// The smallest number is where the most extreme samples become significant.
func TestMinRunsAndPairs(t *testing.T) {
	for _, alpha := range []float64{0.2, 0.1, 0.05, 0.05 / 3, 0.05 / 8, 0.01, 0.001} {
		runs, pairs := MinRuns(alpha), MinPairs(alpha)
		for _, n := range []int{runs - 1, runs} {
			low, high := ascending(0, n), ascending(1000, n)
			if p := MannWhitney(low, high).P; (p <= alpha) != (n == runs) {
				t.Errorf("alpha %v: %d a side reach p = %v; MinRuns %d", alpha, n, p, runs)
			}
		}
		for _, n := range []int{pairs - 1, pairs} {
			if p := SignedRank(ascending(1, n)).P; (p <= alpha) != (n == pairs) {
				t.Errorf("alpha %v: %d pairs reach p = %v; MinPairs %d", alpha, n, p, pairs)
			}
		}
	}
	// Three gated metrics take 5 runs a side or 7 pairs; 5 runs a side are too few for eight.
	if MinRuns(0.05/3) != 5 || MinPairs(0.05/3) != 7 || MinRuns(0.05/8) != 6 {
		t.Error(MinRuns(0.05/3), MinPairs(0.05/3), MinRuns(0.05/8))
	}
}

func ascending(from float64, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = from + float64(i)
	}
	return values
}

// The numbers needed have about the power asked for.
func TestPower(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	rounds := testkit.Scale(10_000, 400)
	for _, c := range []struct{ effect, sd, alpha, power float64 }{
		{0.05, 0.03, 0.05, 0.8}, {0.05, 0.05, 0.05, 0.8}, {0.03, 0.03, 0.05 / 3, 0.9}, {0.02, 0.03, 0.05, 0.8},
	} {
		runs, pairs := RunsNeeded(c.effect, c.sd, c.alpha, c.power), PairsNeeded(c.effect, c.sd, c.alpha, c.power)
		foundRuns, foundPairs := 0, 0
		for range rounds {
			if MannWhitney(normal(rng, runs, 0, c.sd), normal(rng, runs, c.effect, c.sd)).P <= c.alpha {
				foundRuns++
			}
			if SignedRank(normal(rng, pairs, c.effect, c.sd)).P <= c.alpha {
				foundPairs++
			}
		}
		byRuns, byPairs := float64(foundRuns)/float64(rounds), float64(foundPairs)/float64(rounds)
		t.Logf("%+v: %d a side have power %.3f, %d pairs %.3f", c, runs, byRuns, pairs, byPairs)
		for _, power := range []float64{byRuns, byPairs} {
			if power < c.power-0.06 || power > c.power+0.12 { // an integer number may have more
				t.Errorf("%+v: %d a side have power %.3f, %d pairs %.3f", c, runs, byRuns, pairs, byPairs)
			}
		}
	}
}

func normal(rng *rand.Rand, n int, mean, sd float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = mean + sd*rng.NormFloat64()
	}
	return values
}

// The detectable effect is the inverse of the number needed.
func TestDetectable(t *testing.T) {
	const sd, alpha, power = 0.03, 0.05, 0.8
	for n := 1; n < 100; n++ {
		for _, c := range []struct {
			kind       string
			atLeast    int
			detectable float64
			needed     func(effect float64) int
		}{
			{"runs", MinRuns(alpha), DetectableByRuns(n, sd, alpha, power), func(e float64) int { return RunsNeeded(e, sd, alpha, power) }},
			{"pairs", MinPairs(alpha), DetectableByPairs(n, sd, alpha, power), func(e float64) int { return PairsNeeded(e, sd, alpha, power) }},
		} {
			if n < c.atLeast {
				if !math.IsInf(c.detectable, 1) {
					t.Errorf("%d %s detect %v", n, c.kind, c.detectable)
				}
				continue
			}
			if above, below := c.needed(c.detectable*1.0001), c.needed(c.detectable*0.9999); above != n || below != n+1 {
				t.Errorf("%d %s detect %v, which takes %d or %d", n, c.kind, c.detectable, above, below)
			}
		}
	}
	if got := RunsNeeded(0, sd, alpha, power); got != math.MaxInt {
		t.Errorf("no effect takes %d runs", got)
	}
	if got := RunsNeeded(0.01, 0, alpha, power); got != MinRuns(alpha) {
		t.Errorf("no noise takes %d runs", got)
	}
	if RunsNeeded(-0.05, sd, alpha, power) != RunsNeeded(0.05, sd, alpha, power) {
		t.Error("the sign of the effect matters")
	}
}
