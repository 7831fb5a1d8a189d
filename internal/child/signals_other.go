//go:build !(cgo && linux)

package child

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// senderKnown reports whether the sender of a signal is known (si_code), or guessed
// from the terminal's foreground group.
const senderKnown = false

// firstRealtime is the first signal for real time that neither the C library nor Go's runtime
// uses.
const firstRealtime = syscall.Signal(35)

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

// UseDefaultActions does nothing: without C, Go's runtime cannot be kept from ignoring signals.
func UseDefaultActions() {}

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

// A receiver catches signals and passes each on with its sender, which it guesses, in the
// order of their arrival.
type receiver struct {
	to   chan<- received
	sigs chan os.Signal
	pipe chan os.Signal // SIGPIPE: never received from
	quit chan struct{}
}

// newReceiver returns a receiver that passes signals to a channel until stop is called.
func newReceiver(to chan<- received) (*receiver, error) {
	r := &receiver{to: to, sigs: make(chan os.Signal, 64), pipe: make(chan os.Signal, 1), quit: make(chan struct{})}
	go r.run()
	return r, nil
}

// catch has the runtime notify the receiver of sigs.
func (r *receiver) catch(sigs []syscall.Signal) {
	for _, sig := range sigs {
		signal.Notify(r.sigs, sig)
	}
}

// surviveBrokenPipe makes a write to a closed pipe return EPIPE instead of ending vobs. It does
// not ignore the signal, because the command would inherit that.
func (r *receiver) surviveBrokenPipe() { signal.Notify(r.pipe, syscall.SIGPIPE) }

func (r *receiver) run() {
	for {
		select {
		case s := <-r.sigs:
			switch s := s.(type) {
			case flushed:
				close(s)
			case syscall.Signal:
				from := fromProcess
				if s == syscall.SIGINT || s == syscall.SIGQUIT {
					from = guessSender()
				}
				select {
				case r.to <- received{s, from}:
				case <-r.quit:
					return
				}
			}
		case <-r.quit:
			return
		}
	}
}

// flushed marks the end of what was received before a flush.
type flushed chan struct{}

func (flushed) Signal()        {}
func (flushed) String() string { return "flushed" }

// flush returns once every signal that was received so far is in the channel.
func (r *receiver) flush() {
	// signal.Stop returns only when no delivery is in flight any more.
	idle := make(chan os.Signal, 1)
	signal.Notify(idle, syscall.SIGTERM)
	signal.Stop(idle)
	mark := make(flushed)
	select {
	case r.sigs <- mark:
		<-mark
	case <-r.quit:
	}
}

// stop makes the runtime's own handling of the signals take effect again.
func (r *receiver) stop() {
	signal.Stop(r.sigs)
	signal.Stop(r.pipe)
	close(r.quit)
}

// guessSender assumes the terminal as the sender if it can have been the sender.
func guessSender() sender {
	if inForegroundGroup() {
		return fromTerminal
	}
	return fromProcess
}

// inForegroundGroup reports whether our process group is the foreground group of our
// terminal: then a typed Ctrl-C reaches the command without us.
func inForegroundGroup() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
