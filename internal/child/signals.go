package child

import (
	"fmt"
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
	return []syscall.Signal{syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS}
}

// A sender is who sent a signal.
type sender int

const (
	fromProcess  sender = iota // kill(2): only vobs got it, and the command needs it
	fromTerminal               // a key: the kernel signalled the whole group
)

// received is a signal that vobs received.
type received struct {
	sig  syscall.Signal
	from sender
}

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
	c.receiver.catch(c.early)
	if !wasIgnored(syscall.SIGPIPE) {
		c.receiver.surviveBrokenPipe()
	}
}

// catchLate catches the signals that the command has now inherited as ignored. They
// matter if the command installs its own handler for them, as servers started in the
// background of a script do for INT.
func (c *Command) catchLate() { c.receiver.catch(c.late) }

// release undoes catchEarly and catchLate.
func (c *Command) release() {
	c.receiver.stop()
	for _, sig := range c.late {
		signal.Ignore(sig)
	}
}

// signalLoop handles one signal after the other, so that they are forwarded in the
// order in which they arrived.
func (c *Command) signalLoop() {
	defer c.wg.Done()
	for {
		select {
		case s := <-c.sigs:
			c.handle(s)
		case ack := <-c.drain:
			for pending := true; pending; {
				select {
				case s := <-c.sigs:
					c.handle(s)
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

func (c *Command) handle(s received) {
	if slices.Contains(shutdownSignals, s.sig) && !c.shutdown(s.sig) {
		return
	}
	// Of other signals than INT and QUIT, the kernel's own (a timer's, a hangup's) come
	// to vobs alone.
	typed := s.from == fromTerminal && (s.sig == syscall.SIGINT || s.sig == syscall.SIGQUIT)
	if c.spec.Forward == ForwardAuto && !typed {
		c.send(s.sig)
	}
}

// shutdown records a shutdown signal and reports whether it is for the command.
func (c *Command) shutdown(sig syscall.Signal) bool {
	// A signal that was ignored at the start (nohup) means nothing to vobs. It means
	// something to the command only if the command has stopped ignoring it.
	late := slices.Contains(c.late, sig)
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
