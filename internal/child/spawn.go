package child

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/vobs/vobs/internal/environ"
)

// A StartError is the error that a command could not be run.
type StartError struct {
	// Code is the exit code that a shell, env(1) and timeout(1) return: 127 if the
	// command, or the interpreter that it names, was not found, 126 if it was found
	// and could not be executed.
	Code int
	// Err is what was tried and why it failed.
	Err error
	// Hint is what to do about it; it may be empty.
	Hint string
}

// Error returns the message with its hint.
func (e *StartError) Error() string {
	if e.Hint == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Hint
}

// Unwrap returns Err, which wraps the kernel's error number if there is one.
func (e *StartError) Unwrap() error { return e.Err }

// Environ returns the environment that vobs was started with, for the command. It
// includes the oddities that os.Environ drops (a second value of one name, empty
// entries). If vobs has changed its own environment, it returns os.Environ instead.
func Environ() []string {
	raw, ok := initialEnviron()
	if !ok {
		return os.Environ()
	}
	// This is what os.Environ makes of raw (Go's syscall.copyenv): the first entry
	// of each name, entries without a name unchanged, empty ones dropped.
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

// StreamClosed reports whether the standard stream fd was closed when vobs was started.
// The Go runtime opens /dev/null in its place, so that output to it is lost without an
// error. Without cgo this is not known, and StreamClosed returns false.
func StreamClosed(fd int) bool { return closedAtStart(fd) }

// spawn starts the command with the files, group and terminal of vobs, and returns its
// pid.
//
// It uses syscall.ForkExec and not os.StartProcess, a thin layer on it whose os.Process
// would only be released and whose process descriptor would only be closed. syscall
// resets the limit on open files, which the Go runtime raises for itself, for the
// command.
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
			return 0, startError(name, name, err)
		}
		return pid, nil
	}
	var failed error // the error if nothing in PATH can be run
	denied := false
	for _, path := range candidates(name, env) {
		var st syscall.Stat_t
		err := syscall.Stat(path, &st)
		exists := err == nil
		if exists {
			var pid int
			if pid, err = forkExec(path, s.Args, attr); err == nil {
				return pid, nil
			}
		}
		// As execvp(3) does: look further, but remember that one was found.
		switch {
		case errors.Is(err, syscall.EACCES):
			if !denied {
				failed, denied = startError(name, path, err), true
			}
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ESTALE),
			errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ETIMEDOUT):
			if exists && failed == nil { // a script whose interpreter is missing
				failed = startError(name, path, err)
			}
		case exists:
			return 0, startError(name, path, err)
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

// candidates returns the paths that execvp(3) tries for name: an empty entry of PATH is
// the current directory, and without PATH it is glibc's default.
func candidates(name string, env []string) []string {
	if name == "" {
		return nil
	}
	path, ok := environ.Lookup(env, "PATH")
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

func notFound(name string, env []string) *StartError {
	e := &StartError{Code: 127, Err: fmt.Errorf("cannot run %q: not found in PATH: %w", name, syscall.ENOENT)}
	_, hasPath := environ.Lookup(env, "PATH")
	here, hereErr := os.Stat("./" + name)
	switch {
	case name == "":
		e.Err = fmt.Errorf("cannot run %q: the command's name is empty: %w", name, syscall.ENOENT)
		e.Hint = "is the variable that should hold it unset?"
	case IsAssignment(name):
		e.Hint = assignmentHint(name)
	case strings.ContainsAny(name, " \t\n;|&"):
		e.Hint = shellHint(name)
	case hereErr == nil && here.Mode().IsRegular():
		e.Hint = "it is in the current directory: write ./" + name
	case !hasPath:
		e.Hint = "PATH is not set: set it, or give the command's full path"
	default:
		e.Hint = "check its spelling, install it, or give its full path"
	}
	return e
}

// IsAssignment reports whether name is NAME=VALUE, which a shell takes as a variable of
// the command that follows.
func IsAssignment(name string) bool {
	variable, _, ok := strings.Cut(name, "=")
	return ok && variable != "" && !strings.ContainsFunc(variable, func(c rune) bool {
		return !(c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z')
	})
}

func assignmentHint(name string) string {
	if len(name) > 200 || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || strings.ContainsRune(" '\"\\$`;|&<>()*?", c) }) {
		name, _, _ = strings.Cut(name, "=")
		name += "=VALUE"
	}
	return "NAME=VALUE before a command is shell syntax: use vobs run -- env " + name + " COMMAND"
}

// shellHint is the hint for a whole command line given as one word.
func shellHint(name string) string {
	if len(name) > 200 {
		return "this is a single argument containing spaces; did you mean sh -c '...'?"
	}
	return "this is a single argument containing spaces; did you mean sh -c '" + strings.ReplaceAll(name, "'", `'\''`) + "'?"
}

// startError turns the kernel's error from execve(path) into an error for users.
func startError(name, path string, err error) *StartError {
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
		switch {
		case IsAssignment(name):
			e.Hint = assignmentHint(name)
		case strings.ContainsAny(name, " \t\n;|&"):
			e.Hint = shellHint(name)
		default:
			e.Hint = "check the path"
		}
	case errors.Is(err, syscall.ENOENT) && isScript:
		e.Code = 127
		e.Err = fmt.Errorf("%s: its interpreter %q was not found: %w", what, interp, err)
		e.Hint = "correct its first line"
		if strings.HasSuffix(interp, "\r") {
			e.Hint = `the file has Windows line endings: remove them, for example with sed -i 's/\r$//'`
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
		e.Hint = "no permission to execute it or its interpreter, or to search a directory above it; or the file system is mounted noexec"
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

// readHead returns the first bytes of a regular file, as far as they can be read.
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
	head := make([]byte, 256) // the kernel reads no further (BINPRM_BUF_SIZE)
	n, _ := f.Read(head)
	return head[:n]
}

// interpreter returns the program that a script's first line names, including a
// carriage return at its end: the kernel takes that as part of the name.
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
