package stats

import (
	"cmp"
	"slices"
)

// Holm returns the p values adjusted for being several (Holm 1979), in the order given. All
// hypotheses whose adjusted p value is at most alpha may be rejected: the probability of
// rejecting any that holds is then at most alpha, however the tests depend on each other.
func Holm(ps []float64) []float64 {
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ps[a], ps[b]) })
	adjusted := make([]float64, len(ps))
	highest := 0.0
	for rank, i := range order {
		highest = max(highest, min(1, ps[i]*float64(len(ps)-rank)))
		adjusted[i] = highest
	}
	return adjusted
}
