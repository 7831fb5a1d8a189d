package window

import (
	"slices"
	"time"
)

// MaxOpenSpans bounds the number of intervals that are kept separately. The bound is only
// reached if an endpoint went away long ago.
const MaxOpenSpans = 256

// ActiveTime adds up the time in which any of several endpoints was active: the union of
// their intervals. Intervals that no later one can touch are folded into a sum, which
// bounds the memory.
type ActiveTime struct {
	folded    time.Duration
	open      []span // sorted and disjoint
	intervals int
}

type span struct{ from, to time.Time }

// Add adds an interval. No later one begins before watermark.
func (a *ActiveTime) Add(from, to, watermark time.Time) {
	a.intervals++
	i := 0
	for i < len(a.open) && a.open[i].to.Before(from) {
		i++
	}
	j := i
	for ; j < len(a.open) && !a.open[j].from.After(to); j++ {
		if a.open[j].from.Before(from) {
			from = a.open[j].from
		}
		if a.open[j].to.After(to) {
			to = a.open[j].to
		}
	}
	a.open = slices.Replace(a.open, i, j, span{from, to})
	n := 0
	for n < len(a.open) && (a.open[n].to.Before(watermark) || len(a.open)-n > MaxOpenSpans) {
		a.folded += a.open[n].to.Sub(a.open[n].from)
		n++
	}
	a.open = slices.Delete(a.open, 0, n)
}

// Seconds returns the length of the union of the intervals.
func (a *ActiveTime) Seconds() float64 {
	sum := a.folded
	for _, s := range a.open {
		sum += s.to.Sub(s.from)
	}
	return sum.Seconds()
}

// Intervals returns how many intervals were added.
func (a *ActiveTime) Intervals() int { return a.intervals }

// Spans returns how many intervals are kept separately, at most [MaxOpenSpans].
func (a *ActiveTime) Spans() int { return len(a.open) }
