package window

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// GaugeStats has the last value, the peak and the mean over time of one gauge, or of the
// gauges of several engines combined.
type GaugeStats struct {
	Known bool // there was a reading
	InRun bool // there was one during the command's run
	Last  float64
	Peak  float64 // during the run

	meanInput float64   // at the last reading: the value that the mean is taken of
	during    bool      // whether that was during the run
	area      float64   // integral of meanInput over time, by trapezoids
	seconds   float64   // that area spans
	edgeArea  float64   // what the times between the readings at the run's ends and those before and after it add
	edgeTime  float64   // in seconds
	lastTime  time.Time // of the reading at which the next trapezoid begins
}

// add adds a reading: its value, and the value that the mean is taken of. The two differ
// only for gauges that do not add up: of several engines, the value is the highest one. A
// reading before the command's start, or after its end while the engine settles, counts
// only as the last value.
func (g *GaugeStats) add(at time.Time, value, meanInput float64, during bool) {
	if !g.lastTime.IsZero() {
		dt := at.Sub(g.lastTime).Seconds()
		if during && g.during {
			g.area += (g.meanInput + meanInput) / 2 * dt
			g.seconds += dt
		} else {
			g.edgeArea += (g.meanInput + meanInput) / 2 * dt
			g.edgeTime += dt
		}
	}
	if during {
		if !g.InRun || value > g.Peak {
			g.Peak = value
		}
		g.InRun = true
	}
	g.lastTime, g.during = at, during
	g.Last, g.meanInput, g.Known = value, meanInput, true
}

// Integral returns the integral of the gauge over the time between its first and its last
// reading, those before and after the run included, and the length of that time.
func (g *GaugeStats) Integral() (area, seconds float64) {
	if g == nil {
		return 0, 0
	}
	return g.area + g.edgeArea, g.seconds + g.edgeTime
}

// Gauge returns the statistics in the event's form; nil without a reading.
func (g *GaugeStats) Gauge() *schema.Gauge {
	if g == nil || !g.Known {
		return nil
	}
	out := &schema.Gauge{Last: schema.F(g.Last)}
	if g.InRun {
		out.Peak = schema.F(g.Peak)
	}
	if g.seconds > 0 {
		out.Mean = schema.F(min(g.area/g.seconds, g.Peak)) // rounding may lift it above
	}
	return out
}

// GaugeKey identifies a gauge of a metric: one engine of one endpoint, and the value of
// the label that splits the metric.
type GaugeKey struct {
	Endpoint   int
	Engine     EngineID
	LabelValue string
}

// GroupKey identifies the gauges of a metric that are combined: those of one stage, with
// one value of the label that splits the metric. Both are mostly "".
type GroupKey struct{ Stage, LabelValue string }

func (k GaugeKey) group() GroupKey { return GroupKey{k.Engine.Stage, k.LabelValue} }

// gaugeState is the state of one gauge.
type gaugeState struct {
	GaugeStats
	value   float64 // at the last reading; several series of one engine are combined
	scrape  int     // number of that reading
	live    bool    // the endpoint's last page had it
	invalid bool    // its value there was invalid
	stale   bool    // the process that exported it does not any more

	epochPeak  float64 // during the run, since the process restarted
	epochInRun bool    // there was a reading during the run since then
}

// gaugeFamily is one metric: each of its gauges, and the groups that they form.
type gaugeFamily struct {
	kind   metrics.Kind
	polled bool // filtered scrapes request it
	states map[GaugeKey]*gaugeState
	groups map[GroupKey]*GaugeStats // extended only while every gauge of the group is known
}

// GaugePage is what [Gauges.Add] takes from one page of one endpoint.
type GaugePage struct {
	At     time.Time
	Gauges []GaugeReading
	// Full reports whether the page has all gauges, During whether it was read while the
	// command ran.
	Full, During bool
	// Restarted reports whether another process answers than before: the time since the
	// page before is not part of any mean.
	Restarted bool
	// TokensRose reports whether the token counters rose since the page before.
	TokensRose bool
	// Covers, if set, reports whether the page is the source of a metric. The other metrics
	// come from elsewhere, and stay as they are; a restart ends their means too.
	Covers func(metrics.ID) bool
}

// covers reports whether the page is the source of a metric.
func (p *GaugePage) covers(id metrics.ID) bool { return p.Covers == nil || p.Covers(id) }

// Shows reports whether gauges of a page have a metric.
func Shows(gauges []GaugeReading, id metrics.ID) bool {
	return slices.ContainsFunc(gauges, func(r GaugeReading) bool { return r.desc.Metric() == id })
}

// Polls counts the readings of an endpoint during the command's run.
type Polls struct {
	// AtWork are those that saw the engine at work: requests were running or waiting, or
	// tokens had been counted since the reading before. Busy are those that found requests.
	AtWork, Busy int
}

// Gauges follows the gauges of all engines, each one separately and all of a stage
// together: requests are added up; of fractions, the highest and the mean count.
type Gauges struct {
	families [metrics.NumMetrics]gaugeFamily // empty for metrics that are not gauges
	ids      []metrics.ID                    // the metrics that are
	polls    map[int]Polls                   // by endpoint
	scrape   int
}

// NewGauges returns Gauges without a reading.
func NewGauges() *Gauges {
	g := &Gauges{polls: map[int]Polls{}}
	for id := range metrics.NumMetrics {
		if !id.Kind().IsGauge() {
			continue
		}
		g.families[id] = gaugeFamily{kind: id.Kind(), polled: id.IsPolled(), states: map[GaugeKey]*gaugeState{}, groups: map[GroupKey]*GaugeStats{}}
		g.ids = append(g.ids, id)
	}
	return g
}

// Add adds the gauges of one page of one endpoint.
func (g *Gauges) Add(endpoint int, p GaugePage) {
	g.scrape++
	for _, id := range g.ids {
		switch {
		case !p.covers(id):
			if p.Restarted {
				g.families[id].add(id, g.scrape, endpoint, GaugePage{At: p.At, Restarted: true})
			}
		case p.Full || g.families[id].polled:
			g.families[id].add(id, g.scrape, endpoint, p)
		}
	}
	if !p.During || !p.covers(metrics.RequestsRunning) {
		return
	}
	n, busy := g.polls[endpoint], g.BusyNow(endpoint)
	if busy {
		n.Busy++
	}
	if busy || p.TokensRose {
		n.AtWork++
	}
	g.polls[endpoint] = n
}

// PollsOf returns how many readings of an endpoint found its engines at work.
func (g *Gauges) PollsOf(endpoint int) Polls { return g.polls[endpoint] }

func (f *gaugeFamily) add(id metrics.ID, scrape, endpoint int, p GaugePage) {
	desc := metrics.DescID(-1) // the newest name on the page: an older one is a copy
	for _, r := range p.Gauges {
		if r.desc.Metric() == id && (desc < 0 || r.desc < desc) {
			desc = r.desc
		}
	}
	for _, r := range p.Gauges {
		if r.desc == desc {
			f.read(r, scrape, endpoint)
		}
	}
	for k, s := range f.states {
		if k.Endpoint != endpoint {
			continue
		}
		had := s.live || s.stale
		s.live = s.scrape == scrape
		s.stale = had && !s.live && !p.Restarted
		if p.Restarted {
			s.lastTime = time.Time{}
			s.epochInRun = false
		}
		if s.live && !s.invalid {
			if p.During {
				if !s.epochInRun || s.value > s.epochPeak {
					s.epochPeak = s.value
				}
				s.epochInRun = true
			}
			s.add(p.At, s.value, s.value, p.During)
		}
		if f.groups[k.group()] == nil {
			f.groups[k.group()] = &GaugeStats{}
		}
	}
	for k, stats := range f.groups {
		if p.Restarted {
			stats.lastTime = time.Time{}
		}
		if desc < 0 {
			continue
		}
		if value, meanInput, known := f.combine(k); known {
			stats.add(p.At, value, meanInput, p.During)
		}
	}
}

// read sets the value of one gauge, or combines it with that of another series of the same
// engine on the same page.
func (f *gaugeFamily) read(r GaugeReading, scrape, endpoint int) {
	k := GaugeKey{endpoint, r.engine, r.labelValue}
	s := f.states[k]
	if s == nil {
		s = &gaugeState{}
		f.states[k] = s
	}
	switch {
	case s.scrape != scrape:
		s.scrape, s.value, s.invalid = scrape, r.value, r.invalid
		return
	case r.perProcess || f.kind == metrics.KindGaugeMax:
		s.value = max(s.value, r.value)
	default:
		s.value += r.value
	}
	s.invalid = s.invalid || r.invalid
}

// combine combines the last values of a group. known reports whether all of them are
// valid and current.
func (f *gaugeFamily) combine(k GroupKey) (value, meanInput float64, known bool) {
	known = true
	sum, highest, n := 0.0, 0.0, 0
	for key, s := range f.states {
		if key.group() != k {
			continue
		}
		known = known && !s.stale && !(s.live && s.invalid)
		if s.live {
			sum += s.value
			highest = max(highest, s.value)
			n++
		}
	}
	if f.kind == metrics.KindGaugeMax {
		return highest, sum / float64(max(n, 1)), known
	}
	return sum, sum, known
}

// Clear records that nothing listens at an endpoint: its engines have no requests.
func (g *Gauges) Clear(endpoint int) {
	for _, id := range g.ids {
		for k, s := range g.families[id].states {
			if k.Endpoint == endpoint {
				s.live, s.stale = false, false
			}
		}
	}
}

// Keys yields the gauges of a metric, in no particular order.
func (g *Gauges) Keys(id metrics.ID) iter.Seq[GaugeKey] { return maps.Keys(g.families[id].states) }

// At returns the statistics of one gauge; nil if there is none.
func (g *Gauges) At(id metrics.ID, k GaugeKey) *GaugeStats {
	if s := g.families[id].states[k]; s != nil {
		return &s.GaugeStats
	}
	return nil
}

// Group returns the statistics of a group of gauges together; nil if there is none.
func (g *Gauges) Group(id metrics.ID, k GroupKey) *GaugeStats { return g.families[id].groups[k] }

// Stale reports whether an engine stopped exporting a gauge of the group while its process
// went on.
func (g *Gauges) Stale(id metrics.ID, k GroupKey) bool {
	for key, s := range g.families[id].states {
		if s.stale && key.group() == k {
			return true
		}
	}
	return false
}

// Load is how many requests an endpoint had at one moment.
type Load struct {
	// Known reports whether the endpoint exported valid gauges of its requests.
	Known bool
	// Requests are those that were running or waiting.
	Requests float64
}

// Idle reports whether there were certainly no requests.
func (l Load) Idle() bool { return l.Known && l.Requests == 0 }

// LoadNow returns the load on an endpoint's last page.
func (g *Gauges) LoadNow(endpoint int) (l Load) {
	for _, id := range []metrics.ID{metrics.RequestsRunning, metrics.RequestsWaiting} {
		for k, s := range g.families[id].states {
			switch {
			case k.Endpoint != endpoint:
			case s.stale, s.live && s.invalid:
				return Load{}
			case s.live:
				l.Known = l.Known || id == metrics.RequestsRunning
				l.Requests += s.value
			}
		}
	}
	return l
}

// RunningNow returns the number of running requests on an endpoint's last page. The count
// of a vllm-omni pipeline is added to those of its stages, because not every stage has one.
func (g *Gauges) RunningNow(endpoint int) float64 {
	return g.now(metrics.RequestsRunning, endpoint) + g.now(metrics.OmniRunning, endpoint)
}

// BusyNow reports whether requests ran or waited on an endpoint's last page. The waiting
// requests of a vllm-omni pipeline do not count: an idle one may show some (review of
// vllm-omni's PR 3576).
func (g *Gauges) BusyNow(endpoint int) bool {
	return g.RunningNow(endpoint) > 0 || g.now(metrics.RequestsWaiting, endpoint) > 0
}

func (g *Gauges) now(id metrics.ID, endpoint int) float64 {
	n := 0.0
	for k, s := range g.families[id].states {
		if k.Endpoint == endpoint && s.live && !s.invalid {
			n += s.value
		}
	}
	return n
}
