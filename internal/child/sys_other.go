//go:build !linux

package child

import (
	"os/signal"
	"syscall"
	"time"
)

// platformSignals are signals of this platform alone that vobs handles.
func platformSignals() []syscall.Signal { return nil }

// adoptOrphans does nothing: only Linux has a subreaper.
func adoptOrphans() error { return nil }

// reapNext waits for the next child to end and reaps it.
func (c *Command) reapNext() (pid int, ws syscall.WaitStatus, ru syscall.Rusage, err error) {
	pid, err = syscall.Wait4(-1, &ws, 0, &ru)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && pid == c.pid {
		c.reaped = true
	}
	return pid, ws, ru, err
}

// ignores returns true: without /proc it is not known, and a signal that was ignored
// when vobs started is most likely still ignored by the command.
func ignores(int, syscall.Signal) bool { return true }

// initialEnviron needs /proc.
func initialEnviron() ([]string, bool) { return nil, false }

// killSelf lets sig kill this process as far as os/signal allows: for QUIT, ABRT and
// SEGV the Go runtime's own handler stays, and Mirror falls back to an exit code.
func killSelf(sig syscall.Signal) {
	switch sig {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL, syscall.SIGPIPE:
	default:
		return
	}
	signal.Reset(sig)
	if syscall.Kill(syscall.Getpid(), sig) == nil {
		// The kernel may deliver it to another thread, a moment later.
		<-time.After(time.Second)
	}
}

// silenceChildren does nothing.
func silenceChildren() {}
