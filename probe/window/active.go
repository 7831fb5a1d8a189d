package window

import (
	"slices"
	"time"
)

// MaxOpenSpans bounds the intervals that are kept apart. It is only reached
// where an endpoint went away long ago.
const MaxOpenSpans = 256

// ActiveTime adds up the time in which any of several endpoints was active: the
// union of their intervals. Those that no later interval can touch are folded
// into a sum, so that it does not grow with time.
type ActiveTime struct {
	folded    time.Duration
	open      []span // sorted, apart from each other
	Intervals int    // that were added
}

type span struct{ from, to time.Time }

// Add takes in an interval. No later one begins before horizon.
func (a *ActiveTime) Add(from, to, horizon time.Time) {
	a.Intervals++
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
	for n < len(a.open) && (a.open[n].to.Before(horizon) || len(a.open)-n > MaxOpenSpans) {
		a.folded += a.open[n].to.Sub(a.open[n].from)
		n++
	}
	a.open = slices.Delete(a.open, 0, n)
}

func (a *ActiveTime) Seconds() float64 {
	sum := a.folded
	for _, s := range a.open {
		sum += s.to.Sub(s.from)
	}
	return sum.Seconds()
}

// Spans returns how many intervals are kept apart, at most [MaxOpenSpans].
func (a *ActiveTime) Spans() int { return len(a.open) }
