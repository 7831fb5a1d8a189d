package host

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/proc"
)

const (
	// kernelLogPath has one record of the kernel's log for each read
	// (Documentation/ABI/testing/dev-kmsg of Linux), and kernelLogMajor and kernelLogMinor are its
	// numbers (Documentation/admin-guide/devices.txt). Some containers have a link to a terminal there.
	kernelLogPath  = "/dev/kmsg"
	kernelLogMajor = 1
	kernelLogMinor = 11
	// initialPIDNamespace is the link of the initial pid namespace, whose pids the kernel logs
	// (PROC_PID_INIT_INO in include/linux/proc_ns.h).
	initialPIDNamespace = "pid:[4026531836]"

	// maxKernelRecord is the length limit of a record in bytes (CONSOLE_EXT_LOG_MAX, later
	// PRINTK_MESSAGE_MAX). maxKernelRecords and maxKernelLogTime bound what is read.
	maxKernelRecord  = 8 << 10
	maxKernelRecords = 1 << 16
	maxKernelLogTime = 100 * time.Millisecond
)

// kernelLog is the kernel's log from a time on.
type kernelLog struct {
	path string
	fd   int
}

// openKernelLog opens the kernel's log behind its last record: what is read later was logged since
// then. Reading it takes CAP_SYSLOG, or kernel.dmesg_restrict=0 and the permission to open the
// device. path is that of a regular file in a test; "" means the device.
//
// It is opened at the start, because the times in the log are those of a clock of its own.
func openKernelLog(procRoot, path string) (kernelLog, error) {
	namespace, err := os.Readlink(filepath.Join(procRoot, "self", "ns", "pid"))
	if err != nil {
		return kernelLog{}, err
	}
	if namespace != initialPIDNamespace {
		return kernelLog{}, errors.New("the kernel's log has the pids of the initial pid namespace, and this is another one")
	}
	name := cmp.Or(path, kernelLogPath)
	// Not an os.File, with which each record would wake up the runtime's poller.
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return kernelLog{}, fmt.Errorf("opening %s: %w", name, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && path == "" && !isKernelLog(&st) {
		err = errors.New("another file is in its place")
	}
	if err == nil {
		_, err = unix.Seek(fd, 0, unix.SEEK_END)
	}
	if err != nil {
		unix.Close(fd)
		return kernelLog{}, fmt.Errorf("opening %s: %w", name, err)
	}
	return kernelLog{name, fd}, nil
}

func isKernelLog(st *unix.Stat_t) bool {
	device := uint64(st.Rdev)
	return uint32(st.Mode)&unix.S_IFMT == unix.S_IFCHR && unix.Major(device) == kernelLogMajor && unix.Minor(device) == kernelLogMinor
}

// OOMVictim is a process that the kernel killed for lack of memory.
type OOMVictim struct {
	// PID is its pid in the initial pid namespace.
	PID int
	// Comm is its name.
	Comm string
}

// readVictims reads the victims from the records that read returns, one or more for each call, until
// it returns EAGAIN or nothing.
func readVictims(read func([]byte) (int, error)) (victims []OOMVictim, err error) {
	buf := make([]byte, maxKernelRecord)
	end := time.Now().Add(maxKernelLogTime)
	for range maxKernelRecords {
		n, err := read(buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EPIPE): // EPIPE: records were overwritten
			n = 0
		case errors.Is(err, unix.EAGAIN):
			return victims, nil
		case err != nil:
			return victims, err
		case n == 0:
			return victims, nil
		}
		for line := range bytes.Lines(buf[:n]) {
			if v, ok := parseVictim(line); ok {
				victims = append(victims, v)
			}
		}
		if time.Now().After(end) {
			break
		}
	}
	return victims, nil
}

// parseVictim returns the process that a record reports killed. A record is
//
//	PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,…];MESSAGE
//
// and the message, by mm/oom_kill.c,
//
//	Out of memory: Killed process PID (COMM) total-vm:…
//	Memory cgroup out of memory: Killed process PID (COMM) total-vm:…
//
// Before Linux 5.3 it begins with "Killed process". The kernel's own records have a priority below 8,
// which those of programs cannot have.
func parseVictim(record []byte) (OOMVictim, bool) {
	header, message, ok := bytes.Cut(record, []byte(";"))
	if !ok {
		return OOMVictim{}, false
	}
	text, _, ok := bytes.Cut(header, []byte(","))
	if priority, isNumber := proc.ParseUint(text); !ok || !isNumber || priority >= 8 {
		return OOMVictim{}, false
	}
	before, rest, ok := bytes.Cut(message, []byte("Killed process "))
	if !ok || len(before) > 0 && (!bytes.HasSuffix(before, []byte(": ")) || !bytes.HasPrefix(before, []byte("Out of memory")) && !bytes.HasPrefix(before, []byte("Memory cgroup out of memory"))) {
		return OOMVictim{}, false
	}
	number, rest, ok := bytes.Cut(rest, []byte(" ("))
	pid, isNumber := proc.ParseUint(number)
	if !ok || !isNumber || pid == 0 || pid > maxPID {
		return OOMVictim{}, false
	}
	comm, _, ok := bytes.Cut(rest, []byte(") total-vm:"))
	if !ok || len(comm) > maxComm {
		return OOMVictim{}, false
	}
	return OOMVictim{PID: int(pid), Comm: string(comm)}, true
}

const (
	// maxPID is the highest pid (PID_MAX_LIMIT in include/linux/threads.h).
	maxPID = 1 << 22
	// maxComm is the length of the longest name: 15 bytes, which the log may have as \xNN.
	maxComm = 4 * 15
)

// OOMVictims returns which of the command's processes the kernel's log reports killed for lack of
// memory since the start. command is the pid of the command. The log can be read once.
func (s *Sampler) OOMVictims(command int) ([]OOMVictim, error) {
	s.mu.Lock()
	log, err := s.static.kernelLog, s.static.kernelLogErr
	s.static.kernelLogErr = errors.New("it has been read already")
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	all, err := bounded.Call(log.path, lastReadTimeout, func() ([]OOMVictim, error) {
		defer unix.Close(log.fd)
		return readVictims(func(p []byte) (int, error) { return unix.Read(log.fd, p) })
	})
	var ours []OOMVictim
	for _, v := range all {
		if v.PID == command || s.tree.Had(v.PID) {
			ours = append(ours, v)
		}
	}
	return ours, err
}
