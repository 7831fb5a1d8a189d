package proc

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/internal/open"
)

// Tree is the set of processes that descend from a root process.
//
// The root is vobs itself and not a member of the set. vobs is a subreaper
// (PR_SET_CHILD_SUBREAPER), so a descendant whose parent ends becomes a child of vobs
// and stays below the root: the tree is complete even if descendants daemonize. A
// process that was once found below the root stays in the set until it has ended,
// even if a kernel without subreapers reparents it to pid 1.
//
// Reading a known process is one pread of /proc/PID/statm through a descriptor that
// stays open: about 1 µs of CPU, and the descriptor refers to that one process for
// good, so a recycled pid cannot be mistaken for it.
//
// A Tree may be used by several goroutines at once. It keeps descriptors open
// until [Tree.Close].
//
// A file of /proc may hang: another file system can be mounted over it, and the arguments of
// a process cannot be read while its memory map is locked. The method that reads it then
// hangs, too, and the others fail after a second with an error that wraps
// [bounded.ErrHangs]; only [Tree.PIDs] and [Tree.Err] never read. Callers that must not hang
// use [bounded.Call].
type Tree struct {
	procRoot string
	rootPID  int
	procFS   bool  // procRoot is a procfs
	err      error // why the processes below the root cannot be determined; nil otherwise
	table    *Table

	gate      gate // for the following
	keepFDs   bool // descriptors stay open: in a procfs they stay with their process
	numFDs    int  // descriptors that members keep open
	maxFDs    int  // that they may keep open
	closed    bool
	members   []member
	index     map[int]int // PID -> index in members
	refreshed int         // members at the end of the latest refresh
	looks     int         // calls of Named
	cursor    int         // the member that Named read last in turn
	buf       [4096]byte
	scan      scanState

	pidsMu sync.Mutex   // for the following
	pids   map[int]bool // of the members
	former formerPIDs
}

// member is one process of the set.
type member struct {
	Process
	fd    int  // of /proc/PID/statm, or -1
	dead  bool // it had ended when its status was last read
	reads int  // how often that was, up to newReads
	look  int  // the latest call of Named that was to read it
}

// newReads is how often the status of a process is read again before it is no longer new: it is
// forked under the name of its parent.
const newReads = 1

// Process is one process as it was when last looked at.
type Process struct {
	// PID is the process's id in vobs's pid namespace.
	PID int
	// PPID is its parent's id.
	PPID int
	// StartTicks is when it started, in clock ticks (1/100 s) after boot. Pids are
	// reused; PID and StartTicks together identify one process.
	StartTicks uint64
	// Comm is its name, 15 bytes at most: the program's, or a title that the process
	// set itself ("VLLM::EngineCor").
	Comm string
}

// maxFDs limits the descriptors that a Tree keeps open, and so does a quarter of the limit
// on open files: the rest of vobs needs some too. The files of further processes are opened
// for each reading, which takes ten times as long.
const maxFDs = 2048

// fdLimit returns how many descriptors a Tree keeps open.
func fdLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(maxFDs, uint64(limit.Cur)/4))
}

// maxAncestors bounds a walk up the parents, which pids that are reused during the
// walk can turn into a cycle.
const maxAncestors = 4096

// checkTimeout bounds what NewTree reads.
const checkTimeout = 500 * time.Millisecond

// NewTree returns the tree below process rootPID, empty until [Tree.Discover]. It
// only checks the type of the file system at procRoot and its pid namespace, for at most
// half a second.
func NewTree(procRoot string, rootPID int) *Tree {
	t := &Tree{procRoot: procRoot, rootPID: rootPID, maxFDs: fdLimit(), table: NewTable(procRoot), gate: newGate(), index: make(map[int]int), pids: make(map[int]bool)}
	t.procFS, t.err = bounded.Call(procRoot, checkTimeout, func() (bool, error) {
		procFS := isProcFS(procRoot)
		if procFS && !isOwnProcFS(procRoot) {
			return procFS, fmt.Errorf("%s shows the processes of another pid namespace: give the command's namespace a /proc of its own (unshare --mount-proc)", procRoot)
		}
		return procFS, nil
	})
	t.keepFDs = t.procFS
	return t
}

// isOwnProcFS reports whether a procfs is that of our pid namespace. One mounted in
// another namespace (`unshare --pid` alone, a sandbox) has pids that mean other
// processes here: our own pid may be 1, which there is init, the ancestor of
// everything. The link self is our pid in the procfs's namespace (proc(5)); it is
// broken if that namespace does not contain us.
func isOwnProcFS(procRoot string) bool {
	self, err := os.Readlink(filepath.Join(procRoot, "self"))
	return err == nil && self == strconv.Itoa(os.Getpid())
}

// Table returns the table of all processes of the host, from which the tree is made.
func (t *Tree) Table() *Table { return t.table }

// Err returns why the tree cannot be determined, or nil. If it is not nil, the tree
// stays empty.
func (t *Tree) Err() error { return t.err }

// Hangs reports whether a reading of the tree has taken more than a second so far.
func (t *Tree) Hangs() bool { return t.gate.hangs() }

// enter reserves the tree for the caller, until t.gate.leave is called. It fails if the tree
// cannot be determined, or if another goroutine hangs while it uses the tree.
func (t *Tree) enter() error {
	if t.err != nil {
		return t.err
	}
	if err := t.gate.enter(); err != nil {
		return fmt.Errorf("reading the processes in %s: %w", t.procRoot, err)
	}
	return nil
}

// Discover looks for processes of the tree that are not known yet. If some part of
// /proc cannot be read, it finds what it can and returns the first error.
//
// If the kernel has children lists (CONFIG_PROC_CHILDREN) and the tree has few
// threads, Discover walks these lists from the root; there is a list for each thread,
// so with many threads, or without the lists, it lists the processes in /proc instead
// (see [Table]) and links them by their parents' pids. A process once seen to be
// unrelated is skipped by its pid: it cannot become a descendant. Its pid can be reused
// by one, so every eighth time, and whenever pids have wrapped around, everything is
// looked at again. If no pid was assigned since the last time (/proc/loadavg has the
// most recent one), Discover does nothing.
func (t *Tree) Discover() error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.gate.leave()
	_, _, err := t.discover()
	return err
}

// DiscoverAnew is [Tree.Discover], but looks even if no process has started since the latest
// one: a look misses a process whose parent ends meanwhile, which gives it to vobs.
func (t *Tree) DiscoverAnew() error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.gate.leave()
	t.scan.settled = false
	_, _, err := t.discover()
	return err
}

// DiscoverAndRefresh is [Tree.Discover] and [Tree.Refresh] at the cost of one: it reads the
// resident memory of each process once.
func (t *Tree) DiscoverAndRefresh() (rss int64, err error) {
	if err := t.enter(); err != nil {
		return 0, err
	}
	defer t.gate.leave()
	rss, readErr, err := t.discover()
	var pages int64
	for i := t.refreshed; i < len(t.members); i++ { // those that are new
		n, newErr := t.residentPages(&t.members[i])
		if newErr != nil && !gone(newErr) && readErr == nil {
			readErr = fmt.Errorf("reading the resident memory of process %d: %w", t.members[i].PID, newErr)
		}
		pages += n
	}
	rss += pages * int64(os.Getpagesize())
	return rss, errors.Join(err, readErr)
}

// Refresh returns the sum of the known processes' resident memory, in bytes, and
// forgets processes that have ended or whose pid now belongs to another process. A
// page that several processes share counts in each of them. If some processes cannot
// be read, Refresh returns the sum of the others and the first error; that a process
// has ended is not an error.
//
// It costs one small read per process and allocates nothing in the steady state. The
// figure is that of /proc/PID/statm: the field in /proc/PID/stat is less exact (seen
// on Linux 6.18: 406 pages where statm and smaps_rollup had 449), and smaps_rollup
// takes the lock of the process's memory map and walks its page tables. Older kernels
// keep statm's number in per-CPU counters, so it may lag by some pages per CPU
// (proc_pid_statm(5)).
func (t *Tree) Refresh() (rss int64, err error) {
	if err := t.enter(); err != nil {
		return 0, err
	}
	defer t.gate.leave()
	return t.refresh()
}

func (t *Tree) refresh() (rss int64, err error) {
	var pages int64
	for i := 0; i < len(t.members); {
		n, readErr := t.residentPages(&t.members[i])
		switch {
		case readErr == nil:
			pages += n
		case gone(readErr):
			t.forget(i)
			continue // the last member is at i now
		case err == nil:
			err = fmt.Errorf("reading the resident memory of process %d: %w", t.members[i].PID, readErr)
		}
		i++
	}
	t.refreshed = len(t.members)
	return pages * int64(os.Getpagesize()), err
}

// residentPages returns one process's resident pages. It reads them through the open
// descriptor, which fails with ESRCH once the process has ended, even if its pid was
// reused; without a descriptor it opens the file by its path, after checking that the
// pid still belongs to the same process.
func (t *Tree) residentPages(m *member) (int64, error) {
	if m.fd < 0 {
		if _, err := t.statOf(m); err != nil {
			return 0, err
		}
		n, err := readOnce(procPath(t.procRoot, m.PID, "statm"), t.buf[:])
		if err != nil {
			return 0, err
		}
		return parseStatm(t.buf[:n])
	}
	for {
		n, err := unix.Pread(m.fd, t.buf[:], 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, unix.ESRCH
		}
		return parseStatm(t.buf[:n])
	}
}

// MemberRSS returns one member's resident memory in bytes, or nil if it cannot be
// read or p is not a member.
func (t *Tree) MemberRSS(p Process) *int64 {
	if t.enter() != nil {
		return nil
	}
	defer t.gate.leave()
	i, known := t.index[p.PID]
	if !known || t.members[i].StartTicks != p.StartTicks {
		return nil
	}
	pages, err := t.residentPages(&t.members[i])
	if err != nil {
		return nil
	}
	rss := pages * int64(os.Getpagesize())
	return &rss
}

// statOf reads a member's status. It returns ESRCH if the pid now belongs to another
// process.
func (t *Tree) statOf(m *member) (stat, error) {
	s, err := readStat(t.procRoot, m.PID, t.buf[:])
	if err == nil && s.startTicks != m.StartTicks {
		return stat{}, unix.ESRCH
	}
	return s, err
}

// Processes returns the living processes of the tree, oldest first, with their
// current names and parents: it reads each one's status, because processes rename
// themselves after they were found. Zombies are left out. The error is that of [Tree.Err],
// or that another reading hangs.
func (t *Tree) Processes() ([]Process, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.gate.leave()
	return t.processes(func(*member) bool { return true }), nil
}

// Named is [Tree.Processes] for a periodic look at a tree that may be large: of the processes
// whose name is not one of those that may serve, it reads the status of at most limit, the
// new ones first and the others in turn. The rest is returned as it was last read.
func (t *Tree) Named(mayServe func(comm string) bool, limit int) ([]Process, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.gate.leave()
	t.looks++
	left := limit
	for i := range t.members {
		// Half of it is for the others, however many new ones there are.
		if m := &t.members[i]; m.reads < newReads && left > limit/2 && !mayServe(m.Comm) {
			left--
			m.look = t.looks
		}
	}
	for n := 0; n < len(t.members) && left > 0; n++ {
		t.cursor = (t.cursor + 1) % len(t.members)
		if m := &t.members[t.cursor]; m.look != t.looks && !mayServe(m.Comm) {
			left--
			m.look = t.looks
		}
	}
	return t.processes(func(m *member) bool { return m.look == t.looks || mayServe(m.Comm) }), nil
}

// processes returns the living processes, oldest first, and reads the status of those that it
// is to read.
func (t *Tree) processes(read func(*member) bool) []Process {
	procs := make([]Process, 0, len(t.members))
	for i := 0; i < len(t.members); {
		m := &t.members[i]
		if read(m) {
			s, err := t.statOf(m)
			if gone(err) {
				t.forget(i)
				continue
			}
			if err == nil {
				m.PPID, m.dead, m.reads = s.ppid, s.dead(), min(m.reads+1, newReads)
				if m.Comm != string(s.comm) {
					m.Comm = string(s.comm)
				}
			}
		}
		if !m.dead {
			procs = append(procs, m.Process)
		}
		i++
	}
	sortProcesses(procs)
	return procs
}

// sortProcesses sorts by start time, so that parents come before their children if the
// clock's resolution allows.
func sortProcesses(procs []Process) {
	slices.SortFunc(procs, func(a, b Process) int {
		return cmp.Or(cmp.Compare(a.StartTicks, b.StartTicks), cmp.Compare(a.PID, b.PID))
	})
}

// PIDs returns the pids of the known processes. It reads nothing.
func (t *Tree) PIDs() map[int]bool {
	t.pidsMu.Lock()
	defer t.pidsMu.Unlock()
	return maps.Clone(t.pids)
}

// setPID adds a pid to those that PIDs returns, or removes it.
func (t *Tree) setPID(pid int, known bool) {
	t.pidsMu.Lock()
	defer t.pidsMu.Unlock()
	if known {
		t.pids[pid] = true
	} else {
		delete(t.pids, pid)
		t.former.add(pid)
	}
}

// Descends reports whether a process belongs to the tree now. If the process is not
// known yet, Descends follows its chain of parents and remembers them all, so that the
// answer does not depend on the next [Tree.Discover].
func (t *Tree) Descends(pid int) bool {
	if t.enter() != nil {
		return false
	}
	defer t.gate.leave()
	if t.isAlive(pid) {
		return true
	}
	var chain []Process
	for len(chain) < maxAncestors && pid != t.rootPID && !t.isAlive(pid) {
		if pid <= 1 {
			return false
		}
		s, err := readStat(t.procRoot, pid, t.buf[:])
		if err != nil {
			return false
		}
		chain = append(chain, processOf(s))
		pid = s.ppid
	}
	if len(chain) == maxAncestors {
		return false
	}
	for _, p := range slices.Backward(chain) {
		t.add(p)
	}
	return len(chain) > 0
}

// isAlive reports whether a process is known and has not ended. It forgets one that
// has ended.
func (t *Tree) isAlive(pid int) bool {
	i, known := t.index[pid]
	if !known {
		return false
	}
	if _, err := t.residentPages(&t.members[i]); gone(err) {
		t.forget(i)
		return false
	}
	return true
}

func processOf(s stat) Process {
	return Process{PID: s.pid, PPID: s.ppid, StartTicks: s.startTicks, Comm: string(s.comm)}
}

// CPUTime returns the CPU time, user and system, that the known processes and the
// children they have waited for used so far. It includes zombies, whose time is not
// yet part of their parent's. If some processes cannot be read, CPUTime returns the
// sum of the others and the first error.
func (t *Tree) CPUTime() (time.Duration, error) {
	if err := t.enter(); err != nil {
		return 0, err
	}
	defer t.gate.leave()
	var ticks uint64
	var firstErr error
	for i := range t.members {
		s, err := t.statOf(&t.members[i])
		if err != nil {
			if !gone(err) && firstErr == nil {
				firstErr = err
			}
			continue
		}
		ticks += s.cpuTicks
	}
	const tick = time.Second / ticksPerSecond
	return time.Duration(min(ticks, uint64(1<<63-1)/uint64(tick))) * tick, firstErr
}

// Close closes the descriptors, unless a reading hangs. The tree can still be used: its
// readings then open the files each time.
func (t *Tree) Close() {
	if t.enter() != nil {
		return
	}
	defer t.gate.leave()
	t.closed = true
	for i := range t.members {
		t.closeFD(&t.members[i])
	}
}

func (t *Tree) closeFD(m *member) {
	if m.fd >= 0 {
		unix.Close(m.fd)
		m.fd = -1
		t.numFDs--
	}
}

// add adds a process to the set.
func (t *Tree) add(p Process) {
	if _, known := t.index[p.PID]; known {
		return
	}
	m := member{Process: p, fd: -1}
	if t.keepFDs && !t.closed && t.numFDs < t.maxFDs {
		m.fd = t.openStatm(p)
	}
	if m.fd >= 0 {
		t.numFDs++
	}
	t.index[p.PID] = len(t.members)
	t.members = append(t.members, m)
	t.setPID(p.PID, true)
	delete(t.scan.unrelated, p.PID)
}

// openStatm opens /proc/PID/statm of a process. It returns -1 if the process has
// ended, if its pid now belongs to another process (which the start time shows, read
// after opening), or if no descriptors are left. Without a descriptor, each reading
// checks the status and returns the cause.
func (t *Tree) openStatm(p Process) int {
	fd, err := open.File(procPath(t.procRoot, p.PID, "statm"))
	if err != nil {
		return -1
	}
	s, err := readStat(t.procRoot, p.PID, t.buf[:])
	if err != nil || s.startTicks != p.StartTicks {
		unix.Close(fd)
		return -1
	}
	return fd
}

// forget removes member i from the set; the last member moves to i.
func (t *Tree) forget(i int) {
	t.closeFD(&t.members[i])
	delete(t.index, t.members[i].PID)
	t.setPID(t.members[i].PID, false)
	last := len(t.members) - 1
	if i != last {
		t.members[i] = t.members[last]
		t.index[t.members[i].PID] = i
	}
	t.members[last] = member{fd: -1}
	t.members = t.members[:last]
}
