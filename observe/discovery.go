package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

const (
	// discoveryInterval is how often servers are looked for among the processes that the
	// sampler has found.
	discoveryInterval = time.Second
	// maxListeners bounds the listening sockets of one server that are tried if its
	// command line does not show which one its API uses.
	maxListeners = 8
	// maxOwnerTries bounds the searches for the process behind an address.
	maxOwnerTries = 20
	// argumentReads is how often the arguments of a process that cannot be a server are
	// read under one name: between fork and exec they are its parent's.
	argumentReads = 2
	// maxNamesRead bounds the processes that cannot be a server whose names are read again in
	// one look: one of them may replace its program. Each takes about 15 µs.
	maxNamesRead = 100
	// maxArgumentReads bounds these readings in one look. Each takes about 20 µs.
	maxArgumentReads = 100
	// maxNewcomers is how many new processes may come between two looks for all of their
	// arguments to be read at once.
	maxNewcomers = 32
)

// quickLooks are the times between the first looks at the command's processes, before those
// at discoveryInterval: what an engine counts before its address is known is lost.
var quickLooks = [...]time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}

// discoveryConfig is what a discovery works on.
type discoveryConfig struct {
	procRoot string
	tree     *proc.Tree // of the command
	sockets  *proc.Sockets
	prober   *probe.Prober
	// cores gets the servers that are found.
	cores *coreMonitor
	// metricsDirs makes it look for directories of metrics files, too.
	metricsDirs bool
	// wait returns the time until the budget covers what vobs has spent.
	wait  func() time.Duration
	debug func(string)
	// record, if not nil, gets every reading of the engines' memory. It must not block.
	record func(curve.Reading)
}

// discovery finds the engines among the command's processes, and knows which processes
// count as the command's. Everything but ours and memoryCurves is for one goroutine.
type discovery struct {
	discoveryConfig
	started     time.Time       // when the command started
	failed      error           // why the latest look for servers failed; nil if it did not
	foreign     map[string]bool // addresses where another server answered before the start
	environRead map[int]bool    // processes whose environment was read for a metrics directory
	ownerKnown  map[string]bool // addresses whose process was found
	ownerTries  map[string]int  // searches for it so far
	// commandLines are those of the command's processes, by pid.
	commandLines map[int]processCommandLine
	// argumentsRead counts the readings of processes that cannot be a server, by pid.
	argumentsRead map[int]argumentsRead
	memory        engineMemory

	mu         sync.Mutex
	serverPIDs map[int]bool               // processes behind local metrics addresses, and their descendants
	engines    map[string]engineProcesses // processes that serve a metrics address, by its name
}

// processCommandLine is the parsed command line of a process.
type processCommandLine struct {
	startTicks uint64
	line       args.CommandLine
	engines    probe.CommandLine
}

// argumentsRead is how often the arguments of a process were read under its name.
type argumentsRead struct {
	process proc.Process // without its parent
	times   int
}

func newDiscovery(cfg discoveryConfig) *discovery {
	return &discovery{
		discoveryConfig: cfg,
		foreign:         map[string]bool{},
		environRead:     map[int]bool{},
		ownerKnown:      map[string]bool{},
		ownerTries:      map[string]int{},
		commandLines:    map[int]processCommandLine{},
		argumentsRead:   map[int]argumentsRead{},
		serverPIDs:      map[int]bool{},
		engines:         map[string]engineProcesses{},
	}
}

// ours returns the pids of the command's processes and of the local servers that are
// scraped. It may be called from any goroutine.
func (d *discovery) ours() map[int]bool {
	pids := d.tree.PIDs()
	d.mu.Lock()
	defer d.mu.Unlock()
	for pid := range d.serverPIDs {
		pids[pid] = true
	}
	return pids
}

// run looks for engines until ctx ends. started is when the command started.
func (d *discovery) run(ctx context.Context, started time.Time) {
	d.started = started
	timer := time.NewTimer(0)
	defer timer.Stop()
	for look := 0; ; look++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		blocking(d.findServers)
		if look < len(quickLooks) {
			timer.Reset(max(quickLooks[look], d.wait()))
			if look > 0 {
				continue // an owner is looked for a limited number of times
			}
		} else {
			timer.Reset(budget.AlignToTick(max(discoveryInterval-budget.Tick/2, d.wait())))
		}
		blocking(d.findOwners)
	}
}

// findOwners finds the processes that listen on the local addresses that are scraped: these
// and their descendants hold the engine's GPU memory.
func (d *discovery) findOwners() {
	for _, t := range d.prober.Targets() {
		port, local := t.Loopback()
		name := t.Name()
		if !local || port == 0 || d.ownerKnown[name] || d.ownerTries[name] >= maxOwnerTries {
			continue
		}
		d.ownerTries[name]++
		ip, err := netip.ParseAddr(t.URL.Hostname())
		if err != nil {
			ip = netip.MustParseAddr("127.0.0.1") // localhost
		}
		pid, err := d.sockets.Owner(ip, port)
		if errors.Is(err, proc.ErrSearching) {
			d.ownerTries[name]--
		}
		if err != nil {
			continue // no process yet, or one that vobs may not inspect
		}
		d.ownerKnown[name] = true
		d.debug(fmt.Sprintf("process %d listens at %s: treating it and its children as part of the command", pid, name))
		d.addOwner(pid, t)
	}
}

func (d *discovery) addOwner(pid int, t scrape.Target) {
	processes, err := d.sockets.Table().Descendants(pid)
	if err != nil {
		return
	}
	d.readServerFlags(t, pid, processes[0].PPID)
	d.cores.track(processes[0], processes[1:], []scrape.Target{t})
	engine := d.readEngineProcesses(processes)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.engines[t.Name()] = engine
	for _, p := range processes {
		d.serverPIDs[p.PID] = true
	}
}

// readServerFlags reads the command line of a server that was up before the run. pids are
// the process that listens and its parent, because vLLM's API servers replace their
// command line by a title.
func (d *discovery) readServerFlags(t scrape.Target, pids ...int) {
	for _, pid := range pids {
		argv, err := proc.CommandLine(d.procRoot, pid)
		if err != nil {
			continue
		}
		if line := d.parse(pid, argv); line.Role == args.Server {
			d.prober.SetServerFlags(t, probe.ReadCommandLine(line))
			return
		}
	}
}

// parse parses the command line of a process. The name after --config is relative to
// the working directory of the process.
func (d *discovery) parse(pid int, argv []string) args.CommandLine {
	dir := ""
	if slices.Contains(argv, "--config") {
		if cwd, err := os.Readlink(filepath.Join(d.procRoot, strconv.Itoa(pid), "cwd")); err == nil {
			dir = cwd
		}
	}
	return args.Parse(argv, dir)
}

// commandLine returns the command line of a process. It is parsed again only if it has
// changed: by an exec, or by a title that replaces it.
func (d *discovery) commandLine(p proc.Process) (processCommandLine, bool) {
	argv, err := proc.CommandLine(d.procRoot, p.PID)
	if err != nil {
		return processCommandLine{}, false
	}
	c, ok := d.commandLines[p.PID]
	if !ok || c.startTicks != p.StartTicks || !slices.Equal(c.line.Argv, argv) {
		line := d.parse(p.PID, argv)
		c = processCommandLine{startTicks: p.StartTicks, line: line, engines: probe.ReadCommandLine(line)}
		d.commandLines[p.PID] = c
	}
	return c, true
}

// findServers looks for vLLM servers among the command's processes, and for addresses in the
// arguments of all of them, and adds these to the prober.
func (d *discovery) findServers() {
	processes, err := d.tree.Named(mayServe, maxNamesRead)
	if d.failed = err; err != nil {
		return
	}
	parents := map[int]bool{} // of processes with a title of vLLM's
	alive := map[int]bool{}
	for _, p := range processes {
		alive[p.PID] = true
		if strings.HasPrefix(p.Comm, vllm.TitlePrefix) {
			parents[p.PPID] = true
		}
	}
	maps.DeleteFunc(d.commandLines, func(pid int, _ processCommandLine) bool { return !alive[pid] })
	maps.DeleteFunc(d.argumentsRead, func(pid int, _ argumentsRead) bool { return !alive[pid] })
	newcomers := 0
	for _, p := range processes {
		if _, known := d.argumentsRead[p.PID]; !known && !mayServe(p.Comm) {
			newcomers++
		}
	}
	reads := 0
	var frontEnds []proc.Process
	for _, p := range processes {
		serves := mayServe(p.Comm) || parents[p.PID]
		if !serves && (reads >= maxArgumentReads || !d.needsReading(p, newcomers > maxNewcomers)) {
			continue
		}
		if !serves {
			reads++
		}
		if strings.HasPrefix(p.Comm, vllm.TitlePrefix) {
			d.findMetricsDir(p)
		}
		c, ok := d.commandLine(p)
		if !ok {
			continue
		}
		d.addArguments(p, c)
		if !serves {
			delete(d.commandLines, p.PID)
			continue
		}
		if isFrontEnd(p, c, parents) {
			frontEnds = append(frontEnds, p)
		}
		d.findServer(p, c, parents, processes)
	}
	d.readEngineMemory(time.Now(), frontEnds, processes)
}

// isFrontEnd reports whether a process is a vLLM server, or has started engine cores itself.
// parents are those of processes with a title of vLLM's.
func isFrontEnd(p proc.Process, c processCommandLine, parents map[int]bool) bool {
	return c.line.Role == args.Server || parents[p.PID] || isDemoEngine(c.line.Argv)
}

// needsReading reports whether the arguments of a process that cannot be a server have to be
// read, and counts the reading. If many processes are new, it waits until a process has been
// there in two looks: most of the many are gone by then.
func (d *discovery) needsReading(p proc.Process, many bool) bool {
	p.PPID = 0
	read, known := d.argumentsRead[p.PID]
	if !known && many {
		d.argumentsRead[p.PID] = argumentsRead{process: p}
		return false
	}
	if read.process != p {
		read = argumentsRead{process: p}
	}
	if read.times >= argumentReads {
		return false
	}
	read.times++
	d.argumentsRead[p.PID] = read
	return true
}

// addArguments adds the addresses of this host that the arguments of a process name: those of
// a client's engines, and the one at which a container publishes a server.
func (d *discovery) addArguments(p proc.Process, c processCommandLine) {
	if c.engines.Server && c.line.Command.Container == nil {
		return // its listeners show where it is, and that it is up
	}
	for _, t := range c.engines.Targets {
		t.Origin = scrape.FromTree
		if _, local := t.Loopback(); local && !d.foreign[t.Name()] && d.prober.Add(t) {
			d.debug(fmt.Sprintf("the arguments of process %d of the command name an engine at %s", p.PID, t.Name()))
		}
	}
}

// findServer adds the addresses at which a process listens to the prober if it is a vLLM
// server.
func (d *discovery) findServer(p proc.Process, c processCommandLine, parents map[int]bool, processes []proc.Process) {
	isServer := c.line.Role == args.Server
	if isServer || c.line.Role == args.OfflineBenchmark {
		d.findMetricsDir(p)
	}
	if !isFrontEnd(p, c, parents) {
		return
	}
	listeners, err := d.sockets.ListenersOf(map[int]bool{p.PID: true})
	if err != nil || len(listeners) == 0 {
		return // not up yet
	}
	d.cores.track(p, processes, d.addListeners(c, listeners))
}

// mayServe reports whether a process of this name can be a vLLM front-end. The arguments of
// others are read for addresses only.
func mayServe(comm string) bool {
	for _, prefix := range []string{"vllm", "VLLM", "python", "pt_main_thread", "uv", "ray", "vobs"} {
		if strings.HasPrefix(comm, prefix) {
			return true
		}
	}
	return false
}

// isDemoEngine recognises the simulated engine of `make demo`.
func isDemoEngine(argv []string) bool {
	return len(argv) > 1 && filepath.Base(argv[0]) == "vobs" && argv[1] == "demo-engine"
}

// addListeners turns a server's listening sockets into targets for the prober: the one
// named by the command line if the server listens there, otherwise each of them.
func (d *discovery) addListeners(c processCommandLine, listeners []proc.Listener) (found []scrape.Target) {
	scheme := "http://"
	var stated *scrape.Target
	if len(c.engines.Targets) > 0 {
		stated = &c.engines.Targets[0]
		scheme = stated.URL.Scheme + "://"
	}
	for _, l := range listeners {
		address := "unix://" + l.Addr
		if l.Network != "unix" {
			ip, err := netip.ParseAddr(l.Addr)
			if err != nil {
				continue
			}
			address = scheme + netip.AddrPortFrom(ip, uint16(l.Port)).String()
		} else if strings.HasPrefix(l.Addr, "@") || stated == nil || stated.Socket != l.Addr {
			continue // vLLM's processes use unix sockets among themselves
		}
		t, err := scrape.ParseTarget(address)
		if err != nil {
			continue
		}
		if stated != nil && (t.Socket != "" || statedPort(*stated) == l.Port) {
			found = []scrape.Target{t}
			break
		}
		found = append(found, t)
	}
	if len(found) > maxListeners {
		found = found[:maxListeners]
	}
	for i := range found {
		t := &found[i]
		t.Origin = scrape.FromTree
		t.Started = true
		t.ExactPath = probe.SilencesMetrics(c.line.Argv)
		if !d.foreign[t.Name()] && d.prober.Add(*t) {
			d.debug(fmt.Sprintf("process %d of the command serves %s", listeners[0].PID, t.Name()))
		}
		d.prober.SetServerFlags(*t, c.engines)
	}
	return found
}

// statedPort returns the port of a target; 0 if its host is a name.
func statedPort(t scrape.Target) int {
	port, _ := t.Loopback()
	if port == 0 {
		// A server may listen on a single address of the host.
		if p, err := netip.ParseAddrPort(t.URL.Host); err == nil {
			return int(p.Port())
		}
	}
	return port
}

// findMetricsDir finds the metrics directory that an engine gave to one of its processes:
// vLLM makes one if it starts several API servers (vllm/v1/metrics/prometheus.py), and
// removes it when it ends.
func (d *discovery) findMetricsDir(p proc.Process) {
	if !d.metricsDirs || d.environRead[p.PID] {
		return
	}
	d.environRead[p.PID] = true
	env, err := proc.Environ(d.procRoot, p.PID)
	if err != nil {
		return
	}
	dir, _ := environ.Lookup(env, vllm.MultiprocDirVariable)
	if filepath.IsAbs(dir) && d.prober.Add(probe.Directory(dir, !hasFilesBefore(dir, d.started))) {
		d.debug(fmt.Sprintf("process %d of the command shares its metrics in %s", p.PID, dir))
	}
}

// hasFilesBefore reports whether a directory has a file that was last written before t. The
// time of a file may be a tick of the kernel's clock old.
func hasFilesBefore(dir string, t time.Time) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.Type() == fs.FileMode(0) && info.ModTime().Before(t.Add(-20*time.Millisecond)) {
			return true
		}
	}
	return false
}
