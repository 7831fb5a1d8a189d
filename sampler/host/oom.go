package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/proc"
)

// oomCounter is one reading of how many processes of a cgroup the kernel has killed for lack
// of memory, whether the cgroup's own limit or the host's memory was exhausted.
type oomCounter struct {
	dir   string // the cgroup's directory
	v2    bool
	own   bool // it is this process's own cgroup, not one above it
	kills uint64
}

// readOOMCounter reads the counter of this process's cgroup, which is the command's, too, or of
// the nearest one above it that has a counter. It is oom_kill in memory.events (version 2,
// Linux 4.13), which includes the cgroups below, or in memory.oom_control (version 1, Linux
// 4.13): Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst.
func readOOMCounter(paths cgroupPaths, mounts []cgroupMount, mountPrefix string) (oomCounter, error) {
	dirs, v2, err := cgroupDirs(paths, mounts, mountPrefix, "memory")
	if err != nil {
		return oomCounter{}, err
	}
	for i, dir := range dirs {
		kills, err := readOOMKills(dir, v2)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return oomCounter{dir, v2, i == 0, kills}, err
		}
	}
	return oomCounter{}, errors.New("no cgroup of this process counts processes that are killed for lack of memory")
}

// readOOMKills reads the counter of one cgroup. The error is fs.ErrNotExist if it has none.
func readOOMKills(dir string, v2 bool) (uint64, error) {
	name := "memory.events"
	if !v2 {
		name = "memory.oom_control"
	}
	path := filepath.Join(dir, name)
	data, err := proc.ReadFile(path, proc.MaxSmallFile)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		key, rest := proc.NextField(line)
		if string(key) != "oom_kill" {
			continue
		}
		text, _ := proc.NextField(rest)
		n, ok := proc.ParseUint(text)
		if !ok {
			return 0, fmt.Errorf("%s: %q is not a number of processes", path, text)
		}
		return n, nil
	}
	return 0, fmt.Errorf("%s has no oom_kill: %w", path, fs.ErrNotExist)
}

// OOMKills is what the counter of the command's cgroup shows.
type OOMKills struct {
	// Count is how many processes were killed for lack of memory since the start.
	Count int64
	// Shared reports whether the cgroup has processes that are neither the command's, nor
	// vobs, nor those that started vobs, or may have: the counter of a cgroup above counts
	// those of others. If none were killed, it is false.
	Shared bool
}

// OOMKills returns how many processes in the command's cgroup were killed for lack of memory
// since the start.
func (s *Sampler) OOMKills() (OOMKills, error) {
	s.mu.Lock()
	before, err := s.static.oom, s.static.oomErr
	s.mu.Unlock()
	if err != nil {
		return OOMKills{}, err
	}
	return bounded.Call("the counters of the cgroup", lastReadTimeout, func() (OOMKills, error) {
		kills, err := readOOMKills(before.dir, before.v2)
		switch {
		case err != nil:
			return OOMKills{}, err
		case kills < before.kills:
			return OOMKills{}, fmt.Errorf("the counter of the cgroup at %s restarted", before.dir)
		case kills == before.kills:
			return OOMKills{}, nil
		}
		return OOMKills{Count: int64(kills - before.kills), Shared: !before.own || s.sharesCgroup(before.dir)}, nil
	})
}

// sharesCgroup reports whether a cgroup has processes that are neither the command's, nor
// vobs, nor ancestors of vobs. It is true if that is unknown.
func (s *Sampler) sharesCgroup(dir string) bool {
	data, err := proc.ReadFile(filepath.Join(dir, "cgroup.procs"), proc.MaxTableFile)
	if err != nil {
		return true
	}
	known := s.tree.PIDs()
	for pid := s.cfg.RootPID; pid > 0 && !known[pid]; {
		known[pid] = true
		p, err := proc.Read(s.cfg.ProcRoot, pid)
		if err != nil {
			break
		}
		pid = p.PPID
	}
	for text := range bytes.FieldsSeq(data) {
		if pid, ok := proc.ParseUint(text); !ok || !known[int(pid)] {
			return true
		}
	}
	return false
}
