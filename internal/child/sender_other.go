//go:build !(cgo && linux)

package child

import (
	"os/signal"
	"syscall"
)

// senderKnown tells that the sender of INT and QUIT is known (si_code), not
// guessed from the terminal's foreground group.
const senderKnown = false

// inherited are the signals known to be ignored when vobs started. Without C
// only these two are known: the Go runtime leaves them ignored, and has
// replaced the others before any Go code runs.
var inherited = func() []syscall.Signal {
	var sigs []syscall.Signal
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			sigs = append(sigs, sig)
		}
	}
	return sigs
}()

// ignoredAtStart are the signals to give back to the command as ignored.
func ignoredAtStart() []syscall.Signal { return inherited }

func wasIgnored(sig syscall.Signal) bool {
	for _, s := range inherited {
		if s == sig {
			return true
		}
	}
	return false
}

// withInheritedMask just calls f. What the Go runtime unblocked (HUP, INT, QUIT,
// TERM) is not known here; other blocked signals are inherited anyway.
// closedAtStart is not known: the Go runtime opens /dev/null before anybody looks.
func closedAtStart(int) bool { return false }

func withInheritedMask(f func()) { f() }

func watchSender(syscall.Signal) bool { return false }

func unwatchSender(syscall.Signal) {}

func senderOf(syscall.Signal) origin { return guessSender() }
