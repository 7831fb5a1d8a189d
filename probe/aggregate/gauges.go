package aggregate

import (
	"fmt"
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// gauge returns a gauge for the field at path; nil, with the reason noted, if it is unknown.
func (v view) gauge(path string, id metrics.ID) *schema.Gauge { return v.gaugeWithLabel(path, id, "") }

// gaugeWithLabel is gauge at one value of the label that splits the metric.
func (v view) gaugeWithLabel(path string, id metrics.ID, value string) *schema.Gauge {
	g, missing, why := v.readGauge(id, value)
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	v.noteGauge(path, g, missing)
	return g
}

// gaugeReasons are the reasons for the missing figures of a gauge.
type gaugeReasons struct{ last, peak, mean string }

// noteGauge notes the reasons for the missing figures of the gauge at path.
func (v view) noteGauge(path string, g *schema.Gauge, missing gaugeReasons) {
	for _, f := range []struct {
		name  string
		value *schema.Float
		why   string
	}{{"last", g.Last, missing.last}, {"peak", g.Peak, missing.peak}, {"mean", g.Mean, missing.mean}} {
		if f.value == nil {
			v.Notes.Missing(path+"."+f.name, f.why)
		}
	}
}

// readGauge returns a gauge at one value of the label that splits the metric, and the
// reasons for those of its figures that are missing.
func (v view) readGauge(id metrics.ID, value string) (g *schema.Gauge, missing gaugeReasons, why string) {
	stats := v.combinedGauge(id, value)
	if !stats.Known || v.whyNotAddedUp(id) != "" || v.overflowed(id) || v.whyZeroMeansNothing(id) != "" {
		return nil, missing, v.whyNoGauge(id, value)
	}
	missing = gaugeReasons{peak: "there was no poll during the run", mean: "there were fewer than two readings"}
	switch {
	case stats.PeakKnown || !stats.InRun:
	case len(v.endpoints) < len(v.all):
		missing.peak = "the servers of the role were polled at different times: the peak of their sum is unknown, see engine.instances for each one's"
	default:
		missing.peak = "the readings of the servers are of different moments and differ much: the peak of their sum is unknown, see engine.instances for each one's"
	}
	g = &schema.Gauge{Last: schema.F(stats.Last)}
	if stats.PeakKnown {
		g.Peak = schema.F(stats.Peak)
	}
	switch {
	case !stats.MeanKnown || !stats.InRun:
	case !isPrecise(stats.Mean, stats.MeanError):
		missing.mean = fmt.Sprintf("too few polls for a gauge that varies this much: %.3g ± %.2g, and at most ± %.0f %% is accepted%s", stats.Mean, stats.MeanError, 100*maxError, v.pollingHint())
	default:
		g.Mean = schema.F(stats.Mean)
		if stats.PeakKnown { // there may have been more before the run
			g.Mean = schema.F(min(stats.Mean, stats.Peak))
		}
	}
	if stats.Stale {
		g.Last, missing.last = nil, id.CanonicalName()+vanished
	}
	if why := v.whyUnseen(id); why != "" && g.Peak != nil {
		g.Peak, missing.peak = nil, why
	}
	if why := v.whyMeanUnseen(id); why != "" && stats.MeanKnown {
		g.Mean, missing.mean = nil, why
	}
	return g, missing, ""
}

// combinedGauge returns what a gauge shows at the view's endpoints together, at one value of
// the label that splits the metric. The means of what every poll requests are over the time
// from the window's beginning to the last reading.
func (v view) combinedGauge(id metrics.ID, value string) window.GaugeStats {
	seconds := v.secondsToLast()
	var spans []window.Span
	for _, e := range v.endpoints {
		span := window.Span{Endpoint: e.Index}
		if lost := e.Final == FinalLastGood && !e.Refused; id.IsPolled() && e.Base != BaseLate && !lost {
			span.Seconds = seconds
		}
		if v.engine != nil {
			return v.gauges.At(id, window.GaugeKey{Endpoint: e.Index, Engine: *v.engine, LabelValue: value}, span.Seconds)
		}
		spans = append(spans, span)
	}
	return v.gauges.Combine(id, window.GroupKey{Stage: v.stage, LabelValue: value}, spans)
}

// secondsToLast returns the time from the window's beginning to the last reading.
func (v view) secondsToLast() float64 {
	var from, to time.Time
	for _, e := range v.endpoints {
		if from.IsZero() || e.BaseAt.Before(from) {
			from = e.BaseAt
		}
		to = later(to, e.LastAt)
	}
	return to.Sub(from).Seconds()
}

// whyZeroMeansNothing returns why a gauge of vLLM's own that was always 0 has no meaning; ""
// if it has.
func (v view) whyZeroMeansNothing(id metrics.ID) string {
	g := v.combinedGauge(id, "")
	if !id.IsCore() || !g.Known || g.Peak > 0 || g.Last > 0 {
		return ""
	}
	for _, e := range v.endpoints {
		if why := e.unrecorded[v.stage]; why != "" {
			return why
		}
	}
	return ""
}
