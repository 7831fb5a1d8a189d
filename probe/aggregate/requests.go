package aggregate

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

func (v view) requests() *schema.Requests {
	q := &schema.Requests{
		Finished:              v.countByLabel("engine.requests.finished", metrics.RequestSuccess),
		Rejected:              v.countByLabel("engine.requests.rejected", metrics.AdmissionRejections),
		Preemptions:           v.count("engine.requests.preemptions", metrics.Preemptions),
		PreemptionsPerRequest: v.distribution("engine.requests.preemptions_per_request", metrics.PreemptionsPerRequest),
		Running:               v.requestGauge("engine.requests.running", metrics.RequestsRunning),
		Waiting:               v.requestGauge("engine.requests.waiting", metrics.RequestsWaiting),
	}
	q.WaitingByReason = v.waitingByReason(q.Waiting)
	if n, why := v.unaccounted(); why != "" {
		v.Notes.Missing("engine.requests.unaccounted_min", why)
	} else {
		q.UnaccountedMin = &n
	}
	most, why := v.maxConcurrency()
	if why == "" {
		q.RunningLimit = schema.Ptr(int64(most))
	} else {
		v.Notes.Missing("engine.requests.running_limit", why)
	}
	q.BatchUtilization = v.batchUtilization(q.Running, most, why)
	return q
}

// leastError is by how much a mean number of requests may always be off.
const leastError = 0.01

// waitingByReason returns the waiting requests by why they wait. Only polls tell them apart, so
// they are known only as far as the polls saw all of those that waited.
func (v view) waitingByReason(waiting *schema.RequestGauge) map[string]schema.Gauge {
	const path, id = "engine.requests.waiting_by_reason", metrics.WaitingByReason
	values := slices.Sorted(maps.Keys(v.labelValues(id)))
	if len(values) == 0 {
		v.Notes.Missing(path, v.whyNoGauge(id, ""))
		return nil
	}
	out, reasons := map[string]schema.Gauge{}, map[string]gaugeReasons{}
	polled := 0.0
	for _, value := range values {
		g, missing, why := v.readGauge(id, value)
		if why != "" { // the others would look like all of them
			v.Notes.Missing(path, why)
			return nil
		}
		out[value], reasons[value] = *g, missing
		polled += v.combinedGauge(id, value).Mean
	}
	noPeak, noMean := waiting == nil || waiting.Peak == nil, ""
	if waiting == nil || waiting.Mean == nil {
		noMean = "the mean of all waiting requests is unknown: see engine.requests.waiting"
	} else if mean := float64(*waiting.Mean); math.Abs(polled-mean) > max((polledTolerance-1)*mean, leastError) {
		noMean = fmt.Sprintf("the polls found %.3g waiting requests on average, and there were %.3g: see engine.requests.waiting", polled, mean)
	}
	for _, value := range values {
		g, missing := out[value], reasons[value]
		if noPeak && g.Peak != nil {
			g.Peak, missing.peak = nil, "the peak of all waiting requests is unknown: see engine.requests.waiting"
		}
		if noMean != "" && g.Mean != nil {
			g.Mean, missing.mean = nil, noMean
		}
		v.noteGauge(path+"."+value, &g, missing)
		out[value] = g
	}
	return out
}

// requestGauge is gauge for requests, whose mean the engine's histograms may prove.
func (v view) requestGauge(path string, id metrics.ID) *schema.RequestGauge {
	r, missing, why := v.readRequestGauge(id)
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	if r.Mean == nil {
		v.Notes.Missing(path+".method", cmp.Or(missing.mean, "there is no mean"))
	}
	v.noteGauge(path, &r.Gauge, missing)
	return r
}

// readRequestGauge is readGauge for requests.
func (v view) readRequestGauge(id metrics.ID) (r *schema.RequestGauge, missing gaugeReasons, why string) {
	g, missing, why := v.readGauge(id, "")
	if why != "" {
		return nil, missing, why
	}
	r = &schema.RequestGauge{Gauge: *g}
	method := polled
	if counted, why := v.countedMean(id); why == "" {
		if counted.method != littlesLaw {
			r.MeanBounds = &schema.Bounds{schema.F(counted.low), nil}
			if !math.IsInf(counted.high, 1) {
				r.MeanBounds[1] = schema.F(counted.high)
			}
		}
		switch x, ok := r.Mean.Value(); {
		case counted.method != "" && isPrecise(counted.mean, counted.err):
			r.Mean, method = schema.F(counted.mean), counted.method
		case ok && counted.missed != "":
			r.Mean, missing.mean = nil, counted.missed
		case ok && (x < counted.low/polledTolerance || x > counted.high*polledTolerance):
			r.Mean, missing.mean = nil, fmt.Sprintf("the polls found %.3g on average, and the engine's own times prove that it is %s: they missed its work", x, counted.bounds())
		case ok:
			r.Mean = schema.F(min(max(x, counted.low), counted.high)) // like a quantile's estimate
		}
	}
	if mean, ok := r.Mean.Value(); ok {
		r.Method = &method
		// A few short waits between polls are no contradiction.
		if peak, ok := r.Peak.Value(); ok && mean > 1.02*peak+0.05 {
			r.Peak, missing.peak = nil, fmt.Sprintf("the highest poll found %.0f, and the mean by the engine's own times is %.3g: the polls missed the peak", peak, mean)
		}
	}
	return r, missing, ""
}

// batchUtilization is the mean number of running requests while the engine worked, divided
// by most, the largest number that the engines may run at once, which is unknown if why is not
// empty.
func (v view) batchUtilization(running *schema.RequestGauge, most int, why string) *schema.Float {
	w := v.Engine.Window
	switch {
	case why != "":
	case running == nil || running.Mean == nil:
		why = "the mean number of running requests is unknown"
	case w.ActiveSecondsEst == nil:
		why = "the time in which the engine worked is not resolved: see engine.window.active_seconds_est"
	}
	if why != "" {
		v.Notes.Missing("engine.requests.batch_utilization", why)
		return nil
	}
	// Outside the active time nothing runs: the mean over the window has all of the work.
	seconds := float64(w.DurationSeconds)
	active, activeToLast := v.activeSeconds()
	if *running.Method == polled {
		seconds, active = v.secondsToLast(), activeToLast
	}
	if active <= 0 {
		active = activeToLast
	}
	whileActive := float64(*running.Mean) * seconds / active
	return schema.F(min(whileActive/float64(most), 1)) // the active time is exact to a tenth
}

// maxConcurrency returns max_num_seqs, which holds for each engine, times the number of
// engines. No metric reports it, and its default depends on the version, the GPU and the
// use (vllm/engine/arg_utils.py): it is known if the engine reports its configuration, or
// from the server's command line.
func (v view) maxConcurrency() (most int, why string) {
	for i, e := range v.endpoints {
		engines := 0
		for k := range v.gauges.Keys(metrics.RequestsRunning) {
			if k.Endpoint == e.Index && k.Engine.Stage == v.stage {
				engines++
			}
		}
		each := e.MaxNumSeqs
		if s, ok := v.settings.byEndpoint[i]["max_num_seqs"]; ok {
			if n, ok := s.Value.(int64); ok && n > 0 && n <= vllm.MaxNumSeqs {
				each = int(n)
			}
		}
		switch {
		case v.stage != "":
			return 0, "the max_num_seqs of a stage is unknown: it is in the deployment's configuration, and no metric reports it"
		case each == 0:
			return 0, "max_num_seqs is unknown: no metric reports it, no command line of the server with --max-num-seqs was found (the default depends on the version and the GPU), and " + v.whyNotReported(e, "max_num_seqs")
		}
		most += each * engines
	}
	if most == 0 {
		return 0, "no engine reports its running requests"
	}
	return most, ""
}
