package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// Reasons that several figures share.
const (
	vanished        = " vanished from the page inside the window" // after a metric's name
	nothingObserved = "nothing was observed in the window"
	emptyWindow     = "the window has zero length"
)

// metricsOf returns a metric of the stage from all endpoints: of each endpoint, those under
// the one name that is read. If an endpoint's engines have stages, vLLM's series without
// one belong to no known stage (some vllm-omni builds have helpers that set only the label
// engine).
func (v view) metricsOf(id metrics.ID) (found []*window.Metric, why string) {
	return v.selectMetrics(func(*endpoint) metrics.ID { return id }, func(*window.Metric) bool { return true })
}

// metricsWithLabel returns those of metricsOf with one value of the label that splits the
// metric. A family's series appear with their first events: if there are none, there was no
// event.
func (v view) metricsWithLabel(id metrics.ID, value string) (found []*window.Metric, why string) {
	return v.selectMetrics(func(*endpoint) metrics.ID { return id }, func(m *window.Metric) bool { return m.LabelValue == value })
}

// selectMetrics is metricsOf for a metric that depends on the endpoint, and for those
// that match.
func (v view) selectMetrics(idOf func(*endpoint) metrics.ID, match func(*window.Metric) bool) (found []*window.Metric, why string) {
	if v.whySplitUnknown != "" && v.engine == nil {
		return nil, v.whySplitUnknown
	}
	exported, stageless := false, ""
	for _, e := range v.endpoints {
		id := idOf(e)
		if !id.IsOmni() && !id.IsServer() && e.lacksStage(v.stage) {
			continue
		}
		desc, none := e.Counters.SelectDesc(id)
		if none != "" {
			if why == "" || e.Counters.EverExported(id) {
				why = none
			}
			if e.Counters.EverExported(id) {
				return nil, why
			}
			continue
		}
		exported = true
		for _, m := range e.Counters.Metrics() {
			if m.Desc != desc || !match(m) || v.engine != nil && m.Engine != *v.engine {
				continue
			}
			if m.Engine.Stage != v.stage {
				if m.Engine.Stage == "" {
					stageless = desc.Name()
				}
				continue
			}
			if why := e.whyUnusable(m); why != "" {
				return nil, why
			}
			found = append(found, m)
		}
	}
	switch {
	case !exported:
		return nil, why
	case stageless != "":
		// Connectors and drafters in some vllm-omni builds know of no stages (PR 3576,
		// phase 2.4): leaving their series out would make the rest look like everything.
		return nil, "the series of " + stageless + " have no stage label, although other series do: their stage is unknown"
	}
	return found, ""
}

// everExported reports whether any endpoint exported one of the metrics.
func (v view) everExported(ids ...metrics.ID) bool {
	for _, e := range v.endpoints {
		if slices.ContainsFunc(ids, e.Counters.EverExported) {
			return true
		}
	}
	return false
}

// labelValues returns the values of the label that splits the metrics, of the stage's
// series.
func (v view) labelValues(ids ...metrics.ID) map[string]bool {
	values := map[string]bool{}
	for _, e := range v.endpoints {
		for _, m := range e.Counters.Metrics() {
			if m.Engine.Stage == v.stage && slices.Contains(ids, m.Desc.Metric()) {
				values[m.LabelValue] = true
			}
		}
	}
	for _, id := range ids {
		for k := range v.gauges.Keys(id) {
			if k.Engine.Stage == v.stage {
				values[k.LabelValue] = true
			}
		}
	}
	return values
}

// gainOf returns the gains of counters added up, in the event's unit.
func gainOf(counters []*window.Metric) float64 {
	sum := 0.0
	for _, m := range counters {
		sum += m.Gain()
	}
	return sum
}

// counter returns a counter's gain.
func (v view) counter(id metrics.ID) (gain int64, why string) {
	found, why := v.metricsOf(id)
	if why != "" {
		return 0, why
	}
	return int64(gainOf(found)), ""
}

// count returns a counter's gain for the field at path; nil, with the reason noted, if it is
// unknown.
func (v view) count(path string, id metrics.ID) *int64 {
	found, why := v.metricsOf(id)
	return v.countOf(path, found, why)
}

// countOf is count for counters that were selected already.
func (v view) countOf(path string, found []*window.Metric, why string) *int64 {
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	return schema.Ptr(int64(gainOf(found)))
}

// countByLabel is count by the values of the label that splits the counter.
func (v view) countByLabel(path string, id metrics.ID) map[string]int64 {
	found, why := v.metricsOf(id)
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	out := map[string]int64{}
	for _, m := range found {
		out[m.LabelValue] += int64(m.Gain())
	}
	return out
}

// ratio divides a by b. unknown is the reason if one of them is nil, zero that if b is 0.
func ratio(a, b *int64, unknown, zero string) (x float64, why string) {
	switch {
	case a == nil || b == nil:
		return 0, unknown
	case *b <= 0:
		return 0, zero
	}
	return float64(*a) / float64(*b), ""
}

// distribution returns a histogram's gain for the field at path; nil, with the reason noted,
// if it is unknown or empty.
func (v view) distribution(path string, id metrics.ID) *schema.Distribution {
	found, why := v.metricsOf(id)
	if why == "" && len(found) == 0 && v.stage != "" {
		why = "the engine has no sample of " + id.CanonicalName() + " for this stage"
	}
	return v.distributionOf(path, found, why, id)
}

// distributionOf is distribution for histograms that were selected already.
func (v view) distributionOf(path string, found []*window.Metric, why string, id metrics.ID) *schema.Distribution {
	if why == "" && len(found) == 0 {
		why = "the engine declares " + id.CanonicalName() + " but has no sample of it"
	}
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	d := window.MergeHistograms(found).Distribution()
	if d == nil {
		v.Notes.Missing(path, nothingObserved)
		return nil
	}
	why = "the histogram's buckets are not valid"
	if !found[0].Desc.Desc().Encoding.HasQuantiles() {
		why = "the engine's bucket bounds do not fit the values"
	}
	if d.Buckets == nil {
		v.Notes.Missing(path+".buckets", why)
	}
	if d.Above != nil {
		why = "the quantile lies beyond the last finite bucket bound"
	}
	for _, q := range []struct {
		name     string
		estimate *schema.Float
		bounds   *schema.Bounds
	}{{"p50", d.P50Est, d.P50Bounds}, {"p90", d.P90Est, d.P90Bounds}, {"p95", d.P95Est, d.P95Bounds}, {"p99", d.P99Est, d.P99Bounds}} {
		if q.estimate == nil {
			v.Notes.Missing(path+"."+q.name+"_est", why)
		}
		if q.bounds == nil {
			v.Notes.Missing(path+"."+q.name+"_bounds", "the sum of the observations is not a number")
		}
	}
	v.noteFew(path, d)
	return d
}

// A quantile of fewer observations is the highest of them, or nearly.
const minForP95, minForP99 = 20, 100

// noteFew remembers a distribution with a quantile of too few observations.
func (v view) noteFew(path string, d *schema.Distribution) {
	if d.Count < minForP99 {
		v.few = append(v.few, fewObservations{path, d.Count})
	}
}

// fewObservations is a distribution with few observations.
type fewObservations struct {
	path  string
	count int64
}

// doubtFew notes, once for the event, which distributions have quantiles of too few
// observations.
func (v view) doubtFew() {
	if len(v.few) == 0 {
		return
	}
	smallest := slices.MinFunc(v.few, func(a, b fewObservations) int { return cmp.Compare(a.count, b.count) })
	var groups []string
	names := map[string][]string{}
	for _, f := range v.few {
		i := strings.LastIndex(f.path, ".")
		group, name := f.path[:i], f.path[i+1:]
		if names[group] == nil {
			groups = append(groups, group)
		}
		if f.count < minForP95 {
			name += " (also p95)"
		}
		names[group] = append(names[group], name)
	}
	var all []string
	for _, group := range groups {
		all = append(all, group+": "+strings.Join(names[group], ", "))
	}
	v.Notes.Doubt(schema.CodeFewRequests, schema.Info, fmt.Sprintf("the p99 rests on fewer than %d observations (the p95 on fewer than %d), so it is nearly the highest of them, in %s", minForP99, minForP95, strings.Join(all, "; ")),
		&schema.Evidence{Field: smallest.path + ".count", Value: smallest.count, Threshold: minForP99})
}

// overflowed reports whether an endpoint has more series of a metric than are tracked.
func (v view) overflowed(id metrics.ID) bool {
	return slices.ContainsFunc(v.endpoints, func(e *endpoint) bool { return e.Counters.Overflowed(id) })
}

// whyNoGauge returns why there is no reading of a gauge at one value of the label that
// splits the metric.
func (v view) whyNoGauge(id metrics.ID, value string) string {
	if why := v.whyNotAddedUp(id); why != "" {
		return why
	}
	if v.overflowed(id) {
		return id.CanonicalName() + " has more series than vobs tracks"
	}
	if why := v.whyZeroMeansNothing(id); why != "" {
		return why
	}
	for k := range v.gauges.Keys(id) {
		if k.Engine.Stage == v.stage && k.LabelValue == value {
			return "every reading of " + id.CanonicalName() + " was invalid: NaN, infinite, negative, a fraction above 1, or two different values on one page"
		}
	}
	if v.everExported(id) {
		why := "the engine has no sample of " + id.CanonicalName()
		if value != "" {
			why += fmt.Sprintf(" for %q", value)
		}
		return why
	}
	for _, e := range v.endpoints {
		if _, why := e.Counters.SelectDesc(id); why != "" {
			return why
		}
	}
	return "the engine does not export " + id.CanonicalName()
}
