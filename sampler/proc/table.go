package proc

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Table is the processes of a host. It lists /proc for everybody who needs more than single
// processes: a [Tree] that looks for new members, [Table.Descendants], and the searches of
// [Sockets]. Whatever is asked for within roundAge shares one listing, and of a process that
// is known already nothing is read.
//
// Known means that the entry of /proc has the same inode as before: the kernel makes a new
// one for each process (proc_pid_make_inode in fs/proc/base.c) and drops it when the process
// ends (proc_flush_pid), so that a reused pid has another one. It may drop the inode of a
// process that lives, too, when memory is short; the status is then read once more. If the
// inodes do not identify processes, every [fullEvery]th listing reads all of them.
//
// A Table may be used by several goroutines at once. If a file of /proc hangs, it behaves
// like a [Tree].
type Table struct {
	procRoot string

	gate     gate // for the following
	procFS   bool
	listed   time.Time
	round    int // listings so far
	rows     map[int]*row
	entries  []dirEntry // of the latest listing
	buf      [4096]byte
	snapshot *snapshot // of the latest listing that somebody needed
}

// row is one process of a [Table].
type row struct {
	Process
	threads int
	kernel  bool // a kernel thread
	hidden  bool // its status may not be read (the mount option hidepid)

	inode uint64 // of its entry
	round int    // the latest listing that had it
	read  int    // the listing for which its status was read last
	// readAgain is when its name and parent are read once more, because new processes get a
	// name of their own; zero: they are taken to be final.
	readAgain time.Time
}

// snapshot is a copy of the table after one listing.
type snapshot struct {
	round    int
	rows     []row
	byPID    map[int]int   // index in rows
	children map[int][]int // indexes in rows, by the parent's pid

	descendants map[int][]Process // that were asked for, by pid; guarded by Table.gate
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
)

// NewTable returns the table of a host, empty until it is needed. It reads nothing.
func NewTable(procRoot string) *Table {
	return &Table{procRoot: procRoot, gate: newGate(), rows: make(map[int]*row)}
}

// enter reserves the table for the caller, until t.gate.leave is called.
func (t *Table) enter() error {
	if err := t.gate.enter(); err != nil {
		return fmt.Errorf("reading the processes in %s: %w", t.procRoot, err)
	}
	return nil
}

// list lists /proc and reads the processes that are not known yet, or all if full is set.
// The error is that of the listing; unread is the first one of a process.
func (t *Table) list(full bool) (unread, err error) {
	if t.round == 0 {
		t.procFS = isProcFS(t.procRoot)
	}
	entries, err := listEntries(t.procRoot, t.entries[:0])
	t.entries = entries
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the processes in %s: %w (%w)", t.procRoot, ErrNoProc, err)
	}
	if err != nil {
		return nil, fmt.Errorf("list the processes in %s: %w", t.procRoot, err)
	}
	now := time.Now()
	first := t.round == 0
	t.round++
	t.listed = now
	identified := t.procFS && len(entries) > 1 && entries[0].inode != entries[1].inode
	full = full && !identified
	for _, e := range entries {
		r := t.rows[e.pid]
		if r != nil && !full && (!identified || r.inode == e.inode) && (r.readAgain.IsZero() || now.Before(r.readAgain)) {
			r.round = t.round
			continue
		}
		s, err := readStat(t.procRoot, e.pid, t.buf[:])
		switch {
		case err == nil && r != nil && r.StartTicks == s.startTicks:
			r.readAgain = time.Time{}
		case err == nil:
			r = &row{}
			if !first {
				r.readAgain = now.Add(settleAfter)
			}
		case errors.Is(err, fs.ErrPermission):
			// Other users' processes are hardly descendants.
			r = &row{Process: Process{PID: e.pid}, hidden: true}
		default:
			if unread == nil && !gone(err) {
				unread = fmt.Errorf("reading the status of a process: %w", err)
			}
			delete(t.rows, e.pid)
			continue
		}
		if err == nil {
			r.set(s)
		}
		r.inode, r.round, r.read = e.inode, t.round, t.round
		t.rows[e.pid] = r
	}
	for pid, r := range t.rows {
		if r.round != t.round {
			delete(t.rows, pid)
		}
	}
	return unread, nil
}

// fresh returns a process whose status was read for the latest listing, and reads it if it
// was not. It is nil if the process has ended.
func (t *Table) fresh(r *row) *row {
	if r.read == t.round || r.hidden {
		return r
	}
	s, err := readStat(t.procRoot, r.PID, t.buf[:])
	if err != nil {
		return nil
	}
	if s.startTicks != r.StartTicks {
		*r = row{inode: r.inode, round: r.round}
	}
	r.set(s)
	r.read = t.round
	return r
}

// set takes in a status.
func (r *row) set(s stat) {
	if r.Comm != string(s.comm) {
		r.Comm = string(s.comm)
	}
	r.PID, r.PPID, r.StartTicks = s.pid, s.ppid, s.startTicks
	r.threads, r.kernel = s.numThreads, s.kernel
}

// current returns the processes as of a listing that is at most roundAge old.
func (t *Table) current() (*snapshot, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.gate.leave()
	if t.round == 0 || time.Since(t.listed) > roundAge {
		// What it finds is right even if it does not find all.
		if _, err := t.list(t.round%fullEvery == 0); err != nil {
			return nil, err
		}
	}
	if t.snapshot == nil || t.snapshot.round != t.round {
		t.snapshot = t.takeSnapshot()
	}
	return t.snapshot, nil
}

func (t *Table) takeSnapshot() *snapshot {
	s := &snapshot{round: t.round, rows: make([]row, 0, len(t.rows)), byPID: make(map[int]int, len(t.rows)), children: map[int][]int{}, descendants: map[int][]Process{}}
	for _, e := range t.entries {
		r := t.rows[e.pid]
		if r == nil || r.hidden {
			continue
		}
		if r.PPID > 0 && t.rows[r.PPID] == nil {
			// Its parent has ended since: it has another one now.
			if stat, err := readStat(t.procRoot, r.PID, t.buf[:]); err == nil && stat.startTicks == r.StartTicks {
				r.set(stat)
			}
		}
		s.byPID[r.PID] = len(s.rows)
		s.children[r.PPID] = append(s.children[r.PPID], len(s.rows))
		s.rows = append(s.rows, *r)
	}
	return s
}

// Descendants returns a process and all of its descendants as of a round, the process itself
// first, then the oldest first. It is for a process that vobs did not start, such as one that
// serves a local metrics address: its orphans are reparented to another subreaper and do not
// count as its descendants. It reads the status of the processes that it returns.
func (t *Table) Descendants(pid int) ([]Process, error) {
	var buf [4096]byte
	stat, err := readStat(t.procRoot, pid, buf[:])
	if err != nil {
		return nil, fmt.Errorf("reading the status of process %d: %w", pid, err)
	}
	self := processOf(stat)
	s, err := t.current()
	if err != nil {
		return []Process{self}, fmt.Errorf("look for the descendants of process %d: %w", pid, err)
	}
	if err := t.enter(); err != nil {
		return []Process{self}, err
	}
	defer t.gate.leave()
	if below, known := s.descendants[pid]; known {
		return append([]Process{self}, below...), nil
	}
	var below []Process
	found := map[int]bool{pid: true}
	queue := append([]int(nil), s.children[pid]...)
	for len(queue) > 0 {
		r := s.rows[queue[0]]
		queue = queue[1:]
		if found[r.PID] {
			continue
		}
		stat, readErr := readStat(t.procRoot, r.PID, buf[:])
		switch {
		case gone(readErr), readErr == nil && (stat.startTicks != r.StartTicks || !found[stat.ppid]):
			continue // it has ended, or has another parent now
		case readErr != nil:
			err = cmp.Or(err, fmt.Errorf("look for the descendants of process %d: %w", pid, readErr))
			continue
		}
		found[r.PID] = true
		if !stat.dead() {
			below = append(below, processOf(stat))
		}
		queue = append(queue, s.children[r.PID]...)
	}
	sortProcesses(below)
	if err == nil {
		s.descendants[pid] = below
	}
	return append([]Process{self}, below...), err
}

// Descendants is [Table.Descendants] with a table of its own.
func Descendants(procRoot string, pid int) ([]Process, error) {
	return NewTable(procRoot).Descendants(pid)
}

// Hangs reports whether a reading of the table has taken more than a second so far.
func (t *Table) Hangs() bool { return t.gate.hangs() }
