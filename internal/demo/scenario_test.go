package demo

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/vobs/vobs/schema"
)

// outcome is what became of a scenario.
type outcome struct {
	figures // of the last page
	s       Scenario
	rec     *Recording
	totals  Totals // of the last server process

	steps, fullSteps int // that scheduled something; that used the whole token budget
	tokens           int // scheduled
	leaked           int // references to blocks that were never dropped
	loadTokens       float64
	itl              []float64
}

// outcomeOf runs a scenario, with its settings changed, and checks what holds after every
// step.
func outcomeOf(t *testing.T, name string, change func(*Scenario)) *outcome {
	t.Helper()
	s, err := FindScenario(name)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	o := &outcome{s: *s.filled()}
	cores := map[*core]bool{}
	o.rec, err = record(*s, 3, 5*time.Second, func(c *core, st *stepRecord) {
		cores[c] = true
		if st.tokens > c.set.MaxNumBatchedTokens || st.tokens < 0 {
			t.Fatalf("%s: a step of %d tokens, budget %d", name, st.tokens, c.set.MaxNumBatchedTokens)
		}
		if st.running > c.set.MaxNumSeqs || len(c.plan) > c.set.MaxNumSeqs || st.deferred > st.waiting || st.loading > st.deferred {
			t.Fatalf("%s: %d running of %d, %d waiting, %d deferred, %d loading", name, st.running, c.set.MaxNumSeqs, st.waiting, st.deferred, st.loading)
		}
		if st.usage < 0 || st.usage > 1 || c.pool.free < 0 {
			t.Fatalf("%s: usage %v, %d blocks free", name, st.usage, c.pool.free)
		}
		if st.tokens > 0 {
			o.steps++
			o.tokens += st.tokens
		}
		if st.tokens == c.set.MaxNumBatchedTokens {
			o.fullSteps++
		}
		if c.now <= s.Load.Seconds {
			o.loadTokens += float64(st.prompt + st.generated)
		}
		o.itl = append(o.itl, st.interTokenLatency...)
	})
	if err != nil {
		t.Fatal(err)
	}
	for c := range cores {
		o.leaked += c.leaked
	}
	o.totals = o.rec.Totals[len(o.rec.Totals)-1]
	o.figures = figures{t, parse(t, o.rec.Pages[len(o.rec.Pages)-1].Text)}
	return o
}

// throughput is in prompt and generated tokens per second, while the clients sent.
func (o *outcome) throughput() float64 { return o.loadTokens / o.s.Load.Seconds }

func (o *outcome) mean(name string) float64 {
	count, sum := o.dist(name)
	return sum / count
}

// itlRatio is the 99th percentile of the inter-token latencies, in medians.
func (o *outcome) itlRatio() float64 {
	slices.Sort(o.itl)
	return o.itl[len(o.itl)*99/100] / o.itl[len(o.itl)/2]
}

// cpu is the share of a core that the API server used while the clients sent.
func (o *outcome) cpu() float64 {
	first := figures{o.t, parse(o.t, o.rec.Pages[0].Text)}
	last := o.rec.Pages[len(o.rec.Pages)-1].At.Sub(o.rec.Pages[0].At).Seconds()
	return (o.value("process_cpu_seconds_total") - first.value("process_cpu_seconds_total")) / last
}

// What every scenario keeps to, whatever goes wrong in it: each request ends once, the page
// agrees with the clients, and all blocks are free in the end.
func TestScenarioConservation(t *testing.T) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			o := outcomeOf(t, s.Name, nil)
			requests, ended, disconnected := 0, 0, 0
			for _, tot := range o.rec.Totals {
				requests += tot.Requests
				disconnected += tot.Disconnected
				for _, n := range tot.Finished {
					ended += n
				}
			}
			if requests == 0 || ended+disconnected+o.rec.Lost != requests {
				t.Errorf("%d requests: %d ended, %d disconnected, %d lost", requests, ended, disconnected, o.rec.Lost)
			}
			if restarts := len(o.rec.Totals) - 1; (o.rec.Lost+o.rec.Refused > 0) != (restarts > 0) || (restarts > 0) != (s.Faults.RestartTime > 0) {
				t.Errorf("%d restarts, %d lost, %d refused", restarts, o.rec.Lost, o.rec.Refused)
			}
			o.checkPage()
			if usage := o.value("vllm:kv_cache_usage_perc"); (usage > 0) != (s.Faults.LeakedRequests > 0) || (o.leaked > 0) != (usage > 0) {
				t.Errorf("usage %v at the end, %d references leaked", usage, o.leaked)
			}
			o.checkPages()
			// That the clients are the limit means the same in each scenario.
			tot := o.totals
			client := tot.QueueSeconds < 0.01*tot.E2ESeconds && float64(tot.RunningPeak) < 0.8*float64(o.s.MaxNumSeqs) && tot.KVUsagePeak < 0.8
			if s.Truth.Binding == schema.BindingClient && (!client || tot.Preemptions > 0) {
				t.Errorf("the clients are no limit: %+v", tot)
			}
			// With a slow API server, nothing waits in the engine either.
			if s.Truth.Binding != schema.BindingClient && s.Truth.Binding != schema.BindingFrontend && client {
				t.Errorf("the clients are the limit: %+v", tot)
			}
		})
	}
}

// checkPage compares the last page with the clients' counts.
func (o *outcome) checkPage() {
	t, tot := o.t, o.totals
	t.Helper()
	same := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9*math.Max(1, math.Abs(want)) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	finished := 0
	for _, reason := range []string{"stop", "length", "abort", "error", "repetition"} {
		same(reason, o.value("vllm:request_success_total", "finished_reason", reason), float64(tot.Finished[reason]))
		finished += tot.Finished[reason]
	}
	same("prompt tokens", o.value("vllm:prompt_tokens_total"), float64(tot.PromptTokens))
	for source, want := range map[string]int{"local_compute": tot.ComputedTokens, "local_cache_hit": tot.CachedTokens, "external_kv_transfer": tot.ExternalTokens} {
		same(source, o.value("vllm:prompt_tokens_by_source_total", "source", source), float64(want))
	}
	same("cached", o.value("vllm:prompt_tokens_cached_total"), float64(tot.CachedTokens+tot.ExternalTokens))
	same("generated", o.value("vllm:generation_tokens_total"), float64(tot.GenerationTokens))
	queries := tot.QueriedTokens
	if o.s.NoPrefixCaching {
		queries = 0
	}
	same("queries", o.value("vllm:prefix_cache_queries_total"), float64(queries))
	same("hits", o.value("vllm:prefix_cache_hits_total"), float64(tot.HitTokens))
	same("preemptions", o.value("vllm:num_preemptions_total"), float64(tot.Preemptions))
	same("by tier", o.value("vllm:prompt_tokens_cached_by_source_total"), o.value("vllm:prefix_cache_hits_total")+o.value("vllm:external_prefix_cache_hits_total"))
	same("drafted", float64(tot.DraftTokens), o.optional("vllm:spec_decode_num_draft_tokens_total"))
	same("accepted", float64(tot.AcceptedTokens), o.optional("vllm:spec_decode_num_accepted_tokens_total"))
	for name, want := range map[string]float64{
		"vllm:e2e_request_latency_seconds": tot.E2ESeconds, "vllm:request_queue_time_seconds": tot.QueueSeconds,
		"vllm:request_prefill_time_seconds": tot.PrefillSeconds, "vllm:request_decode_time_seconds": tot.DecodeSeconds,
	} {
		count, sum := o.dist(name)
		same(name+" count", count, float64(finished))
		same(name+" sum", sum, want)
	}
	first, ttft := o.dist("vllm:time_to_first_token_seconds")
	if tot.Disconnected == 0 {
		same("first tokens", first, float64(finished))
		same("TTFT", ttft, tot.TTFTSeconds)
	} else if first <= float64(finished) || first > float64(finished+tot.Disconnected) {
		t.Errorf("%v first tokens, %d finished, %d disconnected", first, finished, tot.Disconnected)
	}
	same("http requests", o.value("http_requests_total"), float64(finished+tot.Disconnected))
	same("http errors", o.value("http_requests_total", "status", "5xx"), float64(tot.Finished["error"]))
	for _, gauge := range []string{"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:num_requests_waiting_by_reason"} {
		same(gauge, o.value(gauge), 0)
	}
}

// optional is value for a family that the page may lack.
func (o *outcome) optional(name string) float64 {
	if o.fs[name] == nil {
		return 0
	}
	return o.value(name)
}

// checkPages checks that the recording begins before the first request, that its pages are
// at equal intervals, but for a server that is down, and that a counter decreases only when
// the server has died.
func (o *outcome) checkPages() {
	o.t.Helper()
	first := figures{o.t, parse(o.t, o.rec.Pages[0].Text)}
	if n := first.value("vllm:request_success_total") + first.value("vllm:generation_tokens_total"); n != 0 || !o.rec.Pages[0].At.Equal(RecordedFrom) {
		o.t.Errorf("first page at %v: counters %v", o.rec.Pages[0].At, n)
	}
	gaps, resets := 0, 0
	var before map[string]float64
	for _, p := range o.rec.Pages {
		counters, reset := map[string]float64{}, false
		for line := range strings.Lines(string(p.Text)) {
			series, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if name, _, _ := strings.Cut(series, "{"); !strings.HasSuffix(name, "_total") && !strings.HasSuffix(name, "_bucket") && !strings.HasSuffix(name, "_sum") {
				continue
			}
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				o.t.Fatalf("%s: %v", line, err)
			}
			reset = reset || v < before[series]
			counters[series] = v
		}
		before = counters
		if reset {
			resets++
		}
	}
	if resets != len(o.rec.Totals)-1 {
		o.t.Errorf("counters decreased %d times, with %d server processes", resets, len(o.rec.Totals))
	}
	for i, p := range o.rec.Pages[1:] {
		switch p.At.Sub(o.rec.Pages[i].At) {
		case 5 * time.Second:
		case 10 * time.Second:
			gaps++
		default:
			o.t.Errorf("a page at %v after one at %v", p.At, o.rec.Pages[i].At)
		}
	}
	if down := o.s.Faults.RestartTime > 0; (gaps > 0) != down {
		o.t.Errorf("%d gaps", gaps)
	}
}

// The same scenario and seed give the same bytes, another seed others.
func TestRecordIsDeterministic(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"restart", "aborts", "offload", "imbalance"} {
		s, err := FindScenario(name)
		if err != nil {
			t.Fatal(err)
		}
		s.Load.Seconds, s.Faults.RestartAt = 20, 8
		run := func(seed int64) *Recording {
			rec, err := Record(*s, seed, 4*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			return rec
		}
		a, b, c := run(1), run(1), run(2)
		if !slices.EqualFunc(a.Pages, b.Pages, func(x, y Page) bool { return x.At.Equal(y.At) && bytes.Equal(x.Text, y.Text) }) {
			t.Errorf("%s: the same seed gave two recordings", name)
		}
		if bytes.Equal(a.Pages[len(a.Pages)-1].Text, c.Pages[len(c.Pages)-1].Text) {
			t.Errorf("%s: two seeds gave the same recording", name)
		}
	}
}

// notOnThePage are the findings that no metrics page shows: they need the GPU, the host or
// the preset of the production document.
var notOnThePage = []schema.FindingCode{
	schema.FindingGPUMemoryGrowth, schema.FindingCPUBoundHost, schema.FindingThrottledGPU, schema.FindingGPUUnderfed, schema.FindingLongRunningRequests,
}

// The table's truths are complete and do not contradict themselves.
func TestScenarioTruths(t *testing.T) {
	found := map[schema.FindingCode]bool{}
	names := map[string]bool{}
	for _, s := range Scenarios() {
		if names[s.Name] || s.Name != strings.ToLower(s.Name) || s.Doc == "" || s.Truth.Why == "" || strings.Contains(s.Doc+s.Truth.Why, "\n") {
			t.Errorf("scenario %q: %q, %q", s.Name, s.Doc, s.Truth.Why)
		}
		names[s.Name] = true
		tr := s.Truth
		if tr.Binding == "" || slices.Contains(tr.AlsoRight, tr.Binding) {
			t.Errorf("%s: binding %q, also right %q", s.Name, tr.Binding, tr.AlsoRight)
		}
		for _, f := range tr.Findings {
			found[f] = true
			if slices.Contains(tr.Permitted, f) {
				t.Errorf("%s: %s is both expected and permitted", s.Name, f)
			}
		}
		if client := slices.Contains(slices.Concat(tr.Findings, tr.Permitted), schema.FindingClientLimited); client != (tr.Binding == schema.BindingClient) {
			t.Errorf("%s: binding %s, client_limited %v", s.Name, tr.Binding, client)
		}
	}
	for _, f := range []schema.FindingCode{
		schema.FindingKVCacheThrashing, schema.FindingConcurrencyCap, schema.FindingTokenBudgetBound, schema.FindingPrefillDecodeInterference, schema.FindingAdmissionStalled,
		schema.FindingFrontendBound, schema.FindingClientLimited, schema.FindingPrefixCacheIneffective, schema.FindingKVNotReleased, schema.FindingHostMemoryLeak, schema.FindingOffloadBound,
		schema.FindingKVTransferFailures, schema.FindingSpeculativeWaste, schema.FindingReplicaImbalance, schema.FindingEngineErrors, schema.FindingEngineRestarts, schema.FindingAbortedRequests,
	} {
		if !found[f] || slices.Contains(notOnThePage, f) {
			t.Errorf("no scenario is about %s", f)
		}
	}
	if _, err := FindScenario("nonsense"); err == nil || !strings.Contains(err.Error(), "healthy, low-traffic") {
		t.Errorf("unknown scenario: %v", err)
	}
}

// A scenario without a load, or with one that does not fit its server, is refused.
func TestScenarioCheck(t *testing.T) {
	for name, change := range map[string]func(*Scenario){
		"no load":         func(s *Scenario) { s.Load.Rate = 0 },
		"two loads":       func(s *Scenario) { s.Load.Clients = 3 },
		"no time":         func(s *Scenario) { s.Load.Seconds = 0 },
		"no kinds":        func(s *Scenario) { s.Load.Kinds = nil },
		"too many shares": func(s *Scenario) { s.Load.Shares = []float64{0.5, 0.5} },
		"too few blocks":  func(s *Scenario) { s.NumGPUBlocks = 20 },
		"long drafts":     func(s *Scenario) { s.NumSpeculativeTokens = maxDraftTokens + 1 },
		"small budget":    func(s *Scenario) { s.MaxNumBatchedTokens = s.MaxNumSeqs - 1 },
	} {
		s, err := FindScenario("healthy")
		if err != nil {
			t.Fatal(err)
		}
		change(s)
		if _, err := Record(*s, 0, time.Second); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Record(Scenarios()[0], 0, 0); err == nil {
		t.Error("no interval: no error")
	}
}

// A scenario's families have vLLM's order: those of a KV connector come before the
// scheduler's.
func TestConnectorFamilies(t *testing.T) {
	for name, want := range map[string][]string{
		"offload":              {"vllm:kv_offload_total_bytes_total", "vllm:kv_offload_load_bytes_total", "vllm:kv_offload_load_size", "vllm:kv_offload_store_size"},
		"kv-transfer-failures": {"vllm:nixl_xfer_time_seconds", "vllm:nixl_num_failed_transfers_total", "vllm:nixl_num_kv_expired_reqs_total"},
		"healthy":              nil,
	} {
		o := outcomeOf(t, name, func(s *Scenario) { s.Load.Seconds = 10 })
		page := o.rec.Pages[len(o.rec.Pages)-1].Text
		skeletons(t, string(page))
		at := 0
		for _, family := range append(want, "vllm:estimated_flops_per_gpu_total", "vllm:num_requests_running", "vllm:num_requests_waiting_by_reason") {
			i := bytes.Index(page[at:], []byte("# HELP "+family+" "))
			if i < 0 {
				t.Fatalf("%s: %s is not on the page, or in another order", name, family)
			}
			at += i
		}
		if stages := o.fs["vllm:num_requests_kv_fetch_by_stage"] != nil; stages != (want != nil) || (o.fs["vllm:nixl_bytes_transferred"] != nil) != (name == "kv-transfer-failures") {
			t.Errorf("%s: kv_fetch_by_stage %v", name, stages)
		}
	}
}

// label returns the value of a label of a family's only series.
func label(t *testing.T, f *dto.MetricFamily, name string) string {
	t.Helper()
	for _, l := range f.GetMetric()[0].Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	t.Fatalf("%s has no label %s", f.GetName(), name)
	return ""
}

func jsonNumber(key string, n int) string { return `"` + key + `":` + strconv.Itoa(n) }

// What the server was started with is on its page, and at /server_info.
func TestScenarioSettingsAreVisible(t *testing.T) {
	for _, s := range Scenarios() {
		s.Load.Seconds, s.Load.Idle, s.Faults = 5, 0, Faults{}
		e, err := New(Config{Scenario: &s, DevMode: true, Duration: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		set := s.filled()
		info := get(t, e, "/server_info?config_format=json").Body.String()
		want := []string{
			jsonNumber("max_num_seqs", set.MaxNumSeqs), jsonNumber("max_num_batched_tokens", set.MaxNumBatchedTokens),
			jsonNumber("num_gpu_blocks", set.Engines*set.NumGPUBlocks), jsonNumber("data_parallel_size", set.Engines),
		}
		if set.NoPrefixCaching {
			want = append(want, `"enable_prefix_caching":false`)
		}
		if n := set.NumSpeculativeTokens; n > 0 {
			want = append(want, jsonNumber("num_speculative_tokens", n))
		}
		for _, w := range want {
			if !strings.Contains(info, w) {
				t.Errorf("%s: %s is not in /server_info: %s", s.Name, w, info)
			}
		}
		fs := parse(t, get(t, e, "/metrics").Body.Bytes())
		if got := label(t, fs["vllm:cache_config_info"], "enable_prefix_caching"); got != pythonBool(!set.NoPrefixCaching) {
			t.Errorf("%s: enable_prefix_caching %s", s.Name, got)
		}
	}
}

// A recording ends with an error if the requests do not: here the leak takes all blocks.
func TestRecordOfAnEndlessScenario(t *testing.T) {
	s, err := FindScenario("leak")
	if err != nil {
		t.Fatal(err)
	}
	s.Faults.LeakedRequests, s.NumGPUBlocks, s.Load.Seconds, s.Load.Idle = 1, 201, 10, 1
	if _, err := Record(*s, 0, time.Second); err == nil || !strings.Contains(err.Error(), "still left") {
		t.Errorf("error %v", err)
	}
}
