package load

import (
	"math"
	"math/rand/v2"
	"time"
)

// Plan is all requests of a run. Every request is a function of the seed and of its number
// alone, so that the same flags make the same load, whatever the server does.
type Plan struct {
	Seed                       uint64
	PromptTokens, OutputTokens Lengths
	// SharedPrefix is the share of each prompt, from 0 to 1, that all prompts begin with.
	SharedPrefix float64
	// Cancel is the share of the requests, from 0 to 1, that the client cancels.
	Cancel float64

	// Rate is the rate of an open loop in requests per second; 0 for a closed loop.
	Rate     float64
	Arrivals Arrivals
	// Turns is how many turns conversations have; zero for single requests. TurnTokens is the
	// length of what the user adds in each turn but the first, and ThinkTime the time between
	// the end of an answer and the next turn.
	Turns      Lengths
	TurnTokens Lengths
	ThinkTime  Times
	// Ramp is how long the rate, or the concurrency, rises to its level.
	Ramp time.Duration
}

// planned is one request of a plan.
type planned struct {
	prompt, shared, output int // tokens; shared is the part of prompt; prompt is 0 if unknown
	cancelAfter            int // cancel after so many chunks; -1 for never
}

// The streams of random numbers of a plan.
const (
	streamRequest = iota
	streamArrivals
	streamPrefix
	streamPrompt
	streamTurns
	streamTurn
	streamTurnPrompt
	streamThink
)

func (p *Plan) random(stream, number uint64) *rand.Rand {
	return rand.New(rand.NewPCG(p.Seed, stream<<56|number))
}

// request returns the request of a number.
func (p *Plan) request(number int) planned {
	rng := p.random(streamRequest, uint64(number))
	r := planned{prompt: p.PromptTokens.draw(rng), output: p.OutputTokens.draw(rng), cancelAfter: -1}
	r.shared = int(math.Round(p.SharedPrefix * float64(r.prompt)))
	p.cancel(rng, &r)
	return r
}

// cancel decides whether the client cancels a request.
func (p *Plan) cancel(rng *rand.Rand, r *planned) {
	if p.Cancel > 0 && rng.Float64() < p.Cancel {
		r.cancelAfter = rng.IntN(r.output)
	}
}

// arrivals returns the times at which the requests of an open loop are sent, one per call, in
// seconds after the start. While the load ramps up, the rate rises in proportion to the time.
func (p *Plan) arrivals() func() float64 {
	rng, sum, first := p.random(streamArrivals, 0), 0.0, true
	ramp := p.Ramp.Seconds()
	return func() float64 {
		if !first || !math.IsInf(p.Arrivals.shape, 1) { // equal gaps begin with a request at once
			sum += p.Arrivals.gap(rng)
		}
		first = false
		expected := sum / p.Rate // when it would arrive without ramp
		if expected < ramp/2 {
			return math.Sqrt(2 * ramp * expected)
		}
		return expected + ramp/2
	}
}

// tokenIDs returns the prompt of a number as token ids of the vocabulary.
//
// The first four tokens behind the shared prefix encode the number, so that no two prompts are
// equal unless that part is shorter.
func (p *Plan) tokenIDs(number int, r planned, prefix []int, vocabulary []int) []int {
	ids := make([]int, r.prompt)
	copy(ids, prefix[:r.shared])
	rng := p.random(streamPrompt, uint64(number))
	rest := number
	for i := r.shared; i < r.prompt; i++ {
		at := rest % len(vocabulary)
		if rest /= len(vocabulary); i >= r.shared+4 {
			at = rng.IntN(len(vocabulary))
		}
		ids[i] = vocabulary[at]
	}
	return ids
}

// prefix returns the tokens that prompts share the start of.
func (p *Plan) prefix(vocabulary []int) []int {
	longest := 0
	if p.SharedPrefix > 0 {
		longest = p.PromptTokens.high
	}
	rng := p.random(streamPrefix, 0)
	ids := make([]int, longest)
	for i := range ids {
		ids[i] = vocabulary[rng.IntN(len(vocabulary))]
	}
	return ids
}
