package findmax

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// At a queue for one worker with exponential service times (M/M/1), the time from arrival to end
// is exponential, with the rate of service less that of arrivals. So the target is known that
// just 95 % of the requests meet. There, hardly a step in 20 is proven to miss it, and none above it
// to meet it, though requests depend on each other. Independent ones would be proven wrongly
// far more often.
func TestWrongProofs(t *testing.T) {
	trials := testkit.Scale(400, 60)
	for _, load := range []float64{0.3, 0.7, 0.9} {
		met, missed := 0, 0
		for trial := range trials {
			rng := rand.New(rand.NewPCG(uint64(trial), 78))
			target := []Target{{"e2e", -math.Log(0.05) / (1 - load), 0.95}}
			if v := oneWorker(rng, load, target, 5000); v.Proven && v.Met {
				met++
			} else if v.Proven {
				missed++
			}
		}
		t.Logf("load %v: of %d steps, %d are proven to meet the target, and %d to miss it", load, trials, met, missed)
		// The probability of more is below 1e-4 if that of a wrong proof is 5 %.
		if most := int(0.05*float64(trials) + 4*math.Sqrt(0.05*0.95*float64(trials))); met > most || missed > most {
			t.Errorf("load %v: expected at most %d of each", load, most)
		}
	}
}

// oneWorker runs a step of a queue for one worker with a mean service time of 1 s.
func oneWorker(rng *rand.Rand, load float64, targets []Target, most int) Verdict {
	w := newWatch(targets, 0.05, most)
	now, free, next := 0.0, 0.0, 0
	var ends []ending
	end := func(until float64) (enough bool) {
		for ; next < len(ends) && ends[next].at <= until; next++ {
			e := ends[next]
			enough = w.Ended(e.number, time.Duration(e.at*1e9), []float64{e.at - e.arrived}) || enough
		}
		return enough
	}
	for i := range most {
		now += rng.ExpFloat64() / load
		if end(now) {
			break
		}
		free = max(free, now) + rng.ExpFloat64()
		ends = append(ends, ending{i, free, now})
		if w.Sent(time.Duration(now * 1e9)) {
			break
		}
	}
	end(math.Inf(1))
	return w.finish()
}
