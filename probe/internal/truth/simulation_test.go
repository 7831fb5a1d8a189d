package truth

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/exposition"
)

// simulated returns a scenario's simulation after the command, with step called after
// every event.
func simulated(sc scenario, step func(*simulation)) *simulation {
	s, start := sc.build(time.Unix(1e9, 0))
	s.record()
	s.advance(sc.history)
	start()
	for len(s.events) > 0 {
		s.advance(s.events[0].at)
		if step != nil {
			step(s)
		}
	}
	return s
}

// scenarios calls f for many scenarios.
func scenarios(t *testing.T, f func(t *testing.T, sc scenario)) {
	t.Helper()
	for i := range 120 {
		f(t, newScenario(seed, i, 200*time.Millisecond, 30*time.Second))
		if t.Failed() {
			t.Fatalf("scenario %d", i)
		}
	}
}

// The scheduler keeps its limits at every instant, and nothing gets lost.
func TestSchedulerInvariants(t *testing.T) {
	scenarios(t, func(t *testing.T, sc scenario) {
		s := simulated(sc, func(s *simulation) {
			for _, e := range s.engines() {
				used := 0
				for _, r := range slices.Concat(e.input, e.waiting, e.running) {
					used += r.blocks
					if r.ended || r.computed > r.blocks*e.cfg.blockSize || r.generated >= r.output {
						t.Fatalf("at %v: request %+v is under way", s.now, r)
					}
				}
				scheduled := 0
				for _, r := range e.running {
					scheduled += r.scheduledTokens
				}
				switch {
				case e.free < 0 || used+e.free != e.cfg.numGPUBlocks-1:
					t.Fatalf("at %v: %d blocks used and %d free of %d", s.now, used, e.free, e.cfg.numGPUBlocks-1)
				case len(e.running) > e.cfg.maxNumSeqs:
					t.Fatalf("at %v: %d sequences", s.now, len(e.running))
				case scheduled > e.cfg.maxNumBatchedTokens:
					t.Fatalf("at %v: %d tokens in a step", s.now, scheduled)
				case !e.stepping && len(e.input)+len(e.waiting)+len(e.running) > 0:
					t.Fatalf("at %v: an idle engine has requests", s.now)
				}
			}
		})
		c := s.client
		if !c.ended || c.sent == 0 {
			t.Errorf("the client sent %d requests and has not ended", c.sent)
		}
		for _, e := range s.engines() {
			if g := e.counters; g.running != 0 || g.waiting != 0 || g.usage != 0 {
				t.Errorf("an idle engine shows %d running, %d waiting, %v of the cache", g.running, g.waiting, g.usage)
			}
		}
	})
}

// What the engines count agrees with itself and with what the client saw, as it does on a
// real vLLM: tokens by histograms and by counters, times by their parts.
func TestCountersAddUp(t *testing.T) {
	preempted := 0
	scenarios(t, func(t *testing.T, sc scenario) {
		s := simulated(sc, nil)
		clean := sc.history == 0 && len(sc.restarts) == 0
		sentOrMore := 0
		for _, e := range s.engines() {
			c := &e.counters
			h := &c.histograms
			equal := func(what string, a, b float64) {
				t.Helper()
				if math.Abs(a-b) > 1e-6*math.Max(1, math.Abs(b)) {
					t.Errorf("%s: %v, want %v", what, a, b)
				}
			}
			equal("generated tokens", float64(c.generation), float64(h[timeToFirstToken].count+h[interTokenLatency].count))
			equal("tokens per iteration", h[iterationTokens].sum, float64(c.prompt+c.generation))
			equal("inference time", h[inferenceTime].sum, h[prefillTime].sum+h[decodeTime].sum)
			for _, id := range []histogramID{queueTime, decodeTime, promptPerRequest, paramsN} {
				equal(histogramNames[id], float64(h[id].count), float64(c.finished))
			}
			if h[timeToFirstToken].count < c.finished || h[e2eLatency].sum+1e-9 < h[queueTime].sum+h[inferenceTime].sum {
				t.Errorf("%d first tokens, %d finished; %v s of %v s", h[timeToFirstToken].count, c.finished, h[inferenceTime].sum, h[e2eLatency].sum)
			}
			sentOrMore += c.finished
			preempted += c.preemptions
			if c.preemptions > 0 && !sc.scarce {
				// Blocks suffice for the longest requests, so there is room for all.
				t.Logf("scenario %d: %d preemptions without scarcity", sc.number, c.preemptions)
			}
		}
		if clean && (sentOrMore != s.client.finished || s.client.sent != s.client.finished+s.client.givenUp+s.client.failed) {
			t.Errorf("%d requests counted; client: %d sent, %d finished, %d given up, %d failed", sentOrMore, s.client.sent, s.client.finished, s.client.givenUp, s.client.failed)
		}
	})
	if preempted < 100 {
		t.Errorf("%d preemptions: too few", preempted)
	}
}

// Little's law holds on the simulator's own truth: the integral of the number of running
// requests is the sum of their inference times, that of waiting ones the sum of queue
// times. With preemptions, inference time has the later waits too.
func TestLittlesLaw(t *testing.T) {
	tested := 0
	scenarios(t, func(t *testing.T, sc scenario) {
		if sc.load.giveUp > 0 || len(sc.restarts) > 0 || sc.history > 0 {
			return
		}
		s := simulated(sc, nil)
		if s.client.givenUp > 0 {
			return
		}
		tested++
		for _, e := range s.engines() {
			running, waiting := e.facts.running.integral(0, s.now), e.facts.waiting.integral(0, s.now)
			h := &e.counters.histograms
			differ := func(a, b float64) bool { return math.Abs(a-b) > 1e-6*math.Max(1, b) }
			if differ(running+waiting, h[inferenceTime].sum+h[queueTime].sum) || e.counters.preemptions == 0 && differ(running, h[inferenceTime].sum) {
				t.Errorf("%v request-seconds running and %v waiting; inference %v, queue %v", running, waiting, h[inferenceTime].sum, h[queueTime].sum)
			}
			// The gauges show a request from the end of its first step to that of its last.
			gauge := e.facts.runningGauge.integral(0, s.now)
			if gauge > running+1e-9 || e.facts.runningGauge.peak(0, s.now) > e.facts.running.peak(0, s.now) {
				t.Errorf("the gauge has %v request-seconds, the scheduler %v", gauge, running)
			}
		}
	})
	if tested < 20 {
		t.Errorf("tested %d scenarios", tested)
	}
}

// Two simulations of a scenario are the same, however finely one of them is advanced.
func TestDeterminism(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 20 {
		sc := newScenario(seed, i, 200*time.Millisecond, 10*time.Second)
		whole := simulated(sc, nil)
		parts, start := sc.build(time.Unix(1e9, 0))
		parts.advance(sc.history)
		start()
		for parts.now < whole.now {
			parts.advance(min(whole.now, parts.now+time.Duration(rng.IntN(300))*time.Millisecond))
		}
		for j, server := range whole.servers {
			a := newPageTemplate(server).render(server, nil)
			b := newPageTemplate(parts.servers[j]).render(parts.servers[j], nil)
			if string(a) != string(b) {
				t.Fatalf("%v: the pages differ", sc)
			}
		}
	}
}

// The simulated page has the recorded one's samples and types, and no others.
func TestPageShape(t *testing.T) {
	sc := newScenario(seed, 0, time.Second, 2*time.Second)
	sc.layout, sc.restarts, sc.coldStart = []int{1}, nil, 0
	s := simulated(sc, nil)
	page := newPageTemplate(s.servers[0]).render(s.servers[0], nil)
	got, want := shape(string(page)), shape(testkit.Recorded(t, "serve_default_post"))
	for key := range want {
		if !got[key] {
			t.Errorf("the simulated page lacks %s", key)
		}
	}
	for key := range got {
		if !want[key] {
			t.Errorf("only the simulated page has %s", key)
		}
	}
	if len(got) < 400 {
		t.Errorf("%d samples", len(got))
	}
}

// A page of two engines has the samples of both, as a recorded one of two engines has.
func TestPageOfTwoEngines(t *testing.T) {
	sc := newScenario(seed, 0, time.Second, 2*time.Second)
	sc.layout, sc.restarts, sc.coldStart = []int{2}, nil, 0
	s := simulated(sc, nil)
	got := shape(string(newPageTemplate(s.servers[0]).render(s.servers[0], nil)))
	engines := map[string]int{}
	for key := range shape(testkit.Recorded(t, "serve_dp2_post")) {
		if strings.HasPrefix(key, "vllm:") && !got[key] {
			t.Errorf("the simulated page lacks %s", key)
		}
		engines[label(key[max(0, strings.IndexByte(key, '{')):], "engine")]++
	}
	if engines["0"] < 300 || engines["0"] != engines["1"] {
		t.Errorf("samples by engine: %v", engines)
	}
}

// shape returns a page's samples with their labels, without values, and its TYPE lines.
// Of http_ families only http_requests_total is simulated, and of cache_config_info's
// labels the values depend on the scenario.
func shape(page string) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "# HELP"), strings.Contains(line, "http_"):
			continue
		case strings.HasPrefix(line, "vllm:cache_config_info"):
			line = setLabel(line, `(?:_?block_size|effective_attention_block_size|num_gpu_blocks|kv_cache_size_tokens|enable_prefix_caching)`, "")
		}
		if !strings.HasPrefix(line, "#") {
			line = strings.TrimSpace(line[:max(0, strings.LastIndexByte(line, ' '))])
		}
		out[line] = true
	}
	return out
}

// The page parses, and its samples have the simulation's values.
func TestPageValues(t *testing.T) {
	sc := newScenario(seed, 3, 2*time.Second, 3*time.Second)
	sc.layout, sc.restarts, sc.coldStart = []int{2}, nil, 0
	s := simulated(sc, nil)
	server := s.servers[0]
	parse := func(names []string) map[string]float64 {
		var page exposition.Page
		body := newPageTemplate(server).render(server, names)
		if err := exposition.NewParser(func(string) bool { return true }).ParseReader(strings.NewReader(string(body)), &page); err != nil {
			t.Fatal(err)
		}
		values := map[string]float64{}
		for _, x := range page.Samples {
			values[x.Name+" "+x.Labels.Get("engine")+x.Labels.Get("le")] += x.Value
		}
		return values
	}
	values := parse(nil)
	for _, e := range server.engines {
		label := " " + string(rune('0'+e.label))
		for name, want := range map[string]int{
			"vllm:prompt_tokens_total": e.counters.prompt, "vllm:generation_tokens_total": e.counters.generation,
			"vllm:request_success_total": e.counters.finished, "vllm:num_preemptions_total": e.counters.preemptions,
			"vllm:e2e_request_latency_seconds_count": e.counters.finished,
			"vllm:inter_token_latency_seconds_count": e.counters.histograms[interTokenLatency].count,
			"vllm:iteration_tokens_total_sum":        int(e.counters.histograms[iterationTokens].sum),
			"vllm:prompt_tokens_by_source_total":     e.counters.prompt,
		} {
			if got := values[name+label]; got != float64(want) {
				t.Errorf("%s%s: %v, want %d", name, label, got, want)
			}
		}
		if got, want := values["vllm:e2e_request_latency_seconds_bucket"+label+"+Inf"], float64(e.counters.finished); got != want || want == 0 {
			t.Errorf("the last bucket has %v, want %v", got, want)
		}
	}
	if got, want := values["process_start_time_seconds "], server.startTime(); got != want {
		t.Errorf("start time %v, want %v", got, want)
	}
	filtered := parse([]string{"vllm:num_requests_running", "process_start_time_seconds"})
	if len(filtered) != 3 {
		t.Errorf("the filtered page has %v", filtered)
	}
}

// Traces agree with sums over small intervals.
func TestTraces(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var a, b trace
		for _, tr := range []*trace{&a, &b} {
			at := time.Duration(0)
			for range rng.IntN(12) {
				at += time.Duration(rng.IntN(4))
				tr.set(at, float64(rng.IntN(4)))
			}
		}
		both := combine([]*trace{&a, &b}, sum)
		from := time.Duration(rng.IntN(20))
		to := from + 1 + time.Duration(rng.IntN(20))
		area, peak, longest, run := 0.0, 0.0, time.Duration(0), time.Duration(0)
		for at := from; at < to; at++ {
			v := valueAt(&a, at) + valueAt(&b, at)
			area += v * 1e-9
			peak = max(peak, v)
			if run++; v < 2 {
				run = 0
			}
			longest = max(longest, run)
		}
		if got := both.integral(from, to); math.Abs(got-area) > 1e-15 || both.peak(from, to) != peak || both.longest(from, to, 2) != longest {
			t.Fatalf("%v and %v over %d to %d: integral %v, peak %v, longest %v, want %v, %v, %v", a, b, from, to, got, both.peak(from, to), both.longest(from, to, 2), area, peak, longest)
		}
	}
}

func valueAt(t *trace, at time.Duration) (v float64) {
	for i := range t.at {
		if t.at[i] <= at {
			v = t.value[i]
		}
	}
	return v
}
