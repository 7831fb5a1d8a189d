package window

import (
	"math"
	"sort"
)

// Bounds is an interval that a quantile is proven to lie in, both ends included.
type Bounds struct {
	Low float64
	// High is +Inf if nothing bounds the quantile from above.
	High float64
}

// QuantileBounds returns the interval that the buckets, the count and the sum of a
// histogram of non-negative values prove for the q-quantile, 0 < q < 1; ok is false if
// there were no observations. The q-quantile is the value of rank ⌈q·count⌉.
//
// The bucket of the rank gives both ends. The sum narrows them: whatever lies in the
// other buckets adds at least the lower bounds of these buckets, so that the
// observations from the rank on can only share what is left of the sum. Without
// buckets that is Markov's inequality: the quantile is at most mean/(1−q). Likewise
// the sum is at most what the upper bounds of all buckets allow.
//
// Buckets whose total is not the count are not used together with the sum: the page
// was not written in one instant.
func (h Histogram) QuantileBounds(q float64) (b Bounds, ok bool) {
	if h.Count <= 0 || notFinite(h.Count) || notFinite(h.Sum) {
		return Bounds{}, false
	}
	n := len(h.Buckets)
	hasBuckets := n > 0 && math.IsInf(h.Buckets[n-1].UpperBound, 1) && h.Buckets[n-1].Count > 0
	consistent := !hasBuckets || h.Buckets[n-1].Count == h.Count
	b = Bounds{0, math.Inf(1)}
	buckets := h.Buckets
	if !hasBuckets {
		buckets = []Bucket{{math.Inf(1), h.Count}}
	}
	total := buckets[len(buckets)-1].Count
	rank := q * total
	i := sort.Search(len(buckets)-1, func(i int) bool { return buckets[i].Count >= rank })
	lower := func(i int) float64 {
		if i == 0 {
			return 0
		}
		return buckets[i-1].UpperBound
	}
	in := func(i int) float64 { // observations in bucket i alone
		if i == 0 {
			return buckets[0].Count
		}
		return buckets[i].Count - buckets[i-1].Count
	}
	b.Low, b.High = lower(i), buckets[i].UpperBound
	if !consistent || h.Sum < 0 {
		return b, true
	}
	least, most := 0.0, 0.0 // what the observations of the other buckets add to the sum
	for j := range buckets {
		if c := in(j); j != i && c > 0 {
			least += c * lower(j)
			most += c * buckets[j].UpperBound
		}
	}
	// Sums are differences of large floats: the last digits are not to be trusted.
	slack := 1e-9 * math.Abs(h.Sum)
	below := rank - (buckets[i].Count - in(i)) // observations of the bucket before the rank
	if above := buckets[i].Count - rank; above > 0 {
		if high := (h.Sum + slack - least - below*lower(i)) / above; high >= b.Low {
			b.High = min(b.High, high)
		}
	}
	if below > 0 && !math.IsInf(most, 1) && !math.IsInf(buckets[i].UpperBound, 1) {
		if low := (h.Sum - slack - most - (buckets[i].Count-rank)*buckets[i].UpperBound) / below; low <= b.High {
			b.Low = max(b.Low, low)
		}
	}
	return b, true
}
