package truth

import (
	"slices"
	"time"
)

// trace is a quantity that changes at known instants and is constant between them. It is
// 0 before the first one.
type trace struct {
	at    []time.Duration
	value []float64
}

// set changes the value at an instant, which must not precede earlier ones.
func (t *trace) set(at time.Duration, value float64) {
	n := len(t.at)
	if n > 0 && t.at[n-1] == at {
		t.value[n-1] = value
		return
	}
	if n > 0 && t.value[n-1] == value || n == 0 && value == 0 {
		return
	}
	t.at, t.value = append(t.at, at), append(t.value, value)
}

// spans calls f for each interval of [from, to] in which the value is constant.
func (t *trace) spans(from, to time.Duration, f func(from, to time.Duration, value float64)) {
	i, _ := slices.BinarySearch(t.at, from+1) // the first change after from
	for from < to {
		value, until := 0.0, to
		if i > 0 {
			value = t.value[i-1]
		}
		if i < len(t.at) {
			until = min(to, t.at[i])
		}
		f(from, until, value)
		from = until
		i++
	}
}

// integral returns the integral over [from, to], in seconds.
func (t *trace) integral(from, to time.Duration) (sum float64) {
	t.spans(from, to, func(a, b time.Duration, v float64) { sum += v * (b - a).Seconds() })
	return sum
}

// mean returns the time-weighted mean over [from, to].
func (t *trace) mean(from, to time.Duration) float64 {
	return t.integral(from, to) / (to - from).Seconds()
}

// peak returns the highest value in [from, to].
func (t *trace) peak(from, to time.Duration) (peak float64) {
	t.spans(from, to, func(_, _ time.Duration, v float64) { peak = max(peak, v) })
	return peak
}

// longest returns the longest time without interruption in [from, to] in which the value
// is at least level.
func (t *trace) longest(from, to time.Duration, level float64) (longest time.Duration) {
	var since time.Duration
	above := false
	t.spans(from, to, func(a, b time.Duration, v float64) {
		if v >= level {
			if !above {
				since = a
			}
			above = true
			longest = max(longest, b-since)
		} else {
			above = false
		}
	})
	return longest
}

// combine returns the trace of a function of several traces.
func combine(traces []*trace, f func(values []float64) float64) *trace {
	var instants []time.Duration
	for _, t := range traces {
		instants = append(instants, t.at...)
	}
	slices.Sort(instants)
	next := make([]int, len(traces))
	values := make([]float64, len(traces))
	out := &trace{}
	for _, at := range slices.Compact(instants) {
		for i, t := range traces {
			for next[i] < len(t.at) && t.at[next[i]] <= at {
				values[i] = t.value[next[i]]
				next[i]++
			}
		}
		out.set(at, f(values))
	}
	return out
}

func sum(values []float64) (s float64) {
	for _, v := range values {
		s += v
	}
	return s
}

func average(values []float64) float64 { return sum(values) / float64(len(values)) }

func highest(values []float64) float64 { return slices.Max(values) }
