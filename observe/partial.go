package observe

import (
	"fmt"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/schema"
)

// partialKeeper keeps the event so far in FILE.partial: every minute, and from
// the first shutdown signal on, for the case that vobs itself is killed.
type partialKeeper struct {
	b       *bracket
	command *child.Command
	due     chan struct{}
	quit    chan struct{}
	done    chan struct{}
	once    sync.Once
}

func newPartialKeeper(b *bracket) *partialKeeper {
	return &partialKeeper{b: b, due: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
}

// start begins to keep the event, where the output has a place for it.
func (k *partialKeeper) start(command *child.Command) {
	if !k.b.cfg.Output.KeepsPartial() {
		close(k.done)
		return
	}
	k.command = command
	go k.run()
}

// now asks for the event so far without waiting for it: a signal is held back
// meanwhile.
func (k *partialKeeper) now() {
	select {
	case k.due <- struct{}{}:
	default:
	}
}

// stop ends the keeping, and waits for a write that is under way.
func (k *partialKeeper) stop() {
	k.once.Do(func() { close(k.quit) })
	<-k.done
}

func (k *partialKeeper) run() {
	defer close(k.done)
	ticker := time.NewTicker(partialInterval)
	defer ticker.Stop()
	warned := false
	for {
		select {
		case <-k.quit:
			return
		case <-ticker.C:
		case <-k.due:
		}
		k.b.protect("partial", func() {
			if err := k.write(); err != nil && !warned {
				warned = true
				k.b.cfg.Warn(err.Error())
			}
		})
	}
}

func (k *partialKeeper) write() error {
	event, err := k.b.soFar(k.command).Encode(k.b.cfg.View)
	if err != nil {
		return err
	}
	return k.b.cfg.Output.WritePartial(event)
}

// soFar assembles the preliminary event.
func (b *bracket) soFar(command *child.Command) *schema.GenerationObservability {
	now := time.Now()
	b.mu.Lock()
	notes := schema.Notes{}
	notes.Add(b.notes)
	b.mu.Unlock()
	var c collected
	var hostNotes schema.Notes
	b.hearInstrument()
	c.gpus = b.gpus.Readings()
	b.joinTorch(&c.gpus)
	c.engine = b.prober.Snapshot(now)
	c.host, hostNotes = b.host.Readings(command.CPUTime())
	for _, n := range []schema.Notes{c.gpus.Notes, c.engine.Notes, b.cores.notes(b.startedAt), hostNotes} {
		notes.Add(n)
	}
	run := b.identity()
	run.DurationSeconds = schema.Float(now.Sub(b.startedAt).Seconds())
	run.Interrupted = command.Interrupted()
	notes.Missing("run.exit_code", fmt.Sprintf("the command was still running %.1f s after its start", float64(run.DurationSeconds)))
	notes.Missing("loadavg_post", "the command was still running")
	e := b.assemble(run, c, notes)
	e.Partial = true
	return e
}
