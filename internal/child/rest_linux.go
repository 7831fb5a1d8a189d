package child

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// manyOrphans within manyWithin are so many that the wait loop rests between them: each
	// wake-up of Go's runtime takes up to 0.2 ms of CPU time, ten times what the reaping does.
	manyOrphans = 8
	manyWithin  = 200 * time.Millisecond
	// maxRest bounds a rest. It is shorter if more than maxZombies orphans are expected to end
	// meanwhile, because zombies count in the command's limit of processes.
	maxRest    = 100 * time.Millisecond
	maxZombies = 16
)

// rest lets the wait loop wait for the end of the command alone, for a time, while a command
// leaves many orphans behind.
type rest struct {
	pid         int
	since       time.Time // when counting began: at the latest rest, or at the first orphan
	count       int       // orphans reaped since then
	file        *os.File  // a pidfd of the command; nil before it is needed
	raw         syscall.RawConn
	unavailable bool // the kernel has no pidfds (before Linux 5.3, or a sandbox that denies them)
}

// after is called after an orphan was reaped, before the command was; more reports whether
// others may have ended. It reports the same, having rested if there were many of late.
func (r *rest) after(now time.Time, more bool) bool {
	if !more && now.Sub(r.since) > manyWithin {
		r.since, r.count = now, 0
	}
	r.count++
	return more || r.count >= manyOrphans && r.wait(now)
}

// again is called when all that had ended after a rest are reaped. It reports whether it has
// rested once more.
func (r *rest) again() bool {
	return r.count > 1 && r.wait(time.Now())
}

// wait waits for as long as maxZombies orphans take to end, or until the command ends.
func (r *rest) wait(now time.Time) (waited bool) {
	length := min(maxRest, now.Sub(r.since)*maxZombies/time.Duration(r.count))
	r.since, r.count = now, 0
	if r.unavailable || r.file == nil && !r.open() || r.file.SetReadDeadline(now.Add(length)) != nil {
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
