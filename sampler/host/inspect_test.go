package host

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/internal/proctest"
)

func TestInspect(t *testing.T) {
	f := hostFixture(t)
	f.Write("cg/memory.events", "oom_kill 0\n")
	f.Write("sys/class/powercap/intel-rapl:0/name", "package-0\n")
	f.Write("sys/class/powercap/intel-rapl:0/energy_uj", "1\n")
	f.Write("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "10\n")
	in := Inspect(Config{ProcRoot: f.Root, CgroupRoot: f.Root, SysRoot: f.Root + "/sys"})
	want := Inspection{CPUs: 1, MemoryBytes: 1 << 20, CgroupVersion: 2, CPULimit: 1.5, MemoryLimitBytes: 4096, EnergyZones: 1}
	if in != want || in.PressureReason() != "" {
		t.Errorf("%+v, want %+v", in, want)
	}

	empty := proctest.New(t)
	in = Inspect(Config{ProcRoot: empty.Root, CgroupRoot: empty.Root, SysRoot: empty.Root})
	for _, err := range []error{in.CPUsErr, in.MemoryErr, in.CgroupErr, in.CPULimitErr, in.MemoryLimitErr, in.OOMErr, in.PressureErr} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
	if in.EnergyErr == nil || !strings.Contains(in.PressureReason(), "CONFIG_PSI") {
		t.Errorf("%+v", in)
	}
}

// A file that does not respond costs its own figures.
func TestInspectHangs(t *testing.T) {
	f := hostFixture(t)
	_, release := proctest.Hang(t, "/mountinfo")
	defer release()
	in := Inspect(Config{ProcRoot: f.Root, CgroupRoot: f.Root, SysRoot: f.Root})
	if !errors.Is(in.CgroupErr, bounded.ErrHangs) || in.CPUs != 1 || in.PressureErr != nil {
		t.Errorf("%+v", in)
	}
}
