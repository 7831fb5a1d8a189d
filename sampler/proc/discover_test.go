package proc

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// addChildrenLists writes the children lists of all processes of the fixture.
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
		// The children belong to a thread other than the first: each thread has a list.
		f.Write(fmt.Sprintf("%d/task/%d/children", pid, pid), "")
		f.Write(fmt.Sprintf("%d/task/%d/children", pid, pid+9000), children[pid])
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
			wantPIDs(t, tree) // empty before the first discovery
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
			if diff := cmp.Diff(want, mustList(t, tree)); diff != "" {
				t.Errorf("Processes (-want +got):\n%s", diff)
			}
			page := int64(os.Getpagesize())
			if rss, err := tree.Refresh(); err != nil || rss != 4330*page {
				t.Errorf("Refresh = %d, %v; want %d, without vobs itself", rss, err, 4330*page)
			}

			// A new engine core with a new worker, and a child of an unrelated process.
			f.Put(201, proctest.Stat{PPID: 101, Comm: "VLLM::EngineCor", Pages: 1})
			f.Put(202, proctest.Stat{PPID: 201, Comm: "VLLM::Worker", Pages: 1})
			f.Put(203, proctest.Stat{PPID: 60, Comm: "ls", Pages: 1})
			update()
			mustDiscover(t, tree)
			wantPIDs(t, tree, 101, 102, 103, 104, 201, 202)

			// The first engine core ends; its worker becomes a child of vobs.
			f.Remove(103)
			f.Put(104, proctest.Stat{PPID: proctest.VobsPID, Comm: "VLLM::Worker", Pages: 4000})
			update()
			if rss, err := tree.Refresh(); err != nil || rss != 4032*page {
				t.Errorf("Refresh = %d, %v; want %d", rss, err, 4032*page)
			}
			wantPIDs(t, tree, 101, 102, 104, 201, 202)
			if p := mustList(t, tree)[2]; p.PPID != proctest.VobsPID || p.Comm != "VLLM::Worker" {
				t.Errorf("process 104 is %+v, want its new parent and name", p)
			}

			// An unrelated process reuses the pid of a member.
			f.Put(202, proctest.Stat{PPID: 60, Comm: "other", Start: 999, Pages: 1 << 20})
			update()
			if rss, err := tree.Refresh(); err != nil || rss != 4031*page {
				t.Errorf("Refresh = %d, %v; want %d", rss, err, 4031*page)
			}
			mustDiscover(t, tree)
			wantPIDs(t, tree, 101, 102, 104, 201)
		})
	}
}

// A descendant that reuses the pid of an unrelated process is found by the eighth
// discovery at the latest, and by the next one if pids have wrapped around.
func TestTreeDiscoverReusedPID(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		f := proctest.VLLM(t)
		tree := NewTree(f.Root, proctest.VobsPID)
		mustDiscover(t, tree)
		f.Put(60, proctest.Stat{PPID: 101, Comm: "descendant", Start: 5000})
		if wrapped {
			f.SetLastPID(60)
		}
		passes := 0
		for !tree.PIDs()[60] && passes < 100 {
			mustDiscover(t, tree)
			passes++
			f.SetLastPID(f.LastPID + 1)
		}
		if wrapped && passes != 1 || passes > fullEvery {
			t.Errorf("wrapped %v: found after %d discoveries", wrapped, passes)
		}
		tree.Close()
	}
}

// If a discovery saw that an unrelated process ended, the next one finds a descendant
// that reuses its pid.
func TestTreeDiscoverForgetsUnrelated(t *testing.T) {
	f := proctest.VLLM(t)
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	f.Remove(60)
	f.SetLastPID(300)
	mustDiscover(t, tree)
	f.Put(60, proctest.Stat{PPID: 101, Comm: "descendant", Start: 5000})
	f.SetLastPID(301)
	mustDiscover(t, tree)
	wantPIDs(t, tree, 60, 101, 102, 103, 104)
}

// While no pid is assigned, Discover does not scan /proc, except once more in case the
// latest process was not visible yet, and every eighth time.
func TestTreeDiscoverIdle(t *testing.T) {
	f := proctest.VLLM(t)
	f.SetLastPID(500)
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	f.Put(110, proctest.Stat{PPID: 101, Comm: "late"}) // does not raise the last id
	f.SetLastPID(500)
	mustDiscover(t, tree)
	wantPIDs(t, tree, 101, 102, 103, 104, 110)
	f.Put(111, proctest.Stat{PPID: 101, Comm: "later"})
	f.SetLastPID(500)
	mustDiscover(t, tree)
	if tree.PIDs()[111] {
		t.Error("the third discovery scanned /proc, although no pid was assigned")
	}
	for range fullEvery {
		mustDiscover(t, tree)
	}
	wantPIDs(t, tree, 101, 102, 103, 104, 110, 111)
}

// Parents that ended while /proc was read, cycles of reused pids and unknown parents
// neither hang Discover nor make it guess.
func TestTreeDiscoverOddParents(t *testing.T) {
	f := proctest.VLLM(t)
	f.Put(301, proctest.Stat{PPID: 302, Comm: "a"})
	f.Put(302, proctest.Stat{PPID: 301, Comm: "b"})
	f.Put(303, proctest.Stat{PPID: 303, Comm: "c"})
	f.Put(304, proctest.Stat{PPID: 999, Comm: "d"})
	f.Put(305, proctest.Stat{PPID: 304, Comm: "e"})
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	wantPIDs(t, tree, 101, 102, 103, 104)
	for _, pid := range []int{301, 303, 304, 305, 60, 1, 2, 0, -1, proctest.VobsPID, 4711} {
		if tree.Descends(pid) {
			t.Errorf("Descends(%d) = true", pid)
		}
	}
	// 304 was reparented to vobs: it had not been marked as unrelated.
	f.Put(304, proctest.Stat{PPID: proctest.VobsPID, Comm: "d"})
	f.SetLastPID(306)
	mustDiscover(t, tree)
	wantPIDs(t, tree, 101, 102, 103, 104, 304, 305)
}

// With many threads, walking their lists would cost more than scanning /proc.
func TestTreeDiscoverManyThreads(t *testing.T) {
	f := proctest.VLLM(t)
	addChildrenLists(f)
	for i := range maxListThreads {
		f.Write(fmt.Sprintf("104/task/%d/children", 20000+i), "")
	}
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	f.Put(105, proctest.Stat{PPID: 104, Comm: "new"}) // in no list: only a scan of /proc finds it
	mustDiscover(t, tree)
	wantPIDs(t, tree, 101, 102, 103, 104, 105)
}

// A list may be longer than the buffer it is read into.
func TestTreeDiscoverLongList(t *testing.T) {
	f := proctest.New(t)
	f.Put(proctest.VobsPID, proctest.Stat{Comm: "vobs"})
	list := ""
	want := []int{}
	for pid := 1001; pid <= 1900; pid++ {
		list += fmt.Sprintf("%d ", pid)
		want = append(want, pid)
		f.Put(pid, proctest.Stat{PPID: proctest.VobsPID, Comm: "x"})
	}
	f.Write(fmt.Sprintf("%d/task/%d/children", proctest.VobsPID, proctest.VobsPID), list)
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	wantPIDs(t, tree, want...)
}

// BenchmarkTreeDiscover measures one discovery with ten known processes: if no pid was
// assigned, by children lists, and by scanning this machine's /proc, with every
// unrelated process known and from scratch. The metrics are the numbers of threads and
// processes read.
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
