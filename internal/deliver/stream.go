package deliver

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval bounds the wait for room in a stream, so that the end of a context is seen.
const pollInterval = 100 * time.Millisecond

// maxChunk is how much is written to a stream at once: as much as a pipe that poll reports to
// be writable takes without blocking.
const maxChunk = 4096

// WriteStream writes all of b to a stream, which may be a terminal, a pipe or a file, for as
// long as something reads it and ctx lasts. A full pipe is waited for, whether or not the
// command made the stream non-blocking, which it shares with vobs. n is how much is known to
// be written: the write in progress when ctx ends may have written more, and goes on.
func WriteStream(ctx context.Context, f *os.File, b []byte) (n int, err error) {
	type result struct {
		n   int
		err error
	}
	fd, err := descriptor(f)
	if err != nil {
		return 0, err
	}
	done := make(chan result, 1)
	progress := make(chan int, len(b)/maxChunk+1)
	go func() { // a write may block in the kernel, even after poll found room
		n, err := writeAll(ctx, fd, b, progress)
		done <- result{n, err}
	}()
	for {
		select {
		case r := <-done:
			return r.n, r.err
		case n = <-progress:
		case <-ctx.Done():
			select {
			case r := <-done: // it ended by itself
				return r.n, r.err
			case <-time.After(2 * pollInterval):
				return n, context.Cause(ctx)
			}
		}
	}
}

// HasRoom reports whether a stream takes something now, or is in error.
func HasRoom(f *os.File) bool {
	fd, err := descriptor(f)
	if err != nil {
		return true
	}
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
	return err != nil || ready > 0
}

// descriptor returns the number of an open file. [os.File.Fd] may change the mode of the
// stream, which others share.
func descriptor(f *os.File) (fd int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = c.Control(func(number uintptr) { fd = int(number) })
	return fd, err
}

func writeAll(ctx context.Context, fd int, b []byte, progress chan<- int) (n int, err error) {
	for n < len(b) {
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		switch ready, err := unix.Poll(p, int(pollInterval/time.Millisecond)); {
		case errors.Is(err, unix.EINTR), err == nil && ready == 0:
			continue
		case err != nil:
			return n, os.NewSyscallError("poll", err)
		}
		written, err := unix.Write(fd, b[n:min(len(b), n+maxChunk)])
		switch {
		case written > 0:
			n += written
			progress <- n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			time.Sleep(10 * time.Millisecond) // poll found room, but not enough
		case err != nil:
			return n, os.NewSyscallError("write", err)
		}
	}
	return n, nil
}
