package privatedir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/proc"
)

const (
	// sweepTimeout bounds a sweep: reading a process can hang as long as that process
	// hangs in the kernel.
	sweepTimeout = time.Second
	// maxScans is how often the processes are read if some of them ended meanwhile: these
	// may have left children that the list does not have.
	maxScans = 3
	// maxEnviron, in bytes, suffices for every environment: the kernel limits it to 6 MiB
	// (execve(2)).
	maxEnviron = 16 << 20
)

// Sweep removes the directories that earlier runs left behind and that no process uses any
// more. It removes only directories of this user that were made in this boot and in this pid
// namespace: of others it cannot know who uses them. What it removes is reported to debug.
func Sweep(debug func(string)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil { // the run is over: nothing may change how it ends
				debug(fmt.Sprintf("panic: %v", p))
			}
		}()
		for _, p := range places() {
			if home, err := p.home(false); err == nil {
				sweep("/proc", home, debug)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(sweepTimeout):
		debug("looking for directories of earlier runs took too long and was given up")
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
		if used[d.path] {
			debug(d.path + " of an earlier run stays: a process uses it")
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

// errProcessesChange means that processes ended during each scan.
var errProcessesChange = errors.New("processes end too quickly to read them all")

// usedDirs returns which directories a living process uses.
func usedDirs(procRoot string, dirs []abandoned) (map[string]bool, error) {
	for range maxScans {
		used, complete, err := scan(procRoot, dirs)
		if err != nil || complete || len(used) == len(dirs) {
			return used, err
		}
	}
	return nil, errProcessesChange
}

// scan looks for the directories in the environment of every process. complete is false if
// a process ended meanwhile.
func scan(procRoot string, dirs []abandoned) (used map[string]bool, complete bool, err error) {
	entries, err := os.ReadDir(procRoot)
	if err != nil {
		return nil, false, err
	}
	used, complete = map[string]bool{}, true
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := proc.Read(procRoot, pid)
		if err != nil {
			if _, err := os.Lstat(filepath.Join(procRoot, e.Name())); err != nil {
				complete = false // gone; a zombie is still there
			}
			continue
		}
		candidates := slices.DeleteFunc(slices.Clone(dirs), func(d abandoned) bool { return used[d.path] || p.StartTicks < d.start })
		if len(candidates) == 0 {
			continue
		}
		switch uses, err := usersOf(procRoot, p, candidates); {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH):
			complete = false
		case err != nil:
			return nil, false, err
		default:
			for _, path := range uses {
				used[path] = true
			}
		}
	}
	return used, complete, nil
}

// usersOf returns which of the directories a process may use.
func usersOf(procRoot string, p proc.Process, dirs []abandoned) (paths []string, err error) {
	all := make([]string, len(dirs))
	for i, d := range dirs {
		all[i] = d.path
	}
	root := filepath.Join(procRoot, strconv.Itoa(p.PID))
	environ, err := proc.ReadFile(filepath.Join(root, "environ"), maxEnviron)
	switch {
	case errors.Is(err, fs.ErrPermission):
		// Of another user's processes only root's can enter the directory, and those that
		// a command left are in the lease.
		ours, err := hasUser(root, os.Geteuid())
		if !ours || slices.Contains(hidden, p.Comm) {
			return nil, err
		}
		return all, nil
	case err != nil:
		return nil, err
	}
	for _, path := range all {
		if bytes.Contains(environ, []byte(path)) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 && isOverwritten(environ) && isPython(root) {
		return all, nil
	}
	return paths, nil
}

// hidden are the names of common processes of a user that let nobody read them and run no
// Python themselves; the shells that sshd starts can be read.
var hidden = []string{"sshd", "sshd-session", "ssh-agent", "gpg-agent", "(sd-pam)"}

// hasUser reports whether a process has a user id (real, effective, saved or for files).
func hasUser(root string, uid int) (bool, error) {
	status, err := proc.ReadFile(filepath.Join(root, "status"), proc.MaxSmallFile)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			return slices.Contains(strings.Fields(ids), strconv.Itoa(uid)), nil
		}
	}
	return false, nil
}

// isOverwritten reports whether an environment may have been overwritten by a title
// (setproctitle, which vLLM's processes use). A process without variables looks the same.
func isOverwritten(environ []byte) bool {
	first, _, _ := bytes.Cut(environ, []byte{0})
	return bytes.IndexByte(first, '=') <= 0
}

// isPython reports whether a process runs Python, or may do so: only Python reads the
// variables that name the directories. Others pass them on, which shows in the environment
// of what they start.
func isPython(root string) bool {
	exe, err := os.Readlink(filepath.Join(root, "exe"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false // a thread of the kernel
	case err != nil:
		return true
	}
	name := filepath.Base(exe)
	return strings.Contains(name, "py") || strings.Contains(name, "vllm")
}
