package probe

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// The pages of engines that could not be run here are hand-made from vLLM's sources at their
// tags: vllm/v1/metrics/loggers.py and, for the engine before V1, vllm/engine/metrics.py
// (0.8 to 0.10). They have only what vobs reads, and what could be mistaken for that.

// oldPage is such a page. load is how many requests it has served.
type oldPage struct {
	strings.Builder
	labels string // of every series
	load   int
}

func (p *oldPage) series(kind, family, name, labels string, value float64) {
	if !strings.Contains(p.String(), "# TYPE vllm:"+family+" ") {
		fmt.Fprintf(p, "# HELP vllm:%s made by hand\n# TYPE vllm:%s %s\n", family, family, kind)
	}
	fmt.Fprintf(p, "vllm:%s{%s%s} %v\n", name, p.labels, labels, value)
}

// counter adds a counter that each request increases by each.
func (p *oldPage) counter(name string, each int, labels string) {
	p.series("counter", name, name, labels, float64(each*p.load))
}

func (p *oldPage) gauge(name string, value float64) { p.series("gauge", name, name, "", value) }

// histogram adds a histogram in which each request observes value, times times.
func (p *oldPage) histogram(name string, value float64, times int, bounds ...float64) {
	n := float64(p.load * times)
	for _, le := range bounds {
		count := 0.0
		if value <= le {
			count = n
		}
		p.series("histogram", name, name+"_bucket", fmt.Sprintf(`,le="%v"`, le), count)
	}
	p.series("histogram", name, name+"_bucket", `,le="+Inf"`, n)
	p.series("histogram", name, name+"_count", "", n)
	p.series("histogram", name, name+"_sum", "", value*n)
}

// latencies adds the histograms that have one name in every version, with latencies of 0.5 s.
func (p *oldPage) latencies() {
	for _, name := range []string{"time_to_first_token_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds", "request_prefill_time_seconds", "request_decode_time_seconds", "request_inference_time_seconds"} {
		p.histogram(name, 0.5, 1, 0.25, 0.75)
	}
	p.histogram("request_prompt_tokens", 100, 1, 50, 100, 200)
	p.histogram("request_generation_tokens", 11, 1, 10, 20)
	p.histogram("iteration_tokens_total", 37, 3, 32, 64)
}

// common adds what all versions have.
func (p *oldPage) common(running, usage float64) {
	p.gauge("num_requests_running", running)
	p.gauge("num_requests_waiting", 0)
	p.gauge("gpu_cache_usage_perc", usage)
	p.counter("num_preemptions_total", 0, "")
	p.counter("prompt_tokens_total", 100, "")
	p.counter("generation_tokens_total", 11, "")
	p.counter("request_success_total", 1, `,finished_reason="stop"`)
	p.counter("request_success_total", 0, `,finished_reason="length"`)
	p.histogram("time_per_output_token_seconds", 0.02, 10, 0.01, 0.025)
	p.latencies()
	fmt.Fprintf(p, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.7e+09\n")
}

// page085 is a page of vLLM 0.8.5, V1: the prefix cache counts blocks, and num_gpu_blocks
// is missing.
func page085(load int, running, usage float64) string {
	p := &oldPage{labels: `engine="0",model_name="old"`, load: load}
	p.common(running, usage)
	p.counter("gpu_prefix_cache_queries_total", 6, "")
	p.counter("gpu_prefix_cache_hits_total", 3, "")
	p.counter("spec_decode_num_drafts_total", 4, "")
	p.counter("spec_decode_num_draft_tokens_total", 12, "")
	p.counter("spec_decode_num_accepted_tokens_total", 6, "")
	p.counter("spec_decode_num_accepted_tokens_per_pos_total", 4, `,position="0"`)
	p.counter("spec_decode_num_accepted_tokens_per_pos_total", 2, `,position="1"`)
	p.counter("spec_decode_num_accepted_tokens_per_pos_total", 0, `,position="2"`)
	fmt.Fprintf(p, "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{block_size=\"16\",cache_dtype=\"auto\",enable_prefix_caching=\"True\",engine=\"0\",num_cpu_blocks=\"None\",num_gpu_blocks=\"None\"} 1.0\n")
	return p.String()
}

// page085V0 is a page of vLLM 0.8.5 with VLLM_USE_V1=0: no engine label, hit rates as
// gauges, drafts not counted.
func page085V0(load int, running, usage float64) string {
	p := &oldPage{labels: `model_name="old"`, load: load}
	p.common(running, usage)
	p.gauge("num_requests_swapped", 0)
	p.gauge("cpu_cache_usage_perc", 0.75)
	p.gauge("gpu_prefix_cache_hit_rate", 0.9)
	p.gauge("cpu_prefix_cache_hit_rate", -1)
	p.gauge("spec_decode_draft_acceptance_rate", 0.9)
	p.gauge("spec_decode_efficiency", 0.9)
	p.counter("spec_decode_num_accepted_tokens_total", 6, "")
	p.counter("spec_decode_num_draft_tokens_total", 12, "")
	p.counter("spec_decode_num_emitted_tokens_total", 10, "")
	p.histogram("time_in_queue_requests", 9, 1, 1)
	p.histogram("model_forward_time_milliseconds", 9, 1, 1)
	fmt.Fprintf(p, "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{block_size=\"16\",cache_dtype=\"auto\",enable_prefix_caching=\"False\",num_cpu_blocks=\"2048\",num_gpu_blocks=\"1000\"} 1.0\n")
	return p.String()
}

// page0102 is a page of vLLM 0.10.2: old and new names together, with equal values, in
// tokens.
func page0102(load int, running, usage float64) string {
	p := &oldPage{labels: `engine="0",model_name="old"`, load: load}
	p.common(running, usage)
	p.gauge("kv_cache_usage_perc", usage)
	for _, name := range []string{"gpu_prefix_cache", "prefix_cache"} {
		p.counter(name+"_queries_total", 100, "")
		p.counter(name+"_hits_total", 48, "")
	}
	p.histogram("inter_token_latency_seconds", 0.02, 10, 0.01, 0.025)
	fmt.Fprintf(p, "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{block_size=\"16\",cache_dtype=\"auto\",enable_prefix_caching=\"True\",engine=\"0\",num_cpu_blocks=\"0\",num_gpu_blocks=\"1000\"} 1.0\n")
	return p.String()
}

func TestGoldenVersions(t *testing.T) {
	for _, c := range []struct {
		name, version string
		page          func(load int, running, usage float64) string
		blocks        string // the reason for no num_gpu_blocks
		queries       int64  // of the prefix cache; 0: null
		hits          int64
		codes         string
		length        bool // there is an acceptance length
		engine        bool // there is an engine label
	}{
		{"vllm_0.8.5", "0.8.5", page085, `num_gpu_blocks="None"`, 6 * 40, 3 * 40, "prefix_cache_in_blocks", true, true},
		{"vllm_0.8.5_v0", "0.8.5", page085V0, "", 0, 0, "", false, false},
		{"vllm_0.10.2", "0.10.2", page0102, "", 100 * 40, 48 * 40, "", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
			pl.version = c.version
			pl.run(runPages{c.page(10, 0, 0), c.page(30, 4, 0.5), c.page(50, 0, 0)})
			report := pl.report(10)
			g := report.Engine
			if *g.Tokens.Prompt != 4000 || *g.Tokens.Generation != 440 || g.Requests.Finished["stop"] != 40 || *g.Requests.Running.Peak != 4 {
				t.Errorf("%s %s", testkit.JSON(g.Tokens), testkit.JSON(g.Requests))
			}
			if u := g.KVCache.Usage; *u.Peak != 0.5 || *report.KVCacheUsagePerc != 0 {
				t.Errorf("usage %s", testkit.JSON(u))
			}
			// One observation between each two tokens, under the old name or the new one.
			if d := g.LatencySeconds.InterTokenLatency; d == nil || d.Count != 400 || !testkit.Near(d.Mean, 0.02) {
				t.Errorf("inter-token latency %s", testkit.JSON(d))
			}
			// It is a mean of requests' means, which other families do not have.
			if d := g.LatencySeconds.TimePerOutputToken; d != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.latency_seconds.time_per_output_token"), "does not export vllm:request_time_per_output_token_seconds") {
				t.Errorf("time per output token %s", testkit.JSON(d))
			}
			if d := g.LatencySeconds.E2ERequestLatency; d == nil || d.Count != 40 || !testkit.Near(d.Mean, 0.5) || !testkit.Near(d.P50Est, 0.5) {
				t.Errorf("E2E %s", testkit.JSON(d))
			}
			if h := g.PrefixCache.Local; (h == nil) != (c.queries == 0) || h != nil && (h.Queries != c.queries || h.Hits != c.hits || !testkit.Near(report.PrefixCacheHitRate, float64(c.hits)/float64(c.queries))) {
				t.Errorf("prefix cache %s", testkit.JSON(h))
			}
			// Every recorded run has 40 requests.
			if got, want := testkit.Codes(report.Notes), strings.TrimSpace(c.codes+" few_requests"); got != want {
				t.Errorf("doubts %q, want %q", got, want)
			}
			if why := testkit.Reason(report.Notes, "engine.kv_cache.num_gpu_blocks"); (g.KVCache.NumGPUBlocks == nil) != (c.blocks != "") || !strings.Contains(why, c.blocks) {
				t.Errorf("blocks %s %q", testkit.JSON(g.KVCache), why)
			}
			if c.version == "0.8.5" {
				s := g.Speculative
				if s == nil || *s.DraftTokens != 480 || *s.AcceptedTokens != 240 || *report.SpecAcceptRate != 0.5 || (s.AcceptanceLength != nil) != c.length || !c.length && !strings.Contains(testkit.Reason(report.Notes, "engine.speculative.acceptance_length"), "is unknown") {
					t.Errorf("speculation %s %q", testkit.JSON(s), testkit.Reason(report.Notes, "engine.speculative.acceptance_length"))
				}
			}
			if in := g.Instances; len(in) != 1 || (in[0].Engine != nil) != c.engine || *in[0].GenerationTokens != 440 || *in[0].RequestsRunningPeak != 4 {
				t.Errorf("instances %s", testkit.JSON(in))
			}
			goldenReport(t, c.name, report)
		})
	}
}

// The version shows whether the prefix cache counts blocks or tokens. They are never added
// up.
func TestPrefixCacheUnits(t *testing.T) {
	for _, c := range []struct {
		versions []string
		pages    []func(load int, running, usage float64) string
		queries  int64 // -1: null
		note     string
	}{
		{[]string{"0.8.5"}, []func(int, float64, float64) string{page085}, 240, "has blocks, not tokens"},
		{[]string{"v0.8.5+cpu"}, []func(int, float64, float64) string{page085}, 240, "has blocks, not tokens"},
		{[]string{""}, []func(int, float64, float64) string{page085}, 240, "its version is unknown"},
		{[]string{"0.9.1"}, []func(int, float64, float64) string{page085}, 240, ""},
		{[]string{"0.8.5", "0.8.4"}, []func(int, float64, float64) string{page085, page085}, 480, "has blocks, not tokens"},
		{[]string{"0.8.5", "0.10.2"}, []func(int, float64, float64) string{page085, page0102}, -1, ""},
		{[]string{"", "0.10.2"}, []func(int, float64, float64) string{page085, page0102}, -1, ""},
		{[]string{"0.9.1", "0.10.2"}, []func(int, float64, float64) string{page085, page0102}, 4240, ""},
	} {
		name := strings.Join(c.versions, " and ")
		var targets []scrape.Target
		var runs []runPages
		for i, page := range c.pages {
			targets = append(targets, target(t, fmt.Sprintf("http://127.0.0.1:%d", 8000+i)))
			runs = append(runs, runPages{page(10, 0, 0), page(30, 4, 0.5), page(50, 0, 0)})
		}
		pl := newPlayer(t, targets...)
		pl.run(runs...)
		for i, v := range c.versions {
			pl.p.endpoints[i].version = v
		}
		report := pl.report(10)
		h := report.Engine.PrefixCache.Local
		var note schema.Validity
		for _, v := range report.Notes.Validity {
			if v.Code == "prefix_cache_in_blocks" {
				note = v
			}
		}
		if (h == nil) != (c.queries < 0) || h != nil && h.Queries != c.queries || (note.Code != "") != (c.note != "") || !strings.Contains(note.Message, c.note) {
			t.Errorf("%s: %s, %+v", name, testkit.JSON(h), note)
		}
		if c.queries < 0 && (report.PrefixCacheHitRate != nil || !strings.Contains(testkit.Reason(report.Notes, "prefix_cache_hit_rate"), "in blocks")) {
			t.Errorf("%s: %q", name, testkit.Reason(report.Notes, "prefix_cache_hit_rate"))
		}
	}
}
