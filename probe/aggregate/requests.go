package aggregate

import (
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
		Running:               v.gauge("engine.requests.running", metrics.RequestsRunning),
		Waiting:               v.gauge("engine.requests.waiting", metrics.RequestsWaiting),
	}
	q.BatchUtilization = v.batchUtilization(q.Running)
	return q
}

// batchUtilization is the mean number of running requests divided by the largest number
// that the engines may run at once.
func (v view) batchUtilization(running *schema.Gauge) *schema.Float {
	most, why := v.maxConcurrency()
	if why == "" && (running == nil || running.Mean == nil) {
		why = "the mean number of running requests is unknown"
	}
	if why != "" {
		v.Notes.Missing("engine.requests.batch_utilization", why)
		return nil
	}
	return schema.F(float64(*running.Mean) / float64(most))
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
