package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// figures returns sums over a page's series.
type figures struct {
	t  *testing.T
	fs map[string]*dto.MetricFamily
}

func read(t *testing.T, e *Engine) figures {
	t.Helper()
	return figures{t, parse(t, get(t, e, "/metrics").Body.Bytes())}
}

// value adds up the series of a counter or gauge that have the label pair.
func (f figures) value(name string, pair ...string) (sum float64) {
	f.t.Helper()
	if f.fs[name] == nil {
		f.t.Fatalf("no family %s", name)
	}
	for _, m := range f.fs[name].Metric {
		ok := len(pair) == 0
		for _, l := range m.Label {
			ok = ok || l.GetName() == pair[0] && l.GetValue() == pair[1]
		}
		if ok {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// dist adds up the series of a histogram; its +Inf bucket must equal its count.
func (f figures) dist(name string) (count, sum float64) {
	f.t.Helper()
	for _, m := range f.fs[name].GetMetric() {
		h := m.GetHistogram()
		if b := h.Bucket[len(h.Bucket)-1]; !math.IsInf(b.GetUpperBound(), 1) || b.GetCumulativeCount() != h.GetSampleCount() {
			f.t.Errorf("%s: last bucket %v for count %d", name, b, h.GetSampleCount())
		}
		count += float64(h.GetSampleCount())
		sum += h.GetSampleSum()
	}
	return count, sum
}

// The identities that hold on a real engine hold here, and the page agrees with Totals,
// for one engine and several, with and without speculation, over two phases.
func TestIdentities(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"default":       func(*Config) {},
		"plain":         func(c *Config) { c.Speculative = false },
		"three engines": func(c *Config) { c.Engines, c.Requests = 3, 100 },
		"more engines than requests": func(c *Config) {
			c.Engines, c.Requests = 4, 3
		},
		"tight":      func(c *Config) { c.NumGPUBlocks = 200 },
		"one token":  func(c *Config) { c.MaxTokens = 1 },
		"big blocks": func(c *Config) { c.BlockSize, c.NumGPUBlocks = 784, 60 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := quick()
			change(&cfg)
			e := drained(t, cfg)
			checkIdentities(t, e, &cfg)
			before := e.Totals()
			if err := e.Generate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := e.Totals().Requests; n != 2*before.Requests {
				t.Errorf("%d requests after two phases of %d", n, before.Requests)
			}
			checkIdentities(t, e, &cfg)
		})
	}
}

func checkIdentities(t *testing.T, e *Engine, cfg *Config) {
	t.Helper()
	f, tot := read(t, e), e.Totals()
	same := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9*math.Max(1, math.Abs(want)) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	requests := float64(tot.Requests)
	prompt, generated := f.value("vllm:prompt_tokens_total"), f.value("vllm:generation_tokens_total")
	computed := f.value("vllm:prompt_tokens_by_source_total", "source", "local_compute")
	hit := f.value("vllm:prompt_tokens_by_source_total", "source", "local_cache_hit")

	same("prompt tokens", prompt, float64(tot.PromptTokens))
	same("computed", computed, float64(tot.ComputedTokens))
	same("cached", hit, float64(tot.CachedTokens))
	same("by source", f.value("vllm:prompt_tokens_by_source_total"), prompt)
	same("cached prompt tokens", f.value("vllm:prompt_tokens_cached_total"), hit)
	same("cached by tier", f.value("vllm:prompt_tokens_cached_by_source_total"), f.value("vllm:prefix_cache_hits_total"))
	same("generated", generated, float64(tot.GenerationTokens))
	same("queries", f.value("vllm:prefix_cache_queries_total"), float64(tot.QueriedTokens))
	same("queries are prompt tokens", f.value("vllm:prefix_cache_queries_total"), prompt)
	same("hits", f.value("vllm:prefix_cache_hits_total"), float64(tot.HitTokens))
	same("preemptions", f.value("vllm:num_preemptions_total"), float64(tot.Preemptions))
	finished := 0
	for _, reason := range []string{"stop", "length", "abort", "error", "repetition"} {
		same(reason, f.value("vllm:request_success_total", "finished_reason", reason), float64(tot.Finished[reason]))
		finished += tot.Finished[reason]
	}
	same("finished", float64(finished), requests)

	sums := map[string]float64{
		"vllm:time_to_first_token_seconds": tot.TTFTSeconds, "vllm:e2e_request_latency_seconds": tot.E2ESeconds,
		"vllm:request_queue_time_seconds": tot.QueueSeconds, "vllm:request_prefill_time_seconds": tot.PrefillSeconds,
		"vllm:request_decode_time_seconds": tot.DecodeSeconds, "vllm:request_inference_time_seconds": tot.PrefillSeconds + tot.DecodeSeconds,
		"vllm:request_prompt_tokens": prompt, "vllm:request_generation_tokens": generated, "vllm:request_max_num_generation_tokens": generated,
		"vllm:request_params_n": requests, "vllm:request_params_max_tokens": requests * float64(cfg.MaxTokens),
		"vllm:request_num_preemptions": float64(tot.Preemptions), "vllm:request_prefill_kv_computed_tokens": computed,
	}
	for name, want := range sums {
		count, sum := f.dist(name)
		same(name+" count", count, requests)
		same(name+" sum", sum, want)
	}
	if n, _ := f.dist("vllm:request_time_per_output_token_seconds"); n != requests {
		t.Errorf("%v requests with a time per token", n)
	}
	_, iteration := f.dist("vllm:iteration_tokens_total")
	same("iteration tokens", iteration, computed+generated)
	itl, itlSum := f.dist("vllm:inter_token_latency_seconds")
	same("inter-token latencies' sum", itlSum, tot.DecodeSeconds)
	if !cfg.Speculative {
		same("inter-token latencies", itl, generated-requests)
	} else {
		drafts, drafted, accepted := f.value("vllm:spec_decode_num_drafts_total"), f.value("vllm:spec_decode_num_draft_tokens_total"), f.value("vllm:spec_decode_num_accepted_tokens_total")
		same("drafts", drafts, float64(tot.Drafts))
		same("draft tokens", drafted, float64(tot.DraftTokens))
		same("accepted", accepted, float64(tot.AcceptedTokens))
		same("accepted by position", f.value("vllm:spec_decode_num_accepted_tokens_per_pos_total"), accepted)
		if accepted > drafted || drafts > drafted || drafted > 3*drafts || itl+requests+accepted < generated {
			t.Errorf("%v drafts, %v tokens, %v accepted, %v inter-token latencies, %v generated", drafts, drafted, accepted, itl, generated)
		}
	}
	for _, gauge := range []string{"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:num_requests_waiting_by_reason", "vllm:kv_cache_usage_perc"} {
		same(gauge, f.value(gauge), 0)
	}
	same("http requests", f.value("http_requests_total", "handler", "/v1/completions"), requests)
}

func TestSeedDeterminesTotals(t *testing.T) {
	a, b := drained(t, quick()).Totals(), drained(t, quick()).Totals()
	if !reflect.DeepEqual(a, b) {
		t.Errorf("the same seed gave\n%+v\n%+v", a, b)
	}
	cfg := quick()
	cfg.Seed = 5
	if c := drained(t, cfg).Totals(); c.GenerationTokens == a.GenerationTokens {
		t.Errorf("seeds 0 and 5 both generate %d tokens", c.GenerationTokens)
	}
	if a.KVUsagePeak <= 0.8 || a.Preemptions == 0 || a.WaitingPeak < 10 {
		t.Errorf("%+v", a)
	}
}

// A poller of a default run over a real connection sees the queue and the usage rise and
// fall, and the GPU's memory with its spike.
func TestRun(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Duration, cfg.Startup, cfg.Linger = 2*time.Second, 100*time.Millisecond, 300*time.Millisecond
	cfg.MemoryFile = filepath.Join(t.TempDir(), "used")
	var log bytes.Buffer
	cfg.Log = &log
	ready := make(chan net.Addr, 1)
	cfg.Ready = func(a net.Addr) { ready <- a }
	ended := make(chan error, 1)
	start := time.Now()
	go func() { ended <- Run(t.Context(), cfg) }()
	plan := cfg.Memory()
	if used := memoryUsed(t, cfg.MemoryFile); used >= plan.Loaded() && time.Since(start) < cfg.Startup/2 {
		t.Errorf("%d bytes used at once", used)
	}
	addr := <-ready
	used, up := memoryUsed(t, cfg.MemoryFile), time.Since(start)
	if up < cfg.Startup || used != plan.Loaded() && up < cfg.Startup+cfg.Duration/4 {
		t.Errorf("up after %v with %d bytes used", up, used)
	}

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	target := "http://" + addr.String() + "/metrics/?name[]=vllm:kv_cache_usage_perc&name[]=vllm:num_requests_waiting"
	var usage, waiting []float64
	var peak uint64
	spikes, looked, gap := 0, start.Add(up), time.Duration(0)
	var err error
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		select {
		case <-tick.C:
			used := memoryUsed(t, cfg.MemoryFile)
			gap, looked = max(gap, time.Since(looked)), time.Now()
			if used == plan.Peak() {
				spikes++
			}
			peak = max(peak, used)
			if resp, err := client.Get(target); err == nil {
				page, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil {
					continue // the server is ending
				}
				f := figures{t, parse(t, page)}
				usage = append(usage, f.value("vllm:kv_cache_usage_perc"))
				waiting = append(waiting, f.value("vllm:num_requests_waiting"))
			}
			continue
		case err = <-ended:
			tick.Stop()
		}
		break
	}
	gap = max(gap, time.Since(looked))
	took := time.Since(start)
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	if min := cfg.Startup + cfg.Duration + cfg.Linger; took < min || took > min+gap+up+2*time.Second {
		t.Errorf("took %v, want %v and little more", took, min)
	}
	high, queue := 0.0, 0.0
	for i := range usage {
		high, queue = math.Max(high, usage[i]), math.Max(queue, waiting[i])
	}
	// A virtual machine may stand still for seconds: what was not polled cannot have
	// been seen.
	t.Logf("%d polls, longest gap %v", len(usage), gap)
	if n := len(usage); gap < 200*time.Millisecond && (n < 10 || high < 0.8 || queue < 10 || usage[n-1] != 0 || waiting[n-1] != 0) {
		t.Errorf("%d polls, highest usage %v, longest queue %v, last %v and %v", n, high, queue, usage[n-1], waiting[n-1])
	}
	if (spikes == 0 || peak != plan.Peak()) && gap < spikeLength-5*time.Millisecond {
		t.Errorf("the spike was seen %d times, peak %d of %d", spikes, peak, plan.Peak())
	}
	if used := memoryUsed(t, cfg.MemoryFile); used != 0 {
		t.Errorf("%d bytes used after the end", used)
	}
	if !strings.Contains(log.String(), "simulated engine: serving vobs-demo/simulated-8b, metrics at http://127.0.0.1:") || !strings.Contains(log.String(), "served 110 requests") {
		t.Errorf("log:\n%s", log.String())
	}
}

// memoryUsed reads the file as the fake library does; it returns 0 before it exists.
func memoryUsed(t *testing.T, path string) uint64 {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || len(b) == 0 {
		return 0
	}
	if err != nil || len(b) != MemoryWidth {
		t.Fatalf("memory file: %q, %v", b, err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRunEndsWithContext(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]time.Duration{"loading": 20 * time.Millisecond, "generating": 250 * time.Millisecond} {
		cfg := DefaultConfig()
		cfg.Addr = "unix:" + filepath.Join(t.TempDir(), "s")
		cfg.Startup, cfg.Duration = 100*time.Millisecond, time.Minute
		cfg.MemoryFile = filepath.Join(t.TempDir(), "used")
		ctx, cancel := context.WithTimeout(t.Context(), when)
		start := time.Now()
		err := Run(ctx, cfg)
		cancel()
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > cfg.Duration/2 {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		if used := memoryUsed(t, cfg.MemoryFile); used != 0 {
			t.Errorf("%s: %d bytes used after the end", name, used)
		}
	}
	cfg := DefaultConfig()
	cfg.Startup, cfg.Addr = 0, "127.0.0.1:99999"
	if err := Run(t.Context(), cfg); err == nil {
		t.Error("an impossible address gave no error")
	}
}

func TestCloseEndsGenerateAndServe(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Duration = time.Minute
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	generated, served := make(chan error, 1), make(chan error, 1)
	go func() { served <- e.Serve(ln) }()
	go func() { generated <- e.Generate(t.Context()) }()
	for deadline := time.Now().Add(30 * time.Second); e.Totals().GenerationTokens == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("nothing is running")
			break
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := <-generated; !errors.Is(err, context.Canceled) {
		t.Errorf("Generate: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := e.Generate(t.Context()); err == nil {
		t.Error("Generate went on after Close")
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
