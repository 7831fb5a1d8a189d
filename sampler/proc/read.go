package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/internal/open"
)

// ErrNoProc means that there is no /proc to read.
var ErrNoProc = errors.New("there is no /proc here; only Linux has it")

// Limits on what is read into memory. A longer file is an error; it is never
// truncated.
const (
	// MaxSmallFile, in bytes, suffices for every file of /proc with one record; the
	// largest is /proc/stat of a host with hundreds of CPUs.
	MaxSmallFile = 1 << 20
	// MaxTableFile, in bytes, suffices for a table of sockets or mounts.
	MaxTableFile = 64 << 20
	// maxArgFile, in bytes, suffices for the arguments or the environment of a
	// process: the kernel limits both together to a quarter of the stack limit,
	// 6 MiB at most (execve(2)).
	maxArgFile = 16 << 20
)

// CommandLine returns the arguments of a process, from /proc/PID/cmdline. A title
// that the process set itself is one argument, without its padding; the result is nil
// for a process without arguments (a zombie, a kernel thread). The read can hang
// while the process hangs in the kernel with its memory map locked: do not call it
// periodically.
func CommandLine(procRoot string, pid int) ([]string, error) {
	data, err := ReadFile(procPath(procRoot, pid, "cmdline"), maxArgFile)
	if err != nil {
		return nil, fmt.Errorf("reading the command line of process %d: %w", pid, err)
	}
	return parseCommandLine(data), nil
}

// Environ returns the environment that a process was started with, as NAME=value
// entries, from /proc/PID/environ. It needs the right to trace the process (same
// user, and dumpable), and can hang like [CommandLine].
func Environ(procRoot string, pid int) ([]string, error) {
	data, err := ReadFile(procPath(procRoot, pid, "environ"), maxArgFile)
	if err != nil {
		return nil, fmt.Errorf("reading the environment of process %d: %w", pid, err)
	}
	return parseEnviron(data), nil
}

// procPath returns procRoot/PID/name.
func procPath(procRoot string, pid int, name string) string {
	return filepath.Join(procRoot, strconv.Itoa(pid), name)
}

// gone reports whether an error from reading below /proc/PID means that the process
// has ended: its directory is missing, or the file was already open.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}

// ReadFile reads a whole file. It fails if the file is longer than limit bytes.
func ReadFile(path string, limit int) ([]byte, error) {
	return readInto(path, make([]byte, min(limit, 1024)), limit)
}

// readStat reads and parses procRoot/PID/stat into buf, which must be large enough
// for the whole file (1 KiB always is: 52 fields). The result's name is a slice of
// buf.
func readStat(procRoot string, pid int, buf []byte) (stat, error) {
	n, err := readOnce(procPath(procRoot, pid, "stat"), buf)
	if err != nil {
		return stat{}, err
	}
	if n == 0 { // the process ended between open and read
		return stat{}, unix.ESRCH
	}
	s, err := parseProcStat(buf[:n])
	if err != nil {
		return stat{}, fmt.Errorf("%s: %w", procPath(procRoot, pid, "stat"), err)
	}
	return s, nil
}

// Read returns a process that is alive. One that has ended and was not waited for is not.
func Read(procRoot string, pid int) (Process, error) {
	var buf [4096]byte
	s, err := readStat(procRoot, pid, buf[:])
	switch {
	case err != nil:
		return Process{}, err
	case s.dead():
		return Process{}, unix.ESRCH
	}
	return processOf(s), nil
}

// readOnce reads a file with one read: all of it, for a file of /proc with a single
// record.
func readOnce(path string, buf []byte) (int, error) {
	fd, err := open.File(path)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, &os.PathError{Op: "read", Path: path, Err: err}
		}
		return n, nil
	}
}

// readInto reads a whole file of at most limit bytes into buf, or into a longer slice
// if it does not fit.
func readInto(path string, buf []byte, limit int) ([]byte, error) {
	fd, err := open.File(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n := 0
	for {
		if n == len(buf) {
			if n > limit {
				return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
			}
			buf = append(buf[:n:n], make([]byte, max(n, 512))...)
		}
		k, err := unix.Read(fd, buf[n:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case k == 0 && n > limit:
			return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
		case k == 0:
			return buf[:n], nil
		default:
			n += k
		}
	}
}
