package aggregate

import (
	"fmt"
	"sort"
	"strconv"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// chooseStage gives the stage whose figures are the engine's: the first one whose
// counters moved in the window, or the first. Without stages it is "", which goes
// before others where a plain engine stands beside such with stages.
func (r view) chooseStage() string {
	moved := map[string]bool{}
	for _, e := range r.endpoints {
		for _, g := range e.Counters.Metrics {
			if g.Desc.Metric() < metrics.EndOfCore && !e.lacksStage(g.Engine.Stage) {
				moved[g.Engine.Stage] = moved[g.Engine.Stage] || g.Total > 0 || g.Count > 0
			}
		}
	}
	chosen, found := "", false
	for stage, is := range moved {
		better := is && !moved[chosen] || is == moved[chosen] && lessLabel(stage, chosen)
		if !found || better {
			chosen, found = stage, true
		}
	}
	return chosen
}

// isPipeline says whether an endpoint's engines are the stages of a pipeline.
func (e *endpointRecord) isPipeline() bool {
	_, plain := e.stages[""]
	return len(e.stages) > 1 || len(e.stages) == 1 && !plain
}

// lacksStage says whether an endpoint has engines and none at a stage. Series
// without a stage, beside such with one, are no engine.
func (e *endpointRecord) lacksStage(stage string) bool {
	return len(e.stages) > 0 && !e.stages[stage] || stage == "" && e.isPipeline()
}

// stagesIn returns the stages that upstream's series are of.
func stagesIn(l *window.Counters) map[string]bool {
	stages := map[string]bool{}
	for _, g := range l.Metrics {
		if g.Desc.Metric() < metrics.EndOfCore {
			stages[g.Engine.Stage] = true
		}
	}
	return stages
}

// instances gives each engine its own figures.
func (r view) instances() []schema.Instance {
	type counts map[metrics.ID]int64
	var out []schema.Instance
	for i, e := range r.endpoints {
		engines, bad, reasons := map[window.EngineID]counts{}, map[window.EngineID][]metrics.ID{}, map[metrics.ID]string{}
		for _, f := range []metrics.ID{metrics.RequestSuccess, metrics.PromptTokens, metrics.GenerationTokens} {
			row, why := e.Counters.SelectDesc(f)
			if why != "" {
				reasons[f] = why
				continue
			}
			for _, g := range e.Counters.Metrics {
				if g.Desc != row {
					continue
				}
				if engines[g.Engine] == nil {
					engines[g.Engine] = counts{}
				}
				if why := e.whyUnusable(g); why != "" {
					reasons[f] = why
					bad[g.Engine] = append(bad[g.Engine], f)
					continue
				}
				engines[g.Engine][f] += int64(g.Total)
			}
		}
		// One that has counted nothing yet, or exports no counter, is an engine too.
		for _, f := range []metrics.ID{metrics.RequestsRunning, metrics.KVCacheUsage} {
			for p := range r.gauges.Families[f].States {
				if p.Endpoint == e.Index && engines[p.Engine] == nil {
					engines[p.Engine] = counts{}
				}
			}
		}
		for id, figures := range bad {
			for _, f := range figures {
				delete(engines[id], f) // a part of it is no figure
			}
		}
		ids := make([]window.EngineID, 0, len(engines))
		for id := range engines {
			ids = append(ids, id)
		}
		sort.Slice(ids, func(a, b int) bool { return lessEngine(ids[a], ids[b]) })
		for _, id := range ids {
			in := schema.Instance{Endpoint: i, Engine: notEmpty(id.Engine), Stage: notEmpty(id.Stage), Replica: notEmpty(id.Replica), Worker: notEmpty(id.Worker)}
			path := fmt.Sprintf("engine.instances.%d.", len(out))
			if in.Engine == nil {
				r.Notes.Missing(path+"engine", "the endpoint's series have no engine label")
			}
			own := func(field string, f metrics.ID) *int64 {
				if n, ok := engines[id][f]; ok {
					return &n
				}
				why := reasons[f]
				if why == "" {
					why = "the engine does not export " + metrics.CanonicalName(f)
				}
				r.Notes.Missing(path+field, why)
				return nil
			}
			in.RequestsFinished = own("requests_finished", metrics.RequestSuccess)
			in.PromptTokens = own("prompt_tokens", metrics.PromptTokens)
			in.GenerationTokens = own("generation_tokens", metrics.GenerationTokens)
			peak := func(field string, f metrics.ID) *schema.Float {
				g, why := r.gauges.At(f, window.GaugeKey{Endpoint: e.Index, Engine: id}).Gauge(), e.unrecorded[id.Stage]
				if g != nil && g.Peak != nil && (why == "" || *g.Peak > 0) {
					return g.Peak
				}
				if why == "" {
					why = "no poll of it fell into the run"
				}
				r.Notes.Missing(path+field, why)
				return nil
			}
			in.KVCacheUsagePeak = peak("kv_cache_usage_peak", metrics.KVCacheUsage)
			if n := peak("requests_running_peak", metrics.RequestsRunning); n != nil {
				in.RequestsRunningPeak = schema.Ptr(int64(*n))
			}
			out = append(out, in)
		}
	}
	return out
}

func notEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// lessEngine sorts engines by number where their labels are numbers.
func lessEngine(a, b window.EngineID) bool {
	if a.Stage != b.Stage {
		return lessLabel(a.Stage, b.Stage)
	}
	if a.Replica != b.Replica {
		return lessLabel(a.Replica, b.Replica)
	}
	if a.Engine != b.Engine {
		return lessLabel(a.Engine, b.Engine)
	}
	return a.Worker < b.Worker
}

func lessLabel(a, b string) bool {
	x, errA := strconv.Atoi(a)
	y, errB := strconv.Atoi(b)
	if errA == nil && errB == nil {
		return x < y
	}
	return a < b
}
