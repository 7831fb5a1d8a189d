package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// maxTime bounds drawn times.
const maxTime = 24 * time.Hour

// Times is a distribution of times. The zero value is always 0.
type Times struct {
	text      string
	low, high time.Duration // uniform between them; equal if fixed
	// median and sigma are those of a lognormal distribution, if sigma > 0, cut to high.
	median time.Duration
	sigma  float64
}

// ParseTimes reads a time such as 2s, a range such as 1s..5s, or lognormal:MEDIAN,SIGMA, in
// which SIGMA is the standard deviation of the logarithm.
func ParseTimes(text string) (Times, error) {
	t := Times{text: text}
	wrong := func() (Times, error) {
		return Times{}, fmt.Errorf("%q: use a time like 2s, a range like 1s..5s, or lognormal:MEDIAN,SIGMA like lognormal:2s,0.8", text)
	}
	if rest, ok := strings.CutPrefix(text, "lognormal:"); ok {
		median, sigma, ok := strings.Cut(rest, ",")
		var err, err2 error
		t.median, err = time.ParseDuration(median)
		t.sigma, err2 = strconv.ParseFloat(sigma, 64)
		if !ok || err != nil || err2 != nil || t.median <= 0 || t.median > maxTime || !(t.sigma > 0 && t.sigma <= 5) {
			return wrong()
		}
		t.high = min(maxTime, 100*t.median)
		return t, nil
	}
	low, high, isRange := strings.Cut(text, "..")
	if !isRange {
		high = low
	}
	var err, err2 error
	t.low, err = time.ParseDuration(low)
	t.high, err2 = time.ParseDuration(high)
	if err != nil || err2 != nil || t.low < 0 || t.high < t.low || t.high > maxTime {
		return wrong()
	}
	return t, nil
}

// String returns the distribution as [ParseTimes] reads it.
func (t Times) String() string { return t.text }

func (t Times) draw(rng *rand.Rand) time.Duration {
	switch {
	case t.sigma > 0:
		return min(time.Duration(float64(t.median)*math.Exp(t.sigma*rng.NormFloat64())), t.high)
	case t.low == t.high:
		return t.low
	}
	return t.low + time.Duration(rng.Int64N(int64(t.high-t.low)+1))
}
