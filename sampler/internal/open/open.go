// Package open opens files of /proc and /sys for the readers of package proc. It bypasses
// os.File, whose registration with the poller would double the cost.
package open

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

var before atomic.Pointer[func(path string)]

// Before calls f with the path of every file before it is opened, until undo is called. It is
// for tests: an f that blocks makes a file that does not respond.
func Before(f func(path string)) (undo func()) {
	old := before.Swap(&f)
	return func() { before.Store(old) }
}

// File opens a file for reading, close-on-exec. It does not wait for the writer of a FIFO:
// one without a writer is empty, and reading one whose writer is silent fails with EAGAIN.
func File(path string) (fd int, err error) { return open(path, unix.O_NONBLOCK) }

// Directory opens a directory for reading, close-on-exec.
func Directory(path string) (fd int, err error) { return open(path, unix.O_DIRECTORY) }

func open(path string, flags int) (int, error) {
	if f := before.Load(); f != nil {
		(*f)(path)
	}
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
