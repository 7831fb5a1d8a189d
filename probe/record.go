package probe

import (
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/vllm/metrics"
)

// figureNames are the names of the gauges that are followed over the run, as in the event's
// series.
var figureNames = map[metrics.ID]string{
	metrics.KVCacheUsage:    "engine.kv_cache.usage",
	metrics.RequestsRunning: "engine.requests.running",
	metrics.RequestsWaiting: "engine.requests.waiting",
}

// generationRate is the name of the rate of generated tokens.
const generationRate = "engine.throughput.generation_tokens_per_second"

// recordGauges passes on what the page read at a time shows of the gauges that it is the source
// of. The Prober's lock is held.
func (e *endpoint) recordGauges(at time.Time, covers func(metrics.ID) bool) {
	if e.p.cfg.Record == nil {
		return
	}
	e.p.gauges[e.target.Origin].Current(e.index, covers, func(id metrics.ID, stage string, value float64) {
		e.p.cfg.Record(curve.Reading{At: at, Name: figureNames[id], Value: value, Endpoint: e.target.Name(), Stage: stage})
	})
}

// recorder returns the function that passes on the rate of generated tokens up to a time; nil if
// readings are not recorded.
func (e *endpoint) recorder(at time.Time) func(stage string, rate float64) {
	if e.p.cfg.Record == nil {
		return nil
	}
	return func(stage string, rate float64) {
		e.p.cfg.Record(curve.Reading{At: at, Name: generationRate, Value: rate, Endpoint: e.target.Name(), Stage: stage})
	}
}
