package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// maxTokens bounds prompts and outputs, in tokens.
const maxTokens = 10_000_000

// Lengths is a distribution of numbers of tokens.
type Lengths struct {
	text      string
	low, high int // uniform between them; equal if fixed
	// median and sigma are those of a lognormal distribution, if sigma > 0, cut to low and high.
	median, sigma float64
}

// ParseLengths reads a number, a range such as 100..500, or lognormal:MEDIAN,SIGMA, in which
// SIGMA is the standard deviation of the logarithm.
func ParseLengths(text string) (Lengths, error) {
	l := Lengths{text: text}
	wrong := func() (Lengths, error) {
		return Lengths{}, fmt.Errorf("%q: use a number of tokens like 256, a range like 100..500, or lognormal:MEDIAN,SIGMA like lognormal:256,0.8", text)
	}
	if rest, ok := strings.CutPrefix(text, "lognormal:"); ok {
		median, sigma, ok := strings.Cut(rest, ",")
		var err, err2 error
		l.median, err = strconv.ParseFloat(median, 64)
		l.sigma, err2 = strconv.ParseFloat(sigma, 64)
		if !ok || err != nil || err2 != nil || !(l.median >= 1 && l.median <= maxTokens) || !(l.sigma > 0 && l.sigma <= 5) {
			return wrong()
		}
		l.low, l.high = 1, int(min(maxTokens, 100*l.median))
		return l, nil
	}
	low, high, isRange := strings.Cut(text, "..")
	if !isRange {
		high = low
	}
	var err, err2 error
	l.low, err = strconv.Atoi(low)
	l.high, err2 = strconv.Atoi(high)
	if err != nil || err2 != nil || l.low < 1 || l.high < l.low || l.high > maxTokens {
		return wrong()
	}
	return l, nil
}

// String returns the distribution as [ParseLengths] reads it.
func (l Lengths) String() string { return l.text }

func (l Lengths) draw(rng *rand.Rand) int {
	switch {
	case l.sigma > 0:
		return min(max(int(math.Round(l.median*math.Exp(l.sigma*rng.NormFloat64()))), l.low), l.high)
	case l.low == l.high:
		return l.low
	}
	return l.low + rng.IntN(l.high-l.low+1)
}

// Arrivals is how requests of an open loop arrive.
type Arrivals struct {
	text string
	// shape is that of the gamma distribution of the gaps: 1 makes a Poisson process, less
	// makes bursts, more makes it regular. +Inf stands for equal gaps.
	shape float64
}

// Poisson is the arrival process of many independent users.
var Poisson = Arrivals{"poisson", 1}

// ParseArrivals reads poisson, constant, or gamma:SHAPE.
func ParseArrivals(text string) (Arrivals, error) {
	switch text {
	case "poisson":
		return Poisson, nil
	case "constant":
		return Arrivals{text, math.Inf(1)}, nil
	}
	if shape, ok := strings.CutPrefix(text, "gamma:"); ok {
		if x, err := strconv.ParseFloat(shape, 64); err == nil && x >= 0.01 && x <= 10_000 {
			return Arrivals{text, x}, nil
		}
		return Arrivals{}, fmt.Errorf("%q: the shape is a number from 0.01 to 10000; 1 is poisson, and less makes bursts", text)
	}
	return Arrivals{}, fmt.Errorf("%q: use poisson, constant, or gamma:SHAPE like gamma:0.5", text)
}

// String returns the process as [ParseArrivals] reads it.
func (a Arrivals) String() string { return a.text }

// gap returns the time to the next arrival at a rate of 1.
func (a Arrivals) gap(rng *rand.Rand) float64 {
	switch {
	case math.IsInf(a.shape, 1):
		return 1
	case a.shape == 1:
		return rng.ExpFloat64()
	}
	return gamma(rng, a.shape) / a.shape
}

// gamma draws from the gamma distribution of scale 1, by the method of Marsaglia and Tsang
// (A Simple Method for Generating Gamma Variables, ACM TOMS 26, 2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	boost := 1.0
	if shape < 1 {
		boost = math.Pow(1-rng.Float64(), 1/shape)
		shape++
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return boost * d * v
		}
	}
}

// Endpoint is which of OpenAI's endpoints the requests go to.
type Endpoint string

// The endpoints.
const (
	Completions Endpoint = "completions" // prompts as token ids
	Chat        Endpoint = "chat"        // prompts as text
)

// ParseEndpoint reads an endpoint.
func ParseEndpoint(text string) (Endpoint, error) {
	switch e := Endpoint(text); e {
	case Completions, Chat:
		return e, nil
	}
	return "", fmt.Errorf("%q: use completions or chat", text)
}
