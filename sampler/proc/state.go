package proc

import (
	"bytes"
	"errors"
	"strconv"
	"syscall"
)

// A Fate is what is known of a process that was found earlier.
type State int

// The fates of a process.
const (
	// Unknown: it may not be looked at.
	Unknown State = iota
	// Exited: it has ended.
	Exited
	// Exiting: it is about to end: it exits, or a signal that asks it to is
	// waiting for it.
	Exiting
	// Running: nothing says that it is going to end.
	Running
)

// StateOf looks whether a process still lives. A process of the same id that
// started at another time is another one.
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
	case pending&endingSignals != 0:
		return Exiting
	}
	return Running
}

// endingSignals has the bits of the signals that ask a process to end.
const endingSignals = 1<<(syscall.SIGHUP-1) | 1<<(syscall.SIGINT-1) | 1<<(syscall.SIGQUIT-1) | 1<<(syscall.SIGKILL-1) | 1<<(syscall.SIGTERM-1)

// parsePending reads the signals that wait for a process, by their bits, from the
// text of /proc/PID/status: those of its first thread (SigPnd) and its own
// (ShdPnd). A KILL stays there until the process is gone.
func parsePending(b []byte) (bits uint64, err error) {
	found := 0
	for line := range bytes.Lines(b) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if string(name) != "SigPnd" && string(name) != "ShdPnd" {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		if err != nil {
			return 0, err
		}
		bits |= n
		found++
	}
	if found != 2 {
		return 0, errors.New("no SigPnd or no ShdPnd in a process's status")
	}
	return bits, nil
}
