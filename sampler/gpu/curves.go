package gpu

import (
	"fmt"
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
		for _, p := range s.watcher.take(i) {
			d.curves.memory.AddPart(p)
		}
	}
}

// addPower adds a reading of the power. The caller does not hold s.mu.
func (s *Sampler) addPower(d *deviceState, watts float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started.IsZero() {
		d.curves.power.Add(time.Since(s.started), watts)
	}
}

// reportCurves returns the figures over the run of the devices in the event. The caller holds
// s.mu.
func (s *Sampler) reportCurves(gpus []schema.GPU) (out []curve.Figure) {
	add := func(i int, name string, c curve.Curve) {
		if !c.Empty() {
			out = append(out, curve.Figure{Name: fmt.Sprintf("gpus.%d.%s", i, name), Group: curve.Group{Curves: []curve.Curve{c}}})
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
