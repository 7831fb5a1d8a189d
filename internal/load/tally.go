package load

import (
	"math"
	"time"

	"github.com/vobs/vobs/schema"
)

// tally sums up requests: those that count, or those of the warm-up.
type tally struct {
	started, completed, cancelled int64
	failed                        map[string]int64
	// prompt and generation are the server's counts in completed requests, planned and chunks
	// what is known without it.
	prompt, planned, generation, chunks int64
	allUsage                            bool
	unplanned                           bool            // the length of some prompt is unknown without the server's count
	ttft, perToken, e2e, late           []time.Duration // all but late of completed requests
	first, last                         time.Duration   // the time of all requests
}

func newTally() *tally {
	return &tally{failed: map[string]int64{}, allUsage: true, first: math.MaxInt64}
}

func (t *tally) add(r *Request) {
	t.started++
	t.first, t.last = min(t.first, r.Intended), max(t.last, r.End)
	t.late = append(t.late, r.Sent-r.Intended)
	switch {
	case r.Cancelled:
		t.cancelled++
		return
	case r.Failure != "":
		t.failed[r.Failure]++
		return
	}
	t.completed++
	t.e2e = append(t.e2e, r.End-r.Intended)
	if r.Chunks > 0 {
		t.ttft = append(t.ttft, r.First-r.Intended)
	}
	if x, ok := r.perToken(); ok {
		t.perToken = append(t.perToken, x)
	}
	t.allUsage = t.allUsage && r.HasUsage
	t.unplanned = t.unplanned || r.plan.prompt <= 0
	t.prompt, t.planned = t.prompt+r.Prompt, t.planned+int64(r.plan.prompt)
	t.generation, t.chunks = t.generation+r.Generation, t.chunks+r.Chunks
}

func (t *tally) requests() *schema.ClientRequests {
	return &schema.ClientRequests{Started: &t.started, Completed: &t.completed, Failed: t.failed, Cancelled: &t.cancelled}
}

// tokens returns the tokens of completed requests. Without usage, the length of a prompt is
// unknown in a chat, whose template adds tokens, and if the prompt is a dataset's text.
func (t *tally) tokens(e Endpoint) *schema.ClientTokens {
	switch {
	case t.allUsage:
		return &schema.ClientTokens{Prompt: &t.prompt, Generation: &t.generation, From: schema.Ptr("usage")}
	case e == Chat || t.unplanned:
		return &schema.ClientTokens{Generation: &t.chunks, From: schema.Ptr("chunks")}
	}
	return &schema.ClientTokens{Prompt: &t.planned, Generation: &t.chunks, From: schema.Ptr("chunks")}
}

// warmup returns the figures of the warm-up, without which the engine's counts and means, which
// have it, cannot be compared with the client's; nil without a warm-up.
func (t *tally) warmup(e Endpoint, gaps timeSum, notes *schema.Notes) *schema.ClientWarmup {
	const path = "client.warmup."
	if t.started == 0 {
		return nil
	}
	w := &schema.ClientWarmup{Requests: t.requests(), Tokens: t.tokens(e), LatencySeconds: &schema.ClientMeans{
		TimeToFirstToken: mean(t.ttft), TimePerOutputToken: mean(t.perToken), E2ERequestLatency: mean(t.e2e), InterTokenLatency: gaps.mean(),
	}}
	if w.Tokens.Prompt == nil {
		notes.Missing(path+"tokens.prompt", noUsage)
	}
	for _, l := range []struct {
		key  string
		mean *schema.ClientMean
	}{
		{"time_to_first_token", w.LatencySeconds.TimeToFirstToken}, {"inter_token_latency", w.LatencySeconds.InterTokenLatency},
		{"time_per_output_token", w.LatencySeconds.TimePerOutputToken}, {"e2e_request_latency", w.LatencySeconds.E2ERequestLatency},
	} {
		if l.mean == nil {
			notes.Missing(path+"latency_seconds."+l.key, nothingObserved)
		}
	}
	return w
}

// timeSum is the number and the sum of some times.
type timeSum struct {
	n   int64
	sum time.Duration
}

func (s *timeSum) add(times []time.Duration) {
	s.n += int64(len(times))
	for _, t := range times {
		s.sum += t
	}
}

// mean returns the mean; nil without any.
func (s timeSum) mean() *schema.ClientMean {
	if s.n == 0 {
		return nil
	}
	return &schema.ClientMean{Count: s.n, Mean: schema.Float(s.sum.Seconds() / float64(s.n))}
}

func mean(times []time.Duration) *schema.ClientMean {
	var s timeSum
	s.add(times)
	return s.mean()
}
