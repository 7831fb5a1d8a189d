package window

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

const (
	// MaxSeries is the largest number of series that are tracked per endpoint, those of
	// about 150 engines. It bounds the memory if an exporter keeps changing its labels.
	MaxSeries = 1 << 16
	// MaxLabelBytes bounds the total length of their labels, which may carry payloads.
	MaxLabelBytes = 64 << 20
	// sumRounding is by how much of itself a sum may decrease: a float64 has 16 digits, and
	// an exporter may add up the sums of several processes in another order each time.
	sumRounding = 1e-9
	// fractionRounding is by how much a fraction may exceed 1.
	fractionRounding = 1e-9
	// MaxExact is 2^53: up to it a float64 represents every integer.
	MaxExact = 1 << 53
)

// EngineID distinguishes the engines behind one endpoint, by their labels. Worker is
// Ray's WorkerId.
type EngineID struct{ Engine, Stage, Replica, Worker string }

// Counters adds up what the counters and histograms of one endpoint gained since its
// first page, series by series and across restarts of the process behind it. Readers must
// not change its exported fields.
type Counters struct {
	// Resets counts restarts of the process, and pages on which single counters decreased.
	Resets int64
	// Duplicates counts series that were on a page twice with one value, Conflicts those
	// with two values.
	Duplicates, Conflicts int64
	// Invalid counts impossible values: not finite, negative, sums that decreased, fractions
	// above 1.
	// InvalidDesc is the name of the latest one.
	Invalid     int64
	InvalidDesc metrics.DescID
	// LoadBalanced reports whether several servers answer at the address in turn.
	LoadBalanced bool
	// Collector reports whether a page is not an engine's own, but has metrics that a program
	// copied from one or several engines: see collectorLabels.
	Collector bool
	// Naming is how the last page writes names.
	Naming metrics.Naming
	// PageSum is the sum of all counts on the last page: of the counters, except the CPU time of
	// the process, and of the histograms.
	PageSum float64
	// Tokens is what all token counters gained together.
	Tokens float64
	// Unread are the families that are not read and whose presence matters, see
	// [metrics.UnreadFamily].
	Unread map[metrics.Unread]bool
	// Configs has each engine's labels of vllm:cache_config_info. After a restart they are
	// those of the new process.
	Configs map[EngineID]*exposition.Labels

	series map[seriesKey]*series
	byKey  map[metricKey]*Metric
	all    []*Metric       // those of byKey, in the order of their appearance
	models map[string]bool // values of model_name
	// tokens are the prompt tokens and the generated tokens that were gained, by name and stage.
	tokens map[tokensKey]float64

	// samples are those of the current page, in its order.
	samples []pageSample
	// lastPages are the samples of the last filtered and of the last full page: the next
	// one mostly has the same.
	lastPages [2][]pageSample
	gauges    []GaugeReading // of the current page
	// lateSeries are the metrics to which the current page adds a series, although others
	// of their series were on the baseline page.
	lateSeries []*Metric
	// unsorted are the histograms to which the current page adds buckets out of order.
	unsorted []*Metric
	// withoutBaseline are the metrics that are new on the current page and whose family was
	// not on the baseline page.
	withoutBaseline []*Metric

	scrape      int  // number of the current page, from 1
	full        int  // number of the last full page
	epoch       int  // incremented by each restart of the process
	restartedAt int  // number of the page that showed the last restart
	hasBaseline bool // counters count from the first page, not from zero
	// baseComplete reports whether the baseline page is known to be complete.
	baseComplete bool
	// sameProcess reports whether the current page and the one before it have the same
	// process start time.
	sameProcess bool
	starts      startTimes
	// configsBefore are the Configs of the process before the current one; changedLabels
	// describes the labels that differ, by name.
	configsBefore map[EngineID]*exposition.Labels
	changedLabels map[string]string
	// newConfigs are those on the current page.
	newConfigs map[EngineID]*exposition.Labels
	baseNaming metrics.Naming // of the baseline page
	labelBytes int            // total length of the labels of all series

	// By DescID: exported has the names that the last full page declared or sampled, or a
	// filtered one since; everExported those of any page; inBaseline those of the baseline
	// page; overflowed those with more series than are tracked.
	exported, everExported, inBaseline, overflowed []bool
}

type seriesKey struct{ name, labels string }

// pageSample is one sample of a page and the series that it belongs to.
type pageSample struct {
	name   string
	labels *exposition.Labels
	match  metrics.Match
	series *series // nil if it is not tracked
}

// series is one series from page to page.
type series struct {
	engine  EngineID
	metric  *Metric  // nil for a gauge
	total   *float64 // the total in metric that the gains of the series are added to
	value   float64  // on the last page with a valid value
	epoch   int      // of that page
	scrape  int      // number of the last page with the series; negative once applied
	pending float64  // its value there
	invalid bool     // pending is not a valid value
	fresh   bool     // that page was the first one with the series
}

type metricKey struct {
	desc   metrics.DescID
	labels string
}

// Metric is what one counter, or one histogram with all its series, gained over the
// window. Its values are in the metric's own unit.
type Metric struct {
	Desc   metrics.DescID
	Engine EngineID
	Labels *exposition.Labels
	// LabelValue is the value of the label that splits the metric, see [metrics.Desc].
	LabelValue string

	Total   float64   // of a counter
	Buckets []*Bucket // of a histogram, sorted by bound
	// unsorted reports whether they have to be sorted before the current page is added up.
	unsorted bool
	Count    float64 // of a histogram
	sum      float64

	firstScrape int // number of the first page with the metric
	lastFull    int // number of the last full page with it
	epoch       int // of the last page with it
	series      int // number of its series on that full page
	maxSeries   int // most series on one full page since the process started
	resetAt     int // number of the last page on which one of its counts decreased
	invalidAt   int // number of the last page with an invalid value
	// unusable is the permanent reason why the metric cannot be used, or "".
	unusable string
}

// Bucket is a cumulative bucket of a histogram.
type Bucket struct{ UpperBound, Count float64 }

// Gain returns a counter's gain in the event's unit.
func (m *Metric) Gain() float64 { return m.Total * m.Desc.Desc().Encoding.Scale() }

// Moved reports whether the counter or histogram counted anything in the window.
func (m *Metric) Moved() bool { return m.Total > 0 || m.Count > 0 }

// NewCounters returns Counters that have seen no page.
func NewCounters() *Counters {
	return &Counters{
		series: map[seriesKey]*series{},
		byKey:  map[metricKey]*Metric{},
		models: map[string]bool{},

		tokens: map[tokensKey]float64{},

		Configs: map[EngineID]*exposition.Labels{},
		Unread:  map[metrics.Unread]bool{},

		changedLabels: map[string]string{},
		newConfigs:    map[EngineID]*exposition.Labels{},

		exported:     make([]bool, metrics.NumDescs()),
		everExported: make([]bool, metrics.NumDescs()),
		inBaseline:   make([]bool, metrics.NumDescs()),
		overflowed:   make([]bool, metrics.NumDescs()),
	}
}

// Reading is how a page was read.
type Reading struct {
	// Full reports whether the page has all metrics, not only those of a filtered scrape.
	Full bool
	// Complete reports whether the page is known not to have been cut off.
	Complete bool
	// Baseline makes the page the one that counters count from. Without it, a series that
	// is new counts from zero.
	Baseline bool
}

// Delta is what a page changed.
type Delta struct {
	Gauges    []GaugeReading // valid until the next page
	Moved     bool           // a counter or histogram of the engine gained
	Restarted bool           // another process answers than before
	// Replaced has the Configs of the process before a restart.
	Replaced map[EngineID]*exposition.Labels
}

// GaugeReading is one gauge of one engine on one page.
type GaugeReading struct {
	desc       metrics.DescID
	engine     EngineID
	labelValue string // of the label that splits the metric
	value      float64
	invalid    bool // value is not finite or impossible, or the page has two different ones
	perProcess bool // each process of the server has a series of its own
}

// Apply adds up the values of a page. It must be the page that was classified last.
func (c *Counters) Apply(page *exposition.Page, r Reading) (d Delta) {
	c.scrape++
	if r.Full {
		c.full = c.scrape
		clear(c.exported)
		for name, t := range page.Types {
			m, ok := metrics.Lookup(name)
			switch {
			case !ok:
				c.noteUnread(name)
			case c.reads(m.Desc) && declares(m, t):
				c.exported[m.Desc] = true
			}
		}
	}
	c.resolve(page)
	for _, m := range c.unsorted {
		slices.SortFunc(m.Buckets, func(a, b *Bucket) int { return cmp.Compare(a.UpperBound, b.UpperBound) })
		m.unsorted = false
	}
	c.unsorted = c.unsorted[:0]
	for i, exported := range c.exported {
		c.everExported[i] = c.everExported[i] || exported
	}
	if r.Baseline {
		c.setBaseline(r.Complete)
	}
	if d.Restarted = c.findRestart(r.Full); d.Restarted {
		c.epoch++
		c.Resets++
		c.restartedAt = c.scrape
		d.Replaced = c.replaceConfigs()
		for _, m := range c.all {
			m.maxSeries = 0
			if m.firstScrape == c.scrape {
				m.unusable = "" // the new process started from zero
			}
		}
	} else {
		for _, m := range c.lateSeries {
			m.unusable = m.Desc.Name() + " was incomplete on the first page, which was cut off: the value it started from is unknown"
		}
		for _, m := range c.withoutBaseline {
			if c.baseComplete && c.sameProcess {
				m.unusable = "" // the same process, which has created the family since
			}
		}
	}
	maps.Copy(c.Configs, c.newConfigs)
	c.lateSeries, c.withoutBaseline = c.lateSeries[:0], c.withoutBaseline[:0]
	c.gauges = c.gauges[:0]
	c.PageSum = 0
	decreased := false
	for i := range c.samples {
		sample := &c.samples[i]
		s := sample.series
		if s == nil || s.scrape != c.scrape {
			continue
		}
		s.scrape = -c.scrape // a second sample of the series adds nothing
		if s.metric == nil {
			c.addGauge(sample)
			continue
		}
		if !s.invalid && isCount(sample.match) {
			c.PageSum += s.pending
		}
		moved, reset := c.accumulate(sample, r)
		d.Moved = d.Moved || moved
		decreased = decreased || reset
	}
	if decreased && !d.Restarted {
		c.Resets++
	}
	d.Gauges = c.gauges
	kind := 0
	if r.Full {
		kind = 1
	}
	c.samples, c.lastPages[kind] = c.lastPages[kind], c.samples
	return d
}

// addGauge adds a sample to the gauges of the current page if it is one.
func (c *Counters) addGauge(sample *pageSample) {
	desc := sample.match.Desc.Desc()
	if !desc.Kind.IsGauge() {
		return
	}
	value, invalid := sample.series.pending*desc.Encoding.Scale(), sample.series.invalid
	if !invalid && (value < 0 || value > 1+fractionRounding && desc.Metric.IsFraction()) {
		invalid = true
		c.Invalid++
		c.InvalidDesc = sample.match.Desc
	}
	c.gauges = append(c.gauges, GaugeReading{
		desc: sample.match.Desc, engine: sample.series.engine, labelValue: sample.labels.Get(desc.Label),
		value: value, invalid: invalid,
		perProcess: sample.labels.Get("pid") != "",
	})
}

// setBaseline makes the current page the baseline. If it may have been cut off, neither
// the family at its end nor one that it only declares is in the baseline: their series
// may have come after the cut.
func (c *Counters) setBaseline(complete bool) {
	c.hasBaseline, c.baseComplete, c.baseNaming = true, complete, c.Naming
	if complete {
		copy(c.inBaseline, c.exported)
		return
	}
	last := metrics.DescID(-1)
	for i := range c.samples {
		last = c.samples[i].match.Desc
		c.inBaseline[last] = true
	}
	if last >= 0 {
		c.inBaseline[last] = false
	}
}

// resolve assigns the values of the current page to their series.
func (c *Counters) resolve(page *exposition.Page) {
	c.starts.page = c.starts.page[:0]
	clear(c.newConfigs)
	for i := range c.samples {
		sample, value := &c.samples[i], page.Samples[i].Value
		c.exported[sample.match.Desc] = true
		if sample.series == nil {
			if sample.series = c.seriesFor(sample); sample.series == nil {
				continue
			}
		}
		s := sample.series
		switch sample.match.Desc.Metric() {
		case metrics.CacheConfig:
			if len(c.Configs)+len(c.newConfigs) < MaxSeries {
				c.newConfigs[s.engine] = sample.labels
			}
		case metrics.ProcessStart:
			// Several processes may export it under the same labels: see startTimes.
			c.starts.add(value)
			if s.scrape == c.scrape && s.pending != value {
				continue
			}
		case metrics.ProcessCPU, metrics.ProcessResident:
			if s.scrape == c.scrape && s.pending != value {
				s.invalid = true // which of them is the engine's is unknown
				continue
			}
		}
		if s.scrape == c.scrape { // the page has the series twice
			switch {
			case s.pending == value || math.IsNaN(s.pending) && math.IsNaN(value):
				c.Duplicates++
			default:
				c.Conflicts++
				s.invalid = true
			}
			continue
		}
		s.fresh = s.scrape == 0
		s.scrape, s.pending = c.scrape, value
		s.invalid = notFinite(value) || value < 0 && s.metric != nil && sample.match.Part != metrics.PartSum
		if s.invalid {
			c.Invalid++
			c.InvalidDesc = sample.match.Desc
		}
	}
}

// accumulate adds up what a series gained. An invalid value is skipped, and the next
// valid one has the whole gain; only on the baseline page it makes the metric unusable.
func (c *Counters) accumulate(sample *pageSample, r Reading) (moved, reset bool) {
	s, m := sample.series, sample.series.metric
	if r.Full {
		if m.lastFull != c.full {
			m.lastFull, m.series = c.full, 0
		}
		m.series++
		m.maxSeries = max(m.maxSeries, m.series)
	}
	if m.epoch = c.epoch; s.invalid {
		m.invalidAt = c.scrape
		if r.Baseline {
			m.unusable = m.Desc.Name() + " had no usable value on the first page: it was not a valid count, or the page had it twice with different values"
		}
		return false, false
	}
	if sample.match.Part == metrics.PartValue && m.invalidAt != c.scrape {
		m.invalidAt = 0
	}
	gain := s.pending - s.value // from zero if the series is new
	switch {
	case s.fresh && r.Baseline:
		gain = 0
	case s.epoch != c.epoch:
		gain = s.pending
	case m.resetAt == c.scrape:
		gain = s.pending
		reset = true
	}
	// A sum of observations that are not negative decreases only by rounding.
	if sample.match.Part == metrics.PartSum && gain < -sumRounding*math.Abs(s.value) {
		c.Invalid++
		c.InvalidDesc = m.Desc
		m.unusable = m.Desc.Name() + "_sum decreased although its count did not: no observation can be negative"
	}
	*s.total += gain
	s.value, s.epoch = s.pending, c.epoch
	switch m.Desc.Metric() {
	case metrics.PromptTokens, metrics.GenerationTokens, metrics.OmniPrompt, metrics.OmniGeneration:
		c.Tokens += gain
		c.countTokens(m, gain)
	}
	// Responses are counted for any request to the server, those of vobs included.
	return gain != 0 && m.Desc.IsVLLM(), reset
}

// isCount reports whether a sample counts something that the engine or its server did.
func isCount(m metrics.Match) bool {
	return (m.Part == metrics.PartValue || m.Part == metrics.PartCount) && !m.Desc.Metric().IsProcess()
}

func notFinite(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }
