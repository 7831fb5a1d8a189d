package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Bounds of what is read into memory; what is longer is an error, not cut.
const (
	// MaxSmallFile holds every file of /proc with one record; /proc/stat of a
	// host with hundreds of CPUs is the largest.
	MaxSmallFile = 1 << 20
	// maxArgFile holds the arguments or the environment of a process: the kernel
	// lets both together have a quarter of the stack's limit, 6 MiB at most
	// (execve(2)).
	maxArgFile = 16 << 20
	// MaxTableFile holds a table of sockets or mounts.
	MaxTableFile = 64 << 20
)

// CommandLine reads the arguments of a process from /proc/PID/cmdline. The title
// that a process gave itself is returned as one argument, without its padding;
// nil is returned for a process without any (a zombie, a kernel thread). Reading
// can hang while the process hangs in the kernel with its memory map locked: do
// not call it on the clock.
func CommandLine(procRoot string, pid int) ([]string, error) {
	data, err := ReadLimited(procPath(procRoot, pid, "cmdline"), maxArgFile)
	if err != nil {
		return nil, fmt.Errorf("read the command line of process %d: %w", pid, err)
	}
	return parseCommandLine(data), nil
}

// Environ reads the environment that a process was started with, as NAME=value
// entries, from /proc/PID/environ. It needs the right to trace the process (same
// user, and dumpable), and can hang as [CommandLine] can.
func Environ(procRoot string, pid int) ([]string, error) {
	data, err := ReadLimited(procPath(procRoot, pid, "environ"), maxArgFile)
	if err != nil {
		return nil, fmt.Errorf("read the environment of process %d: %w", pid, err)
	}
	return parseEnviron(data), nil
}

// procPath is procRoot/PID/name.
func procPath(procRoot string, pid int, name string) string {
	return filepath.Join(procRoot, strconv.Itoa(pid), name)
}

// gone says that an error of reading below /proc/PID means that the process has
// ended: the directory is missing, or the file was open already.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}

// ReadLimited reads a whole file of at most limit bytes.
func ReadLimited(path string, limit int) ([]byte, error) {
	return readInto(path, make([]byte, min(limit, 1024)), limit)
}

// readStat reads and parses procRoot/PID/stat by way of buf, which must hold the
// file as a whole (1 KiB always does: 52 fields). The result's name points into
// buf. It goes around os.File, whose registration with the poller would double
// the cost.
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

// readOnce reads what one read gives of a file: all of it, for a file of /proc
// with a single record.
func readOnce(path string, buf []byte) (int, error) {
	fd, err := openRead(path)
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

// readInto reads a whole file of at most limit bytes by way of buf, into a longer
// slice where it does not fit. Like readOnce it goes around os.File.
func readInto(path string, buf []byte, limit int) ([]byte, error) {
	fd, err := openRead(path)
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

// openRead opens a file for reading, not inherited by the command.
func openRead(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
