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
