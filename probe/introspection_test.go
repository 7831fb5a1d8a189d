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

// core is the word of a core of the recorded engine (serve_default), changed.
func core(t *testing.T, index int, changes config.Values) aggregate.CoreConfig {
	t.Helper()
	v, _, err := config.FromServerInfo([]byte(recordedAnswer(t, "server_info")))
	if err != nil {
		t.Fatal(err)
	}
	delete(v, "data_parallel_size")
	maps.Copy(v, changes)
	return aggregate.CoreConfig{Index: index, Values: v}
}

// own brackets an engine that comes up inside the run, and whose processes tell this.
func own(t *testing.T, info http.HandlerFunc, w aggregate.Introspection, there bool) aggregate.Output {
	t.Helper()
	r := answering(t, info)
	server := httptest.NewServer(r)
	defer server.Close()
	p := New(quick)
	tgt := target(t, server.URL)
	if tgt.Started = !there; !there {
		// Its start is the recording's: long before this one.
		r.set(strings.Replace(testkit.Recorded(t, "serve_default_pre"), processStartLine, "", 1))
	}
	p.Add(tgt)
	if there {
		p.ScrapeBaseline(context.Background())
	}
	p.Start(time.Now())
	r.await("filtered", 3)
	w.Enabled = true
	p.SetIntrospection(w)
	report := p.Finish(context.Background(), time.Now())
	if report.Engine == nil {
		t.Fatalf("no engine was read: %+v", report.Notes)
	}
	checkNulls(t, report)
	return report
}

// What the cores tell from inside counts for more than the front-end's copy, and where
// the two differ that is told.
func TestOwnWordWins(t *testing.T) {
	info := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, recordedAnswer(t, "server_info")) }
	word := aggregate.Introspection{
		Cores:             []aggregate.CoreConfig{core(t, 0, config.Values{"enable_prefix_caching": false, "max_num_seqs": int64(7)})},
		Backends:          [][]string{{"vllm.v1.attention.backends.cpu_attn.CPUAttentionBackend"}},
		DataParallelSizes: []int64{1},
		Version:           "0.32.0",
	}
	report := own(t, info, word, false)
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
	var told []string
	for _, v := range report.Notes.Validity {
		if v.Code == "settings_disagree" {
			told = append(told, v.Message)
		}
	}
	// Both of the front-end's sources have the one, its /server_info alone the other.
	if len(told) != 3 || !strings.Contains(strings.Join(told, "\n"), "reports enable_prefix_caching=false (engine_core) and true (server_info): the former was used") {
		t.Error(told)
	}
}

// An engine that was there before the command is another than those that told.
func TestOwnWordIsNotAnothersEngine(t *testing.T) {
	word := aggregate.Introspection{Cores: []aggregate.CoreConfig{core(t, 0, config.Values{"max_num_seqs": int64(7)})}, DataParallelSizes: []int64{1}}
	report := own(t, nil, word, true)
	if report.EngineRuntimeConfig.MaxNumSeqs != nil || slices.Contains(slices.Collect(maps.Values(report.Engine.Config.Sources)), "engine_core") {
		t.Error(testkit.JSON(report.EngineRuntimeConfig), testkit.JSON(report.Engine.Config))
	}
}

// Several cores: what they have alike; their blocks together, where these are all.
func TestOwnWordOfSeveralCores(t *testing.T) {
	blocks := func(n int64) config.Values { return config.Values{"num_gpu_blocks": n} }
	two := func(second int, changes config.Values) []aggregate.CoreConfig {
		return []aggregate.CoreConfig{core(t, 0, blocks(4000)), core(t, second, changes)}
	}
	for name, c := range map[string]struct {
		cores  []aggregate.CoreConfig
		sizes  []int64
		source string // of num_gpu_blocks
	}{
		"all of two":               {two(1, blocks(4192)), []int64{2}, "engine_core"},
		"two of four":              {two(1, blocks(4192)), []int64{4}, "cache_config_info"},
		"one after the other":      {two(0, blocks(4192)), []int64{1}, "cache_config_info"},
		"one rank twice":           {two(0, blocks(4192)), []int64{2}, "cache_config_info"},
		"of how many is not known": {two(1, blocks(4192)), []int64{1, 2}, "cache_config_info"},
		"one does not tell":        {two(1, config.Values{"num_gpu_blocks": config.Disabled{}}), []int64{2}, "cache_config_info"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := own(t, nil, aggregate.Introspection{Cores: c.cores, DataParallelSizes: c.sizes}, false)
			config := report.Engine.Config
			if config.Sources["num_gpu_blocks"] != c.source || config.Values["num_gpu_blocks"] != int64(8192) && c.source == "engine_core" {
				t.Errorf("num_gpu_blocks %v by %s", config.Values["num_gpu_blocks"], config.Sources["num_gpu_blocks"])
			}
			if config.Sources["max_num_seqs"] != "engine_core" {
				t.Error(testkit.JSON(config))
			}
		})
	}
	report := own(t, nil, aggregate.Introspection{Cores: two(1, config.Values{"max_num_seqs": int64(7)}), DataParallelSizes: []int64{2}}, false)
	if report.EngineRuntimeConfig.MaxNumSeqs != nil || !strings.Contains(testkit.Reason(report.Notes, "engine_runtime_config.max_num_seqs"), "have different values: 128 and 7") || !strings.Contains(testkit.Codes(report.Notes), "settings_disagree") {
		t.Error(testkit.JSON(report.EngineRuntimeConfig), report.Notes)
	}
}

// No engine could be read: the seed's keys are known all the same.
func TestOwnWordAlone(t *testing.T) {
	p := New(quick)
	p.Start(time.Now())
	p.SetIntrospection(aggregate.Introspection{Enabled: true, Cores: []aggregate.CoreConfig{core(t, 0, config.Values{"speculative_method": "ngram"})}})
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
	differ := core(t, 1, config.Values{"max_num_seqs": int64(7)})
	delete(differ.Values, "kv_cache_dtype")
	less := core(t, 0, nil)
	delete(less.Values, "kv_cache_dtype")
	p.SetIntrospection(aggregate.Introspection{Enabled: true, Cores: []aggregate.CoreConfig{less, differ}})
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

// Why the engines told nothing from inside stands beside why nobody else did.
func TestOwnWordSilent(t *testing.T) {
	report := own(t, nil, aggregate.Introspection{Reason: "it was raining"}, false)
	if why := testkit.Reason(report.Notes, "engine_runtime_config"); !strings.Contains(why, "--dev-mode; --instrument: it was raining") && !strings.Contains(why, "gives to the command; --instrument: it was raining") {
		t.Error(why)
	}
	p := New(quick)
	p.Start(time.Now())
	p.SetIntrospection(aggregate.Introspection{Enabled: true, Reason: "it was raining"})
	report = p.Finish(context.Background(), time.Now())
	for _, field := range []string{"engine", "engine_runtime_config"} {
		if why := testkit.Reason(report.Notes, field); !strings.HasSuffix(why, "; --instrument: it was raining") {
			t.Errorf("%s: %q", field, why)
		}
	}
}

// A server's address says whether it runs on this host.
func TestEndpointIsLocal(t *testing.T) {
	for _, c := range []struct {
		address string
		started bool
		want    bool
	}{
		{"http://127.0.0.1:1", false, true},
		{"unix:///s.sock", false, true},
		{"http://192.0.2.1:1", false, false},
		{"http://192.0.2.1:1", true, true}, // listens on one address of this host alone
	} {
		tgt := target(t, c.address)
		tgt.Started = c.started
		if got := (&endpoint{target: tgt}).isLocal(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
