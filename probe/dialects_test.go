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

	"github.com/vobs/vobs/probe/exposition"
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
func bracketBy(t *testing.T, wire func(http.ResponseWriter, *http.Request, *replay), pre, post, kind string) Report {
	t.Helper()
	r := newReplay(t, pre)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { wire(w, req, r) }))
	defer server.Close()
	p := New(quick)
	p.Add(target(t, server.URL))
	p.Base(context.Background())
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
func counted(t *testing.T, report Report) []any {
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
			want := bracketBy(t, plainly, recording(t, run+"_pre"), recording(t, run+"_post"), "filtered")
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
			for how, got := range map[string]Report{
				"text, gzip": bracketBy(t, zipped("text/plain; version=1.0.0; charset=utf-8", ""), recording(t, run+"_pre"), recording(t, run+"_post"), "filtered"),
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

// OpenMetrics declares a counter without _total: its first increment counts from 0.
// A gauge of that name, as Ray has one, declares nothing, and is no sample either.
func TestCounterDeclaredWithoutTotal(t *testing.T) {
	const idle = "vllm:num_requests_running 0\n"
	got, why := reportOf(applyAll(t, idle+"# TYPE vllm:num_preemptions counter\n# EOF\n", idle+"vllm:num_preemptions_total 4\n# EOF\n")).counter(preemptions)
	if got != 4 || why != "" {
		t.Errorf("declared: %d %q", got, why)
	}
	const gauge = idle + "# TYPE vllm:num_preemptions gauge\nvllm:num_preemptions 7\n"
	if got, why := reportOf(applyAll(t, gauge, gauge+"vllm:num_preemptions_total 4\n")).counter(preemptions); !strings.Contains(why, "only on a later one") {
		t.Errorf("a gauge: %d %q", got, why)
	}
	if got, why := reportOf(applyAll(t, gauge, gauge)).counter(preemptions); !strings.Contains(why, "does not export") {
		t.Errorf("a gauge alone: %d %q", got, why)
	}
}

// asRay makes a page of Ray's agent of a vLLM page: the same engine in so many workers,
// in Ray's spelling, with the labels that Ray and Ray Serve add, counters once more as
// gauges, none of what is 0 among the counters, and metrics of the agent's own.
func asRay(page string, as spelling, workers int) string {
	var out strings.Builder
	out.WriteString("# TYPE ray_node_cpu_count gauge\nray_node_cpu_count{ip=\"10.0.0.1\"} 8.0\nprocess_start_time_seconds 1.7e+09\n")
	counters := map[string]bool{}
	for line := range strings.Lines(page) {
		if family, ok := strings.CutPrefix(line, "# TYPE vllm:"); ok {
			name, kind, _ := strings.Cut(strings.TrimSuffix(family, "\n"), " ")
			counters["vllm:"+name] = kind == "counter"
			if kind != "counter" {
				fmt.Fprintf(&out, "# TYPE %s %s\n", as.of("vllm:"+name), kind)
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
			fmt.Fprintf(&out, "%s%s%s", as.of(name), labels, rest)
			if counters[name] {
				fmt.Fprintf(&out, "%s%s%s", as.of(strings.TrimSuffix(name, "_total")), labels, rest)
			}
		}
	}
	return out.String()
}

func TestRay(t *testing.T) {
	own := bracketBy(t, plainly, recording(t, "serve_default_pre"), recording(t, "serve_default_post"), "filtered")
	for name, as := range map[string]spelling{"ray_vllm_": raySpelling, "ray_vllm:": rayColonSpelling, "vllm_": plainSpelling} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pre, post := asRay(recording(t, "serve_default_pre"), as, 2), asRay(recording(t, "serve_default_post"), as, 2)
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
			if !strings.Contains(doubts(got), "delayed_metrics") {
				t.Errorf("doubts %s", doubts(got))
			}
			if why := reason(got, "engine.endpoints.0.process_start_time"); !strings.Contains(why, "not the engine's own") || g.Endpoints[0].ProcessStartTime != nil {
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
		got := bracketBy(t, nothing, asRay(recording(t, "serve_default_pre"), raySpelling, 1), asRay(recording(t, "serve_default_post"), raySpelling, 1), "full")
		if *got.Engine.Tokens.Generation != *own.Engine.Tokens.Generation || got.Engine.Scrapes.Errors != 0 {
			t.Errorf("%d tokens, %d errors", *got.Engine.Tokens.Generation, got.Engine.Scrapes.Errors)
		}
	})
	t.Run("beside vLLM's own names", func(t *testing.T) {
		t.Parallel()
		both := func(page string) string {
			return asRay(page, raySpelling, 1) + asRay(page, plainSpelling, 1) + page
		}
		got := bracketBy(t, plainly, both(strings.Replace(recording(t, "serve_default_pre"), "\nprocess_start_time_seconds", "\nx", 1)),
			both(strings.Replace(recording(t, "serve_default_post"), "\nprocess_start_time_seconds", "\nx", 1)), "filtered")
		if diff := cmp.Diff(counted(t, own), counted(t, got)); diff != "" || len(got.Engine.Instances) != 1 || strings.Contains(doubts(got), "delayed") {
			t.Errorf("(-own names alone +both)\n%s %s", diff, doubts(got))
		}
	})
}

// What Ray's workers do inside the window, and which spelling is read.
func TestSpellingRules(t *testing.T) {
	const a, b = `ray_vllm_generation_tokens_total{WorkerId="a"} `, `ray_vllm_generation_tokens_total{WorkerId="b"} `
	const idle = "ray_vllm_num_requests_running{WorkerId=\"a\"} 0\n"
	const own = "vllm:generation_tokens_total{engine=\"0\"} "
	for _, c := range []struct {
		name  string
		pages []string
		want  int64
		why   string
	}{
		{"two workers", []string{a + "10\n" + b + "1\n", a + "12\n" + b + "4\n"}, 5, ""},
		{"the first token inside the window", []string{idle, a + "4\n"}, 4, ""},
		{"a worker that comes", []string{idle + a + "10\n", idle + a + "11\n" + b + "5\n"}, 6, ""},
		{"a worker that goes", []string{a + "10\n" + b + "1\n", a + "12\n"}, 0, "vanished"},
		{"the agent starts anew and keeps its counts", []string{a + "10\nprocess_start_time_seconds 5\n", a + "12\nprocess_start_time_seconds 9\n"}, 2, ""},
		{"its counts start anew", []string{a + "10\n", a + "3\n"}, 3, ""},
		{"counters as gauges", []string{"ray_vllm_generation_tokens 10\n" + a + "10\n", "ray_vllm_generation_tokens 30\n" + a + "12\n"}, 2, ""},
		{"own names win", []string{a + "10\n" + own + "1\n", a + "90\n" + own + "3\n"}, 2, ""},
		{"own names come later", []string{a + "10\n", a + "90\n" + own + "3\n"}, 0, "only on a later one"},
		{"own names go", []string{a + "10\n" + own + "1\n", a + "90\n"}, 0, "only on a later one"},
		{"one spelling of two", []string{a + "10\nvllm_generation_tokens_total 10\n", a + "12\nvllm_generation_tokens_total 12\n"}, 2, ""},
	} {
		got, why := reportOf(applyAll(t, c.pages...)).counter(generationTokens)
		if got != c.want || (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d %q, want %d %q", c.name, got, why, c.want, c.why)
		}
	}
}

// Every name of the table can be read in every spelling, and no two figures share one.
func TestSpellings(t *testing.T) {
	for i := range rowID(rowIDs()) {
		sample := i.name()
		if i.row().kind == histogramKind {
			sample += "_count"
		}
		w, ok := lookup(sample)
		if !ok || w.row.figure() != i.figure() || w.row.spelling() != i.spelling() && i.isVLLM() || i.spelling() == ownSpelling && w.row != i {
			t.Errorf("%s of row %d is read as row %d, %s", sample, i, w.row, w.row.name())
		}
		if i.isVLLM() && i.spelling() != ownSpelling && strings.Contains(i.name(), ":") != (i.spelling() == rayColonSpelling) {
			t.Errorf("row %d has the name %s", i, i.name())
		}
	}
	for _, name := range []string{"ray_process_start_time_seconds", "ray_prompt_tokens_total", "prompt_tokens_total", "ray_ray_vllm_prompt_tokens_total", "vllm", "ray_", ""} {
		if w, ok := lookup(name); ok {
			t.Errorf("%q is read as %s", name, w.row.name())
		}
	}
	for _, c := range []struct {
		name string
		part part
		kind exposition.Type
		want bool
	}{
		{"vllm:prompt_tokens", declared, exposition.Counter, true},
		{"vllm:prompt_tokens", declared, exposition.Gauge, false},
		{"ray_vllm_prompt_tokens_total", whole, exposition.Counter, true},
		{"vllm:iteration_tokens_total", declared, exposition.Histogram, true}, // for all its name
	} {
		if w, ok := lookup(c.name); !ok || w.part != c.part || w.declares(c.kind) != c.want {
			t.Errorf("%s: %+v %v", c.name, w, ok)
		}
	}
	if isWanted("vllm:iteration_tokens") {
		t.Error("the suffix of a histogram's name was taken off")
	}
}

// Labels with payloads are followed up to a limit on them all.
func TestLabelBytes(t *testing.T) {
	const first = "vllm:generation_tokens_total{x=\"1\"} 1\n"
	l := applyAll(t, first)
	if l.labelBytes != len(`"x"="1",`) {
		t.Errorf("%d bytes of labels", l.labelBytes)
	}
	l.labelBytes = maxLabelBytes - 10
	var page exposition.Page
	if err := exposition.NewParser(isWanted).Parse([]byte(first+"vllm:generation_tokens_total{x=\"22\"} 1\nvllm:generation_tokens_total{x=\"333333\"} 1\n"), &page); err != nil {
		t.Fatal(err)
	}
	l.open(&page, true)
	l.apply(&page, true, false)
	if _, why := reportOf(l).counter(generationTokens); len(l.series) != 2 || !strings.Contains(why, "more series than are followed") {
		t.Errorf("%d series, reason %q", len(l.series), why)
	}
}
