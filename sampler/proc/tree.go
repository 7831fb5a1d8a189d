// Package proc reads processes from /proc: the tree of a command's descendants,
// their arguments and environments, the sockets they listen on, and how they ended.
package proc

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is the set of processes that descend from a root process.
//
// The root is vobs itself and no part of the set. vobs is a subreaper
// (PR_SET_CHILD_SUBREAPER), so a descendant whose parent ends is handed to vobs
// and stays below the root: the tree is whole whatever daemonises. What was once
// found below the root stays in the set until it has ended, also where a kernel
// without subreapers hands it to pid 1.
//
// A Tree may be used by several goroutines at once. It keeps descriptors open
// until [Tree.Close].
type Tree struct {
	procRoot string
	rootPID  int
	err      error // why nothing of it can be known

	mu      sync.Mutex
	keepFDs bool // procRoot is a procfs: a descriptor stays with its process
	closed  bool
	members []member
	index   map[int]int // PID -> place in members
	buf     [4096]byte
	scan    scanState
}

// member is one process of the set.
type member struct {
	Process
	fd int // of /proc/PID/statm, or -1
}

// Process is one process as it was when last looked at.
type Process struct {
	// PID is the process's id in vobs's pid namespace.
	PID int
	// PPID is its parent's id.
	PPID int
	// StartTicks is when it started, in clock ticks (1/100 s) after boot: together
	// with PID it names one process for good, whereas a pid is used again.
	StartTicks uint64
	// Comm is its name, 15 bytes at most: the program's, or a title that it gave
	// itself ("VLLM::EngineCor").
	Comm string
}

// maxKeptFDs bounds the descriptors that a Tree keeps open: with a limit of 1024
// open files, which is common, the rest of vobs needs some too. Processes beyond
// it are opened for each reading.
const maxKeptFDs = 256

// NewTree makes the tree below process rootPID, empty until [Tree.Discover]. It
// reads nothing but the kind of file system at procRoot, and whose it is.
func NewTree(procRoot string, rootPID int) *Tree {
	t := &Tree{
		procRoot: procRoot,
		rootPID:  rootPID,
		keepFDs:  isProcFS(procRoot),
		index:    make(map[int]int),
	}
	if t.keepFDs && !isOwnProcFS(procRoot) {
		t.err = fmt.Errorf("%s shows the processes of another pid namespace: give the command's namespace a /proc of its own (unshare --mount-proc)", procRoot)
	}
	return t
}

// isOwnProcFS says whether a procfs is that of our pid namespace. One that came
// with the mounts of another namespace (`unshare --pid` alone, a sandbox) gives
// numbers that name other processes here: ours is 1, say, and 1 there is init,
// below which is everything. Its self is our number there (proc(5)), and leads
// nowhere where we are not seen.
func isOwnProcFS(procRoot string) bool {
	self, err := os.Readlink(filepath.Join(procRoot, "self"))
	return err == nil && self == strconv.Itoa(os.Getpid())
}

// Err tells why nothing can be known of the tree, which is then empty, or nil.
func (t *Tree) Err() error { return t.err }

// Discover looks for processes of the tree that are not known yet. When some
// part of /proc cannot be read it finds what it can and returns the first error.
//
// Where the kernel has children lists (CONFIG_PROC_CHILDREN) and few threads have
// to be asked, it walks these from the root; there is a list for each thread, so
// with many threads, and without the lists, it goes over /proc instead and links
// what it finds by the parents' ids. Of processes that were seen not to belong to
// the tree only the pid is looked at again: what is not ours now cannot become
// ours, but for a pid used again, so every eighth time, and whenever the ids
// handed out have wrapped around, everything is read anew. When no id was handed
// out since the last time (/proc/loadavg tells the last one), nothing is done.
func (t *Tree) Discover() error {
	if t.err != nil {
		return t.err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.discover()
}

// Refresh sums up the resident memory, in bytes, of the known processes, and
// forgets those that have ended or whose pid belongs to another process now. A
// page that several processes share counts in each of them. It returns what it
// could sum up also with an error, which is the first of those met; a process
// that ended is none.
//
// It costs one small read for a process and allocates nothing in the steady
// state. The figure is that of /proc/PID/statm: the field of /proc/PID/stat is
// less exact (seen on Linux 6.18: 406 pages where statm and smaps_rollup said
// 449), and smaps_rollup takes the memory map's lock of the process and walks its
// page tables. Older kernels keep statm's number in per-CPU counters too, and it
// may then lag by some pages for each CPU (proc_pid_statm(5)).
func (t *Tree) Refresh() (rss int64, err error) {
	if t.err != nil {
		return 0, t.err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
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
			continue // the last member stands at i now
		case err == nil:
			err = fmt.Errorf("read the resident memory of process %d: %w", t.members[i].PID, readErr)
		}
		i++
	}
	return pages * int64(os.Getpagesize()), err
}

// residentPages reads one process's resident pages: by its open descriptor, which
// fails with ESRCH once the process has ended whoever has its pid then, or else
// by its name, after its status has told that it is still the same one.
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
	t.mu.Lock()
	defer t.mu.Unlock()
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

// statOf reads a member's status; ESRCH when its pid belongs to another process.
func (t *Tree) statOf(m *member) (stat, error) {
	s, err := readStat(t.procRoot, m.PID, t.buf[:])
	if err == nil && s.startTicks != m.StartTicks {
		return stat{}, unix.ESRCH
	}
	return s, err
}

// Processes returns the living processes of the tree, those that started first
// in front, with their present names and parents. It reads each one's status:
// processes rename themselves after they were found. Zombies are left out.
func (t *Tree) Processes() []Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	procs := make([]Process, 0, len(t.members))
	for i := 0; i < len(t.members); {
		m := &t.members[i]
		s, err := t.statOf(m)
		if gone(err) {
			t.forget(i)
			continue
		}
		if err == nil {
			m.PPID = s.ppid
			if m.Comm != string(s.comm) {
				m.Comm = string(s.comm)
			}
		}
		if err != nil || !s.dead() {
			procs = append(procs, m.Process)
		}
		i++
	}
	sortProcesses(procs)
	return procs
}

// sortProcesses puts parents in front of their children, as far as times tell.
func sortProcesses(procs []Process) {
	slices.SortFunc(procs, func(a, b Process) int {
		return cmp.Or(cmp.Compare(a.StartTicks, b.StartTicks), cmp.Compare(a.PID, b.PID))
	})
}

// PIDs returns the ids of the known processes. It reads nothing.
func (t *Tree) PIDs() map[int]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	pids := make(map[int]bool, len(t.members))
	for i := range t.members {
		pids[t.members[i].PID] = true
	}
	return pids
}

// Descends says whether a process belongs to the tree now. One that is not known
// yet is looked up by its chain of parents, and remembered with those, so that
// the answer does not wait for the next [Tree.Discover].
func (t *Tree) Descends(pid int) bool {
	if t.err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lives(pid) {
		return true
	}
	var chain []Process
	for len(chain) < maxAncestors && pid != t.rootPID && !t.lives(pid) {
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

// lives says whether a process is known and has not ended; an ended one is forgotten.
func (t *Tree) lives(pid int) bool {
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

// maxAncestors ends a walk up parents whose ids were used again on the way and
// led into a circle.
const maxAncestors = 4096

func processOf(s stat) Process {
	return Process{PID: s.pid, PPID: s.ppid, StartTicks: s.startTicks, Comm: string(s.comm)}
}

// LiveCPU sums up the CPU time, user and system, that the known processes and the
// children that these have waited for used so far. Zombies are known processes:
// their time is not yet in any parent's. Refused readings leave the sum short and
// give an error.
func (t *Tree) LiveCPU() (time.Duration, error) {
	if t.err != nil {
		return 0, t.err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
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

// Close gives the descriptors back. The tree can still be used; its readings
// open files again then.
func (t *Tree) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for i := range t.members {
		t.closeFD(&t.members[i])
	}
}

func (t *Tree) closeFD(m *member) {
	if m.fd >= 0 {
		unix.Close(m.fd)
		m.fd = -1
		t.scan.keptFDs--
	}
}

// add takes a process into the set.
func (t *Tree) add(p Process) {
	if _, known := t.index[p.PID]; known {
		return
	}
	m := member{Process: p, fd: -1}
	if t.keepFDs && !t.closed && t.scan.keptFDs < maxKeptFDs {
		m.fd = t.openStatm(p)
	}
	if m.fd >= 0 {
		t.scan.keptFDs++
	}
	t.index[p.PID] = len(t.members)
	t.members = append(t.members, m)
	delete(t.scan.unrelated, p.PID)
}

// openStatm opens the memory figures of a process, or returns -1: when it has
// ended, when its pid is another's by now (the start time read after the opening
// tells), when there are no descriptors left. Without one, a reading opens the
// status and finds out what is the matter.
func (t *Tree) openStatm(p Process) int {
	fd, err := openRead(procPath(t.procRoot, p.PID, "statm"))
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

// forget takes the member at place i out of the set; the last one takes its place.
func (t *Tree) forget(i int) {
	t.closeFD(&t.members[i])
	delete(t.index, t.members[i].PID)
	last := len(t.members) - 1
	if i != last {
		t.members[i] = t.members[last]
		t.index[t.members[i].PID] = i
	}
	t.members[last] = member{fd: -1}
	t.members = t.members[:last]
}

// Descendants returns a process and all that descend from it now, itself first.
// It is for a process that vobs did not start, as one that serves a local metrics
// address: what such a process orphans goes to another subreaper and is lost to
// this view. It reads the status of every process of the host.
func Descendants(procRoot string, pid int) ([]Process, error) {
	t := NewTree(procRoot, pid)
	t.keepFDs = false
	s, err := readStat(procRoot, pid, t.buf[:])
	if err != nil {
		return nil, fmt.Errorf("read the status of process %d: %w", pid, err)
	}
	self := processOf(s)
	err = t.Discover()
	below := t.Processes()
	if err != nil {
		return append([]Process{self}, below...), fmt.Errorf("look for the descendants of process %d: %w", pid, err)
	}
	return append([]Process{self}, below...), nil
}

var ErrNoProc = errors.New("there is no /proc here; only Linux has it")
