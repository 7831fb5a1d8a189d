package demo

// Totals is what a client of the engine would have counted, summed over the
// requests themselves and not over the page's counters: on a drained engine
// the two must agree. All sums are over the engine's whole life.
type Totals struct {
	// Requests were sent, Finished of them (by finish reason: "stop",
	// "length") were answered.
	Requests int
	Finished map[string]int

	// PromptTokens are those of requests that gave a first token;
	// ComputedTokens of them were prefilled, CachedTokens came from the cache.
	PromptTokens, ComputedTokens, CachedTokens int
	// GenerationTokens were delivered.
	GenerationTokens int
	// QueriedTokens and HitTokens are the prefix cache's, counted when a
	// request is first scheduled.
	QueriedTokens, HitTokens int
	// Preemptions counts events; a request can be preempted more than once.
	Preemptions int

	// Drafts, DraftTokens and AcceptedTokens are the speculation's. Accepted
	// tokens beyond a request's end are counted, but not delivered.
	Drafts, DraftTokens, AcceptedTokens int

	// TTFTSeconds, E2ESeconds and the others are sums over the finished
	// requests, in seconds of the wall clock.
	TTFTSeconds, E2ESeconds, QueueSeconds, PrefillSeconds, DecodeSeconds float64

	// Steps of all engines; the highest values that a gauge showed after any.
	Steps, RunningPeak, WaitingPeak int
	KVUsagePeak                     float64
}

// Totals counts now; while Generate runs, it is a step ahead of the page where
// a step admits or preempts.
func (e *Engine) Totals() Totals {
	e.mu.Lock()
	defer e.mu.Unlock()
	y := e.tally
	t := Totals{
		Finished: make(map[string]int),
		Drafts:   y.drafts, DraftTokens: y.drafted, AcceptedTokens: y.accepted,
		Steps: y.steps, RunningPeak: y.running, WaitingPeak: y.waiting, KVUsagePeak: y.usage,
	}
	for _, c := range e.cores {
		for _, r := range c.all {
			t.add(r)
		}
	}
	return t
}

func (t *Totals) add(r *request) {
	t.Requests++
	t.Preemptions += r.preemptions
	if r.admitted {
		t.QueriedTokens += r.prompt
		t.HitTokens += r.cached
	}
	if r.output > 0 {
		t.PromptTokens += r.prompt
		t.CachedTokens += r.cached
		t.ComputedTokens += r.prompt - r.cached
		t.GenerationTokens += r.output
	}
	if r.done {
		t.Finished[r.finishReason()]++
		t.TTFTSeconds += (r.first - r.arrival) * r.scale
		t.E2ESeconds += (r.finished - r.arrival) * r.scale
		t.QueueSeconds += (r.scheduled - r.queued) * r.scale
		t.PrefillSeconds += (r.first - r.scheduled) * r.scale
		t.DecodeSeconds += (r.last - r.first) * r.scale
	}
}
