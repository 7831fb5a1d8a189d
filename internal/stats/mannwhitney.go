package stats

import (
	"math"
	"slices"
)

// Products of the two numbers of values up to which the Mann-Whitney test is exact: 50 a
// side, or 25 a side if there are ties.
const (
	exactPairs     = 50 * 50
	exactTiedPairs = 25 * 25
)

// MannWhitney tests whether y is shifted relative to x (Hollander & Wolfe, section 4.1).
// Its statistic U is the number of pairs with the value of y above that of x, with a half
// for each tied pair.
//
// It is exact if len(x)*len(y) is at most 2500 (50 a side), or at most 625 (25 a side) if
// there are ties. The exact distribution is that of the midranks as they are tied, over all
// assignments of the values to the two sides. It is not symmetric if sides of different
// lengths have ties; P is twice the smaller tail in any case. Beyond these limits it is the
// normal approximation, corrected for ties and continuity.
//
// P is 1 if x or y is empty.
func MannWhitney(x, y []float64) Test {
	d, u := mannWhitney(sorted(x), sorted(y))
	return d.test(u)
}

// mannWhitney returns the distribution of the doubled U, and its value for sorted x and y.
func mannWhitney(x, y []float64) (null, int64) {
	groups, u := ties(x, y)
	if exactMannWhitney(len(x), len(y), len(groups)) {
		return exactU(len(x), len(y), groups), u
	}
	return normalU(len(x), len(y), groups), u
}

// exactMannWhitney reports whether the test is exact for n and m values, of which groups
// are different.
func exactMannWhitney(n, m, groups int) bool {
	limit := exactPairs
	if groups < n+m {
		limit = exactTiedPairs
	}
	return float64(n)*float64(m) <= float64(limit)
}

// ties returns how often each value occurs in sorted x and y together, in ascending order,
// and the doubled U.
func ties(x, y []float64) (groups []int, u int64) {
	groups = make([]int, 0, len(x)+len(y))
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		var v float64
		if j == len(y) || i < len(x) && x[i] < y[j] {
			v = x[i]
		} else {
			v = y[j]
		}
		i0, j0 := i, j
		for i < len(x) && x[i] == v {
			i++
		}
		for j < len(y) && y[j] == v {
			j++
		}
		u += int64(j-j0) * int64(i0+i) // twice those below, and those equal
		groups = append(groups, i-i0+j-j0)
	}
	return groups, u
}

// exactU returns the exact distribution of the doubled U of n values against m, where
// groups is how often each value occurs, in ascending order.
//
// It adds one group after another. ways[k][s] is the number of ways to give k of the values
// so far to one side such that its doubled U is s. With c more out of the t values of a
// group, each of these c lies above all earlier values of the other side and is tied with
// t-c. All terms are positive, so that no digits are lost.
func exactU(n, m int, groups []int) null {
	if m > n { // fewer rows; U of the other side is 2nm less U
		d := exactU(m, n, groups)
		slices.Reverse(d.atMost)
		slices.Reverse(d.atLeast)
		d.atMost, d.atLeast = d.atLeast, d.atMost
		return d
	}
	step := 2 // no ties: U is an integer
	for _, t := range groups {
		if t > 1 {
			step = 1
		}
	}
	ways := make([][]float64, m+1)
	for k := range ways {
		ways[k] = make([]float64, 2*n*m/step+1)
	}
	ways[0][0] = 1
	before := 0
	for _, t := range groups {
		for k := min(m, before+t); k > 0; k-- {
			binomial := 1.0
			for c := 1; c <= min(t, k); c++ {
				binomial = binomial * float64(t-c+1) / float64(c)
				had := k - c
				if had > before {
					continue
				}
				other := before - had
				if other > n || other+t-c > n {
					// The other side cannot take that many: such ways never count in the end.
					continue
				}
				shift := c * (2*other + t - c) / step
				from := ways[had][:2*had*other/step+1]
				to := ways[k][shift:]
				for s, w := range from {
					to[s] += binomial * w
				}
			}
			// c = 0 leaves ways[k] as it is, unless the other side is full.
		}
		before += t
	}
	return exactNull(ways[m], int64(step))
}

// normalU returns the normal approximation to the distribution of the doubled U, where
// groups is how often each value occurs.
func normalU(n, m int, groups []int) null {
	pairs, total := float64(n)*float64(m), float64(n+m)
	d := null{max: 2 * int64(n) * int64(m), step: 1, mean: pairs}
	if total < 2 {
		return d
	}
	tied := 0.0
	for _, t := range groups {
		t := float64(t)
		tied += t * (t*t - 1)
	}
	d.deviation = 2 * math.Sqrt(max(0, pairs/12*(total+1-tied/(total*(total-1)))))
	return d
}

// sorted returns a sorted copy.
func sorted(values []float64) []float64 {
	values = slices.Clone(values)
	slices.Sort(values)
	return values
}
