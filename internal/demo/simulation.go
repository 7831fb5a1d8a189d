package demo

import (
	"context"
	"math"
	"sync"
	"time"
)

// apiServerMemory is the resident memory of an idle API server, in bytes.
const apiServerMemory = 1400 << 20

// simulation is a scenario in progress: a sequence of events in simulated time, which the caller
// takes one by one. It is not safe for concurrent use.
type simulation struct {
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

// newSimulation returns the scenario of a filled configuration, at time 0.
func newSimulation(cfg *Config, start time.Time) *simulation {
	s := cfg.Scenario
	sim := &simulation{cfg: cfg, s: s, start: start, scale: cfg.Duration.Seconds() / s.length(), down: never}
	sim.boot(0, nil)
	return sim
}

// boot starts the server with empty caches. old are the clients of a server that has died.
func (sim *simulation) boot(at float64, old []*clients) {
	sim.process = sim.wall(at)
	sim.metrics = newMetrics(sim.cfg, func() time.Time { return sim.process })
	sim.metrics.scale = sim.scale
	sim.cores, sim.outputs = nil, make([][]stepRecord, sim.s.Engines)
	sim.tally, sim.served = tally{}, 0
	for rank := range sim.s.Engines {
		c := newCore(sim.cfg, rank)
		c.now, c.faults = at, sim.s.Faults
		c.front = &frontend{cost: sim.s.Frontend, free: at}
		if sim.s.KVCacheMetrics {
			c.pool.use = newResidency(sim.cfg.Seed, rank)
		}
		if o := sim.s.Offload; o != nil {
			c.tier = newOffloadTier(*o)
		}
		if old != nil {
			c.clients = old[rank]
		} else {
			c.clients = newClients(sim.s, sim.cfg.Seed, rank, sim.s.share(rank), sim.scale)
		}
		sim.cores = append(sim.cores, c)
		if !c.idle() {
			c.begin()
		}
	}
}

// wall returns the wall clock's time of a simulated one.
func (sim *simulation) wall(at float64) time.Time {
	return sim.start.Add(time.Duration(at * sim.scale * float64(time.Second)))
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
func (sim *simulation) next() (event, rank int, at float64) {
	if sim.down < never {
		return eventBoot, 0, sim.down
	}
	at = never
	for i, c := range sim.cores {
		if len(sim.outputs[i]) > 0 && sim.outputs[i][0].at < at {
			event, rank, at = eventOutput, i, sim.outputs[i][0].at
		}
		if c.stepping && c.now < at {
			event, rank, at = eventStep, i, c.now
		}
	}
	if f := sim.s.Faults; f.RestartTime > 0 && !sim.restarted && f.RestartAt <= at {
		return eventDeath, 0, f.RestartAt
	}
	return event, rank, at
}

// advance has everything happen until the given time, and reports whether more is to come.
func (sim *simulation) advance(until float64) bool {
	for {
		event, rank, at := sim.next()
		if at > until {
			sim.now = until
			return event != eventNone
		}
		sim.now = at
		switch event {
		case eventOutput:
			st := &sim.outputs[rank][0]
			sim.metrics.record(rank, st)
			sim.served += len(st.finished) + len(st.disconnected)
			sim.outputs[rank] = sim.outputs[rank][1:]
		case eventStep:
			sim.step(sim.cores[rank])
		case eventDeath:
			sim.die(at)
		case eventBoot:
			sim.down = never
			var old []*clients
			for _, c := range sim.cores {
				old = append(old, c.clients)
			}
			sim.boot(at, old)
		}
	}
}

// step ends a core's step and begins its next one.
func (sim *simulation) step(c *core) {
	st := c.end()
	sim.tally.add(st)
	sim.outputs[c.rank] = append(sim.outputs[c.rank], *st)
	if sim.see != nil {
		sim.see(c, st)
	}
	c.stepping = false
	if !c.idle() {
		c.begin()
	}
}

// die ends the server: everything in it is lost, and what arrives until it is back is
// refused.
func (sim *simulation) die(at float64) {
	sim.restarted, sim.down = true, at+sim.s.Faults.RestartTime
	for _, c := range sim.cores {
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
				sim.lost++
				c.clients.answered(r, sim.down)
			}
		}
	}
	sim.previous = append(sim.previous, sim.totals())
	for _, c := range sim.cores {
		for c.clients.next() < sim.down {
			r := c.clients.take()
			sim.refused++
			c.clients.answered(r, sim.down)
		}
	}
}

// totals returns what the clients have counted since the server process began.
func (sim *simulation) totals() Totals {
	t := sim.tally.totals()
	for _, c := range sim.cores {
		seen := make(map[int]bool) // groups
		for _, r := range c.all {
			t.add(r)
			if seen[r.group] {
				t.reusableTokens += r.shared / c.set.BlockSize * c.set.BlockSize
			}
			seen[r.group] = true
		}
	}
	return t
}

// page returns the exposition, or nil if nothing answers.
func (sim *simulation) page(names nameSet) []byte {
	if sim.down < never {
		return nil
	}
	cpu := 0.0
	for _, c := range sim.cores {
		cpu += c.front.cpu(sim.now)
	}
	// The CPU time in whole ticks, as the kernel counts it. Starting takes some, too.
	ticks := math.Floor((12 + cpu*sim.scale) * ticksPerSecond)
	sim.metrics.process.simulate(float64(sim.process.UnixMilli())/1000, ticks/ticksPerSecond, apiServerMemory+sim.s.Faults.RequestLeak*float64(sim.served))
	return sim.metrics.reg.page(names)
}

// live is a scenario that an Engine runs on the wall clock.
type live struct {
	mu sync.Mutex
	*simulation
}

// generate runs the scenario to its end, and returns when the server has then been idle
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
