package observe

import (
	"fmt"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/deliver"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/schema"
)

// partialInterval is how often FILE.partial is written.
const partialInterval = time.Minute

// partialWriter writes the partial event to FILE.partial, in case vobs itself is killed:
// every minute, and upon the first shutdown signal.
type partialWriter struct {
	output    *deliver.Output
	warn      func(string)
	recovered func(field string, part func())

	encode func() ([]byte, error)
	due    chan struct{}
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once
}

func newPartialWriter(output *deliver.Output, warn func(string), recovered func(field string, part func())) *partialWriter {
	return &partialWriter{
		output: output, warn: warn, recovered: recovered,
		due: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// start begins to write what encode returns, if the output has a place for it.
func (w *partialWriter) start(encode func() ([]byte, error)) {
	if !w.output.KeepsPartial() {
		close(w.done)
		return
	}
	w.encode = encode
	go w.run()
}

// writeSoon starts a write without waiting for it, because a signal is held back meanwhile.
func (w *partialWriter) writeSoon() {
	select {
	case w.due <- struct{}{}:
	default:
	}
}

// stop ends the writing and waits for a write in progress.
func (w *partialWriter) stop() {
	w.once.Do(func() { close(w.quit) })
	<-w.done
}

func (w *partialWriter) run() {
	defer close(w.done)
	ticker := time.NewTicker(partialInterval)
	defer ticker.Stop()
	warned := false
	for {
		select {
		case <-w.quit:
			return
		case <-ticker.C:
		case <-w.due:
		}
		w.recovered("partial", func() {
			if err := w.write(); err != nil && !warned {
				warned = true
				w.warn(err.Error())
			}
		})
	}
}

func (w *partialWriter) write() error {
	event, err := w.encode()
	if err != nil {
		return err
	}
	blocking(func() { err = w.output.WritePartial(event) })
	return err
}

// partialEvent assembles the partial event.
func (r *run) partialEvent(command *child.Command) *schema.GenerationObservability {
	now := time.Now()
	notes := r.notes.copy()
	r.readIntrospection()
	var got readings
	var hostNotes schema.Notes
	got.gpus = r.gpus.Readings()
	r.introspection.addTorch(&got.gpus)
	addActivity(&got.gpus, func(uuid string) *probe.GPUActivity { return r.prober.GPUActivity(uuid, now) })
	got.engine = r.prober.Snapshot(now)
	got.host, hostNotes = r.host.Readings(command.CPUTime())
	elapsed := now.Sub(r.startedAt)
	got.hostCurves = append(r.host.Curves(elapsed, -1), r.discovery.memoryCurves(elapsed)...)
	for _, n := range []schema.Notes{got.gpus.Notes, got.engine.Notes, r.cores.notes(r.startedAt), hostNotes} {
		notes.Add(n)
	}
	about := r.identity()
	about.DurationSeconds = schema.Float(now.Sub(r.startedAt).Seconds())
	about.Interrupted = command.Interrupted()
	notes.Missing("run.exit_code", fmt.Sprintf("the command was still running %.1f s after its start", float64(about.DurationSeconds)))
	notes.Missing("loadavg_post", "the command was still running")
	if r.cfg.Ingest != "" {
		notes.Missing("client", "the command was still running")
	}
	e := r.assemble(about, got, notes)
	e.Partial = true
	return e
}
