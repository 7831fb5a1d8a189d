package probe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// newConfigReplay returns a replay that serves /v1/models as recorded and /server_info by
// info.
func newConfigReplay(t *testing.T, info http.HandlerFunc) *replay {
	t.Helper()
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	models := recordedAnswer(t, "models")
	r.handlers = map[string]http.HandlerFunc{
		"/v1/models":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, models) },
		"/server_info": info,
	}
	return r
}

// respond returns a handler that writes body.
func respond(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

// The event has the configuration that an engine returns, and each query is sent once.
func TestConfigQueries(t *testing.T) {
	r := newConfigReplay(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery != "config_format=json" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		io.WriteString(w, recordedAnswer(t, "server_info"))
	})
	report := bracketReplay(t, r, underLoad(t), testkit.Recorded(t, "serve_default_post"))
	c := report.EngineRuntimeConfig
	if got := testkit.JSON(c); got != `{"max_num_seqs":128,"max_num_batched_tokens":2048,"enable_chunked_prefill":true,"enable_prefix_caching":true,"kv_cache_dtype":"auto"}` {
		t.Errorf("runtime config %s", got)
	}
	config := report.Engine.Config
	if config == nil || len(config.Values) != 24 || config.Values["max_model_len"] != int64(512) || config.Values["gpu_memory_utilization"] != schema.Float(0.92) || config.Sources["max_model_len"] != "server_info" || config.Sources["vllm_version"] != "version" {
		t.Errorf("config %s", testkit.JSON(config))
	}
	for name, want := range map[string]any{"seed": int64(0), "optimization_level": int64(2), "num_gpu_blocks_override": nil, "swa_bounded_replay": true} {
		if got, found, why := report.Reported.Find(name); got != want || !found {
			t.Errorf("%s: %v %v %s", name, got, found, why)
		}
	}
	if got, found, _ := report.Reported.Find("hf_token"); found || report.Settings["max_num_seqs"] != int64(128) {
		t.Errorf("%v, %v", got, report.Settings)
	}
	if got := strings.Join(report.Off, " "); got != "quantization speculative_method num_speculative_tokens" {
		t.Errorf("Off is %q", got)
	}
	// Replayed in a moment, the requests' time of running fills every batch.
	if q := report.Engine.Requests; report.Engine.Window.ActiveSecondsEst != nil && !testkit.Near(q.BatchUtilization, 1) ||
		report.Engine.Window.ActiveSecondsEst == nil && !strings.Contains(testkit.Reason(report.Notes, "engine.requests.batch_utilization"), "not resolved") {
		t.Errorf("requests %s", testkit.JSON(q))
	}
	if text := testkit.JSON(report); codesOfReplay(report) != "few_requests" || strings.Contains(text, "hf_token") {
		t.Errorf("validity %s", testkit.Codes(report.Notes))
	}
	for _, path := range []string{"/version", "/v1/models", "/server_info"} {
		if n := r.count(path); n != 1 {
			t.Errorf("%d requests for %s, want 1", n, path)
		}
	}
}

// /server_info fails or returns something else: the figures do not suffer, the values of
// other sources are in the event, and the reason says why and what would help.
func TestServerInfoFails(t *testing.T) {
	whole := recordedAnswer(t, "server_info")
	for name, c := range map[string]struct {
		handler  http.HandlerFunc
		want     string // in the reason
		requests int
	}{
		"404":  {nil, "--dev-mode", 0},
		"401":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "answers 401 to /server_info: give its credentials with --metrics-header", 1},
		"500":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "answers 500 to /server_info", 2},
		"HTML": {respond("<html>"), "is not JSON", 1},
		"cut":  {respond(whole[:9000]), "is cut off", 1},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "25623")
			io.WriteString(w, whole[:9000])
		}, "cut off after 9000 bytes", 1},
		"64 MiB": {func(w http.ResponseWriter, _ *http.Request) {
			block := strings.Repeat(" ", 1<<20)
			for range 64 {
				if _, err := io.WriteString(w, block); err != nil {
					return
				}
			}
		}, "larger than 4 MiB", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newConfigReplay(t, c.handler)
			report := bracketReplay(t, r, underLoad(t), testkit.Recorded(t, "serve_default_post"))
			if why := testkit.Reason(report.Notes, "engine_runtime_config"); !strings.HasPrefix(why, "not reported: max_num_seqs, max_num_batched_tokens, enable_chunked_prefill (") || !strings.Contains(why, c.want) {
				t.Errorf("reason %q, want %q", why, c.want)
			}
			config := report.Engine.Config
			if got := testkit.JSON(report.EngineRuntimeConfig); got != `{"enable_prefix_caching":true,"kv_cache_dtype":"auto"}` || config == nil || config.Sources["model"] != "models" || config.Values["max_model_len"] != int64(512) || config.Sources["block_size"] != "cache_config_info" {
				t.Errorf("%s %s", got, testkit.JSON(config))
			}
			if *report.Engine.Tokens.Generation != 5737 || report.Engine.Scrapes.Errors != 0 || codesOfReplay(report) != "few_requests" {
				t.Errorf("tokens %s, scrapes %s, doubts %s", testkit.JSON(report.Engine.Tokens), testkit.JSON(report.Engine.Scrapes), testkit.Codes(report.Notes))
			}
			if n := r.count("/server_info"); n != c.requests {
				t.Errorf("%d requests for /server_info, want %d", n, c.requests)
			}
		})
	}
}

// If the server cannot return its configuration as JSON, it is read as text.
func TestServerInfoAsText(t *testing.T) {
	text := recordedAnswer(t, "server_info_text")
	r := newConfigReplay(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Query().Get("config_format") == "json" {
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		}
		io.WriteString(w, text)
	})
	report := bracketReplay(t, r, underLoad(t), testkit.Recorded(t, "serve_default_post"))
	if got := testkit.JSON(report.EngineRuntimeConfig); got != `{"enable_chunked_prefill":true,"enable_prefix_caching":true,"kv_cache_dtype":"auto"}` || !strings.Contains(testkit.Reason(report.Notes, "engine_runtime_config"), "max_num_seqs, max_num_batched_tokens (the /server_info of this version is a text") {
		t.Errorf("%s %q", got, testkit.Reason(report.Notes, "engine_runtime_config"))
	}
	if config := report.Engine.Config; config.Values["dtype"] != "bfloat16" || config.Sources["dtype"] != "server_info" || config.Sources["served_model_name"] != "models" {
		t.Errorf("config %s", testkit.JSON(config))
	}
}

// A slow response delays no poll. It is waited for after the command's end, but not for
// long.
func TestSlowServerInfo(t *testing.T) {
	whole := recordedAnswer(t, "server_info")
	for name, c := range map[string]struct {
		handler func(w http.ResponseWriter, req *http.Request, ended context.Context)
		limit   time.Duration // of Finish
		known   bool
	}{
		"until the end": {func(w http.ResponseWriter, req *http.Request, ended context.Context) {
			<-ended.Done()
			io.WriteString(w, whole)
		}, testkit.Patience, true},
		"drip": {func(w http.ResponseWriter, req *http.Request, ended context.Context) {
			w.WriteHeader(http.StatusOK)
			for _, c := range []byte(whole) {
				_, _ = w.Write([]byte{c})
				_ = http.NewResponseController(w).Flush()
				select {
				case <-req.Context().Done():
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}, 600 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := New(quick)
			r := newConfigReplay(t, func(w http.ResponseWriter, req *http.Request) { c.handler(w, req, p.ctx) })
			server := httptest.NewServer(r)
			defer server.Close()
			p.Add(target(t, server.URL))
			p.ScrapeBaseline(context.Background())
			p.Start(time.Now())
			r.awaitTotal("/server_info", 1)
			r.await("filtered", 6) // while the response is in progress
			ctx, cancel := context.WithTimeout(context.Background(), c.limit)
			defer cancel()
			var report aggregate.Output
			within(t, "Finish", aggregate.SettleTimeout, func() { report = p.Finish(ctx, time.Now()) })
			if known := report.EngineRuntimeConfig.MaxNumSeqs != nil; known != c.known || !known && !strings.Contains(testkit.Reason(report.Notes, "engine_runtime_config"), "the command ended before") {
				t.Errorf("%s %q", testkit.JSON(report.EngineRuntimeConfig), testkit.Reason(report.Notes, "engine_runtime_config"))
			}
			checkNulls(t, report)
		})
	}
}

// If the connection breaks before a response, the query is repeated at the end.
func TestConfigQueryIsRepeated(t *testing.T) {
	whole := recordedAnswer(t, "server_info")
	broken := 0
	r := newConfigReplay(t, func(w http.ResponseWriter, _ *http.Request) {
		if broken++; broken <= 2 { // net/http retries once on a kept connection
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		io.WriteString(w, whole)
	})
	if report := bracketReplay(t, r, underLoad(t), testkit.Recorded(t, "serve_default_post")); report.EngineRuntimeConfig.MaxNumSeqs == nil {
		t.Errorf("%d requests: %q", broken, testkit.Reason(report.Notes, "engine_runtime_config"))
	}
}

// If the server is gone when the query is repeated, the first failure remains the reason.
func TestReasonOfAQueryBeforeTheServerEnded(t *testing.T) {
	pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
	e := pl.p.endpoints[0]
	for _, failure := range []error{context.DeadlineExceeded, syscall.ECONNREFUSED} {
		e.recordAnswer(queryServerInfo, nil, scrape.Response{Err: fmt.Errorf("requesting /server_info: %w", failure)})
	}
	if why := e.answers[queryServerInfo].Reason; !strings.Contains(why, context.DeadlineExceeded.Error()) {
		t.Errorf("reason %q", why)
	}
}

// After a restart the new process is queried, and the old one's configuration is dropped.
func TestConfigAfterRestart(t *testing.T) {
	answers := make(chan string, 2)
	answers <- `{"vllm_config":{"scheduler_config":{"max_num_seqs":7,"max_num_batched_tokens":2048}}}`
	answers <- `{"vllm_config":{"scheduler_config":{"max_num_seqs":9}}}`
	r := newConfigReplay(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, <-answers) })
	server := httptest.NewServer(r)
	defer server.Close()
	p := startRun(t, server.URL)
	r.awaitTotal("/server_info", 1)
	start := r.page[strings.Index(r.page, "\nprocess_start_time_seconds ")+1:]
	r.set(strings.Replace(testkit.Recorded(t, "serve_default_idle"), start[:strings.IndexByte(start, '\n')], "process_start_time_seconds 1.795303999e+09", 1))
	r.awaitTotal("/server_info", 2)
	report := p.Finish(context.Background(), time.Now())
	if got := testkit.JSON(report.EngineRuntimeConfig); got != `{"max_num_seqs":9,"enable_prefix_caching":true,"kv_cache_dtype":"auto"}` || report.Engine.Window.Resets != 1 {
		t.Errorf("%s %s", got, testkit.JSON(report.Engine.Window))
	}
}

// playServerInfos plays the recorded run on one endpoint per /server_info response. page
// changes the pages.
func playServerInfos(t *testing.T, page func(string) string, infos ...string) aggregate.Output {
	t.Helper()
	var targets []scrape.Target
	for n := range infos {
		targets = append(targets, target(t, fmt.Sprintf("http://127.0.0.1:%d", 8000+n)))
	}
	pl := newPlayer(t, targets...)
	var pages []runPages
	for range infos {
		pages = append(pages, runPages{page(testkit.Recorded(t, "serve_default_pre")), page(underLoad(t)), page(testkit.Recorded(t, "serve_default_post"))})
	}
	pl.run(pages...)
	for n, body := range infos {
		pl.answers = map[configQuery]string{queryServerInfo: body, queryModels: recordedAnswer(t, "models")}
		pl.answer(pl.p.endpoints[n])
	}
	return pl.report(10)
}

// unchanged returns page.
func unchanged(page string) string { return page }

// Settings that all engines share are in the event, others are null.
func TestConfigOfSeveralEngines(t *testing.T) {
	report := playServerInfos(t, unchanged,
		`{"vllm_config":{"model_config":{"dtype":"torch.float16"},"scheduler_config":{"max_num_seqs":8,"max_num_batched_tokens":2048,"policy":"fcfs"},"speculative_config":null}}`,
		`{"vllm_config":{"model_config":{"dtype":"torch.float16"},"scheduler_config":{"max_num_seqs":12,"max_num_batched_tokens":2048}}}`)
	if got := testkit.JSON(report.EngineRuntimeConfig); got != `{"max_num_batched_tokens":2048,"enable_prefix_caching":true,"kv_cache_dtype":"auto"}` {
		t.Errorf("runtime config %s", got)
	}
	values := report.Engine.Config.Values
	if values["dtype"] != "float16" || values["max_num_seqs"] != nil || values["scheduling_policy"] != nil {
		t.Errorf("values %s", testkit.JSON(values))
	}
	for field, want := range map[string]string{
		"engine_runtime_config.max_num_seqs":       "the engines have different values: 12 and 8",
		"engine.config.values.max_num_seqs":        "the engines have different values: 12 and 8",
		"engine_runtime_config.speculative_method": aggregate.SpeculationOff,
	} {
		if got := testkit.Reason(report.Notes, field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if got := testkit.Reason(report.Notes, "engine.config.values"); !strings.Contains(got, "scheduling_policy") || !strings.Contains(got, "this version's /server_info does not include it") {
		t.Errorf("reason %q", got)
	}
	// Each engine's own max_num_seqs counts towards what the two can run at once.
	w := report.Engine.Window
	if q := report.Engine.Requests; !testkit.Near(q.BatchUtilization, float64(*q.Running.Mean*w.DurationSeconds / *w.ActiveSecondsEst)/20) {
		t.Errorf("requests %s", testkit.JSON(q))
	}
}

// If sources disagree, the most trusted one counts and a note says so.
func TestConfigSourcesDisagree(t *testing.T) {
	report := playServerInfos(t, unchanged, `{"vllm_config":{"model_config":{"max_model_len":256,"model":"/elsewhere"},"scheduler_config":{"max_num_seqs":8}}}`)
	if v := report.Engine.Config; v.Values["max_model_len"] != int64(256) || v.Sources["max_model_len"] != "server_info" || !strings.Contains(testkit.Codes(report.Notes), "settings_disagree") {
		t.Errorf("%s %s", testkit.JSON(v), testkit.Codes(report.Notes))
	}
	if m := report.Notes.Validity[0].Message; !strings.Contains(m, "max_model_len=256 (server_info) and 512 (models): the former was used") {
		t.Errorf("message %q", m)
	}
}

// An engine has its prefix cache enabled and never queried it.
func TestPrefixCacheNotUsed(t *testing.T) {
	unused := func(page string) string {
		for _, name := range []string{"queries", "hits"} {
			page = testkit.SetValues(t, page, `vllm:prefix_cache_`+name+`_total{engine="0",model_name="tiny"} 0.0`)
		}
		return page
	}
	report := playServerInfos(t, unused, "")
	if !*report.EngineRuntimeConfig.EnablePrefixCaching || !strings.Contains(testkit.Codes(report.Notes), "prefix_cache_not_used") {
		t.Errorf("%s %s", testkit.JSON(report.EngineRuntimeConfig), testkit.Codes(report.Notes))
	}
}

// With stages only settings with a stage count: the server's responses do not say which
// stage they describe.
func TestConfigOfStages(t *testing.T) {
	page := func(page string) string {
		return strings.ReplaceAll(page, `{engine="0"`, `{engine="0",replica="0",stage="1"`)
	}
	pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
	pl.answers = map[configQuery]string{queryServerInfo: recordedAnswer(t, "server_info"), queryModels: recordedAnswer(t, "models")}
	pl.run(runPages{page(testkit.Recorded(t, "serve_default_pre")), page(underLoad(t)), page(testkit.Recorded(t, "serve_default_post"))})
	report := pl.report(10)
	if report.Engine.Stage == nil || report.Engine.Config.Values["vllm_version"] != "0.32.0" || report.EngineRuntimeConfig.MaxNumSeqs != nil || !strings.Contains(testkit.Reason(report.Notes, "engine_runtime_config"), "of a stage's engines") {
		t.Errorf("stage %v: %s %q", report.Engine.Stage, testkit.JSON(report.EngineRuntimeConfig), testkit.Reason(report.Notes, "engine_runtime_config"))
	}
}

// A collector that forwards an engine's metrics is not queried: it would describe itself.
func TestCollectorIsNotQueried(t *testing.T) {
	renamed := func(page string) string { return strings.ReplaceAll(page, "vllm:", "ray_vllm_") }
	r := newReplay(t, renamed(testkit.Recorded(t, "serve_default_pre")))
	report := bracketReplay(t, r, renamed(underLoad(t)), renamed(testkit.Recorded(t, "serve_default_post")))
	if !strings.Contains(testkit.Codes(report.Notes), "delayed_metrics") || r.count("/version") != 0 || report.Engine.Endpoints[0].Version != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.endpoints.0.version"), "a metrics collector's") {
		t.Errorf("%d requests for /version: %s", r.count("/version"), testkit.JSON(report.Engine.Endpoints))
	}
}

// An engine that is first read after the command's end, and does not settle because it
// serves others, is queried while it is waited for.
func TestQueriesOfABusyEngine(t *testing.T) {
	t.Parallel()
	busy := strings.Replace(testkit.Recorded(t, "serve_default_post"), `vllm:num_requests_running{engine="0",model_name="tiny"} 0.0`, `vllm:num_requests_running{engine="0",model_name="tiny"} 1.0`, 1)
	r := newConfigReplay(t, respond(recordedAnswer(t, "server_info")))
	r.page, r.status = busy, http.StatusServiceUnavailable
	server := httptest.NewServer(r)
	defer server.Close()
	p := startRun(t, server.URL)
	r.mu.Lock()
	r.status = 0
	r.mu.Unlock()
	report := p.Finish(context.Background(), time.Now())
	checkNulls(t, report)
	if report.Engine == nil || report.Engine.Window.Final != "unsettled" {
		t.Fatalf("%+v", report.Notes)
	}
	if v := report.Engine.Endpoints[0].Version; v == nil || *v != "0.32.0" {
		t.Errorf("version: %s", testkit.JSON(report.Engine.Endpoints))
	}
	if n := report.EngineRuntimeConfig.MaxNumSeqs; n == nil {
		t.Errorf("%s, %+v", testkit.JSON(report.EngineRuntimeConfig), report.Notes.Unavailable)
	}
	if s := report.Engine.Config.Sources; s["served_model_name"] != "server_info" {
		t.Errorf("sources: %v", s)
	}
}
