package stats

import (
	"math"
	"math/bits"
	"slices"
)

// ChangePoints returns the indices at which the distribution of a series changes: those of
// the first value after each change, in ascending order. No stretch between two changes is
// shorter than minLength, which is at least 2.
//
// The method is E-divisive (Matteson and James, JASA 109, 2014). The best split of a stretch
// is where the energy distance between all values before it and the values up to some place
// after it is largest; that place need not be the end, so that a change that is reversed
// later is found too. A permutation test decides whether the split is significant: it counts
// how often a random order of the same values has a split at least as good. The parts are
// then split again. Energy distances suit any distribution, and a single outlier is not a
// change.
//
// If the values are independent and all of the same distribution, of any form, the
// probability of finding any change is at most alpha: all orders are then equally likely, and
// the parts are considered only if the whole is split. The same holds for each stretch
// between two true changes. It does not hold for values that depend on earlier ones, such as
// those of runs in the same session: pass the mean of each session.
//
// The random orders depend on seed only. There are 200 with the series itself, or 4/alpha if
// that is more; the test ends early once the split cannot be significant. Each order takes
// time proportional to the square of the length: about 20 ms in all for 100 values, and 2 s
// for 1,000.
func ChangePoints(series []float64, alpha float64, minLength int, seed uint64) []int {
	var found []int
	var split func(from, to int)
	split = func(from, to int) {
		rng := random{seed + uint64(from)<<32 + uint64(to)}
		k := significantSplit(series[from:to], alpha, max(2, minLength), &rng)
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
	if len(series) < 2*minLength || slices.Min(series) == slices.Max(series) {
		return 0
	}
	s := newSplitter(len(series), minLength)
	k, best := s.best(series)
	best -= 1e-9 * math.Abs(best) // another order may round sums differently

	order := slices.Clone(series)
	orders := int(max(200, math.Ceil(4/alpha))) // with the series itself
	asGood := 1
	for range orders - 1 {
		rng.shuffle(order)
		if _, q := s.best(order); q >= best {
			asGood++
			if float64(asGood) > alpha*float64(orders) {
				return 0
			}
		}
	}
	return k
}

// splitter finds the best split of series of one length. A sum below is one of distances
// between all pairs of values in some part of the series.
type splitter struct {
	minLength int
	first     []float64 // first[k] is the sum of the first k values
	toLater   []float64 // the distances of each value to those after it, up to some place
	inverse   []float64 // inverse[k] is 1/(k-1)
}

func newSplitter(n, minLength int) *splitter {
	s := &splitter{minLength, make([]float64, n+1), make([]float64, n), make([]float64, n+1)}
	for k := 2; k <= n; k++ {
		s.inverse[k] = 1 / float64(k-1)
	}
	return s
}

// best returns the k for which the first k values of a series differ most from the values
// that follow, up to any place after them, and by how much: the largest Q of Matteson and
// James, with the exponent 1.
func (s *splitter) best(series []float64) (k int, best float64) {
	best = math.Inf(-1)
	clear(s.toLater)
	for last, v := range series {
		n := last + 1 // consider the first n values
		distances := 0.0
		for i, u := range series[:last] {
			d := math.Abs(u - v)
			s.toLater[i] += d
			distances += d
		}
		all := s.first[last] + distances
		s.first[n] = all
		if n < 2*s.minLength {
			continue
		}
		second := 0.0 // sum of the values from i to n
		for i := last; i >= s.minLength; i-- {
			second += s.toLater[i]
			if n-i < s.minLength {
				continue
			}
			between := all - s.first[i] - second
			q := (between - s.first[i]*float64(n-i)*s.inverse[i] - second*float64(i)*s.inverse[n-i]) * 2 / float64(n)
			if q > best {
				k, best = i, q
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
func (r *random) shuffle(order []float64) {
	for i := len(order) - 1; i > 0; i-- {
		j, _ := bits.Mul64(r.next(), uint64(i+1))
		order[i], order[j] = order[j], order[i]
	}
}
