package gpu

import (
	"fmt"
	"slices"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/schema"
)

// deviceCurves are a device's figures over the run. Sampler.mu guards them.
type deviceCurves struct{ memory, power curve.Curve }

// takeMemory adds what the watcher has read since the last call to the curves of memory. The
// caller holds s.mu.
func (s *Sampler) takeMemory() {
	for i, d := range s.devices {
		highest, any := 0.0, false
		for _, p := range s.watcher.take(i) {
			d.curves.memory.AddPart(p)
			if p.Readings > 0 {
				highest, any = max(highest, p.Max), true
			}
		}
		if any {
			s.recordReading(i, "memory_used_bytes", highest, time.Now())
		}
	}
}

// addPower adds a reading of the power. The caller does not hold s.mu.
func (s *Sampler) addPower(d *deviceState, watts float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started.IsZero() {
		return
	}
	now := time.Now()
	d.curves.power.Add(now.Sub(s.started), watts)
	s.recordReading(slices.Index(s.devices, d), "power_watts", watts, now)
}

// recordReading passes a reading of device i on to Config.Record.
func (s *Sampler) recordReading(i int, name string, value float64, at time.Time) {
	if s.cfg.Record != nil {
		s.cfg.Record(curve.Reading{At: at, Name: figureName(i, name), Value: value})
	}
}

func figureName(i int, name string) string { return fmt.Sprintf("gpus.%d.%s", i, name) }

// reportCurves returns the figures over the run of the devices in the event. The caller holds
// s.mu.
func (s *Sampler) reportCurves(gpus []schema.GPU) (out []curve.Figure) {
	add := func(i int, name string, c curve.Curve) {
		if !c.Empty() {
			out = append(out, curve.Figure{Name: figureName(i, name), Group: curve.Group{Curves: []curve.Curve{c}}})
		}
	}
	for i, d := range s.devices {
		if gpus[i].PeakBytes != nil {
			add(i, "memory_used_bytes", d.curves.memory)
		}
		if gpus[i].PowerWatts != nil {
			add(i, "power_watts", d.curves.power)
		}
	}
	return out
}
