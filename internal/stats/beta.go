package stats

import "math"

// Beta returns the regularized incomplete beta function I_x(a, b) for x from 0 to 1 and a and b
// above 0 (NIST Digital Library of Mathematical Functions, section 8.17). For whole numbers
// k >= 1 and n, Beta(p, k, n-k+1) is the probability of at least k successes in n trials
// (DLMF 8.17.5).
func Beta(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	}
	lgamma := func(v float64) float64 { l, _ := math.Lgamma(v); return l }
	factor := math.Exp(a*math.Log(x) + b*math.Log1p(-x) + lgamma(a+b) - lgamma(a) - lgamma(b))
	if x < (a+1)/(a+b+2) {
		return min(1, factor/a*betaFraction(x, a, b))
	}
	return max(0, 1-factor/b*betaFraction(1-x, b, a))
}

// BinomialAtMost returns the probability of at most k successes in n trials with probability p
// each. The numbers need not be whole: n may be the effective number of observations that
// depend on each other.
func BinomialAtMost(k, n, p float64) float64 {
	if k >= n {
		return 1
	}
	return 1 - Beta(p, k+1, n-k)
}

// BinomialAtLeast returns the probability of at least k successes, as [BinomialAtMost] does.
func BinomialAtLeast(k, n, p float64) float64 {
	if k <= 0 {
		return 1
	}
	return Beta(p, k, n-k+1)
}

// BinomialBounds returns the interval of Clopper and Pearson, with a confidence of 1-alpha, of
// the probability of which k successes in n trials are an observation. The numbers need not be
// whole.
func BinomialBounds(k, n, alpha float64) (low, high float64) {
	low, high = 0, 1
	if k > 0 {
		low = rising(func(p float64) float64 { return BinomialAtLeast(k, n, p) }, alpha/2)
	}
	if k < n {
		high = rising(func(p float64) float64 { return -BinomialAtMost(k, n, p) }, -alpha/2)
	}
	return low, high
}

// rising returns where a rising function of 0 to 1 reaches a value.
func rising(f func(float64) float64, v float64) float64 {
	low, high := 0.0, 1.0
	for range 60 {
		if middle := (low + high) / 2; f(middle) < v {
			low = middle
		} else {
			high = middle
		}
	}
	return (low + high) / 2
}

// NormalQuantile returns the value that a standard normal variable is below with probability p.
func NormalQuantile(p float64) float64 { return normalQuantile(p) }

// Inflation returns by how much the variance of the mean of a series exceeds that of independent
// values, at least 1: the method of batch means (Law, Simulation Modeling and Analysis, 9.5.3)
// with so many batches, or fewer of five values each if the series is short. A series of n
// values tells as much of its mean as n/Inflation independent ones, if values that are further
// apart than a batch is long are nearly independent.
func Inflation(series []float64, batches int) float64 {
	count := min(batches, len(series)/5)
	if count < 2 {
		return 1
	}
	size := len(series) / count
	series = series[len(series)-count*size:]
	var all, means moments
	for i := range count {
		var batch moments
		for _, v := range series[i*size : (i+1)*size] {
			all.add(v)
			batch.add(v)
		}
		means.add(batch.mean)
	}
	if all.squares == 0 {
		return 1
	}
	return max(1, float64(size)*means.variance()/all.variance())
}

// moments are the mean of values and the sum of squares around it.
type moments struct{ n, mean, squares float64 }

func (m *moments) add(v float64) {
	m.n++
	d := v - m.mean
	m.mean += d / m.n
	m.squares += d * (v - m.mean)
}

func (m *moments) variance() float64 { return m.squares / (m.n - 1) }
