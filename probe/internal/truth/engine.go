package truth

import (
	"math/rand/v2"
	"slices"
	"time"
)

// engineConfig has an engine's settings and how fast it is.
type engineConfig struct {
	maxNumSeqs, maxNumBatchedTokens int
	blockSize, numGPUBlocks         int
	// A step takes stepBase and more for each sequence and each prompt token in it, with
	// a random deviation of up to jitter of all that.
	stepBase, perSequence, perPromptToken time.Duration
	jitter                                float64
}

// request is one request on its way through an engine.
type request struct {
	prompt, output int // tokens
	engine         *engine
	// done is called once, when the response ends.
	done func(outcome)

	arrival, queued, scheduled, firstToken, lastToken time.Duration

	wasQueued, wasScheduled, ended bool
	aborted                        bool // given up, and not yet dropped by the scheduler
	computed                       int  // tokens whose KV is in the cache
	generated                      int
	blocks                         int
	preemptions                    int
	scheduledTokens                int // in the step that is running
}

// outcome is how a request ended.
type outcome int

const (
	finished outcome = iota
	givenUp          // by the client
	failed           // the server went away, or was not there
)

// total returns the tokens of the prompt and those generated so far.
func (r *request) total() int { return r.prompt + r.generated }

// engine is vLLM's engine core: a scheduler with its KV cache, which runs one step after
// another. Like vLLM's V1 scheduler it serves running requests first and then waiting
// ones, first come first served; a prompt may be split over steps; and when blocks run
// out, the request that came last gives up its blocks and is computed again later
// (vllm/v1/core/sched/scheduler.py).
type engine struct {
	cfg    engineConfig
	sim    *simulation
	server *server
	rng    *rand.Rand
	label  int // on its server's page

	input            []*request // accepted by the front-end, not yet seen by the scheduler
	waiting, running []*request
	free             int // KV blocks
	stepping         bool
	life             int // number of the process; events of earlier ones are void
	counters         counters
	facts            *engineFacts // nil in a simulation that only serves pages
	droppedInStep    bool         // requests were given up since the last step
}

func newEngine(s *server, cfg engineConfig, label int, seed uint64) *engine {
	e := &engine{cfg: cfg, sim: s.sim, server: s, label: label, rng: rand.New(rand.NewPCG(seed, uint64(label)))}
	e.reset()
	return e
}

// reset makes the engine a new process, with empty queues and counters.
func (e *engine) reset() {
	e.life++
	e.input, e.waiting, e.running = nil, nil, nil
	e.stepping, e.droppedInStep = false, false
	// One block is never used: vLLM's null block.
	e.free = e.cfg.numGPUBlocks - 1
	e.counters = newCounters()
}

// usage returns the share of KV blocks in use.
func (e *engine) usage() float64 {
	return 1 - float64(e.free)/float64(e.cfg.numGPUBlocks-1)
}

// add takes a request in. If the engine is idle, a step begins at once.
func (e *engine) add(r *request) {
	r.arrival = e.sim.now
	e.input = append(e.input, r)
	e.wake()
}

// abort drops a request, after the step that is running.
func (e *engine) abort(r *request) {
	if r.ended {
		return
	}
	r.aborted = true
	e.wake()
}

func (e *engine) wake() {
	if !e.stepping {
		e.step()
		return
	}
	e.recordState()
}

// kill ends the process: requests fail, and nothing is counted for them.
func (e *engine) kill() {
	lost := slices.Concat(e.input, e.waiting, e.running)
	e.reset()
	e.recordState()
	e.recordGauges()
	for _, r := range lost {
		r.end(failed)
	}
}

func (r *request) end(how outcome) {
	r.ended = true
	r.done(how)
}

// step schedules the next step and starts it.
func (e *engine) step() {
	now := e.sim.now
	e.dropAborted()
	for _, r := range e.input {
		r.queued, r.wasQueued = now, true
		e.waiting = append(e.waiting, r)
	}
	e.input = e.input[:0]
	promptTokens, sequences := e.schedule()
	e.stepping = sequences > 0 || e.droppedInStep
	e.recordState()
	if !e.stepping {
		return
	}
	d := e.cfg.stepBase + time.Duration(sequences)*e.cfg.perSequence + time.Duration(promptTokens)*e.cfg.perPromptToken
	d += time.Duration(e.cfg.jitter * (2*e.rng.Float64() - 1) * float64(d))
	if sequences == 0 {
		d = time.Millisecond // a step without requests frees what the dropped ones held
	}
	life := e.life
	e.sim.after(d, func() {
		if e.life == life {
			e.endStep()
		}
	})
}

// dropAborted removes the requests that the client gave up. vLLM counts nothing for them.
func (e *engine) dropAborted() {
	drop := func(r *request) bool {
		if !r.aborted {
			return false
		}
		e.release(r)
		e.droppedInStep = true
		r.ended = true
		return true
	}
	e.input = slices.DeleteFunc(e.input, drop)
	e.waiting = slices.DeleteFunc(e.waiting, drop)
	e.running = slices.DeleteFunc(e.running, drop)
}

func (e *engine) release(r *request) {
	e.free += r.blocks
	r.blocks = 0
}

// allocate gives a request the blocks that n more tokens need, if there are enough.
func (e *engine) allocate(r *request, n int) bool {
	need := (r.computed+n+e.cfg.blockSize-1)/e.cfg.blockSize - r.blocks
	if need > e.free {
		return false
	}
	e.free -= need
	r.blocks += need
	return true
}

// schedule decides what the next step computes.
func (e *engine) schedule() (promptTokens, sequences int) {
	budget := e.cfg.maxNumBatchedTokens
	take := func(r *request, n int) {
		r.scheduledTokens = n
		budget -= n
		sequences++
		if r.computed+n <= r.prompt || n > 1 {
			promptTokens += n
		}
	}
	preempted := false
	for i := 0; i < len(e.running) && budget > 0; i++ {
		r := e.running[i]
		n := min(r.total()-r.computed, budget)
		for !e.allocate(r, n) {
			last := e.running[len(e.running)-1]
			e.preempt(last)
			preempted = true
			if last == r {
				n = 0
				break
			}
		}
		if n > 0 {
			take(r, n)
		}
	}
	for !preempted && budget > 0 && len(e.waiting) > 0 && len(e.running) < e.cfg.maxNumSeqs {
		r := e.waiting[0]
		n := min(r.total()-r.computed, budget)
		if !e.allocate(r, n) {
			break
		}
		e.waiting = e.waiting[1:]
		e.running = append(e.running, r)
		if !r.wasScheduled {
			r.scheduled, r.wasScheduled = e.sim.now, true
		}
		take(r, n)
	}
	return promptTokens, sequences
}

// preempt takes the blocks of the last running request, which waits as the first.
func (e *engine) preempt(r *request) {
	e.running = e.running[:len(e.running)-1]
	e.release(r)
	r.computed, r.scheduledTokens = 0, 0
	r.preemptions++
	e.counters.preemptions++
	if e.facts != nil {
		e.facts.preempted = append(e.facts.preempted, observation{at: e.sim.now, life: e.life, value: 1})
	}
	e.waiting = slices.Insert(e.waiting, 0, r)
}

// endStep takes in what the step computed, and starts the next one. The front-end sees the
// step's output, and the gauges change, at this instant.
func (e *engine) endStep() {
	now := e.sim.now
	stepTokens, outputs := 0, false
	var ended []*request
	for _, r := range e.running {
		if r.scheduledTokens == 0 {
			continue
		}
		r.computed += r.scheduledTokens
		r.scheduledTokens = 0
		if r.aborted {
			continue // the front-end has forgotten it
		}
		if r.computed < r.total() {
			continue // more of the prompt is to come
		}
		outputs = true
		r.generated++
		stepTokens++
		if r.generated == 1 {
			r.firstToken = now
			stepTokens += r.prompt
			e.countFirstToken(r)
		} else {
			e.observe(interTokenLatency, (now - r.lastToken).Seconds())
			e.counters.generation++
		}
		r.lastToken = now
		if r.generated == r.output {
			ended = append(ended, r)
		}
	}
	if outputs {
		e.observe(iterationTokens, float64(stepTokens))
	}
	e.running = slices.DeleteFunc(e.running, func(r *request) bool { return r.generated == r.output })
	for _, r := range ended {
		e.release(r)
		e.countFinished(r)
	}
	e.droppedInStep = false
	e.counters.setGauges(len(e.running), len(e.waiting), e.usage())
	e.recordGauges()
	// The client learns of all ends at this instant; what it sends then is part of the
	// next step.
	e.stepping = true
	for _, r := range ended {
		r.end(finished)
	}
	e.step()
}

func (e *engine) countFirstToken(r *request) {
	e.counters.prompt += r.prompt
	e.counters.generation++
	if e.facts != nil {
		e.facts.prompted = append(e.facts.prompted, observation{at: r.firstToken, life: e.life, value: float64(r.prompt)})
	}
	e.observe(timeToFirstToken, (r.firstToken - r.arrival).Seconds())
}

// countFinished observes a finished request. Queue time is the first wait only; inference
// time runs from the first scheduling to the last token, the waits of preempted requests
// included (vllm/v1/metrics/stats.py).
func (e *engine) countFinished(r *request) {
	e.counters.finished++
	e.server.completions++
	decode := (r.lastToken - r.firstToken).Seconds()
	e.observe(e2eLatency, (r.lastToken - r.arrival).Seconds())
	e.observe(queueTime, (r.scheduled - r.queued).Seconds())
	e.observe(prefillTime, (r.firstToken - r.scheduled).Seconds())
	e.observe(decodeTime, decode)
	e.observe(inferenceTime, (r.lastToken - r.scheduled).Seconds())
	perToken := 0.0
	if r.generated > 1 {
		perToken = decode / float64(r.generated-1)
	}
	e.observe(timePerOutputToken, perToken)
	e.observe(promptPerRequest, float64(r.prompt))
	e.observe(generationPerRequest, float64(r.generated))
	e.observe(maxGenerationTokens, float64(r.output))
	e.observe(paramsMaxTokens, float64(r.output))
	e.observe(paramsN, 1)
	e.observe(requestPreemptions, float64(r.preemptions))
	e.observe(prefillComputed, float64(r.prompt))
	if e.facts != nil {
		e.facts.requests = append(e.facts.requests, r)
	}
}

func (e *engine) observe(h histogramID, value float64) {
	e.counters.histograms[h].add(h, value)
	if e.facts != nil {
		e.facts.observations[h] = append(e.facts.observations[h], observation{at: e.sim.now, life: e.life, value: value})
	}
}

func (e *engine) recordState() {
	if e.facts == nil {
		return
	}
	now := e.sim.now
	e.facts.running.set(now, float64(len(e.running)))
	e.facts.waiting.set(now, float64(len(e.waiting)))
	e.facts.usage.set(now, e.usage())
	e.facts.busy.set(now, float64(min(1, len(e.running)+len(e.waiting)+len(e.input))))
}

func (e *engine) recordGauges() {
	if e.facts == nil {
		return
	}
	c, now := &e.counters, e.sim.now
	e.facts.runningGauge.set(now, float64(c.running))
	e.facts.waitingGauge.set(now, float64(c.waiting))
	e.facts.usageGauge.set(now, c.usage)
}
