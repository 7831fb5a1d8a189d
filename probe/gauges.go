package probe

import (
	"time"

	"github.com/vobs/vobs/schema"
)

// track follows one gauge: its last value, its peak, its mean over time.
type track struct {
	known    bool // there was a reading at all
	seen     bool // there was one during the run
	last     float64
	peak     float64
	area     float64 // value times seconds, by trapezoids
	seconds  float64
	lastTime time.Time // of the reading that the next trapezoid begins at
}

// add takes in a reading. A reading that is not during the command's run
// (before its start, or after its end while the engine settles) counts as the
// last value, and not for mean and peak.
func (t *track) add(at time.Time, value float64, during bool) {
	if during {
		if t.seen && !t.lastTime.IsZero() {
			dt := at.Sub(t.lastTime).Seconds()
			t.area += (t.last + value) / 2 * dt
			t.seconds += dt
		}
		if !t.seen || value > t.peak {
			t.peak = value
		}
		t.seen = true
		t.lastTime = at
	}
	t.last, t.known = value, true
}

// gauge puts the track into the event's form; nil without a reading.
func (t *track) gauge() *schema.Gauge {
	if t == nil || !t.known {
		return nil
	}
	g := &schema.Gauge{Last: schema.F(t.last)}
	if t.seen {
		g.Peak = schema.F(t.peak)
	}
	if t.seconds > 0 {
		g.Mean = schema.F(min(t.area/t.seconds, t.peak)) // rounding may lift it above
	}
	return g
}

// place is one engine of one endpoint.
type place struct {
	endpoint int
	engine   engineID
}

// seat is the gauge at one place.
type seat struct {
	track
	value   float64 // at the last reading, several series of one engine taken together
	reading int     // number of that reading
	live    bool    // it was there at its endpoint's last reading
	broken  bool    // its value then was no number
	lost    bool    // the same process does not export it any more
}

// gauge is one figure, at each place and of all together.
type gauge struct {
	seats map[place]*seat
	total track // goes on only while it is known at every seat
}

// gauges follows the gauges of all engines that are read, each for itself and
// all together: running and waiting requests added up, the KV cache's usage as
// the highest.
type gauges struct {
	figures [gaugeFigures]gauge
	reading int
}

func newGauges() *gauges {
	g := &gauges{}
	for f := range g.figures {
		g.figures[f] = gauge{seats: map[place]*seat{}}
	}
	return g
}

// join takes two engines' values of a figure together.
func (f figure) join(a, b float64) float64 {
	if f == kvUsage {
		return max(a, b)
	}
	return a + b
}

// add takes in the gauges of one reading of one endpoint. After a restart the
// time since the reading before belongs to no mean.
func (g *gauges) add(endpoint int, at time.Time, readings []gaugeReading, during, restarted bool) {
	g.reading++
	for i := range g.figures {
		g.figures[i].add(figure(i), g.reading, endpoint, at, readings, during, restarted)
	}
}

func (g *gauge) add(f figure, reading, endpoint int, at time.Time, readings []gaugeReading, during, restarted bool) {
	row := -1 // the newest name that the page has: an older one stands for the same
	for _, r := range readings {
		if rows[r.row].figure == f && (row < 0 || r.row < row) {
			row = r.row
		}
	}
	for _, r := range readings {
		if r.row != row {
			continue
		}
		p := place{endpoint, r.engine}
		s := g.seats[p]
		if s == nil {
			s = &seat{}
			g.seats[p] = s
		}
		if s.reading != reading {
			s.reading, s.value, s.broken = reading, r.value, r.broken
			continue
		}
		s.value = f.join(s.value, r.value)
		s.broken = s.broken || r.broken
	}
	total, whole := 0.0, row >= 0
	for p, s := range g.seats {
		if p.endpoint == endpoint {
			had := s.live || s.lost
			s.live = s.reading == reading
			s.lost = had && !s.live && !restarted
			if restarted {
				s.lastTime = time.Time{}
			}
			if s.live && !s.broken {
				s.add(at, s.value, during)
			}
		}
		whole = whole && !s.lost && !(s.live && s.broken)
		if s.live {
			total = f.join(total, s.value)
		}
	}
	if restarted {
		g.total.lastTime = time.Time{}
	}
	if whole {
		g.total.add(at, total, during)
	}
}

// lost says whether an engine stopped exporting the gauge while it went on.
func (g *gauge) lost() bool {
	for _, s := range g.seats {
		if s.lost {
			return true
		}
	}
	return false
}

// gone notes that nobody listens at an endpoint: its engines have no requests.
func (g *gauges) gone(endpoint int) {
	for i := range g.figures {
		for p, s := range g.figures[i].seats {
			if p.endpoint == endpoint {
				s.live, s.lost = false, false
			}
		}
	}
}

// at gives the track of a figure at one place; nil without one.
func (g *gauges) at(f figure, p place) *track {
	if s := g.figures[f].seats[p]; s != nil {
		return &s.track
	}
	return nil
}

// runningNow is the number of running requests at the last readings.
func (g *gauges) runningNow(endpoint int) float64 { return g.now(running, endpoint) }

// busyNow says whether requests run or wait at the last readings of an endpoint.
func (g *gauges) busyNow(endpoint int) bool {
	return g.now(running, endpoint) > 0 || g.now(waiting, endpoint) > 0
}

func (g *gauges) now(f figure, endpoint int) float64 {
	n := 0.0
	for p, s := range g.figures[f].seats {
		if p.endpoint == endpoint && s.live && !s.broken {
			n += s.value
		}
	}
	return n
}
