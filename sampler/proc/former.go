package proc

import "slices"

// maxFormer is how many of the processes that have ended a Tree remembers.
const maxFormer = 1024

// formerPIDs are the pids of the processes of a Tree that ended last.
type formerPIDs struct {
	pids []int
	next int // the one to overwrite once there are maxFormer
}

func (f *formerPIDs) add(pid int) {
	if len(f.pids) < maxFormer {
		f.pids = append(f.pids, pid)
		return
	}
	f.pids[f.next] = pid
	f.next = (f.next + 1) % maxFormer
}

// Had reports whether a process with this pid belongs to the tree, or is one of the last 1024 that
// belonged to it and ended. It reads nothing.
func (t *Tree) Had(pid int) bool {
	t.pidsMu.Lock()
	defer t.pidsMu.Unlock()
	return t.pids[pid] || slices.Contains(t.former.pids, pid)
}
