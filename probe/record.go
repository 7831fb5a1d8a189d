package probe

import (
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/aggregate"
)

// recordGauges passes on what the page read at a time shows of the gauges that it is the source
// of. A page that is not full has only the gauges that every poll requests. The Prober's lock is
// held.
func (e *endpoint) recordGauges(at time.Time, full bool, covers func(metrics.ID) bool) {
	if e.p.cfg.Record == nil {
		return
	}
	shows := func(id metrics.ID) bool { return covers(id) && (full || id.IsPolled()) }
	e.p.gauges[e.target.Origin].Current(e.index, shows, func(id metrics.ID, stage string, value float64) {
		e.p.cfg.Record(curve.Reading{At: at, Name: aggregate.GaugeFigures[id], Value: value, Endpoint: e.target.Name(), Stage: stage})
	})
}

// recorder returns the function that passes on the rates of tokens up to a time; nil if readings
// are not recorded.
func (e *endpoint) recorder(at time.Time) func(id metrics.ID, stage string, rate float64) {
	if e.p.cfg.Record == nil {
		return nil
	}
	return func(id metrics.ID, stage string, rate float64) {
		e.p.cfg.Record(curve.Reading{At: at, Name: aggregate.RateFigures[id], Value: rate, Endpoint: e.target.Name(), Stage: stage})
	}
}
