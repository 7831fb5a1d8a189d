package observe

import (
	"context"
	"fmt"
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
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

const (
	// discoverInterval is how often servers are looked for among processes that
	// the sampler has found. Only processes that may be one are looked into.
	discoverInterval = time.Second
	// maxListeners is the number of listening sockets of one server that are tried
	// where its command line does not tell which is its API's.
	maxListeners = 8
)

// finder knows which processes are ours, and finds the engines among them.
type finder struct {
	procRoot string
	tree     *proc.Tree
	prober   *probe.Prober
	cores    *coreWatch      // nil: nobody wants to know
	foreign  map[string]bool // addresses that were answered before the start
	debug    func(string)
	files    bool                 // directories of metrics are looked for
	looked   map[int]bool         // processes whose environment was read for them
	started  time.Time            // when the command did
	wait     func() time.Duration // until what vobs spent is covered by its budget

	mu      sync.Mutex
	servers map[int]bool // processes behind local metrics addresses, with their descendants

	owners map[string]bool // addresses whose owner was looked for with success
	asked  map[string]int  // how often it was looked for

	lines map[int]processLine // command lines of the command's processes, by pid
}

// processLine is the command line of a process, parsed.
type processLine struct {
	startTicks uint64
	line       args.CommandLine
	engines    probe.CommandLine
}

func newFinder(procRoot string, tree *proc.Tree, prober *probe.Prober) *finder {
	return &finder{
		procRoot: procRoot, tree: tree, prober: prober,
		foreign: map[string]bool{}, looked: map[int]bool{}, debug: func(string) {}, wait: func() time.Duration { return 0 }, servers: map[int]bool{}, owners: map[string]bool{}, asked: map[string]int{}, lines: map[int]processLine{},
	}
}

// ours gives the ids of the command's processes and those of the local server
// that is read.
func (f *finder) ours() map[int]bool {
	pids := f.tree.PIDs()
	f.mu.Lock()
	defer f.mu.Unlock()
	for pid := range f.servers {
		pids[pid] = true
	}
	return pids
}

// run looks for engines until ctx ends.
func (f *finder) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		f.findServers()
		f.findOwners()
		timer.Reset(budget.OnBeat(max(discoverInterval-budget.Beat/2, f.wait())))
	}
}

// findOwners finds who listens on the local addresses that are read: that
// process and its descendants hold the engine's GPU memory.
func (f *finder) findOwners() {
	const tries = 20 // a look over all processes: not for ever
	for _, t := range f.prober.Targets() {
		port, local := t.Loopback()
		name := t.Name()
		if !local || port == 0 || f.owners[name] || f.asked[name] >= tries {
			continue
		}
		f.asked[name]++
		ip, err := netip.ParseAddr(t.URL.Hostname())
		if err != nil {
			ip = netip.MustParseAddr("127.0.0.1") // localhost
		}
		pid, err := proc.OwnerOf(f.procRoot, ip, port)
		if err != nil {
			continue // nobody yet, or nobody that may be looked into
		}
		f.owners[name] = true
		f.debug(fmt.Sprintf("process %d listens at %s: it and its descendants count as the command's", pid, name))
		f.addServer(pid, t)
	}
}

func (f *finder) addServer(pid int, t scrape.Target) {
	processes, err := proc.Descendants(f.procRoot, pid)
	if err != nil {
		return
	}
	f.readServer(t, pid, processes[0].PPID)
	if f.cores != nil {
		f.cores.see(processes[0], processes[1:], []scrape.Target{t})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range processes {
		f.servers[p.PID] = true
	}
}

// readServer reads the command line of a server that was there before the run: of
// who listens, or of its parent, for vLLM's API servers have a title in its place.
func (f *finder) readServer(t scrape.Target, pids ...int) {
	for _, pid := range pids {
		argv, err := proc.CommandLine(f.procRoot, pid)
		if err != nil {
			continue
		}
		if line := f.parse(pid, argv); line.Role == args.Server {
			f.prober.SetServerFlags(t, probe.ReadCommandLine(line))
			return
		}
	}
}

// parse reads the command line of a process. A file that it names is relative to the
// working directory of the process.
func (f *finder) parse(pid int, argv []string) args.CommandLine {
	dir := ""
	if slices.Contains(argv, "--config") {
		if cwd, err := os.Readlink(filepath.Join(f.procRoot, strconv.Itoa(pid), "cwd")); err == nil {
			dir = cwd
		}
	}
	return args.Parse(argv, dir)
}

// commandLine returns the command line of a process, which is parsed again only if it
// has changed: by an exec, or by a title in its place.
func (f *finder) commandLine(p proc.Process) (processLine, bool) {
	argv, err := proc.CommandLine(f.procRoot, p.PID)
	if err != nil {
		return processLine{}, false
	}
	l, ok := f.lines[p.PID]
	if !ok || l.startTicks != p.StartTicks || !slices.Equal(l.line.Argv, argv) {
		line := f.parse(p.PID, argv)
		l = processLine{startTicks: p.StartTicks, line: line, engines: probe.ReadCommandLine(line)}
		f.lines[p.PID] = l
	}
	return l, true
}

// findServers looks for vLLM servers among the command's processes, and gives
// the addresses at which they listen to the prober.
func (f *finder) findServers() {
	processes := f.tree.Processes()
	parents := map[int]bool{} // of processes that carry vLLM's titles
	alive := map[int]bool{}
	for _, p := range processes {
		alive[p.PID] = true
		if strings.HasPrefix(p.Comm, vllm.TitlePrefix) {
			parents[p.PPID] = true
		}
	}
	maps.DeleteFunc(f.lines, func(pid int, _ processLine) bool { return !alive[pid] })
	for _, p := range processes {
		if !mayServe(p.Comm) && !parents[p.PID] {
			continue
		}
		if strings.HasPrefix(p.Comm, vllm.TitlePrefix) {
			f.addFiles(p)
		}
		l, ok := f.commandLine(p)
		if !ok {
			continue
		}
		isServer := l.line.Role == args.Server
		if isServer || l.line.Role == args.OfflineBenchmark {
			f.addFiles(p)
		}
		if !isServer && !parents[p.PID] && !isDemoEngine(l.line.Argv) {
			continue
		}
		listeners, err := proc.ListenersOf(f.procRoot, map[int]bool{p.PID: true})
		if err != nil || len(listeners) == 0 {
			continue // not up yet
		}
		found := f.addListeners(l.engines, l.line.Argv, listeners)
		if f.cores != nil {
			f.cores.see(p, processes, found)
		}
	}
}

// mayServe says whether a process of this name can be a vLLM front-end: the
// command line of others is not even read.
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

// addListeners turns a server's listening sockets into addresses: the one that
// its command line names where it listens there, else each.
func (f *finder) addListeners(line probe.CommandLine, argv []string, listeners []proc.Listener) (found []scrape.Target) {
	scheme := "http://"
	var stated *scrape.Target
	if len(line.Targets) > 0 {
		stated = &line.Targets[0]
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
			continue // vLLM's processes talk over unix sockets of their own
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
		t.ExactPath = probe.SilencesMetrics(argv)
		if !f.foreign[t.Name()] && f.prober.Add(*t) {
			f.debug(fmt.Sprintf("process %d of the command serves %s", listeners[0].PID, t.Name()))
		}
		f.prober.SetServerFlags(*t, line)
	}
	return found
}

func statedPort(t scrape.Target) int {
	port, _ := t.Loopback()
	if port == 0 {
		// A server may listen on one address of the host alone.
		if p, err := netip.ParseAddrPort(t.URL.Host); err == nil {
			return int(p.Port())
		}
	}
	return port
}
