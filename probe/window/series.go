package window

import (
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// seriesFor makes the series of a line that is seen for the first time; nil where
// it cannot be followed.
func (l *Counters) seriesFor(ln *pageSample) *series {
	if m := ln.labels.Get("model_name"); m != "" && len(l.Models) < MaxSeries {
		l.Models[m] = true
	}
	if len(l.series) >= MaxSeries || l.labelBytes+len(ln.labels.Key()) > MaxLabelBytes {
		l.Overflowed[ln.match.Desc] = true
		return nil
	}
	s := l.series[seriesKey{ln.name, ln.labels.Key()}] // it may stand on this page twice
	if s != nil {
		return s
	}
	s = &series{engine: engineOf(ln.labels, l.Naming)}
	if ln.match.Desc.Metric().IsOmni() {
		s.engine = omniEngine(ln.labels)
	}
	if kind := ln.match.Desc.Desc().Kind; kind == metrics.KindCounter || kind == metrics.KindHistogram {
		if !l.attach(s, ln) {
			return nil
		}
	}
	l.series[seriesKey{ln.name, ln.labels.Key()}] = s
	l.labelBytes += len(ln.labels.Key())
	return s
}

// attach puts a counter's series into its group, and makes that where it is the
// first of it.
func (l *Counters) attach(s *series, ln *pageSample) bool {
	labels := ln.labels.Key()
	le := math.NaN()
	if ln.match.Part == metrics.PartBucket {
		var err error
		if le, err = strconv.ParseFloat(ln.labels.Get("le"), 64); err != nil || math.IsNaN(le) {
			return false
		}
		labels = keyWithout(ln.labels, "le")
	}
	row := ln.match.Desc
	g := l.Metrics[metricKey{row, labels}]
	if g == nil {
		g = &Metric{Desc: row, Engine: s.engine, Labels: ln.labels, born: l.scrape, full: l.full}
		if by := row.Desc().By; by != "" {
			g.By = ln.labels.Get(by)
		}
		if l.HasBaseline && !l.InBaseline[row] && l.epoch == 0 && (l.Naming == metrics.Native || l.Naming != l.baseNaming) {
			// The process ran before, and its page had not even the family then:
			// apply looks whether it is known that it was not there. (Ray shows a
			// counter from its first increment on.)
			g.unusable = row.Name() + " was not on the first page that was read, only on a later one: what it had counted before that is not known"
			l.withoutBaseline = append(l.withoutBaseline, g)
		}
		l.Metrics[metricKey{row, labels}] = g
	}
	if l.HasBaseline && l.epoch == 0 && g.born < l.scrape {
		l.lateSeries = append(l.lateSeries, g)
	}
	s.group = g
	switch ln.match.Part {
	case metrics.PartBucket:
		b := &Bucket{UpperBound: le}
		g.Buckets = append(g.Buckets, b)
		sort.Slice(g.Buckets, func(i, j int) bool { return g.Buckets[i].UpperBound < g.Buckets[j].UpperBound })
		s.gained = &b.Count
	case metrics.PartSum:
		s.gained = &g.sum
	case metrics.PartCount:
		s.gained = &g.Count
	default:
		s.gained = &g.Total
	}
	return true
}

// engineOf reads which engine a series is of. Under Ray stage and replica are no names
// of vLLM's: Ray Serve tells its replicas so.
func engineOf(labels *exposition.Labels, as metrics.Naming) EngineID {
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
	case as == metrics.Native:
		id.Worker = ""
	case id.Worker != "":
		id.Stage, id.Replica = "", ""
	}
	return id
}

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

// omniEngine gives the place that a series of vllm-omni's own is of. The oldest
// families call a stage `engine`, or `stage_id`.
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
