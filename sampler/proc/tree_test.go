package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
)

// addChildrenLists writes the children lists of all of the fixture's processes.
func addChildrenLists(f *proctest.Proc) {
	f.T.Helper()
	pids, err := listPIDs(f.Root, nil)
	if err != nil {
		f.T.Fatal(err)
	}
	children := make(map[int]string)
	var buf [4096]byte
	for _, pid := range pids {
		s, err := readStat(f.Root, pid, buf[:])
		if err != nil {
			f.T.Fatal(err)
		}
		children[s.ppid] += fmt.Sprintf("%d ", pid)
	}
	for _, pid := range pids {
		// The children belong to a thread that is not the first: each has a list.
		f.Write(fmt.Sprintf("%d/task/%d/children", pid, pid), "")
		f.Write(fmt.Sprintf("%d/task/%d/children", pid, pid+9000), children[pid])
	}
}

func pidsOf(t *Tree) []int { return slices.Sorted(maps.Keys(t.PIDs())) }

func mustDiscover(t testing.TB, tree *Tree) {
	t.Helper()
	if err := tree.Discover(); err != nil {
		t.Fatal(err)
	}
}

func wantPIDs(t testing.TB, tree *Tree, want ...int) {
	t.Helper()
	if diff := cmp.Diff(want, pidsOf(tree)); diff != "" {
		t.Fatalf("processes of the tree (-want +got):\n%s", diff)
	}
}

func TestTreeDiscover(t *testing.T) {
	for _, lists := range []bool{false, true} {
		t.Run(fmt.Sprintf("childrenLists=%v", lists), func(t *testing.T) {
			f := proctest.VLLM(t)
			update := func() {
				if lists {
					addChildrenLists(f)
				}
			}
			update()
			tree := NewTree(f.Root, proctest.VobsPID)
			defer tree.Close()
			wantPIDs(t, tree) // nothing before
			mustDiscover(t, tree)
			wantPIDs(t, tree, 101, 102, 103, 104)
			if got := tree.scan.noChildLists; got == lists {
				t.Errorf("noChildLists = %v with children lists = %v", got, lists)
			}
			want := []Process{
				{101, proctest.VobsPID, 101, "vllm"},
				{102, 101, 102, "python"},
				{103, 101, 103, "VLLM::EngineCor"},
				{104, 103, 104, "VLLM::Worker) (1"},
			}
			if diff := cmp.Diff(want, tree.Processes()); diff != "" {
				t.Errorf("Processes (-want +got):\n%s", diff)
			}
			page := int64(os.Getpagesize())
			if rss, err := tree.Refresh(); err != nil || rss != 4330*page {
				t.Errorf("Refresh = %d, %v; want %d: vobs itself does not count", rss, err, 4330*page)
			}

			// A new worker of a new core, and an outsider's child.
			f.Put(201, proctest.Stat{Ppid: 101, Comm: "VLLM::EngineCor", Pages: 1})
			f.Put(202, proctest.Stat{Ppid: 201, Comm: "VLLM::Worker", Pages: 1})
			f.Put(203, proctest.Stat{Ppid: 60, Comm: "ls", Pages: 1})
			update()
			mustDiscover(t, tree)
			wantPIDs(t, tree, 101, 102, 103, 104, 201, 202)

			// The first core ends; its worker becomes vobs's child.
			f.Remove(103)
			f.Put(104, proctest.Stat{Ppid: proctest.VobsPID, Comm: "VLLM::Worker", Pages: 4000})
			update()
			if rss, err := tree.Refresh(); err != nil || rss != 4032*page {
				t.Errorf("Refresh = %d, %v; want %d", rss, err, 4032*page)
			}
			wantPIDs(t, tree, 101, 102, 104, 201, 202)
			if p := tree.Processes()[2]; p.PPID != proctest.VobsPID || p.Comm != "VLLM::Worker" {
				t.Errorf("process 104 is %+v; want its new parent and name", p)
			}

			// A pid that was ours is an outsider's now.
			f.Put(202, proctest.Stat{Ppid: 60, Comm: "thief", Start: 999, Pages: 1 << 20})
			update()
			if rss, err := tree.Refresh(); err != nil || rss != 4031*page {
				t.Errorf("Refresh = %d, %v; want %d", rss, err, 4031*page)
			}
			mustDiscover(t, tree)
			wantPIDs(t, tree, 101, 102, 104, 201)
		})
	}
}

// An outsider's pid that a process of ours gets is found out at the latest by the
// eighth discovery, and at once when the ids have wrapped around.
func TestTreeDiscoverReusedPID(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		f := proctest.VLLM(t)
		tree := NewTree(f.Root, proctest.VobsPID)
		mustDiscover(t, tree)
		f.Put(60, proctest.Stat{Ppid: 101, Comm: "ours", Start: 5000})
		if wrapped {
			f.SetLast(60)
		}
		passes := 0
		for !tree.PIDs()[60] && passes < 100 {
			mustDiscover(t, tree)
			passes++
			f.SetLast(f.Last + 1)
		}
		if wrapped && passes != 1 || passes > fullEvery {
			t.Errorf("wrapped %v: found after %d discoveries", wrapped, passes)
		}
		tree.Close()
	}
}

// An outsider that ended and whose pid comes back as ours is found at the next
// discovery, if one saw it gone.
func TestTreeDiscoverForgetsOutsiders(t *testing.T) {
	f := proctest.VLLM(t)
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	f.Remove(60)
	f.SetLast(300)
	mustDiscover(t, tree)
	f.Put(60, proctest.Stat{Ppid: 101, Comm: "ours", Start: 5000})
	f.SetLast(301)
	mustDiscover(t, tree)
	wantPIDs(t, tree, 60, 101, 102, 103, 104)
}

// No id handed out since: no look at /proc, but one more in case the last one's
// process could not be seen yet, and every eighth time.
func TestTreeDiscoverIdle(t *testing.T) {
	f := proctest.VLLM(t)
	f.SetLast(500)
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	f.Put(110, proctest.Stat{Ppid: 101, Comm: "late"}) // does not raise the last id
	f.SetLast(500)
	mustDiscover(t, tree)
	wantPIDs(t, tree, 101, 102, 103, 104, 110)
	f.Put(111, proctest.Stat{Ppid: 101, Comm: "later"})
	f.SetLast(500)
	mustDiscover(t, tree)
	if tree.PIDs()[111] {
		t.Error("the third discovery looked at /proc though no id was handed out")
	}
	for range fullEvery {
		mustDiscover(t, tree)
	}
	wantPIDs(t, tree, 101, 102, 103, 104, 110, 111)
}

// Parents that ended while /proc was read, circles of ids used again, parents
// nobody knows: no hang, no guess.
func TestTreeDiscoverOddParents(t *testing.T) {
	f := proctest.VLLM(t)
	f.Put(301, proctest.Stat{Ppid: 302, Comm: "a"})
	f.Put(302, proctest.Stat{Ppid: 301, Comm: "b"})
	f.Put(303, proctest.Stat{Ppid: 303, Comm: "c"})
	f.Put(304, proctest.Stat{Ppid: 999, Comm: "d"})
	f.Put(305, proctest.Stat{Ppid: 304, Comm: "e"})
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	wantPIDs(t, tree, 101, 102, 103, 104)
	for _, pid := range []int{301, 303, 304, 305, 60, 1, 2, 0, -1, proctest.VobsPID, 4711} {
		if tree.Descends(pid) {
			t.Errorf("Descends(%d) = true", pid)
		}
	}
	// 304 was handed to vobs: it was not written off.
	f.Put(304, proctest.Stat{Ppid: proctest.VobsPID, Comm: "d"})
	f.SetLast(306)
	mustDiscover(t, tree)
	wantPIDs(t, tree, 101, 102, 103, 104, 304, 305)
}

// With many threads the walk through their lists would cost more than /proc.
func TestTreeDiscoverManyThreads(t *testing.T) {
	f := proctest.VLLM(t)
	addChildrenLists(f)
	for i := range maxListThreads {
		f.Write(fmt.Sprintf("104/task/%d/children", 20000+i), "")
	}
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	f.Put(105, proctest.Stat{Ppid: 104, Comm: "new"}) // in no list: only /proc shows it
	mustDiscover(t, tree)
	wantPIDs(t, tree, 101, 102, 103, 104, 105)
}

// A list longer than the buffer it is read into.
func TestTreeDiscoverLongList(t *testing.T) {
	f := proctest.New(t)
	f.Put(proctest.VobsPID, proctest.Stat{Comm: "vobs"})
	list := ""
	want := []int{}
	for pid := 1001; pid <= 1900; pid++ {
		list += fmt.Sprintf("%d ", pid)
		want = append(want, pid)
		f.Put(pid, proctest.Stat{Ppid: proctest.VobsPID, Comm: "x"})
	}
	f.Write(fmt.Sprintf("%d/task/%d/children", proctest.VobsPID, proctest.VobsPID), list)
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	wantPIDs(t, tree, want...)
}

func TestTreeDescendsLooksUp(t *testing.T) {
	f := proctest.VLLM(t)
	tree := NewTree(f.Root, proctest.VobsPID)
	if !tree.Descends(104) {
		t.Fatal("Descends(104) = false before any discovery")
	}
	wantPIDs(t, tree, 101, 103, 104) // with its parents, and no more
	f.Put(103, proctest.Stat{Ppid: 60, Comm: "thief", Start: 999})
	if tree.Descends(103) {
		t.Error("Descends(103) = true though the pid is another's now")
	}
	f.Remove(104)
	if tree.Descends(104) {
		t.Error("Descends(104) = true though it ended")
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
		t.Errorf("Refresh with one status broken = %d, %v; want the others' sum and an error", rss, err)
	}
	wantPIDs(t, tree, 101, 102, 103, 104) // what cannot be read is not gone
	f.Write("400/stat", "garbage")
	f.SetLast(400)
	if err := tree.Discover(); err == nil {
		t.Error("Discover with a broken status: no error")
	}
}

func TestTreeZombies(t *testing.T) {
	f := proctest.VLLM(t)
	f.Put(102, proctest.Stat{Ppid: 101, Comm: "python", State: "Z", CPU: [4]int{100, 20, 3, 1}})
	f.Put(103, proctest.Stat{Ppid: 101, Comm: "core", State: "Z", Threads: 2, Pages: 1, CPU: [4]int{0, 0, 0, 50}})
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	var pids []int
	for _, p := range tree.Processes() {
		pids = append(pids, p.PID)
	}
	if diff := cmp.Diff([]int{101, 103, 104}, pids); diff != "" {
		t.Errorf("Processes: zombies have ended, but not one with threads (-want +got):\n%s", diff)
	}
	if cpu, err := tree.LiveCPU(); err != nil || cpu != 1740*time.Millisecond {
		t.Errorf("liveCPU = %v, %v; want 1.74 s: a zombie's time is in nobody else's", cpu, err)
	}
}

func TestDescendants(t *testing.T) {
	f := proctest.VLLM(t)
	got, err := Descendants(f.Root, 103)
	want := []Process{{103, 101, 103, "VLLM::EngineCor"}, {104, 103, 104, "VLLM::Worker) (1"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Descendants(103): %v (-want +got):\n%s", err, diff)
	}
	if got, err = Descendants(f.Root, 1); err != nil || len(got) != 8 || got[0].PID != 1 {
		t.Errorf("Descendants(1) = %v, %v; want all but kthreadd", got, err)
	}
	if _, err := Descendants(f.Root, 4711); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Descendants of a process that is not there: %v", err)
	}
}

// The real kernel: a shell with a child and a grandchild, seen by our readers and
// by procfs alike.
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
		t.Error("/proc is not taken for a procfs")
	}
	tree.scan.noChildLists = !lists
	mustDiscover(t, tree)
	if lists && tree.scan.noChildLists {
		t.Skip("this kernel has no children lists: they need CONFIG_PROC_CHILDREN=y")
	}
	for _, pid := range []int{sh.Cmd.Process.Pid, childPID, sleepPID} {
		if !tree.PIDs()[pid] || !tree.Descends(pid) {
			t.Errorf("process %d is not in the tree %v", pid, pidsOf(tree))
		}
	}
	if tree.Descends(os.Getpid()) || tree.Descends(os.Getppid()) {
		t.Error("the root or its parent is in the tree")
	}
	// sleep has been executed, and sleeps: its figures stand still.
	var buf [4096]byte
	testkit.Await(t, "sleep sleeps", func() bool {
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
	if got := tree.Processes(); !slices.Contains(got, want) {
		t.Errorf("Processes = %v; want it to hold %v", got, want)
	}
	one := NewTree("/proc", childPID)
	mustDiscover(t, one)
	defer one.Close()
	statm, err := ref.Statm()
	if err != nil {
		t.Fatal(err)
	}
	rss, err := one.Refresh()
	if wantRSS := int64(statm.Resident) * int64(os.Getpagesize()); err != nil || rss != wantRSS || rss == 0 {
		t.Errorf("Refresh = %d, %v; procfs says %d", rss, err, wantRSS)
	}
	below, err := Descendants("/proc", childPID)
	if err != nil || len(below) != 2 || below[0].PID != childPID || below[1] != want {
		t.Errorf("Descendants(%d) = %v, %v", childPID, below, err)
	}
	if n := testing.AllocsPerRun(100, func() { one.Refresh() }); n != 0 {
		t.Errorf("Refresh allocates %v times", n)
	}
	// The fallback, without descriptors, reads the same.
	one.Close()
	if again, err := one.Refresh(); err != nil || again != rss {
		t.Errorf("Refresh without descriptors = %d, %v; with: %d", again, err, rss)
	}
	// One that starts later is found by the cheap look, which takes outsiders for known.
	later := proctest.StartTree(t, "echo $$; read x")
	laterPID := later.PID(t)
	testkit.Await(t, "the later process is found", func() bool {
		tree.mu.Lock()
		tree.scan.passes = 1 // never the full look
		tree.mu.Unlock()
		mustDiscover(t, tree)
		return tree.PIDs()[laterPID]
	})
	later.End()
	sh.End()
	testkit.Await(t, "an empty tree", func() bool {
		rss, err := tree.Refresh()
		return err == nil && rss == 0 && len(tree.PIDs()) == 0
	})
	if tree.scan.keptFDs != 0 {
		t.Errorf("%d descriptors are still open", tree.scan.keptFDs)
	}
}

// Every process of this machine reads the same here as with procfs.
func TestReadStatReal(t *testing.T) {
	proctest.NeedProc(t)
	all, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	var buf [4096]byte
	same := 0
	for _, p := range all {
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
			continue // it ran meanwhile
		}
		if got.pid != want.PID || string(got.comm) != want.Comm || string(got.state) != want.State || got.ppid != want.PPID ||
			got.cpuTicks != uint64(int(want.UTime+want.STime)+want.CUTime+want.CSTime) || got.numThreads != want.NumThreads ||
			got.startTicks != want.Starttime {
			t.Errorf("process %d: got %+v, procfs says %+v", p.PID, got, want)
		}
		same++
	}
	if same < len(all)/2 {
		t.Errorf("only %d of %d processes could be compared", same, len(all))
	}
	if pids, err := listPIDs("/proc", nil); err != nil || !slices.Contains(pids, os.Getpid()) || len(pids) < same {
		t.Errorf("listPIDs = %d processes, %v; procfs says %d", len(pids), err, len(all))
	}
}

// Readings from several goroutines, for the race detector.
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

// BenchmarkTreeRefresh is one reading of ten known processes.
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

// BenchmarkTreeDiscover is one look for new processes, with ten known ones: when
// no id was handed out, by children lists, and over all of this machine's /proc,
// with every outsider known and from scratch. The metrics say how many threads and
// processes there were to ask.
func BenchmarkTreeDiscover(b *testing.B) {
	proctest.StartTen(b)
	for _, kind := range []string{"idle", "lists", "incremental", "full"} {
		b.Run(kind, func(b *testing.B) {
			tree := NewTree("/proc", os.Getpid())
			defer tree.Close()
			tree.scan.noChildLists = kind != "lists"
			mustDiscover(b, tree)
			mustDiscover(b, tree)
			all, err := listPIDs("/proc", nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				tree.scan.passes = 1
				switch kind {
				case "incremental", "lists":
					tree.scan.lastPID--
				case "full":
					tree.scan.passes = 0
				}
				tree.Discover()
			}
			b.ReportMetric(float64(len(all)), "processes")
			b.ReportMetric(float64(tree.scan.threads), "threads")
		})
	}
}

func TestListPIDsSkipsNames(t *testing.T) {
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
