package demo

import "math/rand/v2"

// prefixGroups is the number of different shared prefixes ("system prompts").
const prefixGroups = 4

// arrivalWindow is the simulated time in which the requests arrive, in seconds: shorter
// than the time it takes to serve them, so that they queue.
const arrivalWindow = 1.7

// request is one request and its history. Times are simulated seconds since the start
// of the generation phase.
type request struct {
	id, group      int
	prompt, shared int // tokens; the first shared tokens of the prompt are those of its group
	maxTokens      int
	target         int // tokens to generate; if fewer than maxTokens, it stops by itself

	arrival float64 // at the front-end
	queued  float64 // at the scheduler

	output      int  // tokens generated so far
	computed    int  // tokens whose KV is computed
	draft       int  // speculated tokens to verify in its next step
	admitted    bool // has been scheduled at least once
	cached      int  // prompt tokens found in the cache at its first admission
	preemptions int
	blocks      []int
	keyed       int // how many of blocks are in the pool's index

	scheduled, first, last float64 // by the engine core's clock
	firstSeen, finished    float64 // when the API server had processed the first and the last token
	done                   bool
	ends                   string  // the finish reason, if the engine ends it early: "error" or "abort"
	disconnect             float64 // when its client hangs up; 0 if never
	gone                   bool    // its client has hung up, or the engine has died

	external int     // prompt tokens loaded by the KV connector at its first admission
	loaded   bool    // its blocks hold what the KV connector loaded
	loadEnd  float64 // when that is there
	loadFail bool    // the load fails then
	loadSize int     // tokens

	scale float64 // wall seconds per simulated second in its phase
}

// ended reports whether the client had its response by then, or has given up.
func (r *request) ended(by float64) bool { return r.gone || r.done && r.finished <= by }

// tokens is the request's length so far.
func (r *request) tokens() int { return r.prompt + r.output }

// key identifies the content of the request's block i.
func (r *request) key(i, blockSize int) blockKey {
	if (i+1)*blockSize <= r.shared {
		return blockKey{owner: -1 - r.group, index: i}
	}
	return blockKey{owner: r.id, index: i}
}

// finishReason is the label value under which vLLM counts the request.
func (r *request) finishReason() string {
	if r.ends != "" {
		return r.ends
	}
	if r.target < r.maxTokens {
		return "stop"
	}
	return "length"
}

// overhead is the front-end's share of a request (tokenising, detokenising), in
// simulated seconds: by that much a real engine's e2e latency exceeds queue plus
// inference.
func (r *request) overhead() float64 { return 0.4e-3 + 0.5e-6*float64(r.prompt) }

// workload draws the requests of one generation phase for one engine, in order
// of arrival.
func workload(c *Config, rng *rand.Rand, n, firstID int) []*request {
	rs := make([]*request, n)
	at := 0.0
	gap := arrivalWindow / float64(n)
	for i := range rs {
		own := c.PromptTokens - c.SharedPrefix
		r := &request{
			id:        firstID + i,
			group:     rng.IntN(prefixGroups),
			shared:    c.SharedPrefix,
			prompt:    c.SharedPrefix + max(1, own/2+rng.IntN(own+1)),
			maxTokens: c.MaxTokens,
			target:    c.MaxTokens,
			arrival:   at,
		}
		if rng.Float64() < 0.6 {
			low := max(1, c.MaxTokens/4)
			r.target = min(c.MaxTokens, low+rng.IntN(c.MaxTokens-low+1))
		}
		r.queued = r.arrival + r.overhead()
		rs[i] = r
		at += gap * rng.ExpFloat64()
	}
	return rs
}
