package proc

import (
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// listPIDs returns numeric names only.
func TestListPIDs(t *testing.T) {
	f := proctest.New(t)
	var want []int
	for i := 1; i <= 400; i++ { // more than one buffer of entries
		f.Write(strconv.Itoa(i)+"/stat", "")
		want = append(want, i)
	}
	for _, name := range []string{"self", "0", "12a", "-3", "99999999999", "net/dev"} {
		f.Write(name, "")
	}
	got, err := listPIDs(f.Root, nil)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("listPIDs: %v (-want +got):\n%s", err, diff)
	}
}

// processes returns the start times of all processes of this machine, by pid.
func processes(t *testing.T) map[int]uint64 {
	t.Helper()
	all, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	started := make(map[int]uint64)
	for _, p := range all {
		if s, err := p.Stat(); err == nil { // otherwise it has ended
			started[p.PID] = s.Starttime
		}
	}
	return started
}

// Every process that procfs finds before and after a listing is in it.
func TestListPIDsReal(t *testing.T) {
	proctest.NeedProc(t)
	before := processes(t)
	pids, err := listPIDs("/proc", nil)
	if err != nil {
		t.Fatal(err)
	}
	after := processes(t)
	if !slices.Contains(pids, os.Getpid()) {
		t.Errorf("listPIDs = %v, without this process, %d", pids, os.Getpid())
	}
	for pid, started := range before {
		if after[pid] == started && !slices.Contains(pids, pid) {
			t.Errorf("listPIDs = %v, without process %d", pids, pid)
		}
	}
}
