package observe

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/deliver"
	"github.com/vobs/vobs/observe/validity"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/sampler/host"
	"github.com/vobs/vobs/schema"
)

// readings is what the parts report at the end of a run, or so far.
type readings struct {
	loadPost *schema.LoadAvg
	host     schema.Host
	gpus     gpu.Readings
	engine   aggregate.Output
	// hostCurves are the figures of the process tree, and of the engines' processes, over the run.
	hostCurves []curve.Figure
	// client is what the load generator measured; nil if there is none.
	client *schema.Client

	// What the event has no key for.
	cpu       *validity.CPU
	oom       *validity.OOM
	clockJump time.Duration
}

const (
	// endTimeout is how long the last readings may take after the command's end.
	endTimeout = 2 * time.Second
	// proberSlack is how much longer the prober's may take. Beyond that they hang.
	proberSlack = 500 * time.Millisecond
)

// finish collects the readings after the command's end, delivers the event and cleans up.
func (r *run) finish(command *child.Command, stopDiscovery func() error) {
	// A signal that ends the settling cancels the upload, too.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-command.Cancelled():
			cancel()
		case <-ctx.Done():
		}
	}()
	exit := command.Exit()
	r.host.CommandEnded()
	var got readings
	r.collect(ctx, command, exit, stopDiscovery, &got)

	left := leftovers{command: command, host: r.host, gpus: r.gpus, redactor: r.redactor, warn: r.cfg.Warn, willKill: r.cfg.KillLeftovers}
	var listed []schema.Leftover
	r.recovered("run.leftovers", func() {
		var notes schema.Notes
		listed, notes = left.list()
		r.notes.add(notes)
	})
	r.recovered("host", func() {
		var notes schema.Notes
		got.host, notes = r.host.Stop(command.CPUTime())
		ended := exit.Ended.Sub(r.startedAt)
		got.hostCurves = append(r.host.Curves(ended, treeCPU(&got.host)), r.discovery.memoryCurves(ended)...)
		r.notes.add(notes)
	})
	r.recovered("validity", func() {
		got.cpu = r.cpuUse(command, got.engine.Engine, got.engine.Conditions)
		got.oom = r.oomKills(command, exit)
	})
	got.clockJump = clockJump(r.startedAt, exit.Ended)
	event := r.assemble(r.ended(exit, listed), got, r.notes.copy())
	r.deliver(ctx, event)
	r.cfg.Series.Close()
	if r.cfg.KillLeftovers && len(listed) > 0 {
		r.recovered("run.leftovers", left.kill)
	}
	r.upload(ctx, event)
	r.keepUsedDirs(command)
}

// collect reads the load averages and the load generator's result, stops discovery, the GPU
// sampler and the prober, and waits for descendants that are still ending, side by side: all
// that takes 2 s at most, but for a large result on a slow machine.
func (r *run) collect(ctx context.Context, command *child.Command, exit child.Exit, stopDiscovery func() error, got *readings) {
	end := time.Now().Add(endTimeout)
	// The prober's report has what the plugin reported.
	r.recovered("engine", r.readIntrospection)
	var wg sync.WaitGroup
	wg.Go(r.partial.stop) // no FILE.partial may appear beside the whole event
	var loadErr error
	wg.Go(func() {
		r.recovered("loadavg_post", func() { got.loadPost, loadErr = host.ReadLoadAvg(r.cfg.ProcRoot) })
		r.recovered("host.energy_joules", r.host.CommandEnded)
	})
	wg.Go(func() {
		r.recovered("gpus", func() { got.gpus = r.gpus.Stop(exit.Ended.Sub(r.startedAt)) })
	})
	var discoveryErr error
	wg.Go(func() {
		var looks sync.WaitGroup
		looks.Go(func() { discoveryErr = stopDiscovery() })
		looks.Go(r.cores.stop)
		looks.Wait()
		ctx, cancel := context.WithDeadline(ctx, end)
		defer cancel()
		got.engine = r.finishProber(ctx, time.Until(end)+proberSlack, exit.Ended)
	})
	var clientNotes schema.Notes
	wg.Go(func() { r.recovered("client", func() { got.client, clientNotes = r.readResult() }) })
	wg.Go(func() {
		select {
		case <-command.NoChildren():
		case <-ctx.Done():
		case <-time.After(leftoverWait):
		}
	})
	wg.Wait()
	r.recovered("gpus", func() {
		r.readIntrospection() // workers report their peaks as they end
		r.introspection.addTorch(&got.gpus)
		addActivity(&got.gpus, func(uuid string) *probe.GPUActivity { return r.prober.GPUActivity(uuid, exit.Ended) })
	})
	// In a fixed order, whichever part was first.
	if loadErr != nil {
		r.notes.missing("loadavg_post", loadErr.Error())
	}
	if discoveryErr != nil && got.engine.Engine == nil {
		r.notes.missing("engine", fmt.Sprintf("looking for an engine among the command's processes: %v", discoveryErr))
	}
	r.notes.add(clientNotes)
	r.notes.add(r.introspection.notes(r.redactor, r.cfg.Debug))
	r.notes.add(got.gpus.Notes)
	r.notes.add(got.engine.Notes)
	r.notes.add(r.cores.notes(r.startedAt))
}

// finishProber takes the last readings of the engines. If that hangs, in a file of /proc which
// shows whose an address or a file of metrics is, what was read so far counts.
func (r *run) finishProber(ctx context.Context, limit time.Duration, ended time.Time) aggregate.Output {
	out, err := bounded.Await("the last reading of the engines", limit, func() (out aggregate.Output, err error) {
		r.recovered("engine", func() { out = r.prober.Finish(ctx, ended) })
		return out, nil
	})
	if err != nil {
		r.cfg.Debug(err.Error())
		r.recovered("engine", func() { out = r.prober.Snapshot(ended) })
		if out.Engine == nil {
			r.notes.missing("engine", err.Error())
		}
	}
	return out
}

// readIntrospection passes what the plugin has reported so far on to the prober.
func (r *run) readIntrospection() {
	if r.introspection.enabled {
		r.prober.SetIntrospection(r.introspection.readPlugin())
	}
}

// finishUnstarted writes the event of a command that could not be started.
func (r *run) finishUnstarted(start *child.StartError) {
	ended := time.Now()
	got := readings{loadPost: r.readLoad("loadavg_post")}
	if r.cfg.Ingest != "" {
		r.notes.missing("client", "the command did not start")
	}
	r.recovered("gpus", func() {
		got.gpus = r.gpus.Stop(0)
		r.introspection.addTorch(&got.gpus)
		r.notes.add(got.gpus.Notes)
	})
	r.recovered("engine", func() {
		r.prober.Start(r.startedAt)
		got.engine = r.finishProber(context.Background(), endTimeout+proberSlack, ended)
		r.notes.add(got.engine.Notes)
	})
	r.recovered("host", func() {
		var notes schema.Notes
		got.host, notes = r.host.Stop(-1)
		r.notes.add(notes)
	})
	event := r.assemble(r.unstarted(ended, start), got, r.notes.copy())
	r.deliver(context.Background(), event)
	r.cfg.Series.Close()
	r.upload(context.Background(), event)
}

// lastResortTimeout bounds the writing of the event to stderr if its own stream was given up.
const lastResortTimeout = 2 * time.Second

// deliver writes the event to the output, or to stderr if that fails. Messages that were held
// back follow it: a terminal that takes none would keep the event back, too.
func (r *run) deliver(ctx context.Context, e *schema.GenerationObservability) {
	defer r.messages.release()
	line, err := e.Encode(r.cfg.View)
	if err != nil {
		r.cfg.Warn(err.Error()) // not reachable: every value of an event can be encoded
		return
	}
	err = r.cfg.Output.Write(ctx, line)
	r.messages.release()
	for _, u := range e.Unavailable {
		r.cfg.Debug("unavailable: " + u.Field + ": " + u.Reason)
	}
	if err != nil {
		r.cfg.Warn(fmt.Sprintf("%v; the event follows", err))
		if ctx.Err() != nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.Background(), lastResortTimeout)
			defer cancel()
		}
		if _, err := deliver.WriteStream(ctx, os.Stderr, line); err != nil {
			return // stderr is gone too
		}
	}
	r.cfg.Debug(fmt.Sprintf("delivered the event (%d bytes) to %s", len(line), r.cfg.Output.Name()))
	if r.cfg.Finished != nil {
		r.cfg.Finished(e)
	}
}

// upload passes the event to Config.Upload. The event is already delivered, so a panic
// is only a warning.
func (r *run) upload(ctx context.Context, event *schema.GenerationObservability) {
	if r.cfg.Upload == nil {
		return
	}
	if err := catchPanic(r.cfg.Debug, func() { r.cfg.Upload(ctx, event) }); err != nil {
		r.cfg.Warn(fmt.Sprintf("the event was not uploaded: %v", err))
	}
}
