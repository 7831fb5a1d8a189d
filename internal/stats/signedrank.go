package stats

import (
	"cmp"
	"math"
	"slices"
)

// exactDifferences is the number of differences up to which the signed rank test is exact.
const exactDifferences = 50

// SignedRank tests whether differences of pairs are symmetric about zero, with Wilcoxon's
// signed rank test (Hollander & Wolfe, section 3.1). Its statistic W+ is the sum of the ranks
// of the positive differences.
//
// Zeros are treated as by Pratt (1959): they are ranked with the others, and their ranks are
// dropped afterwards. If they were dropped before, larger differences could make the test of
// a positive shift less significant.
//
// It is exact for up to 50 differences, zeros included. The exact distribution is that of the
// midranks as they are tied, over all signs of the differences that are not zero. Beyond that
// it is the normal approximation, corrected for ties, zeros and continuity.
//
// P is 1 if all differences are zero, or if there are none.
func SignedRank(differences []float64) Test {
	d, w := signedRank(differences)
	return d.test(w)
}

// signedRank returns the distribution of the doubled W+, and its value.
func signedRank(differences []float64) (null, int64) {
	byAmount := slices.Clone(differences)
	slices.SortFunc(byAmount, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	ranks := make([]int64, 0, len(byAmount))
	w := int64(0)
	for i := 0; i < len(byAmount); {
		from, amount := i, math.Abs(byAmount[i])
		for i < len(byAmount) && math.Abs(byAmount[i]) == amount {
			i++
		}
		if amount == 0 {
			continue
		}
		rank := int64(from + 1 + i) // twice the mean of from+1 to i
		for _, difference := range byAmount[from:i] {
			ranks = append(ranks, rank)
			if difference > 0 {
				w += rank
			}
		}
	}
	if len(differences) <= exactDifferences {
		return exactW(ranks), w
	}
	return normalW(ranks), w
}

// exactW returns the exact distribution of the doubled W+ over all signs of doubled ranks.
func exactW(ranks []int64) null {
	step, highest := int64(2), int64(0)
	for _, r := range ranks {
		highest += r
		if r%2 != 0 {
			step = 1
		}
	}
	ways := make([]float64, highest/step+1) // at most 2 to the power of 50: exact in a float64
	ways[0] = 1
	top := int64(0)
	for _, r := range ranks {
		r /= step
		for s := top; s >= 0; s-- {
			ways[s+r] += ways[s]
		}
		top += r
	}
	return exactNull(ways, step)
}

// normalW returns the normal approximation to the distribution of the doubled W+.
func normalW(ranks []int64) null {
	d := null{step: 1}
	squares := 0.0
	for _, r := range ranks {
		d.max += r
		squares += float64(r) * float64(r)
	}
	d.mean = float64(d.max) / 2
	d.deviation = math.Sqrt(squares) / 2
	return d
}

// untiedW returns the distribution of the doubled W+ of n differences without ties or zeros.
func untiedW(n int) null {
	ranks := make([]int64, n)
	for i := range ranks {
		ranks[i] = 2 * int64(i+1)
	}
	if n <= exactDifferences {
		return exactW(ranks)
	}
	return normalW(ranks)
}
