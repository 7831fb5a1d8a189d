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
//
// An interval lies between two polls. At the edge of a stretch of work, the engine may
// have worked in any part of it: the union of all intervals is the longest time that the
// polls allow, and the union of the others the shortest.
type ActiveTime struct {
	all, certain     union
	intervals, edges int
}

// union is the union of intervals of time.
type union struct {
	folded time.Duration
	open   []span // sorted and disjoint
}

type span struct{ from, to time.Time }

// Add adds an interval. Throughout reports whether requests were running at both of its
// ends. No later interval begins before watermark.
func (a *ActiveTime) Add(from, to, watermark time.Time, throughout bool) {
	a.intervals++
	a.all.add(from, to, watermark)
	if throughout {
		a.certain.add(from, to, watermark)
	} else {
		a.edges++
	}
}

func (u *union) add(from, to, watermark time.Time) {
	i := 0
	for i < len(u.open) && u.open[i].to.Before(from) {
		i++
	}
	j := i
	for ; j < len(u.open) && !u.open[j].from.After(to); j++ {
		if u.open[j].from.Before(from) {
			from = u.open[j].from
		}
		if u.open[j].to.After(to) {
			to = u.open[j].to
		}
	}
	u.open = slices.Replace(u.open, i, j, span{from, to})
	n := 0
	for n < len(u.open) && (u.open[n].to.Before(watermark) || len(u.open)-n > MaxOpenSpans) {
		u.folded += u.open[n].to.Sub(u.open[n].from)
		n++
	}
	u.open = slices.Delete(u.open, 0, n)
}

func (u *union) seconds() float64 {
	sum := u.folded
	for _, s := range u.open {
		sum += s.to.Sub(s.from)
	}
	return sum.Seconds()
}

// Seconds returns the length of the union of all intervals.
func (a *ActiveTime) Seconds() float64 { return a.all.seconds() }

// UncertainSeconds returns how much of Seconds the polls leave open: the engine worked at
// least for the rest.
func (a *ActiveTime) UncertainSeconds() float64 { return a.all.seconds() - a.certain.seconds() }

// Intervals returns how many intervals were added.
func (a *ActiveTime) Intervals() int { return a.intervals }

// Edges returns how many of them were at the edge of a stretch of work.
func (a *ActiveTime) Edges() int { return a.edges }

// Spans returns how many intervals are kept separately, at most [MaxOpenSpans].
func (a *ActiveTime) Spans() int { return len(a.all.open) }
