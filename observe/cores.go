package observe

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

const (
	// maxWatched bounds the processes that are watched: each takes a descriptor.
	maxWatched = 64
	// supportedAfter is how long after the end of a core its server must still have
	// said that the engine is dead, where something else says so too.
	supportedAfter = 20 * time.Millisecond
	// unsupportedAfter is the same where nothing else does.
	unsupportedAfter = 100 * time.Millisecond
	// askEvery, later askSlowly, is how often a server is asked after that.
	askEvery, askSlowly = 20 * time.Millisecond, 250 * time.Millisecond
	// askFor ends the asking: an idle server of vLLM looks every 5 s whether its
	// engine lives.
	askFor = 12 * time.Second
	// signalSlack is how much later than the end of a core the signal that asked
	// for it may have been seen: the two reach different processes.
	signalSlack = time.Second
)

// coreWatch notices that the engine core of a server ends while the server lives:
// `vllm serve` then ends by itself, with exit code 0.
//
// The end of a core alone proves nothing, for a server that is asked to end kills
// its own core. What vLLM 0.32.0 does then was seen (and read in its
// v1/engine/core_client.py and entrypoints/launchers/launcher.py): it stops its
// cores, or kills them with their workers; only then it takes its engine for dead,
// and at once it closes its door. So it is a death where
//
//   - a worker has ended, and the server says at /health that the engine is dead while
//     the core is not even ending (and no signal to a process group that vobs is not
//     in can have led to that); or
//   - it says so a while after the core's end: 20 ms where a worker of the core
//     was left behind that nobody is ending, or where the core failed or crashed by
//     its exit status; else 100 ms, again and again; or
//   - the core, the only one, ended with an exception's exit status (with the same
//     reservation).
//
// A core that ended with exit status 0 was asked to. Nothing is claimed where a
// shutdown signal had reached vobs, nor where the kernel does not let us look.
type coreWatch struct {
	procRoot string
	cfg      probe.Config
	debug    func(string)
	protect  func(part func()) // keeps a panic from ending vobs
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu      sync.Mutex
	watched map[proc.Process]bool // without name and parent
	servers map[int]*coreServer   // by the pid of the process that listens
	deaths  []death
	asked   time.Time // when a shutdown signal had reached vobs; zero: none
	stopped bool
}

// coreServer is a server with its helpers as they were last seen. The lock of the
// watch guards it.
type coreServer struct {
	process proc.Process
	targets []scrape.Target
	helpers []proc.Process // its descendants
	died    bool           // a death was noted: those that follow are its consequence
}

// death is a core that ended, or was about to, and that nobody had asked to.
type death struct {
	at      time.Time
	message func(started time.Time) string
}

func newCoreWatch(procRoot string, cfg probe.Config) *coreWatch {
	ctx, cancel := context.WithCancel(context.Background())
	return &coreWatch{
		procRoot: procRoot, cfg: cfg, debug: func(string) {}, protect: func(part func()) { part() }, ctx: ctx, cancel: cancel,
		watched: map[proc.Process]bool{}, servers: map[int]*coreServer{},
	}
}

// see takes notice of a server that listens at targets, among processes of which
// some are its descendants.
func (w *coreWatch) see(server proc.Process, processes []proc.Process, targets []scrape.Target) {
	helpers := below(server.PID, processes)
	if !slices.ContainsFunc(helpers, func(p proc.Process) bool { return strings.HasPrefix(p.Comm, vllm.EngineCoreTitle) }) {
		return // none, or none any more: then what it had is what counts
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	s := w.servers[server.PID]
	if s == nil || s.process.StartTicks != server.StartTicks {
		s = &coreServer{process: server}
		w.servers[server.PID] = s
	}
	s.helpers = helpers
	if len(targets) > 0 {
		s.targets = targets
	}
	for _, p := range helpers {
		isCore := strings.HasPrefix(p.Comm, vllm.EngineCoreTitle)
		if !isCore && !strings.HasPrefix(p.Comm, vllm.WorkerTitle) {
			continue
		}
		id := proc.Process{PID: p.PID, StartTicks: p.StartTicks}
		if w.watched[id] || len(w.watched) >= maxWatched {
			continue
		}
		w.watched[id] = true
		end, err := proc.WatchExit(w.procRoot, p)
		if err != nil {
			w.debug(err.Error())
			continue
		}
		w.debug(fmt.Sprintf("watching process %d (%s) of the server %d", p.PID, p.Comm, server.PID))
		group, _ := unix.Getpgid(p.PID)
		w.wg.Go(func() { w.protect(func() { w.follow(s, p, group == unix.Getpgrp(), end) }) })
	}
}

// below gives those of processes that descend from one.
func below(pid int, processes []proc.Process) []proc.Process {
	in := map[int]bool{pid: true}
	var out []proc.Process
	for grown := true; grown; { // parents need not come first
		grown = false
		for _, p := range processes {
			if !in[p.PID] && in[p.PPID] {
				in[p.PID], grown = true, true
				out = append(out, p)
			}
		}
	}
	return out
}

// follow waits for the end of a core or a worker and judges it; ourGroup says that
// a signal to its process group reaches vobs too.
func (w *coreWatch) follow(s *coreServer, p proc.Process, ourGroup bool, end *proc.ExitWatcher) {
	defer end.Close()
	defer context.AfterFunc(w.ctx, end.Close)()
	at, err := end.Wait()
	if err != nil {
		return // the run is over
	}
	w.mu.Lock()
	targets, helpers := s.targets, s.helpers
	w.mu.Unlock()
	switch {
	case strings.HasPrefix(p.Comm, vllm.WorkerTitle) && !ourGroup:
		// A signal to its whole group may have asked it and the server at once.
	case strings.HasPrefix(p.Comm, vllm.WorkerTitle):
		w.workerEnded(s, p, helpers, targets, at)
	default:
		w.coreEnded(s, p, ourGroup, helpers, targets, at, end)
	}
	w.debug(fmt.Sprintf("the end of process %d (%s) was looked into", p.PID, p.Comm))
}

// workerEnded sees whether the server says that its engine is dead while the
// worker's core is not ending.
func (w *coreWatch) workerEnded(s *coreServer, worker proc.Process, helpers []proc.Process, targets []scrape.Target, at time.Time) {
	i := slices.IndexFunc(helpers, func(p proc.Process) bool {
		return p.PID == worker.PPID && strings.HasPrefix(p.Comm, vllm.EngineCoreTitle)
	})
	if i < 0 {
		return
	}
	core := helpers[i]
	w.ask(targets, func(status int, sent time.Time) (goOn bool) {
		if proc.StateOf(w.procRoot, core) != proc.Running {
			return false // its own end is judged
		}
		if status == http.StatusServiceUnavailable {
			w.note(s, at, fmt.Sprintf("a worker of the engine core (process %d) ended", worker.PID))
			return false
		}
		return status == http.StatusOK
	})
}

func (w *coreWatch) coreEnded(s *coreServer, core proc.Process, ourGroup bool, helpers []proc.Process, targets []scrape.Target, at time.Time, end *proc.ExitWatcher) {
	cores, left := 0, 0
	for _, p := range helpers {
		switch {
		case strings.HasPrefix(p.Comm, vllm.EngineCoreTitle):
			cores++
		case p.PPID == core.PID && strings.HasPrefix(p.Comm, vllm.WorkerTitle) && proc.StateOf(w.procRoot, p) == proc.Running:
			left++
		}
	}
	var first time.Time // when the server first said that the engine is dead
	goOn := func(status int, sent time.Time) bool {
		told := ""
		after := unsupportedAfter
		if left > 0 {
			after, told = supportedAfter, " and left its workers behind"
		}
		if how, ok := end.Status(); ok {
			switch {
			case how.Exited() && how.ExitStatus() == 0:
				return false // it was asked
			case how.Exited() && cores == 1 && ourGroup && proc.StateOf(w.procRoot, s.process) == proc.Running:
				w.note(s, at, fmt.Sprintf("the engine core (process %d) failed with exit code %d", core.PID, how.ExitStatus()))
				return false
			case how.Exited():
				after, told = supportedAfter, fmt.Sprintf(" with exit code %d", how.ExitStatus())
			case how.Signaled() && crashed(how.Signal()):
				after = supportedAfter
				fallthrough
			case how.Signaled():
				told = fmt.Sprintf(", killed by %s%s", unix.SignalName(how.Signal()), told)
			}
		}
		switch status {
		case 0:
			return false // the door is closed
		case http.StatusOK:
			first = time.Time{}
			return true // it has not noticed yet
		case http.StatusServiceUnavailable:
		default:
			return false // no server of this kind
		}
		// With data parallelism the server waits for its coordinator's end meanwhile.
		if slices.ContainsFunc(helpers, func(p proc.Process) bool {
			return strings.HasPrefix(p.Comm, vllm.CoordinatorTitle) && proc.StateOf(w.procRoot, p) != proc.Exited
		}) {
			first, at = time.Time{}, sent
			return true
		}
		again := !first.IsZero()
		if !again {
			first = sent
		}
		if sent.Sub(at) < after || !again && after == unsupportedAfter {
			return true
		}
		w.note(s, at, fmt.Sprintf("the engine core (process %d) ended%s", core.PID, told))
		return false
	}
	if w.pause(supportedAfter) {
		w.ask(targets, goOn)
	}
}

// crashed says whether a signal is one that a process gets for its own faults.
func crashed(sig syscall.Signal) bool {
	return slices.Contains([]syscall.Signal{syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGTRAP, syscall.SIGSYS}, sig)
}

// ask asks the server how its engine is, until goOn says no or the run is over. 0
// stands for no answer. Of several addresses the first counts that answers.
func (w *coreWatch) ask(targets []scrape.Target, goOn func(status int, sent time.Time) bool) {
	began := time.Now()
	for wait := askEvery; time.Since(began) < askFor; {
		status, sent := 0, time.Now()
		for _, t := range targets {
			var err error
			if status, err = probe.Health(w.ctx, w.cfg, t); err == nil {
				break
			}
		}
		if w.ctx.Err() != nil || !goOn(status, sent) {
			return
		}
		if time.Since(began) > 20*askEvery {
			wait = askSlowly
		}
		if !w.pause(wait) {
			return
		}
	}
}

// pause says whether the run still goes on after some time.
func (w *coreWatch) pause(d time.Duration) bool {
	select {
	case <-w.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// note keeps the first death of a server.
func (w *coreWatch) note(s *coreServer, at time.Time, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.died {
		return
	}
	s.died = true
	w.deaths = append(w.deaths, death{at: at, message: func(started time.Time) string {
		return fmt.Sprintf("%s %.1f s into the run while its API server (process %d) lived, and nobody had asked for it: requests under way were lost, and vllm serve ends with exit code 0 all the same", what, at.Sub(started).Seconds(), s.process.PID)
	}})
}

// signalled says that a shutdown signal has reached vobs: what ends from now on was asked to.
func (w *coreWatch) signalled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked.IsZero() {
		w.asked = time.Now()
	}
}

// stop ends the watching; what was noted stays.
func (w *coreWatch) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.cancel()
	w.wg.Wait()
}

// notes tells of the deaths so far; started is when the command did.
func (w *coreWatch) notes(started time.Time) (n schema.Notes) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.deaths {
		if w.asked.IsZero() || d.at.Add(signalSlack).Before(w.asked) {
			n.Doubt(schema.CodeEngineDied, schema.Error, d.message(started), nil)
		}
	}
	return n
}
