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
	lastTime time.Time
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

// gauges follows the gauges of all engines that are read, each for itself and
// all together: running and waiting requests added up, the KV cache's usage as
// the highest.
type gauges struct {
	current map[figure]map[place]float64
	each    map[figure]map[place]*track
	total   map[figure]*track
}

func newGauges() *gauges {
	return &gauges{
		current: map[figure]map[place]float64{},
		each:    map[figure]map[place]*track{},
		total:   map[figure]*track{},
	}
}

// add takes in the gauges of one reading of one endpoint.
func (g *gauges) add(endpoint int, at time.Time, readings []gaugeReading, during bool) {
	touched := map[figure]int{} // the row read, to take one name of each figure
	for _, r := range readings {
		f := rows[r.row].figure
		if row, ok := touched[f]; ok && row < r.row {
			continue // an older name beside the newer one
		}
		touched[f] = r.row
		p := place{endpoint, r.engine}
		if g.current[f] == nil {
			g.current[f], g.each[f], g.total[f] = map[place]float64{}, map[place]*track{}, &track{}
		}
		g.current[f][p] = r.value
	}
	for f := range touched {
		total := 0.0
		for p, value := range g.current[f] {
			if f == kvUsage {
				total = max(total, value)
			} else {
				total += value
			}
			if p.endpoint != endpoint {
				continue
			}
			if g.each[f][p] == nil {
				g.each[f][p] = &track{}
			}
			g.each[f][p].add(at, value, during)
		}
		g.total[f].add(at, total, during)
	}
}

// runningNow is the number of running requests at the last readings.
func (g *gauges) runningNow(endpoint int) float64 {
	n := 0.0
	for p, value := range g.current[running] {
		if p.endpoint == endpoint {
			n += value
		}
	}
	return n
}

// busyNow says whether requests run or wait at the last readings of an endpoint.
func (g *gauges) busyNow(endpoint int) bool {
	for _, f := range []figure{running, waiting} {
		for p, value := range g.current[f] {
			if p.endpoint == endpoint && value > 0 {
				return true
			}
		}
	}
	return false
}

// spans is a set of time intervals, each joined with the one before where they touch.
type spans []span

type span struct{ from, to time.Time }

func (s *spans) add(from, to time.Time) {
	if n := len(*s); n > 0 && !from.After((*s)[n-1].to) {
		if to.After((*s)[n-1].to) {
			(*s)[n-1].to = to
		}
		return
	}
	*s = append(*s, span{from, to})
}

// union joins several sets of which each is sorted.
func union(sets []spans) spans {
	next := make([]int, len(sets))
	var out spans
	for {
		first := -1
		for i, s := range sets {
			if next[i] < len(s) && (first < 0 || s[next[i]].from.Before(sets[first][next[first]].from)) {
				first = i
			}
		}
		if first < 0 {
			return out
		}
		s := sets[first][next[first]]
		next[first]++
		out.add(s.from, s.to)
	}
}

func (s spans) seconds() float64 {
	sum := 0.0
	for _, x := range s {
		sum += x.to.Sub(x.from).Seconds()
	}
	return sum
}
