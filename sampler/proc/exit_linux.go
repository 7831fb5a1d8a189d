package proc

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Watch waits for the end of one process, anybody's, by a pidfd: nothing is
// done until the kernel tells. It keeps one descriptor until Close.
type ExitWatcher struct {
	file *os.File
	raw  syscall.RawConn
}

// WatchExit begins to watch a process. It fails where the process has ended, where
// its id belongs to another one by now, and where the kernel has no pidfds
// (before Linux 5.3, or a sandbox that refuses them).
func WatchExit(procRoot string, p Process) (*ExitWatcher, error) {
	fd, err := unix.PidfdOpen(p.PID, 0) // closed on exec, always
	if err != nil {
		return nil, fmt.Errorf("watch process %d: pidfd_open: %w", p.PID, err)
	}
	// The descriptor names one process for good; whether it is the one that was
	// meant, its start tells.
	var buf [4096]byte
	s, err := readStat(procRoot, p.PID, buf[:])
	if err == nil && s.startTicks != p.StartTicks {
		err = unix.ESRCH
	}
	if err == nil {
		// Non-blocking, so that Go's own poller waits for it: no thread does.
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch process %d: %w", p.PID, err)
	}
	w := &ExitWatcher{file: os.NewFile(uintptr(fd), "pidfd")}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		w.file.Close()
		return nil, fmt.Errorf("watch process %d: %w", p.PID, err)
	}
	return w, nil
}

// Wait waits until the process has ended, and says when that was seen. It fails
// when Close is called before.
func (w *ExitWatcher) Wait() (at time.Time, err error) {
	var asking error
	err = w.raw.Read(func(fd uintptr) bool {
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(set, 0)
			if err == unix.EINTR {
				continue
			}
			asking = err
			return n > 0 || err != nil
		}
	})
	if err == nil {
		err = asking
	}
	return time.Now(), err
}

// pidfdInfo is the first version of struct pidfd_info, and the two constants are
// of the same header, include/uapi/linux/pidfd.h (Linux 6.13; the exit since 6.15).
type pidfdInfo struct {
	mask, cgroup uint64
	ids          [11]uint32
	exit         int32 // as wait(2) gives it
}

const (
	pidfdInfoExit = 1 << 3
	pidfdGetInfo  = 3<<30 | uintptr(unsafe.Sizeof(pidfdInfo{}))<<16 | 0xff<<8 | 11 // _IOWR(0xFF, 11, …)
)

// Status is how the process ended; ok is false where the kernel does not tell
// (before Linux 6.15), and until its parent has waited for it.
func (w *ExitWatcher) Status() (status syscall.WaitStatus, ok bool) {
	info := pidfdInfo{mask: pidfdInfoExit}
	var number syscall.Errno
	err := w.raw.Control(func(fd uintptr) {
		_, _, number = unix.Syscall(unix.SYS_IOCTL, fd, pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	})
	if err != nil || number != 0 || info.mask&pidfdInfoExit == 0 {
		return 0, false
	}
	return syscall.WaitStatus(info.exit), true
}

// Close gives the descriptor back and ends a Wait.
func (w *ExitWatcher) Close() { w.file.Close() }
