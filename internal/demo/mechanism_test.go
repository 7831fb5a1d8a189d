package demo

import (
	"testing"
	"time"
)

// Preemptions come from a KV cache that is too small: with twice the blocks there are none.
func TestThrashingComesFromTheKVCache(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "thrashing", nil)
	finished := o.totals.Requests
	if o.totals.Preemptions*20 < finished || o.totals.KVUsagePeak < 0.95 || o.totals.RunningPeak > o.s.MaxNumSeqs/2 || o.totals.WaitingPeak == 0 {
		t.Errorf("%+v", o.totals)
	}
	double := outcomeOf(t, "thrashing", func(s *Scenario) { s.NumGPUBlocks *= 2 })
	if double.totals.Preemptions != 0 || double.throughput() < o.throughput() {
		t.Errorf("with twice the blocks: %d preemptions, throughput %.0f after %.0f", double.totals.Preemptions, double.throughput(), o.throughput())
	}
}

// At the cap a higher one helps, unless the steps are bound by compute.
func TestCapAndCompute(t *testing.T) {
	t.Parallel()
	more := func(s *Scenario) { s.MaxNumSeqs *= 2 }
	o, higher := outcomeOf(t, "cap", nil), outcomeOf(t, "cap", more)
	if o.totals.RunningPeak != o.s.MaxNumSeqs || o.totals.WaitingPeak < 8 || o.totals.KVUsagePeak > 0.5 {
		t.Errorf("cap: %+v", o.totals)
	}
	if gain := higher.throughput() / o.throughput(); gain < 1.5 {
		t.Errorf("cap: twice the sequences give %.2f times the throughput", gain)
	}
	o, higher = outcomeOf(t, "compute", nil), outcomeOf(t, "compute", more)
	if o.totals.RunningPeak != o.s.MaxNumSeqs || o.totals.WaitingPeak < 8 || o.totals.KVUsagePeak > 0.8 || higher.totals.RunningPeak <= o.s.MaxNumSeqs {
		t.Errorf("compute: %+v", o.totals)
	}
	if gain := higher.throughput() / o.throughput(); gain > 1.05 {
		t.Errorf("compute: a higher cap gives %.2f times the throughput", gain)
	}
	// Below the knee of the same GPU it does help.
	small := outcomeOf(t, "compute", func(s *Scenario) { s.MaxNumSeqs = 32 })
	if gain := o.throughput() / small.throughput(); gain < 2 {
		t.Errorf("compute: 256 sequences give %.2f times the throughput of 32", gain)
	}
}

// Full steps limit the prompts per second: a larger budget computes more.
func TestTokenBudgetBinds(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "token-budget", nil)
	if full := float64(o.fullSteps) / float64(o.steps); full < 0.9 || o.totals.RunningPeak > o.s.MaxNumSeqs/4 || o.totals.KVUsagePeak > 0.5 || o.totals.WaitingPeak < 50 {
		t.Errorf("%.2f of the steps are full, %+v", full, o.totals)
	}
	double := outcomeOf(t, "token-budget", func(s *Scenario) { s.MaxNumBatchedTokens *= 2 })
	if gain := double.throughput() / o.throughput(); gain < 1.1 || double.totals.WaitingPeak > o.totals.WaitingPeak/4 {
		t.Errorf("twice the budget gives %.2f times the throughput, and a queue of %d", gain, double.totals.WaitingPeak)
	}
}

// Long prompts in one step hold up the requests that decode: in small chunks they do not.
func TestLongPromptsInterfere(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "long-prompts", nil)
	if ratio := o.itlRatio(); ratio < 10 || o.totals.WaitingPeak > 8 {
		t.Errorf("the p99 of the inter-token latency is %.1f medians, %+v", ratio, o.totals)
	}
	if share := o.mean("vllm:request_queue_time_seconds") / o.mean("vllm:e2e_request_latency_seconds"); share > 0.01 {
		t.Errorf("%.3f of the latency is in the queue", share)
	}
	chunked := outcomeOf(t, "long-prompts", func(s *Scenario) { s.MaxNumBatchedTokens = 512 })
	without := outcomeOf(t, "long-prompts", func(s *Scenario) { s.Load.Kinds = s.Load.Kinds[:1] })
	if a, b := chunked.itlRatio(), without.itlRatio(); a > 3 || b > 2 {
		t.Errorf("p99 in medians: %.1f in chunks of 512, %.1f without long prompts", a, b)
	}
}

// During the stall nothing moves on the page but the queue, which grows; then it empties.
func TestStalledGoesOn(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "stalled", nil)
	flat, last := 0, -1.0
	waiting := 0.0
	for _, p := range o.rec.Pages {
		f := figures{t, parse(t, p.Text)}
		moved := f.value("vllm:generation_tokens_total") + f.value("vllm:prompt_tokens_total")
		if w := f.value("vllm:num_requests_waiting"); moved == last && w > 0 {
			flat++
			if w < waiting {
				t.Errorf("the queue shrinks from %v to %v during the stall", waiting, w)
			}
			waiting = w
		}
		last = moved
	}
	if flat < 7 || waiting < 20 { // pages every 5 s
		t.Errorf("nothing moved between %d pairs of pages, %v waiting", flat, waiting)
	}
	if o.value("vllm:num_requests_waiting") != 0 || o.totals.KVUsagePeak > 0.8 {
		t.Errorf("%+v", o.totals)
	}
}

// Hits need a shared prefix, a cache that is on, and room for the prefixes.
func TestPrefixCaches(t *testing.T) {
	t.Parallel()
	rate := func(o *outcome) float64 {
		return float64(o.totals.HitTokens) / float64(max(1, o.totals.QueriedTokens))
	}
	for name, want := range map[string]struct{ low, high, shared float64 }{
		"shared-prefix": {0.7, 0.9, 0.75}, "no-shared-prefix": {0, 0, 0}, "prefix-cache-off": {0, 0, 0.75}, "cache-too-small": {0, 0.25, 0.5},
	} {
		o := outcomeOf(t, name, nil)
		if r := rate(o); r < want.low || r > want.high || o.rec.SharedPrefix < want.shared || r > o.rec.SharedPrefix || o.totals.WaitingPeak > 8 {
			t.Errorf("%s: hit rate %.2f, shared %.2f, %+v", name, r, o.rec.SharedPrefix, o.totals)
		}
	}
	small, large := outcomeOf(t, "cache-too-small", nil), outcomeOf(t, "cache-too-small", func(s *Scenario) { s.NumGPUBlocks = 32001 })
	if r := rate(large); r < 0.5 {
		t.Errorf("hit rate %.2f with a cache that has room for the prefixes", r)
	}
	// A prefix comes again after 26 s on average, and is mostly evicted before.
	evicted, _ := small.dist("vllm:kv_block_idle_before_evict_seconds")
	if idle := small.mean("vllm:kv_block_idle_before_evict_seconds"); evicted < 100 || idle > 20 || idle > small.mean("vllm:kv_block_lifetime_seconds") {
		t.Errorf("%v evictions, after %.1f s on average", evicted, idle)
	}
	if n, _ := large.dist("vllm:kv_block_lifetime_seconds"); n != 0 {
		t.Errorf("%v evictions from the large cache", n)
	}
	if r := rate(outcomeOf(t, "prefix-cache-off", func(s *Scenario) { s.NoPrefixCaching = false })); r < 0.7 {
		t.Errorf("hit rate %.2f with the cache switched on", r)
	}
}

// The time outside of the engine comes from the API server's thread.
func TestSlowFrontend(t *testing.T) {
	t.Parallel()
	outside := func(o *outcome) float64 {
		return o.mean("vllm:time_to_first_token_seconds") - o.mean("vllm:request_queue_time_seconds") - o.mean("vllm:request_prefill_time_seconds")
	}
	o := outcomeOf(t, "slow-frontend", nil)
	if s := outside(o); s < 1 || s < o.mean("vllm:time_to_first_token_seconds")/2 || o.cpu() < 0.85 || o.cpu() > 1 {
		t.Errorf("%.3f s outside of the engine, %.2f cores", s, o.cpu())
	}
	fast := outcomeOf(t, "slow-frontend", func(s *Scenario) { s.Frontend = usualFrontend })
	if s := outside(fast); s > 0.02 || fast.cpu() > 0.3 || fast.throughput() < 1.5*o.throughput() {
		t.Errorf("with a usual API server: %.3f s outside of the engine, %.2f cores, throughput %.0f after %.0f", s, fast.cpu(), fast.throughput(), o.throughput())
	}
}

func TestImbalance(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "imbalance", nil)
	busy, idle := o.value("vllm:request_success_total", "engine", "0"), o.value("vllm:request_success_total", "engine", "1")
	if busy < 5*idle || idle == 0 {
		t.Errorf("%v and %v requests", busy, idle)
	}
	even := outcomeOf(t, "imbalance", func(s *Scenario) { s.Load.Shares = nil })
	if even.throughput() < 1.3*o.throughput() {
		t.Errorf("throughput %.0f with equal shares, %.0f without", even.throughput(), o.throughput())
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "restart", nil)
	first := figures{t, parse(t, o.rec.Pages[0].Text)}
	if later := o.value("process_start_time_seconds") - first.value("process_start_time_seconds"); later < 54 || later > 55 {
		t.Errorf("the second server process began %v s after the first", later)
	}
	if o.rec.Lost == 0 || o.rec.Refused == 0 || len(o.rec.Totals) != 2 || o.rec.Totals[0].GenerationTokens == 0 || o.totals.GenerationTokens == 0 {
		t.Errorf("%d lost, %d refused, %+v", o.rec.Lost, o.rec.Refused, o.rec.Totals)
	}
}

func TestErrorsAndAborts(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "errors", nil)
	if share := float64(o.totals.Finished["error"]) / float64(o.totals.Requests); share < 0.04 || share > 0.13 {
		t.Errorf("%.3f of the requests have failed", share)
	}
	o = outcomeOf(t, "aborts", nil)
	if a, d, n := o.totals.Finished["abort"], o.totals.Disconnected, o.totals.Requests; a < n/20 || d < n/20 || o.totals.Finished["error"] != 0 {
		t.Errorf("%d aborted, %d disconnected of %d", a, d, n)
	}
}

// Drafts that are not accepted cost more than they save.
func TestSpeculativeWaste(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "speculative-waste", nil)
	if rate := float64(o.totals.AcceptedTokens) / float64(o.totals.DraftTokens); rate < 0.02 || rate > 0.12 {
		t.Errorf("acceptance rate %.3f", rate)
	}
	off := outcomeOf(t, "speculative-waste", func(s *Scenario) { s.NumSpeculativeTokens = 0 })
	good := outcomeOf(t, "speculative-waste", func(s *Scenario) { s.Acceptance = 0.95 })
	if off.throughput() < 1.1*o.throughput() || good.throughput() < 1.1*o.throughput() {
		t.Errorf("throughput %.0f, %.0f without drafts, %.0f with good ones", o.throughput(), off.throughput(), good.throughput())
	}
}

// Requests wait for the link to host memory: with a faster one they do not.
func TestOffloadBinds(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "offload", nil)
	queue, e2e := o.mean("vllm:request_queue_time_seconds"), o.mean("vllm:e2e_request_latency_seconds")
	if busy := o.value("vllm:kv_offload_load_time_total") / o.s.Load.Seconds; busy < 0.8 || queue < e2e/2 || o.totals.ExternalTokens < o.totals.PromptTokens/3 || o.totals.KVUsagePeak > 0.9 {
		t.Errorf("the link is busy for %.2f of the time, queue %.2f of %.2f s, %+v", busy, queue, e2e, o.totals)
	}
	if n, want := o.value("vllm:kv_offload_load_bytes_total"), float64(o.totals.ExternalTokens*bytesPerToken); n < want {
		t.Errorf("%v bytes loaded, want %v", n, want)
	}
	fast := outcomeOf(t, "offload", func(s *Scenario) {
		offload := *s.Offload
		offload.BytesPerSecond *= 50
		s.Offload = &offload
	})
	if q := fast.mean("vllm:request_queue_time_seconds"); q > queue/10 || fast.throughput() < 2*o.throughput() {
		t.Errorf("queue %.2f s with a faster link, %.2f s without", q, queue)
	}
}

// Requests wait for transfers that fail: if none fail they hardly wait.
func TestTransferFailures(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "kv-transfer-failures", nil)
	failed, queue := o.value("vllm:nixl_num_failed_transfers_total"), o.mean("vllm:request_queue_time_seconds")
	if share := failed / float64(o.totals.Requests); share < 0.1 || share > 0.25 || queue < 0.3 || o.totals.Finished["error"] != 0 {
		t.Errorf("%.3f of the transfers have failed, queue %.3f s", share, queue)
	}
	if n, _ := o.dist("vllm:nixl_xfer_time_seconds"); n+failed != float64(o.totals.Requests) {
		t.Errorf("%v transfers and %v failures for %d requests", n, failed, o.totals.Requests)
	}
	sound := outcomeOf(t, "kv-transfer-failures", func(s *Scenario) {
		transfer := *s.Transfer
		transfer.FailedShare = 0
		s.Transfer = &transfer
	})
	if q := sound.mean("vllm:request_queue_time_seconds"); sound.value("vllm:nixl_num_failed_transfers_total") != 0 || q > 0.06 {
		t.Errorf("without failures the queue is %.3f s", q)
	}
}

// The idle time after the load shows what was not given back.
func TestLeaks(t *testing.T) {
	t.Parallel()
	o := outcomeOf(t, "leak", nil)
	idle := 0
	for _, p := range o.rec.Pages {
		f := figures{t, parse(t, p.Text)}
		if f.value("vllm:num_requests_running")+f.value("vllm:num_requests_waiting") == 0 && f.value("vllm:kv_cache_usage_perc") > 1.0/float64(o.s.NumGPUBlocks) {
			idle++
		} else {
			idle = 0
		}
	}
	if idle < 13 { // pages every 5 s
		t.Errorf("the last %d pages show blocks in use while nothing runs or waits", idle)
	}
	m := outcomeOf(t, "host-memory-leak", nil)
	first := figures{t, parse(t, m.rec.Pages[0].Text)}
	if grown := m.value("process_resident_memory_bytes") - first.value("process_resident_memory_bytes"); grown != float64(m.totals.Requests)*(1<<20) {
		t.Errorf("grown by %v bytes after %d requests", grown, m.totals.Requests)
	}
}

// The light scenarios are light: nothing waits for long, and no limit is near.
func TestHealthy(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"healthy", "low-traffic"} {
		o := outcomeOf(t, name, nil)
		tot := o.totals
		if tot.Preemptions != 0 || tot.WaitingPeak > 2 || float64(tot.RunningPeak) >= 0.8*float64(o.s.MaxNumSeqs) || tot.KVUsagePeak > 0.5 || tot.QueueSeconds > 0.01*tot.E2ESeconds {
			t.Errorf("%s: %+v", name, tot)
		}
	}
}

// On the wall clock a scenario ends where its recording does, and a server that is down
// does not answer.
func TestScenarioOnTheWallClock(t *testing.T) {
	t.Parallel()
	s, err := FindScenario("restart")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{Scenario: s, Duration: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Generate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec, err := Record(*s, 0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	got, want := e.Totals(), rec.Totals[1]
	if got.Requests != want.Requests || got.GenerationTokens != want.GenerationTokens || got.Steps != want.Steps {
		t.Errorf("on the wall clock\n%+v\nrecorded\n%+v", got, want)
	}
	if n := read(t, e).value("vllm:generation_tokens_total"); n != float64(want.GenerationTokens) {
		t.Errorf("%v tokens on the page, want %d", n, want.GenerationTokens)
	}
	if err := e.Generate(t.Context()); err == nil {
		t.Error("the scenario ran twice")
	}
}
