package child

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// A StartError is a command that could not be run.
type StartError struct {
	// Code is the exit code that a shell, env(1) and timeout(1) give: 127 where
	// the command, or the interpreter it names, was not found, 126 where it was
	// found and could not be executed.
	Code int
	// Err says what was tried and why it failed.
	Err error
	// Hint says what to do about it; it may be empty.
	Hint string
}

// Error is the message with its hint.
func (e *StartError) Error() string {
	if e.Hint == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Hint
}

// Unwrap gives Err, which wraps the kernel's error number where there is one.
func (e *StartError) Unwrap() error { return e.Err }

// Environ is the environment that vobs was started with, for the command.
// os.Environ drops what is odd (a second value of one name, empty entries);
// the command gets that too. Only where vobs changed its own environment does
// os.Environ count.
func Environ() []string {
	raw, ok := initialEnviron()
	if !ok {
		return os.Environ()
	}
	// What os.Environ makes of raw (Go's syscall.copyenv): the first entry of
	// each name, entries without a name as they are, empty ones dropped.
	seen := make(map[string]bool, len(raw))
	now := os.Environ()
	i := 0
	for _, entry := range raw {
		if entry == "" {
			continue
		}
		if name, _, ok := strings.Cut(entry, "="); ok {
			if seen[name] {
				continue
			}
			seen[name] = true
		}
		if i >= len(now) || now[i] != entry {
			return os.Environ()
		}
		i++
	}
	if i != len(now) {
		return os.Environ()
	}
	return raw
}

// StreamClosed tells whether the standard stream fd was closed when vobs was
// started. The Go runtime puts /dev/null in its place, so that what is written
// there is lost without an error. Without cgo it is not known: false.
func StreamClosed(fd int) bool { return closedAtStart(fd) }

// spawn starts the command with the files, group and terminal of vobs, and
// gives its pid.
//
// It is syscall.ForkExec and not os.StartProcess, which is a thin layer on it:
// the os.Process would only be released again, and the process descriptor it
// opens be closed. The limit on open files, which the Go runtime raises for
// itself, is set back for the command by syscall.
func spawn(s Spec) (int, error) {
	name := s.Args[0]
	env := s.Env
	if env == nil {
		env = Environ()
	}
	attr := &syscall.ProcAttr{Env: env, Files: []uintptr{0, s.Stdout.Fd(), 2}}
	defer runtime.KeepAlive(s.Stdout)
	for i, fd := range attr.Files {
		if fd < 3 && closedAtStart(int(fd)) {
			attr.Files[i] = ^uintptr(0) // closed for the command too
		}
	}

	if strings.Contains(name, "/") {
		pid, err := forkExec(name, s.Args, attr)
		if err != nil {
			return 0, explain(name, name, err)
		}
		return pid, nil
	}
	var failed error // what is told if nothing in PATH could be run
	denied := false
	for _, path := range candidates(name, env) {
		var st syscall.Stat_t
		err := syscall.Stat(path, &st)
		there := err == nil
		if there {
			var pid int
			if pid, err = forkExec(path, s.Args, attr); err == nil {
				return pid, nil
			}
		}
		// As execvp(3): look further, but remember that one was found.
		switch {
		case errors.Is(err, syscall.EACCES):
			if !denied {
				failed, denied = explain(name, path, err), true
			}
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ESTALE),
			errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ETIMEDOUT):
			if there && failed == nil { // a script whose interpreter is missing
				failed = explain(name, path, err)
			}
		case there:
			return 0, explain(name, path, err)
		}
	}
	if failed != nil {
		return 0, failed
	}
	return 0, notFound(name, env)
}

func forkExec(path string, args []string, attr *syscall.ProcAttr) (pid int, err error) {
	withInheritedMask(func() { pid, err = syscall.ForkExec(path, args, attr) })
	return pid, err
}

// candidates are the paths that execvp(3) tries for name: an empty entry of
// PATH is the current folder, and without PATH it is glibc's default.
func candidates(name string, env []string) []string {
	if name == "" {
		return nil
	}
	path, ok := lookup(env, "PATH")
	if !ok {
		path = "/bin:/usr/bin"
	}
	var paths []string
	for _, dir := range strings.Split(path, ":") {
		if dir == "" {
			paths = append(paths, name)
		} else {
			paths = append(paths, dir+"/"+name)
		}
	}
	return paths
}

func lookup(env []string, name string) (string, bool) {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

func notFound(name string, env []string) *StartError {
	e := &StartError{Code: 127, Err: fmt.Errorf("cannot run %q: not found in PATH: %w", name, syscall.ENOENT)}
	_, hasPath := lookup(env, "PATH")
	here, hereErr := os.Stat("./" + name)
	switch {
	case name == "":
		e.Err = fmt.Errorf("cannot run %q: the command's name is empty: %w", name, syscall.ENOENT)
		e.Hint = "is a variable unset that should hold it?"
	case strings.ContainsAny(name, " \t\n;|&"):
		e.Hint = shellHint(name)
	case hereErr == nil && here.Mode().IsRegular():
		e.Hint = "it is in the current folder: write ./" + name
	case !hasPath:
		e.Hint = "PATH is not set: set it, or give the command's full path"
	default:
		e.Hint = "check its spelling, install it, or give its full path"
	}
	return e
}

// shellHint is for a whole command line given as one word.
func shellHint(name string) string {
	if len(name) > 200 {
		return "it is one word with spaces in it; did you mean sh -c '...'?"
	}
	return "it is one word with spaces in it; did you mean sh -c '" + strings.ReplaceAll(name, "'", `'\''`) + "'?"
}

// explain makes of the kernel's answer to execve(path) what a user needs.
func explain(name, path string, err error) *StartError {
	what := fmt.Sprintf("cannot run %q", name)
	if path != name {
		what += fmt.Sprintf(" (%s)", path)
	}
	e := &StartError{Code: 126, Err: fmt.Errorf("%s: %w", what, err)}
	st, statErr := os.Stat(path)
	head := readHead(path)
	interp, isScript := interpreter(head)
	switch {
	case errors.Is(err, syscall.ENOENT) && statErr != nil:
		e.Code = 127
		if strings.ContainsAny(name, " \t\n;|&") {
			e.Hint = shellHint(name)
		} else {
			e.Hint = "check the path"
		}
	case errors.Is(err, syscall.ENOENT) && isScript:
		e.Code = 127
		e.Err = fmt.Errorf("%s: its interpreter %q was not found: %w", what, interp, err)
		e.Hint = "correct its first line"
		if strings.HasSuffix(interp, "\r") {
			e.Hint = `the file has Windows line ends: remove them, as with sed -i 's/\r$//'`
		}
	case errors.Is(err, syscall.ENOENT):
		e.Code = 127
		e.Err = fmt.Errorf("%s: the program loader it names was not found: %w", what, err)
		e.Hint = "it was built for another system or C library"
	case errors.Is(err, syscall.EACCES) && statErr == nil && st.IsDir():
		e.Err = fmt.Errorf("%s: it is a directory: %w", what, err)
		e.Hint = "name a program in it"
	case errors.Is(err, syscall.EACCES) && statErr == nil && st.Mode().Perm()&0o111 == 0:
		e.Hint = "make it executable with chmod +x, or run it with its interpreter"
	case errors.Is(err, syscall.EACCES):
		e.Hint = "you may not execute it, its interpreter, or look into a folder above it (or the file system is mounted noexec)"
	case errors.Is(err, syscall.ENOEXEC) && (bytes.HasPrefix(head, []byte("\x7fELF")) || bytes.HasPrefix(head, []byte("\xcf\xfa\xed\xfe"))):
		e.Hint = "it was built for another kind of machine, or is damaged"
	case errors.Is(err, syscall.ENOEXEC):
		e.Hint = "if it is a script, its first line must name the interpreter, as in #!/bin/sh; or run it with sh " + path
	case errors.Is(err, syscall.E2BIG):
		e.Hint = "the arguments and the environment together are too long: shorten them or pass them in a file"
	case errors.Is(err, syscall.ETXTBSY):
		e.Hint = "it is open for writing: wait until it is built or copied"
	case errors.Is(err, syscall.EAGAIN):
		e.Hint = "the limit on processes is reached (ulimit -u)"
	}
	return e
}

// readHead gives the first bytes of a regular file, as far as they can be read.
func readHead(path string) []byte {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() { // opening a FIFO would block
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	head := make([]byte, 256) // the kernel looks no further (BINPRM_BUF_SIZE)
	n, _ := f.Read(head)
	return head[:n]
}

// interpreter is the program that a script's first line names, with a carriage
// return where the line has one: the kernel takes it for part of the name.
func interpreter(head []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return "", false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	name := strings.TrimLeft(string(line), " \t")
	if i := strings.IndexAny(name, " \t"); i >= 0 {
		name = name[:i]
	}
	return name, true
}
