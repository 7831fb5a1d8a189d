package demo

import (
	"math/rand/v2"
	"slices"
)

// Load is what the clients of a scenario send: in an open loop, whatever the server's
// state, or in a closed one, each client its next request after the last response.
type Load struct {
	// Seconds is how long the clients send, Idle how long the server then stays up with
	// nothing to do.
	Seconds, Idle float64
	// Rate is the number of requests per second of an open loop, a Poisson process.
	Rate float64
	// Clients is the number of clients of a closed loop. They begin evenly over the first
	// Ramp seconds, and think for Think seconds on average between two requests.
	Clients     int
	Ramp, Think float64
	// Kinds are the kinds of requests that are sent.
	Kinds []RequestKind
	// Shares are the engines' shares of the load; equal ones if nil.
	Shares []float64
}

// RequestKind is one kind of requests. Lengths are drawn evenly from half to one and a
// half times the given ones.
type RequestKind struct {
	// Weight is the kind's share of the requests, in relation to the others' weights.
	Weight float64
	// Prompt and Output are the mean lengths in tokens; Shared is the part of the prompt
	// that all requests of a group have in common, and Groups the number of groups.
	Prompt, Shared, Groups, Output int
}

// longest returns mean and shared prompt tokens of a kind with the longest prompt, and the
// highest max_tokens.
func (l *Load) longest() (prompt, shared, maxTokens int) {
	for _, k := range l.Kinds {
		if k.maxPrompt() > shared+(prompt-shared)*3/2 {
			prompt, shared = k.Prompt, k.Shared
		}
		maxTokens = max(maxTokens, k.maxTokens())
	}
	return prompt, shared, maxTokens
}

func (k *RequestKind) maxPrompt() int { return k.Shared + (k.Prompt-k.Shared)*3/2 }

func (k *RequestKind) maxTokens() int { return k.Output + k.Output/2 }

// around draws a number from half to one and a half times n.
func around(rng *rand.Rand, n int) int { return max(1, n/2+rng.IntN(n+1)) }

// clients are those of one engine.
type clients struct {
	load     *Load
	faults   *Faults
	rng      *rand.Rand
	scale    float64
	arrivals []*request // in order of arrival
	nextID   int        // ids are unique within an engine, which is what the KV cache needs
	sent     int
}

// newClients returns the clients of one engine, which has the given share of the load.
func newClients(s *Scenario, seed int64, rank int, share, scale float64) *clients {
	c := &clients{load: &s.Load, faults: &s.Faults, rng: rand.New(rand.NewPCG(uint64(seed), uint64(rank)|1<<62)), scale: scale}
	if c.load.Rate > 0 {
		for at := c.rng.ExpFloat64() / (c.load.Rate * share); at < c.load.Seconds; at += c.rng.ExpFloat64() / (c.load.Rate * share) {
			c.arrivals = append(c.arrivals, c.request(at))
		}
	}
	n := int(float64(c.load.Clients)*share + 0.5)
	for i := range n {
		c.send(max(c.load.Ramp, 1) * float64(i) / float64(n))
	}
	return c
}

// request draws a request that arrives at the given time.
func (c *clients) request(at float64) *request {
	kind := 0
	if len(c.load.Kinds) > 1 {
		draw := 0.0
		for i := range c.load.Kinds {
			draw += c.load.Kinds[i].Weight
		}
		for draw *= c.rng.Float64(); draw >= c.load.Kinds[kind].Weight && kind < len(c.load.Kinds)-1; kind++ {
			draw -= c.load.Kinds[kind].Weight
		}
	}
	k := &c.load.Kinds[kind]
	r := &request{
		id: c.nextID, shared: k.Shared, prompt: k.Shared + around(c.rng, k.Prompt-k.Shared),
		maxTokens: k.maxTokens(), target: around(c.rng, k.Output), arrival: at, scale: c.scale,
	}
	if k.Groups > 0 {
		r.group = kind<<20 + c.rng.IntN(k.Groups)
	}
	c.nextID++
	f := c.faults
	if ending := c.rng.Float64(); ending < f.FailedRequests {
		r.ends = "error"
	} else if ending < f.FailedRequests+f.AbortedRequests {
		r.ends = "abort"
	}
	if r.ends != "" {
		r.target = 1 + c.rng.IntN(r.target)
	}
	if f.Impatient > 0 && c.rng.Float64() < f.Impatient {
		r.disconnect = at + f.Patience*c.rng.ExpFloat64()
	}
	return r
}

// send queues a closed loop's request at the given time, if the clients still send then.
func (c *clients) send(at float64) {
	if at >= c.load.Seconds {
		return
	}
	r := c.request(at)
	i, _ := slices.BinarySearchFunc(c.arrivals, r, func(a, b *request) int {
		if a.arrival <= b.arrival { // equal ones in the order in which they were sent
			return -1
		}
		return 1
	})
	c.arrivals = slices.Insert(c.arrivals, i, r)
}

// answered has the client of a request that has ended think, and send its next one.
func (c *clients) answered(r *request, at float64) {
	if c != nil && c.load.Clients > 0 {
		c.send(at + c.load.Think*c.rng.ExpFloat64())
	}
}

// next returns when the next request arrives.
func (c *clients) next() float64 {
	if c == nil || len(c.arrivals) == 0 {
		return never
	}
	return c.arrivals[0].arrival
}

// take returns the next request.
func (c *clients) take() *request {
	r := c.arrivals[0]
	c.arrivals = c.arrivals[1:]
	c.sent++
	return r
}

// untake takes the last call of take back.
func (c *clients) untake(r *request) {
	again := &request{
		id: r.id, group: r.group, prompt: r.prompt, shared: r.shared, maxTokens: r.maxTokens, target: r.target,
		ends: r.ends, disconnect: r.disconnect, arrival: r.arrival, scale: r.scale,
	}
	c.arrivals = slices.Insert(c.arrivals, 0, again)
	c.sent--
}
