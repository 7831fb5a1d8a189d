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

// shutdownSignals ask a program to end.
var shutdownSignals = []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP}

// caughtSignals are all that vobs handles. What is not here is left to the
// kernel and the Go runtime: job control (TSTP, CONT, TTIN, TTOU) so that
// Ctrl-Z and fg work, CHLD, and URG, which the runtime itself uses.
var caughtSignals = []syscall.Signal{
	syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2,
}

// An origin is who sent an INT or QUIT.
type origin int

const (
	fromProcess  origin = iota // kill(2): vobs alone has it, the command needs it
	fromTerminal               // a typed key: the kernel signalled the whole group
	fromNobody                 // already accounted for: two arrivals became one
)

// catchEarly installs the handlers before the command starts, and gives back
// to the command the signals that were ignored when vobs started: the Go
// runtime handles all but HUP and INT even then, and a handled signal is reset
// to its default by exec.
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
	// Caught, not ignored: the command would inherit that. Nobody reads the
	// channel; a write to a closed pipe gives EPIPE instead of killing vobs.
	if !wasIgnored(syscall.SIGPIPE) {
		signal.Notify(c.pipe, syscall.SIGPIPE)
	}
}

// catchLate catches the signals that the command inherited as ignored, now that
// it has. They matter where the command installs its own handler for them, as
// servers started in the background of a script do for INT.
func (c *Command) catchLate() { c.catch(c.late) }

func (c *Command) catch(sigs []os.Signal) {
	if len(sigs) == 0 { // Notify without a list would mean every signal
		return
	}
	// The watch goes in twice: before Notify no signal is missed where the
	// runtime's handler is there already; after it where Notify installed it.
	c.watch(sigs)
	signal.Notify(c.sigs, sigs...)
	c.watch(sigs)
}

func (c *Command) watch(sigs []os.Signal) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
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

// signalLoop handles one signal after the other, so that they are forwarded in
// the order in which they came.
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
	if sig == syscall.SIGINT || sig == syscall.SIGQUIT {
		if from = senderOf(sig); from == fromNobody {
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

// shutdown notes that a shutdown signal arrived and tells whether it is one for
// the command.
func (c *Command) shutdown(sig syscall.Signal) bool {
	// A signal ignored since the start (nohup) means nothing to vobs; it means
	// something to the command only where that changed its mind.
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
	case <-c.ended: // nobody is left to forward to
	case <-c.quit:
	}
}

// send passes sig on to the command, if it still runs.
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
	c.warn(fmt.Sprintf("cannot forward %s to the command (pid %d): %v; signal it yourself if it should end, vobs goes on waiting for it",
		unix.SignalName(sig), c.pid, err))
}

// guessSender takes the terminal for the sender where it could have been.
func guessSender() origin {
	if inForeground() {
		return fromTerminal
	}
	return fromProcess
}

// inForeground tells whether our process group is the foreground group of our
// terminal: then a typed Ctrl-C reaches the command without us.
func inForeground() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
