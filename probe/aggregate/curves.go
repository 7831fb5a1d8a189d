package aggregate

import (
	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// GaugeFigures are the names of the gauges that are followed over the run, as in the event's
// series.
var GaugeFigures = map[metrics.ID]string{
	metrics.KVCacheUsage:    "engine.kv_cache.usage",
	metrics.RequestsRunning: "engine.requests.running",
	metrics.RequestsWaiting: "engine.requests.waiting",
	metrics.ProcessResident: "engine.process_resident_memory_bytes",
}

// RateFigures are the names of the rates of tokens there.
var RateFigures = map[metrics.ID]string{
	metrics.PromptTokens:     "engine.throughput.prompt_tokens_per_second",
	metrics.GenerationTokens: "engine.throughput.generation_tokens_per_second",
}

// curves returns the engine's figures over the run: those whose peak, or count, is in the event,
// because the others were seen too rarely or are refuted.
func (v view) curves() (out []curve.Figure) {
	var endpoints []int
	for _, e := range v.endpoints {
		endpoints = append(endpoints, e.Index)
	}
	gauge := func(id metrics.ID, g *schema.Gauge) {
		// The peak of a sum may be unknown although that of each part is known.
		if g == nil || g.Peak == nil && (g.Mean == nil || len(endpoints) == 1) {
			return
		}
		if group := v.gauges.Curve(id, v.stage, endpoints); !group.Empty() {
			out = append(out, curve.Figure{Name: GaugeFigures[id], Group: group})
		}
	}
	g := v.Engine
	if g.KVCache != nil && g.KVCache.Usage != nil {
		gauge(metrics.KVCacheUsage, &g.KVCache.Usage.Gauge)
	}
	if r := g.Requests.Running; r != nil {
		gauge(metrics.RequestsRunning, &r.Gauge)
	}
	if r := g.Requests.Waiting; r != nil {
		gauge(metrics.RequestsWaiting, &r.Gauge)
	}
	rate := func(id metrics.ID, tokens *int64) {
		if tokens == nil {
			return
		}
		var group curve.Group
		for _, e := range v.endpoints {
			if e.TokenCurves == nil {
				continue
			}
			if c := e.TokenCurves.Curve(id, v.stage); !c.Empty() {
				group.Curves = append(group.Curves, c)
			}
		}
		if !group.Empty() {
			out = append(out, curve.Figure{Name: RateFigures[id], Group: group})
		}
	}
	if g.Tokens != nil {
		rate(metrics.PromptTokens, g.Tokens.Prompt)
		rate(metrics.GenerationTokens, g.Tokens.Generation)
	}
	// The memory is that of all servers, whatever their roles and stages are.
	if group := v.gauges.Curve(metrics.ProcessResident, "", v.ofAll().indices()); !group.Empty() {
		out = append(out, curve.Figure{Name: GaugeFigures[metrics.ProcessResident], Group: group})
	}
	return out
}
