package observe

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/observe/validity"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/host"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

const (
	// suspectedShare is the share of the host's CPUs that others must seem to have used for
	// the engines' processes to be looked for again.
	suspectedShare = 0.05
	// walkTimeout bounds the look at all processes of the host.
	walkTimeout = time.Second
)

// engineProcesses are the processes of a server, as they were when they were found.
type engineProcesses struct {
	server proc.Process
	// inTree reports whether they are the command's.
	inTree bool
	// processes are the server and its descendants; cpu is the CPU time of each at a time.
	processes []proc.Process
	cpu       []time.Duration
	at        time.Time
}

// readEngineProcesses reads the CPU time of a server and its descendants. The server comes
// first.
func (d *discovery) readEngineProcesses(processes []proc.Process) engineProcesses {
	e := engineProcesses{server: processes[0], inTree: d.tree != nil && d.tree.Descends(processes[0].PID)}
	if e.inTree {
		return e
	}
	for _, p := range processes {
		if cpu, err := proc.CPUTime(d.procRoot, p); err == nil {
			e.processes, e.cpu = append(e.processes, p), append(e.cpu, cpu)
		}
	}
	e.at = time.Now()
	return e
}

// engineNames returns the addresses whose processes count as the engines': those that were read,
// those that the user gave, and those with a known process.
func (d *discovery) engineNames(engine *schema.Engine) (names []string) {
	if engine != nil {
		for _, e := range engine.Endpoints {
			names = append(names, e.URL)
		}
	}
	targets := d.prober.Targets()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range targets {
		name := t.Name()
		_, known := d.engines[name]
		if (known || t.Origin == scrape.FromFlag) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// engineUse is the CPU time that the engines' processes used since they were found, and when
// the last server was found; zero if all are the command's.
type engineUse struct {
	cpu   time.Duration
	found time.Time
}

// engineCPU returns what the processes of the servers at these addresses used, those of the
// command's tree left out. Every server must be known.
func (d *discovery) engineCPU(names []string) (use engineUse, err error) {
	counted := map[int]bool{}
	for _, name := range names {
		target, ok := d.target(name)
		switch {
		case !ok:
			return engineUse{}, fmt.Errorf("%s is not known", name)
		case target.Started:
			continue // the command's
		}
		d.mu.Lock()
		e, ok := d.engines[name]
		d.mu.Unlock()
		switch {
		case !ok:
			return engineUse{}, fmt.Errorf("no process is known that listens at %s", name)
		case e.inTree:
			continue
		case !mayServe(e.server.Comm):
			return engineUse{}, fmt.Errorf("process %d (%s), which listens at %s, is not an engine's", e.server.PID, e.server.Comm, name)
		}
		used, err := e.used(d.procRoot, counted)
		if err != nil {
			return engineUse{}, err
		}
		use.cpu += used
		if e.at.After(use.found) {
			use.found = e.at
		}
	}
	return use, nil
}

// target returns the prober's target of this name.
func (d *discovery) target(name string) (scrape.Target, bool) {
	targets := d.prober.Targets()
	i := slices.IndexFunc(targets, func(t scrape.Target) bool { return t.Name() == name })
	if i < 0 {
		return scrape.Target{}, false
	}
	return targets[i], true
}

// used returns the CPU time that the processes used since they were found, without those in
// counted, to which it adds them. The time of one that ended is part of its parent's,
// unless the parent ended too.
func (e engineProcesses) used(procRoot string, counted map[int]bool) (cpu time.Duration, err error) {
	known := map[int]bool{}
	for _, p := range e.processes {
		known[p.PID] = true
	}
	if !known[e.server.PID] {
		return 0, fmt.Errorf("the CPU time of process %d was not read", e.server.PID)
	}
	for i, p := range e.processes {
		if counted[p.PID] {
			continue
		}
		counted[p.PID] = true
		now, err := proc.CPUTime(procRoot, p)
		switch {
		case err == nil:
			cpu += max(0, now-e.cpu[i])
		case p.PID == e.server.PID || !known[p.PPID]:
			return 0, fmt.Errorf("process %d of the engine ended", p.PID)
		}
	}
	return cpu, nil
}

// newEngineCPU returns the CPU time of the servers' processes that have appeared since the
// servers were found.
func (d *discovery) newEngineCPU(names []string) (cpu time.Duration, err error) {
	all, err := d.sockets.Table().Descendants(1)
	if err != nil {
		return 0, err
	}
	ours := d.ours()
	for _, p := range all {
		if strings.HasPrefix(p.Comm, rayTitle) && !ours[p.PID] {
			return 0, fmt.Errorf("process %d (%s) may work for the engine", p.PID, p.Comm)
		}
	}
	counted := map[int]bool{}
	for _, name := range names {
		d.mu.Lock()
		e, ok := d.engines[name]
		d.mu.Unlock()
		if !ok || e.inTree {
			continue
		}
		before := map[int]uint64{} // start times: names and parents may have changed
		for _, p := range e.processes {
			before[p.PID] = p.StartTicks
		}
		for _, p := range descendantsOf(e.server.PID, all) {
			if start, ok := before[p.PID]; ok && start == p.StartTicks || counted[p.PID] {
				continue
			}
			counted[p.PID] = true
			if used, err := proc.CPUTime(d.procRoot, p); err == nil {
				cpu += used
			}
		}
	}
	return cpu, nil
}

// cpuUse returns how the host's CPUs were used, for the rules about the event; nil if that is
// unknown. If only the processes of the engines are unknown, it has no time of processes,
// which then give no rise to a doubt. Call it after the host sampler was stopped.
func (r *run) cpuUse(command *child.Command, engine *schema.Engine, conditions aggregate.Conditions) *validity.CPU {
	use, err := r.host.CPUUse(command.CPUTime)
	if err != nil {
		r.cfg.Debug("the use of the host's CPUs is unknown: " + err.Error())
		return nil
	}
	c := &validity.CPU{Count: use.CPUs, Elapsed: use.Elapsed, Steal: use.Steal}
	own, uncertain, err := r.ownCPU(use, engine, conditions)
	if err != nil {
		r.cfg.Debug("the use of the host's CPUs by others is unknown: " + err.Error())
		return c
	}
	c.Busy, c.Own, c.Uncertain = use.Busy, own, uncertain
	return c
}

// ownCPU returns the CPU time of the command's processes, the engines' and vobs, and by how much
// it and the time of all processes may be off.
func (r *run) ownCPU(use host.CPUUse, engine *schema.Engine, conditions aggregate.Conditions) (own, uncertain time.Duration, err error) {
	if elsewhere := r.whyElsewhere(); elsewhere != "" {
		return 0, 0, errors.New("the command's processes may not be its descendants: " + elsewhere)
	}
	if err := r.host.Tree().Err(); err != nil {
		return 0, 0, err
	}
	if elsewhere := r.rayWorkers.cpuElsewhere(); elsewhere != "" {
		return 0, 0, errors.New(elsewhere)
	}
	if conditions.Copied {
		return 0, 0, errors.New("the engine's metrics come from another program")
	}
	vobs, err := budget.CPU()
	if err != nil {
		return 0, 0, err
	}
	own = use.Tree + vobs
	names := r.discovery.engineNames(engine)
	engines, err := bounded.Call("the CPU time of the engines' processes in "+r.cfg.ProcRoot, ownerTimeout, func() (engineUse, error) { return r.discovery.engineCPU(names) })
	if err != nil {
		return 0, 0, err
	}
	own += engines.cpu
	// The kernel takes samples: it charges each tick to the process that runs at its end.
	uncertain = time.Duration(3*math.Sqrt(float64(use.Busy/proc.Tick))) * proc.Tick
	if gap := engines.found.Sub(use.From); !engines.found.IsZero() && gap > 0 {
		// What the engines used before they were found is unknown.
		uncertain += time.Duration(use.CPUs) * gap
	}
	if len(names) > 0 && (use.Busy-own-uncertain).Seconds() > suspectedShare*float64(use.CPUs)*use.Elapsed.Seconds() {
		started, err := bounded.Call("the processes in "+r.cfg.ProcRoot, walkTimeout, func() (time.Duration, error) { return r.discovery.newEngineCPU(names) })
		if err != nil {
			return 0, 0, err
		}
		own += started
	}
	return own, uncertain, nil
}

// oomKills returns what the counter of the command's cgroup shows; nil if that is unknown. If it shows
// nothing, and the command failed or an engine died, the kernel's log is read: the victim may have been
// in another cgroup. Call it after the host sampler was stopped.
func (r *run) oomKills(command *child.Command, exit child.Exit) *validity.OOM {
	var out *validity.OOM
	kills, err := r.host.OOMKills()
	if err != nil {
		r.cfg.Debug("the cgroup does not show whether a process was killed for lack of memory: " + err.Error())
	} else {
		out = &validity.OOM{Kills: kills.Count, Shared: kills.Shared}
	}
	if kills.Count > 0 || exit.Signal == 0 && exit.Code == 0 && !engineDied(r.notes.copy()) {
		return out
	}
	victims, err := r.host.OOMVictims(command.Pid())
	if err != nil {
		r.cfg.Debug("the kernel's log does not show whether a process was killed for lack of memory: " + err.Error())
	}
	if len(victims) > 0 {
		out = &validity.OOM{}
		for _, v := range victims {
			out.Logged = append(out.Logged, fmt.Sprintf("%d (%s)", v.PID, v.Comm))
		}
	}
	return out
}

// engineDied reports whether an engine core died.
func engineDied(notes schema.Notes) bool {
	return slices.ContainsFunc(notes.Validity, func(v schema.Validity) bool { return v.Code == schema.CodeEngineDied })
}

// clockJump returns by how much the wall clock advanced more than the monotonic one.
func clockJump(from, to time.Time) time.Duration {
	return to.Round(0).Sub(from.Round(0)) - to.Sub(from)
}

// profilers are programs that profile the command behind them, and the word that makes them
// do so; "" if they need none.
var profilers = map[string][]string{
	"nsys": {"profile", "launch"}, "ncu": nil, "nv-nsight-cu-cli": nil, "nvprof": nil, "rocprof": nil, "rocprofv2": nil, "rocprofv3": nil, "rocprof-compute": {"profile"}, "rocprof-sys-run": nil, "rocprof-sys-sample": nil,
}

// profilerIn returns the profiler that a command line starts: a program, or the flag of vLLM's
// offline benchmarks (vllm/benchmarks/throughput.py, latency.py). It is "" if there is none.
func profilerIn(line args.CommandLine) string {
	if line.Role == args.OfflineBenchmark && slices.Contains(line.Args, "--profile") {
		return "--profile"
	}
	before := line.Argv
	if line.Command.Name != "" {
		before = before[:min(line.Command.At, len(before))]
	}
	for i, word := range before {
		words, ok := profilers[filepath.Base(word)]
		if ok && (len(words) == 0 || i+1 < len(before) && slices.Contains(words, before[i+1])) {
			return filepath.Base(word)
		}
		if line.Command.Name == "" && !isWrapperWord(word) {
			return "" // the command itself
		}
	}
	return ""
}

// isWrapperWord reports whether a word before a program may belong to a wrapper, such as env or
// taskset.
func isWrapperWord(word string) bool {
	switch filepath.Base(word) {
	case "env", "nice", "ionice", "timeout", "time", "taskset", "chrt", "numactl", "stdbuf", "setsid", "nohup", "prlimit", "sudo":
		return true
	}
	return strings.HasPrefix(word, "-") || strings.Contains(word, "=") || strings.Trim(word, "0123456789,.-smh") == ""
}
