package truth

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// scenario is one run: engines, load, network and accidents. Everything follows from its
// number and the seed.
type scenario struct {
	number int
	seed   uint64
	// layout is the number of engines of each server.
	layout []int
	engine engineConfig
	kind   string // of load
	load   load
	late   lateness
	// history is how long the engines served another client before the run.
	history time.Duration
	// coldStart, unless 0, is how long after the command's start the servers come up.
	coldStart time.Duration
	// restarts are when a server is killed, since the command's start, and for how long it
	// is down.
	restarts []restart
	// scarce reports whether there are too few KV blocks for the load.
	scarce bool
}

type restart struct {
	server      int
	at, downFor time.Duration
}

func (sc scenario) String() string {
	s := fmt.Sprintf("run %d (%s, layout %v, %s", sc.number, sc.kind, sc.layout, sc.late.name)
	if sc.scarce {
		s += ", few blocks"
	}
	if sc.load.giveUp > 0 {
		s += ", given up"
	}
	if len(sc.restarts) > 0 {
		s += fmt.Sprintf(", %d restarts", len(sc.restarts))
	}
	if sc.coldStart > 0 {
		s += ", cold start"
	}
	return s + ")"
}

// dice is a source of random choices.
type dice struct{ *rand.Rand }

func (d dice) chance(p float64) bool { return d.Float64() < p }

// between returns a number, uniformly distributed over its order of magnitude.
func (d dice) between(low, high float64) float64 {
	return math.Exp(math.Log(low) + d.Float64()*(math.Log(high)-math.Log(low)))
}

func (d dice) duration(low, high time.Duration) time.Duration {
	return time.Duration(d.between(float64(low), float64(high)))
}

func (d dice) int(low, high int) int { return int(math.Round(d.between(float64(low), float64(high)))) }

// newScenario draws a run that lasts between shortest and longest.
func newScenario(seed uint64, number int, shortest, longest time.Duration) scenario {
	d := dice{rand.New(rand.NewPCG(seed, uint64(number)))}
	sc := scenario{number: number, seed: seed + uint64(number)<<16}
	length := d.duration(shortest, longest)
	sc.layout = [][]int{{1}, {1}, {1}, {2}, {1, 1}, {3}, {1, 2}, {1, 1, 1}}[d.IntN(8)]
	engines := 0
	for _, n := range sc.layout {
		engines += n
	}
	sc.drawEngine(d, length)
	sc.drawLoad(d, length, engines)
	sc.drawBlocks(d)
	sc.drawNetwork(d)
	if d.chance(0.5) {
		sc.history = d.duration(200*time.Millisecond, 2*time.Second)
	}
	switch {
	case d.chance(0.12) && length > time.Second:
		for range 1 + d.IntN(2) {
			sc.restarts = append(sc.restarts, restart{
				server:  d.IntN(len(sc.layout)),
				at:      time.Duration((0.2 + 0.6*d.Float64()) * float64(length)),
				downFor: d.duration(100*time.Millisecond, length/4),
			})
		}
	case d.chance(0.08):
		sc.coldStart = d.duration(20*time.Millisecond, length/3)
		sc.load.lead += sc.coldStart
		sc.history = 0
	}
	return sc
}

func (sc *scenario) drawEngine(d dice, length time.Duration) {
	sc.engine = engineConfig{
		maxNumSeqs:          d.int(4, 256),
		maxNumBatchedTokens: []int{512, 2048, 8192}[d.IntN(3)],
		blockSize:           16,
		stepBase:            d.duration(3*time.Millisecond, min(40*time.Millisecond, length/30)),
		perSequence:         d.duration(5*time.Microsecond, 100*time.Microsecond),
		perPromptToken:      d.duration(time.Microsecond, 30*time.Microsecond),
		jitter:              0.2 * d.Float64(),
	}
}

// drawLoad draws a load that the engines can finish in about the run's length.
func (sc *scenario) drawLoad(d dice, length time.Duration, engines int) {
	l := &sc.load
	l.lead, l.tail = d.duration(time.Millisecond, length/10), d.duration(time.Millisecond, length/20)
	// A request takes up to a third of the run.
	most := max(2, int(float64(length/3)/float64(sc.engine.stepBase+8*sc.engine.perSequence)))
	output := min(most, d.int(4, 400))
	l.output = [2]int{max(1, output/2), output}
	prompt := d.int(16, 1500)
	l.prompt = [2]int{max(1, prompt/4), prompt}
	one := time.Duration(output)*sc.engine.stepBase + time.Duration(prompt)*sc.engine.perPromptToken
	until := length - l.lead - l.tail - one
	until = max(until, length/4)
	switch sc.kind = []string{"light", "saturated", "bursty"}[d.IntN(3)]; sc.kind {
	case "light":
		// A few requests at a time, arriving at random.
		gap := float64(one) / (d.between(0.2, 4) * float64(engines))
		for at := time.Duration(0); at < until && len(l.arrivals) < 3000; at += time.Duration(d.ExpFloat64() * gap) {
			l.arrivals = append(l.arrivals, at)
		}
	case "saturated":
		l.concurrency = max(1, int(d.between(0.7, 3)*float64(min(64, sc.engine.maxNumSeqs)*engines)))
		l.limit, l.closedUntil = 3000, l.lead+until
		if d.chance(0.3) { // everything at once, as `vllm bench serve` does
			l.limit = l.concurrency
		}
	case "bursty":
		bursts := 2 + d.IntN(7)
		for i := range bursts {
			size := max(1, int(d.between(0.1, 1.5)*float64(min(64, sc.engine.maxNumSeqs)*engines)))
			at := time.Duration(float64(until) * (float64(i) + 0.5*d.Float64()) / float64(bursts))
			for range size {
				l.arrivals = append(l.arrivals, at+time.Duration(d.Float64()*float64(5*time.Millisecond)))
			}
		}
	}
	slices.Sort(l.arrivals)
	l.atLeast = length
	if d.chance(0.7) {
		l.atLeast = 0 // it ends with its last response
	}
	if d.chance(0.12) {
		l.giveUp, l.patience = d.between(0.02, 0.3), one
	}
	if d.chance(0.1) {
		l.refused = 1 + d.IntN(20)
	}
	// Nobody waits for an overloaded engine forever.
	if longest := 30 * time.Second; length+one > longest {
		l.killAt = longest
	} else {
		l.killAt = 2*length + one
	}
}

// drawBlocks draws the size of the KV cache: mostly enough, sometimes too small.
func (sc *scenario) drawBlocks(d dice) {
	one := (sc.load.prompt[1]+sc.load.output[1])/sc.engine.blockSize + 2
	concurrent := min(sc.engine.maxNumSeqs, max(sc.load.concurrency, 8))
	if sc.kind == "bursty" {
		concurrent = min(sc.engine.maxNumSeqs, 64)
	}
	enough := float64(one * concurrent)
	if sc.scarce = sc.kind != "light" && d.chance(0.25); sc.scarce {
		enough *= d.between(0.25, 0.7)
	} else {
		enough *= d.between(1.05, 4)
	}
	sc.engine.numGPUBlocks = 2 + max(one, int(enough))
}

func (sc *scenario) drawNetwork(d dice) {
	near := 200 * time.Microsecond
	switch d.IntN(8) {
	case 0, 1, 2:
		sc.late = lateness{name: "prompt", roundTrip: near, jitter: near}
	case 3:
		sc.late = lateness{name: "tunnel", roundTrip: d.duration(10*time.Millisecond, 80*time.Millisecond), jitter: 2 * time.Millisecond}
	case 4:
		sc.late = lateness{name: "busy loop", roundTrip: near, jitter: near, busyLoop: d.duration(5*time.Millisecond, 90*time.Millisecond)}
	case 5:
		sc.late = lateness{name: "very busy loop", roundTrip: near, jitter: near, busyLoop: d.duration(100*time.Millisecond, 500*time.Millisecond)}
	case 6:
		sc.late = lateness{name: "some late", roundTrip: near, jitter: near, lateShare: d.between(0.02, 0.3), lateBy: 500 * time.Millisecond}
	case 7:
		sc.late = lateness{name: "all late", roundTrip: near, jitter: near, lateShare: 1, lateBy: d.duration(100*time.Millisecond, 500*time.Millisecond)}
	}
}

// build returns the simulation of a scenario, and a function that starts the command in it.
func (sc scenario) build(epoch time.Time) (s *simulation, startCommand func()) {
	s = &simulation{epoch: epoch}
	for i, engines := range sc.layout {
		server := &server{sim: s, index: i, address: fmt.Sprintf("10.0.0.%d:8000", i+1)}
		for label := range engines {
			server.engines = append(server.engines, newEngine(server, sc.engine, label, sc.seed+uint64(10*i)))
		}
		s.servers = append(s.servers, server)
	}
	startServers := func(startupTime time.Duration) {
		for _, server := range s.servers {
			server.start(s.now - startupTime)
		}
	}
	if sc.coldStart == 0 {
		s.after(0, func() {
			startServers(40 * time.Second)
			if sc.history > 0 {
				s.startClient(sc.earlier(), sc.seed+7)
			}
		})
	}
	return s, func() {
		if sc.coldStart > 0 {
			s.after(sc.coldStart, func() { startServers(sc.coldStart / 2) })
		}
		for _, r := range sc.restarts {
			server := s.servers[r.server]
			s.after(r.at, func() {
				if server.up {
					server.kill()
					s.after(r.downFor, func() { server.start(s.now - r.downFor/2) })
				}
			})
		}
		s.startClient(sc.load, sc.seed)
	}
}

// earlier is the load before the run. It ends before the run begins.
func (sc scenario) earlier() load {
	l := load{prompt: sc.load.prompt, output: sc.load.output, killAt: sc.history / 2}
	for i := range 5 {
		l.arrivals = append(l.arrivals, time.Duration(i)*sc.history/20)
	}
	return l
}
