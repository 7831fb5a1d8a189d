package window

import (
	"math"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

const (
	// MaxSeries is the most series of one endpoint that are followed, of some 150
	// engines. An exporter whose labels change for ever must not fill the memory.
	MaxSeries = 1 << 16
	// MaxLabelBytes is how long their labels may be in all: labels may carry payloads.
	MaxLabelBytes = 64 << 20
	// MaxExact is the largest counter value that a float tells to the last digit.
	MaxExact = 1 << 53
)

// EngineID tells the engines behind one endpoint apart, by their labels. worker is
// Ray's WorkerId.
type EngineID struct{ Engine, Stage, Replica, Worker string }

// Counters adds up what one endpoint's counters and histograms gained from its
// first reading on, series by series, across restarts of the process behind it.
type Counters struct {
	series  map[seriesKey]*series
	Metrics map[metricKey]*Metric
	// samples are those of the page being applied, in its order.
	samples []pageSample
	// lastPages has the lines of the last full and of the last filtered page: the next
	// one has mostly the same.
	lastPages [2][]pageSample
	gauges    []GaugeReading // of the page being applied
	// lateSeries are the groups to which the page being applied adds a line, though the
	// page to count from had others of them.
	lateSeries []*Metric
	// withoutBaseline are groups that it has first, whose family the page to count from had not.
	withoutBaseline []*Metric

	scrape      int  // number of the present reading, from 1
	full        int  // number of the last reading of a full page
	epoch       int  // rises with each restart of the process
	restartedAt int  // number of the reading that showed the last one
	HasBaseline bool // the first reading is what counters count from
	// Complete says that the page to be applied is known to have come to its end;
	// baseComplete, that the one to count from had.
	Complete, baseComplete bool
	// sameProcess says that the page being applied tells the same start of the process as
	// the one before.
	sameProcess bool

	Resets     int64
	Duplicates int64 // series that stood twice on a page with one value
	Conflicts  int64 // and with different ones
	Invalid    int64 // values that were no number, or negative counts
	// InvalidDesc is the row of the latest such.
	InvalidDesc metrics.DescID
	// LoadBalanced says that servers answer in turn, not one after the other.
	LoadBalanced bool
	// Naming is that of the last page, baseNaming that of the page to count from.
	Naming, baseNaming metrics.Naming
	// labelBytes is how long the labels of all series are.
	labelBytes int
	// Tokens is what all token counters gained: it tells that they moved.
	Tokens float64
	// exported says which rows' families the last full page declared or sampled,
	// since then a filtered one too; ever, any page; InBaseline, the first page.
	exported, ever, InBaseline []bool
	// Overflowed are rows with more series than are followed.
	Overflowed []bool
	Models     map[string]bool
	Configs    map[EngineID]*exposition.Labels
}

type seriesKey struct{ name, labels string }

// pageSample is one line of a page and the series that it tells of.
type pageSample struct {
	name   string
	labels *exposition.Labels
	match  metrics.Match
	series *series // nil where it is not followed
}

// series is one line of the page from reading to reading.
type series struct {
	engine  EngineID
	group   *Metric  // nil for a gauge
	gained  *float64 // where a counter's gains are added up
	value   float64  // at the last good reading
	epoch   int      // of that reading
	scrape  int      // number of the last reading in which it stood on the page
	pending float64  // its value there
	invalid bool     // which cannot be taken
	fresh   bool     // that was the first one
}

type metricKey struct {
	desc   metrics.DescID
	labels string
}

// Metric is one counter, or one histogram with all its lines.
type Metric struct {
	Desc   metrics.DescID
	Engine EngineID
	Labels *exposition.Labels
	By     string // value of the label that splits the figure

	Total   float64 // a counter's gain; of a histogram nothing
	Buckets []*Bucket
	sum     float64
	Count   float64

	before    float64 // a counter's value at the first reading
	resetAt   int     // number of the last reading in which it went back
	born      int     // number of the reading that it was first on
	full      int     // number of the last full page that it was on
	seen      int     // how many of its lines were on that page
	lines     int     // and the most that were on one page of the present process
	epoch     int     // of the last page that it was on
	invalidAt int     // number of the last reading in which a value could not be taken
	// unusable is the reason for which it can never be told.
	unusable string
}

// Bucket is a histogram's cumulative bucket.
type Bucket struct{ UpperBound, Count float64 }

// Gain is a counter's gain in the event's unit.
func (g *Metric) Gain() float64 { return g.Total * g.Desc.Desc().Encoding.Scale() }

func NewCounters() *Counters {
	return &Counters{
		series:  map[seriesKey]*series{},
		Metrics: map[metricKey]*Metric{},
		Models:  map[string]bool{},
		Configs: map[EngineID]*exposition.Labels{},

		exported: make([]bool, metrics.NumDescs()), ever: make([]bool, metrics.NumDescs()), InBaseline: make([]bool, metrics.NumDescs()),
		Overflowed: make([]bool, metrics.NumDescs()),
	}
}

// Delta is what a page brought.
type Delta struct {
	Gauges    []GaugeReading // valid until the next page
	Moved     bool           // some counter or histogram gained
	Restarted bool           // another process answers than before
}

// GaugeReading is one gauge of one engine.
type GaugeReading struct {
	desc    metrics.DescID
	engine  EngineID
	by      string // value of the label that splits the figure
	value   float64
	invalid bool // it is no number, or stands twice with different values
	// perProcess says that each process of a server has written its own.
	perProcess bool
}

// Apply takes in the page that was opened last. With base, values are what later
// gains count from; else a series seen for the first time counts from zero.
func (l *Counters) Apply(page *exposition.Page, full, base bool) (got Delta) {
	l.scrape++
	if full {
		l.full = l.scrape
		clear(l.exported)
		for name, t := range page.Types {
			if w, ok := metrics.Lookup(name); ok && l.reads(w.Desc) && w.Declares(t) {
				l.exported[w.Desc] = true
			}
		}
	}
	l.resolve(page)
	for i, on := range l.exported {
		l.ever[i] = l.ever[i] || on
	}
	if base {
		l.setBaseline()
		l.baseNaming = l.Naming
	}
	if got.Restarted = l.findRestart(); got.Restarted {
		l.epoch++
		l.Resets++
		l.restartedAt = l.scrape
		for _, g := range l.Metrics {
			g.lines = 0
			if g.born == l.scrape {
				g.unusable = "" // the process before had none of it to count from
			}
		}
	} else {
		for _, g := range l.lateSeries {
			g.unusable = g.Desc.Name() + " had not all its lines on the first page that was read, which was cut off: what it had counted before that is not known"
		}
		for _, g := range l.withoutBaseline {
			if l.baseComplete && l.sameProcess {
				g.unusable = "" // the same process: it has made the family since
			}
		}
	}
	l.lateSeries, l.withoutBaseline = l.lateSeries[:0], l.withoutBaseline[:0]
	l.gauges = l.gauges[:0]
	groupsReset := false
	for i := range l.samples {
		s := l.samples[i].series
		if s == nil || s.scrape != l.scrape {
			continue
		}
		if s.group == nil {
			if r := l.samples[i].match.Desc.Desc(); r.Kind.IsGauge() {
				labels := l.samples[i].labels
				l.gauges = append(l.gauges, GaugeReading{
					desc: l.samples[i].match.Desc, engine: s.engine, by: labels.Get(r.By),
					value: s.pending * r.Encoding.Scale(), invalid: s.invalid,
					perProcess: labels.Get("pid") != "",
				})
				s.scrape = -l.scrape // a second line of it says nothing more
			}
			continue
		}
		moved, reset := l.accumulate(s, &l.samples[i], full, base)
		got.Moved = got.Moved || moved
		groupsReset = groupsReset || reset
		s.scrape = -l.scrape
	}
	if groupsReset && !got.Restarted {
		l.Resets++
	}
	got.Gauges = l.gauges
	kind := 0
	if full {
		kind = 1
	}
	l.samples, l.lastPages[kind] = l.lastPages[kind], l.samples
	return got
}

// setBaseline makes the page being applied the one that later gains count from. One
// that may have been cut off tells nothing of the family that it ends in, nor of
// one that it only declares: their series may have stood behind the cut.
func (l *Counters) setBaseline() {
	l.HasBaseline, l.baseComplete = true, l.Complete
	if l.Complete {
		copy(l.InBaseline, l.exported)
		return
	}
	last := metrics.DescID(-1)
	for i := range l.samples {
		last = l.samples[i].match.Desc
		l.InBaseline[last] = true
	}
	if last >= 0 {
		l.InBaseline[last] = false
	}
}

// resolve puts the values of a page beside the series that they belong to.
func (l *Counters) resolve(page *exposition.Page) {
	for i := range l.samples {
		ln, value := &l.samples[i], page.Samples[i].Value
		l.exported[ln.match.Desc] = true
		if ln.series == nil {
			if ln.series = l.seriesFor(ln); ln.series == nil {
				continue
			}
		}
		s := ln.series
		kind := ln.match.Desc.Desc().Kind
		if kind == metrics.KindInfo && len(l.Configs) < MaxSeries && ln.match.Desc.Metric() == metrics.CacheConfig {
			l.Configs[s.engine] = ln.labels
		}
		if s.scrape == l.scrape { // it stands there a second time
			switch {
			case s.pending == value || math.IsNaN(s.pending) && math.IsNaN(value):
				l.Duplicates++
			default:
				l.Conflicts++
				s.invalid = true
			}
			continue
		}
		s.fresh = s.scrape == 0
		s.scrape, s.pending = l.scrape, value
		s.invalid = notFinite(value) || value < 0 && s.group != nil && ln.match.Part != metrics.PartSum
		if s.invalid {
			l.Invalid++
			l.InvalidDesc = ln.match.Desc
		}
	}
}

// accumulate adds up what a series gained. A value that cannot be taken is left out:
// the next good one has all of it, unless it is the one to count from.
func (l *Counters) accumulate(s *series, ln *pageSample, full, base bool) (moved, reset bool) {
	g := s.group
	if full {
		if g.full != l.full {
			g.full, g.seen = l.full, 0
		}
		g.seen++
		g.lines = max(g.lines, g.seen)
	}
	if g.epoch = l.epoch; s.invalid {
		g.invalidAt = l.scrape
		if base {
			g.unusable = g.Desc.Name() + " had no usable value on the page to count from: it was not a count, or stood there twice"
		}
		return false, false
	}
	if ln.match.Part == metrics.PartValue && g.invalidAt != l.scrape {
		g.invalidAt = 0
	}
	gain := s.pending - s.value // of a new series, from zero
	switch {
	case s.fresh && base:
		gain = 0
		if ln.match.Part == metrics.PartValue {
			g.before = s.pending
		}
	case s.epoch != l.epoch:
		gain = s.pending
	case g.resetAt == l.scrape:
		gain = s.pending
		reset = true
	}
	*s.gained += gain
	s.value, s.epoch = s.pending, l.epoch
	switch g.Desc.Metric() {
	case metrics.PromptTokens, metrics.GenerationTokens, metrics.OmniPrompt, metrics.OmniGeneration:
		l.Tokens += gain
	}
	return gain != 0, reset
}

// WhyUnusable returns why a group's figures cannot be used, or "". unrecorded has the
// stages whose engines worked without recording it, with the reason.
func (l *Counters) WhyUnusable(g *Metric, unrecorded map[string]string) string {
	name := g.Desc.Name()
	switch {
	case l.LoadBalanced:
		return "several servers answer at this address in turn (by a load balancer?): give the address of each"
	case l.Overflowed[g.Desc]:
		return name + " has more series than are followed"
	case g.unusable != "":
		return g.unusable
	case g.Total == 0 && g.Count == 0 && g.Desc.Metric() < metrics.EndOfCore && unrecorded[g.Engine.Stage] != "":
		return unrecorded[g.Engine.Stage]
	case g.invalidAt != 0 && g.invalidAt == l.full:
		return name + " had a value that no counter can have (negative, NaN or infinite), or two values at once, on the last page"
	case g.epoch == l.epoch && (g.full != l.full || g.seen < g.lines):
		return "a series of " + name + " vanished from the page inside the window"
	case g.Total >= MaxExact || g.Count >= MaxExact:
		return name + " is too large to be told to the last digit"
	}
	return ""
}

func notFinite(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// EverExported says whether a figure was on any page.
func (l *Counters) EverExported(f metrics.ID) bool {
	for i := range metrics.DescsOf(f) {
		if l.ever[i] {
			return true
		}
	}
	return false
}

// WhyNotQueryable returns why the answers of the server with this name would not
// describe its engines, or "". Ray's agent, for one, has a /version of its own.
func (l *Counters) WhyNotQueryable(name string) string {
	switch {
	case l.LoadBalanced:
		return "several servers answer at " + name + " in turn"
	case l.Naming != metrics.Native:
		return "the page of " + name + " is not the engine's own: it is of one that collects the metrics"
	}
	return ""
}

// Size returns how many series are followed and how many bytes their labels have:
// what memory depends on. [MaxSeries] and [MaxLabelBytes] bound them.
func (l *Counters) Size() (series, labelBytes int) { return len(l.series), l.labelBytes }
