package findmax

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// A step of the simulations is so long that a rate which just meets the target has stepMisses
// misses in it, and a run of the brute-force grid is longSteps times as long.
const (
	stepMisses = 1000 // of a rate that just meets the target
	longSteps  = 10
)

// TestSimulatedServers compares the search with a grid of long runs on servers that are drawn
// from seeds: both agree within a step at 19 of 20. The search was made on other seeds, from 1001
// on. Of 1 to 20, all agree, of 21 to 60, 38 of 40; FINDMAX_SEEDS=21-60 tries these.
func TestSimulatedServers(t *testing.T) {
	first, last := uint64(1), testkit.Scale(uint64(20), 5)
	if from, to, ok := strings.Cut(os.Getenv("FINDMAX_SEEDS"), "-"); ok {
		first, _ = strconv.ParseUint(from, 10, 64)
		last, _ = strconv.ParseUint(to, 10, 64)
	}
	agree, n, requests, fixed, confirmed := 0, 0, 0, 0, 0
	for seed := first; seed <= last; seed++ {
		s := newSimulated(seed)
		if !testkit.Long() && s.targets[0].Share == 0.99 {
			continue // its steps are the longest
		}
		rng := rand.New(rand.NewPCG(seed, 0x57a47))
		stepRequests := int(math.Round(stepMisses / (1 - s.targets[0].Share)))
		o := Options{Targets: s.targets, Start: s.capacity * uniform(rng, 0.05, 0.4), Highest: math.Inf(1), Resolution: 0.05, Requests: stepRequests}
		sent := 0
		run := s.runner(seed, &sent)
		r, err := Search(context.Background(), o, func(_ context.Context, step Step, w *Watch) (Ran, error) { return run(step, w), nil })
		if err != nil {
			t.Fatal(err)
		}
		from := min(0, o.steps(0.05*s.capacity))
		best := bruteForce(s, seed, o.rate, from, longSteps*stepRequests)
		found := o.lowestOf(r.Rate)
		if best < from && r.Rate == 0 { // the server meets its targets at no rate, and both say so
			found = best
		}
		n++
		requests += sent
		fixed += (best - from + 2) * stepRequests // up to the first rate that misses the targets
		if r.Confirmed {
			confirmed++
		}
		mark := ""
		if d := found - best; d >= -1 && d <= 1 {
			agree++
		} else {
			mark = "  DISAGREES"
		}
		t.Logf("seed %2d %s: found %+d steps from the grid's %.3f (load %.2f, %s), %s, %d steps, %d requests%s",
			seed, s.name, found-best, o.rate(best), o.rate(best)/s.capacity, s.targets[0].Name+fmt.Sprint(s.targets[0].Share), r.StoppedBy, len(r.Steps), sent, mark)
		if os.Getenv("FINDMAX_STEPS") != "" {
			for _, step := range r.Steps {
				t.Logf("    %+3d %v met=%v proven=%v overload=%v growth=%.3f %v", o.lowestOf(step.Rate)-best, step.Judged, step.Met, step.Proven, step.Overload, step.Growth, step.Shares)
			}
		}
	}
	t.Logf("%d of %d agree within a step, %d confirmed; %d requests, %.1f %% of those of a fixed-length grid with the same limit", agree, n, confirmed, requests, 100*float64(requests)/float64(fixed))
	if agree < n-(n+19)/20 {
		t.Errorf("%d of %d agree, expected 19 of 20", agree, n)
	}
}

// lowestOf returns the number of a rate of the grid.
func (o *Options) lowestOf(rate float64) int {
	if rate == 0 {
		return math.MinInt32
	}
	return int(math.Round(math.Log(rate/o.Start) / math.Log1p(o.Resolution)))
}
