package probe

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// silentPage is what a server started with --disable-log-stats exports: the process's own
// figures, and none of vLLM's.
const silentPage = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.79e9\npython_info{version=\"3.12\"} 1.0\n"

// A vLLM server without samples has no figures, and the reason says so even if the server
// ends with the command. What it answers about its configuration is read all the same.
func TestSilentServer(t *testing.T) {
	models, info := recordedAnswer(t, "models"), recordedAnswer(t, "server_info")
	const disabled = "it answered without vLLM's samples (--disable-log-stats)"
	for _, c := range []struct {
		name         string
		models, info string // "" is 404
		started      bool   // by the command
		ends         bool   // before the command does
		want         string // in the reason of engine
		config       string // engine_runtime_config
		whyConfig    string // in its reason; "" for none
		model        any
	}{
		{"it ends with the command", models, info, true, true, disabled, `{"max_num_seqs":128,"max_num_batched_tokens":2048,"enable_chunked_prefill":true,"enable_prefix_caching":true,"kv_cache_dtype":"auto"}`, "", "/models1/tiny"},
		{"it outlives the command", models, info, false, false, disabled, `{"max_num_seqs":128,"max_num_batched_tokens":2048,"enable_chunked_prefill":true,"enable_prefix_caching":true,"kv_cache_dtype":"auto"}`, "", "/models1/tiny"},
		{"without /server_info", models, "", false, true, disabled, `{}`, "has no /server_info", "/models1/tiny"},
		{"with a key", "", "", true, true, disabled, `{}`, "has no /server_info", nil},
		{"another server", strings.Replace(models, `"owned_by":"vllm"`, `"owned_by":"sglang"`, 1), `{"model_path":"m"}`, false, true, "exports no vllm: samples", `{}`, "exports no vllm: samples", nil},
		{"no such server", "", "", false, false, "exports no vllm: samples", `{}`, "exports no vllm: samples", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newReplay(t, silentPage)
			r.handlers = map[string]http.HandlerFunc{}
			for path, body := range map[string]string{"/v1/models": c.models, "/server_info": c.info} {
				r.handlers[path] = func(w http.ResponseWriter, _ *http.Request) {
					if body == "" {
						w.WriteHeader(http.StatusNotFound)
					}
					io.WriteString(w, body)
				}
			}
			server := httptest.NewServer(r)
			defer server.Close()
			p := New(quick)
			tg := target(t, server.URL)
			tg.Started = c.started
			p.Add(tg)
			p.Start(time.Now())
			r.awaitTotal("/server_info", 1)
			p.queries.Wait()
			if c.ends {
				server.Close()
			}
			report := p.Finish(context.Background(), time.Now())
			checkNulls(t, report)
			if why := testkit.Reason(report.Notes, "engine"); report.Engine != nil || !strings.Contains(why, c.want) {
				t.Errorf("reason %q, want %q", why, c.want)
			}
			if got := testkit.JSON(report.EngineRuntimeConfig); got != c.config {
				t.Errorf("runtime config %s, want %s", got, c.config)
			}
			if why := testkit.Reason(report.Notes, "engine_runtime_config"); !strings.Contains(why, c.whyConfig) || (why == "") != (c.whyConfig == "") {
				t.Errorf("reason of engine_runtime_config %q, want %q", why, c.whyConfig)
			}
			if report.Settings["model"] != c.model {
				t.Errorf("model %v, want %v", report.Settings["model"], c.model)
			}
			if _, found, _ := report.Reported.Find("seed"); found != (c.info == info) {
				t.Errorf("the seed: %v", found)
			}
		})
	}
}
