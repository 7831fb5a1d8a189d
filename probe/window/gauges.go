package window

import (
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// GaugeStats follows one gauge: its last value, its peak, its mean over time.
type GaugeStats struct {
	Known     bool // there was a reading at all
	Seen      bool // there was one during the run
	Last      float64
	Peak      float64
	meanInput float64 // what the mean is of, at the last reading
	area      float64 // of it times seconds, by trapezoids
	seconds   float64
	lastTime  time.Time // of the reading that the next trapezoid begins at
}

// add takes in a reading: its value, and what the mean is taken of, which is the
// same but for fractions of several engines. A reading that is not during the
// command's run (before its start, or after its end while the engine settles)
// counts as the last value, and not for mean and peak.
func (t *GaugeStats) add(at time.Time, value, middle float64, during bool) {
	if during {
		if t.Seen && !t.lastTime.IsZero() {
			dt := at.Sub(t.lastTime).Seconds()
			t.area += (t.meanInput + middle) / 2 * dt
			t.seconds += dt
		}
		if !t.Seen || value > t.Peak {
			t.Peak = value
		}
		t.Seen = true
		t.lastTime = at
	}
	t.Last, t.meanInput, t.Known = value, middle, true
}

// Gauge puts the track into the event's form; nil without a reading.
func (t *GaugeStats) Gauge() *schema.Gauge {
	if t == nil || !t.Known {
		return nil
	}
	g := &schema.Gauge{Last: schema.F(t.Last)}
	if t.Seen {
		g.Peak = schema.F(t.Peak)
	}
	if t.seconds > 0 {
		g.Mean = schema.F(min(t.area/t.seconds, t.Peak)) // rounding may lift it above
	}
	return g
}

// GaugeKey is one engine of one endpoint, and the value of the label that splits the
// figure.
type GaugeKey struct {
	Endpoint int
	Engine   EngineID
	By       string
}

// gaugeState is the gauge at one place.
type gaugeState struct {
	GaugeStats
	value   float64 // at the last reading, several series of one engine taken together
	scrape  int     // number of that reading
	live    bool    // it was there at its endpoint's last reading
	invalid bool    // its value then was no number
	stale   bool    // the same process does not export it any more
}

// GroupKey is what several engines' gauges are taken together in: a stage, and the
// value of the label that splits the figure. Both are empty for most.
type GroupKey struct{ Stage, By string }

// GaugeFamily is one figure, at each place and of all in a scope together.
type GaugeFamily struct {
	kind   metrics.Kind
	polled bool // filtered polls ask for it
	States map[GaugeKey]*gaugeState
	Groups map[GroupKey]*GaugeStats // each goes on only while it is known at every seat
}

// Gauges follows the gauges of all engines that are read, each for itself and
// all together: requests added up, of fractions the highest and the mean.
type Gauges struct {
	Families [metrics.NumMetrics]GaugeFamily // those that are no gauges stay empty
	list     []metrics.ID                    // those that are
	scrape   int
}

func NewGauges() *Gauges {
	g := &Gauges{}
	for f := range metrics.NumMetrics {
		places := metrics.DescsByMetric()[f]
		if len(places) == 0 || !metrics.Descs[places[0]].Kind.IsGauge() {
			continue
		}
		g.Families[f] = GaugeFamily{kind: metrics.Descs[places[0]].Kind, polled: metrics.IsPolled(f), States: map[GaugeKey]*gaugeState{}, Groups: map[GroupKey]*GaugeStats{}}
		g.list = append(g.list, f)
	}
	return g
}

// Add takes in the gauges of one reading of one endpoint: of a full page, or of a
// filtered one, which has not all of them. After a restart the time since the
// reading before belongs to no mean.
func (g *Gauges) Add(endpoint int, at time.Time, readings []GaugeReading, full, during, restarted bool) {
	g.scrape++
	for _, f := range g.list {
		if full || g.Families[f].polled {
			g.Families[f].add(f, g.scrape, endpoint, at, readings, during, restarted)
		}
	}
}

func (g *GaugeFamily) add(f metrics.ID, reading, endpoint int, at time.Time, readings []GaugeReading, during, restarted bool) {
	row := metrics.DescID(-1) // the newest name that the page has: an older one stands for the same
	for _, r := range readings {
		if r.desc.Metric() == f && (row < 0 || r.desc < row) {
			row = r.desc
		}
	}
	for _, r := range readings {
		if r.desc != row {
			continue
		}
		p := GaugeKey{endpoint, r.engine, r.by}
		s := g.States[p]
		if s == nil {
			s = &gaugeState{}
			g.States[p] = s
		}
		switch {
		case s.scrape != reading:
			s.scrape, s.value, s.invalid = reading, r.value, r.invalid
			continue
		case r.perProcess || g.kind == metrics.KindFraction:
			s.value = max(s.value, r.value)
		default:
			s.value += r.value
		}
		s.invalid = s.invalid || r.invalid
	}
	for p, s := range g.States {
		if p.Endpoint != endpoint {
			continue
		}
		had := s.live || s.stale
		s.live = s.scrape == reading
		s.stale = had && !s.live && !restarted
		if restarted {
			s.lastTime = time.Time{}
		}
		if s.live && !s.invalid {
			s.add(at, s.value, s.value, during)
		}
		c := GroupKey{p.Engine.Stage, p.By}
		if g.Groups[c] == nil {
			g.Groups[c] = &GaugeStats{}
		}
	}
	for c, t := range g.Groups {
		if restarted {
			t.lastTime = time.Time{}
		}
		if row < 0 {
			continue
		}
		if value, middle, whole := g.combine(c); whole {
			t.add(at, value, middle, during)
		}
	}
}

// combine takes the last values in a scope together. whole says that every one
// is known.
func (g *GaugeFamily) combine(c GroupKey) (value, middle float64, whole bool) {
	whole = true
	sum, highest, n := 0.0, 0.0, 0
	for p, s := range g.States {
		if (GroupKey{p.Engine.Stage, p.By}) != c {
			continue
		}
		whole = whole && !s.stale && !(s.live && s.invalid)
		if s.live {
			sum += s.value
			highest = max(highest, s.value)
			n++
		}
	}
	if g.kind == metrics.KindFraction {
		return highest, sum / float64(max(n, 1)), whole
	}
	return sum, sum, whole
}

// Stale says whether an engine of a scope stopped exporting the gauge while it went on.
func (g *GaugeFamily) Stale(c GroupKey) bool {
	for p, s := range g.States {
		if s.stale && (GroupKey{p.Engine.Stage, p.By}) == c {
			return true
		}
	}
	return false
}

// Clear notes that nobody listens at an endpoint: its engines have no requests.
func (g *Gauges) Clear(endpoint int) {
	for _, f := range g.list {
		for p, s := range g.Families[f].States {
			if p.Endpoint == endpoint {
				s.live, s.stale = false, false
			}
		}
	}
}

// At gives the track of a figure at one place; nil without one.
func (g *Gauges) At(f metrics.ID, p GaugeKey) *GaugeStats {
	if s := g.Families[f].States[p]; s != nil {
		return &s.GaugeStats
	}
	return nil
}

// RunningNow is the number of running requests at the last readings. A vllm-omni
// pipeline's count beside those of its stages: some stages tell none.
func (g *Gauges) RunningNow(endpoint int) float64 {
	return g.now(metrics.RequestsRunning, endpoint) + g.now(metrics.OmniRunning, endpoint)
}

// BusyNow says whether requests run or wait at the last readings of an endpoint.
// A pipeline's own waiting ones do not count: an idle one may show some (review
// of vllm-omni's PR 3576).
func (g *Gauges) BusyNow(endpoint int) bool {
	return g.RunningNow(endpoint) > 0 || g.now(metrics.RequestsWaiting, endpoint) > 0
}

func (g *Gauges) now(f metrics.ID, endpoint int) float64 {
	n := 0.0
	for p, s := range g.Families[f].States {
		if p.Endpoint == endpoint && s.live && !s.invalid {
			n += s.value
		}
	}
	return n
}
