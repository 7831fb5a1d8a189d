// Package child runs the command that vobs observes: it starts it, forwards signals,
// waits for it and for its orphans, and lets vobs exit as the command did.
//
// The first promise of vobs is that the command does not notice it. So there is no new
// process group, no pipe, no pseudo-terminal and no os/exec here: the command has
// vobs's own stdin, terminal, process group, session, environment, limits and ignored
// signals, as if the shell had started it itself.
//
// A process can observe one command at a time: a single loop owns every wait of the
// process (wait4(-1), so that orphans adopted through the subreaper are reaped too).
// Nothing else in vobs may start processes while a Command exists: the loop would
// collect their exit status.
package child

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A ForwardMode is whether signals that reach vobs are forwarded.
type ForwardMode int

const (
	// ForwardAuto forwards what the command would otherwise miss: TERM, HUP,
	// USR1 and USR2 always, INT and QUIT unless the terminal sent them, because
	// then the command has received them already.
	ForwardAuto ForwardMode = iota
	// ForwardNever forwards nothing. It is for senders that signal the whole
	// process group, as timeout(1) and some batch systems do: under ForwardAuto
	// the command would get their signals twice.
	ForwardNever
)

// ParseForwardMode reads the value of --forward-signals: "auto" or "never".
func ParseForwardMode(s string) (ForwardMode, error) {
	switch s {
	case "auto":
		return ForwardAuto, nil
	case "never":
		return ForwardNever, nil
	}
	return ForwardAuto, fmt.Errorf("unknown value %q: use auto or never", s)
}

// String returns the spelling that ParseForwardMode reads.
func (m ForwardMode) String() string {
	if m == ForwardNever {
		return "never"
	}
	return "auto"
}

// A Spec describes the command to start.
type Spec struct {
	// Args is the command and its arguments. Args[0] is looked up in PATH as
	// execvp(3) does, and passed to the command unchanged.
	Args []string
	// Env is the command's environment; nil means Environ().
	Env []string
	// Stdout is the command's standard output: os.Stdout (the default if nil), or
	// os.Stderr if stdout belongs to the event. Standard input and standard error
	// are always vobs's own.
	Stdout *os.File
	// Forward is which signals are forwarded.
	Forward ForwardMode
	// Warn receives one-line warnings for the user, without prefix or newline. It
	// may be called from any goroutine; nil drops them.
	Warn func(msg string)
	// BeforeShutdown is called once, on a goroutine of its own, when the first
	// shutdown signal (INT, QUIT, TERM, HUP) reaches vobs while the command
	// runs, forwarded or not. It is the chance to read a server's metrics once
	// more. The callee must bound its time (250 ms); the signal is forwarded
	// after at most 500 ms, even if the callee has not returned.
	BeforeShutdown func(sig syscall.Signal)
}

const (
	// beforeShutdownLimit bounds how long Spec.BeforeShutdown delays a signal:
	// twice what the callee allows itself.
	beforeShutdownLimit = 500 * time.Millisecond
	// lateSignalLimit bounds how long the loop waits until vobs receives the
	// signal that has just ended the command: Ctrl-C goes to both at once, but
	// the command's death may be seen first.
	lateSignalLimit = 100 * time.Millisecond
)

// An Exit is how the command ended.
type Exit struct {
	// Code is the exit code, 0 to 255; meaningless if Signal is set.
	Code int
	// Signal is the signal that killed the command, 0 if it exited by itself.
	Signal syscall.Signal
	// CoreDumped reports whether the kernel wrote a core dump of it.
	CoreDumped bool
	// Interrupted reports whether a shutdown signal (INT, QUIT, TERM, HUP) reached
	// vobs, from a process or the terminal, while the command ran.
	Interrupted bool
	// Ended is when the command was reaped. Done may be closed up to 100 ms later,
	// while vobs waits for a signal that may have ended the command.
	Ended time.Time
}

// A Command is a started command. Its methods are safe for concurrent use.
type Command struct {
	pid  int
	spec Spec

	receiver *receiver
	sigs     chan received    // what it received
	early    []syscall.Signal // those caught before the start
	late     []syscall.Signal // those ignored when vobs started, caught after the start

	drain chan chan struct{} // makes the signal loop handle what is pending
	quit  chan struct{}      // closed by Close
	wg    sync.WaitGroup     // the signal loop

	// mu keeps a signal from being sent to a pid that is no longer the command's:
	// the command is reaped and signalled under it.
	mu     sync.Mutex
	reaped bool

	exit        Exit
	ended       chan struct{} // closed once the command is reaped, before done
	done        chan struct{}
	none        chan struct{} // closed when no children remain
	interrupted chan struct{} // closed on the first shutdown signal
	cancelled   chan struct{}
	cpuNS       atomic.Int64
	warnedPerm  bool // signal loop only
	closeOnce   sync.Once
}

// running ensures that there is one wait loop in the process.
var running atomic.Bool

// Start starts the command. Signal handlers are in place before it runs, so
// that no signal can end vobs and leave the command behind.
//
// If the command cannot be run, the error is a *StartError with the exit code that a
// shell would return (127 not found, 126 not executable). Any other error is vobs's
// own failure.
func Start(s Spec) (*Command, error) {
	if len(s.Args) == 0 {
		return nil, errors.New("no command to run: name it after the flags, as in vobs run -- sleep 1")
	}
	if !running.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("cannot start %q: an earlier command, or what it left behind, is still being waited for", s.Args[0])
	}
	if s.Stdout == nil {
		s.Stdout = os.Stdout
	}
	c := &Command{
		spec:        s,
		sigs:        make(chan received, 64),
		drain:       make(chan chan struct{}),
		quit:        make(chan struct{}),
		ended:       make(chan struct{}),
		done:        make(chan struct{}),
		none:        make(chan struct{}),
		interrupted: make(chan struct{}),
		cancelled:   make(chan struct{}),
	}
	var err error
	if c.receiver, err = newReceiver(c.sigs); err != nil {
		running.Store(false)
		return nil, err
	}
	if err := adoptOrphans(); err != nil {
		c.warn(fmt.Sprintf("cannot adopt the command's orphans (%v): their CPU time is not counted and leftovers may be missed", err))
	}
	c.catchEarly()
	pid, err := spawn(s)
	if err != nil {
		c.release()
		running.Store(false)
		return nil, err
	}
	c.pid = pid
	c.catchLate()
	silenceChildren()
	c.wg.Add(1)
	go c.signalLoop()
	go c.waitLoop()
	return c, nil
}

// Pid returns the command's process id.
func (c *Command) Pid() int { return c.pid }

// Done is closed when the command itself has ended and been reaped, even if some of
// its descendants still run.
func (c *Command) Done() <-chan struct{} { return c.done }

// Exit returns how the command ended. It waits for Done.
func (c *Command) Exit() Exit {
	<-c.done
	return c.exit
}

// Interrupted reports whether a shutdown signal has reached vobs so far.
func (c *Command) Interrupted() bool {
	select {
	case <-c.interrupted:
		return true
	default:
		return false
	}
}

// Cancelled is closed when a shutdown signal (INT, QUIT, TERM, HUP) arrives after Done:
// the user wants vobs to end, so settling and uploads should end too.
func (c *Command) Cancelled() <-chan struct{} { return c.cancelled }

// CPUTime returns the user and system time of every process reaped so far: the command
// with the descendants it waited for, and orphans that vobs adopted. It does not
// include processes that still run, nor those whose parent ignores CHLD.
func (c *Command) CPUTime() time.Duration { return time.Duration(c.cpuNS.Load()) }

// NoChildren is closed when the command and every descendant that the kernel
// reparented to vobs are gone (wait4 returns ECHILD). On Linux that is every
// descendant; elsewhere orphans go to process 1 and only the command itself counts.
func (c *Command) NoChildren() <-chan struct{} { return c.none }

// WaitNoChildren waits for NoChildren for at most timeout and reports whether it was
// closed. Call it after Done to give a server's helpers time to end.
func (c *Command) WaitNoChildren(timeout time.Duration) bool {
	select {
	case <-c.none:
		return true
	default:
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-c.none:
		return true
	case <-t.C:
		return false
	}
}

// Close restores the signal handling and ends the signal goroutine. After it, INT and
// TERM end vobs at once, so call it last. The wait loop ends by itself when no child is
// left; while leftovers run it stays, blocked in the kernel.
func (c *Command) Close() {
	c.closeOnce.Do(func() {
		close(c.quit)
		c.wg.Wait()
		c.release()
	})
}

// waitLoop owns every wait of the process. It ends when the command has been reaped and
// no child is left: without children, no descendant can become one.
func (c *Command) waitLoop() {
	ended := false
	orphans := rest{pid: c.pid}
	defer orphans.close()
	rested := false // more than one may have ended
	for {
		var pid int
		var ws syscall.WaitStatus
		var ru syscall.Rusage
		var err error
		if rested {
			if pid = c.reapEnded(&ws, &ru); pid == 0 {
				if rested = orphans.again(); rested {
					continue
				}
			}
		}
		if pid == 0 {
			pid, ws, ru, err = c.reapNext()
		}
		switch {
		case err == nil:
			c.cpuNS.Add(syscall.TimevalToNsec(ru.Utime) + syscall.TimevalToNsec(ru.Stime))
			if pid == c.pid {
				ended, rested = true, false
				c.finish(exitOf(ws))
			} else if !ended {
				rested = orphans.after(time.Now(), rested)
			}
		case errors.Is(err, syscall.EINTR):
		default: // ECHILD
			if !ended {
				// Only another waiter in this process, or an ignored CHLD, can cause
				// this. There is no exit code to return then, and 0 would be wrong.
				c.warn(fmt.Sprintf("the exit status of the command (pid %d) was lost (%v): reporting 255", c.pid, err))
				c.mu.Lock()
				c.reaped = true
				c.mu.Unlock()
				c.finish(Exit{Code: 255, Ended: time.Now()})
			}
			running.Store(false)
			close(c.none)
			return
		}
	}
}

// reapEnded reaps a child that has ended; pid is 0 if none has. It needs one call instead of
// the two of reapNext, because it does not wait while it holds mu.
func (c *Command) reapEnded(ws *syscall.WaitStatus, ru *syscall.Rusage) (pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pid, err := syscall.Wait4(-1, ws, syscall.WNOHANG, ru)
	if err != nil {
		return 0 // reapNext returns why
	}
	if pid == c.pid {
		c.reaped = true
	}
	return pid
}

// finish publishes how the command ended, once it is clear whether a shutdown signal
// came with it.
func (c *Command) finish(e Exit) {
	close(c.ended)
	c.drainSignals()
	if looksInterrupted(e) {
		t := time.NewTimer(lateSignalLimit)
		select {
		case <-c.interrupted:
		case <-t.C:
		case <-c.quit:
		}
		t.Stop()
	}
	// Under mu, so that each signal is counted once: as the command's or as vobs's.
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.interrupted:
		e.Interrupted = true
	default:
	}
	c.exit = e
	close(c.done)
}

// drainSignals makes the signal loop handle every signal that was received.
func (c *Command) drainSignals() {
	c.receiver.flush()
	ack := make(chan struct{})
	select {
	case c.drain <- ack:
		<-ack
	case <-c.quit:
	}
}

// looksInterrupted reports whether a shutdown signal may have ended the command: it was
// killed by one, or exited as shells do when a child was killed by one.
func looksInterrupted(e Exit) bool {
	if e.Signal != 0 {
		return slices.Contains(shutdownSignals, e.Signal)
	}
	return e.Code > 128 && slices.Contains(shutdownSignals, syscall.Signal(e.Code-128))
}

func exitOf(ws syscall.WaitStatus) Exit {
	e := Exit{Ended: time.Now()}
	if ws.Signaled() {
		e.Signal, e.CoreDumped = ws.Signal(), ws.CoreDump()
	} else {
		e.Code = ws.ExitStatus()
	}
	return e
}

func (c *Command) warn(msg string) {
	if c.spec.Warn != nil {
		c.spec.Warn(msg)
	}
}
