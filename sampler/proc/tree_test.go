package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
)

func pidsOf(t *Tree) []int { return slices.Sorted(maps.Keys(t.PIDs())) }

func mustDiscover(t testing.TB, tree *Tree) {
	t.Helper()
	if err := tree.Discover(); err != nil {
		t.Fatal(err)
	}
}

func mustList(t testing.TB, tree *Tree) []Process {
	t.Helper()
	processes, err := tree.Processes()
	if err != nil {
		t.Fatal(err)
	}
	return processes
}

func wantPIDs(t testing.TB, tree *Tree, want ...int) {
	t.Helper()
	if diff := cmp.Diff(want, pidsOf(tree)); diff != "" {
		t.Fatalf("processes of the tree (-want +got):\n%s", diff)
	}
}

func TestTreeDescendsLooksUp(t *testing.T) {
	f := proctest.VLLM(t)
	tree := NewTree(f.Root, proctest.VobsPID)
	if !tree.Descends(104) {
		t.Fatal("Descends(104) = false before any discovery")
	}
	wantPIDs(t, tree, 101, 103, 104) // with its parents, and no others
	f.Put(103, proctest.Stat{PPID: 60, Comm: "other", Start: 999})
	if tree.Descends(103) {
		t.Error("Descends(103) = true, although the pid belongs to another process now")
	}
	f.Remove(104)
	if tree.Descends(104) {
		t.Error("Descends(104) = true, although the process ended")
	}
	wantPIDs(t, tree, 101)
}

func TestTreeErrors(t *testing.T) {
	tree := NewTree(filepath.Join(t.TempDir(), "none"), proctest.VobsPID)
	if err := tree.Discover(); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrNoProc) {
		t.Errorf("Discover without a /proc: %v", err)
	}
	f := proctest.VLLM(t)
	tree = NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	f.Write("103/stat", "garbage")
	rss, err := tree.Refresh()
	if err == nil || rss != 4030*int64(os.Getpagesize()) {
		t.Errorf("Refresh with one malformed status = %d, %v; want the sum of the others and an error", rss, err)
	}
	wantPIDs(t, tree, 101, 102, 103, 104) // a process that cannot be read stays a member
	f.Write("400/stat", "garbage")
	f.SetLastPID(400)
	if err := tree.Discover(); err == nil {
		t.Error("Discover with a malformed status: no error")
	}
}

func TestTreeZombies(t *testing.T) {
	f := proctest.VLLM(t)
	f.Put(102, proctest.Stat{PPID: 101, Comm: "python", State: "Z", CPU: [4]int{100, 20, 3, 1}})
	f.Put(103, proctest.Stat{PPID: 101, Comm: "core", State: "Z", Threads: 2, Pages: 1, CPU: [4]int{0, 0, 0, 50}})
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	var pids []int
	for _, p := range mustList(t, tree) {
		pids = append(pids, p.PID)
	}
	if diff := cmp.Diff([]int{101, 103, 104}, pids); diff != "" {
		t.Errorf("Processes without zombies, but with a dead leader that has threads (-want +got):\n%s", diff)
	}
	if cpu, err := tree.CPUTime(); err != nil || cpu != 1740*time.Millisecond {
		t.Errorf("CPUTime = %v, %v; want 1.74 s, the zombie's included", cpu, err)
	}
}

func TestDescendants(t *testing.T) {
	f := proctest.VLLM(t)
	got, err := NewTable(f.Root).Descendants(103)
	want := []Process{{103, 101, 103, "VLLM::EngineCor"}, {104, 103, 104, "VLLM::Worker) (1"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Descendants(103): %v (-want +got):\n%s", err, diff)
	}
	if got, err = NewTable(f.Root).Descendants(1); err != nil || len(got) != 8 || got[0].PID != 1 {
		t.Errorf("Descendants(1) = %v, %v; want all processes but kthreadd", got, err)
	}
	if _, err := NewTable(f.Root).Descendants(4711); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Descendants of a nonexistent process: %v", err)
	}
}

// On the real kernel, a Tree and procfs agree on a shell with a child and a grandchild.
func TestTreeReal(t *testing.T) {
	for _, lists := range []bool{true, false} {
		t.Run(fmt.Sprintf("childrenLists=%v", lists), func(t *testing.T) { testTreeReal(t, lists) })
	}
}

func testTreeReal(t *testing.T, lists bool) {
	sh := proctest.StartTree(t, `
sh -c 'sleep 100 & echo $!; echo $$; read x; kill $!; wait $!' <&3 &
wait`)
	sleepPID, childPID := sh.PID(t), sh.PID(t)
	tree := NewTree("/proc", os.Getpid())
	defer tree.Close()
	if !tree.keepFDs {
		t.Error("/proc is not recognized as a procfs")
	}
	tree.scan.noChildLists = !lists
	mustDiscover(t, tree)
	if lists && tree.scan.noChildLists {
		t.Skip("SKIPPED: this kernel has no children lists: build it with CONFIG_PROC_CHILDREN=y")
	}
	for _, pid := range []int{sh.Cmd.Process.Pid, childPID, sleepPID} {
		if !tree.PIDs()[pid] || !tree.Descends(pid) {
			t.Errorf("process %d is not in the tree %v", pid, pidsOf(tree))
		}
	}
	if tree.Descends(os.Getpid()) || tree.Descends(os.Getppid()) {
		t.Error("the root or its parent is in the tree")
	}
	// Once sleep is executed and asleep, its figures no longer change.
	var buf [4096]byte
	testkit.Await(t, "sleep is asleep", func() bool {
		s, err := readStat("/proc", sleepPID, buf[:])
		wchan, _ := os.ReadFile(procPath("/proc", sleepPID, "wchan"))
		return err == nil && string(s.comm) == "sleep" && s.state == 'S' && (len(wchan) < 2 || strings.Contains(string(wchan), "sleep"))
	})
	ref, err := procfs.NewProc(sleepPID)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := ref.Stat()
	if err != nil {
		t.Fatal(err)
	}
	want := Process{PID: sleepPID, PPID: childPID, StartTicks: stat.Starttime, Comm: stat.Comm}
	if got := mustList(t, tree); !slices.Contains(got, want) {
		t.Errorf("Processes = %v, want %v among them", got, want)
	}
	one := NewTree("/proc", childPID)
	mustDiscover(t, one)
	defer one.Close()
	compareRSS := func(how string) {
		t.Helper()
		// The kernel may reclaim pages meanwhile: compare when procfs reads the same
		// before and after.
		testkit.Await(t, "sleep's resident memory stays the same", func() bool {
			before, err := ref.Statm()
			if err != nil {
				t.Fatal(err)
			}
			rss, refreshErr := one.Refresh()
			after, err := ref.Statm()
			if err != nil {
				t.Fatal(err)
			}
			if before.Resident != after.Resident {
				return false
			}
			if want := int64(after.Resident) * int64(os.Getpagesize()); refreshErr != nil || rss != want || rss == 0 {
				t.Errorf("Refresh %s = %d, %v; procfs has %d", how, rss, refreshErr, want)
			}
			return true
		})
	}
	compareRSS("with descriptors")
	below, err := NewTable("/proc").Descendants(childPID)
	if err != nil || len(below) != 2 || below[0].PID != childPID || below[1] != want {
		t.Errorf("Descendants(%d) = %v, %v", childPID, below, err)
	}
	if n := testing.AllocsPerRun(100, func() { one.Refresh() }); n != 0 {
		t.Errorf("Refresh allocates %v times", n)
	}
	one.Close()
	compareRSS("without descriptors")
	// A process that starts later is found by an incremental pass, which skips
	// processes known to be unrelated.
	later := proctest.StartTree(t, "echo $$; read x")
	laterPID := later.PID(t)
	testkit.Await(t, "the later process is found", func() bool {
		tree.scan.passes = 1 // never a full pass
		mustDiscover(t, tree)
		return tree.PIDs()[laterPID]
	})
	later.End()
	sh.End()
	testkit.Await(t, "an empty tree", func() bool {
		rss, err := tree.Refresh()
		return err == nil && rss == 0 && len(tree.PIDs()) == 0
	})
	if tree.numFDs != 0 {
		t.Errorf("%d descriptors are still open", tree.numFDs)
	}
}

// Exercises a Tree from several goroutines, for the race detector.
func TestTreeConcurrent(t *testing.T) {
	f := proctest.VLLM(t)
	tree := NewTree(f.Root, proctest.VobsPID)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				switch i % 4 {
				case 0:
					tree.Discover()
				case 1:
					tree.Refresh()
				case 2:
					tree.Descends(104)
				case 3:
					tree.Processes()
				}
			}
		})
	}
	wg.Wait()
	wantPIDs(t, tree, 101, 102, 103, 104)
}

// BenchmarkTreeRefresh measures one reading of ten known processes.
func BenchmarkTreeRefresh(b *testing.B) {
	sh := proctest.StartTen(b)
	for _, kept := range []bool{true, false} {
		b.Run(fmt.Sprintf("kept=%v", kept), func(b *testing.B) {
			tree := NewTree("/proc", os.Getpid())
			defer tree.Close()
			mustDiscover(b, tree)
			if n := len(tree.PIDs()); n != 10 {
				b.Fatalf("%d processes below %d, want 10", n, sh.Cmd.Process.Pid)
			}
			if !kept {
				tree.Close()
			}
			b.ReportAllocs()
			for b.Loop() {
				tree.Refresh()
			}
		})
	}
}
