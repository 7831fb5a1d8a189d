package demo

import "math/rand/v2"

// Speculation: how often the ngram proposer finds a match, and how often each further
// proposed token is accepted.
const (
	draftProbability  = 0.6
	acceptProbability = 0.7
)

// emptyStep is the time of a step that schedules nothing, in seconds.
const emptyStep = 2e-3

// scheduled is one request's share of a step.
type scheduled struct {
	r      *request
	tokens int
}

// core is one engine core: scheduler and KV cache of one data-parallel rank.
// A step has two halves, begin (schedule, allocate) and end (sample, free),
// with the simulated time of the forward pass between them.
type core struct {
	rank int
	set  *Settings
	rng  *rand.Rand
	pool *blockPool

	incoming []*request // tokenized, or will be; not yet at the scheduler
	waiting  []*request
	deferred []*request // waiting for the KV that a connector loads
	running  []*request
	all      []*request // every request ever given to this core

	now      float64 // simulated time: the end of the step in flight
	stepping bool    // a step is in flight; in a scenario
	plan     []scheduled
	step     stepRecord

	clients *clients     // of a scenario; nil in a generation phase
	front   *frontend    // the same
	tier    *offloadTier // nil without KV offloading
	faults  Faults
	leaked  int // references to blocks that are never dropped
}

// stepRecord is what one step did, for the metrics.
type stepRecord struct {
	at                float64 // when the API server has processed it
	running, waiting  int
	deferred, loading int // of waiting: for a KV connector; with their transfer under way
	usage             float64
	tokens            int // scheduled

	outputs                   int // requests that produced tokens
	queries, hits             int // prefix cache, tokens
	extQueries, extHits       int // the KV connector's, tokens
	preemptions               int
	prompt, computed, cached  int // tokens of prompts whose prefill ended
	external                  int // the same: loaded by the KV connector
	generated                 int
	drafts, drafted, accepted int
	acceptedAt                [maxDraftTokens]int
	firstTokens, finished     []*request
	interTokenLatency         []float64 // wall seconds
	disconnected              []*request
	transfers                 []transfer
	evictions                 []eviction
}

func newCore(c *Config, rank int) *core {
	set := c.settings()
	return &core{
		rank: rank, set: set,
		rng:  rand.New(rand.NewPCG(uint64(c.Seed), uint64(rank)+1)),
		pool: newBlockPool(set.NumGPUBlocks),
	}
}

// submit gives the core the requests of a generation phase and resets its clock.
func (e *core) submit(rs []*request) {
	e.incoming = rs
	e.all = append(e.all, rs...)
	e.now = 0
}

// idle reports whether nothing is left to do.
func (e *core) idle() bool {
	return len(e.incoming)+len(e.waiting)+len(e.deferred)+len(e.running) == 0 && e.clients.next() == never
}

// begin schedules one step at the simulated time now, or at the next arrival if there is
// nothing to run, and advances now to the end of the step.
func (e *core) begin() {
	e.stepping = true
	e.arrive(e.now)
	if len(e.waiting)+len(e.deferred)+len(e.running) == 0 {
		if len(e.incoming) == 0 {
			e.arrive(e.clients.next())
		}
		e.now = max(e.now, e.incoming[0].queued)
		e.arrive(e.now)
	}
	for len(e.incoming) > 0 && e.incoming[0].queued <= e.now {
		e.waiting = append(e.waiting, e.incoming[0])
		e.incoming = e.incoming[1:]
	}
	if e.pool.use != nil {
		e.pool.use.now = e.now
	}
	e.plan = e.plan[:0]
	e.step = stepRecord{}
	if e.disturbed() {
		return
	}
	budget := e.set.MaxNumBatchedTokens
	budget = e.scheduleRunning(budget)
	if e.step.preemptions == 0 {
		budget = e.scheduleWaiting(budget)
	}
	if len(e.plan) == 0 && e.step.preemptions == 0 {
		e.now += emptyStep
		if next := min(e.nextLoad(), e.nextQueued()); next < never {
			e.now = max(e.now, next)
		}
		return
	}
	context := 0
	for _, s := range e.plan {
		context += s.r.computed
	}
	e.step.tokens = e.set.MaxNumBatchedTokens - budget
	e.now += e.set.Cost.step(len(e.plan), e.step.tokens, context)
}

// scheduleRunning schedules the next tokens of every running request. If the blocks run
// out, it preempts the request that was admitted last.
func (e *core) scheduleRunning(budget int) int {
	for i := 0; i < len(e.running) && budget > 0; i++ {
		r := e.running[i]
		n := min(r.tokens()+r.draft-r.computed, budget)
		for !e.allocate(r, n) {
			last := len(e.running) - 1
			victim := e.running[last]
			e.running = e.running[:last]
			e.preempt(victim)
			if victim == r {
				return budget
			}
		}
		e.plan = append(e.plan, scheduled{r, n})
		budget -= n
	}
	return budget
}

// preempt frees a request's KV blocks and puts it in front of the queue; its full blocks
// stay cached until they are reused.
func (e *core) preempt(r *request) {
	e.pool.release(r.blocks)
	r.blocks, r.keyed, r.computed, r.draft, r.loaded = r.blocks[:0], 0, 0, 0, false
	r.preemptions++
	e.step.preemptions++
	e.waiting = append([]*request{r}, e.waiting...)
}

// scheduleWaiting admits requests in order of arrival while all of their tokens fit.
func (e *core) scheduleWaiting(budget int) int {
	for len(e.waiting) > 0 && len(e.running) < e.set.MaxNumSeqs && budget > 0 {
		r := e.waiting[0]
		if !r.loaded {
			hit, fits := e.lookup(r)
			if !fits {
				break
			}
			for _, b := range hit {
				e.pool.touch(b)
			}
			r.blocks, r.keyed = append(r.blocks[:0], hit...), len(hit)
			r.computed = len(hit) * e.set.BlockSize
			if e.startLoad(r) {
				e.waiting = e.waiting[1:]
				continue
			}
		}
		r.loaded = false
		if !r.admitted {
			r.admitted, r.scheduled = true, e.now
			r.cached = r.computed - r.external
			if !e.set.NoPrefixCaching {
				e.step.queries += r.prompt
				e.step.hits += r.cached
			}
			if e.set.connector() {
				e.step.extQueries += r.prompt - r.cached
				e.step.extHits += r.external
			}
		}
		n := min(r.tokens()-r.computed, budget)
		e.allocate(r, n)
		e.waiting = e.waiting[1:]
		e.running = append(e.running, r)
		e.plan = append(e.plan, scheduled{r, n})
		budget -= n
	}
	return budget
}

// lookup returns the cached blocks that the request starts with (the last token is always
// computed), and whether the rest fits into the free ones.
func (e *core) lookup(r *request) (hit []int, fits bool) {
	need := e.blocksFor(r.tokens())
	for i := 0; i < (r.tokens()-1)/e.set.BlockSize && !e.set.NoPrefixCaching; i++ {
		b, ok := e.pool.index[r.key(i, e.set.BlockSize)]
		if !ok {
			break
		}
		hit = append(hit, b)
		if e.pool.blocks[b].refs > 0 {
			need--
		}
	}
	return hit, need <= e.pool.free
}

func (e *core) blocksFor(tokens int) int { return (tokens + e.set.BlockSize - 1) / e.set.BlockSize }

// allocate makes room for n more tokens of r, or changes nothing and reports
// false. Blocks that become full are cached at once, as vLLM does.
func (e *core) allocate(r *request, n int) bool {
	need := e.blocksFor(r.computed+n) - len(r.blocks)
	if need > e.pool.free {
		return false
	}
	for ; need > 0; need-- {
		r.blocks = append(r.blocks, e.pool.take())
	}
	full := min(r.computed+n, r.tokens()) / e.set.BlockSize // drafts may be rejected
	from := r.keyed
	for ; r.keyed < full; r.keyed++ {
		e.pool.remember(r.blocks[r.keyed], r.key(r.keyed, e.set.BlockSize))
	}
	e.store(r, from)
	return true
}

// end gives the step's tokens to the requests, frees the finished ones and returns what
// happened.
func (e *core) end() *stepRecord {
	e.arrive(e.now)
	for _, s := range e.plan {
		s.r.computed += s.tokens
		if s.r.computed >= s.r.tokens() {
			e.sample(s.r)
		}
	}
	kept := e.running[:0]
	for _, r := range e.running {
		if !r.done {
			kept = append(kept, r)
		}
	}
	clear(e.running[len(kept):])
	e.running = kept
	e.finishLoads()
	e.respond()
	st := &e.step
	st.running, st.waiting, st.usage = len(e.running), len(e.waiting)+len(e.deferred), e.pool.usage()
	st.deferred = len(e.deferred)
	st.evictions = e.pool.use.drain()
	for _, r := range e.deferred {
		if r.loadEnd > e.now {
			st.loading++
		}
	}
	return st
}

// sample gives r its next token and the accepted ones of its draft.
func (e *core) sample(r *request) {
	st := &e.step
	n := 1
	if r.draft > 0 {
		right := 0
		for right < r.draft && e.rng.Float64() < e.set.Acceptance {
			st.acceptedAt[right]++
			right++
		}
		st.drafts++
		st.drafted += r.draft
		st.accepted += right
		n += right
		r.draft = 0
	}
	n = min(n, r.target-r.output) // what comes after the end is dropped
	st.outputs++
	st.generated += n
	if r.output == 0 {
		r.first, r.firstSeen = e.now, e.now
		st.firstTokens = append(st.firstTokens, r)
		st.prompt += r.prompt
		st.cached += r.cached
		st.external += r.external
		st.computed += r.prompt - r.cached - r.external
	} else {
		st.interTokenLatency = append(st.interTokenLatency, (e.now-r.last)*r.scale)
	}
	r.last = e.now
	r.output += n
	r.computed = r.tokens() - 1
	if r.output == r.target {
		r.done, r.finished = true, e.now+r.overhead()/2
		st.finished = append(st.finished, r)
		e.free(r)
		return
	}
	if k := e.set.NumSpeculativeTokens; k > 0 && e.rng.Float64() < draftProbability {
		r.draft = 1 + e.rng.IntN(k)
	}
}

// nextQueued returns when the next request reaches the scheduler, or the API server.
func (e *core) nextQueued() float64 {
	if len(e.incoming) > 0 {
		return e.incoming[0].queued
	}
	return e.clients.next()
}

// length runs the core to its end, without a clock, and returns how many simulated
// seconds that took.
func (e *core) length() float64 {
	for !e.idle() {
		e.begin()
		e.end()
	}
	return e.now
}
