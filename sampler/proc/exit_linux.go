package proc

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ExitWatcher waits for the end of one process, which need not be a child, through a
// pidfd: it costs nothing until the kernel reports the end. It keeps one descriptor
// open until Close.
type ExitWatcher struct {
	file *os.File
	raw  syscall.RawConn
}

// WatchExit starts to watch a process. It fails if the process has ended, if its pid
// now belongs to another process, and if the kernel has no pidfds (before Linux 5.3,
// or a sandbox that denies them).
func WatchExit(procRoot string, p Process) (*ExitWatcher, error) {
	fd, err := unix.PidfdOpen(p.PID, 0) // always close-on-exec
	if err != nil {
		return nil, fmt.Errorf("watch process %d: pidfd_open: %w", p.PID, err)
	}
	// The descriptor refers to one process for good; its start time shows whether it
	// is the intended one.
	var buf [4096]byte
	s, err := readStat(procRoot, p.PID, buf[:])
	if err == nil && s.startTicks != p.StartTicks {
		err = unix.ESRCH
	}
	if err == nil {
		// Non-blocking, so that Go's poller waits for it and no thread is tied up.
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

// Wait blocks until the process has ended and returns when that was seen. It fails
// if Close is called first.
func (w *ExitWatcher) Wait() (at time.Time, err error) {
	var pollErr error
	err = w.raw.Read(func(fd uintptr) bool {
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(set, 0)
			if err == unix.EINTR {
				continue
			}
			pollErr = err
			return n > 0 || err != nil
		}
	})
	if err == nil {
		err = pollErr
	}
	return time.Now(), err
}

// pidfdInfo is the first version of struct pidfd_info. It and the two constants are
// from include/uapi/linux/pidfd.h (Linux 6.13; the exit status since 6.15).
type pidfdInfo struct {
	mask, cgroup uint64
	ids          [11]uint32
	exit         int32 // as wait(2) returns it
}

const (
	pidfdInfoExit = 1 << 3
	pidfdGetInfo  = 3<<30 | uintptr(unsafe.Sizeof(pidfdInfo{}))<<16 | 0xff<<8 | 11 // _IOWR(0xFF, 11, …)
)

// Status returns how the process ended. ok is false before its parent has waited for
// it, and on kernels that do not report it (before Linux 6.15).
func (w *ExitWatcher) Status() (status syscall.WaitStatus, ok bool) {
	info := pidfdInfo{mask: pidfdInfoExit}
	var errno syscall.Errno
	err := w.raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	})
	if err != nil || errno != 0 || info.mask&pidfdInfoExit == 0 {
		return 0, false
	}
	return syscall.WaitStatus(info.exit), true
}

// Close releases the descriptor and ends a pending Wait.
func (w *ExitWatcher) Close() { w.file.Close() }
