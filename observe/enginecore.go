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

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

const (
	// maxWatched bounds the watched processes: each takes a descriptor.
	maxWatched = 64
	// corroboratedDelay is how long after the end of a core its server must still
	// report a dead engine, if there is other evidence for a death.
	corroboratedDelay = 20 * time.Millisecond
	// uncorroboratedDelay is the same without other evidence.
	uncorroboratedDelay = 100 * time.Millisecond
	// healthInterval is how often /health is queried after that, slowHealthInterval later on.
	healthInterval, slowHealthInterval = 20 * time.Millisecond, 250 * time.Millisecond
	// healthTimeout ends the queries: an idle server of vLLM checks its engine every 5 s.
	healthTimeout = 12 * time.Second
	// signalSlack is how much later than the end of a core the signal that caused it
	// may have been seen: the two reach different processes.
	signalSlack = time.Second
)

// coreMonitor notices that the engine core of a server ends while the server lives:
// `vllm serve` then ends by itself, with exit code 0.
//
// The end of a core alone proves nothing, because a server that is shut down kills its own
// core. This is what vLLM 0.32.0 does then (observed, and read in its
// v1/engine/core_client.py and entrypoints/launchers/launcher.py): it stops its cores, or
// kills them with their workers; only then does it consider its engine dead, and it closes
// its port immediately. So the end of a core is a death if
//
//   - a worker has ended, and /health reports a dead engine while the core is not even
//     ending (and no signal to a process group that vobs is not in can have caused
//     that); or
//   - /health still reports that a while after the core's end: 20 ms if a worker of the
//     core was left running, or if the core failed or crashed by its exit status;
//     otherwise 100 ms, repeatedly; or
//   - the core, the only one, ended with an exception's exit status (with the same
//     reservation).
//
// A core with exit status 0 was shut down. Nothing is reported if a shutdown signal had
// reached vobs, or if the kernel does not let vobs look.
type coreMonitor struct {
	procRoot  string
	cfg       probe.Config
	debug     func(string)
	recovered func(field string, part func())
	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup

	mu         sync.Mutex
	watched    map[proc.Process]bool // without name and parent
	servers    map[int]*coreServer   // by the pid of the process that listens
	deaths     []coreDeath
	shutdownAt time.Time // when a shutdown signal reached vobs; zero if none did
	stopped    bool
}

// coreServer is a server as it was last seen. The lock of the monitor guards it.
type coreServer struct {
	process     proc.Process
	targets     []scrape.Target
	descendants []proc.Process
	died        bool // a death was recorded: later ones are its consequence
}

// coreDeath is a core that ended, or was about to, without a shutdown.
type coreDeath struct {
	at      time.Time
	message func(started time.Time) string
}

// processExit is the end of a core or a worker, with its server as it was then.
type processExit struct {
	process     proc.Process
	at          time.Time
	watcher     *proc.ExitWatcher
	sharesGroup bool // a signal to its process group reaches vobs, too
	server      *coreServer
	targets     []scrape.Target
	descendants []proc.Process // of the server
}

func newCoreMonitor(procRoot string, cfg probe.Config, debug func(string), recovered func(field string, part func())) *coreMonitor {
	ctx, cancel := context.WithCancel(context.Background())
	return &coreMonitor{
		procRoot: procRoot, cfg: cfg, debug: debug, recovered: recovered, ctx: ctx, cancel: cancel,
		watched: map[proc.Process]bool{}, servers: map[int]*coreServer{},
	}
}

// track records a server that listens at targets, and watches its cores and workers, which
// are among processes.
func (m *coreMonitor) track(server proc.Process, processes []proc.Process, targets []scrape.Target) {
	descendants := descendantsOf(server.PID, processes)
	if !slices.ContainsFunc(descendants, isCore) {
		return // it has no core, or none any more: then what it had last counts
	}
	s, unwatched := m.record(server, descendants, targets)
	for _, p := range unwatched {
		m.watch(s, p)
	}
}

// record records a server, and returns those of its cores and workers that are not watched
// yet.
func (m *coreMonitor) record(server proc.Process, descendants []proc.Process, targets []scrape.Target) (s *coreServer, unwatched []proc.Process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, nil
	}
	s = m.servers[server.PID]
	if s == nil || s.process.StartTicks != server.StartTicks {
		s = &coreServer{process: server}
		m.servers[server.PID] = s
	}
	s.descendants = descendants
	if len(targets) > 0 {
		s.targets = targets
	}
	for _, p := range descendants {
		id := proc.Process{PID: p.PID, StartTicks: p.StartTicks}
		if (isCore(p) || isWorker(p)) && !m.watched[id] && len(m.watched) < maxWatched {
			m.watched[id] = true
			unwatched = append(unwatched, p)
		}
	}
	return s, unwatched
}

// watch starts a goroutine that waits for the end of a process. It reads /proc, so the lock is
// not held.
func (m *coreMonitor) watch(s *coreServer, p proc.Process) {
	watcher, err := proc.WatchExit(m.procRoot, p)
	if err != nil {
		m.debug(err.Error())
		return
	}
	m.debug(fmt.Sprintf("watching process %d (%s) of the server %d", p.PID, p.Comm, s.process.PID))
	group, _ := unix.Getpgid(p.PID)
	e := processExit{process: p, watcher: watcher, sharesGroup: group == unix.Getpgrp(), server: s}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		watcher.Close()
		return
	}
	m.wg.Go(func() { m.recovered("engine", func() { m.awaitExit(e) }) })
}

func isCore(p proc.Process) bool        { return strings.HasPrefix(p.Comm, vllm.EngineCoreTitle) }
func isWorker(p proc.Process) bool      { return strings.HasPrefix(p.Comm, vllm.WorkerTitle) }
func isCoordinator(p proc.Process) bool { return strings.HasPrefix(p.Comm, vllm.CoordinatorTitle) }

// descendantsOf returns those of processes that descend from pid.
func descendantsOf(pid int, processes []proc.Process) []proc.Process {
	in := map[int]bool{pid: true}
	var out []proc.Process
	for grown := true; grown; { // a parent may come after its children
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

// awaitExit waits for the end of a core or a worker and decides whether it was a death.
func (m *coreMonitor) awaitExit(e processExit) {
	defer e.watcher.Close()
	defer context.AfterFunc(m.ctx, e.watcher.Close)()
	at, err := e.watcher.Wait()
	if err != nil {
		return // the run is over
	}
	e.at = at
	m.mu.Lock()
	e.targets, e.descendants = e.server.targets, e.server.descendants
	m.mu.Unlock()
	switch {
	case isWorker(e.process) && !e.sharesGroup:
		// A signal to its whole group may have ended it and the server together.
	case isWorker(e.process):
		m.workerEnded(e)
	default:
		m.coreEnded(e)
	}
	m.debug(fmt.Sprintf("checked how process %d ended (%s)", e.process.PID, e.process.Comm))
}

// workerEnded records a death if the server reports a dead engine while the worker's core is
// not ending.
func (m *coreMonitor) workerEnded(e processExit) {
	i := slices.IndexFunc(e.descendants, func(p proc.Process) bool { return p.PID == e.process.PPID && isCore(p) })
	if i < 0 {
		return
	}
	core := e.descendants[i]
	m.pollHealth(e.targets, func(status int, _ time.Time) (goOn bool) {
		if m.stateOf(core) != proc.Running {
			return false // its own end is looked into
		}
		if status == http.StatusServiceUnavailable {
			m.addDeath(e.server, e.at, fmt.Sprintf("a worker of the engine core (process %d) ended", e.process.PID))
			return false
		}
		return status == http.StatusOK
	})
}

// coreEnded records a death if the evidence that coreMonitor lists is there.
func (m *coreMonitor) coreEnded(e processExit) {
	cores, workersLeft := 0, false
	for _, p := range e.descendants {
		if isCore(p) {
			cores++
		} else if p.PPID == e.process.PID && isWorker(p) && m.stateOf(p) == proc.Running {
			workersLeft = true
		}
	}
	at := e.at
	var firstDead time.Time // when the server first reported a dead engine
	goOn := func(status int, sent time.Time) bool {
		delay, detail := uncorroboratedDelay, ""
		if workersLeft {
			delay, detail = corroboratedDelay, " and left its workers behind"
		}
		if how, ok := e.watcher.Status(); ok {
			switch {
			case how.Exited() && how.ExitStatus() == 0:
				return false // it was shut down
			case how.Exited() && cores == 1 && e.sharesGroup && m.stateOf(e.server.process) == proc.Running:
				m.addDeath(e.server, at, fmt.Sprintf("the engine core (process %d) failed with exit code %d", e.process.PID, how.ExitStatus()))
				return false
			case how.Exited():
				delay, detail = corroboratedDelay, fmt.Sprintf(" with exit code %d", how.ExitStatus())
			case how.Signaled() && isCrash(how.Signal()):
				delay = corroboratedDelay
				fallthrough
			case how.Signaled():
				detail = fmt.Sprintf(", killed by %s%s", unix.SignalName(how.Signal()), detail)
			}
		}
		switch status {
		case 0:
			return false // the port is closed
		case http.StatusOK:
			firstDead = time.Time{}
			return true // it has not noticed yet
		case http.StatusServiceUnavailable:
		default:
			return false // not a vLLM server
		}
		// With data parallelism the server waits for the end of its coordinator first.
		if slices.ContainsFunc(e.descendants, func(p proc.Process) bool {
			return isCoordinator(p) && m.stateOf(p) != proc.Exited
		}) {
			firstDead, at = time.Time{}, sent
			return true
		}
		again := !firstDead.IsZero()
		if !again {
			firstDead = sent
		}
		if sent.Sub(at) < delay || !again && delay == uncorroboratedDelay {
			return true
		}
		m.addDeath(e.server, at, fmt.Sprintf("the engine core (process %d) ended%s", e.process.PID, detail))
		return false
	}
	if m.sleep(corroboratedDelay) {
		m.pollHealth(e.targets, goOn)
	}
}

// stateOf returns the state of a process.
func (m *coreMonitor) stateOf(p proc.Process) (s proc.State) {
	blocking(func() { s = proc.StateOf(m.procRoot, p) })
	return s
}

// isCrash reports whether the kernel sends a signal to a process for its own faults.
func isCrash(sig syscall.Signal) bool {
	return slices.Contains([]syscall.Signal{syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGTRAP, syscall.SIGSYS}, sig)
}

// pollHealth queries /health until goOn returns false or the run is over. status is 0 if
// there is no response, sent is when the query was sent. The first of several addresses
// that responds counts.
func (m *coreMonitor) pollHealth(targets []scrape.Target, goOn func(status int, sent time.Time) bool) {
	began := time.Now()
	for interval := healthInterval; time.Since(began) < healthTimeout; {
		status, sent := 0, time.Now()
		for _, t := range targets {
			var err error
			if status, err = probe.Health(m.ctx, m.cfg, t); err == nil {
				break
			}
		}
		if m.ctx.Err() != nil || !goOn(status, sent) {
			return
		}
		if time.Since(began) > 20*healthInterval {
			interval = slowHealthInterval
		}
		if !m.sleep(interval) {
			return
		}
	}
}

// sleep waits for d and reports whether the run still goes on.
func (m *coreMonitor) sleep(d time.Duration) bool {
	select {
	case <-m.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// addDeath records the first death of a server.
func (m *coreMonitor) addDeath(s *coreServer, at time.Time, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.died {
		return
	}
	s.died = true
	m.deaths = append(m.deaths, coreDeath{at: at, message: func(started time.Time) string {
		return fmt.Sprintf("%s %.1f s into the run while its API server (process %d) was running, without a shutdown: requests in progress were lost, although vllm serve ends with exit code 0", what, at.Sub(started).Seconds(), s.process.PID)
	}})
}

// shutdownRequested records that a shutdown signal has reached vobs: what ends from now
// on was shut down.
func (m *coreMonitor) shutdownRequested() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdownAt.IsZero() {
		m.shutdownAt = time.Now()
	}
}

// stop ends the watching; what was recorded stays. It does not wait for longer than
// lookTimeout: a goroutine may hang in a file of /proc.
func (m *coreMonitor) stop() {
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.cancel()
	stopped := make(chan struct{})
	go func() {
		m.wg.Wait()
		close(stopped)
	}()
	if !bounded.Wait(stopped, lookTimeout) {
		m.debug("watching engine cores did not end: a file of /proc does not respond")
	}
}

// notes returns the deaths so far; started is when the command started.
func (m *coreMonitor) notes(started time.Time) (n schema.Notes) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.deaths {
		if m.shutdownAt.IsZero() || d.at.Add(signalSlack).Before(m.shutdownAt) {
			n.Doubt(schema.CodeEngineDied, schema.Error, d.message(started), nil)
		}
	}
	return n
}
