package truth

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vobs/vobs/probe/scrape"
)

// calm returns a run in which the reader has an easy time: one engine, steadily loaded,
// read promptly.
func calm(number int) scenario {
	sc := newScenario(seed, number, 6*time.Second, 8*time.Second)
	sc.layout, sc.restarts, sc.coldStart, sc.history = []int{1}, nil, 0, 0
	sc.kind, sc.scarce = "saturated", false
	sc.load.arrivals, sc.load.refused, sc.load.giveUp = nil, 0, 0
	sc.load.concurrency, sc.load.limit, sc.load.closedUntil = 20, 3000, 6*time.Second
	sc.load.prompt, sc.load.output = [2]int{100, 200}, [2]int{20, 40}
	sc.engine.maxNumSeqs, sc.engine.numGPUBlocks, sc.engine.stepBase = 16, 400, 15*time.Millisecond
	sc.late = lateness{name: "prompt"}
	return sc
}

// The comparison finds figures that are wrong by more than they may be, of every kind, and
// accepts those that are not.
func TestComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := calm(1).play(func(n *network) scrape.DialFunc { return inMemory(n) })
		if err != nil {
			t.Fatal(err)
		}
		// The true figures of the run, as the comparison knows them.
		c := &comparer{played: p}
		if c.event, err = p.event(); err != nil {
			t.Fatal(err)
		}
		if err := c.findWindow(); err != nil {
			t.Fatal(err)
		}
		facts := p.facts.engines()[0].facts
		from, to := c.window.span()
		values, _ := c.counted(observations(e2eLatency), false)
		p99 := quantile(values, 0.99)
		mean := facts.running.mean(from, to)
		peak := facts.runningGauge.peak(p.started, p.ended)
		rate := float64(len(values)) / c.activeSeconds(c.window)

		for _, x := range []struct {
			path  string
			value any
			wrong bool
		}{
			{"engine.requests.running.mean", mean, false},
			{"engine.requests.running.mean", mean * 1.09, false},
			{"engine.requests.running.mean", mean * 1.12, true},
			{"engine.requests.running.mean", mean * 0.88, true},
			{"engine.requests.running.mean_bounds", []any{0.0, mean * 1.3}, false},
			{"engine.requests.running.mean_bounds", []any{0.0, mean * 0.8}, true},
			{"engine.requests.running.mean_bounds", []any{mean * 1.2, nil}, true},
			{"engine.requests.running.peak", peak, false},
			{"engine.requests.running.peak", peak * 0.6, false},
			{"engine.requests.running.peak", peak + 1, true},
			{"engine.requests.running.peak", peak * 0.4, true},
			{"engine.throughput.requests_per_second", rate, false},
			{"engine.throughput.requests_per_second", rate * 1.2, true},
			{"engine.throughput.requests_per_second", rate * 0.8, true},
			{"engine.tokens.generation", total(must(c.counted(generated, true))), false},
			{"engine.tokens.generation", total(must(c.counted(generated, true))) - 1, true},
			{"engine.requests.finished.length", float64(len(values) + 1), true},
			{"engine.requests.unaccounted_min", 0.0, false},
			{"engine.requests.unaccounted_min", 1.0, true},
			{"engine.latency_seconds.e2e_request_latency.count", float64(len(values)), false},
			{"engine.latency_seconds.e2e_request_latency.count", float64(len(values) + 1), true},
			{"engine.latency_seconds.e2e_request_latency.mean", total(values) / float64(len(values)) * 1.2, true},
			{"engine.latency_seconds.e2e_request_latency.p99_bounds", []any{p99 * 0.9, p99}, false},
			{"engine.latency_seconds.e2e_request_latency.p99_bounds", []any{p99 * 0.9, nil}, false},
			{"engine.latency_seconds.e2e_request_latency.p99_bounds", []any{p99 * 1.01, nil}, true},
			{"engine.latency_seconds.e2e_request_latency.p99_bounds", []any{0.0, p99 * 0.99}, true},
			{"engine.http.2xx", float64(len(values)), false},
			{"engine.http.2xx", float64(len(values) + 100), true},
		} {
			event, err := p.event()
			if err != nil {
				t.Fatal(err)
			}
			set(event, "engine.requests.running.method", "littles_law")
			set(event, "engine.throughput.over", "active")
			set(event, x.path, x.value)
			comparisons, err := p.compare(event)
			if err != nil {
				t.Fatal(err)
			}
			found, wrong := false, ""
			for _, c := range comparisons {
				if c.path == x.path {
					found, wrong = true, c.wrong
				}
			}
			if (wrong != "") != x.wrong || !found {
				t.Errorf("%s = %v: %q (compared: %v)", x.path, x.value, wrong, found)
			}
		}
	})
}

func must(all, _ []float64) []float64 { return all }

// set sets the value at a path of an event.
func set(event map[string]any, path string, value any) {
	keys := strings.Split(path, ".")
	m := event
	for _, key := range keys[:len(keys)-1] {
		next, _ := m[key].(map[string]any)
		if next == nil {
			next = map[string]any{}
			m[key] = next
		}
		m = next
	}
	m[keys[len(keys)-1]] = value
}

// A figure that is due and null counts against its coverage; one that is not due does not.
func TestCoverage(t *testing.T) {
	var r report
	for i := range 100 {
		r.add("", comparison{kind: aMean, path: "x", given: i >= 6, due: true})
		r.add("", comparison{kind: aMean, path: "x"})
		r.add("", comparison{kind: aPeak, path: "y", given: i >= 6, due: true})
	}
	x, y := r.tallies["x"], r.tallies["y"]
	if x.coverage() != 0.94 || x.coverage() >= x.leastCoverage() || y.coverage() < y.leastCoverage() {
		t.Errorf("coverage %v of at least %v, %v of %v", x.coverage(), x.leastCoverage(), y.coverage(), y.leastCoverage())
	}
	if !strings.Contains(r.table(), "94.0 %") {
		t.Error(r.table())
	}
}
