package stats

import (
	"math"
	"slices"
)

// Trend is a monotonic trend of a series of readings at equal distances in time.
type Trend struct {
	// Slope is the change from one reading to the next, by Theil and Sen: the median of the
	// slopes between all pairs.
	Slope float64
	// P is the p value of no trend, by Mann and Kendall, with the variance of Hamed and Rao.
	P float64
	// N is the number of values that were tested, and Block how many readings each is the mean
	// of.
	N, Block int
}

const (
	// minBlocks is the least number of values for a trend.
	minBlocks = 10
	// correlationTimes is how many of them a block spans.
	correlationTimes = 5
	// lagAlpha is the level at which a correlation between neighbors counts for Hamed and Rao.
	lagAlpha = 0.05
)

// TrendOfBlocks returns the trend of readings that may depend on their neighbors, as those of a
// gauge do. A test of the readings themselves would find trends where there are none: it tests
// the means of blocks, each of which spans five correlation times, and allows for what
// correlation is left. ok is false if that leaves fewer than ten blocks.
func TrendOfBlocks(readings []float64) (t Trend, ok bool) {
	n := len(readings)
	if n < minBlocks {
		return t, false
	}
	slope := theilSen(readings)
	block := max(1, int(math.Ceil(correlationTimes*correlationTime(detrended(readings, slope)))))
	if n/block < minBlocks {
		return t, false
	}
	var means []float64
	// What does not fill a block is left out at the beginning.
	for i := n % block; i < n; i += block {
		sum := 0.0
		for _, x := range readings[i : i+block] {
			sum += x
		}
		means = append(means, sum/float64(block))
	}
	t = MannKendall(means)
	t.Slope /= float64(block)
	t.Block = block
	return t, true
}

// MannKendall returns the trend of a series by the test of Mann and Kendall, with the variance
// of Hamed and Rao for series whose values depend on each other, and a correction for
// continuity. The variance is not reduced: values that alternate are no evidence of a trend.
func MannKendall(values []float64) Trend {
	n := len(values)
	t := Trend{Slope: theilSen(values), N: n, Block: 1, P: 1}
	s, variance := kendallScore(values)
	variance *= max(1, hamedRao(detrended(values, t.Slope)))
	if s == 0 || variance <= 0 {
		return t
	}
	z := (math.Abs(s) - 1) / math.Sqrt(variance)
	t.P = math.Erfc(z / math.Sqrt2)
	return t
}

// theilSen returns the median of the slopes between all pairs of values.
func theilSen(values []float64) float64 {
	n := len(values)
	slopes := make([]float64, 0, n*(n-1)/2)
	for i := range values {
		for j := i + 1; j < n; j++ {
			slopes = append(slopes, (values[j]-values[i])/float64(j-i))
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	middle := len(slopes) / 2
	if len(slopes)%2 == 1 {
		return slopes[middle]
	}
	return (slopes[middle-1] + slopes[middle]) / 2
}

// detrended returns the values less a line of a slope.
func detrended(values []float64, slope float64) []float64 {
	out := make([]float64, len(values))
	for i, x := range values {
		out[i] = x - float64(i+1)*slope
	}
	return out
}

// kendallScore returns the number of pairs that rise less that of those that fall, and its
// variance if the values are independent.
func kendallScore(values []float64) (s, variance float64) {
	n := len(values)
	for i := range values {
		for j := i + 1; j < n; j++ {
			switch {
			case values[j] > values[i]:
				s++
			case values[j] < values[i]:
				s--
			}
		}
	}
	term := func(n float64) float64 { return n * (n - 1) * (2*n + 5) }
	variance = term(float64(n))
	ordered := sorted(values)
	for i := 0; i < n; {
		j := i
		for j < n && ordered[j] == ordered[i] {
			j++
		}
		variance -= term(float64(j - i))
		i = j
	}
	return s, variance / 18
}

// hamedRao returns the factor by which correlation between values changes the variance of
// [kendallScore], from the ranks of the values without their trend.
func hamedRao(values []float64) float64 {
	n := float64(len(values))
	if n < 4 {
		return 1
	}
	limit := normalQuantile(1-lagAlpha/2) / math.Sqrt(n)
	sum := 0.0
	for lag, r := range autocorrelation(averageRanks(values)) {
		if i := float64(lag + 1); math.Abs(r) > limit {
			sum += (n - i) * (n - i - 1) * (n - i - 2) * r
		}
	}
	return 1 + 2/(n*(n-1)*(n-2))*sum
}

// averageRanks returns the ranks of the values from 1 on; equal values share the mean of theirs.
func averageRanks(values []float64) []float64 {
	ordered := sorted(values)
	ranks := make([]float64, len(values))
	for i, x := range values {
		low, _ := slices.BinarySearch(ordered, x)
		high := low
		for high < len(ordered) && ordered[high] == x {
			high++
		}
		ranks[i] = float64(low+high+1) / 2
	}
	return ranks
}

// autocorrelation returns the correlation of the values with those that follow them by 1, 2, …
// places; none if all values are equal.
func autocorrelation(values []float64) []float64 {
	n := len(values)
	if n == 0 || slices.Min(values) == slices.Max(values) {
		return nil
	}
	mean := 0.0
	for _, x := range values {
		mean += x / float64(n)
	}
	covariance := func(lag int) (sum float64) {
		for i := range n - lag {
			sum += (values[i] - mean) * (values[i+lag] - mean)
		}
		return sum
	}
	variance := covariance(0)
	out := make([]float64, n-1)
	for i := range out {
		out[i] = covariance(i+1) / variance
	}
	return out
}

// correlationTime returns over how many readings detrended values depend on each other: the sum
// of their autocorrelation. It is 0 for independent values. The sum ends where it becomes shorter
// than a fifth of its length (Sokal's window). A short series makes it too low, because the
// values' own mean and trend were removed: it is at least that of a first-order process with
// the corrected correlation of neighbors (Marriott and Pope).
func correlationTime(values []float64) float64 {
	r := autocorrelation(values)
	if len(r) == 0 {
		return 0
	}
	sum := 0.0
	for lag, r := range r {
		sum += r
		if float64(lag+1) >= 5*(sum+0.5) {
			break
		}
	}
	n := float64(len(values))
	neighbors := min((n*r[0]+2)/(n-4), 0.999)
	return max(0, sum, neighbors/(1-neighbors))
}

// maxIncrements is the number of increments that [Increments] tests.
const maxIncrements = 20

// Increments tests whether a series rises: it returns the p value, one-sided, of as many rises
// among the increments between equally distant readings if rises and falls are equally likely.
// It is for levels that wander, as memory in use does, whose readings depend on each other for
// ever, and whose increments do not. Increments of 0 do not count.
func Increments(readings []float64) float64 {
	steps := min(maxIncrements, len(readings)-1)
	rises, n := 0, 0
	for i := range max(steps, 0) {
		from, to := readings[i*(len(readings)-1)/steps], readings[(i+1)*(len(readings)-1)/steps]
		if to > from {
			rises++
		}
		if to != from {
			n++
		}
	}
	// The upper tail of a binomial distribution.
	p, term := 0.0, math.Pow(0.5, float64(n))
	for k := n; k >= rises; k-- {
		p += term
		term *= float64(k) / float64(n-k+1)
	}
	return min(p, 1)
}
