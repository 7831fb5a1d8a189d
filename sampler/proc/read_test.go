package proc

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
)

func TestCommandLineAndEnvironReal(t *testing.T) {
	sh := proctest.StartTree(t, `VOBS_TEST='a b' exec sh -c 'echo; read x' "two words" ""`)
	sh.Line(t)
	args, err := CommandLine("/proc", sh.Cmd.Process.Pid)
	if diff := cmp.Diff([]string{"sh", "-c", "echo; read x", "two words", ""}, args); diff != "" || err != nil {
		t.Errorf("CommandLine: %v (-want +got):\n%s", err, diff)
	}
	env, err := Environ("/proc", sh.Cmd.Process.Pid)
	if err != nil || !slices.Contains(env, "VOBS_TEST=a b") || len(env) < len(os.Environ()) {
		t.Errorf("Environ = %q, %v", env, err)
	}
	sh.End()
	if _, err := CommandLine("/proc", sh.Cmd.Process.Pid); !gone(err) {
		t.Errorf("CommandLine of a process that ended: %v", err)
	}
	if _, err := Environ("/proc", sh.Cmd.Process.Pid); !gone(err) {
		t.Errorf("Environ of a process that ended: %v", err)
	}
}

func TestReadFile(t *testing.T) {
	f := proctest.New(t)
	f.Write("x", "12345")
	if data, err := ReadFile(f.Root+"/x", 5); err != nil || string(data) != "12345" {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := ReadFile(f.Root+"/x", 4); err == nil {
		t.Error("a file longer than the limit: no error")
	}
}

// readStat and procfs agree on the processes of this machine: on each one that did not
// run in between, at least half of all.
func TestReadStatReal(t *testing.T) {
	proctest.NeedProc(t)
	var buf [4096]byte
	compared := make(map[int]bool)
	testkit.Await(t, "half of the processes could be compared", func() bool {
		all, err := procfs.AllProcs()
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, p := range all {
			if compared[p.PID] {
				done++
				continue
			}
			want, err := p.Stat()
			if err != nil || want.State == "R" {
				continue
			}
			got, err := readStat("/proc", p.PID, buf[:])
			if err != nil || got.state == 'R' {
				continue
			}
			after, err := p.Stat()
			if err != nil || after != want {
				continue // it ran in the meantime
			}
			if got.pid != want.PID || string(got.comm) != want.Comm || string(got.state) != want.State || got.ppid != want.PPID ||
				got.cpuTicks != uint64(int(want.UTime+want.STime)+want.CUTime+want.CSTime) || got.numThreads != want.NumThreads ||
				got.startTicks != want.Starttime {
				t.Errorf("process %d: got %+v, procfs has %+v", p.PID, got, want)
			}
			compared[p.PID] = true
			done++
		}
		return done >= len(all)/2
	})
}
