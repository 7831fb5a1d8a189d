package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// scanState is what a Tree remembers between two discoveries.
type scanState struct {
	passes  int  // discoveries so far
	lastPID int  // the most recent pid just before the latest discovery; 0: unknown
	settled bool // the latest discovery saw lastPID unchanged and looked anyway

	// For walking children lists.
	noChildLists bool // the kernel does not provide them
	threads      int  // threads whose lists the latest walk read

	// For scanning /proc. unrelated holds the processes known to be outside the
	// tree, with their start times.
	unrelated map[int]uint64
	pids      []int
	nodes     map[int]*scanNode
}

// scanNode is a process read in one pass, and what is known of its descent.
type scanNode struct {
	Process
	membership membership
}

// membership is whether a process belongs to the tree.
type membership uint8

const (
	undecided membership = iota
	descendant
	unrelated
	// undetermined: its parent ended while /proc was read, so it has another parent
	// now. The next pass looks again.
	undetermined
)

const (
	// fullEvery is how often a discovery ignores everything remembered: once in
	// fullEvery passes. It finds a pid that was released by an unrelated process and
	// reused by a descendant between two passes.
	fullEvery = 8
	// maxListThreads is the number of children lists up to which walking them is
	// cheaper than scanning /proc. A list costs an open, two reads and a close (about
	// 5 µs on the machine where this was measured); an entry of /proc costs about
	// 0.4 µs if it was seen before and 4 µs if not; a vLLM server has some hundred
	// threads.
	maxListThreads = 32
	// maxWalk bounds a walk through children lists that never end.
	maxWalk = 1 << 20
)

// discover looks for new processes after it has read the resident memory of the known ones,
// rss, so that a recycled pid does not make its new owner a member; readErr is the first error
// of that.
func (t *Tree) discover() (rss int64, readErr, err error) {
	rss, readErr = t.refresh()
	return rss, readErr, t.findNew()
}

func (t *Tree) findNew() error {
	s := &t.scan
	last := t.readLastPID()
	full := s.passes%fullEvery == 0 || last == 0 || last < s.lastPID || t.rootPID == 1
	s.passes++
	// A process has its pid some microseconds before it becomes visible, so an
	// unchanged last pid means "nothing new" only after one more look.
	if !full && last == s.lastPID && s.settled {
		return nil
	}
	// Keep the value from before the reading: a process that starts meanwhile has a
	// greater pid, and the next pass looks for it.
	s.settled = last == s.lastPID
	s.lastPID = last
	if !s.noChildLists && s.threads <= maxListThreads {
		supported, err := t.walkChildren()
		if supported {
			return err
		}
		s.noChildLists = true
	}
	return t.scanProc(full)
}

// readLastPID returns the most recently assigned pid, or 0 if it is unknown: LXCFS, which
// mounts a file over the kernel's, looks for it every five seconds only.
func (t *Tree) readLastPID() int {
	if t.procFS && Overlaid(t.procRoot, "loadavg") {
		return 0
	}
	n, err := readOnce(filepath.Join(t.procRoot, "loadavg"), t.buf[:])
	if err != nil {
		return 0
	}
	return parseLastPID(t.buf[:n])
}

// walkChildren walks the children lists down from the root, and from known
// processes that are no longer below it. The kernel may omit a child when a sibling
// ends during the read (proc_pid_task(5)); known children are kept, and the next
// walk finds a new one. supported is false if the kernel has no children lists.
func (t *Tree) walkChildren() (supported bool, err error) {
	root := strconv.Itoa(t.rootPID)
	if _, statErr := os.Stat(filepath.Join(t.procRoot, root, "task", root, "children")); statErr != nil {
		return false, nil
	}
	t.scan.threads = 0
	queue := append(t.scan.pids[:0], t.rootPID)
	for i := range t.members {
		queue = append(queue, t.members[i].PID)
	}
	for next := 0; next < len(queue) && next < maxWalk; next++ {
		taskDir := procPath(t.procRoot, queue[next], "task")
		tids, listErr := listPIDs(taskDir, nil)
		if listErr != nil {
			if !gone(listErr) && err == nil {
				err = fmt.Errorf("list the threads of process %d: %w", queue[next], listErr)
			}
			continue
		}
		t.scan.threads += len(tids)
		for _, tid := range tids {
			path := filepath.Join(taskDir, strconv.Itoa(tid), "children")
			data, readErr := readInto(path, t.buf[:], MaxSmallFile)
			first := len(queue)
			if readErr == nil {
				if queue, readErr = parseChildren(data, queue); readErr != nil {
					readErr = fmt.Errorf("%s: %w", path, readErr)
				}
			}
			if readErr != nil && !gone(readErr) && err == nil {
				err = fmt.Errorf("reading a list of children: %w", readErr)
			}
			kept := queue[:first]
			for _, pid := range queue[first:] {
				if t.addChild(pid) {
					kept = append(kept, pid)
				}
			}
			queue = kept
		}
	}
	t.scan.pids = queue[:0]
	return true, err
}

// addChild adds a process found in a children list. It reports false if the process
// is known already (and queued for the walk) or has ended.
func (t *Tree) addChild(pid int) bool {
	if _, known := t.index[pid]; known || pid == t.rootPID {
		return false
	}
	s, err := readStat(t.procRoot, pid, t.buf[:])
	if err != nil {
		return false
	}
	t.add(processOf(s))
	return true
}

// scanProc lists /proc and links the processes by their parents' pids.
func (t *Tree) scanProc(full bool) error {
	if err := t.table.enter(); err != nil {
		return err
	}
	defer t.table.gate.leave()
	if err := t.table.list(); err != nil {
		return err
	}
	unread := t.table.readAll(full)
	s, rows := &t.scan, t.table.rows
	if s.unrelated == nil {
		s.unrelated, s.nodes = make(map[int]uint64), make(map[int]*scanNode)
	}
	clear(s.nodes)
	if full {
		clear(s.unrelated)
	}
	for pid, start := range s.unrelated {
		if r := rows[pid]; r == nil || r.StartTicks != start {
			delete(s.unrelated, pid) // it ended; its pid may be reused
		}
	}
	for _, e := range t.table.entries {
		r := rows[e.pid]
		if r == nil || e.pid == t.rootPID {
			continue
		}
		if _, known := t.index[e.pid]; known {
			continue
		}
		if r.hidden {
			s.unrelated[e.pid] = 0 // hardly a descendant
		} else if _, known := s.unrelated[e.pid]; known {
			continue
		} else if r = t.table.fresh(r); r != nil {
			s.nodes[e.pid] = &scanNode{Process: r.Process}
		}
	}
	for _, e := range t.table.entries {
		n := s.nodes[e.pid]
		if n == nil {
			continue
		}
		switch t.classify(n, 0) {
		case descendant:
			t.add(n.Process)
		case unrelated:
			s.unrelated[e.pid] = n.StartTicks
		}
	}
	return unread
}

// classify decides from its ancestors whether a process belongs to the tree.
func (t *Tree) classify(n *scanNode, depth int) membership {
	if n.membership != undecided {
		return n.membership
	}
	n.membership = undetermined // and stays so if reused pids form a cycle
	parent := n.PPID
	if _, known := t.index[parent]; known || parent == t.rootPID {
		n.membership = descendant
	} else if _, known := t.scan.unrelated[parent]; known || parent == 0 {
		n.membership = unrelated
	} else if p := t.scan.nodes[parent]; p != nil && depth < maxAncestors {
		n.membership = t.classify(p, depth+1)
	} else if depth < maxAncestors {
		// The parent has ended since: find the process's new parent.
		if s, err := readStat(t.procRoot, n.PID, t.buf[:]); err == nil && s.startTicks == n.StartTicks && s.ppid != parent {
			n.PPID, n.membership = s.ppid, undecided
			return t.classify(n, depth+1)
		}
	}
	return n.membership
}
