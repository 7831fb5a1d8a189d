package proc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Limits of /proc that proc(5) and the kernel's sources give.
const (
	// ticksPerSecond is USER_HZ, the unit of the times in /proc/PID/stat. It is
	// 100 on every architecture that Go supports (include/asm-generic/param.h),
	// whatever the kernel's own tick is, so sysconf(3), which needs cgo, is not asked.
	ticksPerSecond = 100
	// flagExiting is PF_EXITING (include/linux/sched.h), in field 9 of
	// /proc/PID/stat: there since Linux 2.6, and the same ever since.
	flagExiting = 0x4
)

// stat is what is wanted of one /proc/PID/stat (proc_pid_stat(5); the
// numbers are those of its fields).
type stat struct {
	pid        int    // 1
	comm       []byte // 2, without the parentheses; a slice of the text parsed
	state      byte   // 3
	ppid       int    // 4
	exiting    bool   // 9, its bit PF_EXITING: the process is on its way out
	cpuTicks   uint64 // 14 to 17: own and waited-for children's, user and system
	numThreads int    // 20
	startTicks uint64 // 22: after boot
}

// dead says that the process has ended and only its entry is left, for its parent
// to collect. A thread group whose leader alone has ended is a zombie by its
// state too, but has further threads and lives.
func (s *stat) dead() bool {
	return (s.state == 'Z' || s.state == 'X' || s.state == 'x') && s.numThreads <= 1
}

var errShortStat = errors.New("fewer fields than a process status has")

// parseProcStat reads the text of /proc/PID/stat. It allocates nothing. The name
// may hold anything, closing parentheses and line ends included, so the last
// parenthesis counts.
func parseProcStat(b []byte) (stat, error) {
	var s stat
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return s, errors.New("no process name in parentheses")
	}
	pid, ok := ParseNatural(bytes.TrimSpace(b[:open]))
	if !ok || pid > math.MaxInt32 {
		return s, errors.New("no process id before the name")
	}
	s.pid, s.comm = int(pid), b[open+1:end]
	rest := b[end+1:]
	for field := 3; field <= 22; field++ {
		var word []byte
		if word, rest = NextWord(rest); len(word) == 0 {
			return s, errShortStat
		}
		switch field {
		case 3:
			s.state = word[0]
			if len(word) != 1 || s.state|0x20 < 'a' || s.state|0x20 > 'z' {
				return s, fmt.Errorf("%q is no state of a process", word)
			}
			continue
		case 4, 9, 14, 15, 16, 17, 20, 22:
		default:
			continue
		}
		n, ok := ParseNatural(word)
		if !ok {
			return s, fmt.Errorf("field %d is no natural number", field)
		}
		switch field {
		case 4:
			s.ppid = int(min(n, math.MaxInt32))
		case 9:
			s.exiting = n&flagExiting != 0
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

// maxPages bounds a page count so that its bytes fit in an int64 for every page size.
const maxPages = math.MaxInt64 >> 20

// parseStatm reads the resident pages, the second number, of /proc/PID/statm. It
// allocates nothing. A zombie's numbers are zeros.
func parseStatm(b []byte) (pages int64, err error) {
	_, rest := NextWord(b)
	word, _ := NextWord(rest)
	n, ok := ParseNatural(word)
	if !ok {
		return 0, errors.New("no number of resident pages")
	}
	return int64(min(n, maxPages)), nil
}

// NextWord splits off the first word of b.
func NextWord(b []byte) (word, rest []byte) {
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

// ParseNatural reads decimal digits, and nothing but these, without allocating.
func ParseNatural(b []byte) (n uint64, ok bool) {
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

// parsePID reads a name of /proc as a process id; the other entries are no ids.
func parsePID(name []byte) (pid int, ok bool) {
	n, ok := ParseNatural(name)
	if !ok || n == 0 || n > math.MaxInt32 {
		return 0, false
	}
	return int(n), true
}

// parseChildren appends the ids of /proc/PID/task/TID/children to dst.
func parseChildren(b []byte, dst []int) ([]int, error) {
	for {
		var word []byte
		if word, b = NextWord(b); len(word) == 0 {
			return dst, nil
		}
		pid, ok := parsePID(word)
		if !ok {
			return dst, fmt.Errorf("%q is no process id", word)
		}
		dst = append(dst, pid)
	}
}

// ParseLastPID reads the last word of /proc/loadavg: the id most recently given
// to a process or thread in the reader's pid namespace (proc_loadavg(5)). Zero
// when there is none: kernels that only imitate Linux print a constant 0.
func ParseLastPID(b []byte) int {
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
// as the platform has it; the padding goes. A command's own trailing empty
// arguments look the same when all but the first are empty, and go too.
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

// parseEnviron splits /proc/PID/environ into NAME=value entries. What a process
// that overwrote its environment (setproctitle does when the title is long) left
// there that is no entry is dropped.
func parseEnviron(b []byte) []string {
	var env []string
	for entry := range strings.SplitSeq(string(b), "\x00") {
		if strings.IndexByte(entry, '=') > 0 {
			env = append(env, entry)
		}
	}
	return env
}
