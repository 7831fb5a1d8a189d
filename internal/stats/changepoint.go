package stats

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// ChangePoints returns the indices at which the distribution of a series changes: those of
// the first value after each change, in ascending order. No stretch between two changes is
// shorter than minLength, which is at least 2.
//
// The method is E-divisive (Matteson and James, JASA 109, 2014). A stretch is split where
// the energy distance between both parts is largest, and each part is split again, as long
// as the split is significant. Whether it is, a permutation test decides: how often a random
// order of the same values has a split at least as good. Energy distances suit any
// distribution, and one outlier does not make a change.
//
// If the values of a series are independent and of one distribution, whichever it is, any
// change is found with a probability of at most alpha, because each order is then equally
// likely and nothing is split further unless the whole is. The same holds for each stretch
// between two changes that are found rightly. It does not hold for values that depend on
// their predecessors, such as runs of one session: pass the mean of each session.
//
// The random orders depend on seed only. Each takes time proportional to n log n for n
// values. There are 999, or 10/alpha if that is more, but a split that cannot become
// significant any more ends early.
func ChangePoints(series []float64, alpha float64, minLength int, seed uint64) []int {
	var found []int
	var split func(from, to int)
	split = func(from, to int) {
		k := significantSplit(series[from:to], alpha, max(2, minLength), &random{seed + uint64(from)<<32 + uint64(to)})
		if k == 0 {
			return
		}
		split(from, from+k)
		found = append(found, from+k)
		split(from+k, to)
	}
	split(0, len(series))
	return found
}

// significantSplit returns where a series is best split, if this is significant, and 0
// otherwise.
func significantSplit(series []float64, alpha float64, minLength int, rng *random) int {
	if len(series) < 2*minLength {
		return 0
	}
	e := newEnergy(series)
	if e.total == 0 {
		return 0
	}
	order := e.order
	k, best := e.split(order, minLength)
	// Sums in another order may be rounded otherwise.
	best -= 1e-9 * math.Abs(best)

	permutations := int(max(999, math.Ceil(10/alpha)-1))
	asGood := 1 // the series itself
	for range permutations {
		rng.shuffle(order)
		if _, q := e.split(order, minLength); q >= best {
			asGood++
			if float64(asGood) > alpha*float64(permutations+1) {
				return 0
			}
		}
	}
	return k
}

// energy computes energy distances between the first and the last values of a series.
type energy struct {
	values []float64 // in ascending order, less their median
	order  []int     // the series as indices of values
	sums   []float64 // for each value, the sum of its distances to all
	total  float64   // the sum of the distances of all pairs

	// Fenwick trees over values: how many have been added, and their sum.
	counts []int
	added  []float64
}

func newEnergy(series []float64) *energy {
	n := len(series)
	e := &energy{values: make([]float64, n), order: make([]int, n), sums: make([]float64, n), counts: make([]int, n+1), added: make([]float64, n+1)}
	ascending := make([]int, n)
	for i := range ascending {
		ascending[i] = i
	}
	slices.SortStableFunc(ascending, func(a, b int) int { return cmp.Compare(series[a], series[b]) })
	sum := 0.0
	for rank, i := range ascending {
		e.order[i] = rank
		e.values[rank] = series[i] - series[ascending[n/2]]
		sum += e.values[rank]
	}
	below := 0.0
	for i, v := range e.values {
		above := sum - below - v
		e.sums[i] = v*float64(i) - below + above - v*float64(n-1-i)
		below += v
		e.total += e.sums[i] / 2
	}
	return e
}

// split returns the k for which the first k values of a series differ most from the rest, and
// the energy statistic of this split: Q of Matteson and James, with the exponent 1.
func (e *energy) split(order []int, minLength int) (k int, best float64) {
	clear(e.counts)
	clear(e.added)
	best = math.Inf(-1)
	n := len(order)
	count, sum := 0, 0.0         // of the first values
	within, rest := 0.0, e.total // sums of distances among the first values, and among the rest
	for i, rank := range order {
		v := e.values[rank]
		fewer, below := 0, 0.0
		for at := rank; at > 0; at &= at - 1 {
			fewer += e.counts[at]
			below += e.added[at]
		}
		toFirst := v*float64(fewer) - below + (sum - below) - v*float64(count-fewer)
		within += toFirst
		rest -= e.sums[rank] - toFirst
		for at := rank + 1; at <= n; at += at & -at {
			e.counts[at]++
			e.added[at] += v
		}
		count++
		sum += v

		if first, last := float64(i+1), float64(n-i-1); i+1 >= minLength && n-i-1 >= minLength {
			between := e.total - within - rest
			q := first * last / float64(n) * (2*between/(first*last) - 2*within/(first*(first-1)) - 2*rest/(last*(last-1)))
			if q > best {
				k, best = i+1, q
			}
		}
	}
	return k, best
}

// random is the generator SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Packages of this
// kind do not import math/rand, so that nothing in them can depend on its global state.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// shuffle puts order into a random order. The bias of at most n/2^64 does not matter.
func (r *random) shuffle(order []int) {
	for i := len(order) - 1; i > 0; i-- {
		j, _ := bits.Mul64(r.next(), uint64(i+1))
		order[i], order[j] = order[j], order[i]
	}
}
