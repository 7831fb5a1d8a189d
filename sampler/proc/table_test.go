package proc

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vobs/vobs/sampler/internal/open"
	"github.com/vobs/vobs/sampler/internal/proctest"
)

// opens counts the files that are opened, by a name for their kind, until the test ends.
type opens struct {
	mu    sync.Mutex
	count map[string]int
}

func countOpens(t *testing.T, root string) *opens {
	o := &opens{count: map[string]int{}}
	t.Cleanup(open.Before(func(path string) {
		o.mu.Lock()
		defer o.mu.Unlock()
		kind := filepath.Base(path)
		if path == root {
			kind = "listing"
		}
		o.count[kind]++
		o.count["all"]++
	}))
	return o
}

// take returns the count of a kind, or "all", and starts again.
func (o *opens) take(kind string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.count[kind]
	if kind == "all" {
		clear(o.count)
	}
	return n
}

const (
	crowd   = 60 // idle processes outside the tree
	crowdFD = 10 // descriptors of each
	server  = 5000
	ports   = 8
)

// crowdProc is a host with a crowd, a server with a child, and a process older than all that
// listens on port 9000.
func crowdProc(t *testing.T) *proctest.Proc {
	needLittleEndian(t)
	f := proctest.VLLM(t)
	for i := range crowd {
		f.Put(1000+i, proctest.Stat{PPID: 50, Comm: "idle"})
		for fd := range crowdFD {
			f.Link(fmt.Sprintf("%d/fd/%d", 1000+i, fd), "/dev/null")
		}
	}
	f.Put(server, proctest.Stat{PPID: 50, Comm: "vllm", Threads: 40})
	f.Put(server+1, proctest.Stat{PPID: server, Comm: "VLLM::EngineCor"})
	table := tcpHeading
	for i := range ports {
		table += tcpLine(hexLoopback4, 8000+i, "0A", 0, 100+i)
		f.Link(fmt.Sprintf("%d/fd/%d", server, i), fmt.Sprintf("socket:[%d]", 100+i))
	}
	f.Link("60/fd/0", "socket:[200]")
	f.Write("net/tcp", table+tcpLine(hexLoopback4, 9000, "0A", 0, 200))
	return f
}

var loopback = netip.MustParseAddr("127.0.0.1")

// However many addresses and servers are looked for in a round, the processes are listed once,
// the sockets are read once, and of the crowd no descriptor and no status twice.
func TestOneWalkForAll(t *testing.T) {
	f := crowdProc(t)
	sockets := NewSockets(NewTable(f.Root), nil)
	sockets.maxAge, sockets.table.maxAge = time.Hour, time.Hour
	o := countOpens(t, f.Root)
	var wg sync.WaitGroup
	for range 3 {
		for i := range ports {
			wg.Go(func() {
				if pid, err := sockets.Owner(loopback, 8000+i); pid != server || err != nil {
					t.Errorf("port %d: %d, %v", 8000+i, pid, err)
				}
				if got, err := sockets.Table().Descendants(server); len(got) != 2 || err != nil {
					t.Errorf("descendants: %v, %v", got, err)
				}
			})
		}
	}
	wg.Wait()
	for kind, want := range map[string]int{"listing": 1, "tcp": 1, "tcp6": 1} {
		if got := o.take(kind); got != want {
			t.Errorf("%s: opened %d times, want %d", kind, got, want)
		}
	}
	// The server, its parents, and the child, which is younger.
	if got := o.take("fd"); got > 5 {
		t.Errorf("the descriptors of %d processes were read", got)
	}
	// One for each process, and those with which an answer is checked.
	if got, most := o.take("stat"), crowd+10+3*ports*8; got > most {
		t.Errorf("%d statuses were read, want at most %d", got, most)
	}
	o.take("all")

	// In the next round, only new processes are read.
	sockets.table.listedAt = time.Time{}
	f.Put(server+2, proctest.Stat{PPID: server + 1, Comm: "VLLM::Worker"})
	if got, err := sockets.Table().Descendants(server); len(got) != 3 || err != nil {
		t.Errorf("descendants: %v, %v", got, err)
	}
	if got := o.take("all"); got > 12 {
		t.Errorf("%d files were opened in the second round", got)
	}
}

// A search that the allowance does not cover goes on later, and nothing is read twice.
func TestSearchHasAllowance(t *testing.T) {
	f := crowdProc(t)
	wait := time.Second
	sockets := NewSockets(NewTable(f.Root), func() time.Duration { return wait })
	sockets.maxAge, sockets.table.maxAge = time.Hour, time.Hour
	sockets.allowance = 40 * (crowdFD + perProcess)
	o := countOpens(t, f.Root)
	if _, err := sockets.Owner(loopback, 9000); !errors.Is(err, ErrSearching) {
		t.Fatalf("err = %v", err)
	}
	if got := o.take("fd"); got < 35 || got > 50 {
		t.Errorf("%d processes were searched", got)
	}
	o.take("all")
	later := func() (int, error) {
		sockets.earnedAt = sockets.earnedAt.Add(-time.Second)
		return sockets.Owner(loopback, 9000)
	}
	if _, err := later(); !errors.Is(err, ErrSearching) || o.take("fd") > 0 {
		t.Errorf("it was searched on although the budget is spent: %v", err)
	}
	o.take("all")
	wait = 0
	searched := 0
	for range 100 {
		pid, err := later()
		searched += o.take("fd")
		if most := earnedPerSecond/(crowdFD+perProcess) + 3; o.take("all") == 0 || searched > crowd+most {
			t.Fatalf("%d processes were searched in all", searched)
		}
		if err == nil {
			if pid != 60 {
				t.Errorf("process %d", pid)
			}
			return
		}
		if !errors.Is(err, ErrSearching) {
			t.Fatal(err)
		}
	}
	t.Error("it was not found")
}

// The descriptors of a server are read again only if there is a new socket.
func TestListenersAreRemembered(t *testing.T) {
	f := socketProc(t)
	sockets := NewSockets(NewTable(f.Root), nil)
	sockets.maxAge = 0
	list := func(want int) {
		t.Helper()
		got, err := sockets.ListenersOf(map[int]bool{103: true})
		if len(got) != want || err != nil {
			t.Fatalf("%v, %v; want %d", got, err, want)
		}
	}
	list(1)
	o := countOpens(t, f.Root)
	list(1)
	list(1)
	if got := o.take("fd"); got != 0 {
		t.Errorf("the descriptors were read %d times without a new socket", got)
	}
	f.Link("103/fd/4", "socket:[31]")
	f.Write("net/tcp", tcpHeading+tcpLine(hexLoopback4, 8000, "0A", 1000, 11)+tcpLine(hexAny4, 8005, "0A", 1000, 31))
	list(2)
	list(2)
	if got := o.take("fd"); got != 1 {
		t.Errorf("the descriptors were read %d times for a new socket", got)
	}
}

// A look at a large tree reads the names of a bounded number of processes, and of those that
// may serve every time.
func TestTreeNamed(t *testing.T) {
	const children, limit = 200, 40
	f := proctest.VLLM(t)
	for i := range children {
		f.Put(1000+i, proctest.Stat{PPID: proctest.VobsPID, Comm: "sleep"})
	}
	tree := NewTree(f.Root, proctest.VobsPID)
	defer tree.Close()
	mustDiscover(t, tree)
	mayServe := func(comm string) bool { return strings.HasPrefix(comm, "vllm") }
	o := countOpens(t, f.Root)
	look := func() map[string]int {
		t.Helper()
		processes, err := tree.Named(mayServe, limit)
		if err != nil || len(processes) != children+4 {
			t.Fatalf("%d processes, %v", len(processes), err)
		}
		if got := o.take("stat"); got != limit+1 {
			t.Errorf("%d statuses were read, want %d", got, limit+1)
		}
		o.take("all")
		names := map[string]int{}
		for _, p := range processes {
			names[p.Comm]++
		}
		return names
	}
	look()
	for i := range children {
		f.Put(1000+i, proctest.Stat{PPID: proctest.VobsPID, Comm: "python"})
	}
	f.Put(101, proctest.Stat{PPID: proctest.VobsPID, Comm: "vllm2"})
	if names := look(); names["vllm2"] != 1 {
		t.Errorf("a process that may serve was not read: %v", names)
	}
	for range 2 * children / limit {
		if names := look(); names["python"] >= children {
			return
		}
	}
	t.Error("not all names were read")
}

// In /proc, the inode of an entry identifies the process: one that reuses a pid has another.
func TestTableReusedPID(t *testing.T) {
	proctest.NeedProc(t)
	const lastPID = "/proc/sys/kernel/ns_last_pid"
	start := func() *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	end := func(cmd *exec.Cmd) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	table := NewTable("/proc")
	for range 20 {
		first := start()
		pid := first.Process.Pid
		if err := table.list(); err != nil {
			t.Fatal(err)
		}
		if err := table.readAll(false); err != nil {
			t.Fatal(err)
		}
		before := table.rows[pid]
		if !table.identified || before == nil || before.read == 0 {
			t.Fatalf("identified %v, row %+v", table.identified, before)
		}
		if err := table.list(); err != nil || table.rows[pid] != before {
			t.Fatalf("a process that lives was forgotten: %v", err)
		}
		end(first)
		if err := os.WriteFile(lastPID, []byte(fmt.Sprint(pid-1)), 0); err != nil {
			t.Skipf("SKIPPED: cannot choose a pid: %v: run as root", err)
		}
		second := start()
		defer end(second)
		if second.Process.Pid != pid {
			continue // another process was faster
		}
		if err := table.list(); err != nil {
			t.Fatal(err)
		}
		if r := table.rows[pid]; r == nil || r.read != 0 {
			t.Errorf("the second process with pid %d is taken to be the first: %+v", pid, r)
		}
		return
	}
	t.Skip("SKIPPED: no pid was reused")
}

// The number of threads is that in a process's status.
func TestCountThreads(t *testing.T) {
	proctest.NeedProc(t)
	var buf [4096]byte
	for range 10 {
		got := countThreads("/proc", os.Getpid())
		if s, err := readStat("/proc", os.Getpid(), buf[:]); err == nil && s.numThreads == got && got > 1 {
			return
		}
	}
	t.Error("the number of threads is not that of the status")
}
