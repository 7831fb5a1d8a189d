package truth

import (
	"math/rand/v2"
	"time"
)

// load is what a client sends.
type load struct {
	// Sizes of requests, uniform between the two.
	prompt, output [2]int
	// arrivals are the times of requests that are sent whatever happens.
	arrivals []time.Duration
	// In a closed loop, concurrency requests are always under way, until closedUntil or
	// until limit requests were sent.
	concurrency, limit int
	closedUntil        time.Duration
	// giveUp is the share of requests that the client gives up, and patience the longest
	// time after which it does.
	giveUp   float64
	patience time.Duration
	// refused requests are sent that the server answers with 400.
	refused int
	// lead is the time from the start of the command to the first request.
	lead time.Duration
	// killAt, unless 0, is when the client ends, whatever is still under way.
	killAt time.Duration
	// tail is the time from the client's last response to its end.
	tail time.Duration
	// atLeast is how long the client lives.
	atLeast time.Duration
}

// client is the command: it sends requests to all engines in turn and ends.
type client struct {
	sim  *simulation
	load load
	rng  *rand.Rand

	began       time.Duration
	sent        int
	next        int // engine
	outstanding map[*request]bool
	unsent      int // planned arrivals still to come
	ended       bool
	endedAt     time.Duration
	// What the client saw.
	finished, givenUp, failed int
}

// retryAfter is how long a client in a closed loop waits after a failure.
const retryAfter = 50 * time.Millisecond

// start runs the client from now on.
func (s *simulation) startClient(l load, seed uint64) *client {
	c := &client{sim: s, load: l, rng: rand.New(rand.NewPCG(seed, 1)), began: s.now, outstanding: map[*request]bool{}}
	s.client = c
	c.unsent = len(l.arrivals)
	for _, at := range l.arrivals {
		s.after(l.lead+at, func() {
			c.unsent--
			c.send()
			c.endIfDone()
		})
	}
	if l.concurrency > 0 {
		s.after(l.lead, func() {
			for range l.concurrency {
				c.sendNext()
			}
		})
	}
	if l.killAt > 0 {
		s.after(l.killAt, c.end)
	}
	for i := range l.refused {
		s.after(l.lead+time.Duration(i)*time.Millisecond, func() {
			if e := c.engine(); e.server.up {
				e.server.refused++
			}
		})
	}
	s.after(l.atLeast, c.endIfDone)
	return c
}

// closedLoop reports whether the client still keeps a number of requests under way.
func (c *client) closedLoop() bool {
	return c.load.concurrency > 0 && c.sent < c.load.limit && c.sim.now-c.began < c.load.closedUntil
}

func (c *client) sendNext() {
	if c.closedLoop() && !c.ended {
		c.send()
	}
}

// retry goes on after a failure.
func (c *client) retry() {
	c.sendNext()
	c.endIfDone()
}

// engine returns the engine that the next request goes to.
func (c *client) engine() *engine {
	engines := c.sim.engines()
	c.next++
	return engines[c.next%len(engines)]
}

func (c *client) send() {
	if c.ended {
		return
	}
	between := func(r [2]int) int { return r[0] + c.rng.IntN(r[1]-r[0]+1) }
	r := &request{prompt: between(c.load.prompt), output: between(c.load.output), engine: c.engine()}
	givesUp, patience := c.rng.Float64() < c.load.giveUp, time.Duration(c.rng.Float64()*float64(c.load.patience))
	if !r.engine.server.up {
		c.failed++
		c.sim.after(retryAfter, c.retry)
		return
	}
	c.sent++
	c.outstanding[r] = true
	r.done = func(how outcome) {
		delete(c.outstanding, r)
		if how == failed {
			c.failed++
			c.sim.after(retryAfter, c.retry)
			return
		}
		c.finished++
		c.sendNext()
		c.endIfDone()
	}
	if givesUp {
		c.sim.after(patience, func() {
			if c.outstanding[r] {
				c.giveUp(r)
				c.sendNext()
				c.endIfDone()
			}
		})
	}
	r.engine.add(r)
}

func (c *client) giveUp(r *request) {
	delete(c.outstanding, r)
	c.givenUp++
	r.engine.abort(r)
}

// endIfDone ends the client soon after its last response.
func (c *client) endIfDone() {
	if c.ended || c.unsent > 0 || len(c.outstanding) > 0 || c.closedLoop() || c.sim.now-c.began < c.load.atLeast {
		return
	}
	c.sim.after(c.load.tail, c.end)
}

// end ends the client, which gives up what is under way.
func (c *client) end() {
	if c.ended {
		return
	}
	c.ended, c.endedAt = true, c.sim.now
	for _, r := range c.sorted() {
		c.giveUp(r)
	}
}

// sorted returns the requests under way in the order of their arrival: maps have none, and
// every run of a simulation is the same.
func (c *client) sorted() (all []*request) {
	for _, e := range c.sim.engines() {
		for _, queue := range [][]*request{e.running, e.waiting, e.input} {
			for _, r := range queue {
				if c.outstanding[r] {
					all = append(all, r)
				}
			}
		}
	}
	return all
}
