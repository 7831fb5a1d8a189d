package proc

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Table is the processes of a host. It is the only reader of /proc as a whole: a [Tree] that
// looks for new members, [Table.Descendants], and the searches of [Sockets] use it. What they
// need within roundAge comes from one listing. The status of a process is read only if one of
// them needs it (some 20 µs on a slow machine, of 2,500 processes 50 ms), and only once.
//
// A process is known if the entry of /proc has the same inode as before: the kernel makes a
// new one for each process (proc_pid_make_inode in fs/proc/base.c) and drops it when the
// process ends (proc_flush_pid), so that a reused pid has another one. It may drop the inode
// of a process that lives, too, when memory is short; its status is then read once more. If
// the inodes do not identify processes, every [fullEvery]th reading is of all of them.
//
// A Table may be used by several goroutines at once. If a file of /proc hangs, it behaves
// like a [Tree].
type Table struct {
	procRoot string
	maxAge   time.Duration // of a listing that is shared

	gate        gate // for the following
	procFS      bool
	identified  bool // an inode belongs to one process
	listedAt    time.Time
	round       int // listings so far
	readings    int // calls of readAll so far
	rows        map[int]*row
	entries     []dirEntry // of the latest listing
	buf         [4096]byte
	candidates  []candidate       // of the round candidateOf
	candidateOf int               // round
	descendants map[int][]Process // results of below in the round descendedIn, by pid
	descendedIn int               // round
}

// row is one process of a [Table].
type row struct {
	Process           // only the pid before its status is read
	threads int       // 0: unknown
	dead    bool      // it has ended, and its parent has not waited for it
	hidden  bool      // its status may not be read (the mount option hidepid)
	inode   uint64    // of its entry
	since   time.Time // the listing that had it first; zero: the very first listing
	round   int       // the latest listing that had it
	read    int       // the listing for which its status was read last; 0: never
	// readAgain is when its name and parent are read once more, because new processes get a
	// name of their own; zero: they are taken to be final.
	readAgain time.Time
}

// candidate is a process in which something may be searched.
type candidate struct {
	pid     int
	inode   uint64
	threads int // 0: unknown
}

// dirEntry is one process in a listing of /proc.
type dirEntry struct {
	pid   int
	inode uint64
}

const (
	// roundAge is the age up to which a listing is shared.
	roundAge = 200 * time.Millisecond
	// settleAfter is how long after the first reading the name and the parent of a new
	// process are read again.
	settleAfter = time.Second
	// startTime is how long a process may take to start its threads.
	startTime = time.Minute
)

// NewTable returns the table of a host, empty until it is first used. It reads nothing.
func NewTable(procRoot string) *Table {
	return &Table{procRoot: procRoot, maxAge: roundAge, gate: newGate(), rows: make(map[int]*row)}
}

// enter reserves the table for the caller, until t.gate.leave is called.
func (t *Table) enter() error {
	if err := t.gate.enter(); err != nil {
		return fmt.Errorf("reading the processes in %s: %w", t.procRoot, err)
	}
	return nil
}

// list lists /proc.
func (t *Table) list() error {
	if t.round == 0 {
		t.procFS = isProcFS(t.procRoot)
	}
	entries, err := listEntries(t.procRoot, t.entries[:0])
	t.entries = entries
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list the processes in %s: %w (%w)", t.procRoot, ErrNoProc, err)
	}
	if err != nil {
		return fmt.Errorf("list the processes in %s: %w", t.procRoot, err)
	}
	t.round++
	t.listedAt = time.Now()
	t.identified = t.procFS && len(entries) > 1 && entries[0].inode != entries[1].inode
	for _, e := range entries {
		r := t.rows[e.pid]
		if r == nil || t.identified && r.inode != e.inode {
			r = &row{Process: Process{PID: e.pid}, inode: e.inode}
			if t.round > 1 {
				r.since, r.readAgain = t.listedAt, t.listedAt.Add(settleAfter)
			}
			t.rows[e.pid] = r
		}
		r.round = t.round
	}
	for pid, r := range t.rows {
		if r.round != t.round {
			delete(t.rows, pid)
		}
	}
	return nil
}

// listNow lists /proc unless the latest listing is at most roundAge old.
func (t *Table) listNow() error {
	if t.round > 0 && time.Since(t.listedAt) <= t.maxAge {
		return nil
	}
	return t.list()
}

// readAll reads the status of the listed processes that are not known yet, and of all if full
// is set and inodes do not identify processes. It returns the first error; that a process has
// ended is none.
func (t *Table) readAll(full bool) (err error) {
	t.readings++
	full = full && !t.identified
	for _, e := range t.entries {
		r := t.rows[e.pid]
		if r == nil || !full && (r.read > 0 || r.hidden) && (r.readAgain.IsZero() || t.listedAt.Before(r.readAgain)) {
			continue
		}
		if readErr := t.read(r); err == nil && readErr != nil && !gone(readErr) {
			err = fmt.Errorf("reading the status of a process: %w", readErr)
		}
	}
	return err
}

// read reads the status of a process. It forgets one that has ended.
func (t *Table) read(r *row) error {
	s, err := readStat(t.procRoot, r.PID, t.buf[:])
	switch {
	case errors.Is(err, fs.ErrPermission):
		// Other users' processes are hardly descendants.
		r.hidden = true
		return nil
	case err != nil:
		delete(t.rows, r.PID)
		return err
	case r.read > 0 && r.StartTicks != s.startTicks:
		r.readAgain = t.listedAt.Add(settleAfter)
	case r.read > 0 && !t.listedAt.Before(r.readAgain):
		r.readAgain = time.Time{}
	}
	if r.Comm != string(s.comm) {
		r.Comm = string(s.comm)
	}
	r.PPID, r.StartTicks, r.threads, r.dead, r.hidden, r.read = s.ppid, s.startTicks, s.numThreads, s.dead(), false, t.round
	return nil
}

// fresh returns a process whose status was read for the latest listing, and reads it if it was
// not; nil if that fails.
func (t *Table) fresh(r *row) *row {
	if r.read != t.round && t.read(r) != nil || r.hidden {
		return nil
	}
	return r
}

// search returns the processes of a listing that is at most roundAge old, in the order in
// which something that a server holds is searched for: those with several threads first, as a
// server of an engine has dozens, then the youngest first. Pid 1 comes last.
func (t *Table) search() (candidates []candidate, round int, err error) {
	if err := t.enter(); err != nil {
		return nil, 0, err
	}
	defer t.gate.leave()
	if err := t.listNow(); err != nil {
		return nil, 0, err
	}
	if t.candidateOf == t.round {
		return t.candidates, t.round, nil
	}
	list := make([]candidate, 0, len(t.entries)) // the one before may be in use
	for _, e := range t.entries {
		r := t.rows[e.pid]
		if r == nil {
			continue
		}
		young := !r.since.IsZero() && t.listedAt.Sub(r.since) < startTime
		if r.threads == 0 || r.threads == 1 && young {
			r.threads = countThreads(t.procRoot, e.pid)
		}
		list = append(list, candidate{e.pid, e.inode, r.threads})
	}
	rank := func(c candidate) int {
		switch {
		case c.pid == 1:
			return 2
		case c.threads > 1:
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.pid, a.pid))
	})
	t.candidates, t.candidateOf = list, t.round
	return list, t.round, nil
}

// Descendants returns a process and all of its descendants as of a round, the process itself
// first, then the oldest first. It is for a process that vobs did not start, such as one that
// serves a local metrics address: its orphans are reparented to another subreaper and do not
// count as its descendants.
func (t *Table) Descendants(pid int) ([]Process, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.gate.leave()
	stat, err := readStat(t.procRoot, pid, t.buf[:])
	if err != nil {
		return nil, fmt.Errorf("reading the status of process %d: %w", pid, err)
	}
	self := processOf(stat)
	below, err := t.below(pid)
	if err != nil {
		err = fmt.Errorf("look for the descendants of process %d: %w", pid, err)
	}
	return append([]Process{self}, below...), err
}

// below returns the living descendants of a process.
func (t *Table) below(pid int) ([]Process, error) {
	if err := t.listNow(); err != nil {
		return nil, err
	}
	if t.descendedIn != t.round {
		t.descendants, t.descendedIn = map[int][]Process{}, t.round
	}
	if below, known := t.descendants[pid]; known {
		return below, nil
	}
	pids, ok := t.walkLists(pid)
	var err error
	if !ok {
		pids, err = t.walkRows(pid)
	}
	var below []Process
	found := map[int]bool{pid: true}
	for _, p := range pids {
		r := t.rows[p]
		if r == nil { // it started after the listing
			r = &row{Process: Process{PID: p}}
		}
		if r.read != t.round {
			if readErr := t.read(r); readErr != nil {
				if !gone(readErr) {
					err = cmp.Or(err, readErr)
				}
				continue
			}
		}
		if found[r.PPID] && !found[p] { // otherwise it has another parent now
			found[p] = true
			if !r.dead {
				below = append(below, r.Process)
			}
		}
	}
	sortProcesses(below)
	if err == nil {
		t.descendants[pid] = below
	}
	return below, err
}

// walkRows returns the pids of the descendants of a process by the parents of all processes,
// parents before their children.
func (t *Table) walkRows(pid int) ([]int, error) {
	// What it finds is right even if it does not find all.
	_ = t.readAll(t.readings%fullEvery == 0)
	children := make(map[int][]int)
	for _, e := range t.entries {
		r := t.rows[e.pid]
		if r == nil || r.hidden || r.read == 0 {
			continue
		}
		if r.PPID > 0 && t.rows[r.PPID] == nil && t.read(r) != nil { // its parent has ended: it has another one now
			continue
		}
		children[r.PPID] = append(children[r.PPID], e.pid)
	}
	queue := slices.Clone(children[pid])
	for i := 0; i < len(queue) && i < maxWalk; i++ {
		if queue[i] != pid {
			queue = append(queue, children[queue[i]]...)
		}
	}
	return queue, nil
}

// walkLists is walkRows by the children lists of threads. ok is false if the kernel does not
// have them, or if that takes more readings than walkRows.
func (t *Table) walkLists(pid int) (pids []int, ok bool) {
	unread := 0
	for _, r := range t.rows {
		if r.read == 0 && !r.hidden {
			unread++
		}
	}
	if unread == 0 {
		return nil, false
	}
	task := strconv.Itoa(pid)
	if !Exists(filepath.Join(t.procRoot, task, "task", task, "children")) {
		return nil, false
	}
	queue := []int{pid}
	for i := 0; i < len(queue) && i < maxWalk; i++ {
		taskDir := procPath(t.procRoot, queue[i], "task")
		tids, _ := listPIDs(taskDir, nil)
		// A list costs about what a status does, and so does a directory of threads.
		if unread -= 1 + len(tids); unread < 2*(len(queue)-i-1) {
			return nil, false
		}
		for _, tid := range tids {
			data, err := readInto(filepath.Join(taskDir, strconv.Itoa(tid), "children"), t.buf[:], MaxSmallFile)
			if err == nil {
				queue, _ = parseChildren(data, queue)
			}
		}
	}
	return queue[1:], true
}

// Hangs reports whether a reading of the table has taken more than a second so far.
func (t *Table) Hangs() bool { return t.gate.hangs() }
