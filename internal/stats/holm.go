package stats

import (
	"cmp"
	"slices"
)

// Holm returns p values adjusted for multiple testing (Holm 1979), in the order given. If all
// hypotheses with an adjusted p value of at most alpha are rejected, the probability that any
// true one is among them is at most alpha, however the tests depend on each other.
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
