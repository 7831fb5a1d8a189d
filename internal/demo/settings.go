package demo

import "math"

// maxDraftTokens is the most tokens that a draft may have.
const maxDraftTokens = 8

// never is a time that does not come.
var never = math.Inf(1)

// Settings is what a simulated server was started with, and the hardware that it runs on.
type Settings struct {
	// MaxNumSeqs, MaxNumBatchedTokens and NumGPUBlocks are those of one engine.
	// NumGPUBlocks includes the null block.
	MaxNumSeqs, MaxNumBatchedTokens, BlockSize, NumGPUBlocks int
	// Engines is the number of data-parallel ranks.
	Engines int
	// NoPrefixCaching is --no-enable-prefix-caching.
	NoPrefixCaching bool
	// NumSpeculativeTokens is the longest draft of the ngram proposer; 0 is no speculation.
	// Acceptance is the probability that a draft token is accepted if those before it were.
	NumSpeculativeTokens int
	Acceptance           float64
	// Offload is KV offloading to host memory; none if nil.
	Offload *Offload
	// Transfer is the transfer of prompts' KV from a prefill server; none if nil.
	Transfer *Transfer

	Cost     Cost
	Frontend Frontend
}

// connector reports whether the engine has a KV connector.
func (s *Settings) connector() bool { return s.Offload != nil || s.Transfer != nil }

// Cost is the model of an engine step's time, in seconds: a step waits for the slower of
// reading the weights from memory and computing its tokens. So few tokens in a step are
// almost free (the step is bound by memory bandwidth), and many cost in proportion (it is
// bound by compute).
type Cost struct {
	Launch      float64 // each step: scheduling, kernel launches
	Sequence    float64 // each sequence of a step: sampling, input preparation
	Weights     float64 // reading the weights once
	Token       float64 // computing one token
	ContextRead float64 // reading the KV of one token of context
}

// step returns the time of a step of so many sequences and tokens, with so many tokens of
// context before them.
func (c *Cost) step(sequences, tokens, context int) float64 {
	return c.Launch + c.Sequence*float64(sequences) + max(c.Weights, c.Token*float64(tokens)) + c.ContextRead*float64(context)
}

var (
	// phaseCost is that of `make demo`: steps take 10 to 20 ms, like those of an 8B model
	// on one GPU.
	phaseCost = Cost{Launch: 10e-3, Sequence: 50e-6, Token: 4e-6}
	// dense8B is about an 8B model in 16 bits on an H100: 16 GB of weights at 3.2 TB/s, 16
	// GFLOP a token at 640 TFLOP/s, 128 KiB of KV a token. From 200 tokens on, a step is
	// bound by compute.
	dense8B = Cost{Launch: 2e-3, Sequence: 10e-6, Weights: 5e-3, Token: 25e-6, ContextRead: 0.04e-6}
	// dense8BSmall is the same on an A10G: 600 GB/s, 70 TFLOP/s. From 120 tokens on, a step
	// is bound by compute.
	dense8BSmall = Cost{Launch: 2e-3, Sequence: 20e-6, Weights: 27e-3, Token: 230e-6, ContextRead: 0.2e-6}
	// sparse30B is about a mixture of experts of 30B parameters, 3B of them active, on an
	// H100: from 900 tokens on, a step is bound by compute.
	sparse30B = Cost{Launch: 3e-3, Sequence: 10e-6, Weights: 9e-3, Token: 10e-6, ContextRead: 0.03e-6}
)

// Frontend is the CPU time of the API server, whose one thread does everything in order of
// arrival: in seconds.
type Frontend struct {
	Request     float64 // each request: HTTP, validation
	PromptToken float64 // tokenizing
	Output      float64 // each sequence's output of a step: detokenizing, a chunk of the stream
}

// usualFrontend is an API server that keeps up.
var usualFrontend = Frontend{Request: 0.4e-3, PromptToken: 0.5e-6, Output: 25e-6}

// frontend is the API server's thread.
type frontend struct {
	cost Frontend
	free float64 // when it has done all that it was given
	busy float64 // CPU seconds, up to free
}

// work gives the thread something to do and returns when that is done.
func (f *frontend) work(at, seconds float64) float64 {
	f.free = max(f.free, at) + seconds
	f.busy += seconds
	return f.free
}

// cpu returns the CPU time used until now.
func (f *frontend) cpu(now float64) float64 { return f.busy - max(0, f.free-now) }

// Faults are what goes wrong in a scenario. Times are simulated seconds since its start.
type Faults struct {
	// From StallFrom to StallUntil the scheduler schedules nothing.
	StallFrom, StallUntil float64
	// At RestartAt the server dies with everything it has; it serves again after
	// RestartTime.
	RestartAt, RestartTime float64
	// LeakedRequests is the share of requests whose KV blocks are never released.
	LeakedRequests float64
	// FailedRequests and AbortedRequests are the shares of requests that the engine ends
	// early, with the finish reasons error and abort.
	FailedRequests, AbortedRequests float64
	// Impatient is the share of requests whose client hangs up after Patience seconds on
	// average. vLLM counts neither their end nor their latency.
	Impatient, Patience float64
	// RequestLeak is how many bytes the API server's resident memory grows with each
	// request.
	RequestLeak float64
}

// emptyStep is the time of a step that schedules nothing, stalledStep that of one during a
// stall, in seconds.
const (
	emptyStep   = 2e-3
	stalledStep = 50e-3
)

// disturbed removes the requests whose clients have hung up, and reports whether the
// scheduler is stalled; then it has advanced the clock.
func (e *core) disturbed() bool {
	if e.faults.Impatient > 0 {
		e.waiting = e.withoutGone(e.waiting)
		e.running = e.withoutGone(e.running)
	}
	if e.now < e.faults.StallFrom || e.now >= e.faults.StallUntil {
		return false
	}
	e.now += stalledStep
	return true
}

// withoutGone ends those of rs whose clients have hung up, and returns the others.
func (e *core) withoutGone(rs []*request) []*request {
	kept := rs[:0]
	for _, r := range rs {
		if r.disconnect == 0 || r.disconnect > e.now {
			kept = append(kept, r)
			continue
		}
		r.gone = true
		e.pool.release(r.blocks)
		r.blocks, r.keyed = nil, 0
		e.step.disconnected = append(e.step.disconnected, r)
		e.clients.answered(r, e.now)
	}
	clear(rs[len(kept):])
	return kept
}

// nextQueued returns when the next request reaches the scheduler, or the API server.
func (e *core) nextQueued() float64 {
	if len(e.incoming) > 0 {
		return e.incoming[0].queued
	}
	return e.clients.next()
}

// arrive passes the requests that have arrived by then through the API server.
func (e *core) arrive(by float64) {
	for e.clients.next() <= by {
		r := e.clients.take()
		f := &e.front.cost
		r.queued = e.front.work(r.arrival, f.Request+f.PromptToken*float64(r.prompt))
		e.incoming = append(e.incoming, r)
		e.all = append(e.all, r)
	}
}

// respond passes the step's outputs through the API server.
func (e *core) respond() {
	st := &e.step
	st.at = e.now
	if e.front == nil {
		return
	}
	if st.outputs > 0 {
		st.at = e.front.work(e.now, e.front.cost.Output*float64(st.outputs))
	} else {
		st.at = max(e.now, e.front.free)
	}
	for _, r := range st.firstTokens {
		r.firstSeen = st.at
	}
	for _, r := range st.finished {
		r.finished = st.at
		e.clients.answered(r, st.at)
	}
}
