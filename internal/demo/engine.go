package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Engine is a simulated server: its endpoint's page, and one scheduler per
// data-parallel rank. Its methods are safe for concurrent use.
type Engine struct {
	cfg     Config
	created time.Time
	server  *http.Server
	memory  *memoryFile

	closed context.Context // ends with Close
	stop   context.CancelFunc

	generating sync.Mutex // held by Generate
	broken     bool       // a Generate was cut short: guarded by generating

	mu      sync.Mutex // guards what follows
	metrics *metrics
	cores   []*core
	phases  int
	tally   tally

	live *live // a scenario instead of generation phases; nil without
}

// tally holds what only the schedulers know, not a single request.
type tally struct {
	steps                     int
	drafts, drafted, accepted int
	running, waiting          int // highest after a step, one engine's
	usage                     float64
}

// New returns a loaded engine that has served nothing yet. Close frees it.
func New(cfg Config) (*Engine, error) {
	cfg.fill()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	memory, err := openMemory(&cfg)
	if err != nil {
		return nil, err
	}
	e := newEngine(cfg, memory)
	if memory != nil {
		memory.spike(false)
	}
	return e, nil
}

func newEngine(cfg Config, memory *memoryFile) *Engine {
	e := &Engine{cfg: cfg, created: time.Now(), memory: memory, metrics: newMetrics(&cfg, time.Now)}
	if cfg.Scenario != nil {
		e.live = &live{simulation: newSimulation(&e.cfg, e.created)}
	}
	for rank := range cfg.Engines {
		e.cores = append(e.cores, newCore(&cfg, rank))
	}
	e.closed, e.stop = context.WithCancel(context.Background())
	e.server = newServer(e)
	return e
}

// phaseRequests draws every engine's requests of one generation phase: equal shares, to
// which vLLM's load balancing amounts.
func phaseRequests(c *Config, phase int) [][]*request {
	all := make([][]*request, c.Engines)
	first := phase * c.Requests
	for rank := range all {
		n := c.Requests / c.Engines
		if rank < c.Requests%c.Engines {
			n++
		}
		rng := rand.New(rand.NewPCG(uint64(c.Seed), uint64(phase)<<32|uint64(rank)|1<<63))
		if n > 0 {
			all[rank] = workload(c, rng, n, first)
		}
		first += n
	}
	return all
}

// phaseLength returns the simulated time that a phase takes on fresh engines.
func phaseLength(c *Config, phase int) float64 {
	longest := 0.0
	for rank, rs := range phaseRequests(c, phase) {
		fresh := newCore(c, rank)
		fresh.submit(rs)
		longest = max(longest, fresh.length())
	}
	return longest
}

// Generate serves one generation phase of cfg.Requests requests in about cfg.Duration
// of wall time and returns when the engine is idle again. Called again, it serves
// another phase with other requests on warm caches, and the counters go on. If ctx ends
// or Close is called, it returns context.Canceled (or ctx's error) at once; the page
// stays as it was, and there is no further phase. A scenario runs once.
func (e *Engine) Generate(ctx context.Context) error {
	e.generating.Lock()
	defer e.generating.Unlock()
	if e.broken {
		return errors.New("demo: the engine was stopped in the middle of its requests")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.closed, cancel)()
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.live != nil {
		e.broken = true // a scenario runs once
		return e.live.generate(ctx)
	}
	e.mu.Lock()
	phase := e.phases
	e.phases++
	e.mu.Unlock()
	scale := e.cfg.Duration.Seconds() / phaseLength(&e.cfg, phase)

	e.mu.Lock()
	var busy []*core
	for rank, rs := range phaseRequests(&e.cfg, phase) {
		for _, r := range rs {
			r.scale = scale
		}
		c := e.cores[rank]
		c.submit(rs)
		if !c.idle() {
			c.begin()
			busy = append(busy, c)
		}
	}
	e.mu.Unlock()

	clock := phaseClock{start: time.Now(), scale: scale, memory: e.memory}
	clock.spikeOn = clock.start.Add(time.Duration(spikeAt * float64(e.cfg.Duration)))
	report := clock.start.Add(time.Second)
	for len(busy) > 0 {
		next := 0
		for i, c := range busy {
			if c.now < busy[next].now {
				next = i
			}
		}
		c := busy[next]
		if err := clock.waitUntil(ctx, clock.at(c.now)); err != nil {
			e.broken = true
			e.memory.spike(false)
			return err
		}
		if !e.step(c) {
			busy = append(busy[:next], busy[next+1:]...)
		}
		if now := time.Now(); now.After(report) {
			e.report()
			report = now.Add(time.Second)
		}
	}
	return clock.endSpike(ctx)
}

// step ends the core's current step and begins its next one. It returns false if the
// core has nothing left to do.
func (e *Engine) step(c *core) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := c.end()
	e.metrics.record(c.rank, st)
	e.tally.add(st)
	if c.idle() {
		return false
	}
	c.begin()
	return true
}

func (t *tally) add(st *stepRecord) {
	t.steps++
	t.drafts += st.drafts
	t.drafted += st.drafted
	t.accepted += st.accepted
	t.running = max(t.running, st.running)
	t.waiting = max(t.waiting, st.waiting)
	t.usage = max(t.usage, st.usage)
}

// report logs a line per engine, as vLLM does every ten seconds.
func (e *Engine) report() {
	if e.cfg.Log == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, s := range e.metrics.engines {
		rate := 0.0
		if s.queries.value > 0 {
			rate = 100 * s.hits.value / s.queries.value
		}
		logf(e.cfg.Log, "engine %03d: running %.0f requests, waiting %.0f, KV cache usage %.1f %%, prefix cache hit rate %.1f %%",
			i, s.running.value, s.waiting.value, 100*s.usage.value, rate)
	}
}

func logf(w io.Writer, format string, args ...any) {
	if w != nil {
		fmt.Fprintf(w, "simulated engine: "+format+"\n", args...)
	}
}

// phaseClock maps simulated seconds to deadlines of the wall clock. A late step does
// not delay the steps after it.
type phaseClock struct {
	start    time.Time
	scale    float64
	memory   *memoryFile
	spikeOn  time.Time // zero once the spike has begun
	spikeOff time.Time // zero unless the spike is on
}

func (p *phaseClock) at(simulated float64) time.Time {
	return p.start.Add(time.Duration(simulated * p.scale * float64(time.Second)))
}

// waitUntil sleeps until t, and turns the spike on and off on the way.
func (p *phaseClock) waitUntil(ctx context.Context, t time.Time) error {
	for {
		wake := t
		if !p.spikeOn.IsZero() && p.spikeOn.Before(wake) {
			wake = p.spikeOn
		}
		if !p.spikeOff.IsZero() && p.spikeOff.Before(wake) {
			wake = p.spikeOff
		}
		if err := sleepUntil(ctx, wake); err != nil {
			return err
		}
		now := time.Now()
		switch {
		case !p.spikeOn.IsZero() && !now.Before(p.spikeOn):
			p.memory.spike(true)
			p.spikeOn, p.spikeOff = time.Time{}, now.Add(spikeLength)
		case !p.spikeOff.IsZero() && !now.Before(p.spikeOff):
			p.memory.spike(false)
			p.spikeOff = time.Time{}
		case !now.Before(t):
			return nil
		}
	}
}

// endSpike waits for the end of a spike that outlasts the phase. There is always a
// spike: the last step is later than spikeAt.
func (p *phaseClock) endSpike(ctx context.Context) error {
	if p.spikeOff.IsZero() {
		return nil
	}
	err := p.waitUntil(ctx, p.spikeOff)
	p.memory.spike(false)
	return err
}

// sleepUntil returns at t, or earlier with ctx's error.
func sleepUntil(ctx context.Context, t time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d := time.Until(t)
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
