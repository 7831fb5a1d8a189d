//go:build cgo && linux

package child

// #include "sender.h"
import "C"

import (
	"runtime"
	"slices"
	"syscall"
)

// senderKnown reports whether the sender of a signal is known (si_code), or guessed from the
// terminal's foreground group.
const senderKnown = true

// runtimeSignals are never passed to the command as ignored: Go's runtime needs their
// handlers (faults, preemption by URG, profiling), waiting would break (CHLD), or the
// runtime leaves them as they were inherited anyway (job control).
var runtimeSignals = []syscall.Signal{
	syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS,
	syscall.SIGURG, syscall.SIGPROF, syscall.SIGCHLD, syscall.SIGKILL, syscall.SIGSTOP,
	syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGTTIN, syscall.SIGTTOU,
}

// ignoredAtStart returns the signals that must stay ignored for the command.
func ignoredAtStart() []syscall.Signal {
	var sigs []syscall.Signal
	for n := 1; n <= 64; n++ {
		if sig := syscall.Signal(n); wasIgnored(sig) && !slices.Contains(runtimeSignals, sig) {
			sigs = append(sigs, sig)
		}
	}
	return sigs
}

// wasIgnored reports whether sig was ignored when vobs started; a C constructor
// recorded it before the Go runtime took over the signals.
func wasIgnored(sig syscall.Signal) bool { return C.vobs_child_ignored(C.int(sig)) != 0 }

// closedAtStart reports whether a standard stream was closed when vobs started.
func closedAtStart(fd int) bool { return C.vobs_child_closed(C.int(fd)) != 0 }

// withInheritedMask calls f on a thread that blocks the signals that were blocked when
// vobs started: the Go runtime never leaves HUP, INT, QUIT and TERM blocked, so that a
// command started from its threads would have them unblocked.
func withInheritedMask(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	C.vobs_child_mask()
	defer C.vobs_child_unmask()
	f()
}

// watchSender starts counting the senders of sig. It fails if Go has no handler
// installed.
func watchSender(sig syscall.Signal) bool { return C.vobs_child_watch(C.int(sig)) == 0 }

func unwatchSender(sig syscall.Signal) { C.vobs_child_unwatch(C.int(sig)) }

// senderOf returns who sent the sig that was just received. Signals coalesce: if any
// process sent one, it counts as sent by a process.
func senderOf(sig syscall.Signal) sender {
	var kernel, process C.int
	switch {
	case C.vobs_child_sent(C.int(sig), &kernel, &process) != 0: // somebody replaced the handler
		return guessSender()
	case process > 0:
		return fromProcess
	case kernel > 0:
		return fromTerminal
	}
	return alreadyHandled
}
