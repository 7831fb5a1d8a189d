package child

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// manyOrphans within manyWithin are so many that the wait loop rests between them: each
	// wake-up of it takes some 60 µs of CPU time, of which the reaping itself is a quarter.
	manyOrphans = 8
	manyWithin  = 200 * time.Millisecond
	// restTime is how long it rests. Meanwhile the orphans that end stay zombies, which
	// count in the command's limit of processes.
	restTime = 40 * time.Millisecond
)

// rest lets the wait loop wait for the end of the command alone, for a time, while a command
// leaves many orphans behind.
type rest struct {
	pid         int
	recent      [manyOrphans]time.Time // when the latest orphans were reaped, in a ring
	next        int
	many        bool     // these came in quick succession
	file        *os.File // a pidfd of the command; nil before it is needed
	raw         syscall.RawConn
	unavailable bool // the kernel has no pidfds (before Linux 5.3, or a sandbox that denies them)
}

// after is called after an orphan was reaped, before the command was; reaping reports
// whether there may be more. It reports whether it has waited: then more may have ended.
func (r *rest) after(now time.Time, reaping bool) (waited bool) {
	oldest := r.recent[r.next]
	r.recent[r.next] = now
	r.next = (r.next + 1) % manyOrphans
	r.many = !oldest.IsZero() && now.Sub(oldest) <= manyWithin
	return reaping || r.many && r.wait(now)
}

// again is called when all that have ended are reaped. It reports whether it has waited for
// more: it does while there are many.
func (r *rest) again() (waited bool) {
	now := time.Now()
	latest := r.recent[(r.next+manyOrphans-1)%manyOrphans]
	return r.many && now.Sub(latest) < 2*restTime && r.wait(now)
}

// wait waits for restTime, or until the command ends.
func (r *rest) wait(now time.Time) (waited bool) {
	if r.unavailable || r.file == nil && !r.open() || r.file.SetReadDeadline(now.Add(restTime)) != nil {
		r.unavailable = true
		return false
	}
	// On Go's poller, so that no thread is tied up. The error is that of the deadline.
	_ = r.raw.Read(func(fd uintptr) bool {
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(set, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	return true
}

// open opens the pidfd. The command has not been reaped, so its pid is still its own.
func (r *rest) open() bool {
	fd, err := unix.PidfdOpen(r.pid, 0) // always close-on-exec
	if err != nil {
		return false
	}
	if unix.SetNonblock(fd, true) != nil {
		unix.Close(fd)
		return false
	}
	r.file = os.NewFile(uintptr(fd), "pidfd")
	r.raw, err = r.file.SyscallConn()
	return err == nil
}

func (r *rest) close() {
	if r.file != nil {
		r.file.Close()
	}
}
