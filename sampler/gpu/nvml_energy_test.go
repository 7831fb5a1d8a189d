//go:build linux && cgo

package gpu

import (
	"strings"
	"testing"
	"time"
)

// A device of a Grace module counts the energy of the whole module, and the event has a note.
func TestModuleEnergy(t *testing.T) {
	t.Parallel()
	r := helperConfig{Run: 300 * time.Millisecond, Strict: 20 * time.Second}.run(t, fakeLibrary(t), "devices 2\nused 1GiB\ndevice 1\ngrace")
	if len(r.GPUs) != 2 || r.GPUs[1].EnergyJoules == nil {
		t.Fatalf("%+v", r.Readings)
	}
	if note := r.doubt("module_energy"); !strings.Contains(note, "GPU 1 is part of a Grace module") {
		t.Errorf("module_energy: %q", note)
	}
	for _, v := range r.Notes.Validity {
		if v.Code == "module_energy" && strings.Contains(v.Message, "GPU 0") {
			t.Errorf("%+v", v)
		}
	}
}

// Performance counters are read through the real calls, where the device has them.
func TestPerformanceCounters(t *testing.T) {
	t.Parallel()
	const measured = 6
	profiled := until("nvmlGpmMetricsGet", measured)
	for name, c := range map[string]struct {
		script  string
		without []string
		command string
		reason  string
	}{
		"Hopper":        {script: "devices 1\nsm_active 0.9\nsm_occupancy 0.2\ntensor_active 0.4 pulse 0.2 at=0 for=50ms every=100ms\ndram_active 0.55", command: profiled},
		"Ampere":        {script: "devices 1", command: untilMeasured, reason: "Hopper"},
		"old driver":    {script: "devices 1\nsm_active 0.9", without: []string{"nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc", "nvmlGpmSampleGet", "nvmlGpmMetricsGet"}, command: untilMeasured, reason: "newer driver"},
		"MIG":           {script: "devices 1\nsm_active 0.9\ninstance", command: untilMeasured, reason: "MIG instance"},
		"no permission": {script: "devices 1\nsm_active 0.9\nrule nvmlGpmSampleGet code=NO_PERMISSION", command: untilMeasured, reason: "no permission"},
		"not a number":  {script: "devices 1\nsm_active unknown\nsm_occupancy unknown\ntensor_active unknown\ndram_active unknown", command: profiled, reason: "plausible"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := helperConfig{Command: []string{"sh", "-c", c.command}, Strict: 20 * time.Second}.run(t, fakeLibrary(t, c.without...), c.script)
			if len(r.GPUs) != 1 {
				t.Fatalf("%+v", r.Readings)
			}
			g := r.GPUs[0]
			if c.reason != "" {
				for _, field := range []string{"sm_active", "sm_occupancy"} {
					if reason := r.reason("gpus.0." + field); !strings.Contains(reason, c.reason) {
						t.Errorf("%s: %q, want %q", field, reason, c.reason)
					}
				}
				if g.SMActive != nil || g.SMOccupancy != nil {
					t.Errorf("%+v", g)
				}
				return
			}
			if g.SMActive == nil || g.SMOccupancy == nil || g.TensorActive == nil || g.DRAMActive == nil {
				t.Fatalf("%+v", r.Notes)
			}
			near := func(name string, got, want, tolerance float64) {
				if got < want-tolerance || got > want+tolerance {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
			near("SMs active", float64(g.SMActive.Mean), 0.9, 1e-9)
			near("SMs active", float64(g.SMActive.Max), 0.9, 1e-9)
			near("occupancy", float64(g.SMOccupancy.Mean), 0.2, 1e-9)
			near("tensor cores", float64(g.TensorActive.Mean), 0.5, 0.03)
			near("memory", float64(g.DRAMActive.Max), 0.55, 1e-9)
		})
	}
}
