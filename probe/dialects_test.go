package probe

import (
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/aggregate"
)

func openMetrics(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile("../testdata/expositions/openmetrics/" + name + ".om")
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// bracketBy brackets a run as bracket does, with what stands between a server's
// answers and the wire.
func bracketBy(t *testing.T, wire func(http.ResponseWriter, *http.Request, *replay), pre, post, kind string) aggregate.Output {
	t.Helper()
	r := newReplay(t, pre)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { wire(w, req, r) }))
	defer server.Close()
	p := New(quick)
	p.Add(target(t, server.URL))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	r.await(kind, 3)
	r.set(post)
	report := p.Finish(context.Background(), time.Now())
	if report.Engine == nil {
		t.Fatalf("no engine was read: %+v", report.Notes)
	}
	checkNulls(t, report)
	return report
}

func plainly(w http.ResponseWriter, req *http.Request, r *replay) { r.ServeHTTP(w, req) }

// counted are the figures of a run that do not depend on when it was polled.
func counted(t *testing.T, report aggregate.Output) []any {
	t.Helper()
	g := report.Engine
	cache := *g.KVCache
	cache.Usage, cache.PeakTokens = nil, nil
	return []any{g.Requests.Finished, g.Requests.Preemptions, g.Tokens, g.LatencySeconds, cache, g.PrefixCache, g.Speculative, g.Models, report.PrefixCacheHitRate, report.SpecAcceptRate, report.EngineRuntimeConfig}
}

// One run in both dialects, plain and compressed: the same figures.
func TestOpenMetricsRun(t *testing.T) {
	for _, run := range []string{"serve_default", "serve_dp2", "serve_ngram"} {
		t.Run(run, func(t *testing.T) {
			t.Parallel()
			want := bracketBy(t, plainly, testkit.Recorded(t, run+"_pre"), testkit.Recorded(t, run+"_post"), "filtered")
			zipped := func(contentType, end string) func(w http.ResponseWriter, req *http.Request, r *replay) {
				return func(w http.ResponseWriter, req *http.Request, r *replay) {
					answer := httptest.NewRecorder()
					r.ServeHTTP(answer, req)
					if answer.Code != http.StatusOK || req.URL.Path == "/version" {
						w.WriteHeader(answer.Code)
						_, _ = w.Write(answer.Body.Bytes())
						return
					}
					w.Header().Set("Content-Type", contentType)
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(w)
					_, _ = z.Write(answer.Body.Bytes())
					if !strings.HasSuffix(answer.Body.String(), end) {
						_, _ = z.Write([]byte(end)) // replay filters lines
					}
					z.Close()
				}
			}
			for how, got := range map[string]aggregate.Output{
				"text, gzip": bracketBy(t, zipped("text/plain; version=1.0.0; charset=utf-8", ""), testkit.Recorded(t, run+"_pre"), testkit.Recorded(t, run+"_post"), "filtered"),
				"OpenMetrics, gzip": bracketBy(t, zipped("application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF\n"),
					openMetrics(t, run+"_pre"), openMetrics(t, run+"_post"), "filtered"),
				"OpenMetrics by content": bracketBy(t, plainly, openMetrics(t, run+"_pre"), openMetrics(t, run+"_post"), "filtered"),
			} {
				if diff := cmp.Diff(counted(t, want), counted(t, got)); diff != "" {
					t.Errorf("%s: (-plain text +got)\n%s", how, diff)
				}
			}
		})
	}
}

// asRay makes a page of Ray's agent of a vLLM page: the same engine in so many workers,
// in Ray's spelling, with the labels that Ray and Ray Serve add, counters once more as
// gauges, none of what is 0 among the counters, and metrics of the agent's own.
func asRay(page string, as metrics.Naming, workers int) string {
	var out strings.Builder
	out.WriteString("# TYPE ray_node_cpu_count gauge\nray_node_cpu_count{ip=\"10.0.0.1\"} 8.0\nprocess_start_time_seconds 1.7e+09\n")
	counters := map[string]bool{}
	for line := range strings.Lines(page) {
		if family, ok := strings.CutPrefix(line, "# TYPE vllm:"); ok {
			name, kind, _ := strings.Cut(strings.TrimSuffix(family, "\n"), " ")
			counters["vllm:"+name] = kind == "counter"
			if kind != "counter" {
				fmt.Fprintf(&out, "# TYPE %s %s\n", as.Format("vllm:"+name), kind)
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
			fmt.Fprintf(&out, "%s%s%s", as.Format(name), labels, rest)
			if counters[name] {
				fmt.Fprintf(&out, "%s%s%s", as.Format(strings.TrimSuffix(name, "_total")), labels, rest)
			}
		}
	}
	return out.String()
}

func TestRay(t *testing.T) {
	own := bracketBy(t, plainly, testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post"), "filtered")
	for name, as := range map[string]metrics.Naming{"ray_vllm_": metrics.Ray, "ray_vllm:": metrics.RayColon, "vllm_": metrics.Underscored} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pre, post := asRay(testkit.Recorded(t, "serve_default_pre"), as, 2), asRay(testkit.Recorded(t, "serve_default_post"), as, 2)
			if strings.Contains(pre, "\nvllm:") || !strings.Contains(pre, "\n"+name+"generation_tokens{") {
				t.Fatal("the page is not as Ray writes it")
			}
			got := bracketBy(t, plainly, pre, post, "filtered") // name[] with the server's own spelling
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
				t.Errorf("the agent's start is told for the engine's: %q", why)
			}
		})
	}
	t.Run("full pages alone", func(t *testing.T) {
		t.Parallel()
		// Ray's collector describes no names: its application answers name[] with nothing.
		nothing := func(w http.ResponseWriter, req *http.Request, r *replay) {
			if len(req.URL.Query()["name[]"]) == 0 {
				r.ServeHTTP(w, req)
			}
		}
		got := bracketBy(t, nothing, asRay(testkit.Recorded(t, "serve_default_pre"), metrics.Ray, 1), asRay(testkit.Recorded(t, "serve_default_post"), metrics.Ray, 1), "full")
		if *got.Engine.Tokens.Generation != *own.Engine.Tokens.Generation || got.Engine.Scrapes.Errors != 0 {
			t.Errorf("%d tokens, %d errors", *got.Engine.Tokens.Generation, got.Engine.Scrapes.Errors)
		}
	})
	t.Run("beside vLLM's own names", func(t *testing.T) {
		t.Parallel()
		both := func(page string) string {
			return asRay(page, metrics.Ray, 1) + asRay(page, metrics.Underscored, 1) + page
		}
		got := bracketBy(t, plainly, both(strings.Replace(testkit.Recorded(t, "serve_default_pre"), "\nprocess_start_time_seconds", "\nx", 1)),
			both(strings.Replace(testkit.Recorded(t, "serve_default_post"), "\nprocess_start_time_seconds", "\nx", 1)), "filtered")
		if diff := cmp.Diff(counted(t, own), counted(t, got)); diff != "" || len(got.Engine.Instances) != 1 || strings.Contains(testkit.Codes(got.Notes), "delayed") {
			t.Errorf("(-own names alone +both)\n%s %s", diff, testkit.Codes(got.Notes))
		}
	})
}
