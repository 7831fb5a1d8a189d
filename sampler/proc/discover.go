package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// scanState is what a Tree remembers between two discoveries.
type scanState struct {
	keptFDs int
	passes  int  // discoveries so far
	lastPID int  // the id last handed out before the latest discovery; 0: not known
	settled bool // the latest discovery found lastPID unchanged, and looked nevertheless

	// Walking children lists.
	noChildLists bool // the kernel has none
	threads      int  // Threads asked in the latest walk

	// Going over /proc. outsiders are the processes seen that are none of ours,
	// with the number of the pass that listed them last.
	unrelated map[int]int
	pids      []int
	nodes     map[int]*scanNode
}

// scanNode is a process read in one pass, and what is known of its descent.
type scanNode struct {
	Process
	membership membership
}

type membership uint8

const (
	undecided membership = iota
	ours
	unrelated
	// unknown: its parent ended while /proc was read, so that its parent is another
	// one now. The next pass looks again.
	undetermined
)

const (
	// fullEvery is the number of discoveries of which one takes nothing for known:
	// the remedy for a pid that an outsider gave back and a process of ours got
	// while nobody looked.
	fullEvery = 8
	// maxListThreads is the number of children lists up to which walking them is
	// the cheaper way. A list costs an open, two reads and a close (about 5 µs on
	// the machine where this was measured), an entry of /proc that was seen before
	// about 0.4 µs, one that was not 4 µs; a vLLM server has some hundred threads.
	maxListThreads = 32
)

func (t *Tree) discover() error {
	// A member whose pid is another's by now must not vouch for that one.
	t.refresh()
	s := &t.scan
	last := t.readLastPID()
	full := s.passes%fullEvery == 0 || last == 0 || last < s.lastPID || t.rootPID == 1
	s.passes++
	// A process has its id for some microseconds before it can be seen, so an id
	// that did not change is no news only after one more look.
	if !full && last == s.lastPID && s.settled {
		return nil
	}
	// Remembered is the value before the reading: what starts meanwhile has a
	// greater id and is looked for the next time.
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

// readLastPID reads the id handed out last; 0 when it is not known.
func (t *Tree) readLastPID() int {
	n, err := readOnce(filepath.Join(t.procRoot, "loadavg"), t.buf[:])
	if err != nil {
		return 0
	}
	return ParseLastPID(t.buf[:n])
}

// walkChildren walks the children lists from the root down, and from known
// processes that are no longer below it. The kernel may leave out a child when a
// sibling ends during the read (proc_pid_task(5)); known ones are kept, and the
// next walk finds it.
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
				err = fmt.Errorf("read a children list: %w", readErr)
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

// maxWalk ends a walk through children lists that never end.
const maxWalk = 1 << 20

// addChild takes a process found in a children list into the set; false when it
// was known (and has its place in the walk) or has ended.
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

// scanProc goes over /proc and links the processes by their parents' ids.
func (t *Tree) scanProc(full bool) error {
	s := &t.scan
	pids, err := listPIDs(t.procRoot, s.pids[:0])
	s.pids = pids[:0]
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list the processes in %s: %w (%w)", t.procRoot, ErrNoProc, err)
	}
	if err != nil {
		return fmt.Errorf("list the processes in %s: %w", t.procRoot, err)
	}
	if s.unrelated == nil {
		s.unrelated, s.nodes = make(map[int]int), make(map[int]*scanNode)
	}
	clear(s.nodes)
	if full {
		clear(s.unrelated)
	}
	var firstErr error
	for _, pid := range pids {
		if _, known := t.index[pid]; known || pid == t.rootPID {
			continue
		}
		if _, known := s.unrelated[pid]; known {
			s.unrelated[pid] = s.passes
			continue
		}
		stat, err := readStat(t.procRoot, pid, t.buf[:])
		switch {
		case err == nil:
			s.nodes[pid] = &scanNode{Process: processOf(stat)}
		case errors.Is(err, fs.ErrPermission):
			// Mounted with hidepid, /proc hides other users' processes: hardly ours.
			s.unrelated[pid] = s.passes
		case !gone(err) && firstErr == nil:
			firstErr = fmt.Errorf("read the status of a process: %w", err)
		}
	}
	for pid, seen := range s.unrelated {
		if seen != s.passes {
			delete(s.unrelated, pid) // ended; its pid may be used again
		}
	}
	for _, pid := range pids {
		n := s.nodes[pid]
		if n == nil {
			continue
		}
		switch t.classify(n, 0) {
		case ours:
			t.add(n.Process)
		case unrelated:
			s.unrelated[pid] = s.passes
		}
	}
	return firstErr
}

// classify decides by its parents whether a process is ours.
func (t *Tree) classify(n *scanNode, depth int) membership {
	if n.membership != undecided {
		return n.membership
	}
	n.membership = undetermined // and stays so in a circle of ids used again
	parent := n.PPID
	if _, known := t.index[parent]; known || parent == t.rootPID {
		n.membership = ours
	} else if _, known := t.scan.unrelated[parent]; known || parent == 0 {
		n.membership = unrelated
	} else if p := t.scan.nodes[parent]; p != nil && depth < maxAncestors {
		n.membership = t.classify(p, depth+1)
	} else if depth < maxAncestors {
		// The parent has ended since: whom was the process handed to?
		if s, err := readStat(t.procRoot, n.PID, t.buf[:]); err == nil && s.startTicks == n.StartTicks && s.ppid != parent {
			n.PPID, n.membership = s.ppid, undecided
			return t.classify(n, depth+1)
		}
	}
	return n.membership
}
