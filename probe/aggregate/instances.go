package aggregate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// chooseStage returns the stage whose figures are the engine's: the first one whose
// counters moved in the window, or else the first one. An engine without stages has the
// stage "", which precedes the others if both kinds exist.
func (v view) chooseStage() string {
	moved := map[string]bool{}
	for _, e := range v.endpoints {
		for _, m := range e.Counters.Metrics() {
			if m.Desc.Metric().IsCore() && !e.lacksStage(m.Engine.Stage) {
				moved[m.Engine.Stage] = moved[m.Engine.Stage] || m.Moved()
			}
		}
	}
	chosen, found := "", false
	for stage, hasMoved := range moved {
		better := hasMoved && !moved[chosen] || hasMoved == moved[chosen] && compareLabels(stage, chosen) < 0
		if !found || better {
			chosen, found = stage, true
		}
	}
	return chosen
}

// isPipeline reports whether an endpoint's engines are the stages of a pipeline.
func (e *endpoint) isPipeline() bool {
	_, plain := e.stages[""]
	return len(e.stages) > 1 || len(e.stages) == 1 && !plain
}

// lacksStage reports whether an endpoint has engines, but none of a stage. Series without a
// stage, beside others with one, are not an engine's.
func (e *endpoint) lacksStage(stage string) bool {
	return len(e.stages) > 0 && !e.stages[stage] || stage == "" && e.isPipeline()
}

// stagesIn returns the stages that vLLM's own series belong to.
func stagesIn(c *window.Counters) map[string]bool {
	stages := map[string]bool{}
	for _, m := range c.Metrics() {
		if m.Desc.Metric().IsCore() {
			stages[m.Engine.Stage] = true
		}
	}
	return stages
}

// instanceCounters are the counters that each engine has of its own in the event.
var instanceCounters = []metrics.ID{metrics.RequestSuccess, metrics.PromptTokens, metrics.GenerationTokens, metrics.Preemptions}

// instances returns each engine's own figures.
func (v view) instances() []schema.Instance {
	var out []schema.Instance
	for i, e := range v.endpoints {
		engines, reasons := v.engineCounts(e)
		for _, id := range slices.SortedFunc(maps.Keys(engines), compareEngines) {
			in := schema.Instance{Endpoint: i, Engine: notEmpty(id.Engine), Stage: notEmpty(id.Stage), Replica: notEmpty(id.Replica), Worker: notEmpty(id.Worker)}
			path := fmt.Sprintf("engine.instances.%d.", len(out))
			if in.Engine == nil {
				v.Notes.Missing(path+"engine", "the endpoint's series have no engine label")
			}
			count := func(field string, metric metrics.ID) *int64 {
				if n, ok := engines[id][metric]; ok {
					return &n
				}
				v.Notes.Missing(path+field, cmp.Or(reasons[metric], "the engine does not export "+metric.CanonicalName()))
				return nil
			}
			in.RequestsFinished = count("requests_finished", metrics.RequestSuccess)
			in.PromptTokens = count("prompt_tokens", metrics.PromptTokens)
			in.GenerationTokens = count("generation_tokens", metrics.GenerationTokens)
			in.Preemptions = count("preemptions", metrics.Preemptions)
			peak := func(field string, metric metrics.ID) *schema.Float {
				stats, why := v.gauges.At(metric, window.GaugeKey{Endpoint: e.Index, Engine: id}, 0), e.unrecorded[id.Stage]
				if stats.PeakKnown && (why == "" || stats.Peak > 0) {
					if why = v.whyInstanceUnseen(e, metric, stats, engines[id]); why == "" {
						return schema.F(stats.Peak)
					}
				}
				switch {
				case why != "":
				case !e.Counters.EverExported(metric):
					why = "the engine does not export " + metric.CanonicalName()
				case !stats.Known:
					why = "every reading of " + metric.CanonicalName() + " was invalid"
				default:
					why = "it was not polled during the run"
				}
				v.Notes.Missing(path+field, why)
				return nil
			}
			in.KVCacheUsagePeak = peak("kv_cache_usage_peak", metrics.KVCacheUsage)
			if n := peak("requests_running_peak", metrics.RequestsRunning); n != nil {
				in.RequestsRunningPeak = schema.Ptr(int64(*n))
			}
			running, missing := v.instanceRequests(e, id, metrics.RequestsRunning)
			if in.RequestsRunningMean = running.Mean; in.RequestsRunningMean == nil {
				v.Notes.Missing(path+"requests_running_mean", missing.mean)
			}
			waiting, missing := v.instanceRequests(e, id, metrics.RequestsWaiting)
			if in.RequestsWaitingMean = waiting.Mean; in.RequestsWaitingMean == nil {
				v.Notes.Missing(path+"requests_waiting_mean", missing.mean)
			}
			if peak, ok := waiting.Peak.Value(); ok {
				in.RequestsWaitingPeak = schema.Ptr(int64(peak))
			} else {
				v.Notes.Missing(path+"requests_waiting_peak", missing.peak)
			}
			out = append(out, in)
		}
	}
	return out
}

// instanceRequests returns the gauge of one engine's running or waiting requests, with the reasons
// for what is missing of it.
func (v view) instanceRequests(e *endpoint, id window.EngineID, metric metrics.ID) (*schema.RequestGauge, gaugeReasons) {
	why := ""
	switch {
	case e.MixedKVRoles:
		why = v.whySplitUnknown // engines of several servers may have one number
	case e.lacksStage(id.Stage):
		why = "the engine's series have no stage label, although others have one"
	default:
		r, missing, none := v.ofEngine(e, id).readRequestGauge(metric)
		if none == "" {
			return r, missing
		}
		why = none
	}
	return &schema.RequestGauge{}, gaugeReasons{why, why, why}
}

// engineCounts returns the instanceCounters of each engine behind an endpoint, and why some
// of them are missing.
func (v view) engineCounts(e *endpoint) (engines map[window.EngineID]map[metrics.ID]int64, reasons map[metrics.ID]string) {
	engines, reasons = map[window.EngineID]map[metrics.ID]int64{}, map[metrics.ID]string{}
	unusable := map[window.EngineID][]metrics.ID{}
	for _, metric := range instanceCounters {
		desc, why := e.Counters.SelectDesc(metric)
		if e.MixedKVRoles {
			why = v.whySplitUnknown // engines of several servers may have one number
		}
		if why != "" {
			reasons[metric] = why
			continue
		}
		for _, m := range e.Counters.Metrics() {
			if m.Desc != desc {
				continue
			}
			if engines[m.Engine] == nil {
				engines[m.Engine] = map[metrics.ID]int64{}
			}
			if why := e.whyUnusable(m); why != "" {
				reasons[metric] = why
				unusable[m.Engine] = append(unusable[m.Engine], metric)
				continue
			}
			engines[m.Engine][metric] += int64(m.Total)
		}
	}
	// An engine that has counted nothing yet, or exports no counter, has gauges.
	for _, metric := range []metrics.ID{metrics.RequestsRunning, metrics.KVCacheUsage} {
		for k := range v.gauges.Keys(metric) {
			if k.Endpoint == e.Index && engines[k.Engine] == nil {
				engines[k.Engine] = map[metrics.ID]int64{}
			}
		}
	}
	for id, ids := range unusable {
		for _, metric := range ids {
			delete(engines[id], metric) // the sum of the others is not the engine's
		}
	}
	return engines, reasons
}

// compareEngines orders engines by their labels.
func compareEngines(a, b window.EngineID) int {
	return cmp.Or(compareLabels(a.Stage, b.Stage), compareLabels(a.Replica, b.Replica), compareLabels(a.Engine, b.Engine), cmp.Compare(a.Worker, b.Worker))
}

// compareLabels orders label values, as numbers if both are.
func compareLabels(a, b string) int {
	x, errA := strconv.Atoi(a)
	y, errB := strconv.Atoi(b)
	if errA == nil && errB == nil {
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a, b))
	}
	return cmp.Compare(a, b)
}
