package aggregate

import (
	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// curves returns the engine's figures over the run: those whose peak, or count, is in the event,
// because the others were seen too rarely or are refuted.
func (v view) curves() (out []curve.Figure) {
	var endpoints []int
	for _, e := range v.endpoints {
		endpoints = append(endpoints, e.Index)
	}
	gauge := func(name string, id metrics.ID, g *schema.Gauge) {
		// The peak of a sum may be unknown although that of each part is known.
		if g == nil || g.Peak == nil && (g.Mean == nil || len(endpoints) == 1) {
			return
		}
		if group := v.gauges.Curve(id, v.stage, endpoints); !group.Empty() {
			out = append(out, curve.Figure{Name: name, Group: group})
		}
	}
	g := v.Engine
	if g.KVCache != nil && g.KVCache.Usage != nil {
		gauge("engine.kv_cache.usage", metrics.KVCacheUsage, &g.KVCache.Usage.Gauge)
	}
	for _, r := range []struct {
		name string
		id   metrics.ID
		g    *schema.RequestGauge
	}{{"engine.requests.running", metrics.RequestsRunning, g.Requests.Running}, {"engine.requests.waiting", metrics.RequestsWaiting, g.Requests.Waiting}} {
		if r.g != nil {
			gauge(r.name, r.id, &r.g.Gauge)
		}
	}
	if g.Tokens != nil && g.Tokens.Generation != nil {
		var group curve.Group
		for _, e := range v.endpoints {
			if e.TokenCurves == nil {
				continue
			}
			if c := e.TokenCurves.Curve(v.stage); !c.Empty() {
				group.Curves = append(group.Curves, c)
			}
		}
		if !group.Empty() {
			out = append(out, curve.Figure{Name: "engine.throughput.generation_tokens_per_second", Group: group})
		}
	}
	return out
}
