//go:build !(cgo && linux)

package child

import (
	"os/signal"
	"syscall"
)

// senderKnown reports whether the sender of a signal is known (si_code), or guessed
// from the terminal's foreground group.
const senderKnown = false

// inherited are the signals known to be ignored when vobs started. Without C only these
// two can be known: the Go runtime leaves them ignored, and has replaced the handlers of
// all others before any Go code runs.
var inherited = func() []syscall.Signal {
	var sigs []syscall.Signal
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			sigs = append(sigs, sig)
		}
	}
	return sigs
}()

// ignoredAtStart returns the signals that must stay ignored for the command.
func ignoredAtStart() []syscall.Signal { return inherited }

func wasIgnored(sig syscall.Signal) bool {
	for _, s := range inherited {
		if s == sig {
			return true
		}
	}
	return false
}

// closedAtStart returns false: the Go runtime opens /dev/null in the place of a closed
// stream before any Go code runs.
func closedAtStart(int) bool { return false }

// withInheritedMask just calls f. Which signals the Go runtime unblocked (HUP, INT,
// QUIT, TERM) is not known here; other blocked signals are inherited anyway.
func withInheritedMask(f func()) { f() }

func watchSender(syscall.Signal) bool { return false }

func unwatchSender(syscall.Signal) {}

func senderOf(syscall.Signal) sender { return guessSender() }
