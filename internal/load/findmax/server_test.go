package findmax

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"
)

// The simulated servers run on virtual time and know nothing of the search.

// simulated is a server and what is asked of it.
type simulated struct {
	name    string
	targets []Target
	// capacity is about the rate of requests at which it is always busy.
	capacity float64
	// serve serves requests that arrive at a rate, at most so many. It calls sent and ended in
	// the order of time, and stops sending when one of them reports true.
	serve func(rng *rand.Rand, rate float64, most int, sent func(at float64) bool, ended func(number int, at float64, seconds []float64) bool)
}

// newSimulated returns the server of a seed: by turns one with several workers and one that
// generates tokens in batches.
func newSimulated(seed uint64) *simulated {
	rng := rand.New(rand.NewPCG(seed, 0x5e4e4))
	share := []float64{0.9, 0.95, 0.99}[rng.IntN(3)]
	if seed%2 == 0 {
		return workers(rng, share)
	}
	return engine(rng, share)
}

func uniform(rng *rand.Rand, low, high float64) float64 { return low + (high-low)*rng.Float64() }

// workers is a queue for several workers (M/G/k): service times are lognormal around a second,
// with a target for the time from arrival to end.
func workers(rng *rand.Rand, share float64) *simulated {
	count := 1 + rng.IntN(16)
	sigma := uniform(rng, 0.1, 0.9)
	service := func(rng *rand.Rand) float64 { return math.Exp(sigma*rng.NormFloat64() - sigma*sigma/2) }
	// The time of a request that never waits, at the target's percentile.
	alone := math.Exp(sigma*math.Sqrt2*math.Erfinv(2*share-1) - sigma*sigma/2)
	target := alone * uniform(rng, 1.2, 6)
	return &simulated{
		name: "workers", capacity: float64(count), targets: []Target{{"e2e", target, share}},
		serve: func(rng *rand.Rand, rate float64, most int, sent func(float64) bool, ended func(int, float64, []float64) bool) {
			free, now := make([]float64, count), 0.0
			var under endings
			more := true
			for i := 0; i < most && more; i++ {
				now += rng.ExpFloat64() / rate
				for len(under) > 0 && under[0].at <= now {
					e := heap.Pop(&under).(ending)
					more = !ended(e.number, e.at, []float64{e.at - e.arrived}) && more
				}
				if !more {
					break
				}
				first := 0
				for j := range free {
					if free[j] < free[first] {
						first = j
					}
				}
				free[first] = max(free[first], now) + service(rng)
				heap.Push(&under, ending{i, free[first], now})
				more = !sent(now)
			}
			for len(under) > 0 {
				e := heap.Pop(&under).(ending)
				ended(e.number, e.at, []float64{e.at - e.arrived})
			}
		},
	}
}

// ending is the end of a request that is under way.
type ending struct {
	number      int
	at, arrived float64
}

type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at < e[j].at }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// engine is an engine that generates tokens in batches: each iteration admits waiting requests
// while there is room, computes their prompts, and makes one token for each request. Its
// iterations vary, and now and then one stalls. The targets are for the time to first token and
// for the time per token.
func engine(rng *rand.Rand, share float64) *simulated {
	room := 4 + rng.IntN(29)
	tokens := uniform(rng, 10, 40)
	spread := uniform(rng, 0.2, 0.7)
	perRequest := uniform(rng, 0.01, 0.08) // beside 1 for the iteration
	prompt := uniform(rng, 0.2, 2)
	noise := uniform(rng, 0.05, 0.4)
	stall := uniform(rng, 0, 2e-3)
	full := (1 + perRequest*float64(room) + prompt*float64(room)/tokens) * (1 + 20*stall)
	capacity := float64(room) / (tokens * full)
	targets := []Target{
		{"ttft", (2 + prompt) * uniform(rng, 2, 15), share},
		{"itl", full * uniform(rng, 1.0, 1.6), share},
	}
	type request struct {
		number               int
		arrived, first, last float64
		left, tokens         int
	}
	return &simulated{
		name: "engine", capacity: capacity, targets: targets,
		serve: func(rng *rand.Rand, rate float64, most int, sent func(float64) bool, ended func(int, float64, []float64) bool) {
			var waiting, running []*request
			now, next, count, more := 0.0, rng.ExpFloat64()/rate, 0, true
			for {
				for more && count < most && next <= now {
					n := max(2, int(math.Round(tokens*math.Exp(spread*rng.NormFloat64()-spread*spread/2))))
					waiting = append(waiting, &request{number: count, arrived: next, left: n, tokens: n})
					more = !sent(next)
					count++
					next += rng.ExpFloat64() / rate
				}
				if len(waiting)+len(running) == 0 {
					if !more || count == most {
						return
					}
					now = next
					continue
				}
				admitted := min(len(waiting), room-len(running))
				running = append(running, waiting[:admitted]...)
				waiting = waiting[admitted:]
				takes := (1 + perRequest*float64(len(running)) + prompt*float64(admitted)) * math.Exp(noise*rng.NormFloat64()-noise*noise/2)
				if rng.Float64() < stall {
					takes *= 20
				}
				end := now + takes
				for more && count < most && next <= end { // those that arrive meanwhile
					n := max(2, int(math.Round(tokens*math.Exp(spread*rng.NormFloat64()-spread*spread/2))))
					waiting = append(waiting, &request{number: count, arrived: next, left: n, tokens: n})
					more = !sent(next)
					count++
					next += rng.ExpFloat64() / rate
				}
				now = end
				kept := running[:0]
				for _, r := range running {
					if r.left == r.tokens {
						r.first = now
					}
					r.last = now
					if r.left--; r.left > 0 {
						kept = append(kept, r)
						continue
					}
					if ended(r.number, now, []float64{r.first - r.arrived, (r.last - r.first) / float64(r.tokens-1)}) {
						more = false
					}
				}
				running = kept
			}
		},
	}
}

// bruteForce returns the highest rate of a grid at which the server meets its targets in a long
// run, as a number of the grid. It goes up from a rate that meets them with ease, in runs of a
// tenth of the length where the answer is not near.
func bruteForce(s *simulated, seed uint64, rate func(k int) float64, from, requests int) (best int) {
	up := func(from, requests int) int {
		best := from - 1
		for k, missed := from, 0; missed < 3; k++ {
			if longRun(s, rand.New(rand.NewPCG(seed, uint64(1<<40+k))), rate(k), requests) {
				best, missed = k, 0
			} else {
				missed++
			}
		}
		return best
	}
	return up(max(from, up(from, requests/10)-6), requests)
}

// longRun reports whether a long run at a rate meets the targets.
func longRun(s *simulated, rng *rand.Rand, rate float64, requests int) bool {
	met, n := make([]int, len(s.targets)), 0
	s.serve(rng, rate, requests, func(float64) bool { return false }, func(number int, _ float64, seconds []float64) bool {
		if number < requests/10 {
			return false
		}
		n++
		for i, target := range s.targets {
			if seconds[i] <= target.Seconds {
				met[i]++
			}
		}
		return false
	})
	for i, target := range s.targets {
		if float64(met[i]) < target.Share*float64(n) {
			return false
		}
	}
	return true
}

// runner returns a runner of the server. It adds the requests that it sends to sent.
func (s *simulated) runner(seed uint64, sent *int) func(step Step, w *Watch) Ran {
	return func(step Step, w *Watch) Ran {
		rng := rand.New(rand.NewPCG(seed, uint64(step.Number)))
		at := func(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
		last := 0.0
		s.serve(rng, step.Rate, step.Requests, func(t float64) bool {
			*sent++
			return w.Sent(at(t))
		}, func(number int, t float64, seconds []float64) bool {
			last = t
			return w.Ended(number, at(t), seconds)
		})
		return Ran{Seconds: last}
	}
}
