package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// simulate returns how many of n comparisons have each verdict.
func simulate(n int, sides func(random *rand.Rand) (base, new []*schema.GenerationObservability)) map[Verdict]int {
	metrics := slices.DeleteFunc(Defaults(), func(m Metric) bool { return !m.Gated })
	count := map[Verdict]int{}
	for seed := range n {
		base, new := sides(rand.New(rand.NewPCG(uint64(seed), 4)))
		count[Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics}).Verdict]++
	}
	return count
}

// sequence returns runs in the given order, whose sessions of four runs share a factor.
func sequence(random *rand.Rand, order string, cv, drift, factor float64) (base, new []*schema.GenerationObservability) {
	session := 1.0
	for i, side := range order {
		if i%4 == 0 {
			session = math.Exp(drift * random.NormFloat64())
		}
		noise := func() float64 { return session * math.Exp(cv*random.NormFloat64()) }
		if side == 'A' {
			base = append(base, event(i, 1000*noise(), 0.03*noise(), 10))
		} else {
			new = append(new, event(i, 1000*factor*noise(), 0.03/factor*noise(), 10))
		}
	}
	return base, new
}

// Equal sides are called different at most as often as alpha allows, with drift between
// sessions as large as the noise within them, and regressions are found.
func TestErrorRates(t *testing.T) {
	n := 300
	if testkit.Long() {
		n = 10_000
	}
	for _, c := range []struct {
		name          string
		order         string
		drift, factor float64
		high          float64 // of the share of regressions and improvements
		low           float64 // of the share of regressions
	}{
		{"A/A", strings.Repeat("ABBA", 5), 0, 1, defaultRate(n), 0},
		{"A/A with drift", strings.Repeat("ABBA", 5), 0.03, 1, defaultRate(n), 0},
		{"A/A in blocks", strings.Repeat("A", 8) + strings.Repeat("B", 8), 0.03, 1, 0, 0},
		{"slower, in blocks", strings.Repeat("A", 8) + strings.Repeat("B", 8), 0, 0.8, 0, 0},
		{"7 % slower", strings.Repeat("ABBA", 6), 0, 0.93, 1, 0.9},
	} {
		count := simulate(n, func(random *rand.Rand) (base, new []*schema.GenerationObservability) {
			return sequence(random, c.order, 0.03, c.drift, c.factor)
		})
		called := float64(count[Regression]+count[Improvement]) / float64(n)
		regressions := float64(count[Regression]) / float64(n)
		t.Logf("%s: %v", c.name, count)
		if called > c.high {
			t.Errorf("%s: %.2f %% are called different, want at most %.2f %%", c.name, 100*called, 100*c.high)
		}
		if regressions < c.low {
			t.Errorf("%s: %.0f %% are found, want at least %.0f %%", c.name, 100*regressions, 100*c.low)
		}
	}
}

// The power to find a change of 5 % in two gated metrics, if equal runs vary by 3 %, rises with
// the number of pairs.
func TestPower(t *testing.T) {
	if !testkit.Long() {
		t.Skip("SKIPPED: a simulation of minutes: set VOBS_TEST_LONG=1 (make check-long)")
	}
	last := 0.0
	for _, c := range []struct {
		pairs int
		low   float64 // of the share of regressions
	}{{7, 0.05}, {10, 0.5}, {15, 0.8}, {20, 0.9}, {30, 0.95}} {
		const n = 2000
		count := simulate(n, func(random *rand.Rand) (base, new []*schema.GenerationObservability) {
			base, new = sequence(random, strings.Repeat("ABBA", c.pairs)[:2*c.pairs], 0.03, 0, 0.95)
			for i := range base {
				base[i].Run.Labels[LabelPair], new[i].Run.Labels[LabelPair] = fmt.Sprint(i), fmt.Sprint(i)
			}
			return base, new
		})
		found := float64(count[Regression]) / n
		t.Logf("%d pairs: %.0f %% are found, %v", c.pairs, 100*found, count)
		if found < max(c.low, last-0.01) {
			t.Errorf("%d pairs: %.0f %% are found, want at least %.0f %%", c.pairs, 100*found, 100*max(c.low, last-0.01))
		}
		last = found
	}
}

// As many pairs as DetectableChange was asked for find the change in about 4 of 5 cases.
func TestDetectableChange(t *testing.T) {
	metrics, _ := Select([]string{"generation_tokens_per_second"})
	metrics = slices.DeleteFunc(metrics, func(m Metric) bool { return !m.Gated })
	n := 400
	if testkit.Long() {
		n = 4000
	}
	for _, pairs := range []int{6, 7, 10, 20} {
		for _, variation := range []float64{0.01, 0.03, 0.1} {
			change := DetectableChange(pairs, variation, DefaultAlpha, metrics)
			found := 0
			for seed := range n {
				base, new := sequence(rand.New(rand.NewPCG(uint64(seed), 8)), strings.Repeat("ABBA", pairs)[:2*pairs], variation, 0, 1-change)
				for i := range base {
					base[i].Run.Labels[LabelPair], new[i].Run.Labels[LabelPair] = fmt.Sprint(i), fmt.Sprint(i)
				}
				if Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics}).Verdict == Regression {
					found++
				}
			}
			share := float64(found) / float64(n)
			t.Logf("%d pairs, %.0f %%: %.1f %% is found in %.0f %%", pairs, 100*variation, 100*change, 100*share)
			if share < 0.7 || share > 0.95 {
				t.Errorf("%d pairs, runs that vary by %.0f %%: a change of %.1f %% is found in %.0f %% of cases, want about 80 %%", pairs, 100*variation, 100*change, 100*share)
			}
		}
	}
}

// defaultRate returns alpha and three standard errors of n simulations.
func defaultRate(n int) float64 {
	return DefaultAlpha + 3*math.Sqrt(DefaultAlpha*(1-DefaultAlpha)/float64(n))
}
