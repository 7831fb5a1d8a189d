//go:build !linux

package proc

import (
	"errors"
	"syscall"
	"time"
)

// ExitWatcher waits for the end of one process. It works on Linux only.
type ExitWatcher struct{}

var errNoExitWatch = errors.New("waiting for the end of a process that is not a child needs Linux")

// WatchExit always fails.
func WatchExit(string, Process) (*ExitWatcher, error) { return nil, errNoExitWatch }

// Wait always fails.
func (*ExitWatcher) Wait() (time.Time, error) { return time.Time{}, errNoExitWatch }

// Status always returns false.
func (*ExitWatcher) Status() (status syscall.WaitStatus, ok bool) { return 0, false }

// Close does nothing.
func (*ExitWatcher) Close() {}
