package host

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/schema"
)

// hostFixture is a /proc with everything that a Sampler reads.
func hostFixture(t *testing.T) *proctest.Proc {
	f := proctest.VLLM(t)
	f.Write("stat", "cpu0 1 2\n")
	f.Write("meminfo", "MemTotal:       1024 kB\n")
	f.Write("self/cgroup", "0::/\n")
	f.Write("self/mountinfo", "35 24 0:30 / /cg rw - cgroup2 cgroup2 rw\n")
	f.Write("cg/cpu.max", "150000 100000\n")
	f.Write("cg/memory.max", "4096\n")
	for _, name := range pressureResources {
		f.Write("pressure/"+name, pressureText("1000000"))
	}
	return f
}

// slack is what a bound on time is exceeded by on a busy machine.
const slack = 10 * time.Second

// A file that never responds costs its own figures, and delays neither the start nor the end.
func TestFilesThatHang(t *testing.T) {
	tree := []string{"host.tree_peak_rss_bytes", "host.sampling.period_seconds", "host.sampling.max_gap_seconds"}
	pressure := []string{"host.pressure_some_seconds.cpu", "host.pressure_some_seconds.memory", "host.pressure_some_seconds.io"}
	limits := []string{"host.cpu_limit", "host.memory_limit_bytes"}
	tests := []struct {
		name  string
		paths []string
		null  []string // without a response
	}{
		{"one pressure file", []string{"/pressure/memory"}, pressure[1:2]},
		{"all pressure files", []string{"/pressure/"}, pressure},
		{"stat", []string{"%/stat"}, []string{"host.cpu_count"}},
		{"meminfo", []string{"%/meminfo"}, []string{"host.memory_total_bytes"}},
		{"the mounts", []string{"/mountinfo"}, limits},
		{"a limit", []string{"/cg/memory.max"}, limits},
		{"loadavg", []string{"%/loadavg"}, tree},
		{"the status of a process", []string{"/103/stat"}, tree},
		{"an energy counter", []string{"/intel-rapl:1/energy_uj"}, []string{"host.energy_joules"}},
		{"everything", []string{"%"}, slices.Concat(tree, pressure, limits, []string{"host.cpu_count", "host.memory_total_bytes", "host.energy_joules"})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			f := hostFixture(t)
			addRAPL(f)
			for i := range test.paths {
				test.paths[i] = strings.Replace(test.paths[i], "%", f.Root, 1)
			}
			_, release := proctest.Hang(t, test.paths...)
			began := time.Now()
			s := Start(Config{ProcRoot: f.Root, CgroupRoot: f.Root, SysRoot: f.Root, RootPID: proctest.VobsPID, Interval: time.Millisecond})
			if took := time.Since(began); took > readTimeout+slack {
				t.Errorf("the start took %v", took)
			}
			s.CommandStarted()
			if !slices.Contains(test.null, tree[0]) {
				testkit.Await(t, "the tree was read twice", func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					return s.samples.count >= 2
				})
			}
			if !slices.Contains(test.null, "host.energy_joules") {
				testkit.Await(t, "the energy counters were read", func() bool {
					s.energy.mu.Lock()
					defer s.energy.mu.Unlock()
					return s.energy.err == nil
				})
				setEnergy(f, map[string]uint64{"intel-rapl:0": 8e6})
			}
			partial, partialNotes := s.Readings(time.Second)
			nullsExplained(t, partial, partialNotes)
			began = time.Now()
			host, notes := s.Stop(time.Second)
			if took := time.Since(began); took > stopTimeout+lastReadTimeout+slack {
				t.Errorf("the end took %v", took)
			}
			nullsExplained(t, host, notes)
			var null []string
			for _, u := range notes.Unavailable {
				group, all := "host.pressure_some_seconds", u.Field == "host.pressure_some_seconds"
				if !strings.Contains(u.Reason, "no response") && !strings.HasPrefix(u.Field, "host.sampling.") && !all {
					t.Errorf("%s is null because %q", u.Field, u.Reason)
				}
				if all {
					null = append(null, group+".cpu", group+".memory", group+".io")
				} else {
					null = append(null, u.Field)
				}
			}
			slices.Sort(null)
			want := slices.Sorted(slices.Values(test.null))
			if !slices.Equal(null, want) {
				t.Errorf("null: %q, want %q; notes %v", null, want, notes)
			}
			hangs := slices.Contains(test.null, tree[0])
			if host.TreeCPUSeconds == nil || hangs != slices.ContainsFunc(notes.Validity, func(v schema.Validity) bool { return v.Code == schema.CodeTreeCPUIncomplete }) {
				t.Errorf("tree_cpu_seconds = %v, validity %v", host.TreeCPUSeconds, notes.Validity)
			}
			if left, err := s.Leftovers(); (err != nil) != hangs {
				t.Errorf("leftovers %v, %v", left, err)
			}
			release()
			testkit.Await(t, "nothing hangs any more", func() bool { return len(bounded.Hanging()) == 0 })
			<-s.done
			<-s.staticDone
		})
	}
}

// The load averages are given up, too, and looked for again once their file responds.
func TestLoadAvgHangs(t *testing.T) {
	f := proctest.New(t)
	f.Write("loadavg", "1 2 3 1/2 3\n")
	_, release := proctest.Hang(t, "/loadavg")
	for range 2 {
		if avg, err := ReadLoadAvg(f.Root); err == nil || !strings.Contains(fmt.Sprint(err), "reading the load averages: "+f.Root+"/loadavg: no response") {
			t.Errorf("%v, %v", avg, err)
		}
	}
	release()
	testkit.Await(t, "it can be read", func() bool {
		avg, err := ReadLoadAvg(f.Root)
		return err == nil && *avg == schema.LoadAvg{1, 2, 3}
	})
}

// A FIFO in place of each file does not block.
func TestFIFOs(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := proctest.New(t)
	f.Write("pressure/x", "")
	for _, name := range []string{"loadavg", "stat", "meminfo", "pressure/cpu", "pressure/memory", "pressure/io"} {
		if err := syscall.Mkfifo(f.Root+"/"+name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if avg, err := ReadLoadAvg(f.Root); err == nil {
		t.Errorf("load averages %v", avg)
	}
	s := Start(Config{ProcRoot: f.Root, CgroupRoot: f.Root, RootPID: proctest.VobsPID})
	s.CommandStarted()
	host, notes := s.Stop(0)
	nullsExplained(t, host, notes)
	if host.CPUCount != nil || host.MemoryTotalBytes != nil || host.PressureSomeSeconds != nil && host.PressureSomeSeconds.CPU != nil {
		t.Errorf("%+v", host)
	}
	if hanging := bounded.Hanging(); len(hanging) > 0 {
		t.Errorf("hanging: %q", hanging)
	}
}
