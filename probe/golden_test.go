package probe

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/schema"
)

// recorded are the runs of the recorded engines. Each page under load is the first page
// with all the peaks that were polled (in *_expected.md) and, but for serve_default, no
// tokens, so that rates are over the window.
var recorded = map[string]struct {
	pre, post string
	load      []string // lines that differ from pre under load
}{
	"serve_default": {"serve_default_pre", "serve_default_post", []string{
		`vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.002197399743636752`,
		`vllm:num_requests_running{engine="0",model_name="tiny"} 16.0`,
		`vllm:generation_tokens_total{engine="0",model_name="tiny"} 2800.0`,
	}},
	"serve_dp2": {"serve_dp2_pre", "serve_dp2_post", []string{
		`vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.001281816517121448`,
		`vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.0012207763537553758`,
		`vllm:num_requests_running{engine="0",model_name="tiny"} 9.0`,
		`vllm:num_requests_running{engine="1",model_name="tiny"} 8.0`,
	}},
	"serve_ngram": {"serve_ngram_pre", "serve_ngram_post", []string{
		`vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.0029298663248489287`,
		`vllm:num_requests_running{engine="0",model_name="tiny"} 11.0`,
		`vllm:num_requests_waiting{engine="0",model_name="tiny"} 5.0`,
	}},
	// An offline engine's multiprocess files, exported as a page. It counts from zero.
	"bench_throughput": {"", "bench_throughput", nil},
}

func playRecorded(t *testing.T, name string) aggregate.Output {
	t.Helper()
	c := recorded[name]
	tg := target(t, "http://127.0.0.1:8000")
	tg.Started = c.pre == ""
	pl := newPlayer(t, tg)
	if name == "serve_default" { // it ran with VLLM_SERVER_DEV_MODE=1
		pl.answers = map[configQuery]string{queryModels: recordedAnswer(t, "models"), queryServerInfo: recordedAnswer(t, "server_info")}
	}
	post := testkit.Recorded(t, c.post)
	pre, load := "", post
	if c.pre != "" {
		pre = testkit.Recorded(t, c.pre)
		load = testkit.SetValues(t, pre, c.load...)
	}
	pl.run(runPages{pre, load, post})
	return pl.report(10)
}

func TestGoldenRecordings(t *testing.T) {
	for name := range recorded {
		t.Run(name, func(t *testing.T) { goldenReport(t, name, playRecorded(t, name)) })
	}
}

// goldenReport compares a report to testdata/golden/NAME.json, which -update writes.
func goldenReport(t *testing.T, name string, report aggregate.Output) {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(struct {
		KVCacheUsagePerc    *schema.Float              `json:"kv_cache_usage_perc"`
		PrefixCacheHitRate  *schema.Float              `json:"prefix_cache_hit_rate"`
		SpecAcceptRate      *schema.Float              `json:"spec_accept_rate"`
		EngineRuntimeConfig schema.EngineRuntimeConfig `json:"engine_runtime_config"`
		Engine              *schema.Engine             `json:"engine"`
		Conditions          aggregate.Conditions       `json:"conditions"`
		Validity            []schema.Validity          `json:"validity"`
		Unavailable         []schema.Unavailable       `json:"unavailable"`
	}{report.KVCacheUsagePerc, report.PrefixCacheHitRate, report.SpecAcceptRate, report.EngineRuntimeConfig, report.Engine, report.Conditions, report.Notes.Validity, report.Notes.Unavailable}); err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, filepath.Join("testdata", "golden", name+".json"), out.Bytes())
}

// notRead matches the recorded families that no figure of the event is based on.
var notRead = regexp.MustCompile(`^vllm:(estimated_.*|num_requests_waiting_by_reason|engine_sleep_state|prompt_tokens_cached_total` +
	`|request_(max_num_generation_tokens|params_n|params_max_tokens|prefill_kv_computed_tokens)_(sum|count))$`)

// Every row of the tables that another program wrote for the recordings is either in the
// event or of a family that is not read.
func TestRecordedDeltas(t *testing.T) {
	for _, name := range []string{"serve_default", "serve_dp2", "serve_ngram"} {
		t.Run(name, func(t *testing.T) {
			table, err := os.ReadFile("../testdata/expositions/" + name + "_expected.md")
			if err != nil {
				t.Fatal(err)
			}
			report := playRecorded(t, name)
			want, instances, rows := map[string]float64{}, map[string]float64{}, 0
			line := regexp.MustCompile("^\\| `([a-z_:0-9]+)(?:\\{(.*)\\})?` \\| (\\w+) \\| \\S+ \\| (\\S+) \\| (\\S*) ?\\|$")
			for text := range strings.Lines(string(table)) {
				m := line.FindStringSubmatch(strings.TrimSuffix(text, "\n"))
				if m == nil {
					continue
				}
				rows++
				if notRead.MatchString(m[1]) {
					continue
				}
				labels, engine := m[2], ""
				if rest, ok := strings.CutPrefix(labels, `engine="`); ok {
					engine, labels = rest[:1], strings.TrimPrefix(rest[2:], ",")
				}
				if _, value, ok := strings.Cut(labels, "="); ok {
					labels = strings.Trim(value, `"`)
				}
				text := m[5]
				if m[3] == "gauge" {
					text = m[4] // the last reading
				}
				delta, err := strconv.ParseFloat(text, 64)
				if err != nil {
					t.Fatalf("%s: %v", m[0], err)
				}
				want[m[1]+" "+labels] += delta
				if engine != "" {
					instances[m[1]+" "+engine] += delta
				}
			}
			if rows < 60 {
				t.Fatalf("%d rows match, want at least 60", rows)
			}
			got := figuresOf(report)
			for sample, w := range want {
				if g, ok := got[sample]; !ok || math.Abs(g-w) > 2e-8*math.Max(math.Abs(w), 1e-3) {
					t.Errorf("%s: %v, want %v", sample, g, w)
				}
			}
			for sample, g := range got {
				if _, ok := want[sample]; !ok && g != 0 {
					t.Errorf("%s: %v, which is not in the table", sample, g)
				}
			}
			if (name == "serve_dp2") != (len(instances) > 0) {
				t.Fatalf("engines: %v", instances)
			}
			for i, in := range report.Engine.Instances {
				for sample, n := range map[string]*int64{"prompt_tokens_total": in.PromptTokens, "generation_tokens_total": in.GenerationTokens, "request_success_total": in.RequestsFinished} {
					if name == "serve_dp2" && (*in.Engine != strconv.Itoa(i) || float64(*n) != instances["vllm:"+sample+" "+*in.Engine]) {
						t.Errorf("engine %s: %d %s, want %v", *in.Engine, *n, sample, instances["vllm:"+sample+" "+*in.Engine])
					}
				}
			}
		})
	}
}

// figuresOf returns a report's figures by the samples that they are based on.
func figuresOf(report aggregate.Output) map[string]float64 {
	g := report.Engine
	got := map[string]float64{}
	one := func(sample string, n *int64) {
		if n != nil {
			got["vllm:"+sample+" "] = float64(*n)
		}
	}
	by := func(sample string, m map[string]int64) {
		for label, n := range m {
			got["vllm:"+sample+" "+label] = float64(n)
		}
	}
	of := func(family string, d *schema.Distribution) {
		if d == nil {
			d = &schema.Distribution{}
		}
		got["vllm:"+family+"_count "] = float64(d.Count)
		got["vllm:"+family+"_sum "] = float64(d.Sum)
	}
	last := func(sample string, x *schema.Float) { got["vllm:"+sample+" "] = float64(*x) }
	last("num_requests_running", g.Requests.Running.Last)
	last("num_requests_waiting", g.Requests.Waiting.Last)
	last("kv_cache_usage_perc", g.KVCache.Usage.Last)
	for name, c := range map[string]*schema.CacheHits{"prefix_cache": g.PrefixCache.Local, "external_prefix_cache": g.PrefixCache.External, "mm_cache": g.PrefixCache.Multimodal} {
		one(name+"_queries_total", &c.Queries)
		one(name+"_hits_total", &c.Hits)
	}
	one("num_preemptions_total", g.Requests.Preemptions)
	of("request_num_preemptions", g.Requests.PreemptionsPerRequest)
	by("admission_rejections_total", g.Requests.Rejected)
	by("request_success_total", g.Requests.Finished)
	one("prompt_tokens_total", g.Tokens.Prompt)
	by("prompt_tokens_by_source_total", g.Tokens.PromptBySource)
	by("prompt_tokens_cached_by_source_total", g.Tokens.PromptCachedBySource)
	one("generation_tokens_total", g.Tokens.Generation)
	of("request_prompt_tokens", g.Tokens.PromptPerRequest)
	of("request_generation_tokens", g.Tokens.GenerationPerRequest)
	of("iteration_tokens_total", g.Tokens.PerIteration)
	of("time_to_first_token_seconds", g.LatencySeconds.TimeToFirstToken)
	of("inter_token_latency_seconds", g.LatencySeconds.InterTokenLatency)
	of("request_time_per_output_token_seconds", g.LatencySeconds.TimePerOutputToken)
	of("e2e_request_latency_seconds", g.LatencySeconds.E2ERequestLatency)
	of("request_queue_time_seconds", g.LatencySeconds.RequestQueueTime)
	of("request_prefill_time_seconds", g.LatencySeconds.RequestPrefillTime)
	of("request_decode_time_seconds", g.LatencySeconds.RequestDecodeTime)
	of("request_inference_time_seconds", g.LatencySeconds.RequestInferenceTime)
	if s := g.Speculative; s != nil {
		one("spec_decode_num_drafts_total", s.Drafts)
		one("spec_decode_num_draft_tokens_total", s.DraftTokens)
		one("spec_decode_num_accepted_tokens_total", s.AcceptedTokens)
		for i, n := range s.AcceptedPerPosition {
			got["vllm:spec_decode_num_accepted_tokens_per_pos_total "+strconv.Itoa(i)] = float64(n)
		}
	}
	return got
}
