package probe

import (
	"fmt"
	"sort"
	"strconv"

	"github.com/vobs/vobs/schema"
)

// chooseStage gives the stage whose figures are the engine's: the first one whose
// counters moved in the window, or the first. Without stages it is "", which goes
// before others where a plain engine stands beside such with stages.
func (r view) chooseStage() string {
	moved := map[string]bool{}
	for _, e := range r.endpoints {
		for _, g := range e.Counters.groups {
			if g.row.figure() < coreFigures && !e.elsewhere(g.engine.stage) {
				moved[g.engine.stage] = moved[g.engine.stage] || g.total > 0 || g.count > 0
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

// staged says whether an endpoint's engines are the stages of a pipeline.
func (e *record) staged() bool {
	_, plain := e.stages[""]
	return len(e.stages) > 1 || len(e.stages) == 1 && !plain
}

// elsewhere says whether an endpoint has engines and none at a stage. Series
// without a stage, beside such with one, are no engine.
func (e *record) elsewhere(stage string) bool {
	return len(e.stages) > 0 && !e.stages[stage] || stage == "" && e.staged()
}

// stagesIn returns the stages that upstream's series are of.
func stagesIn(l *ledger) map[string]bool {
	stages := map[string]bool{}
	for _, g := range l.groups {
		if g.row.figure() < coreFigures {
			stages[g.engine.stage] = true
		}
	}
	return stages
}

// instances gives each engine its own figures.
func (r view) instances() []schema.Instance {
	type counts map[figure]int64
	var out []schema.Instance
	for i, e := range r.endpoints {
		engines, bad, reasons := map[engineID]counts{}, map[engineID][]figure{}, map[figure]string{}
		for _, f := range []figure{requestSuccess, promptTokens, generationTokens} {
			row, why := e.Counters.rowOf(f)
			if why != "" {
				reasons[f] = why
				continue
			}
			for _, g := range e.Counters.groups {
				if g.row != row {
					continue
				}
				if engines[g.engine] == nil {
					engines[g.engine] = counts{}
				}
				if why := e.trouble(g); why != "" {
					reasons[f] = why
					bad[g.engine] = append(bad[g.engine], f)
					continue
				}
				engines[g.engine][f] += int64(g.total)
			}
		}
		// One that has counted nothing yet, or exports no counter, is an engine too.
		for _, f := range []figure{running, kvUsage} {
			for p := range r.gauges.figures[f].seats {
				if p.endpoint == e.Index && engines[p.engine] == nil {
					engines[p.engine] = counts{}
				}
			}
		}
		for id, figures := range bad {
			for _, f := range figures {
				delete(engines[id], f) // a part of it is no figure
			}
		}
		ids := make([]engineID, 0, len(engines))
		for id := range engines {
			ids = append(ids, id)
		}
		sort.Slice(ids, func(a, b int) bool { return lessEngine(ids[a], ids[b]) })
		for _, id := range ids {
			in := schema.Instance{Endpoint: i, Engine: notEmpty(id.engine), Stage: notEmpty(id.stage), Replica: notEmpty(id.replica), Worker: notEmpty(id.worker)}
			path := fmt.Sprintf("engine.instances.%d.", len(out))
			if in.Engine == nil {
				r.Notes.Missing(path+"engine", "the endpoint's series have no engine label")
			}
			own := func(field string, f figure) *int64 {
				if n, ok := engines[id][f]; ok {
					return &n
				}
				why := reasons[f]
				if why == "" {
					why = "the engine does not export " + nameOf(f)
				}
				r.Notes.Missing(path+field, why)
				return nil
			}
			in.RequestsFinished = own("requests_finished", requestSuccess)
			in.PromptTokens = own("prompt_tokens", promptTokens)
			in.GenerationTokens = own("generation_tokens", generationTokens)
			peak := func(field string, f figure) *schema.Float {
				g, why := r.gauges.at(f, place{e.Index, id, ""}).gauge(), e.unrecorded[id.stage]
				if g != nil && g.Peak != nil && (why == "" || *g.Peak > 0) {
					return g.Peak
				}
				if why == "" {
					why = "no poll of it fell into the run"
				}
				r.Notes.Missing(path+field, why)
				return nil
			}
			in.KVCacheUsagePeak = peak("kv_cache_usage_peak", kvUsage)
			if n := peak("requests_running_peak", running); n != nil {
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
func lessEngine(a, b engineID) bool {
	if a.stage != b.stage {
		return lessLabel(a.stage, b.stage)
	}
	if a.replica != b.replica {
		return lessLabel(a.replica, b.replica)
	}
	if a.engine != b.engine {
		return lessLabel(a.engine, b.engine)
	}
	return a.worker < b.worker
}

func lessLabel(a, b string) bool {
	x, errA := strconv.Atoi(a)
	y, errB := strconv.Atoi(b)
	if errA == nil && errB == nil {
		return x < y
	}
	return a < b
}
