package probe

import (
	"sort"

	"github.com/vobs/vobs/schema"
)

// histogram is what a histogram gained over the window, its buckets cumulative
// and sorted by bound, the last one +Inf.
type histogram struct {
	count, sum float64
	buckets    []bucket
}

// merge adds histograms of several engines. Where their bucket layouts differ,
// the bounds that all have are kept: cumulative counts at a common bound add up.
func merge(groups []*group) histogram {
	var h histogram
	counts := map[float64]int{}
	sums := map[float64]float64{}
	for _, g := range groups {
		form := g.row.row().form
		h.count += g.count
		h.sum += g.sum * form.scale()
		for _, b := range g.buckets {
			if form.quantiles() {
				counts[b.le*form.scale()]++
				sums[b.le*form.scale()] += b.gained
			}
		}
	}
	for le, n := range counts {
		if n == len(groups) {
			h.buckets = append(h.buckets, bucket{le, sums[le]})
		}
	}
	sort.Slice(h.buckets, func(i, j int) bool { return h.buckets[i].le < h.buckets[j].le })
	// A page is not written in one instant: a bucket may lag behind a lower one.
	for i := 1; i < len(h.buckets); i++ {
		h.buckets[i].gained = max(h.buckets[i].gained, h.buckets[i-1].gained)
	}
	return h
}

// quantile estimates the q-quantile by the rule of Prometheus's
// histogram_quantile (promql/quantile.go): linear within the bucket that holds
// the rank, the first bucket beginning at 0 where its bound is positive. Beyond
// the last finite bound there is no estimate; above is that bound then.
func (h histogram) quantile(q float64) (estimate *schema.Float, above *schema.Float) {
	n := len(h.buckets)
	if n < 2 || !isBroken(h.buckets[n-1].le) { // no +Inf bucket: no valid histogram
		return nil, nil
	}
	total := h.buckets[n-1].gained
	if total <= 0 {
		return nil, nil
	}
	rank := q * total
	i := sort.Search(n-1, func(i int) bool { return h.buckets[i].gained >= rank })
	if i == n-1 {
		return nil, schema.F(h.buckets[n-2].le)
	}
	upper := h.buckets[i].le
	if i == 0 && upper <= 0 {
		return schema.F(upper), nil
	}
	lower, below := 0.0, 0.0
	if i > 0 {
		lower, below = h.buckets[i-1].le, h.buckets[i-1].gained
	}
	within := h.buckets[i].gained - below
	if within <= 0 { // rank 0 in an empty bucket
		return schema.F(upper), nil
	}
	return schema.F(lower + (upper-lower)*(rank-below)/within), nil
}

// distribution puts a histogram into the event's form; nil without observations.
func (h histogram) distribution() *schema.Distribution {
	if h.count <= 0 {
		return nil
	}
	d := &schema.Distribution{Count: int64(h.count), Sum: schema.Float(h.sum), Mean: schema.F(h.sum / h.count)}
	for _, q := range []struct {
		q    float64
		into **schema.Float
	}{{0.5, &d.P50Est}, {0.9, &d.P90Est}, {0.95, &d.P95Est}, {0.99, &d.P99Est}} {
		estimate, above := h.quantile(q.q)
		*q.into = estimate
		if above != nil {
			d.Above = above
		}
	}
	return d
}
