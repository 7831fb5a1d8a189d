package probe

import (
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/aggregate"
)

// bracketThrough brackets a run like bracket, with serve in front of the replay. It waits
// for requests of a kind.
func bracketThrough(t *testing.T, serve func(http.ResponseWriter, *http.Request, *replay), pre, post, kind string) aggregate.Output {
	t.Helper()
	r := newReplay(t, pre)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { serve(w, req, r) }))
	defer server.Close()
	p := startRun(t, server.URL)
	r.await(kind, 3)
	r.set(post)
	report := p.Finish(context.Background(), time.Now())
	if report.Engine == nil {
		t.Fatalf("no engine was read: %+v", report.Notes)
	}
	checkNulls(t, report)
	return report
}

// direct serves the replay's response as it is.
func direct(w http.ResponseWriter, req *http.Request, r *replay) { r.ServeHTTP(w, req) }

// pollIndependent returns the figures of a run that do not depend on when it was polled.
func pollIndependent(t *testing.T, report aggregate.Output) []any {
	t.Helper()
	g := report.Engine
	cache := *g.KVCache
	cache.Usage, cache.PeakTokens = nil, nil
	return []any{g.Requests.Finished, g.Requests.Preemptions, g.Tokens, g.LatencySeconds, cache, g.PrefixCache, g.Speculative, g.Models, report.PrefixCacheHitRate, report.SpecAcceptRate, report.EngineRuntimeConfig}
}

// A run has the same figures in both dialects, plain and compressed.
func TestOpenMetricsRun(t *testing.T) {
	for _, run := range []string{"serve_default", "serve_dp2", "serve_ngram"} {
		t.Run(run, func(t *testing.T) {
			t.Parallel()
			want := bracketThrough(t, direct, testkit.Recorded(t, run+"_pre"), testkit.Recorded(t, run+"_post"), "filtered")
			gzipped := func(contentType, end string) func(w http.ResponseWriter, req *http.Request, r *replay) {
				return func(w http.ResponseWriter, req *http.Request, r *replay) {
					resp := httptest.NewRecorder()
					r.ServeHTTP(resp, req)
					if resp.Code != http.StatusOK || req.URL.Path == "/version" {
						w.WriteHeader(resp.Code)
						_, _ = w.Write(resp.Body.Bytes())
						return
					}
					w.Header().Set("Content-Type", contentType)
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(w)
					_, _ = z.Write(resp.Body.Bytes())
					if !strings.HasSuffix(resp.Body.String(), end) {
						_, _ = z.Write([]byte(end)) // replay's filter drops it
					}
					z.Close()
				}
			}
			for how, got := range map[string]aggregate.Output{
				"text, gzip": bracketThrough(t, gzipped("text/plain; version=1.0.0; charset=utf-8", ""), testkit.Recorded(t, run+"_pre"), testkit.Recorded(t, run+"_post"), "filtered"),
				"OpenMetrics, gzip": bracketThrough(t, gzipped("application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF\n"),
					openMetrics(t, run+"_pre"), openMetrics(t, run+"_post"), "filtered"),
				"OpenMetrics by content": bracketThrough(t, direct, openMetrics(t, run+"_pre"), openMetrics(t, run+"_post"), "filtered"),
			} {
				if diff := cmp.Diff(pollIndependent(t, want), pollIndependent(t, got)); diff != "" {
					t.Errorf("%s: (-plain text +got)\n%s", how, diff)
				}
			}
		})
	}
}

// asRay turns a vLLM page into one of Ray's agent: the same engine in each of workers, with
// Ray's names, the labels that Ray and Ray Serve add, counters repeated as gauges, no
// counters that are 0, and the agent's own metrics.
func asRay(page string, naming metrics.Naming, workers int) string {
	var out strings.Builder
	out.WriteString("# TYPE ray_node_cpu_count gauge\nray_node_cpu_count{ip=\"10.0.0.1\"} 8.0\nprocess_start_time_seconds 1.7e+09\n")
	counters := map[string]bool{}
	for line := range strings.Lines(page) {
		if family, ok := strings.CutPrefix(line, "# TYPE vllm:"); ok {
			name, kind, _ := strings.Cut(strings.TrimSuffix(family, "\n"), " ")
			counters["vllm:"+name] = kind == "counter"
			if kind != "counter" {
				fmt.Fprintf(&out, "# TYPE %s %s\n", naming.Format("vllm:"+name), kind)
			}
			continue
		}
		if !strings.HasPrefix(line, "vllm:") {
			continue
		}
		name, rest, _ := strings.Cut(line, "{")
		if counters[name] && strings.HasSuffix(line, "} 0.0\n") {
			continue
		}
		for w := range workers {
			labels := fmt.Sprintf(`{Component="core_worker",NodeAddress="10.0.0.1",ReplicaId="r%d",SessionName="session_1",Version="2.48.0",WorkerId="w%d",application="llm",deployment="LLMServer",pid="%d",replica="s%d",stage="live",`, w, w, 4000+w, w)
			fmt.Fprintf(&out, "%s%s%s", naming.Format(name), labels, rest)
			if counters[name] {
				fmt.Fprintf(&out, "%s%s%s", naming.Format(strings.TrimSuffix(name, "_total")), labels, rest)
			}
		}
	}
	return out.String()
}

// The figures of an engine in two Ray workers are twice those of the engine itself.
func TestRay(t *testing.T) {
	own := bracketThrough(t, direct, testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post"), "filtered")
	for name, naming := range map[string]metrics.Naming{"ray_vllm_": metrics.Ray, "ray_vllm:": metrics.RayColon, "vllm_": metrics.Underscored} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pre, post := asRay(testkit.Recorded(t, "serve_default_pre"), naming, 2), asRay(testkit.Recorded(t, "serve_default_post"), naming, 2)
			if strings.Contains(pre, "\nvllm:") || !strings.Contains(pre, "\n"+name+"generation_tokens{") {
				t.Fatal("the page does not have Ray's names")
			}
			got := bracketThrough(t, direct, pre, post, "filtered") // name[] has the server's own names
			g := got.Engine
			for what, n := range map[string][2]int64{
				"generation": {*g.Tokens.Generation, 2 * *own.Engine.Tokens.Generation},
				"prompt":     {*g.Tokens.Prompt, 2 * *own.Engine.Tokens.Prompt},
				"finished":   {g.Requests.Finished["length"], 2 * own.Engine.Requests.Finished["length"]},
				"ttft":       {g.LatencySeconds.TimeToFirstToken.Count, 2 * own.Engine.LatencySeconds.TimeToFirstToken.Count},
				"hits":       {g.PrefixCache.Local.Hits, 2 * own.Engine.PrefixCache.Local.Hits},
				"blocks":     {*g.KVCache.BlockSize, *own.Engine.KVCache.BlockSize},
				"iterations": {g.Tokens.PerIteration.Count, 2 * own.Engine.Tokens.PerIteration.Count},
			} {
				if n[0] != n[1] || n[1] == 0 {
					t.Errorf("%s: %d, want %d", what, n[0], n[1])
				}
			}
			if diff := cmp.Diff(own.Engine.LatencySeconds.TimeToFirstToken.P95Est, g.LatencySeconds.TimeToFirstToken.P95Est); diff != "" {
				t.Errorf("p95 of two equal workers: %s", diff)
			}
			if len(g.Instances) != 2 || g.Stage != nil {
				t.Fatalf("instances %+v, stage %v", g.Instances, g.Stage)
			}
			for i, in := range g.Instances {
				if in.Worker == nil || *in.Worker != fmt.Sprintf("w%d", i) || in.Replica != nil || in.Stage != nil || *in.Engine != "0" || *in.GenerationTokens != *own.Engine.Tokens.Generation {
					t.Errorf("instance %d: %+v", i, in)
				}
			}
			if !strings.Contains(testkit.Codes(got.Notes), "delayed_metrics") {
				t.Errorf("doubts %s", testkit.Codes(got.Notes))
			}
			if why := testkit.Reason(got.Notes, "engine.endpoints.0.process_start_time"); !strings.Contains(why, "not the engine's own") || g.Endpoints[0].ProcessStartTime != nil {
				t.Errorf("start time %s, want none, because it is the agent's: %q", testkit.JSON(g.Endpoints[0].ProcessStartTime), why)
			}
		})
	}
	t.Run("full pages only", func(t *testing.T) {
		t.Parallel()
		// Ray's collector describes no names: its application returns nothing for name[].
		unfilterable := func(w http.ResponseWriter, req *http.Request, r *replay) {
			if len(req.URL.Query()["name[]"]) == 0 {
				r.ServeHTTP(w, req)
			}
		}
		got := bracketThrough(t, unfilterable, asRay(testkit.Recorded(t, "serve_default_pre"), metrics.Ray, 1), asRay(testkit.Recorded(t, "serve_default_post"), metrics.Ray, 1), "full")
		if *got.Engine.Tokens.Generation != *own.Engine.Tokens.Generation || got.Engine.Scrapes.Errors != 0 {
			t.Errorf("%d tokens, %d errors", *got.Engine.Tokens.Generation, got.Engine.Scrapes.Errors)
		}
	})
	t.Run("next to vLLM's own names", func(t *testing.T) {
		t.Parallel()
		both := func(page string) string {
			return asRay(page, metrics.Ray, 1) + asRay(page, metrics.Underscored, 1) + page
		}
		got := bracketThrough(t, direct, both(strings.Replace(testkit.Recorded(t, "serve_default_pre"), "\nprocess_start_time_seconds", "\nx", 1)),
			both(strings.Replace(testkit.Recorded(t, "serve_default_post"), "\nprocess_start_time_seconds", "\nx", 1)), "filtered")
		if diff := cmp.Diff(pollIndependent(t, own), pollIndependent(t, got)); diff != "" || len(got.Engine.Instances) != 1 || strings.Contains(testkit.Codes(got.Notes), "delayed") {
			t.Errorf("(-own names only +both)\n%s %s", diff, testkit.Codes(got.Notes))
		}
	})
}
