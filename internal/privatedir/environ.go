package privatedir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/proc"
)

const (
	// maxEnviron, in bytes, suffices for every environment: the kernel limits it to 6 MiB
	// (execve(2)).
	maxEnviron = 16 << 20
	// maxAncestors bounds the ancestors of a process that are read.
	maxAncestors = 32
)

// dirsOf returns which of the directories a process may use, and whether that is certain.
func dirsOf(procRoot string, p proc.Process, dirs []abandoned) (paths []string, certain bool, err error) {
	root := filepath.Join(procRoot, strconv.Itoa(p.PID))
	environ, err := proc.ReadFile(filepath.Join(root, "environ"), maxEnviron)
	switch {
	case errors.Is(err, fs.ErrPermission):
		// Of another user's processes only root's can enter the directory, and those that
		// a command left are in the lease.
		ours, err := hasUser(root, os.Geteuid())
		if !ours || slices.Contains(hidden, p.Comm) {
			return nil, false, err
		}
		return pathsOf(dirs), false, nil
	case errors.Is(err, unix.ESRCH): // Linux 6.18 answers so for threads of the kernel
		environ = nil
	case err != nil:
		return nil, false, err
	}
	paths = named(environ, dirs)
	if len(paths) > 0 || !isOverwritten(environ) {
		return paths, true, nil
	}
	exe, err := os.Readlink(filepath.Join(root, "exe"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, errNoProgram
	case err == nil && len(environ) == 0:
		if args, err := proc.CommandLine(procRoot, p.PID); err != nil || args == nil {
			return nil, false, errStarting
		}
	}
	if err == nil && !isPython(exe) {
		return nil, false, nil
	}
	return inherited(procRoot, p, dirs), false, nil
}

var (
	// errStarting means that a process is just starting a program, whose environment is not
	// there yet.
	errStarting = errors.New("the process is starting a program")
	// errNoProgram means that a process runs no program: it is a thread of the kernel, or it
	// is ending.
	errNoProgram = errors.New("the process runs no program")
)

// inherited returns which of the directories a process with an unknown environment may have
// inherited: those that its next ancestor with a known environment has. An ancestor that is
// older than a directory does not have it. If an ancestor may be one that adopted the
// process, anything may have been inherited.
func inherited(procRoot string, p proc.Process, dirs []abandoned) (paths []string) {
	dirs = slices.Clone(dirs)
	for range maxAncestors {
		root := filepath.Join(procRoot, strconv.Itoa(p.PPID))
		parent, err := proc.Read(procRoot, p.PPID)
		if err != nil || parent.PID == 1 || !adoptsNone(root) {
			break
		}
		dirs = slices.DeleteFunc(dirs, func(d abandoned) bool { return parent.StartTicks < d.start })
		if len(dirs) == 0 {
			return nil
		}
		environ, err := proc.ReadFile(filepath.Join(root, "environ"), maxEnviron)
		if err != nil {
			break
		}
		if !isOverwritten(environ) {
			return named(environ, dirs)
		}
		p = parent
	}
	return pathsOf(dirs)
}

func pathsOf(dirs []abandoned) (paths []string) {
	for _, d := range dirs {
		paths = append(paths, d.path)
	}
	return paths
}

// named returns which of the directories are named in an environment.
func named(environ []byte, dirs []abandoned) (paths []string) {
	for _, path := range pathsOf(dirs) {
		if bytes.Contains(environ, []byte(path)) {
			paths = append(paths, path)
		}
	}
	return paths
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
	ids, _ := proc.StatusField(status, "Uid")
	return slices.Contains(strings.Fields(string(ids)), strconv.Itoa(uid)), nil
}

// isOverwritten reports whether an environment may have been overwritten by a title
// (setproctitle, which vLLM's processes use). One without variables looks the same.
func isOverwritten(environ []byte) bool {
	first, _, _ := bytes.Cut(environ, []byte{0})
	return bytes.IndexByte(first, '=') <= 0
}

// isPython reports whether a program runs Python: only Python reads the variables that name
// the directories. Others pass them on, which shows in the environment of what they start.
func isPython(exe string) bool {
	name := filepath.Base(exe)
	return strings.Contains(name, "py") || strings.Contains(name, "vllm")
}

// adoptsNone reports whether a process is known not to adopt orphans (PR_SET_CHILD_SUBREAPER,
// prctl(2)): neither Python nor a shell does.
func adoptsNone(root string) bool {
	exe, err := os.Readlink(filepath.Join(root, "exe"))
	return err == nil && (isPython(exe) || slices.Contains([]string{"sh", "bash", "dash", "zsh", "ksh", "fish"}, filepath.Base(exe)))
}
