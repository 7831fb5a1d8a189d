package proc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Constants of /proc, from proc(5) and the kernel's sources.
const (
	// ticksPerSecond is USER_HZ, the unit of the times in /proc/PID/stat. It is 100
	// on every architecture that Go supports (include/asm-generic/param.h), whatever
	// the kernel's own tick is, so sysconf(3), which needs cgo, is not called.
	ticksPerSecond = 100
	// flagExiting is PF_EXITING (include/linux/sched.h) in field 9 of
	// /proc/PID/stat: unchanged since Linux 2.6.
	flagExiting = 0x4
	// flagKernelThread is PF_KTHREAD in the same field: unchanged since Linux 2.6.27.
	flagKernelThread = 0x00200000
)

// stat holds the fields of /proc/PID/stat that are used here; the comments have
// their numbers in proc_pid_stat(5).
type stat struct {
	pid        int    // 1
	comm       []byte // 2, without the parentheses; a slice of the parsed text
	state      byte   // 3
	ppid       int    // 4
	exiting    bool   // bit PF_EXITING of 9: the process is exiting
	kernel     bool   // bit PF_KTHREAD of 9: it is a kernel thread
	cpuTicks   uint64 // sum of 14 to 17: its own and its waited-for children's, user and system
	numThreads int    // 20
	startTicks uint64 // 22: after boot
}

// dead reports whether the process has ended and only its entry is left, for its
// parent to reap. A thread group of which only the leader has ended is a zombie by
// its state too, but has other threads and is alive.
func (s *stat) dead() bool {
	return (s.state == 'Z' || s.state == 'X' || s.state == 'x') && s.numThreads <= 1
}

var errShortStat = errors.New("too few fields for a process status")

// parseProcStat parses /proc/PID/stat without allocating. The name may contain
// anything, closing parentheses and newlines included, so it ends at the last
// parenthesis.
func parseProcStat(b []byte) (stat, error) {
	var s stat
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return s, errors.New("no process name in parentheses")
	}
	pid, ok := ParseUint(bytes.TrimSpace(b[:open]))
	if !ok || pid > math.MaxInt32 {
		return s, errors.New("no process id before the name")
	}
	s.pid, s.comm = int(pid), b[open+1:end]
	rest := b[end+1:]
	for field := 3; field <= 22; field++ {
		var text []byte
		if text, rest = NextField(rest); len(text) == 0 {
			return s, errShortStat
		}
		switch field {
		case 3:
			s.state = text[0]
			if len(text) != 1 || s.state|0x20 < 'a' || s.state|0x20 > 'z' {
				return s, fmt.Errorf("%q is not a process state", text)
			}
			continue
		case 4, 9, 14, 15, 16, 17, 20, 22:
		default:
			continue
		}
		n, ok := ParseUint(text)
		if !ok {
			return s, fmt.Errorf("field %d is not an unsigned number", field)
		}
		switch field {
		case 4:
			s.ppid = int(min(n, math.MaxInt32))
		case 9:
			s.exiting, s.kernel = n&flagExiting != 0, n&flagKernelThread != 0
		case 20:
			s.numThreads = int(min(n, math.MaxInt32))
		case 22:
			s.startTicks = n
		default:
			if s.cpuTicks += n; s.cpuTicks < n {
				return s, errors.New("the CPU times overflow")
			}
		}
	}
	return s, nil
}

// maxPages limits a page count so that it fits in an int64 in bytes for every page size.
const maxPages = math.MaxInt64 >> 20

// parseStatm returns the resident pages, the second number of /proc/PID/statm,
// without allocating. A zombie's numbers are zero.
func parseStatm(b []byte) (pages int64, err error) {
	_, rest := NextField(b)
	text, _ := NextField(rest)
	n, ok := ParseUint(text)
	if !ok {
		return 0, errors.New("no number of resident pages")
	}
	return int64(min(n, maxPages)), nil
}

// NextField returns the first whitespace-separated field of b and what follows it;
// the field is empty if there is none.
func NextField(b []byte) (field, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t') {
		i++
	}
	j := i
	for j < len(b) && b[j] != ' ' && b[j] != '\n' && b[j] != '\t' {
		j++
	}
	return b[i:j], b[j:]
}

// ParseUint parses decimal digits, without a sign or underscores, and without
// allocating. ok is false for any other text and on overflow.
func ParseUint(b []byte) (n uint64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// parsePID parses the name of an entry of /proc; ok is false if it is not a process.
func parsePID(name []byte) (pid int, ok bool) {
	n, ok := ParseUint(name)
	if !ok || n == 0 || n > math.MaxInt32 {
		return 0, false
	}
	return int(n), true
}

// parseChildren appends the pids of /proc/PID/task/TID/children to dst.
func parseChildren(b []byte, dst []int) ([]int, error) {
	for {
		var text []byte
		if text, b = NextField(b); len(text) == 0 {
			return dst, nil
		}
		pid, ok := parsePID(text)
		if !ok {
			return dst, fmt.Errorf("%q is not a process id", text)
		}
		dst = append(dst, pid)
	}
}

// parseLastPID returns the last field of /proc/loadavg: the id most recently assigned
// to a process or thread in the reader's pid namespace (proc_loadavg(5)). It is 0 if
// there is none: kernels that only imitate Linux print a constant 0.
func parseLastPID(b []byte) int {
	fields := bytes.Fields(b)
	if len(fields) != 5 {
		return 0
	}
	pid, _ := parsePID(fields[4])
	return pid
}

// parseCommandLine splits /proc/PID/cmdline into arguments.
//
// A process that sets its title (setproctitle, as vLLM's engine core and workers
// do) overwrites its arguments and pads the title, with spaces or with zero bytes
// depending on the platform; the padding is removed. A command whose arguments are
// all empty but the first looks the same and loses its empty arguments too.
func parseCommandLine(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	args := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	for _, a := range args[1:] {
		if strings.Trim(a, " ") != "" {
			return args
		}
	}
	title := strings.TrimRight(args[0], " ")
	if title == "" {
		return nil
	}
	return []string{title}
}

// parseEnviron splits /proc/PID/environ into NAME=value entries. It drops what is not
// an entry: setproctitle overwrites the environment with a long title.
func parseEnviron(b []byte) []string {
	var env []string
	for entry := range strings.SplitSeq(string(b), "\x00") {
		if strings.IndexByte(entry, '=') > 0 {
			env = append(env, entry)
		}
	}
	return env
}
