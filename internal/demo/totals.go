package demo

// Totals is what a client of the engine would have counted, summed over the requests
// and not over the counters on the page: on an idle engine the two must agree. All sums
// are over the engine's whole life.
type Totals struct {
	// Requests is the number of requests sent, Finished that of answered ones by
	// finish reason ("stop", "length").
	Requests int
	Finished map[string]int

	// Disconnected is the number of requests whose client hung up.
	Disconnected int

	// PromptTokens are the prompt tokens of requests that produced a first token.
	// ComputedTokens of them were prefilled, CachedTokens came from the cache, and
	// ExternalTokens from a KV connector.
	PromptTokens, ComputedTokens, CachedTokens, ExternalTokens int
	// GenerationTokens is the number of tokens delivered.
	GenerationTokens int
	// QueriedTokens and HitTokens are the prefix cache's, counted when a
	// request is first scheduled.
	QueriedTokens, HitTokens int
	// Preemptions counts events; a request can be preempted more than once.
	Preemptions int

	// Drafts, DraftTokens and AcceptedTokens belong to speculation. Accepted tokens
	// beyond the end of a request are counted, but not delivered.
	Drafts, DraftTokens, AcceptedTokens int

	// TTFTSeconds, E2ESeconds and the others are sums over the finished
	// requests, in seconds of the wall clock.
	TTFTSeconds, E2ESeconds, QueueSeconds, PrefillSeconds, DecodeSeconds float64

	// Steps of all engines; the highest gauge values after any of them.
	Steps, RunningPeak, WaitingPeak int
	KVUsagePeak                     float64

	sentTokens, reusableTokens int // of all prompts; those that a perfect prefix cache has
}

// Totals returns the current counts. While Generate runs, they are ahead of the page by
// the step that admits or preempts.
func (e *Engine) Totals() Totals {
	if l := e.live; l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.totals()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tally.totals()
	for _, c := range e.cores {
		for _, r := range c.all {
			t.add(r)
		}
	}
	return t
}

// totals returns the part that is not the sum over requests.
func (y *tally) totals() Totals {
	return Totals{
		Finished: make(map[string]int),
		Drafts:   y.drafts, DraftTokens: y.drafted, AcceptedTokens: y.accepted,
		Steps: y.steps, RunningPeak: y.running, WaitingPeak: y.waiting, KVUsagePeak: y.usage,
	}
}

func (t *Totals) add(r *request) {
	t.Requests++
	t.sentTokens += r.prompt
	if r.gone && r.disconnect > 0 {
		t.Disconnected++
	}
	t.Preemptions += r.preemptions
	if r.admitted {
		t.QueriedTokens += r.prompt
		t.HitTokens += r.cached
	}
	if r.output > 0 {
		t.PromptTokens += r.prompt
		t.CachedTokens += r.cached
		t.ComputedTokens += r.prompt - r.cached - r.external
		t.ExternalTokens += r.external
		t.GenerationTokens += r.output
	}
	if r.done {
		t.Finished[r.finishReason()]++
		t.TTFTSeconds += (r.firstSeen - r.arrival) * r.scale
		t.E2ESeconds += (r.finished - r.arrival) * r.scale
		t.QueueSeconds += (r.scheduled - r.queued) * r.scale
		t.PrefillSeconds += (r.first - r.scheduled) * r.scale
		t.DecodeSeconds += (r.last - r.first) * r.scale
	}
}
