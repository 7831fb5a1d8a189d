//go:build linux && cgo

package gpu

import (
	"testing"
	"time"
)

// The C thread adds every reading up in the slot of its time. A pulse is in its slot and in no
// other, and what is constant has itself as its mean.
func TestMemoryCurve(t *testing.T) {
	t.Parallel()
	lib := fakeLibrary(t)
	r := helperConfig{Run: 1500 * time.Millisecond, Strict: 20 * time.Second, Interval: 5 * time.Millisecond}.run(t, lib, `
		devices 2
		device 1
		used 3GiB
		used pulse 10GiB at=1s for=2s
		power 250`)
	steady, pulse := r.Slots["gpus.0.memory_used_bytes"], r.Slots["gpus.1.memory_used_bytes"]
	if len(steady) < 6 || len(pulse) != len(steady) {
		t.Fatalf("%d and %d slots in %v", len(steady), len(pulse), r.Ran)
	}
	const (
		gib      = 1 << 30
		rounding = 1e-9
	)
	readings, highest, higher := int64(0), 0.0, 0
	for i, s := range pulse {
		readings += s.Readings
		highest = max(highest, s.Max)
		if s.Readings == 0 {
			continue
		}
		if s.Mean > 3*gib*(1+rounding) {
			higher++
		}
		if s.Mean > s.Max || s.Mean < 3*gib*(1-rounding) || s.Max != 3*gib && s.Max != 13*gib || higher > 0 && s.Max != 13*gib {
			t.Errorf("slot %d: %+v", i, s)
		}
		if c := steady[i]; c.Mean < c.Max*(1-rounding) || c.Max != float64(*r.GPUs[0].PeakBytes) {
			t.Errorf("slot %d of a steady device: %+v", i, c)
		}
	}
	if highest != float64(*r.GPUs[1].PeakBytes) {
		t.Errorf("the highest slot has %.0f, the peak is %d", highest, *r.GPUs[1].PeakBytes)
	}
	// The last round, after the command's end, is in no slot.
	if samples := r.GPUs[1].Sampling.Samples; readings != samples-1 {
		t.Errorf("%d readings in slots, %d samples", readings, samples)
	}
	for i, s := range r.Slots["gpus.1.power_watts"] {
		if s.Readings > 0 && (s.Max != 250 || s.Mean < 250*(1-rounding)) {
			t.Errorf("power in slot %d: %+v", i, s)
		}
	}
}
