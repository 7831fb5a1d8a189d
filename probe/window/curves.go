package window

import (
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/vllm/metrics"
)

// isCurve reports whether a gauge is followed over the run.
func isCurve(id metrics.ID) bool {
	switch id {
	case metrics.KVCacheUsage, metrics.RequestsRunning, metrics.RequestsWaiting, metrics.ProcessResident:
		return true
	}
	return false
}

// period is that of the command.
type period struct{ started, ended time.Time }

// groupCurve is a group of gauges at one endpoint over the run. It is nil for a metric that is
// not followed.
type groupCurve struct {
	of     *period
	curve  curve.Curve
	before reading // the last one before the command's start
}

func (p *period) newCurve() *groupCurve {
	c := &groupCurve{of: p}
	c.end()
	return c
}

// end tells the curve when the command ended, if it has.
func (c *groupCurve) end() {
	if !c.of.ended.IsZero() {
		c.curve.End(c.of.ended.Sub(c.of.started))
	}
}

// add adds a reading: value counts for the mean, peak for the maximum.
func (c *groupCurve) add(at time.Time, value, peak float64, during bool) {
	switch {
	case c == nil:
		return
	case c.of.started.IsZero() || !during:
		c.before = reading{at, value}
		return
	case !c.before.at.IsZero():
		c.curve.Add(min(c.before.at.Sub(c.of.started), -1), c.before.value)
		c.before = reading{}
	}
	c.curve.AddPeak(at.Sub(c.of.started), value, peak)
}

// interrupt records that the gauge is unknown until the next reading.
func (c *groupCurve) interrupt() {
	if c != nil {
		c.before = reading{}
		c.curve.Break()
	}
}

// mean returns the mean of a group's current values at an endpoint: of requests their sum, of
// fractions that of the engines.
func (e *endpointGauges) mean(k GroupKey, kind metrics.Kind) float64 {
	sum, n := 0.0, 0
	for key, s := range e.states {
		if s.live && key.group() == k {
			sum += s.value
			n++
		}
	}
	if kind == metrics.KindGaugeMax {
		return sum / float64(max(n, 1))
	}
	return sum
}

// numLive returns how many gauges of a group an endpoint has.
func (e *endpointGauges) numLive(k GroupKey) (n int) {
	for key := range e.states {
		if key.group() == k {
			n++
		}
	}
	return n
}

// Start records when the command started: curves begin there.
func (g *Gauges) Start(at time.Time) { g.period.started = at }

// End records when the command ended: later readings are not part of curves.
func (g *Gauges) End(at time.Time) {
	g.period.ended = at
	for _, id := range g.ids {
		f := &g.families[id]
		for _, e := range f.endpoints {
			for _, group := range e.groups {
				if group.curve != nil {
					group.curve.end()
				}
			}
		}
		for _, s := range f.sums {
			if s.curve != nil {
				s.curve.end()
			}
		}
	}
}

// Curve returns copies of the curves of a gauge at some endpoints; without curves if it has not
// been read there.
func (g *Gauges) Curve(id metrics.ID, stage string, endpoints []int) (out curve.Group) {
	f := &g.families[id]
	k := GroupKey{Stage: stage}
	if f.kind == metrics.KindGaugeMax {
		out.Weights = []float64{}
	}
	for _, endpoint := range endpoints {
		e := f.endpoints[endpoint]
		if e == nil || e.groups[k] == nil || e.groups[k].curve == nil || e.groups[k].curve.curve.Empty() {
			continue
		}
		out.Curves = append(out.Curves, e.groups[k].curve.curve)
		if f.kind == metrics.KindGaugeMax {
			out.Weights = append(out.Weights, float64(e.numLive(k)))
		}
	}
	// The sums are those of all endpoints.
	if s := f.sums[k]; s != nil && s.curve != nil && len(out.Curves) == f.numWith(k) {
		peak := s.curve.curve
		out.Peak = &peak
	}
	return out
}

// Current calls f with what a page of an endpoint shows of the gauges that are followed over the
// run: those that the page is the source of, of fractions the highest.
func (g *Gauges) Current(endpoint int, covers func(metrics.ID) bool, f func(id metrics.ID, stage string, value float64)) {
	for _, id := range g.ids {
		family := &g.families[id]
		e := family.endpoints[endpoint]
		if family.period == nil || e == nil || !covers(id) {
			continue
		}
		for k := range e.groups {
			if k.LabelValue != "" || !e.shows(k) {
				continue
			}
			if value, known := e.combine(k, family.kind); known {
				f(id, k.Stage, value)
			}
		}
	}
}

// shows reports whether the last page has a gauge of the group.
func (e *endpointGauges) shows(k GroupKey) bool {
	for key, s := range e.states {
		if s.live && key.group() == k {
			return true
		}
	}
	return false
}

// TokenCurves has the rates of prompt tokens and of generated tokens at one endpoint over the
// run, by stage.
type TokenCurves struct {
	curves map[tokenCurveKey]*tokenCurve
	ended  time.Duration // when the command ended; 0 before
}

// tokenCurveKey identifies a curve: id is [metrics.PromptTokens] or [metrics.GenerationTokens].
type tokenCurveKey struct {
	id    metrics.ID
	stage string
}

type tokenCurve struct {
	desc  metrics.DescID
	total float64 // as of the last reading
	curve curve.Curve
}

// Add adds what the counters gained between two readings; times are since the command's start.
// If the gain is not known to be of that time, counts is false. record, if not nil, gets the
// rates.
func (t *TokenCurves) Add(c *Counters, from, to time.Duration, counts bool, record func(id metrics.ID, stage string, rate float64)) {
	for _, id := range [...]metrics.ID{metrics.PromptTokens, metrics.GenerationTokens} {
		t.add(id, c, from, to, counts, record)
	}
}

func (t *TokenCurves) add(id metrics.ID, c *Counters, from, to time.Duration, counts bool, record func(id metrics.ID, stage string, rate float64)) {
	desc, why := c.SelectDesc(id)
	if why != "" {
		return
	}
	if t.curves == nil {
		t.curves = map[tokenCurveKey]*tokenCurve{}
	}
	for k, total := range c.tokens {
		if k.desc != desc {
			continue
		}
		s := t.curves[tokenCurveKey{id, k.stage}]
		if s == nil {
			s = &tokenCurve{desc: desc}
			t.endOf(s)
			t.curves[tokenCurveKey{id, k.stage}] = s
		}
		switch {
		case !counts || s.desc != desc:
		case to <= from:
			continue // the gain counts with that of the next reading
		default:
			rate := (total - s.total) / (to - from).Seconds()
			s.curve.AddSpan(from, to, rate)
			if record != nil {
				record(id, k.stage, rate)
			}
		}
		s.desc, s.total = desc, total
	}
}

// End records when the command ended.
func (t *TokenCurves) End(at time.Duration) {
	t.ended = at
	for _, s := range t.curves {
		t.endOf(s)
	}
}

func (t *TokenCurves) endOf(s *tokenCurve) {
	if t.ended > 0 {
		s.curve.End(t.ended)
	}
}

// Curve returns a copy of a stage's curve of prompt tokens or generated tokens. It is empty if no
// rate is known.
func (t *TokenCurves) Curve(id metrics.ID, stage string) curve.Curve {
	if s := t.curves[tokenCurveKey{id, stage}]; s != nil {
		return s.curve
	}
	return curve.Curve{}
}

// tokensKey identifies the tokens of a stage's engines under one name.
type tokensKey struct {
	desc  metrics.DescID
	stage string
}

// countTokens adds what a counter of prompt tokens or of generated tokens gained.
func (c *Counters) countTokens(m *Metric, gain float64) {
	switch m.Desc.Metric() {
	case metrics.PromptTokens, metrics.GenerationTokens:
		if m.unusable == "" {
			c.tokens[tokensKey{m.Desc, m.Engine.Stage}] += gain
		}
	}
}
