package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Holm's adjustment is what closed testing with Bonferroni's test makes: a hypothesis is
// rejected if each set of hypotheses that has it in it is.
func TestHolmIsClosedBonferroni(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 200 {
		ps := make([]float64, rng.IntN(8))
		for i := range ps {
			ps[i] = math.Round(1000*math.Pow(rng.Float64(), 3)) / 1000
		}
		want := make([]float64, len(ps))
		for set := 1; set < 1<<len(ps); set++ {
			size, lowest := 0, 1.0
			for i, p := range ps {
				if set>>i&1 != 0 {
					size++
					lowest = min(lowest, p)
				}
			}
			for i := range ps {
				if set>>i&1 != 0 {
					want[i] = max(want[i], min(1, lowest*float64(size)))
				}
			}
		}
		if got := Holm(ps); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", ps, got, want)
		}
	}
}
