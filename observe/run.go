package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/intent"
	"github.com/vobs/vobs/internal/privatedir"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/threads"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/multiproc"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/sampler/host"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

const (
	// strictTimeout is how long --strict waits for NVML and for each metrics address.
	strictTimeout = 10 * time.Second
	// strictRetry is how often an address is tried within strictTimeout.
	strictRetry = 200 * time.Millisecond
	// shutdownScrapeTimeout bounds the last scrape before a shutdown signal is passed on.
	shutdownScrapeTimeout = 250 * time.Millisecond
	// foreignTimeout bounds the check whether the port of the command's own server is taken.
	foreignTimeout = 250 * time.Millisecond
	// baselineTimeout bounds the first scrapes, which themselves take a second at most, if they
	// hang in a file of /proc.
	baselineTimeout = 1250 * time.Millisecond
	// ownerTimeout bounds the search for the process behind an address, or for its parents.
	ownerTimeout = 500 * time.Millisecond
	// lookTimeout bounds the wait for discovery and coreMonitor at the end.
	lookTimeout = time.Second
)

// run is the state of one Run.
type run struct {
	cfg      Config
	line     args.CommandLine // of the command
	intents  intent.Intents   // of the user over those of line
	env      []string         // as vobs got it
	redactor *redact.Redactor
	messages *messages
	command  func() []string // the arguments as the event shows them
	notes    sharedNotes

	host          *host.Sampler
	gpus          *gpu.Sampler
	prober        *probe.Prober
	discovery     *discovery
	cores         *coreMonitor
	rayWorkers    *rayWorkers
	partial       *partialWriter
	metricsDir    metricsDir
	introspection *introspection

	started   atomic.Pointer[child.Command] // nil before the start
	loadPre   *schema.LoadAvg
	startedAt time.Time
}

// Run runs the command and writes its event. It returns how the command ended, so that
// vobs can end the same way. An error is vobs's own and from before the start: no
// command has run then, and no event is written.
func Run(cfg Config) (child.Exit, error) {
	r := newRun(cfg)
	r.prepare()
	cfg = r.cfg
	defer privatedir.Sweep(cfg.Debug)
	defer func() { r.metricsDir.remove(cfg.Warn) }()
	defer func() { r.introspection.remove(cfg.Warn) }()
	if cfg.Strict {
		if err := r.checkStrict(); err != nil {
			return child.Exit{}, err
		}
	}
	_, err := bounded.Await("the first reading of the engines", baselineTimeout, func() (struct{}, error) {
		r.recovered("engine", func() { r.prober.ScrapeBaseline(context.Background()) })
		return struct{}{}, nil
	})
	if err != nil {
		cfg.Debug(err.Error())
	}

	spec := child.Spec{
		Args:           cfg.Args,
		Env:            r.commandEnv(),
		Forward:        cfg.Forward,
		Warn:           cfg.Warn,
		BeforeShutdown: r.beforeShutdown,
	}
	if cfg.Output.OwnsStdout {
		spec.Stdout = os.Stderr
	}
	r.startedAt = time.Now()
	command, err := child.Start(spec)
	if err != nil {
		var start *child.StartError
		if !errors.As(err, &start) {
			return child.Exit{}, err
		}
		cfg.StartFailed(errors.New(startErrorText(r.redactor, start, cfg.Args[0])))
		r.finishUnstarted(start)
		return child.Exit{Code: start.Code}, nil
	}
	r.started.Store(command)
	cfg.Series.Start(r.startedAt, cfg.Warn)
	r.host.CommandStarted()
	r.gpus.CommandStarted(r.startedAt)
	r.prober.Start(r.startedAt)
	r.partial.start(func() ([]byte, error) { return r.partialEvent(command).Encode(cfg.View) })
	stopDiscovery := r.startDiscovery()

	<-command.Done()
	r.messages.hold()
	r.finish(command, stopDiscovery)
	r.warnOfHanging()
	return command.Exit(), nil
}

func newRun(cfg Config) *run {
	if cfg.ProcRoot == "" {
		cfg.ProcRoot = "/proc"
	}
	env := child.Environ()
	line := args.Parse(cfg.Args, "")
	messages := &messages{}
	cfg.Warn, cfg.Debug = messages.through(cfg.Warn), messages.through(cfg.Debug)
	r := &run{
		cfg:      cfg,
		messages: messages,
		line:     line,
		intents:  cfg.Intents.Over(intent.FromCommandLine(line)),
		env:      env,
		redactor: redact.New(env),
	}
	r.redactor.Show(cfg.Command)
	r.command = sync.OnceValue(func() []string { return r.redactor.Command(cfg.Args) })
	r.partial = newPartialWriter(cfg.Output, cfg.Warn, r.recovered)
	return r
}

// prepare starts everything that has to run before the command does.
func (r *run) prepare() {
	cfg := &r.cfg
	governor := budget.New(nil)
	var wg sync.WaitGroup
	wg.Go(func() { r.recovered("loadavg_pre", func() { r.loadPre = r.readLoad("loadavg_pre") }) })
	r.host = host.Start(host.Config{ProcRoot: cfg.ProcRoot, CgroupRoot: cfg.CgroupRoot, Wait: governor.Wait, WaitedCPU: r.waitedCPU, Record: r.record()})
	wg.Wait()
	sockets := proc.NewSockets(r.host.Tree().Table(), governor.Wait)
	probeConfig := cfg.Probe
	probeConfig.Record = r.record()
	probeConfig.Wait, probeConfig.CPU = governor.Wait, budget.Spent
	probeConfig.Engines = func(dir string) multiproc.Engines { return fileEngines{cfg.ProcRoot, dir} }
	probeConfig.SameListener = func(a, b scrape.Target) bool {
		same, _ := bounded.Call("the processes that listen at "+a.Name()+" and "+b.Name(), ownerTimeout, func() (bool, error) {
			return sameListener(sockets, a, b), nil
		})
		return same
	}
	if cfg.Multiproc != MultiprocOff {
		probeConfig.ServerFiles = func(t scrape.Target) (*probe.ServerFiles, error) {
			return bounded.Call("the processes of the server at "+t.Name(), ownerTimeout, func() (*probe.ServerFiles, error) {
				return findServerFiles(cfg.ProcRoot, sockets, t, cfg.Debug)
			})
		}
	}
	probeConfig.Activity = func(a probe.Activity) { r.gpus.EnginePolled(gpu.EnginePoll(a)) }
	r.prober = probe.New(probeConfig)
	r.cores = newCoreMonitor(cfg.ProcRoot, cfg.Probe, cfg.Debug, r.recovered)
	r.discovery = newDiscovery(discoveryConfig{
		procRoot:    cfg.ProcRoot,
		tree:        r.host.Tree(),
		sockets:     sockets,
		prober:      r.prober,
		cores:       r.cores,
		metricsDirs: cfg.Multiproc != MultiprocOff,
		wait:        governor.Wait,
		debug:       cfg.Debug,
		record:      r.record(),
	})
	r.rayWorkers = newRayWorkers(cfg.ProcRoot, r.host.Tree(), r.discovery.ours, cfg.Debug)
	order, _ := environ.Lookup(r.env, "CUDA_DEVICE_ORDER")
	r.gpus = gpu.Start(gpu.Config{
		Visible:   lookup(r.env, "CUDA_VISIBLE_DEVICES"),
		Order:     order,
		Devices:   cfg.Devices,
		Interval:  cfg.Interval,
		OwnedPIDs: r.discovery.ours,
		Descends:  r.descends,
		Workers:   r.rayWorkers.find,
		PIDsMatch: r.pidsMatch(),
		ProcRoot:  cfg.ProcRoot,
		Budget:    governor,
		Record:    r.record(),
	})
	for _, t := range cfg.Targets {
		r.prober.Add(t)
	}
	elsewhere := r.whyElsewhere()
	r.prepareMetricsDir(elsewhere)
	r.introspection = newIntrospection(cfg.Instrument, elsewhere, cfg.Warn)
	r.addCommandLineTargets()
}

// waitedCPU returns the CPU time of the command's processes that have been waited for.
func (r *run) waitedCPU() time.Duration {
	if command := r.started.Load(); command != nil {
		return command.CPUTime()
	}
	return 0
}

// descends reports whether a process descends from the command.
func (r *run) descends(pid int) bool {
	yes, _ := bounded.Call(fmt.Sprintf("the parents of process %d", pid), ownerTimeout, func() (bool, error) {
		return r.host.Tree().Descends(pid), nil
	})
	return yes
}

// pidsMatch returns gpu.Config.PIDsMatch: nil, which lets the sampler decide by what it
// sees, unless the command's processes are known to be unreadable.
func (r *run) pidsMatch() func() bool {
	if r.host.Tree().Err() == nil {
		return nil
	}
	return func() bool { return false }
}

// addCommandLineTargets adds the addresses of engines in the command line to the prober.
func (r *run) addCommandLineTargets() {
	for _, t := range probe.ReadCommandLine(r.line).Targets {
		if r.line.Role == args.Server {
			if r.isForeign(t) {
				continue
			}
			t.Started = true
		}
		r.cfg.Debug("the command line names an engine at " + t.Name())
		r.prober.Add(t)
	}
}

// isForeign reports whether a server answers at the address where the command's own
// server is going to listen. That is another server, and it is never read.
func (r *run) isForeign(t scrape.Target) bool {
	ctx, cancel := context.WithTimeout(context.Background(), foreignTimeout)
	defer cancel()
	if !probe.Listening(ctx, t) {
		return false
	}
	r.discovery.foreign[t.Name()] = true
	message := fmt.Sprintf("another server answers at %s, where the command is going to listen: it is not scraped", t.Name())
	r.cfg.Warn(message)
	r.notes.update(func(n *schema.Notes) { n.Doubt(schema.CodeEngineNotOurs, schema.Warning, message, nil) })
	return true
}

// checkStrict waits for NVML and for every address given by the user.
func (r *run) checkStrict() error {
	ctx, cancel := context.WithTimeout(context.Background(), strictTimeout)
	defer cancel()
	if err := r.gpus.Ready(ctx); err != nil {
		return fmt.Errorf("--strict: %w", err)
	}
	for _, t := range r.cfg.Targets {
		for {
			err := probe.Check(ctx, r.cfg.Probe, t)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("--strict: %w", err)
			case <-time.After(strictRetry):
			}
		}
	}
	return nil
}

// startDiscovery looks for engines among the command's processes until stop is called,
// which waits for the look in progress, for lookTimeout at most. It returns why engines may
// have been missed.
func (r *run) startDiscovery() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.recovered("engine", func() { r.discovery.run(ctx, r.startedAt) })
	}()
	return func() error {
		cancel()
		if !bounded.Wait(done, lookTimeout) {
			return fmt.Errorf("a file in %s: %w", r.cfg.ProcRoot, bounded.ErrHangs)
		}
		return r.discovery.failed
	}
}

// warnOfHanging warns if a thread is still in a call that was given up: the kernel may keep the
// process until it returns.
func (r *run) warnOfHanging() {
	names := bounded.Hanging()
	if r.host.Tree().Hangs() || r.host.Tree().Table().Hangs() {
		names = append(names, "a file in "+r.cfg.ProcRoot)
	}
	if len(names) > 0 {
		r.cfg.Warn(fmt.Sprintf("no response, which may keep vobs from ending: %s", strings.Join(names, "; ")))
	}
}

// beforeShutdown is called before a shutdown signal is passed on to the command.
func (r *run) beforeShutdown(syscall.Signal) {
	r.cores.shutdownRequested()
	r.recovered("engine", func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownScrapeTimeout)
		defer cancel()
		r.prober.BeforeShutdown(ctx)
	})
	r.partial.writeSoon()
}

// readLoad reads the load averages. It returns nil, and records why at field, if it cannot.
func (r *run) readLoad(field string) *schema.LoadAvg {
	load, err := host.ReadLoadAvg(r.cfg.ProcRoot)
	if err != nil {
		r.notes.missing(field, err.Error())
		return nil
	}
	return load
}

// blocking calls f, which reads or writes files that may hang.
func blocking(f func()) {
	threads.Enter()
	defer threads.Leave()
	f()
}

// recovered runs one part of the work. A panic costs that part its figures, which are
// missing at field, but neither the command nor the event.
func (r *run) recovered(field string, part func()) {
	if err := catchPanic(r.cfg.Debug, part); err != nil {
		r.notes.missing(field, err.Error())
	}
}

// catchPanic calls f. If f panics, it logs the stack and returns an error for the user.
func catchPanic(log func(string), f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
			err = fmt.Errorf("an error in vobs: %v: please report it with the output of -v", p)
		}
	}()
	f()
	return nil
}
