package child

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// shutdownSignals are the signals that ask a program to end.
var shutdownSignals = []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP}

// caughtSignals are all signals that vobs handles: those that would end a program which does
// not handle them, or that it may wait for. A timer that was set before vobs was executed
// (ALRM) is the command's too. The others are left to the kernel and the Go runtime: job
// control (TSTP, CONT, TTIN, TTOU) so that Ctrl-Z and fg work, CHLD, WINCH, which a terminal
// sends to the whole group, and URG and PROF, which the runtime itself uses.
var caughtSignals = slices.Concat([]syscall.Signal{
	syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGXCPU, syscall.SIGIO,
}, platformSignals(), faultSignals())

// faultSignals are the signals of faults, which the command gets if another process sent them
// to vobs: to end a program that hangs with a core dump, say. It is none where the sender is
// unknown, because a fault in vobs itself must not end the command.
func faultSignals() []syscall.Signal {
	if !senderKnown {
		return nil
	}
	return []syscall.Signal{syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL}
}

// watchedSignals are those whose sender matters.
func watchedSignals() []syscall.Signal {
	return append([]syscall.Signal{syscall.SIGINT, syscall.SIGQUIT}, faultSignals()...)
}

// A sender is who sent a signal.
type sender int

const (
	fromProcess    sender = iota // kill(2): only vobs got it, and the command needs it
	fromTerminal                 // a key: the kernel signalled the whole group
	alreadyHandled               // two signals coalesced into one, which was handled, or vobs sent it
)

// catchEarly installs the handlers before the command starts. Signals that were ignored
// when vobs started stay ignored for the command: even then the Go runtime handles all
// but HUP and INT, and exec resets a handled signal to its default.
func (c *Command) catchEarly() {
	for _, sig := range ignoredAtStart() {
		signal.Ignore(sig)
	}
	for _, sig := range caughtSignals {
		if wasIgnored(sig) {
			c.late = append(c.late, sig)
		} else {
			c.early = append(c.early, sig)
		}
	}
	c.catch(c.early)
	// Caught, not ignored: the command would inherit an ignored signal. Nobody receives
	// from the channel; a write to a closed pipe returns EPIPE instead of killing vobs.
	if !wasIgnored(syscall.SIGPIPE) {
		signal.Notify(c.pipe, syscall.SIGPIPE)
	}
}

// catchLate catches the signals that the command has now inherited as ignored. They
// matter if the command installs its own handler for them, as servers started in the
// background of a script do for INT.
func (c *Command) catchLate() { c.catch(c.late) }

func (c *Command) catch(sigs []os.Signal) {
	if len(sigs) == 0 { // Notify without signals would mean all signals
		return
	}
	// watch is called twice: before Notify, so that no signal is missed if the
	// runtime's handler is installed already; after it, in case Notify installed it.
	c.watch(sigs)
	signal.Notify(c.sigs, sigs...)
	c.watch(sigs)
}

// watch records who sends the watched signals that are in sigs.
func (c *Command) watch(sigs []os.Signal) {
	for _, sig := range watchedSignals() {
		if slices.Contains(sigs, os.Signal(sig)) && watchSender(sig) && !slices.Contains(c.watched, sig) {
			c.watched = append(c.watched, sig)
		}
	}
}

// release undoes catchEarly and catchLate.
func (c *Command) release() {
	for _, sig := range c.watched {
		unwatchSender(sig)
	}
	signal.Stop(c.sigs)
	signal.Stop(c.pipe)
	if len(c.late) > 0 {
		signal.Ignore(c.late...)
	}
}

// signalLoop handles one signal after the other, so that they are forwarded in the
// order in which they arrived.
func (c *Command) signalLoop() {
	defer c.wg.Done()
	for {
		select {
		case s := <-c.sigs:
			c.handle(s.(syscall.Signal))
		case ack := <-c.drain:
			for pending := true; pending; {
				select {
				case s := <-c.sigs:
					c.handle(s.(syscall.Signal))
				default:
					pending = false
				}
			}
			close(ack)
		case <-c.quit:
			return
		}
	}
}

func (c *Command) handle(sig syscall.Signal) {
	from := fromProcess
	if slices.Contains(watchedSignals(), sig) {
		if from = senderOf(sig); from == alreadyHandled {
			return
		}
	}
	if slices.Contains(shutdownSignals, sig) && !c.shutdown(sig) {
		return
	}
	if c.spec.Forward == ForwardAuto && from == fromProcess {
		c.send(sig)
	}
}

// shutdown records a shutdown signal and reports whether it is for the command.
func (c *Command) shutdown(sig syscall.Signal) bool {
	// A signal that was ignored at the start (nohup) means nothing to vobs. It means
	// something to the command only if the command has stopped ignoring it.
	late := slices.Contains(c.late, os.Signal(sig))
	c.mu.Lock()
	select {
	case <-c.done:
		if !late {
			select {
			case <-c.cancelled:
			default:
				close(c.cancelled)
			}
		}
		c.mu.Unlock()
		return false
	default:
	}
	if late && (c.reaped || ignores(c.pid, sig)) {
		c.mu.Unlock()
		return false
	}
	first := false
	select {
	case <-c.interrupted:
	default:
		first = true
		close(c.interrupted)
	}
	c.mu.Unlock()
	if first && c.spec.BeforeShutdown != nil {
		c.callBeforeShutdown(sig)
	}
	return true
}

func (c *Command) callBeforeShutdown(sig syscall.Signal) {
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		c.spec.BeforeShutdown(sig)
	}()
	t := time.NewTimer(beforeShutdownLimit)
	defer t.Stop()
	select {
	case <-returned:
	case <-t.C:
	case <-c.ended: // there is no command to forward to any more
	case <-c.quit:
	}
}

// send forwards sig to the command, if it still runs.
func (c *Command) send(sig syscall.Signal) {
	c.mu.Lock()
	var err error
	if !c.reaped {
		err = syscall.Kill(c.pid, sig)
	}
	c.mu.Unlock()
	if err == nil || err == syscall.ESRCH || c.warnedPerm {
		return
	}
	c.warnedPerm = true
	c.warn(fmt.Sprintf("cannot forward %s to the command (pid %d): %v; vobs keeps waiting for it: signal it yourself if it should end",
		unix.SignalName(sig), c.pid, err))
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
