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
	middle   float64 // what the mean is of, at the last reading
	area     float64 // of it times seconds, by trapezoids
	seconds  float64
	lastTime time.Time // of the reading that the next trapezoid begins at
}

// add takes in a reading: its value, and what the mean is taken of, which is the
// same but for fractions of several engines. A reading that is not during the
// command's run (before its start, or after its end while the engine settles)
// counts as the last value, and not for mean and peak.
func (t *track) add(at time.Time, value, middle float64, during bool) {
	if during {
		if t.seen && !t.lastTime.IsZero() {
			dt := at.Sub(t.lastTime).Seconds()
			t.area += (t.middle + middle) / 2 * dt
			t.seconds += dt
		}
		if !t.seen || value > t.peak {
			t.peak = value
		}
		t.seen = true
		t.lastTime = at
	}
	t.last, t.middle, t.known = value, middle, true
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

// place is one engine of one endpoint, and the value of the label that splits the
// figure.
type place struct {
	endpoint int
	engine   engineID
	by       string
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

// scope is what several engines' gauges are taken together in: a stage, and the
// value of the label that splits the figure. Both are empty for most.
type scope struct{ stage, by string }

// gauge is one figure, at each place and of all in a scope together.
type gauge struct {
	kind   kind
	polled bool // filtered polls ask for it
	seats  map[place]*seat
	totals map[scope]*track // each goes on only while it is known at every seat
}

// gauges follows the gauges of all engines that are read, each for itself and
// all together: requests added up, of fractions the highest and the mean.
type gauges struct {
	figures [figureCount]gauge // those that are no gauges stay empty
	list    []figure           // those that are
	reading int
}

func newGauges() *gauges {
	g := &gauges{}
	for f := range figureCount {
		places := placesOf()[f]
		if len(places) == 0 || !rows[places[0]].kind.isGauge() {
			continue
		}
		g.figures[f] = gauge{kind: rows[places[0]].kind, polled: isPolled(f), seats: map[place]*seat{}, totals: map[scope]*track{}}
		g.list = append(g.list, f)
	}
	return g
}

// add takes in the gauges of one reading of one endpoint: of a full page, or of a
// filtered one, which has not all of them. After a restart the time since the
// reading before belongs to no mean.
func (g *gauges) add(endpoint int, at time.Time, readings []gaugeReading, full, during, restarted bool) {
	g.reading++
	for _, f := range g.list {
		if full || g.figures[f].polled {
			g.figures[f].add(f, g.reading, endpoint, at, readings, during, restarted)
		}
	}
}

func (g *gauge) add(f figure, reading, endpoint int, at time.Time, readings []gaugeReading, during, restarted bool) {
	row := rowID(-1) // the newest name that the page has: an older one stands for the same
	for _, r := range readings {
		if r.row.figure() == f && (row < 0 || r.row < row) {
			row = r.row
		}
	}
	for _, r := range readings {
		if r.row != row {
			continue
		}
		p := place{endpoint, r.engine, r.by}
		s := g.seats[p]
		if s == nil {
			s = &seat{}
			g.seats[p] = s
		}
		switch {
		case s.reading != reading:
			s.reading, s.value, s.broken = reading, r.value, r.broken
			continue
		case r.perProcess || g.kind == fractionKind:
			s.value = max(s.value, r.value)
		default:
			s.value += r.value
		}
		s.broken = s.broken || r.broken
	}
	for p, s := range g.seats {
		if p.endpoint != endpoint {
			continue
		}
		had := s.live || s.lost
		s.live = s.reading == reading
		s.lost = had && !s.live && !restarted
		if restarted {
			s.lastTime = time.Time{}
		}
		if s.live && !s.broken {
			s.add(at, s.value, s.value, during)
		}
		c := scope{p.engine.stage, p.by}
		if g.totals[c] == nil {
			g.totals[c] = &track{}
		}
	}
	for c, t := range g.totals {
		if restarted {
			t.lastTime = time.Time{}
		}
		if row < 0 {
			continue
		}
		if value, middle, whole := g.together(c); whole {
			t.add(at, value, middle, during)
		}
	}
}

// together takes the last values in a scope together. whole says that every one
// is known.
func (g *gauge) together(c scope) (value, middle float64, whole bool) {
	whole = true
	sum, highest, n := 0.0, 0.0, 0
	for p, s := range g.seats {
		if (scope{p.engine.stage, p.by}) != c {
			continue
		}
		whole = whole && !s.lost && !(s.live && s.broken)
		if s.live {
			sum += s.value
			highest = max(highest, s.value)
			n++
		}
	}
	if g.kind == fractionKind {
		return highest, sum / float64(max(n, 1)), whole
	}
	return sum, sum, whole
}

// lost says whether an engine of a scope stopped exporting the gauge while it went on.
func (g *gauge) lost(c scope) bool {
	for p, s := range g.seats {
		if s.lost && (scope{p.engine.stage, p.by}) == c {
			return true
		}
	}
	return false
}

// gone notes that nobody listens at an endpoint: its engines have no requests.
func (g *gauges) gone(endpoint int) {
	for _, f := range g.list {
		for p, s := range g.figures[f].seats {
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

// runningNow is the number of running requests at the last readings. A vllm-omni
// pipeline's count beside those of its stages: some stages tell none.
func (g *gauges) runningNow(endpoint int) float64 {
	return g.now(running, endpoint) + g.now(omniRunning, endpoint)
}

// busyNow says whether requests run or wait at the last readings of an endpoint.
// A pipeline's own waiting ones do not count: an idle one may show some (review
// of vllm-omni's PR 3576).
func (g *gauges) busyNow(endpoint int) bool {
	return g.runningNow(endpoint) > 0 || g.now(waiting, endpoint) > 0
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
