package findmax

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// steady is a server that answers each request after 0.1 s, or, with a probability that depends
// on the rate, after 2 s. The target is 1 s at p95.
func steady(missing func(rate float64) float64) Runner {
	return func(ctx context.Context, step Step, w *Watch) (Ran, error) {
		rng := rand.New(rand.NewPCG(uint64(step.Number), 1))
		last := time.Duration(0)
		for i := 0; step.Requests == 0 || i < step.Requests; i++ {
			at := time.Duration(float64(i) / step.Rate * float64(time.Second))
			if step.Duration > 0 && at >= step.Duration {
				break
			}
			seconds := 0.1
			if rng.Float64() < missing(step.Rate) {
				seconds = 2
			}
			last = at
			if w.Sent(at) || w.Ended(i, at, []float64{seconds}) {
				break
			}
		}
		return Ran{Seconds: last.Seconds()}, ctx.Err()
	}
}

var oneSecond = []Target{{"e2e=1s", 1, 0.95}}

// above returns a step function: no request misses the target up to a rate, and a third above it.
func above(limit float64) func(rate float64) float64 {
	return func(rate float64) float64 {
		if rate > limit {
			return 1. / 3
		}
		return 0
	}
}

func find(t *testing.T, o Options, run Runner) *Result {
	t.Helper()
	r, err := Search(context.Background(), o, run)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range r.Steps {
		if s.Number != i+1 {
			t.Errorf("step %d has number %d", i+1, s.Number)
		}
	}
	return r
}

// The search finds the limit from below and from above, within a step of the grid, in a
// logarithmic number of steps.
func TestSearchFindsLimit(t *testing.T) {
	for _, limit := range []float64{0.9, 1, 3.3, 57, 4321} {
		for _, start := range []float64{1, 100} {
			for _, resolution := range []float64{0.01, 0.05, 1} {
				o := Options{Targets: oneSecond, Start: start, Highest: math.Inf(1), Resolution: resolution, Requests: 2000, Duration: time.Hour}
				r := find(t, o, steady(above(limit)))
				if r.Rate > limit || r.Rate*(1+resolution)*1.001 < limit || !r.Confirmed || r.StoppedBy != Resolved {
					t.Errorf("limit %v from %v: %v, confirmed %v, %s", limit, start, r.Rate, r.Confirmed, r.StoppedBy)
				}
				if r.ProvenMet != r.Rate || r.ProvenMissed <= r.Rate || r.ProvenMissed > r.Rate*(1+resolution)*1.001 {
					t.Errorf("proven: %v and %v, rate %v", r.ProvenMet, r.ProvenMissed, r.Rate)
				}
				if most := o.MostSteps(int(math.Ceil(math.Abs(math.Log2(limit / start))))); len(r.Steps) > most+1 {
					t.Errorf("limit %v from %v: %d steps, expected at most %d", limit, start, len(r.Steps), most)
				}
				for _, s := range r.Steps {
					if s.Judged > 250 {
						t.Errorf("a clear step took %d requests", s.Judged)
					}
				}
			}
		}
	}
}

func TestSearchEnds(t *testing.T) {
	o := Options{Targets: oneSecond, Start: 10, Highest: 70, Resolution: 0.05, Duration: 20 * time.Second}
	r := find(t, o, steady(above(1000)))
	if r.Rate != 70 || !r.Confirmed || r.StoppedBy != AtHighest {
		t.Errorf("no rate misses: %v, %s", r.Rate, r.StoppedBy)
	}
	r = find(t, o, steady(above(0)))
	if lowest := r.Steps[len(r.Steps)-1].Rate; r.Rate != 0 || r.Confirmed || r.StoppedBy != AtLowest || lowest < 1 || lowest > 1.06 {
		t.Errorf("all rates miss: %v, %s, down to %v", r.Rate, r.StoppedBy, lowest)
	}
	untimed := Options{Targets: oneSecond, Start: 64, Highest: 100, Resolution: 1, Requests: 100}
	r = find(t, untimed, steady(above(0)))
	if lowest := r.Steps[len(r.Steps)-1].Rate; r.StoppedBy != AtLowest || lowest < 2 || lowest > 4 {
		t.Errorf("all rates miss without a limit of time: %s, down to %v", r.StoppedBy, lowest)
	}
	late := func(ctx context.Context, step Step, w *Watch) (Ran, error) {
		ran, err := steady(above(33))(ctx, step, w)
		ran.ClientLate = step.Rate > 33
		return ran, err
	}
	if r = find(t, o, late); r.StoppedBy != Client || r.Rate > 33 || r.Rate < 31 {
		t.Errorf("a late client: %v, %s", r.Rate, r.StoppedBy)
	}
	if text := r.text(&o); !strings.Contains(text, "the client is the limit, not the server") {
		t.Error(text)
	}
	broken := errors.New("connection refused")
	r, err := Search(context.Background(), o, func(ctx context.Context, step Step, w *Watch) (Ran, error) {
		if step.Number == 3 {
			return Ran{}, broken
		}
		return steady(above(50))(ctx, step, w)
	})
	if !errors.Is(err, broken) || r.StoppedBy != Failed || r.Rate != 19.8 || r.Confirmed || len(r.Steps) != 2 {
		t.Errorf("%v: %+v", err, r)
	}
}

// An end of the context ends the search with the best rate so far, which is confirmed only if
// all its fresh runs had ended.
func TestSearchInterrupted(t *testing.T) {
	o := Options{Targets: oneSecond, Start: 10, Highest: math.Inf(1), Resolution: 0.5, Requests: 500}
	whole := len(find(t, o, steady(above(50))).Steps)
	for after := range whole {
		ctx, cancel := context.WithCancel(context.Background())
		r, err := Search(ctx, o, func(ctx context.Context, step Step, w *Watch) (Ran, error) {
			if step.Number == after+1 {
				cancel()
			}
			ran, _ := steady(above(50))(ctx, step, w)
			return ran, nil
		})
		if err != nil || r.StoppedBy != Interrupted || r.Confirmed || len(r.Steps) != after || (r.Rate > 0) != (after > 0) {
			t.Errorf("after %d of %d steps: %v, confirmed %v, %s, %d steps, %v", after, whole, r.Rate, r.Confirmed, r.StoppedBy, len(r.Steps), err)
		}
	}
}

// A rate whose fresh runs miss the targets gives way to the next lower one.
func TestSearchGoesDown(t *testing.T) {
	o := Options{Targets: oneSecond, Start: 10, Highest: math.Inf(1), Resolution: 0.1, Requests: 500}
	r := find(t, o, func(ctx context.Context, step Step, w *Watch) (Ran, error) {
		limit := 50.
		if step.Confirms {
			limit = 40 // the search had luck
		}
		return steady(above(limit))(ctx, step, w)
	})
	if r.Rate > 40 || r.Rate < 36 || !r.Confirmed || confirming(r) != Confirmations {
		t.Errorf("%v, confirmed %v", r.Rate, r.Confirmed)
	}
}

// A rate that one run missed by chance has its fresh runs too.
func TestSearchGoesUp(t *testing.T) {
	o := Options{Targets: oneSecond, Start: 10, Highest: math.Inf(1), Resolution: 0.1, Requests: 60}
	r := find(t, o, func(ctx context.Context, step Step, w *Watch) (Ran, error) {
		missing := above(50)
		if !step.Confirms && step.Rate > 40 && step.Rate < 50 { // too few requests for a proof
			missing = func(float64) float64 { return 0.1 }
		}
		return steady(missing)(ctx, step, w)
	})
	if r.Rate > 50 || r.Rate < 45 || !r.Confirmed {
		t.Errorf("%v, confirmed %v", r.Rate, r.Confirmed)
	}
}

// A queue that grows without end is recognised after some dozens of requests, though none of
// them has missed the target yet; a server that is filled up is not taken for one.
func TestOverload(t *testing.T) {
	for _, c := range []struct {
		name              string
		rate, service     float64
		workers           int
		overload          bool
		atLeast, requests int
	}{
		{"twice the capacity", 20, 0.1, 1, true, 0, 250},
		{"twice the capacity of many", 200, 1, 100, true, 0, 4000},
		{"nearly the capacity", 9, 0.1, 1, false, 0, 5000},
		{"far more workers than needed", 100, 10, 100000, false, 0, 5000},
	} {
		rng := rand.New(rand.NewPCG(1, 1))
		target := []Target{{"e2e=1h", 3600, 0.95}}
		w := newWatch(target, 0.05, 5000)
		free, i := make([]float64, c.workers), 0
		now := 0.0
		var ends endings
		for enough := false; i < 5000 && !enough; i++ {
			now += rng.ExpFloat64() / c.rate
			for len(ends) > 0 && ends[0].at <= now {
				e := ends[0]
				ends = ends[1:]
				enough = w.Ended(e.number, time.Duration(e.at*1e9), []float64{e.at - e.arrived}) || enough
			}
			at := i % c.workers // equal service times: in turn
			free[at] = max(free[at], now) + c.service
			ends = append(ends, ending{i, free[at], now})
			enough = w.Sent(time.Duration(now*1e9)) || enough
		}
		for _, e := range ends {
			w.Ended(e.number, time.Duration(e.at*1e9), []float64{e.at - e.arrived})
		}
		v := w.finish()
		if v.Overload != c.overload || v.Met == c.overload || i > c.requests {
			t.Errorf("%s: overload %v, met %v after %d requests", c.name, v.Overload, v.Met, i)
		}
	}
}

// Requests that never end count as missed, and failed ones too.
func TestUnanswered(t *testing.T) {
	w := newWatch(oneSecond, 0.05, 1000)
	for i := range 40 {
		w.Sent(time.Duration(i) * time.Second)
		switch {
		case i%10 == 1:
			w.Ended(i, time.Duration(i)*time.Second, []float64{math.Inf(1)})
		case i != 35:
			w.Ended(i, time.Duration(i)*time.Second, []float64{0.5})
		}
	}
	v := w.finish()
	if v.Met || v.Judged != 36 || math.Abs(v.Shares[0].Met-32./36) > 1e-9 { // without the first four
		t.Errorf("%+v", v)
	}
	if v = newWatch(oneSecond, 0.05, 10).finish(); v.Met || v.Judged != 0 {
		t.Errorf("a step without requests: %+v", v)
	}
}

// confirming returns the number of runs that confirm the rate.
func confirming(r *Result) int {
	n := 0
	for _, s := range r.Steps {
		if s.Confirms && s.Rate == r.Rate {
			n++
		}
	}
	return n
}
