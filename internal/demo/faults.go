package demo

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

// stalledStep is the time of a step during a stall, in seconds.
const stalledStep = 50e-3

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

// free releases the blocks of a request that has ended.
func (e *core) free(r *request) {
	if e.faults.LeakedRequests > 0 && e.rng.Float64() < e.faults.LeakedRequests {
		e.leaked += len(r.blocks)
	} else {
		e.pool.release(r.blocks)
	}
	r.blocks, r.keyed = nil, 0
}
