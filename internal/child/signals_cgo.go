//go:build cgo && linux

package child

// #include "signals.h"
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
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

// firstRealtime is the first signal for real time that is not the C library's.
var firstRealtime = syscall.Signal(C.vobs_child_first_realtime())

// UseDefaultActions lets the signals that would end a program without handlers end this one,
// until [Start]: there is no command yet to pass them on to. Go's runtime would ignore these,
// or print its stacks (QUIT). Call it first of all: os/signal cannot catch them after that.
// It leaves out faults, which are Go's runtime's, and HUP, INT and TERM, on which that ends.
func UseDefaultActions() {
	left := append(faultSignals(), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	for _, sig := range caughtSignals {
		if !wasIgnored(sig) && !slices.Contains(left, sig) {
			setDefault(sig)
		}
	}
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

// A receiver catches signals and passes each on with its sender, in the order of their
// arrival.
type receiver struct {
	to      chan<- received
	in      int      // the end of a pipe that the handler writes to; never closed, because it may run on another thread
	out     *os.File // its other end
	caught  []syscall.Signal
	blocked chan os.Signal // never received from
	flushed chan struct{}
	quit    chan struct{}
}

// newReceiver returns a receiver that passes signals to a channel until stop is called.
func newReceiver(to chan<- received) (*receiver, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("a pipe for signals: %w", err)
	}
	r := &receiver{
		to:      to,
		in:      pipe[1],
		out:     os.NewFile(uintptr(pipe[0]), "signals"),
		blocked: make(chan os.Signal, 1),
		flushed: make(chan struct{}, 1),
		quit:    make(chan struct{}),
	}
	go r.run()
	return r, nil
}

// catch installs the handler for sigs. A signal that was blocked when vobs started is
// blocked on all threads: Notify makes the runtime unblock it on one of them.
func (r *receiver) catch(sigs []syscall.Signal) {
	for _, sig := range sigs {
		if C.vobs_child_blocked(C.int(sig)) != 0 {
			signal.Notify(r.blocked, sig)
		}
		if C.vobs_child_catch(C.int(sig), C.int(r.in)) == 0 {
			r.caught = append(r.caught, sig)
		}
	}
}

// surviveBrokenPipe makes a write to a closed pipe return EPIPE instead of ending vobs. The
// handler does nothing; exec replaces it by the default action, while the command would inherit
// an ignored signal. Ignore is for Go's runtime, which ends the process after such a write to
// stdout or stderr. Unlike Notify it needs no threads.
func (r *receiver) surviveBrokenPipe() {
	signal.Ignore(syscall.SIGPIPE)
	C.vobs_child_discard(C.int(syscall.SIGPIPE))
}

// run passes on what the handler writes: pairs of a signal's number and whether the
// kernel sent it. Zeros mark a flush.
func (r *receiver) run() {
	var buffer [128]byte
	for {
		n, err := r.out.Read(buffer[:])
		if err != nil {
			return
		}
		for pair := range slices.Chunk(buffer[:n], 2) {
			sig, from := syscall.Signal(pair[0]), fromProcess
			if pair[1] != 0 {
				from = fromTerminal
			}
			if sig == 0 {
				r.flushed <- struct{}{}
				continue
			}
			select {
			case r.to <- received{sig, from}:
			case <-r.quit:
				return
			}
		}
	}
}

// flush returns once every signal that was sent to vobs so far is in the channel. Only one
// goroutine may call it at a time.
func (r *receiver) flush() {
	C.vobs_child_receive_pending()
	if _, err := unix.Write(r.in, []byte{0, 0}); err != nil {
		return // the pipe is full
	}
	select {
	case <-r.flushed:
	case <-r.quit:
	}
}

// stop restores the handlers that were there before.
func (r *receiver) stop() {
	for _, sig := range r.caught {
		C.vobs_child_uncatch(C.int(sig))
	}
	signal.Stop(r.blocked)
	close(r.quit)
	r.out.Close()
}
