package child

import (
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
)

// platformSignals are signals of Linux alone that vobs handles, those for real time included.
func platformSignals() []syscall.Signal {
	sigs := []syscall.Signal{syscall.SIGPWR, syscall.SIGSTKFLT}
	for n := firstRealtime; n <= 64; n++ {
		sigs = append(sigs, n)
	}
	return sigs
}

// adoptOrphans makes vobs the parent of descendants whose own parent has ended, so that
// they can still be found and their CPU time counts. The command does not inherit the
// setting (prctl(2), PR_SET_CHILD_SUBREAPER).
func adoptOrphans() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// reapNext waits for the next child to end and reaps it. It first waits without reaping
// (waitid with WNOWAIT), so that the command's pid stays ours until mu is held: a
// signal cannot hit another process that was given the pid.
func (c *Command) reapNext() (pid int, ws syscall.WaitStatus, ru syscall.Rusage, err error) {
	var info unix.Siginfo
	if err = unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		return 0, 0, ru, err
	}
	// si_pid follows the three leading ints, aligned for pointers (sigaction(2)).
	const word = unsafe.Sizeof(uintptr(0))
	const offset = (3*4 + word - 1) &^ (word - 1)
	pid = int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), offset)))

	c.mu.Lock()
	defer c.mu.Unlock()
	pid, err = syscall.Wait4(pid, &ws, 0, &ru)
	if err == nil && pid == c.pid {
		c.reaped = true
	}
	if err == syscall.ECHILD {
		// Another waiter was faster; that tells nothing about the other children.
		err = syscall.EINTR
	}
	return pid, ws, ru, err
}

const (
	// environTimeout and statusTimeout are how long a file of /proc may take: another file
	// system, whose server hangs, can be mounted over it.
	environTimeout = 200 * time.Millisecond
	statusTimeout  = 100 * time.Millisecond
)

// ignores reports whether a process ignores sig (proc_pid_status(5), SigIgn). It
// returns true if that cannot be read.
func ignores(pid int, sig syscall.Signal) bool {
	status, err := bounded.ReadFile("/proc/"+strconv.Itoa(pid)+"/status", statusTimeout)
	if err != nil {
		return true
	}
	for _, line := range strings.Split(string(status), "\n") {
		if mask, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err != nil || bits&(1<<(uint(sig)-1)) != 0
		}
	}
	return true
}

// initialEnviron returns the environment that execve(2) passed to vobs.
func initialEnviron() ([]string, bool) {
	data, err := bounded.ReadFile("/proc/self/environ", environTimeout)
	if err != nil {
		return nil, false
	}
	if len(data) == 0 {
		return []string{}, true
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"), true
}

// setDefault sets the action of a signal to the default.
func setDefault(sig syscall.Signal) {
	// All zero is SIG_DFL without flags in every architecture's layout. A signal set
	// has 8 bytes on all architectures that Go runs on except mips.
	var action [64]byte
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}

// silenceChildren makes the kernel send no CHLD: the wait loop needs none, and Go's handler
// takes some 15 µs for each. By default CHLD is discarded without being delivered, and unlike
// one that is ignored it leaves the statuses of children to be waited for (wait(2)).
func silenceChildren() { setDefault(syscall.SIGCHLD) }

// killSelf lets sig kill this process by its default action, without a core dump. It
// returns if that did not happen. It makes the system calls directly: os/signal.Reset
// leaves the runtime's handlers of QUIT, SEGV, ABRT, USR1 and others in place, and
// these end the process with a stack trace or another signal.
func killSelf(sig syscall.Signal) {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})

	setDefault(sig)
	runtime.LockOSThread()
	var set unix.Sigset_t
	bits := uint(unsafe.Sizeof(set.Val[0])) * 8
	n := uint(sig) - 1
	set.Val[n/bits] |= 1 << (n % bits)
	_ = unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil)
	// To this thread: the signal is delivered before the call returns.
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), sig)
}
