//go:build cgo && linux

package child

// #include "sender.h"
import "C"

import (
	"runtime"
	"slices"
	"syscall"
)

// senderKnown tells that the sender of INT and QUIT is known (si_code), not
// guessed from the terminal's foreground group.
const senderKnown = true

// untouchable are signals that are never given back as ignored: Go's runtime
// needs their handlers (faults, preemption by URG, profiling), waiting would
// break (CHLD), or the runtime leaves them as they were inherited anyway (job
// control).
var untouchable = []syscall.Signal{
	syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS,
	syscall.SIGURG, syscall.SIGPROF, syscall.SIGCHLD, syscall.SIGKILL, syscall.SIGSTOP,
	syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGTTIN, syscall.SIGTTOU,
}

// ignoredAtStart are the signals to give back to the command as ignored.
func ignoredAtStart() []syscall.Signal {
	var sigs []syscall.Signal
	for n := 1; n <= 64; n++ {
		if sig := syscall.Signal(n); wasIgnored(sig) && !slices.Contains(untouchable, sig) {
			sigs = append(sigs, sig)
		}
	}
	return sigs
}

// wasIgnored tells whether sig was ignored when vobs started; a C constructor
// recorded it before the Go runtime took the signals over.
func wasIgnored(sig syscall.Signal) bool { return C.vobs_child_ignored(C.int(sig)) != 0 }

// closedAtStart tells whether a standard stream was closed when vobs started.
func closedAtStart(fd int) bool { return C.vobs_child_closed(C.int(fd)) != 0 }

// withInheritedMask calls f on a thread that blocks the signals that were
// blocked when vobs started: the Go runtime never leaves HUP, INT, QUIT and
// TERM blocked, and a command started from its threads would not have them so.
func withInheritedMask(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	C.vobs_child_mask()
	defer C.vobs_child_unmask()
	f()
}

// watchSender has the senders of sig counted from now on. It fails where Go has
// no handler installed.
func watchSender(sig syscall.Signal) bool { return C.vobs_child_watch(C.int(sig)) == 0 }

func unwatchSender(sig syscall.Signal) { C.vobs_child_unwatch(C.int(sig)) }

// senderOf tells who sent the sig that was just received. Signals coalesce, so
// where any process sent one it counts as sent by a process.
func senderOf(sig syscall.Signal) origin {
	var kernel, process C.int
	switch {
	case C.vobs_child_sent(C.int(sig), &kernel, &process) != 0: // somebody replaced the handler
		return guessSender()
	case process > 0:
		return fromProcess
	case kernel > 0:
		return fromTerminal
	}
	return fromNobody
}
