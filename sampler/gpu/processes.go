package gpu

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/proc"
)

// deviceProcesses is what the process lists of one device have shown. Sampler.mu guards
// it.
type deviceProcesses struct {
	lists         int       // process lists read
	firstListAt   time.Time // when the first one was read
	listErr       error     // why the last attempt to read one failed
	lastList      []process
	firstPIDs     []int // in the first list
	seen          map[int]*seenProcess
	highestSum    uint64 // highest sum of the processes' memory in a list, bytes
	memoryUnknown bool   // the driver did not report the memory of some process
	jobPeak       uint64 // highest sum of the owned processes' memory in a list, bytes
}

// seenProcess is a process that was listed on a device.
type seenProcess struct {
	name        string // "" if it could not be read
	peak        uint64 // bytes
	memoryKnown bool   // peak has at least one reading
}

// pidEvidence is evidence that NVML's pids are from another pid namespace than ours.
type pidEvidence struct {
	absent    map[int]bool // in the last list and not in ProcRoot
	unseenPID int          // absent in two successive lists; 0: none
}

// readProcesses lists the processes on every device, then determines which are owned: in
// this order, because the parent of a listed process is then known.
func (s *Sampler) readProcesses(kind roundKind) {
	lists := make([][]process, len(s.devices))
	errs := make([]error, len(s.devices))
	for i, d := range s.devices {
		compute, err := d.dev.processes(false)
		var graphics []process
		if err == nil && kind == periodicRound {
			// A failure does not matter here: vobs is about compute processes.
			graphics, _ = d.dev.processes(true)
		}
		lists[i], errs[i] = mergeProcesses(compute, graphics), err
	}
	var owned map[int]bool
	if s.cfg.OwnedPIDs != nil {
		owned = s.cfg.OwnedPIDs()
	}
	owned = withPIDs(owned, s.newDescendants(lists, owned))
	owned = withPIDs(owned, s.findWorkers(lists, owned))
	s.mu.Lock()
	s.markOwned(lists, owned)
	s.mu.Unlock()

	names, absent := s.resolveNames(lists)
	s.mu.Lock()
	defer s.mu.Unlock()
	for pid := range absent {
		if s.pids.absent[pid] {
			s.pids.unseenPID = pid
		}
	}
	s.pids.absent = absent
	for i, d := range s.devices {
		if errs[i] != nil {
			d.listErr = errs[i]
			if !errors.Is(errs[i], errUnsupported) {
				d.errors++
			}
			continue
		}
		d.addList(lists[i], names, s.owned)
	}
}

// withPIDs returns owned with further pids. It does not change owned.
func withPIDs(owned map[int]bool, pids []int) map[int]bool {
	if len(pids) == 0 {
		return owned
	}
	all := make(map[int]bool, len(owned)+len(pids))
	maps.Copy(all, owned)
	for _, pid := range pids {
		all[pid] = true
	}
	return all
}

// newDescendants returns listed processes of the command that owned does not include
// yet. It checks each process only the first time that it is listed: one that is not the
// command's never becomes so.
func (s *Sampler) newDescendants(lists [][]process, owned map[int]bool) (pids []int) {
	if s.cfg.Descends == nil {
		return nil
	}
	var unknown []int
	s.mu.Lock()
	for i, d := range s.devices {
		for _, p := range lists[i] {
			if !owned[p.pid] && d.seen[p.pid] == nil {
				unknown = append(unknown, p.pid)
			}
		}
	}
	s.mu.Unlock()
	for _, pid := range unknown {
		if s.cfg.Descends(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// findWorkers returns the listed processes that work for the command although neither owned nor
// an earlier round includes them, and records of which that is unknown.
func (s *Sampler) findWorkers(lists [][]process, owned map[int]bool) []int {
	if s.cfg.Workers == nil {
		return nil
	}
	foreign := map[int]bool{}
	s.mu.Lock()
	for _, list := range lists {
		for _, p := range list {
			if !owned[p.pid] && !s.owned[p.pid] && !s.prevOwned[p.pid] {
				foreign[p.pid] = true
			}
		}
	}
	s.mu.Unlock()
	if len(foreign) == 0 {
		return nil
	}
	pids := slices.Sorted(maps.Keys(foreign))
	workers, unknown := s.cfg.Workers(pids)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pid := range pids {
		delete(s.undetermined, pid)
	}
	maps.Copy(s.undetermined, unknown)
	return workers
}

// whyUndetermined returns why it is unknown whether one of the processes on a device works for
// the command, or "". The caller holds s.mu.
func (s *Sampler) whyUndetermined(d *deviceState) string {
	for _, pid := range slices.Sorted(maps.Keys(d.seen)) {
		if why := s.undetermined[pid]; why != "" && !s.owned[pid] {
			return why
		}
	}
	return ""
}

// markOwned marks the processes that a device has listed, now or before, and that are
// owned now or were the previous time: one may have ended since it was listed. It keeps
// no other pids: a command may start millions of processes. The caller holds s.mu.
func (s *Sampler) markOwned(lists [][]process, owned map[int]bool) {
	mark := func(pid int) {
		if owned[pid] || s.prevOwned[pid] {
			s.owned[pid] = true
		}
	}
	for i, d := range s.devices {
		for _, p := range lists[i] {
			mark(p.pid)
		}
		for pid := range d.seen {
			mark(pid)
		}
	}
	s.prevOwned = owned
	s.hasOwned = s.hasOwned || len(owned) > 0
}

// mergeProcesses merges the lists of compute and graphics processes into one entry per
// process. A process in both lists has the same memory in both; several entries in the
// compute list add up.
func mergeProcesses(compute, graphics []process) []process {
	var out []process
	index := map[int]int{}
	for _, p := range compute {
		i, ok := index[p.pid]
		if !ok {
			index[p.pid] = len(out)
			out = append(out, p)
			continue
		}
		out[i].memory += p.memory
		out[i].memoryKnown = out[i].memoryKnown && p.memoryKnown
	}
	for _, p := range graphics {
		i, ok := index[p.pid]
		if !ok {
			index[p.pid] = len(out)
			out = append(out, p)
			continue
		}
		out[i].memory = max(out[i].memory, p.memory)
	}
	for i := range out {
		if !out[i].memoryKnown {
			out[i].memory = 0
		}
	}
	return out
}

// resolveNames returns the names of listed processes that are not owned and not yet
// named, and those that procfs lacks.
func (s *Sampler) resolveNames(lists [][]process) (names map[int]string, absent map[int]bool) {
	names, absent = map[int]string{}, map[int]bool{}
	s.mu.Lock()
	unnamed := map[int]bool{}
	for i, d := range s.devices {
		for _, p := range lists[i] {
			if s.owned[p.pid] {
				continue
			}
			if seen := d.seen[p.pid]; seen != nil && seen.name != "" {
				continue // procfs had it, so it is no evidence of another pid namespace
			}
			unnamed[p.pid] = true
		}
	}
	s.mu.Unlock()
	for pid := range unnamed {
		dir := filepath.Join(s.cfg.ProcRoot, strconv.Itoa(pid))
		comm, err := bounded.Call(dir, nameTimeout, func() ([]byte, error) {
			if _, err := os.Lstat(dir); err != nil {
				return nil, err
			}
			comm, _ := proc.ReadFile(filepath.Join(dir, "comm"), proc.MaxSmallFile)
			return comm, nil
		})
		switch {
		case errors.Is(err, os.ErrNotExist):
			absent[pid] = true
		case comm != nil:
			names[pid] = strings.ToValidUTF8(strings.TrimSuffix(string(comm), "\n"), "\uFFFD")
		}
	}
	return names, absent
}

// nameTimeout is how long the name of a process may take.
const nameTimeout = 200 * time.Millisecond

// addList adds one process list of the device.
func (d *deviceProcesses) addList(list []process, names map[int]string, owned map[int]bool) {
	d.listErr = nil
	d.lastList = list
	if d.lists++; d.lists == 1 {
		d.firstListAt = time.Now()
	}
	var sum, job uint64
	for _, p := range list {
		seen := d.seen[p.pid]
		if seen == nil {
			seen = &seenProcess{}
			d.seen[p.pid] = seen
		}
		if name := names[p.pid]; name != "" {
			seen.name = name
		}
		if d.lists == 1 {
			d.firstPIDs = append(d.firstPIDs, p.pid)
		}
		if !p.memoryKnown {
			d.memoryUnknown = true
			continue
		}
		seen.memoryKnown = true
		seen.peak = max(seen.peak, p.memory)
		sum += p.memory
		if owned[p.pid] {
			job += p.memory
		}
	}
	d.highestSum = max(d.highestSum, sum)
	d.jobPeak = max(d.jobPeak, job)
}

// MemoryOf returns the memory, in bytes, that processes had on the sampled GPUs when the
// driver last listed them: 0 for a process that it did not list. A process whose memory
// the driver does not report is left out. The result is nil if nothing is known, or if
// the driver's pids cannot be matched.
func (s *Sampler) MemoryOf(pids map[int]bool) map[int]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.devices) == 0 || s.watcher == nil || s.whyUnmatched() != "" {
		return nil
	}
	sum, unknown := map[int]int64{}, map[int]bool{}
	memory, _ := s.watcher.read()
	for i, d := range s.devices {
		if d.lists == 0 {
			return nil
		}
		for _, p := range d.lastList {
			sum[p.pid] += int64(p.memory)
			unknown[p.pid] = unknown[p.pid] || !p.memoryKnown || memory[i].exceeded(p.memory)
		}
	}
	out := map[int]int64{}
	for pid := range pids {
		if pids[pid] && !unknown[pid] {
			out[pid] = sum[pid]
		}
	}
	return out
}

// whyUnmatched returns why NVML's pids cannot be matched with the command's, or "". The
// caller holds s.mu.
func (s *Sampler) whyUnmatched() string {
	if s.cfg.PIDsMatch != nil {
		if s.cfg.PIDsMatch() {
			return ""
		}
		return "the driver's process ids cannot be matched with the command's: they are from another pid namespace (in a container, use --pid=host), or the command runs its work elsewhere"
	}
	for _, d := range s.devices {
		for pid := range d.seen {
			if s.owned[pid] {
				return ""
			}
		}
	}
	unseen := s.pids.unseenPID
	for pid := range s.pids.absent {
		if unseen == 0 || pid < unseen {
			unseen = pid
		}
	}
	if unseen != 0 {
		return fmt.Sprintf("the driver lists process %d, which %s does not have: its ids are from another pid namespace (in a container, use --pid=host), or /proc hides other users' processes", unseen, s.cfg.ProcRoot)
	}
	return ""
}
