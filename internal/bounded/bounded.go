// Package bounded makes calls that may never return, and abandons them after a time limit. A
// read from a file system whose server does not respond (LXCFS, another FUSE, NFS) cannot be
// cancelled: it occupies a thread until the kernel returns, and while it does so even a
// killed process stays.
package bounded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/threads"
)

// ErrHangs means that a call was given up, or was not made because an earlier one still
// hangs.
var ErrHangs = errors.New("no response: a file system whose server hangs may be mounted there (LXCFS, FUSE, NFS)")

// PanicError is the error of a call that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns what to tell the user.
func (e *PanicError) Error() string {
	return fmt.Sprintf("an error in vobs: %v: please report it with the output of -v", e.Value)
}

// maxHanging bounds the calls that hang: each occupies a thread. Package threads counts those in
// progress, too.
const maxHanging = threads.MaxBlocked

// steps is in how many parts a limit is waited for. Time in which this process did not run
// at all, because it was stopped or starved, counts as one of them.
const steps = 8

var (
	mu      sync.Mutex
	hanging = map[string]int{} // calls that were given up and have not returned, by name
	total   int                // sum of hanging, without those of Await
)

// callState is a call in progress.
type callState[T any] struct {
	blocks bool          // it counts as one that may hang
	done   chan struct{} // closed when it has returned
	value  T
	err    error

	returned, givenUp bool // guarded by mu
}

// Call returns what f returns, or an error that wraps [ErrHangs] if that takes longer than
// limit. name says what f reads, usually the path of a file, and begins the error. While a
// call that was given up hangs, a further one of the same name fails immediately, without
// calling f: so no name costs a second thread. f runs on a goroutine of its own, between
// [threads.Enter] and Leave; if it panics, the error is a *[PanicError].
func Call[T any](name string, limit time.Duration, f func() (T, error)) (T, error) {
	return call(name, limit, true, f)
}

// Await is Call for an f that itself only waits, for the network or for calls of this kind: it
// does not count as one that may hang.
func Await[T any](name string, limit time.Duration, f func() (T, error)) (T, error) {
	return call(name, limit, false, f)
}

func call[T any](name string, limit time.Duration, blocks bool, f func() (T, error)) (T, error) {
	var none T
	mu.Lock()
	refused := hanging[name] > 0 || blocks && total >= maxHanging
	mu.Unlock()
	if refused || blocks && !threads.EnterWithin(limit) {
		return none, fmt.Errorf("%s: %w", name, ErrHangs)
	}
	c := &callState[T]{done: make(chan struct{}), blocks: blocks}
	go c.run(name, f)
	if !Wait(c.done, limit) && c.giveUp(name) {
		return none, fmt.Errorf("%s: %w", name, ErrHangs)
	}
	<-c.done // it may have returned in the last moment
	return c.value, c.err
}

func (c *callState[T]) run(name string, f func() (T, error)) {
	defer func() {
		if p := recover(); p != nil {
			c.err = &PanicError{p, debug.Stack()}
		}
		if c.blocks {
			threads.Leave()
		}
		mu.Lock()
		c.returned = true
		if c.givenUp {
			if c.blocks {
				total--
			}
			if hanging[name]--; hanging[name] == 0 {
				delete(hanging, name)
			}
		}
		mu.Unlock()
		close(c.done)
	}()
	c.value, c.err = f()
}

// giveUp records that the call hangs. It reports false if the call has returned.
func (c *callState[T]) giveUp(name string) bool {
	mu.Lock()
	defer mu.Unlock()
	if c.returned {
		return false
	}
	c.givenUp = true
	hanging[name]++
	if c.blocks {
		total++
	}
	return true
}

// Wait waits until done is closed, for at most limit, and reports whether it is.
func Wait(done <-chan struct{}, limit time.Duration) bool {
	select {
	case <-done:
		return true
	default:
	}
	step := max(limit/steps, time.Millisecond)
	timer := time.NewTimer(step)
	defer timer.Stop()
	for range steps {
		select {
		case <-done:
			return true
		case <-timer.C:
			timer.Reset(step)
		}
	}
	return false
}

// Hanging returns the names of the calls that were given up and have not returned.
func Hanging() []string {
	mu.Lock()
	defer mu.Unlock()
	names := make([]string, 0, len(hanging))
	for name := range hanging {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ReadFile reads a file within limit. A FIFO without a writer is empty.
func ReadFile(path string, limit time.Duration) ([]byte, error) {
	return Call(path, limit, func() ([]byte, error) {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(f)
	})
}
