package load

import (
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/vobs/vobs/schema"
)

// confidence is that of the interval of a 99th percentile.
const confidence = 0.95

// exact returns the distribution of values, which it sorts. A percentile is the smallest value
// that so many per cent of the values do not exceed: one of the values.
func exact(values []time.Duration) *schema.ClientDistribution {
	d := &schema.ClientDistribution{Count: schema.Ptr(int64(len(values)))}
	if len(values) == 0 {
		return d
	}
	slices.Sort(values)
	sum := 0.0
	for _, v := range values {
		sum += v.Seconds()
	}
	at := func(q float64) *schema.Float { return schema.F(values[rank(len(values), q)-1].Seconds()) }
	d.Mean = schema.F(sum / float64(len(values)))
	d.P50, d.P90, d.P95, d.P99 = at(0.5), at(0.9), at(0.95), at(0.99)
	d.Max = schema.F(values[len(values)-1].Seconds())
	low, high := quantileRanks(len(values), 0.99, confidence)
	d.P99Interval = &schema.Bounds{}
	if low > 0 {
		d.P99Interval[0] = schema.F(values[low-1].Seconds())
	}
	if high > 0 {
		d.P99Interval[1] = schema.F(values[high-1].Seconds())
	}
	return d
}

// rank returns the rank, from 1, of the q-quantile of n values.
func rank(n int, q float64) int {
	return min(max(int(math.Ceil(q*float64(n)-1e-9)), 1), n)
}

// quantileRanks returns the ranks, from 1, of the two order statistics of n independent
// observations between which the q-quantile of their distribution lies with at least the given
// confidence, whatever the distribution is: half of the rest on either side. A rank is 0 if
// there are too few observations for one (Hahn and Meeker, Statistical Intervals, 5.2: the
// number of observations below the quantile is binomial).
func quantileRanks(n int, q, confidence float64) (low, high int) {
	tail := (1 - confidence) / 2
	// sum is P(B <= k) for B of the binomial distribution of n and q. Far below the mean,
	// it is 0.
	spread := 10 * math.Sqrt(float64(n)*q*(1-q))
	from := max(0, int(float64(n)*q-spread)-10)
	sum := 0.0
	for k := from; k < n; k++ {
		sum += binomial(n, k, q)
		if sum <= tail {
			low = k + 1
		}
		if sum >= 1-tail {
			return low, k + 1
		}
	}
	return low, 0
}

// binomial returns the probability of k successes in n trials.
func binomial(n, k int, p float64) float64 {
	gamma := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	return math.Exp(gamma(n) - gamma(k) - gamma(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

// gapHistogram holds times between chunks, of which there may be hundreds of millions.
type gapHistogram struct {
	histogram *hdrhistogram.Histogram // nanoseconds, four significant digits
	sum, max  time.Duration
}

// longestGap is the longest time between two chunks that the histogram tells apart.
const longestGap = time.Hour

func newGapHistogram() *gapHistogram {
	return &gapHistogram{histogram: hdrhistogram.New(1000, int64(longestGap), 4)}
}

func (g *gapHistogram) add(gaps []time.Duration) {
	for _, gap := range gaps {
		g.sum += gap
		g.max = max(g.max, gap)
		_ = g.histogram.RecordValue(int64(min(gap, longestGap))) // within the bounds
	}
}

// distribution returns the distribution. It has no interval: the gaps of one stream are not
// independent of each other.
func (g *gapHistogram) distribution() *schema.ClientDistribution {
	n := g.histogram.TotalCount()
	d := &schema.ClientDistribution{Count: schema.Ptr(n)}
	if n == 0 {
		return d
	}
	at := func(percent float64) *schema.Float {
		// The histogram returns the highest value that it cannot tell from the one recorded.
		return schema.F(min(time.Duration(g.histogram.ValueAtQuantile(percent)), g.max).Seconds())
	}
	d.Mean = schema.F(g.sum.Seconds() / float64(n))
	d.P50, d.P90, d.P95, d.P99 = at(50), at(90), at(95), at(99)
	d.Max = schema.F(g.max.Seconds())
	return d
}
