package window

import (
	"math"
	"sort"
	"strconv"

	"github.com/vobs/vobs/schema"
)

// Histogram is what a histogram gained over the window, in the event's unit. Its buckets
// are cumulative and sorted by bound, the last one +Inf.
type Histogram struct {
	Count, Sum float64
	Buckets    []Bucket
}

// MergeHistograms adds up the histograms of several engines. If their bucket bounds
// differ, those that all have are kept: cumulative counts at a common bound add up.
func MergeHistograms(histograms []*Metric) Histogram {
	var h Histogram
	counts := map[float64]int{}
	sums := map[float64]float64{}
	for _, m := range histograms {
		encoding := m.Desc.Desc().Encoding
		h.Count += m.Count
		h.Sum += m.sum * encoding.Scale()
		for _, b := range m.Buckets {
			if encoding.HasQuantiles() {
				counts[b.UpperBound*encoding.Scale()]++
				sums[b.UpperBound*encoding.Scale()] += b.Count
			}
		}
	}
	for le, n := range counts {
		if n == len(histograms) {
			h.Buckets = append(h.Buckets, Bucket{le, sums[le]})
		}
	}
	sort.Slice(h.Buckets, func(i, j int) bool { return h.Buckets[i].UpperBound < h.Buckets[j].UpperBound })
	// A page is not written at one instant: a bucket may lag behind a lower one.
	for i := 1; i < len(h.Buckets); i++ {
		h.Buckets[i].Count = max(h.Buckets[i].Count, h.Buckets[i-1].Count)
	}
	return h
}

// quantile estimates the q-quantile by the rule of Prometheus's
// histogram_quantile (promql/quantile.go): linear within the bucket that holds
// the rank, and the first bucket begins at 0 if its bound is positive. Beyond the last
// finite bound there is no estimate, and above is that bound.
func (h Histogram) quantile(q float64) (estimate *schema.Float, above *schema.Float) {
	n := len(h.Buckets)
	if n < 2 || !notFinite(h.Buckets[n-1].UpperBound) { // without a +Inf bucket, not a valid histogram
		return nil, nil
	}
	total := h.Buckets[n-1].Count
	if total <= 0 {
		return nil, nil
	}
	rank := q * total
	i := sort.Search(n-1, func(i int) bool { return h.Buckets[i].Count >= rank })
	if i == n-1 {
		return nil, schema.F(h.Buckets[n-2].UpperBound)
	}
	upper := h.Buckets[i].UpperBound
	if i == 0 && upper <= 0 {
		return schema.F(upper), nil
	}
	lower, below := 0.0, 0.0
	if i > 0 {
		lower, below = h.Buckets[i-1].UpperBound, h.Buckets[i-1].Count
	}
	within := h.Buckets[i].Count - below
	if within <= 0 { // rank 0 in an empty bucket
		return schema.F(upper), nil
	}
	return schema.F(lower + (upper-lower)*(rank-below)/within), nil
}

// estimate is quantile kept within the bounds that the sum proves. Prometheus's rule
// assumes observations that are spread evenly over a bucket: 80 waits of 0.00133 s in all
// have an estimated median of 0.15 s if the first bucket ends at 0.3 s.
func (h Histogram) estimate(q float64) (estimate, above *schema.Float, bounds *schema.Bounds) {
	estimate, above = h.quantile(q)
	b, ok := h.QuantileBounds(q)
	if !ok {
		return estimate, above, nil
	}
	low, high := roundDown(b.Low), roundUp(b.High)
	if h.Sum == 0 && low == 0 {
		high, estimate = 0, schema.F(0)
	}
	if estimate != nil {
		estimate = schema.F(min(max(float64(*estimate), low), high))
	}
	return estimate, above, &schema.Bounds{schema.F(low), schema.F(high)}
}

// boundDigits is to how many significant digits bounds are rounded, outwards.
const boundDigits = 6

// roundUp returns the smallest number of boundDigits digits that is at least x, which is
// not negative.
func roundUp(x float64) float64 {
	y, unit := roundBound(x)
	if y < x {
		y, _ = roundBound(y + unit)
	}
	return y
}

// roundDown returns the largest number of boundDigits digits that is at most x, which is
// not negative.
func roundDown(x float64) float64 {
	y, unit := roundBound(x)
	if y > x {
		y, _ = roundBound(y - unit)
	}
	return y
}

// roundBound returns the number of boundDigits digits that is nearest to x, and the unit
// of the last digit.
func roundBound(x float64) (y, unit float64) {
	if x == 0 || notFinite(x) {
		return x, 0
	}
	y, err := strconv.ParseFloat(strconv.FormatFloat(x, 'e', boundDigits-1, 64), 64)
	if err != nil {
		return x, 0 // beyond the largest float
	}
	return y, math.Pow(10, math.Floor(math.Log10(x))-boundDigits+1)
}

// Distribution returns the histogram in the event's form; nil without observations.
func (h Histogram) Distribution() *schema.Distribution {
	if h.Count <= 0 {
		return nil
	}
	d := &schema.Distribution{Count: int64(h.Count), Sum: schema.Float(h.Sum), Mean: schema.F(h.Sum / h.Count)}
	for _, q := range []struct {
		q        float64
		estimate **schema.Float
		bounds   **schema.Bounds
	}{
		{0.5, &d.P50Est, &d.P50Bounds}, {0.9, &d.P90Est, &d.P90Bounds}, {0.95, &d.P95Est, &d.P95Bounds}, {0.99, &d.P99Est, &d.P99Bounds},
	} {
		estimate, above, bounds := h.estimate(q.q)
		*q.estimate, *q.bounds = estimate, bounds
		if above != nil {
			d.Above = above
		}
	}
	below := 0.0
	for _, b := range h.Buckets {
		if b.Count > below {
			bucket := schema.Bucket{nil, schema.Ptr(b.Count)}
			if !notFinite(b.UpperBound) {
				bucket[0] = schema.Ptr(b.UpperBound)
			}
			d.Buckets = append(d.Buckets, bucket)
			below = b.Count
		}
	}
	return d
}
