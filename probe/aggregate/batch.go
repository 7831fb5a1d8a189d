package aggregate

import (
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// batchUtilization is the mean number of running requests by the most that the
// engines may run at once.
func (r view) batchUtilization(running *schema.Gauge) *schema.Float {
	most, why := r.maxConcurrency()
	if why == "" && (running == nil || running.Mean == nil) {
		why = "the mean number of running requests is not known"
	}
	if why != "" {
		r.Notes.Missing("engine.requests.batch_utilization", why)
		return nil
	}
	return schema.F(float64(*running.Mean) / float64(most))
}

// maxConcurrency is max_num_seqs, which holds for each engine, times the engines. No
// metric tells it, and its default depends on the version, the GPU and the use
// (vllm/engine/arg_utils.py): it is known by the engine's own word, or where the
// server's command line has it.
func (r view) maxConcurrency() (most int, why string) {
	for i, e := range r.endpoints {
		engines := 0
		for p := range r.gauges.Families[metrics.RequestsRunning].States {
			if p.Endpoint == e.Index && p.Engine.Stage == r.stage {
				engines++
			}
		}
		each := e.MaxNumSeqs
		if s, ok := r.settings.byEndpoint[i]["max_num_seqs"]; ok {
			if n, ok := s.Value.(int64); ok && n > 0 && n <= vllm.MaxNumSeqs {
				each = int(n)
			}
		}
		switch {
		case r.stage != "":
			return 0, "max_num_seqs of a stage is not known: it is in the deployment's configuration, not in a metric"
		case each == 0:
			return 0, "max_num_seqs is not known: no metric tells it, no command line of the server with --max-num-seqs was seen (the default depends on the version and the GPU), and " + r.whyNotReported(e, "max_num_seqs")
		}
		most += each * engines
	}
	if most == 0 {
		return 0, "no engine tells its running requests"
	}
	return most, ""
}
