package demo

import (
	"context"
	"math"
	"sync"
	"time"
)

// apiServerMemory is the resident memory of an idle API server, in bytes.
const apiServerMemory = 1400 << 20

// play is a scenario in progress: a sequence of events in simulated time, which the caller
// takes one by one. It is not safe for concurrent use.
type play struct {
	cfg   *Config
	s     *Scenario
	start time.Time // time 0
	scale float64   // wall seconds per simulated second

	cores   []*core
	metrics *metrics
	process time.Time // when the API server began
	tally   tally
	// outputs are the steps whose outputs the API server has not processed yet, each
	// engine's in order.
	outputs [][]stepRecord
	served  int // requests that ended, of this server process
	now     float64
	// down is when a server that has died is back; never if it runs.
	down      float64
	restarted bool
	// what happened to requests that no page counts
	lost, refused int
	previous      []Totals // of server processes that have died

	see func(*core, *stepRecord) // in tests
}

// newPlay returns the scenario of a filled configuration, at time 0.
func newPlay(cfg *Config, start time.Time) *play {
	s := cfg.Scenario
	p := &play{cfg: cfg, s: s, start: start, scale: cfg.Duration.Seconds() / s.length(), down: never}
	p.boot(0, nil)
	return p
}

// boot starts the server with empty caches. old are the clients of a server that has died.
func (p *play) boot(at float64, old []*clients) {
	p.process = p.wall(at)
	p.metrics = newMetrics(p.cfg, func() time.Time { return p.process })
	p.metrics.scale = p.scale
	p.cores, p.outputs = nil, make([][]stepRecord, p.s.Engines)
	p.tally, p.served = tally{}, 0
	for rank := range p.s.Engines {
		c := newCore(p.cfg, rank)
		c.now, c.faults = at, p.s.Faults
		c.front = &frontend{cost: p.s.Frontend, free: at}
		if o := p.s.Offload; o != nil {
			c.tier = newOffloadTier(*o)
		}
		if old != nil {
			c.clients = old[rank]
		} else {
			c.clients = newClients(p.s, p.cfg.Seed, rank, p.s.share(rank), p.scale)
		}
		p.cores = append(p.cores, c)
		if !c.idle() {
			c.begin()
		}
	}
}

// wall returns the wall clock's time of a simulated one.
func (p *play) wall(at float64) time.Time {
	return p.start.Add(time.Duration(at * p.scale * float64(time.Second)))
}

// The kinds of events, in the order in which simultaneous ones happen.
const (
	eventNone = iota
	eventOutput
	eventStep
	eventDeath
	eventBoot
)

// next returns the next event, and the engine that it is about. After the last one it
// returns eventNone, and never.
func (p *play) next() (event, rank int, at float64) {
	if p.down < never {
		return eventBoot, 0, p.down
	}
	at = never
	for i, c := range p.cores {
		if len(p.outputs[i]) > 0 && p.outputs[i][0].at < at {
			event, rank, at = eventOutput, i, p.outputs[i][0].at
		}
		if c.stepping && c.now < at {
			event, rank, at = eventStep, i, c.now
		}
	}
	if f := p.s.Faults; f.RestartTime > 0 && !p.restarted && f.RestartAt <= at {
		return eventDeath, 0, f.RestartAt
	}
	return event, rank, at
}

// advance has everything happen until the given time, and reports whether more is to come.
func (p *play) advance(until float64) bool {
	for {
		event, rank, at := p.next()
		if at > until {
			p.now = until
			return event != eventNone
		}
		p.now = at
		switch event {
		case eventOutput:
			st := &p.outputs[rank][0]
			p.metrics.record(rank, st)
			p.served += len(st.finished) + len(st.disconnected)
			p.outputs[rank] = p.outputs[rank][1:]
		case eventStep:
			p.step(p.cores[rank])
		case eventDeath:
			p.die(at)
		case eventBoot:
			p.down = never
			var old []*clients
			for _, c := range p.cores {
				old = append(old, c.clients)
			}
			p.boot(at, old)
		}
	}
}

// step ends a core's step and begins its next one.
func (p *play) step(c *core) {
	st := c.end()
	p.tally.add(st)
	p.outputs[c.rank] = append(p.outputs[c.rank], *st)
	if p.see != nil {
		p.see(c, st)
	}
	c.stepping = false
	if !c.idle() {
		c.begin()
	}
}

// die ends the server: everything in it is lost, and what arrives until it is back is
// refused.
func (p *play) die(at float64) {
	p.restarted, p.down = true, at+p.s.Faults.RestartTime
	for _, c := range p.cores {
		c.stepping = false
		had := len(c.all)
		for had > 0 && c.all[had-1].arrival > at { // an idle core's next step was begun ahead of time
			had--
			c.clients.untake(c.all[had])
		}
		c.all = c.all[:had]
		for _, r := range c.all {
			if !r.ended(at) {
				r.gone = true
				p.lost++
				c.clients.answered(r, p.down)
			}
		}
	}
	p.previous = append(p.previous, p.totals())
	for _, c := range p.cores {
		for c.clients.next() < p.down {
			r := c.clients.take()
			p.refused++
			c.clients.answered(r, p.down)
		}
	}
}

// totals returns what the clients have counted since the server process began.
func (p *play) totals() Totals {
	t := p.tally.totals()
	for _, c := range p.cores {
		for _, r := range c.all {
			t.add(r)
		}
	}
	return t
}

// page returns the exposition, or nil if nothing answers.
func (p *play) page(names nameSet) []byte {
	if p.down < never {
		return nil
	}
	cpu := 0.0
	for _, c := range p.cores {
		cpu += c.front.cpu(p.now)
	}
	// The CPU time in whole ticks, as the kernel counts it. Starting takes some, too.
	ticks := math.Floor((12 + cpu*p.scale) * ticksPerSecond)
	p.metrics.process.simulate(float64(p.process.UnixMilli())/1000, ticks/ticksPerSecond, apiServerMemory+p.s.Faults.RequestLeak*float64(p.served))
	return p.metrics.reg.page(names)
}

// live is a scenario that an Engine plays on the wall clock.
type live struct {
	mu sync.Mutex
	*play
}

// generate plays the scenario to its end, and returns when the server has then been idle
// for as long as the scenario says.
func (l *live) generate(ctx context.Context) error {
	l.mu.Lock()
	l.start = time.Now()
	l.mu.Unlock()
	for {
		l.mu.Lock()
		event, _, at := l.next()
		end := l.now
		l.mu.Unlock()
		if event == eventNone {
			return sleepUntil(ctx, l.wall(max(end, l.s.Load.Seconds)+l.s.Load.Idle))
		}
		if err := sleepUntil(ctx, l.wall(at)); err != nil {
			return err
		}
		l.mu.Lock()
		l.advance(time.Since(l.start).Seconds() / l.scale)
		l.mu.Unlock()
	}
}
