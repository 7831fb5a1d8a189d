package probe

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/probe/aggregate"
)

// coreConfig returns the configuration of a core of the recorded engine (serve_default),
// with changes.
func coreConfig(t *testing.T, index int, changes config.Values) aggregate.CoreConfig {
	t.Helper()
	v, _, err := config.FromServerInfo([]byte(recordedAnswer(t, "server_info")))
	if err != nil {
		t.Fatal(err)
	}
	delete(v, "data_parallel_size")
	maps.Copy(v, changes)
	return aggregate.CoreConfig{Index: index, Values: v}
}

// bracketIntrospected brackets an engine whose processes report i. It starts inside the run
// unless it is running before.
func bracketIntrospected(t *testing.T, info http.HandlerFunc, i aggregate.Introspection, running bool) aggregate.Output {
	t.Helper()
	r := newConfigReplay(t, info)
	server := httptest.NewServer(r)
	defer server.Close()
	p := New(quick)
	tgt := target(t, server.URL)
	if tgt.Started = !running; !running {
		// The recording's start time is long before this run.
		r.set(strings.Replace(testkit.Recorded(t, "serve_default_pre"), processStartLine, "", 1))
	}
	p.Add(tgt)
	if running {
		p.ScrapeBaseline(context.Background())
	}
	p.Start(time.Now())
	r.await("filtered", 3)
	i.Enabled = true
	p.SetIntrospection(i)
	report := p.Finish(context.Background(), time.Now())
	if report.Engine == nil {
		t.Fatalf("no engine was read: %+v", report.Notes)
	}
	checkNulls(t, report)
	return report
}

// What the cores report takes precedence over the front-end's copy, and a note reports
// where the two differ.
func TestIntrospectionTakesPrecedence(t *testing.T) {
	info := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, recordedAnswer(t, "server_info")) }
	reported := aggregate.Introspection{
		Cores:             []aggregate.CoreConfig{coreConfig(t, 0, config.Values{"enable_prefix_caching": false, "max_num_seqs": int64(7)})},
		Backends:          [][]string{{"vllm.v1.attention.backends.cpu_attn.CPUAttentionBackend"}},
		DataParallelSizes: []int64{1},
		Version:           "0.32.0",
	}
	report := bracketIntrospected(t, info, reported, false)
	c := report.EngineRuntimeConfig
	if *c.EnablePrefixCaching || *c.MaxNumSeqs != 7 || *c.MaxNumBatchedTokens != 2048 || !*c.EnableChunkedPrefill {
		t.Error(testkit.JSON(c))
	}
	config := report.Engine.Config
	for name, want := range map[string]string{"max_num_seqs": "engine_core", "attention_backend": "worker", "data_parallel_size": "front_end", "vllm_version": "engine_core", "num_gpu_blocks": "engine_core"} {
		if config.Sources[name] != want {
			t.Errorf("%s=%v by %s, want %s", name, config.Values[name], config.Sources[name], want)
		}
	}
	if config.Values["attention_backend"] != "CPU_ATTN" {
		t.Error(config.Values["attention_backend"])
	}
	var disagree []string
	for _, v := range report.Notes.Validity {
		if v.Code == "settings_disagree" {
			disagree = append(disagree, v.Message)
		}
	}
	// Both of the front-end's sources have one setting, only its /server_info the other.
	if len(disagree) != 3 || !strings.Contains(strings.Join(disagree, "\n"), "reports enable_prefix_caching=false (engine_core) and true (server_info): the former was used") {
		t.Error(disagree)
	}
}

// An engine that ran before the command is not one of those that reported.
func TestIntrospectionOfOtherEngine(t *testing.T) {
	reported := aggregate.Introspection{Cores: []aggregate.CoreConfig{coreConfig(t, 0, config.Values{"max_num_seqs": int64(7)})}, DataParallelSizes: []int64{1}}
	report := bracketIntrospected(t, nil, reported, true)
	if report.EngineRuntimeConfig.MaxNumSeqs != nil || slices.Contains(slices.Collect(maps.Values(report.Engine.Config.Sources)), "engine_core") {
		t.Error(testkit.JSON(report.EngineRuntimeConfig), testkit.JSON(report.Engine.Config))
	}
}

// Several cores: the settings they share, and the sum of their blocks if these are all
// cores.
func TestIntrospectionOfSeveralCores(t *testing.T) {
	blocks := func(n int64) config.Values { return config.Values{"num_gpu_blocks": n} }
	two := func(second int, changes config.Values) []aggregate.CoreConfig {
		return []aggregate.CoreConfig{coreConfig(t, 0, blocks(4000)), coreConfig(t, second, changes)}
	}
	for name, c := range map[string]struct {
		cores  []aggregate.CoreConfig
		sizes  []int64
		source string // of num_gpu_blocks
	}{
		"all of two":           {two(1, blocks(4192)), []int64{2}, "engine_core"},
		"two of four":          {two(1, blocks(4192)), []int64{4}, "cache_config_info"},
		"one after the other":  {two(0, blocks(4192)), []int64{1}, "cache_config_info"},
		"one rank twice":       {two(0, blocks(4192)), []int64{2}, "cache_config_info"},
		"of an unknown number": {two(1, blocks(4192)), []int64{1, 2}, "cache_config_info"},
		"one without blocks":   {two(1, config.Values{"num_gpu_blocks": config.Disabled{}}), []int64{2}, "cache_config_info"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := bracketIntrospected(t, nil, aggregate.Introspection{Cores: c.cores, DataParallelSizes: c.sizes}, false)
			config := report.Engine.Config
			if config.Sources["num_gpu_blocks"] != c.source || config.Values["num_gpu_blocks"] != int64(8192) && c.source == "engine_core" {
				t.Errorf("num_gpu_blocks %v by %s", config.Values["num_gpu_blocks"], config.Sources["num_gpu_blocks"])
			}
			if config.Sources["max_num_seqs"] != "engine_core" {
				t.Error(testkit.JSON(config))
			}
		})
	}
	report := bracketIntrospected(t, nil, aggregate.Introspection{Cores: two(1, config.Values{"max_num_seqs": int64(7)}), DataParallelSizes: []int64{2}}, false)
	if report.EngineRuntimeConfig.MaxNumSeqs != nil || !strings.Contains(testkit.Reason(report.Notes, "engine_runtime_config.max_num_seqs"), "have different values: 128 and 7") || !strings.Contains(testkit.Codes(report.Notes), "settings_disagree") {
		t.Error(testkit.JSON(report.EngineRuntimeConfig), report.Notes)
	}
}

// No engine could be read: the core keys are known nevertheless.
func TestIntrospectionAlone(t *testing.T) {
	p := New(quick)
	p.Start(time.Now())
	p.SetIntrospection(aggregate.Introspection{Enabled: true, Cores: []aggregate.CoreConfig{coreConfig(t, 0, config.Values{"speculative_method": "ngram"})}})
	report := p.Finish(context.Background(), time.Now())
	checkNulls(t, report)
	if got := testkit.JSON(report.EngineRuntimeConfig); report.Engine != nil || got != `{"max_num_seqs":128,"max_num_batched_tokens":2048,"enable_chunked_prefill":true,"enable_prefix_caching":true,"kv_cache_dtype":"auto","speculative_method":"ngram"}` {
		t.Error(got)
	}
	if !strings.Contains(testkit.Reason(report.Notes, "engine"), "--instrument --multiproc on") || testkit.Reason(report.Notes, "engine_runtime_config") != "" {
		t.Error(report.Notes)
	}

	p = New(quick)
	p.Start(time.Now())
	differ := coreConfig(t, 1, config.Values{"max_num_seqs": int64(7)})
	delete(differ.Values, "kv_cache_dtype")
	without := coreConfig(t, 0, nil)
	delete(without.Values, "kv_cache_dtype")
	p.SetIntrospection(aggregate.Introspection{Enabled: true, Cores: []aggregate.CoreConfig{without, differ}})
	report = p.Finish(context.Background(), time.Now())
	checkNulls(t, report)
	for field, want := range map[string]string{
		"engine_runtime_config.max_num_seqs":       "have different values: 128 and 7",
		"engine_runtime_config.speculative_method": "has none",
		"engine_runtime_config":                    "not reported: kv_cache_dtype (the engine core does not report it)",
	} {
		if !strings.Contains(testkit.Reason(report.Notes, field), want) {
			t.Errorf("%s: %q", field, testkit.Reason(report.Notes, field))
		}
	}
}

// If the plugin reported nothing, reasons say why.
func TestIntrospectionFailed(t *testing.T) {
	report := bracketIntrospected(t, nil, aggregate.Introspection{Reason: "the plugin was not loaded"}, false)
	if why := testkit.Reason(report.Notes, "engine_runtime_config"); !strings.Contains(why, "--dev-mode; --instrument: the plugin was not loaded") && !strings.Contains(why, "sets for the command; --instrument: the plugin was not loaded") {
		t.Error(why)
	}
	p := New(quick)
	p.Start(time.Now())
	p.SetIntrospection(aggregate.Introspection{Enabled: true, Reason: "the plugin was not loaded"})
	report = p.Finish(context.Background(), time.Now())
	for _, field := range []string{"engine", "engine_runtime_config"} {
		if why := testkit.Reason(report.Notes, field); !strings.HasSuffix(why, "; --instrument: the plugin was not loaded") {
			t.Errorf("%s: %q", field, why)
		}
	}
}
