package window

import (
	"math"
	"time"
)

// integral is the integral of a gauge over the time between its first and its last valid
// reading, by trapezoids.
type integral struct {
	total   area
	seconds float64

	last reading
	// down is since the last reading. It counts only once there is another reading.
	down downTime
	// gaps reports whether some time between the first and the last reading is left out.
	gaps bool

	// atPage is the integral, and lastAtPage the value, on the last whole page of the
	// process. uncounted is the integral over what followed on the last whole pages of all
	// processes that ended, up to their ends, and lost the sum of the values on these pages.
	atPage     area
	lastAtPage float64
	uncounted  area
	lost       float64
}

// area is an integral and the variance of what is estimated of it.
type area struct {
	value, variance float64
	// hidden is the sum of the squares of the times between two readings that found the
	// engine without requests although it counted tokens between them.
	hidden float64
}

// minus returns the part of an area that followed on an earlier one.
func (a area) minus(b area) area {
	return area{a.value - b.value, a.variance - b.variance, a.hidden - b.hidden}
}

func (a area) plus(b area) area {
	return area{a.value + b.value, a.variance + b.variance, a.hidden + b.hidden}
}

// err returns the standard error of an area of a gauge with that peak: in a hidden time, any
// value up to it was possible for any part.
func (a area) err(peak float64) float64 { return math.Sqrt(a.variance + a.hidden*peak*peak/4) }

// reading is the value of a gauge at a time; none if the time is zero.
type reading struct {
	at    time.Time
	value float64
}

// downTime is the time between the first and the last of the moments at which nothing listened
// at an endpoint. Its gauges are 0 then.
type downTime struct{ from, to time.Time }

func (d *downTime) add(at time.Time) {
	if d.from.IsZero() {
		d.from = at
	}
	d.to = at
}

// add adds a reading of a page. hidden reports whether neither that page nor the one before it
// shows a request, although the engine counted tokens between them.
func (g *integral) add(at time.Time, value float64, whole, hidden bool) {
	if !g.down.from.IsZero() {
		g.step(reading{g.down.from, 0})
		g.uncounted = g.uncounted.plus(g.total.minus(g.atPage))
		g.lost += g.lastAtPage
		g.step(reading{g.down.to, 0})
		g.down, g.atPage, g.lastAtPage = downTime{}, g.total, 0
	}
	if hidden && !g.last.at.IsZero() {
		h := at.Sub(g.last.at).Seconds()
		g.total.hidden += h * h
	}
	g.step(reading{at, value})
	if whole {
		g.mark()
	}
}

// mark records that the process's counters have been read at the time of the last reading.
func (g *integral) mark() { g.atPage, g.lastAtPage = g.total, g.last.value }

// step adds the trapezoid up to a reading. The variance of its area is that of a gauge whose
// readings have nothing to do with each other, such as one of short requests: the square of
// their difference is then twice their variance on average. It is too high if the gauge
// changes slowly.
func (g *integral) step(now reading) {
	if !g.last.at.IsZero() {
		h, d := now.at.Sub(g.last.at).Seconds(), now.value-g.last.value
		g.total.value += (g.last.value + now.value) / 2 * h
		g.total.variance += d * d * h * h / 2
		g.seconds += h
	}
	g.last = now
}

// interrupt records that another process is read from now on. Unless there was a time between
// the two in which nothing listened, the time since the last reading is left out.
func (g *integral) interrupt() {
	if g.down.from.IsZero() && !g.last.at.IsZero() {
		g.gaps = true
		g.last = reading{}
	}
}
