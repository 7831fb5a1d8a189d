// Package observe is the bracket around one command: start what samples, start
// the command, wait for it, stop what samples, put the event together, deliver it.
//
// Nothing here may fail, slow or change the command: a part that does not work
// leaves a reason in the event, and a part that panics does too.
package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/deliver"
	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/intent"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/sampler/host"
	"github.com/vobs/vobs/schema"
)

const (
	// strictBudget is how long --strict waits for NVML and each metrics address.
	strictBudget = 10 * time.Second
	// shutdownScrape bounds the last reading before a shutdown signal goes on.
	shutdownScrape = 250 * time.Millisecond
	// partialInterval is how often the event so far is kept.
	partialInterval = time.Minute
	// foreignCheck bounds the look whether somebody answers on the port of a
	// server that is about to be started.
	foreignCheck = 250 * time.Millisecond
)

// Config says what to run and how to observe it.
type Config struct {
	// Args is the command; it goes on untouched.
	Args []string
	// RunID identifies the run.
	RunID string
	// Labels go into the event as they are.
	Labels map[string]string
	// Intents are the engine's settings that are meant, by --intend and --intend-file.
	// They take precedence over those in the command line.
	Intents intent.Intents
	// View is the form in which the event is written.
	View schema.View
	// Output is where it is written.
	Output *deliver.Output
	// Forward says which signals are passed on.
	Forward child.ForwardMode
	// Devices overrides CUDA_VISIBLE_DEVICES.
	Devices []string
	// Interval is the time between two readings of GPU memory; 0 is auto.
	Interval time.Duration
	// Targets are the metrics addresses that the user gave.
	Targets []scrape.Target
	// Probe says how engines are asked.
	Probe probe.Config
	// DevMode has a vLLM server that the command starts tell its configuration.
	DevMode bool
	// Instrument hands the command's vLLM a plugin that tells what no page does.
	Instrument bool
	// Multiproc says when the command is given a directory for its engine's metrics;
	// Keep leaves that there.
	Multiproc Multiproc
	Keep      bool
	// KillLeftovers ends descendants that outlive the command.
	KillLeftovers bool
	// Strict refuses to start the command unless NVML and every target answer.
	Strict bool
	// Version of this vobs.
	Version string
	// ProcRoot and CgroupRoot lead to other file systems than /proc and the
	// cgroups' mount points; for fixtures.
	ProcRoot, CgroupRoot string
	// Warn is given one-line warnings for the user, Debug what -v tells.
	Warn, Debug func(message string)
	// StartFailed is told why the command could not be started.
	StartFailed func(error)
	// Finished, where set, is given the event once it is delivered.
	Finished func(*schema.GenerationObservability)
	// Upload, where set, is given the event last of all: it may take its time. The
	// context ends where the user wants vobs to end (TERM, a second Ctrl-C).
	Upload func(context.Context, *schema.GenerationObservability)
}

// ErrStrict wraps what --strict found missing before the start.
var ErrStrict = errors.New("--strict")

// bracket is one run under way.
type bracket struct {
	cfg      Config
	line     args.CommandLine // the command's
	intents  intent.Intents   // those of cfg over those of line
	env      []string
	redactor *redact.Redactor
	notes    schema.Notes

	loadPre *schema.LoadAvg
	host    *host.Sampler
	gpus    *gpu.Sampler
	prober  *probe.Prober
	finder  *finder
	cores   *coreWatch

	// filesDir was made for the engine's metrics; "" where none was.
	filesDir string
	// filesInUse says that processes of the command may still write there.
	filesInUse bool
	// inside is what --instrument has in the engine's processes; nil without.
	inside    *inside
	startedAt time.Time
	partial   *partialKeeper

	mu sync.Mutex // guards notes where goroutines add to them
}

// Run runs the command and writes its event. It returns how the command ended,
// for vobs to end the same way. An error is vobs's own, from before the start:
// then there was no command and there is no event.
func Run(cfg Config) (child.Exit, error) {
	if cfg.ProcRoot == "" {
		cfg.ProcRoot = "/proc"
	}
	env := child.Environ()
	line := args.Parse(cfg.Args, "")
	b := &bracket{cfg: cfg, line: line, intents: cfg.Intents.Over(intent.FromCommandLine(line)), env: env, redactor: redact.New(env)}
	b.partial = newPartialKeeper(b)
	b.prepare()
	defer b.removeFiles()
	defer b.removeInstrument()
	if cfg.Strict {
		if err := b.checkStrict(); err != nil {
			return child.Exit{}, err
		}
	}
	b.protect("engine", func() { b.prober.ScrapeBaseline(context.Background()) })

	spec := child.Spec{
		Args:           cfg.Args,
		Env:            b.commandEnv(),
		Forward:        cfg.Forward,
		Warn:           cfg.Warn,
		BeforeShutdown: b.beforeShutdown,
	}
	if cfg.Output.OwnsStdout {
		spec.Stdout = os.Stderr
	}
	b.startedAt = time.Now()
	command, err := child.Start(spec)
	if err != nil {
		var start *child.StartError
		if !errors.As(err, &start) {
			return child.Exit{}, err
		}
		cfg.StartFailed(errors.New(startErrorText(b.redactor, start, cfg.Args[0])))
		b.finishUnstarted(start)
		return child.Exit{Code: start.Code}, nil
	}
	b.host.CommandStarted()
	b.gpus.CommandStarted(b.startedAt)
	b.prober.Start(b.startedAt)
	b.partial.start(command)
	b.finder.started = b.startedAt
	stopFinding := b.keepFinding()

	<-command.Done()
	exit := command.Exit()
	c := collected{loadPost: b.readLoad("loadavg_post")}
	stopFinding()
	b.cores.stop()
	b.collectAndDeliver(command, exit, c)
	return exit, nil
}

// prepare starts everything that is to run before the command does.
func (b *bracket) prepare() {
	own := budget.New(nil)
	b.loadPre = b.readLoad("loadavg_pre")
	b.host = host.Start(host.Config{ProcRoot: b.cfg.ProcRoot, CgroupRoot: b.cfg.CgroupRoot, Wait: own.Wait})
	asking := b.cfg.Probe
	asking.Wait = own.Wait
	b.prober = probe.New(asking)
	b.finder = newFinder(b.cfg.ProcRoot, b.host.Tree(), b.prober)
	b.finder.wait = own.Wait
	b.gpus = gpu.Start(gpu.Config{
		Visible:   lookup(b.env, "CUDA_VISIBLE_DEVICES"),
		Order:     deref(lookup(b.env, "CUDA_DEVICE_ORDER")),
		Devices:   b.cfg.Devices,
		Interval:  b.cfg.Interval,
		Ours:      b.finder.ours,
		Descends:  b.host.Tree().Descends,
		PIDsMatch: b.pidsMatch(),
		ProcRoot:  b.cfg.ProcRoot,
		Budget:    own,
	})
	for _, t := range b.cfg.Targets {
		b.prober.Add(t)
	}
	engines := probe.ReadCommandLine(b.line)
	b.prepareFiles(b.line.Role == args.OfflineBenchmark)
	b.prepareInstrument()
	b.finder.files = b.cfg.Multiproc != MultiprocOff
	b.cores = newCoreWatch(b.cfg.ProcRoot, b.cfg.Probe)
	b.cores.debug, b.cores.protect = b.cfg.Debug, func(part func()) { b.protect("engine", part) }
	b.finder.debug, b.finder.cores = b.cfg.Debug, b.cores
	for _, t := range engines.Targets {
		if b.line.Role == args.Server {
			if b.isForeign(t) {
				continue
			}
			t.Started = true
		}
		b.cfg.Debug("the command line names an engine at " + t.Name())
		b.prober.Add(t)
	}
}

// pidsMatch is sampler.GPUConfig's: nil, for what is seen decides, unless it is
// known from the start that the command's processes cannot be told.
func (b *bracket) pidsMatch() func() bool {
	if b.host.Tree().Err() == nil {
		return nil
	}
	return func() bool { return false }
}

// isForeign looks whether somebody answers where the command's own server is
// going to listen: that is another one, and it is never read.
func (b *bracket) isForeign(t scrape.Target) bool {
	ctx, cancel := context.WithTimeout(context.Background(), foreignCheck)
	defer cancel()
	if !probe.Listening(ctx, t) {
		return false
	}
	b.finder.foreign[t.Name()] = true
	message := fmt.Sprintf("another server answers at %s, where the command is going to listen: it is not read", t.Name())
	b.cfg.Warn(message)
	b.notes.Doubt(schema.CodeEngineNotOurs, schema.Warning, message, nil)
	return true
}

// checkStrict waits for NVML and for every address that was given.
func (b *bracket) checkStrict() error {
	ctx, cancel := context.WithTimeout(context.Background(), strictBudget)
	defer cancel()
	if err := b.gpus.Ready(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrStrict, err)
	}
	for _, t := range b.cfg.Targets {
		for {
			err := probe.Check(ctx, b.cfg.Probe, t)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", ErrStrict, err)
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}

// keepFinding looks for engines in the command's tree until the returned
// function is called, which waits for the look under way.
func (b *bracket) keepFinding() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		b.protect("engine", func() { b.finder.run(ctx) })
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func (b *bracket) beforeShutdown(sig syscall.Signal) {
	b.cores.signalled()
	b.protect("engine", func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownScrape)
		defer cancel()
		b.prober.BeforeShutdown(ctx)
	})
	b.partial.now()
}

// readLoad reads the load averages; their absence is noted.
func (b *bracket) readLoad(field string) *schema.LoadAvg {
	load, err := host.ReadLoadAvg(b.cfg.ProcRoot)
	if err != nil {
		b.missing(field, err.Error())
		return nil
	}
	return load
}

// collected is what the parts gave at the end.
type collected struct {
	loadPost  *schema.LoadAvg
	host      schema.Host
	gpus      gpu.Readings
	engine    aggregate.Output
	leftovers []schema.Leftover
}

// collectAndDeliver stops what samples, side by side: the GPUs' last reading,
// the engine's settling and the wait for late descendants each take 2 s at most.
func (b *bracket) collectAndDeliver(command *child.Command, exit child.Exit, c collected) {
	settle, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // one for both: who wants settling to end wants no upload
		select {
		case <-command.Cancelled():
			cancel()
		case <-settle.Done():
		}
	}()
	ran := exit.Ended.Sub(b.startedAt)
	b.protect("engine", b.hearInstrument) // before the engine's report, which has it
	var wg sync.WaitGroup
	wg.Go(b.partial.stop) // none may appear beside the whole event
	wg.Go(func() {
		b.protect("gpus", func() { c.gpus = b.gpus.Stop(ran) })
	})
	wg.Go(func() {
		b.protect("engine", func() { c.engine = b.prober.Finish(settle, exit.Ended) })
	})
	wg.Go(func() {
		select {
		case <-command.NoChildren():
		case <-settle.Done():
		case <-time.After(leftoverWait):
		}
	})
	wg.Wait()
	b.protect("gpus", func() {
		b.hearInstrument() // workers that end with the command tell their peaks at last
		b.joinTorch(&c.gpus)
	})
	b.note(b.instrumentNotes())
	b.note(c.gpus.Notes) // in this order, whoever was first
	b.note(c.engine.Notes)
	b.note(b.cores.notes(b.startedAt))
	b.protect("run.leftovers", func() {
		var notes schema.Notes
		c.leftovers = b.listLeftovers(command, &notes)
		b.note(notes)
	})
	b.protect("host", func() {
		var notes schema.Notes
		c.host, notes = b.host.Stop(command.CPUTime())
		b.note(notes)
	})
	event := b.assemble(b.ended(exit, c.leftovers), c, b.notes)
	b.deliver(event)
	b.filesInUse = len(c.leftovers) > 0
	if b.cfg.KillLeftovers && len(c.leftovers) > 0 {
		b.protect("run.leftovers", func() { b.killLeftovers(command) })
	}
	b.upload(settle, event)
}

// upload sends the event away, whatever comes of it.
func (b *bracket) upload(ctx context.Context, event *schema.GenerationObservability) {
	if b.cfg.Upload == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			b.cfg.Debug(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
			b.cfg.Warn(fmt.Sprintf("the event was not uploaded: an error in vobs: %v: please report it with the output of -v", p))
		}
	}()
	b.cfg.Upload(ctx, event)
}

// finishUnstarted writes the event of a command that could not be started.
func (b *bracket) finishUnstarted(start *child.StartError) {
	ended := time.Now()
	c := collected{loadPost: b.readLoad("loadavg_post")}
	b.protect("gpus", func() { c.gpus = b.gpus.Stop(0); b.joinTorch(&c.gpus); b.note(c.gpus.Notes) })
	b.protect("engine", func() {
		b.prober.Start(b.startedAt)
		c.engine = b.prober.Finish(context.Background(), ended)
		b.note(c.engine.Notes)
	})
	b.protect("host", func() {
		var notes schema.Notes
		c.host, notes = b.host.Stop(-1)
		b.note(notes)
	})
	event := b.assemble(b.unstarted(ended, start), c, b.notes)
	b.deliver(event)
	b.upload(context.Background(), event)
}

// deliver writes the event where it belongs, or to stderr as a last resort.
func (b *bracket) deliver(e *schema.GenerationObservability) {
	line, err := e.Encode(b.cfg.View)
	if err != nil {
		b.cfg.Warn(err.Error()) // no input leads here: every value of an event can be encoded
		return
	}
	for _, u := range e.Unavailable {
		b.cfg.Debug("unavailable: " + u.Field + ": " + u.Reason)
	}
	if err := b.cfg.Output.Write(line); err != nil {
		b.cfg.Warn(fmt.Sprintf("%v; it follows here", err))
		if _, err := os.Stderr.Write(line); err != nil {
			return // nobody is left to tell
		}
	}
	b.cfg.Debug(fmt.Sprintf("the event, %d bytes, went to %s", len(line), b.cfg.Output.Name()))
	if b.cfg.Finished != nil {
		b.cfg.Finished(e)
	}
}

// protect runs a part so that its panic costs its figures, and neither the
// command nor the event.
func (b *bracket) protect(field string, part func()) {
	defer func() {
		if p := recover(); p != nil {
			b.cfg.Debug(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
			b.missing(field, fmt.Sprintf("an error in vobs: %v: please report it with the output of -v", p))
		}
	}()
	part()
}

func (b *bracket) missing(field, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes.Missing(field, reason)
}

func (b *bracket) note(n schema.Notes) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes.Add(n)
}

// lookup finds a variable in an environment; nil where it is not set.
func lookup(env []string, name string) *string {
	if value, ok := environ.Lookup(env, name); ok {
		return &value
	}
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
