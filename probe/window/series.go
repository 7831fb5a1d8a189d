package window

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// seriesFor returns the series of a sample, which it creates if necessary; nil if the
// series is not tracked.
func (c *Counters) seriesFor(sample *pageSample) *series {
	if m := sample.labels.Get("model_name"); m != "" && len(c.models) < MaxSeries {
		c.models[m] = true
	}
	if len(c.series) >= MaxSeries || c.labelBytes+len(sample.labels.Key()) > MaxLabelBytes {
		c.overflowed[sample.match.Desc] = true
		return nil
	}
	key := seriesKey{sample.name, sample.labels.Key()}
	if s := c.series[key]; s != nil { // the page may have it twice
		return s
	}
	s := &series{engine: engineOf(sample.labels, c.Naming)}
	if sample.match.Desc.Metric().IsOmni() {
		s.engine = omniEngine(sample.labels)
	}
	if kind := sample.match.Desc.Desc().Kind; kind == metrics.KindCounter || kind == metrics.KindHistogram {
		if !c.attach(s, sample) {
			return nil
		}
	}
	c.series[key] = s
	c.labelBytes += len(sample.labels.Key())
	return s
}

// attach adds a series to its metric, which it creates if necessary. It returns false for
// a bucket without a valid bound.
func (c *Counters) attach(s *series, sample *pageSample) bool {
	labels := sample.labels.Key()
	bound := math.NaN()
	if sample.match.Part == metrics.PartBucket {
		var err error
		if bound, err = strconv.ParseFloat(sample.labels.Get("le"), 64); err != nil || math.IsNaN(bound) {
			return false
		}
		labels = keyWithout(sample.labels, "le")
	}
	desc := sample.match.Desc
	m := c.byKey[metricKey{desc, labels}]
	if m == nil {
		m = c.newMetric(s.engine, sample)
		c.byKey[metricKey{desc, labels}] = m
		c.all = append(c.all, m)
	}
	if c.hasBaseline && c.epoch == 0 && m.firstScrape < c.scrape {
		c.lateSeries = append(c.lateSeries, m)
	}
	s.metric = m
	switch sample.match.Part {
	case metrics.PartBucket:
		b := &Bucket{UpperBound: bound}
		if n := len(m.Buckets); n > 0 && bound < m.Buckets[n-1].UpperBound && !m.unsorted {
			m.unsorted = true
			c.unsorted = append(c.unsorted, m)
		}
		m.Buckets = append(m.Buckets, b)
		s.total = &b.Count
	case metrics.PartSum:
		s.total = &m.sum
	case metrics.PartCount:
		s.total = &m.Count
	default:
		s.total = &m.Total
	}
	return true
}

// newMetric returns the metric of a sample that is the first of its series.
func (c *Counters) newMetric(engine EngineID, sample *pageSample) *Metric {
	desc := sample.match.Desc
	m := &Metric{Desc: desc, Engine: engine, Labels: sample.labels, firstScrape: c.scrape, lastFull: c.full}
	if label := desc.Desc().Label; label != "" {
		m.LabelValue = sample.labels.Get(label)
	}
	if c.epoch == 0 && c.MissedBaseline(desc) && (c.Naming == metrics.Native || c.Naming != c.baseNaming) {
		// The process is older than the baseline page, which did not even have the family;
		// Apply clears the reason if it is certain that the family did not exist then. (Ray
		// exports a counter from its first increment on.)
		m.unusable = desc.Name() + " was not on the first page, only on a later one: the value it started from is unknown"
		c.withoutBaseline = append(c.withoutBaseline, m)
	}
	return m
}

// engineOf returns the engine that a series belongs to. Under Ray, the labels stage and
// replica are not vLLM's: Ray Serve uses them for its own replicas.
func engineOf(labels *exposition.Labels, naming metrics.Naming) EngineID {
	var id EngineID
	for _, p := range labels.Pairs() {
		switch p.Name {
		case "engine":
			id.Engine = p.Value
		case "stage":
			id.Stage = p.Value
		case "replica":
			id.Replica = p.Value
		case "WorkerId":
			id.Worker = p.Value
		}
	}
	switch {
	case naming == metrics.Native:
		id.Worker = ""
	case id.Worker != "":
		id.Stage, id.Replica = "", ""
	}
	return id
}

// omniEngine returns the stage and replica that a series of vllm-omni's own belongs to.
// The oldest families have the stage in the label `engine`, or `stage_id`.
func omniEngine(labels *exposition.Labels) EngineID {
	first := func(names ...string) string {
		i := slices.IndexFunc(names, func(n string) bool { return labels.Get(n) != "" })
		if i < 0 {
			return ""
		}
		return labels.Get(names[i])
	}
	return EngineID{Stage: first("stage", "stage_id", "engine"), Replica: first("replica", "replica_id")}
}

// keyWithout returns a key of the labels other than name.
func keyWithout(labels *exposition.Labels, name string) string {
	var b strings.Builder
	for _, p := range labels.Pairs() {
		if p.Name != name {
			b.WriteString(strconv.Quote(p.Name))
			b.WriteByte('=')
			b.WriteString(strconv.Quote(p.Value))
			b.WriteByte(',')
		}
	}
	return b.String()
}
