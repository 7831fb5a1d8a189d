package aggregate

import (
	"fmt"
	"slices"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// metricsOf collects a figure's groups of the stage over all endpoints, of each
// endpoint those of the one name that it exports. why is the reason for none.
// Where an endpoint's engines have stages, series of upstream's that have none
// (of helpers that some vllm-omni builds leave with the label engine) belong to
// no stage that is known.
func (r view) metricsOf(f metrics.ID) (groups []*window.Metric, why string) {
	return r.selectMetrics(func(*endpointRecord) metrics.ID { return f }, func(*window.Metric) bool { return true })
}

// selectMetrics does so for a figure that each endpoint has its own of, and for a part
// of its groups.
func (r view) selectMetrics(figureOf func(*endpointRecord) metrics.ID, wanted func(*window.Metric) bool) (groups []*window.Metric, why string) {
	exported, stageless := false, ""
	for _, e := range r.endpoints {
		f := figureOf(e)
		if !f.IsOmni() && e.lacksStage(r.stage) {
			continue // engines of other stages alone, or of none
		}
		row, none := e.Counters.SelectDesc(f)
		if none != "" {
			if why == "" || e.Counters.EverExported(f) {
				why = none
			}
			if e.Counters.EverExported(f) {
				return nil, why
			}
			continue
		}
		exported = true
		for _, g := range e.Counters.Metrics {
			if g.Desc != row || !wanted(g) {
				continue
			}
			if g.Engine.Stage != r.stage {
				if g.Engine.Stage == "" {
					stageless = row.Name()
				}
				continue
			}
			if why := e.whyUnusable(g); why != "" {
				return nil, why
			}
			groups = append(groups, g)
		}
	}
	switch {
	case !exported:
		return nil, why
	case stageless != "":
		// Builds of vllm-omni whose connectors and drafters did not know of stages
		// (PR 3576, phase 2.4): none of it may be taken for nothing.
		return nil, "the series of " + stageless + " tell no stage, while others do: which stage's they are is not known"
	}
	return groups, ""
}

// counter adds up a counter; why is "" where there is a sum.
func (r view) counter(f metrics.ID) (sum int64, why string) {
	groups, why := r.metricsOf(f)
	if why != "" {
		return 0, why
	}
	total := 0.0
	for _, g := range groups {
		total += g.Gain()
	}
	return int64(total), ""
}

// count gives a counter for the field at path, nil with its reason noted.
func (r view) count(path string, f metrics.ID) *int64 {
	sum, why := r.counter(f)
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	return &sum
}

// countBy splits a counter by its label.
func (r view) countBy(path string, f metrics.ID) map[string]int64 {
	groups, why := r.metricsOf(f)
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	out := map[string]int64{}
	for _, g := range groups {
		out[g.By] += int64(g.Gain())
	}
	return out
}

func (r view) distribution(path string, f metrics.ID) *schema.Distribution {
	groups, why := r.metricsOf(f)
	if why == "" && len(groups) == 0 && r.stage != "" {
		why = "the engine has no sample of " + metrics.CanonicalName(f) + " for this stage"
	}
	return r.distributionOf(path, groups, why, metrics.CanonicalName(f))
}

// distributionOf gives a histogram's groups for the field at path, nil with its reason noted.
func (r view) distributionOf(path string, groups []*window.Metric, why, name string) *schema.Distribution {
	if why == "" && len(groups) == 0 {
		why = "the engine declares " + name + " and has no sample of it"
	}
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	d := window.MergeHistograms(groups).Distribution()
	if d == nil {
		r.Notes.Missing(path, "nothing was observed in the window")
		return nil
	}
	for _, q := range []struct {
		name  string
		value *schema.Float
	}{{"p50_est", d.P50Est}, {"p90_est", d.P90Est}, {"p95_est", d.P95Est}, {"p99_est", d.P99Est}} {
		if q.value == nil {
			why := "the histogram's buckets cannot be read"
			switch {
			case d.Above != nil:
				why = "the rank lies beyond the last finite bucket bound"
			case !groups[0].Desc.Desc().Encoding.HasQuantiles():
				why = "the engine's buckets for it were not made for such values"
			}
			r.Notes.Missing(path+"."+q.name, why)
		}
	}
	return d
}

func (r view) gauge(path string, f metrics.ID) *schema.Gauge { return r.gaugeOf(path, f, "") }

// gaugeOf gives the gauge at one value of the label that splits it.
func (r view) gaugeOf(path string, f metrics.ID, by string) *schema.Gauge {
	figure, c := &r.gauges.Families[f], window.GroupKey{Stage: r.stage, By: by}
	g := figure.Groups[c].Gauge()
	if g == nil || r.overflowed(f) || r.whyZeroMeansNothing(f) != "" {
		r.Notes.Missing(path, r.whyNoGauge(f, by))
		return nil
	}
	if figure.Stale(c) {
		g.Last = nil
		r.Notes.Missing(path+".last", metrics.CanonicalName(f)+" vanished from the page inside the window")
	}
	if g.Peak == nil {
		r.Notes.Missing(path+".peak", "no poll fell into the run")
	}
	if g.Mean == nil {
		r.Notes.Missing(path+".mean", "fewer than two polls fell into the run")
	}
	return g
}

// whyZeroMeansNothing gives the reason for which a gauge of upstream's that always stood at 0
// says nothing; "" where there is none.
func (r view) whyZeroMeansNothing(f metrics.ID) string {
	t := r.gauges.Families[f].Groups[window.GroupKey{Stage: r.stage}]
	if f >= metrics.EndOfCore || t == nil || t.Peak > 0 || t.Last > 0 {
		return ""
	}
	for _, e := range r.endpoints {
		if why := e.unrecorded[r.stage]; why != "" {
			return why
		}
	}
	return ""
}

// overflowed says whether an endpoint has more series of a figure than are followed.
func (r view) overflowed(f metrics.ID) bool {
	for _, e := range r.endpoints {
		for i := range metrics.DescsOf(f) {
			if e.Counters.Overflowed[i] {
				return true
			}
		}
	}
	return false
}

// whyNoGauge says why there is no reading of a gauge at all, at one value of the
// label that splits it.
func (r view) whyNoGauge(f metrics.ID, by string) string {
	if r.overflowed(f) {
		return metrics.CanonicalName(f) + " has more series than are followed"
	}
	if why := r.whyZeroMeansNothing(f); why != "" {
		return why
	}
	for p := range r.gauges.Families[f].States {
		if p.Engine.Stage != r.stage || p.By != by {
			continue
		}
		return "no reading of " + metrics.CanonicalName(f) + " could be taken: its values were NaN or infinite, or it stood on the page twice with different ones"
	}
	if r.everExported(f) {
		why := "the engine has no sample of " + metrics.CanonicalName(f)
		if by != "" {
			why += fmt.Sprintf(" for %q", by)
		}
		return why
	}
	for _, e := range r.endpoints {
		if _, why := e.Counters.SelectDesc(f); why != "" {
			return why
		}
	}
	return "the engine does not export " + metrics.CanonicalName(f)
}

// everExported says whether any endpoint exported one of some figures.
func (r view) everExported(figures ...metrics.ID) bool {
	for _, e := range r.endpoints {
		if slices.ContainsFunc(figures, e.Counters.EverExported) {
			return true
		}
	}
	return false
}
