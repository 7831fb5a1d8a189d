package stats

import "math"

// StudentQuantile returns the value that a variable with Student's t distribution is below
// with probability p, which is above 0 and below 1, for df >= 1 degrees of freedom.
func StudentQuantile(p float64, df int) float64 {
	if p < 0.5 {
		return -studentUpper(p, df)
	}
	return studentUpper(1-p, df)
}

// studentUpper returns the value that a variable with Student's t distribution exceeds with
// probability tail, which is at most 0.5. It bisects, so the result is as good as studentTail.
func studentUpper(tail float64, df int) float64 {
	low, high := ordered(0), ordered(math.MaxFloat64)
	for low < high {
		middle := low + (high-low)/2
		if studentTail(value(middle), df) <= tail {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return value(low)
}

// studentTail returns the probability that a variable with Student's t distribution exceeds
// t, for t >= 0: half the regularized incomplete beta function at df/(df+t²) with parameters
// df/2 and 1/2 (NIST Digital Library of Mathematical Functions, section 8.17).
func studentTail(t float64, df int) float64 {
	n := float64(df)
	ratio := t / math.Sqrt(n) * (t / math.Sqrt(n)) // t²/df
	x, rest := 1/(1+ratio), ratio/(1+ratio)
	if math.IsInf(ratio, 1) {
		x, rest = 0, 1
	}
	// x^(df/2) * (1-x)^(1/2) / B(df/2, 1/2)
	factor := math.Exp(-n/2*math.Log1p(ratio)) * math.Sqrt(rest) / betaHalf(df)
	if x < (n/2+1)/(n/2+2.5) {
		return factor / (n / 2) * betaFraction(x, n/2, 0.5) / 2
	}
	return (1 - factor/0.5*betaFraction(rest, 0.5, n/2)) / 2
}

// betaHalf returns the beta function B(df/2, 1/2), by its recurrence in steps of 1 in the
// first parameter up to 1000 degrees of freedom, and by the logarithms beyond.
func betaHalf(df int) float64 {
	if df > 1000 {
		// Stirling's series of the logarithm of Γ(a)/Γ(a+1/2) in powers of 1/a: what
		// math.Lgamma would lose by cancellation.
		a := float64(df) / 2
		return math.Sqrt(math.Pi/a) * math.Exp(1/(8*a)-1/(192*a*a*a)+1/(640*a*a*a*a*a))
	}
	beta, a := math.Pi, 0.5
	if df%2 == 0 {
		beta, a = 2, 1
	}
	for ; 2*a < float64(df); a++ {
		beta *= a / (a + 0.5)
	}
	return beta
}

// betaFraction returns the continued fraction of the incomplete beta function, by Lentz's
// method (DLMF 8.17.22). It converges fast for x below (a+1)/(a+b+2).
func betaFraction(x, a, b float64) float64 {
	const tiny = 1e-300
	nonzero := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/nonzero(1-(a+b)*x/(a+1))
	f := d
	for m := 1.0; m < 10_000; m++ {
		term := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / nonzero(1+term*d)
		c = nonzero(1 + term/c)
		f *= d * c
		term = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / nonzero(1+term*d)
		c = nonzero(1 + term/c)
		f *= d * c
		if math.Abs(d*c-1) < 1e-16 {
			break
		}
	}
	return f
}

// PredictionInterval returns the mean of values and the interval that one new value of the
// same normal distribution lies in with probability 1-alpha. It is based on Student's t
// distribution. With fewer than two values it is infinite; without any, the mean is NaN.
//
// Pass the mean of each session to judge the mean of a new session.
func PredictionInterval(values []float64, alpha float64) Interval {
	n := float64(len(values))
	if n == 0 {
		return unknown()
	}
	mean := 0.0
	for i, v := range values {
		mean += (v - mean) / float64(i+1)
	}
	if n == 1 {
		return Interval{mean, math.Inf(-1), math.Inf(1)}
	}
	squares := 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	half := studentUpper(alpha/2, len(values)-1) * math.Sqrt(squares/(n-1)*(1+1/n))
	return Interval{mean, mean - half, mean + half}
}
