package privatedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/proc"
)

const (
	// sweepTimeout bounds a sweep: reading a process can hang as long as that process
	// hangs in the kernel.
	sweepTimeout = time.Second
	// maxPasses is how often the processes that are new since the pass before are read, with
	// passPause between two passes.
	maxPasses = 50
	passPause = 2 * time.Millisecond
)

// Sweep removes the directories that earlier runs left behind and that no process uses any
// more. It removes only directories of this user that were made in this boot and in this pid
// namespace: of others it cannot know who uses them. What it removes is reported to debug.
func Sweep(debug func(string)) {
	// The run is over: neither a panic nor a file that hangs may change how it ends.
	_, err := bounded.Call("the directories of earlier runs", sweepTimeout, func() (struct{}, error) {
		for _, p := range places() {
			if home, err := p.home(false); err == nil {
				sweep("/proc", home, debug)
			}
		}
		return struct{}{}, nil
	})
	if err != nil {
		debug(err.Error())
	}
}

// abandoned is a directory none of whose recorded users lives.
type abandoned struct {
	path  string
	start uint64 // the start of the vobs that made it: older processes cannot know its path
}

func sweep(procRoot, home string, debug func(string)) {
	dirs := abandonedIn(procRoot, home)
	if len(dirs) == 0 {
		return
	}
	used, err := usedDirs(procRoot, dirs)
	if err != nil {
		debug(fmt.Sprintf("directories of earlier runs stay in %s: %v", home, err))
		return
	}
	for _, d := range dirs {
		if user, ok := used[d.path]; ok {
			debug(fmt.Sprintf("%s of an earlier run stays: process %d may use it", d.path, user.PID))
			if user.certain {
				_ = Leave(d.path, []proc.Process{user.Process}) // so that nothing is scanned while it lives
			}
			continue
		}
		if err := Remove(d.path); err != nil {
			debug(fmt.Sprintf("removing a directory of an earlier run: %v", err))
			continue
		}
		debug("removed " + d.path + ", which an earlier run had left")
	}
}

// abandonedIn lists the directories in the user's directory that may be unused.
func abandonedIn(procRoot, home string) (dirs []abandoned) {
	place := here(procRoot)
	entries, err := os.ReadDir(home)
	if place == nil || err != nil {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(home, e.Name())
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || ownerOf(info) != os.Geteuid() {
			continue
		}
		if l := readLease(path); l.samePlace(place) && !l.hasUsers(procRoot) {
			dirs = append(dirs, abandoned{path, l.Processes[0].StartTicks})
		}
	}
	return dirs
}

// errProcessesChange means that processes ended in each pass before they could be read.
var errProcessesChange = errors.New("processes end too quickly to be read")

// user is a process that uses a directory.
type user struct {
	proc.Process
	certain bool // the directory is in its environment
}

// usedDirs returns for each directory that a living process may use one such process. A process
// has a directory's path from its parent. One that ends before it is read may leave a child
// that was not listed yet, so new processes are read until a pass misses none.
func usedDirs(procRoot string, dirs []abandoned) (map[string]user, error) {
	s := scan{procRoot: procRoot, dirs: dirs, known: map[process]bool{}, ended: map[int]bool{}, used: map[string]user{}}
	for range maxPasses {
		missed, err := s.pass()
		if err != nil || !missed || len(s.used) == len(dirs) {
			return s.used, err
		}
		time.Sleep(passPause)
	}
	return nil, errProcessesChange
}

// scan looks for directories in the environments of all processes.
type scan struct {
	procRoot string
	dirs     []abandoned
	known    map[process]bool // that have been read
	ended    map[int]bool     // by pid
	used     map[string]user  // by path
}

// pass reads the processes that are not known yet, and reports whether it missed one.
func (s *scan) pass() (missed bool, err error) {
	entries, err := os.ReadDir(s.procRoot)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := proc.Read(s.procRoot, pid)
		if err != nil {
			missed = s.sawEnded(pid) || missed // it is gone, or a zombie
			continue
		}
		if s.known[process{p.PID, p.StartTicks}] {
			continue
		}
		switch err := s.read(p); {
		case errors.Is(err, errNoProgram):
			missed = s.sawEnded(pid) || missed
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH), errors.Is(err, errStarting):
			missed = true
		case err != nil:
			return false, err
		default:
			s.known[process{p.PID, p.StartTicks}] = true
		}
	}
	return missed, nil
}

// sawEnded records that a process has ended, and reports whether this is new: it may have left
// a child after the processes were listed.
func (s *scan) sawEnded(pid int) (isNew bool) {
	isNew = !s.ended[pid]
	s.ended[pid] = true
	return isNew
}

// read records which directories a process may use.
func (s *scan) read(p proc.Process) error {
	candidates := slices.DeleteFunc(slices.Clone(s.dirs), func(d abandoned) bool { return has(s.used, d.path) || p.StartTicks < d.start })
	if len(candidates) == 0 {
		return nil
	}
	paths, certain, err := dirsOf(s.procRoot, p, candidates)
	for _, path := range paths {
		s.used[path] = user{p, certain}
	}
	return err
}

func has(used map[string]user, path string) bool {
	_, ok := used[path]
	return ok
}
