package demo

import "math/rand/v2"

// The simulated cost of an engine step, in seconds: launch and weights, each sequence,
// each token. Steps take 10 to 20 ms, like those of an 8B model on one GPU.
const (
	stepBase     = 10e-3
	stepPerSeq   = 50e-6
	stepPerToken = 4e-6
)

// Speculation: how often the ngram proposer finds a match, and how often each further
// proposed token is accepted.
const (
	draftProbability  = 0.6
	acceptProbability = 0.7
)

// scheduled is one request's share of a step.
type scheduled struct {
	r      *request
	tokens int
}

// core is one engine core: scheduler and KV cache of one data-parallel rank.
// A step has two halves, begin (schedule, allocate) and end (sample, free),
// with the simulated time of the forward pass between them.
type core struct {
	rank      int
	blockSize int
	maxSeqs   int
	spec      bool
	rng       *rand.Rand
	pool      *blockPool

	incoming []*request // not yet arrived
	waiting  []*request
	running  []*request
	all      []*request // every request ever given to this core

	now  float64 // simulated time: the end of the step in flight
	plan []scheduled
	step stepRecord
}

// stepRecord is what one step did, for the metrics.
type stepRecord struct {
	running, waiting int
	usage            float64

	outputs                   int // requests that produced tokens
	queries, hits             int // prefix cache, tokens
	preemptions               int
	prompt, computed, cached  int // tokens of prompts whose prefill ended
	generated                 int
	drafts, drafted, accepted int
	acceptedAt                [draftTokens]int
	firstTokens, finished     []*request
	interTokenLatency         []float64 // wall seconds
}

func newCore(c *Config, rank int) *core {
	return &core{
		rank: rank, blockSize: c.BlockSize, maxSeqs: c.MaxNumSeqs, spec: c.Speculative,
		rng:  rand.New(rand.NewPCG(uint64(c.Seed), uint64(rank)+1)),
		pool: newBlockPool(c.NumGPUBlocks),
	}
}

// submit gives the core the requests of a generation phase and resets its clock.
func (e *core) submit(rs []*request) {
	e.incoming = rs
	e.all = append(e.all, rs...)
	e.now = 0
}

// idle reports whether nothing is left to do.
func (e *core) idle() bool { return len(e.incoming)+len(e.waiting)+len(e.running) == 0 }

// begin schedules one step at the simulated time now, or at the next arrival if there is
// nothing to run, and advances now to the end of the step.
func (e *core) begin() {
	if len(e.waiting)+len(e.running) == 0 {
		e.now = max(e.now, e.incoming[0].queued)
	}
	for len(e.incoming) > 0 && e.incoming[0].queued <= e.now {
		e.waiting = append(e.waiting, e.incoming[0])
		e.incoming = e.incoming[1:]
	}
	e.plan = e.plan[:0]
	e.step = stepRecord{}
	budget := maxBatchedTokens
	budget = e.scheduleRunning(budget)
	if e.step.preemptions == 0 {
		budget = e.scheduleWaiting(budget)
	}
	e.now += stepBase + stepPerSeq*float64(len(e.plan)) + stepPerToken*float64(maxBatchedTokens-budget)
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
	r.blocks, r.keyed, r.computed, r.draft = r.blocks[:0], 0, 0, 0
	r.preemptions++
	e.step.preemptions++
	e.waiting = append([]*request{r}, e.waiting...)
}

// scheduleWaiting admits requests in order of arrival while all of their tokens fit.
func (e *core) scheduleWaiting(budget int) int {
	for len(e.waiting) > 0 && len(e.running) < e.maxSeqs && budget > 0 {
		r := e.waiting[0]
		hit, fits := e.lookup(r)
		if !fits {
			break
		}
		for _, b := range hit {
			e.pool.touch(b)
		}
		r.blocks, r.keyed = append(r.blocks[:0], hit...), len(hit)
		r.computed = len(hit) * e.blockSize
		if !r.admitted {
			r.admitted, r.cached, r.scheduled = true, r.computed, e.now
			e.step.queries += r.prompt
			e.step.hits += r.cached
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
	for i := 0; i < (r.tokens()-1)/e.blockSize; i++ {
		b, ok := e.pool.index[r.key(i, e.blockSize)]
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

func (e *core) blocksFor(tokens int) int { return (tokens + e.blockSize - 1) / e.blockSize }

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
	full := min(r.computed+n, r.tokens()) / e.blockSize // drafts may be rejected
	for ; r.keyed < full; r.keyed++ {
		e.pool.remember(r.blocks[r.keyed], r.key(r.keyed, e.blockSize))
	}
	return true
}

// end gives the step's tokens to the requests, frees the finished ones and returns what
// happened.
func (e *core) end() *stepRecord {
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
	st := &e.step
	st.running, st.waiting, st.usage = len(e.running), len(e.waiting), e.pool.usage()
	return st
}

// sample gives r its next token and the accepted ones of its draft.
func (e *core) sample(r *request) {
	st := &e.step
	n := 1
	if r.draft > 0 {
		right := 0
		for right < r.draft && e.rng.Float64() < acceptProbability {
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
		r.first = e.now
		st.firstTokens = append(st.firstTokens, r)
		st.prompt += r.prompt
		st.cached += r.cached
		st.computed += r.prompt - r.cached
	} else {
		st.interTokenLatency = append(st.interTokenLatency, (e.now-r.last)*r.scale)
	}
	r.last = e.now
	r.output += n
	r.computed = r.tokens() - 1
	if r.output == r.target {
		r.done, r.finished = true, e.now+r.overhead()/2
		st.finished = append(st.finished, r)
		e.pool.release(r.blocks)
		r.blocks, r.keyed = nil, 0
		return
	}
	if e.spec && e.rng.Float64() < draftProbability {
		r.draft = 1 + e.rng.IntN(draftTokens)
	}
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
