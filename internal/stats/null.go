package stats

import (
	"math"
	"sort"
)

// Test is the result of a two-sided rank test.
type Test struct {
	// Statistic is U of the Mann-Whitney test or W+ of the signed rank test.
	Statistic float64
	// P is the p value: twice the smaller tail probability, and at most 1.
	P float64
	// Exact reports whether P comes from the permutation distribution of the ranks, rather
	// than from its normal approximation.
	Exact bool
}

// null is the distribution of a rank statistic if there is no shift. Ties make the
// statistic a multiple of one half, so it is doubled here: an integer from 0 to max.
type null struct {
	max  int64
	step int64 // 1, or 2 if odd values are impossible
	// The exact distribution: probabilities of at most, and of at least, i*step.
	atMost, atLeast []float64
	// Otherwise the normal distribution with a continuity correction.
	mean, deviation float64
}

// exactNull returns the distribution with the given number of outcomes at each multiple of step.
func exactNull(outcomes []float64, step int64) null {
	n := len(outcomes)
	d := null{max: int64(n-1) * step, step: step, atMost: make([]float64, n), atLeast: make([]float64, n)}
	total, low, high := 0.0, 0.0, 0.0
	for _, c := range outcomes {
		total += c
	}
	for i, c := range outcomes {
		low += c
		d.atMost[i] = low / total
		high += outcomes[n-1-i]
		d.atLeast[n-1-i] = high / total
	}
	return d
}

// exact reports whether d is not an approximation.
func (d *null) exact() bool { return d.atMost != nil }

// lower returns the probability of at most s, where s is a doubled statistic.
func (d *null) lower(s int64) float64 {
	switch {
	case s < 0:
		return 0
	case s >= d.max:
		return 1
	case d.exact():
		return d.atMost[s/d.step]
	}
	return d.normal(float64(s) - d.mean + 1)
}

// upper returns the probability of at least s, where s is a doubled statistic.
func (d *null) upper(s int64) float64 {
	switch {
	case s <= 0:
		return 1
	case s > d.max:
		return 0
	case d.exact():
		return d.atLeast[(s+d.step-1)/d.step]
	}
	return d.normal(d.mean - float64(s) + 1)
}

// normal returns the probability that a variable with mean 0 and d's deviation is below x.
// Callers have added the continuity correction: 1, as the statistic is doubled.
func (d *null) normal(x float64) float64 {
	if d.deviation == 0 {
		if x > 0 {
			return 1
		}
		return 0
	}
	return math.Erfc(-x/d.deviation/math.Sqrt2) / 2
}

// p returns the two-sided p value of the doubled statistic s.
func (d *null) p(s int64) float64 { return min(1, 2*min(d.lower(s), d.upper(s))) }

// test returns the test's result for the doubled statistic s.
func (d *null) test(s int64) Test {
	return Test{Statistic: float64(s) / 2, P: d.p(s), Exact: d.exact()}
}

// lowest returns the lowest doubled statistic with a p value above alpha; 0 if all have.
func (d *null) lowest(alpha float64) int64 {
	return int64(sort.Search(int(d.max), func(s int) bool { return 2*d.lower(int64(s)) > alpha }))
}
