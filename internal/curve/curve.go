// Package curve follows a figure over a run of unknown length in a fixed amount of memory.
//
// A [Curve] divides the time since the command's start into slots of one width, each with the
// maximum and the mean of its readings. A run that outgrows the slots doubles their width by
// merging neighbors, so that nothing is read again and nothing is lost: maxima and means are
// those of all readings in the wider slots. Widths are [Shortest] times a power of two, and
// slots begin at multiples of their width, so that curves of different widths can be brought
// to the wider one.
//
// Means are weighted by time: a reading counts for the time from halfway to the reading before
// it until halfway to the one after it. The mean over a slot is that of its own readings, and
// never above its maximum.
package curve

import (
	"math"
	"time"
)

const (
	// MaxSlots is the largest number of slots of a curve.
	MaxSlots = 120
	// Shortest is the least width of a slot.
	Shortest = 250 * time.Millisecond
)

// Curve is one figure over time; times are since the command's start. The zero value is ready
// to use. It has a fixed size.
type Curve struct {
	doublings uint // of the width
	slots     [MaxSlots]sums
	length    int // slots up to the last one in use
	last      reading
	ended     bool
	end       time.Duration // when the command ended, if ended
}

// sums are the readings of one slot.
type sums struct {
	n             int64 // readings
	max           float64
	seconds, area float64 // the time that the readings count for, and the integral over it
	total         float64 // of all readings, for a slot without any time
}

func (s *sums) add(other *sums) {
	if other.n > 0 && (s.n == 0 || other.max > s.max) {
		s.max = other.max
	}
	s.n += other.n
	s.seconds += other.seconds
	s.area += other.area
	s.total += other.total
}

type reading struct {
	at    time.Duration
	value float64
	known bool
}

// Slot is the summary of one slot.
type Slot struct {
	// Readings is the number of readings in the slot. Without any, the slot is empty.
	Readings int64
	// Max is the highest reading, Mean the mean weighted by time.
	Max, Mean float64
}

// Add adds a reading. One from before the start counts only as the neighbor of the next one.
func (c *Curve) Add(at time.Duration, value float64) { c.AddPeak(at, value, value) }

// AddPeak adds a reading of several things at once: value is what the mean counts, peak, which
// is not below it, what the maximum counts.
func (c *Curve) AddPeak(at time.Duration, value, peak float64) {
	if !finite(value) || !finite(peak) {
		return
	}
	before := c.last
	if before.known && at < before.at {
		// Read late, after one that is newer: it has no time of its own.
		if at >= 0 {
			c.addTo(at, sums{n: 1, max: peak, total: value})
		}
		return
	}
	c.last = reading{at, value, true}
	middle := at
	if before.known {
		middle = before.at + (at-before.at)/2
		if before.at >= 0 {
			c.addTo(before.at, weighted(before.value, c.beforeEnd(middle)-before.at))
		}
	}
	if at < 0 || c.ended && at > c.end {
		return
	}
	one := weighted(value, at-max(middle, 0))
	one.n, one.max, one.total = 1, peak, value
	c.addTo(at, one)
}

// AddSpan adds a value that is known for a whole span of time, such as the rate of a counter
// between two readings. It counts as a reading in every slot that it overlaps.
func (c *Curve) AddSpan(from, to time.Duration, value float64) {
	from, to = max(from, 0), c.beforeEnd(to)
	if to <= from || !finite(value) {
		return
	}
	c.fit(to - 1)
	for width := c.Width(); from < to; {
		next := min(to, from-from%width+width)
		one := weighted(value, next-from)
		one.n, one.max, one.total = 1, value, value
		c.addTo(from, one)
		from = next
	}
}

// Part is what was read elsewhere within one slot of the width [Shortest].
type Part struct {
	// Slot is the number of the slot.
	Slot int64
	// Readings, Max and Total are the number of readings, the highest one and their sum.
	Readings   int64
	Max, Total float64
	// Seconds is the time that readings in the slot count for, Area the integral over it.
	Seconds, Area float64
}

// AddPart adds what was read elsewhere.
func (c *Curve) AddPart(p Part) {
	if p.Slot >= 0 && p.Slot <= math.MaxInt64/int64(Shortest) {
		c.addTo(time.Duration(p.Slot)*Shortest, sums{n: p.Readings, max: p.Max, total: p.Total, seconds: p.Seconds, area: p.Area})
	}
}

// Break records that the figure is unknown from the last reading to the next one.
func (c *Curve) Break() { c.last = reading{} }

// End sets when the command ended. What is read later does not count.
func (c *Curve) End(at time.Duration) { c.ended, c.end = true, at }

func (c *Curve) beforeEnd(at time.Duration) time.Duration {
	if c.ended {
		return min(at, c.end)
	}
	return at
}

func weighted(value float64, d time.Duration) sums {
	seconds := max(d, 0).Seconds()
	return sums{seconds: seconds, area: value * seconds}
}

// addTo adds to the slot at a time.
func (c *Curve) addTo(at time.Duration, s sums) {
	c.fit(at)
	i := int(at / c.Width())
	c.slots[i].add(&s)
	c.length = max(c.length, i+1)
}

// fit widens the slots until there is one at a time.
func (c *Curve) fit(at time.Duration) {
	for at/c.Width() >= MaxSlots {
		for i := range c.length {
			s := c.slots[i]
			c.slots[i] = sums{}
			c.slots[i/2].add(&s)
		}
		c.length = (c.length + 1) / 2
		c.doublings++
	}
}

// Width returns the width of the slots.
func (c *Curve) Width() time.Duration { return Shortest << c.doublings }

// Empty reports whether there is no reading.
func (c *Curve) Empty() bool {
	for i := range c.length {
		if c.slots[i].n > 0 {
			return false
		}
	}
	return true
}

// Slots returns the first n slots at a width, which must be [Shortest] times a power of two and
// not below that of the curve.
func (c *Curve) Slots(width time.Duration, n int) []Slot {
	out := make([]Slot, n)
	step := int(width / c.Width())
	for i := range out {
		var s sums
		for j := i * step; j < min((i+1)*step, c.length); j++ {
			s.add(&c.slots[j])
		}
		out[i] = s.slot()
	}
	return out
}

func (s *sums) slot() Slot {
	switch {
	case s.n == 0:
		return Slot{}
	case s.seconds > 0:
		// Rounding can put the mean of equal readings above them.
		return Slot{s.n, s.max, min(s.area/s.seconds, s.max)}
	}
	return Slot{s.n, s.max, min(s.total/float64(s.n), s.max)}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// CommonWidth returns the least width, [Shortest] times a power of two, that is not below that
// of any curve and at which a duration takes at most n slots.
func CommonWidth(duration time.Duration, n int, widths ...time.Duration) time.Duration {
	width := Shortest
	for _, w := range widths {
		width = max(width, w)
	}
	for Count(duration, width) > max(n, 1) {
		width *= 2
	}
	return width
}

// Count returns how many slots of a width a duration takes, the last one of which it may fill
// in part.
func Count(duration, width time.Duration) int {
	return max(1, int((duration+width-1)/width))
}
