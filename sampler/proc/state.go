package proc

import (
	"errors"
	"strconv"
	"syscall"
)

// State is what is known about a process that was found earlier.
type State int

// The states of a process.
const (
	// Unknown means that the process may not be inspected.
	Unknown State = iota
	// Exited means that the process has ended.
	Exited
	// Exiting means that the process is about to end: it is exiting, or a signal that
	// normally ends it is pending.
	Exiting
	// Running means that nothing indicates that the process is about to end.
	Running
)

// StateOf reports whether a process is still alive. A process with the same pid that
// started at another time is a different process.
func StateOf(procRoot string, p Process) State {
	var buf [4096]byte
	s, err := readStat(procRoot, p.PID, buf[:])
	switch {
	case gone(err), err == nil && (s.startTicks != p.StartTicks || s.dead()):
		return Exited
	case err != nil:
		return Unknown
	case s.exiting:
		return Exiting
	}
	n, err := readOnce(procPath(procRoot, p.PID, "status"), buf[:])
	if gone(err) {
		return Exited
	}
	if err != nil {
		return Unknown
	}
	pending, err := parsePending(buf[:n])
	switch {
	case err != nil:
		return Unknown
	case pending&terminatingSignals != 0:
		return Exiting
	}
	return Running
}

// terminatingSignals is the mask of the signals that request the end of a process.
const terminatingSignals = 1<<(syscall.SIGHUP-1) | 1<<(syscall.SIGINT-1) | 1<<(syscall.SIGQUIT-1) | 1<<(syscall.SIGKILL-1) | 1<<(syscall.SIGTERM-1)

// parsePending returns the mask of pending signals from /proc/PID/status: those of
// the first thread (SigPnd) and those of the process (ShdPnd). A KILL stays pending
// until the process is gone.
func parsePending(b []byte) (mask uint64, err error) {
	for _, name := range []string{"SigPnd", "ShdPnd"} {
		value, ok := StatusField(b, name)
		if !ok {
			return 0, errors.New("no SigPnd or no ShdPnd in a process's status")
		}
		n, err := strconv.ParseUint(string(value), 16, 64)
		if err != nil {
			return 0, err
		}
		mask |= n
	}
	return mask, nil
}
