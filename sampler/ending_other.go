//go:build !linux

package sampler

import (
	"errors"
	"syscall"
	"time"
)

// A Watch waits for the end of one process; only Linux can.
type Watch struct{}

var errNoWatch = errors.New("only on Linux can the end of another's process be waited for")

// WatchEnd fails.
func WatchEnd(string, Process) (*Watch, error) { return nil, errNoWatch }

// Wait fails.
func (*Watch) Wait() (time.Time, error) { return time.Time{}, errNoWatch }

// Status knows nothing.
func (*Watch) Status() (status syscall.WaitStatus, ok bool) { return 0, false }

// Close does nothing.
func (*Watch) Close() {}
