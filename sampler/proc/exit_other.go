//go:build !linux

package proc

import (
	"errors"
	"syscall"
	"time"
)

// A Watch waits for the end of one process; only Linux can.
type ExitWatcher struct{}

var errNoWatch = errors.New("only on Linux can the end of another's process be waited for")

// WatchExit fails.
func WatchExit(string, Process) (*ExitWatcher, error) { return nil, errNoWatch }

// Wait fails.
func (*ExitWatcher) Wait() (time.Time, error) { return time.Time{}, errNoWatch }

// Status knows nothing.
func (*ExitWatcher) Status() (status syscall.WaitStatus, ok bool) { return 0, false }

// Close does nothing.
func (*ExitWatcher) Close() {}
