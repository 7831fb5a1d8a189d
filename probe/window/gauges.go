package window

import (
	"iter"
	"slices"
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
)

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
	integral
	known   bool    // there was a valid reading
	inRun   bool    // there was one after the command's start
	peak    float64 // since then
	value   float64 // at the last reading; several series of one engine are combined
	scrape  int     // number of that reading
	live    bool    // the endpoint's last page had it
	invalid bool    // its value there was invalid
	stale   bool    // the process that exported it does not any more

	epochPeak  float64 // since the command's start and the process's
	epochInRun bool    // there was a reading since both
}

// gaugeFamily is one metric at all endpoints.
type gaugeFamily struct {
	kind      metrics.Kind
	polled    bool // filtered scrapes request it
	endpoints map[int]*endpointGauges
	sums      map[GroupKey]*sumPeak // over all endpoints, of metrics that add up
	period    *period               // of the curves; nil for a metric that has none
}

// endpointGauges are the gauges of one metric at one endpoint: each one, and the groups that
// they form.
type endpointGauges struct {
	states map[GaugeKey]*gaugeState
	groups map[GroupKey]*groupState
	down   downTime // since the last page
}

// groupState is what the gauges of a group at one endpoint show together. It changes only
// while every gauge of the group is known.
type groupState struct {
	known, inRun bool
	last, peak   float64
	at           time.Time // of the last reading
	curve        *groupCurve
}

func (f *gaugeFamily) at(endpoint int) *endpointGauges {
	e := f.endpoints[endpoint]
	if e == nil {
		e = &endpointGauges{states: map[GaugeKey]*gaugeState{}, groups: map[GroupKey]*groupState{}}
		f.endpoints[endpoint] = e
	}
	return e
}

// isCurve reports whether a group is followed over the run.
func (f *gaugeFamily) isCurve(k GroupKey) bool { return f.period != nil && k.LabelValue == "" }

// sum returns the sum of a group over all endpoints.
func (f *gaugeFamily) sum(k GroupKey) *sumPeak {
	s := f.sums[k]
	if s == nil {
		s = &sumPeak{}
		if f.isCurve(k) {
			s.curve = f.period.newCurve()
		}
		f.sums[k] = s
	}
	return s
}

// GaugePage is what [Gauges.Add] takes from one page of one endpoint.
type GaugePage struct {
	// At is when the page was written, as far as is known: between the two times of Written,
	// which are both At if they are zero.
	At      time.Time
	Written [2]time.Time
	Gauges  []GaugeReading
	// Full reports whether the page has all gauges, During whether it was read after the
	// command's start.
	Full, During bool
	// Restarted reports whether another process answers than before. The time since the page
	// before is not part of any mean, unless nothing listened for some of it.
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

// Gauges follows the gauges of all engines, each one separately and those of a stage
// together: see [Gauges.Combine].
type Gauges struct {
	families [metrics.NumMetrics]gaugeFamily // empty for metrics that are not gauges
	ids      []metrics.ID                    // the metrics that are
	polls    map[int]Polls                   // by endpoint
	// covariations are those of the KV-cache usage with the running requests.
	covariations map[endpointStage]*covariation
	period       *period
	scrape       int
}

// endpointStage identifies a stage's engines at an endpoint.
type endpointStage struct {
	endpoint int
	stage    string
}

// NewGauges returns Gauges without a reading.
func NewGauges() *Gauges {
	g := &Gauges{polls: map[int]Polls{}, covariations: map[endpointStage]*covariation{}, period: &period{}}
	for id := range metrics.NumMetrics {
		if !id.Kind().IsGauge() {
			continue
		}
		g.families[id] = gaugeFamily{kind: id.Kind(), polled: id.IsPolled(), endpoints: map[int]*endpointGauges{}, sums: map[GroupKey]*sumPeak{}}
		if isCurve(id) {
			g.families[id].period = g.period
		}
		g.ids = append(g.ids, id)
	}
	return g
}

// Add adds the gauges of one page of one endpoint.
func (g *Gauges) Add(endpoint int, p GaugePage) {
	if p.Written[0].IsZero() {
		p.Written = [2]time.Time{p.At, p.At}
	}
	g.scrape++
	busyBefore := g.BusyNow(endpoint)
	for _, id := range g.ids {
		switch {
		case !p.covers(id):
			g.families[id].pass(id, g.scrape, endpoint, p)
		case p.Full || g.families[id].polled:
			g.families[id].read(id, g.scrape, endpoint, p)
		}
	}
	busy := g.BusyNow(endpoint)
	hidden := p.TokensRose && !busy && !busyBefore
	for _, id := range g.ids {
		if p.covers(id) && (p.Full || g.families[id].polled) {
			g.families[id].integrate(endpoint, p, hidden)
		}
	}
	if !p.covers(metrics.RequestsRunning) {
		return
	}
	g.addCovariations(endpoint, p)
	if !p.During {
		return
	}
	n := g.polls[endpoint]
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

// read takes the metric's values from a page.
func (f *gaugeFamily) read(id metrics.ID, scrape, endpoint int, p GaugePage) {
	desc := metrics.DescID(-1) // the newest name on the page: an older one is a copy
	for _, r := range p.Gauges {
		if r.desc.Metric() == id && (desc < 0 || r.desc < desc) {
			desc = r.desc
		}
	}
	e := f.at(endpoint)
	for _, r := range p.Gauges {
		if r.desc == desc {
			e.read(r, f.kind, scrape, endpoint)
		}
	}
	e.down = downTime{}
	for k, s := range e.states {
		had := s.live || s.stale
		s.live = s.scrape == scrape
		s.stale = had && !s.live && !p.Restarted
		if p.Restarted {
			s.interrupt()
			s.epochInRun = false
		}
		if e.groups[k.group()] == nil {
			group := &groupState{}
			if f.isCurve(k.group()) {
				group.curve = f.period.newCurve()
			}
			e.groups[k.group()] = group
		}
	}
	if desc < 0 || p.Restarted {
		for _, group := range e.groups {
			group.curve.interrupt()
		}
	}
	if desc < 0 {
		return
	}
	for k, group := range e.groups {
		if value, known := e.combine(k, f.kind); !known {
			group.curve.interrupt()
		} else {
			group.add(p.At, value, p.During)
			group.curve.add(p.At, e.mean(k, f.kind), value, p.During)
			if f.kind != metrics.KindGaugeMax {
				sum := f.sum(k)
				if p.Restarted {
					sum.add(endpoint, p.Written[0], p.Written[0], 0, false)
				}
				sum.add(endpoint, p.Written[0], p.Written[1], value, p.During)
			}
		}
	}
}

// pass takes in that there was a page which is not the source of the metric.
func (f *gaugeFamily) pass(id metrics.ID, scrape, endpoint int, p GaugePage) {
	if p.Restarted {
		f.read(id, scrape, endpoint, GaugePage{At: p.At, Written: p.Written, Restarted: true})
	}
	if p.Full {
		for _, s := range f.at(endpoint).states {
			s.mark() // the counters are those of this page
		}
	}
}

// integrate adds the values that read found to the peaks and integrals of each gauge.
func (f *gaugeFamily) integrate(endpoint int, p GaugePage, hidden bool) {
	for _, s := range f.at(endpoint).states {
		if s.live && !s.invalid {
			s.addReading(p, hidden)
		}
	}
}

// addCovariations adds the KV-cache usage and the running requests on a page.
func (g *Gauges) addCovariations(endpoint int, p GaugePage) {
	usage, running := g.families[metrics.KVCacheUsage].endpoints[endpoint], g.families[metrics.RequestsRunning].endpoints[endpoint]
	if usage == nil || running == nil {
		return
	}
	for k := range usage.groups {
		used, known := usage.combine(k, metrics.KindGauge)
		run, alsoKnown := running.combine(k, metrics.KindGauge)
		if !known || !alsoKnown || running.groups[k] == nil {
			continue
		}
		key := endpointStage{endpoint, k.Stage}
		c := g.covariations[key]
		if c == nil {
			c = &covariation{}
			g.covariations[key] = c
		}
		c.add(p.At, used, run, p.Restarted)
	}
}

// engines returns the number of a stage's engines at an endpoint that export their usage.
func (g *Gauges) engines(stage string, endpoint int) (n int) {
	for k := range g.states(metrics.KVCacheUsage, endpoint) {
		if k.Engine.Stage == stage {
			n++
		}
	}
	return n
}

// addReading adds the state's value on a page.
func (s *gaugeState) addReading(p GaugePage, hidden bool) {
	if p.During {
		if !s.epochInRun || s.value > s.epochPeak {
			s.epochPeak = s.value
		}
		if !s.inRun || s.value > s.peak {
			s.peak = s.value
		}
		s.epochInRun, s.inRun = true, true
	}
	s.known = true
	s.integral.add(p.At, s.value, p.Full, hidden)
}

func (g *groupState) add(at time.Time, value float64, during bool) {
	if during {
		if !g.inRun || value > g.peak {
			g.peak = value
		}
		g.inRun = true
	}
	g.last, g.at, g.known = value, at, true
}

// read sets the value of one gauge, or combines it with that of another series of the same
// engine on the same page.
func (e *endpointGauges) read(r GaugeReading, kind metrics.Kind, scrape, endpoint int) {
	k := GaugeKey{endpoint, r.engine, r.labelValue}
	s := e.states[k]
	if s == nil {
		s = &gaugeState{integral: integral{down: e.down}}
		e.states[k] = s
	}
	switch {
	case s.scrape != scrape:
		s.scrape, s.value, s.invalid = scrape, r.value, r.invalid
		return
	case r.perProcess || kind == metrics.KindGaugeMax:
		s.value = max(s.value, r.value)
	default:
		s.value += r.value
	}
	s.invalid = s.invalid || r.invalid
}

// combine combines the last values of a group. known reports whether all of them are
// valid and current.
func (e *endpointGauges) combine(k GroupKey, kind metrics.Kind) (value float64, known bool) {
	for key, s := range e.states {
		switch {
		case key.group() != k:
		case s.stale, s.live && s.invalid:
			return 0, false
		case !s.live:
		case kind == metrics.KindGaugeMax:
			value = max(value, s.value)
		default:
			value += s.value
		}
	}
	return value, true
}

// Clear records that nothing listens at an endpoint at a time: its engines have no requests, and
// what is known of its process is no longer current.
func (g *Gauges) Clear(endpoint int, at time.Time) {
	for _, id := range g.ids {
		f := &g.families[id]
		e := f.at(endpoint)
		e.down.add(at)
		for _, s := range e.states {
			s.live, s.stale = false, false
			s.down.add(at)
		}
		for _, group := range e.groups {
			if id.IsProcess() {
				group.curve.interrupt()
			} else {
				group.curve.add(at, 0, 0, !at.Before(g.period.started))
			}
		}
		for k, sum := range f.sums {
			if e.groups[k] != nil {
				sum.add(endpoint, at, at, 0, false)
			}
		}
	}
}

// ChangeSource records that the gauges of an endpoint come from elsewhere from now on. Those
// that the new source does not have are no longer current.
func (g *Gauges) ChangeSource(endpoint int) {
	for _, id := range g.ids {
		for _, s := range g.states(id, endpoint) {
			s.live, s.stale = false, false
		}
	}
}

// Drop forgets an endpoint whose gauges are those of another one. Peaks of sums begin anew.
func (g *Gauges) Drop(endpoint int) {
	for _, id := range g.ids {
		f := &g.families[id]
		if f.endpoints[endpoint] != nil {
			delete(f.endpoints, endpoint)
			clear(f.sums)
		}
	}
	delete(g.polls, endpoint)
	for k := range g.covariations {
		if k.endpoint == endpoint {
			delete(g.covariations, k)
		}
	}
}

// Keys yields the gauges of a metric, in no particular order.
func (g *Gauges) Keys(id metrics.ID) iter.Seq[GaugeKey] {
	return func(yield func(GaugeKey) bool) {
		for _, e := range g.families[id].endpoints {
			for k := range e.states {
				if !yield(k) {
					return
				}
			}
		}
	}
}

// state returns the state of one gauge; nil if there is none.
func (g *Gauges) state(id metrics.ID, k GaugeKey) *gaugeState {
	if e := g.families[id].endpoints[k.Endpoint]; e != nil {
		return e.states[k]
	}
	return nil
}

// states yields the gauges of a metric at an endpoint.
func (g *Gauges) states(id metrics.ID, endpoint int) map[GaugeKey]*gaugeState {
	if e := g.families[id].endpoints[endpoint]; e != nil {
		return e.states
	}
	return nil
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
		for _, s := range g.states(id, endpoint) {
			switch {
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
	for _, s := range g.states(id, endpoint) {
		if s.live && !s.invalid {
			n += s.value
		}
	}
	return n
}
