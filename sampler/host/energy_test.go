package host

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// raplFixture is a /sys with the counters of two packages and their memory, beside zones that
// must not be added.
func raplFixture(t *testing.T) *proctest.Proc {
	t.Helper()
	f := proctest.New(t)
	addRAPL(f)
	return f
}

func addRAPL(f *proctest.Proc) {
	for zone, name := range map[string]string{
		"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram",
		"intel-rapl:1": "package-1", "intel-rapl:1:0": "uncore", "intel-rapl:1:1": "dram",
		"intel-rapl:2": "psys", "intel-rapl-mmio:0": "package-0",
	} {
		f.Write(zonePath(zone, "name"), name+"\n")
		f.Write(zonePath(zone, "max_energy_range_uj"), "262143328850\n")
		f.Write(zonePath(zone, "energy_uj"), "1000000\n")
	}
	f.Write("class/powercap/intel-rapl/enabled", "0\n")
}

func zonePath(zone, file string) string { return "class/powercap/" + zone + "/" + file }

func setEnergy(f *proctest.Proc, microjoules map[string]uint64) {
	for zone, n := range microjoules {
		f.Write(zonePath(zone, "energy_uj"), fmt.Sprintln(n))
	}
}

func TestEnergy(t *testing.T) {
	const wrap = 262143328850
	for name, c := range map[string]struct {
		change func(f *proctest.Proc, c *energyCounters) // after the first reading
		joules float64
		reason string
	}{
		"packages and memory": {func(f *proctest.Proc, c *energyCounters) {
			setEnergy(f, map[string]uint64{"intel-rapl:0": 51e6, "intel-rapl:0:0": 41e6, "intel-rapl:0:1": 4e6, "intel-rapl:1": 2e6, "intel-rapl:2": 99e6, "intel-rapl-mmio:0": 51e6})
		}, 50 + 3 + 1, ""},
		"wraps around": {func(f *proctest.Proc, c *energyCounters) {
			setEnergy(f, map[string]uint64{"intel-rapl:0": wrap - 2e6})
			c.zones[0].lastAt = c.zones[0].lastAt.Add(-energyInterval)
			c.readIfDue(time.Now())
			setEnergy(f, map[string]uint64{"intel-rapl:0": 3e6})
		}, (wrap-3e6)/1e6 + 5, ""},
		"not due": {func(f *proctest.Proc, c *energyCounters) {
			setEnergy(f, map[string]uint64{"intel-rapl:0": wrap - 2e6})
			c.readIfDue(time.Now())
			setEnergy(f, map[string]uint64{"intel-rapl:0": 3e6})
		}, 2, ""},
		"not read for long": {func(f *proctest.Proc, c *energyCounters) {
			setEnergy(f, map[string]uint64{"intel-rapl:0": 3e6})
			for i := range c.zones {
				c.zones[i].lastAt = c.zones[i].lastAt.Add(-time.Hour)
			}
		}, 0, "may have wrapped around"},
		"beyond its range": {func(f *proctest.Proc, c *energyCounters) {
			setEnergy(f, map[string]uint64{"intel-rapl:0": wrap + 2e6})
			c.zones[0].lastAt = c.zones[0].lastAt.Add(-energyInterval)
			c.readIfDue(time.Now())
			setEnergy(f, map[string]uint64{"intel-rapl:0": 3e6})
		}, 0, "decreased"},
		"stands still": {func(f *proctest.Proc, c *energyCounters) {}, 0, "did not move"},
		"one fails": {func(f *proctest.Proc, c *energyCounters) {
			setEnergy(f, map[string]uint64{"intel-rapl:0": 51e6})
			f.Write(zonePath("intel-rapl:1:1", "energy_uj"), "none\n")
		}, 0, "not a number"},
		"one goes": {func(f *proctest.Proc, c *energyCounters) {
			if err := os.Remove(filepath.Join(f.Root, zonePath("intel-rapl:1", "energy_uj"))); err != nil {
				f.T.Fatal(err)
			}
		}, 0, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := raplFixture(t)
			counters := newEnergyCounters(f.Root)
			counters.open()
			if counters.err != nil {
				t.Fatal(counters.err)
			}
			c.change(f, counters)
			joules, err := counters.end(time.Second)
			if c.reason != "" {
				if err == nil || !strings.Contains(err.Error(), c.reason) {
					t.Errorf("%v J, %v, want %q", joules, err, c.reason)
				}
				return
			}
			if err != nil || math.Abs(joules-c.joules) > 1e-6 {
				t.Errorf("%v J, %v, want %v", joules, err, c.joules)
			}
		})
	}
}

// Where the counters cannot be read, the reason helps.
func TestNoEnergy(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(f *proctest.Proc)
		reason  string
	}{
		"no directory": {func(f *proctest.Proc) {
			if err := os.RemoveAll(filepath.Join(f.Root, "class")); err != nil {
				f.T.Fatal(err)
			}
		}, "a virtual machine or a container hides them"},
		"parts only": {func(f *proctest.Proc) {
			for _, zone := range []string{"intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1", "intel-rapl:1:1"} {
				f.Write(zonePath(zone, "name"), "core\n")
			}
		}, "no energy counter of a CPU package"},
		"no range": {func(f *proctest.Proc) { f.Write(zonePath("intel-rapl:0", "max_energy_range_uj"), "") }, "not a number"},
		"not root": {func(f *proctest.Proc) {
			path := filepath.Join(f.Root, zonePath("intel-rapl:0", "energy_uj"))
			if err := os.Chmod(path, 0); err != nil {
				f.T.Fatal(err)
			}
			if _, err := os.ReadFile(path); err == nil {
				f.T.Skip("SKIPPED: root reads any file: run the test as another user")
			}
		}, "only root may"},
	} {
		t.Run(name, func(t *testing.T) {
			f := raplFixture(t)
			f.T = t
			c.prepare(f)
			counters := newEnergyCounters(f.Root)
			counters.open()
			if joules, err := counters.end(time.Second); err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%v J, %v, want %q", joules, err, c.reason)
			}
		})
	}
	if err := energyError("energy_uj", &fs.PathError{Op: "open", Path: "energy_uj", Err: fs.ErrPermission}); !strings.Contains(err.Error(), "only root may") {
		t.Errorf("%v", err)
	}
}

// The sampler reads the counters from its start to the command's end, and keeps that.
func TestSamplerEnergy(t *testing.T) {
	sys, proc := raplFixture(t), hostFixture(t)
	s := Start(Config{ProcRoot: proc.Root, CgroupRoot: proc.Root, SysRoot: sys.Root, RootPID: proctest.VobsPID})
	s.CommandStarted()
	<-s.staticDone
	setEnergy(sys, map[string]uint64{"intel-rapl:1": 8e6})
	if _, notes := s.Readings(time.Second); !strings.Contains(fmt.Sprint(notes.Unavailable), "host.energy_joules the counters are read again") {
		t.Errorf("a partial event: %v", notes.Unavailable)
	}
	s.CommandEnded()
	setEnergy(sys, map[string]uint64{"intel-rapl:1": 9e6})
	host, notes := s.Stop(time.Second)
	if host.EnergyJoules == nil || *host.EnergyJoules != 7 {
		t.Errorf("%v J, want 7: %v", host.EnergyJoules, notes.Unavailable)
	}
}
