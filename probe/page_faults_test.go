package probe

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

const processStartLine = "process_start_time_seconds 1.79530343511e+09\n"

const (
	generated = `vllm:generation_tokens_total{engine="0",model_name="tiny"} `
	usage     = `vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} `
)

// Pages that can be read and have something wrong with their figures. What is
// not touched is right to the last digit.
func TestWrongFigures(t *testing.T) {
	t.Parallel()
	pre, load, post := testkit.Recorded(t, "serve_default_pre"), underLoad(t), testkit.Recorded(t, "serve_default_post")
	const twice = generated + "7.0\n" + generated + "8.0\n"
	for _, c := range []struct {
		name              string
		pre, during, post string
		generation        int64 // -1: null
		why, codes        string
	}{
		{"NaN counter during", pre, testkit.ReplaceLines(t, load, generated, generated+"NaN\n"), post, 5737, "", "invalid_values"},
		{"NaN counter at the end", pre, load, testkit.ReplaceLines(t, post, generated, generated+"NaN\n"), -1, "had an invalid value", "invalid_values"},
		{"infinite counter at the start", testkit.ReplaceLines(t, pre, generated, generated+"+Inf\n"), load, post, -1, "no usable value on the first page", "invalid_values"},
		{"negative counter at the end", pre, load, testkit.ReplaceLines(t, post, generated, generated+"-1\n"), -1, "had an invalid value", "invalid_values"},
		{"too large", pre, load, testkit.ReplaceLines(t, post, generated, generated+"1e300\n"), -1, "too large", ""},
		{"twice with one value", testkit.ReplaceLines(t, pre, generated, generated+"16.0\n"+generated+"16.0\n"), testkit.ReplaceLines(t, load, generated, generated+"20.0\n"+generated+"20.0\n"), testkit.ReplaceLines(t, post, generated, generated+"5753.0\n"+generated+"5753.0\n"), 5737, "", "duplicate_series"},
		{"twice during", pre, testkit.ReplaceLines(t, load, generated, twice), post, 5737, "", "duplicate_series"},
		{"twice at the end", pre, load, testkit.ReplaceLines(t, post, generated, twice), -1, "two different values", "duplicate_series"},
		{"twice at the start", testkit.ReplaceLines(t, pre, generated, twice), load, post, -1, "the page had it twice", "duplicate_series"},
		{"family lost during", pre, testkit.ReplaceLines(t, load, "vllm:generation_tokens_total", ""), post, 5737, "", "scrapes_failed"},
		{"family lost at the end", pre, load, testkit.ReplaceLines(t, post, "vllm:generation_tokens_total", ""), -1, "vanished from the page inside the window", ""},
		{"family lost at the start", testkit.ReplaceLines(t, testkit.ReplaceLines(t, pre, metrics.ProcessStartName, ""), "vllm:generation_tokens_total", ""), load, post, -1, "only on a later one", ""},
		{"no start to tell", testkit.ReplaceLines(t, pre, metrics.ProcessStartName, ""), testkit.ReplaceLines(t, load, metrics.ProcessStartName, ""), testkit.ReplaceLines(t, post, metrics.ProcessStartName, ""), 5737, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplay(t, c.pre)
			server := httptest.NewServer(r)
			defer server.Close()
			p := New(quick)
			p.Add(target(t, server.URL))
			p.ScrapeBaseline(context.Background())
			p.Start(time.Now())
			r.set(c.during)
			p.BeforeShutdown(context.Background()) // a full page
			p.BeforeShutdown(context.Background())
			e := p.snapshot()[0]
			p.mu.Lock()
			n := e.count + e.errors
			p.mu.Unlock()
			await(t, "a poll", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return e.count+e.errors > n+1
			})
			r.set(load)
			p.BeforeShutdown(context.Background())
			r.set(c.post)
			report := p.finishWithin(t)
			g := report.Engine
			if got := g.Tokens.Generation; c.generation >= 0 && (got == nil || *got != c.generation) {
				t.Errorf("generated %s, want %d; %s", testkit.JSON(got), c.generation, testkit.Reason(report.Notes, "engine.tokens.generation"))
			} else if c.generation < 0 && (got != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.tokens.generation"), c.why) || g.Throughput.GenerationTokensPerSecond != nil || g.Instances[0].GenerationTokens != nil) {
				t.Errorf("generated %s: %q, want none: %q", testkit.JSON(got), testkit.Reason(report.Notes, "engine.tokens.generation"), c.why)
			}
			if *g.Tokens.Prompt != 14518 || g.LatencySeconds.TimeToFirstToken.Count != 60 || g.Window.Resets != 0 {
				t.Errorf("the others: %s", testkit.JSON(g.Tokens))
			}
			if c.codes != "" && !strings.Contains(testkit.Codes(report.Notes), c.codes) && c.codes != "scrapes_failed" {
				t.Errorf("doubts %q, want %q", testkit.Codes(report.Notes), c.codes)
			}
		})
	}
}

func TestWrongGauges(t *testing.T) {
	t.Parallel()
	pre, load, post := testkit.Recorded(t, "serve_default_pre"), underLoad(t), testkit.Recorded(t, "serve_default_post")
	peak := 0.0005493499359091603
	for name, c := range map[string]struct {
		during, post string
		peak         float64 // 0: none
		last         float64 // -1: null
		why          string
	}{
		"NaN during":             {testkit.ReplaceLines(t, load, usage, usage+"NaN\n"), post, peak, 0, ""},
		"infinite during":        {testkit.ReplaceLines(t, load, usage, usage+"+Inf\n"), post, peak, 0, ""},
		"twice during":           {testkit.ReplaceLines(t, load, usage, usage+"0.9\n"+usage+"0.8\n"), post, peak, 0, ""},
		"lost at the end":        {load, testkit.ReplaceLines(t, post, "vllm:kv_cache_usage_perc", ""), peak, -1, "vanished"},
		"of two models at once":  {testkit.ReplaceLines(t, load, usage, usage+"0.25\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"b\"} 0.125\n"), testkit.ReplaceLines(t, post, usage, usage+"0\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"b\"} 0.125\n"), 0.25, 0.125, ""},
		"twice with the same":    {testkit.ReplaceLines(t, load, usage, usage+"0.5\n"+usage+"0.5\n"), post, 0.5, 0, ""},
		"an engine that is lost": {testkit.ReplaceLines(t, load, usage, usage+"0.25\nvllm:kv_cache_usage_perc{engine=\"1\",model_name=\"tiny\"} 0.5\n"), testkit.ReplaceLines(t, post, usage, usage+"0\n"), 0.5, -1, "vanished"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplay(t, pre)
			server := httptest.NewServer(r)
			defer server.Close()
			p := New(quick)
			p.Add(target(t, server.URL))
			p.ScrapeBaseline(context.Background())
			p.Start(time.Now())
			for _, page := range []string{c.during, c.during, load} {
				r.set(page)
				p.BeforeShutdown(context.Background())
			}
			r.set(c.post)
			report := p.finishWithin(t)
			u := report.Engine.KVCache.Usage
			if u == nil || *u.Peak != schema.Float(c.peak) || c.last >= 0 && (u.Last == nil || *u.Last != schema.Float(c.last) || *report.KVCacheUsagePerc != *u.Last) {
				t.Fatalf("usage %s %v, want peak %v, last %v", testkit.JSON(u), testkit.JSON(report.KVCacheUsagePerc), c.peak, c.last)
			}
			if c.last < 0 && (u.Last != nil || report.KVCacheUsagePerc != nil || !strings.Contains(testkit.Reason(report.Notes, "kv_cache_usage_perc"), c.why)) {
				t.Errorf("usage %s: %q", testkit.JSON(u), testkit.Reason(report.Notes, "kv_cache_usage_perc"))
			}
		})
	}
	// Never a number: null, and the reason is not that the engine lacks it.
	nan := testkit.ReplaceLines(t, pre, usage, usage+"NaN\n")
	report := bracket(t, nan, nan, nan)
	if why := testkit.Reason(report.Notes, "kv_cache_usage_perc"); report.Engine.KVCache.Usage != nil || !strings.Contains(why, "NaN or infinite") {
		t.Errorf("%s: %q", testkit.JSON(report.Engine.KVCache), why)
	}
}

// The engine dies and comes back: with another start to tell, or with none,
// after it was refused or at once.
func TestDiesAndComesBack(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	for name, second := range map[string]string{
		"a new start": strings.Replace(post, processStartLine, "process_start_time_seconds 1.79530349e+09\n", 1),
		"no start":    testkit.ReplaceLines(t, pre, metrics.ProcessStartName, ""),
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "vllm.sock")
			r := newReplay(t, pre)
			listen := func() *httptest.Server {
				ln, err := net.Listen("unix", socket)
				if err != nil {
					t.Fatal(err)
				}
				server := httptest.NewUnstartedServer(r)
				server.Listener = ln
				server.Start()
				return server
			}
			server := listen()
			p := New(quick)
			p.Add(target(t, "unix://"+socket))
			p.ScrapeBaseline(context.Background())
			p.Start(time.Now())
			r.await("filtered", 2)
			r.set(post)
			p.BeforeShutdown(context.Background()) // 5737 generated
			server.CloseClientConnections()
			server.Close()
			e := p.snapshot()[0]
			await(t, "a refused poll", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return scrape.IsRefused(e.lastError)
			})
			r.set(second)
			server = listen()
			defer server.Close()
			r.await("filtered", 3)
			report := p.finishWithin(t)
			g := report.Engine
			generated, finished, observed := int64(5737+5753), int64(122), int64(122)
			if name == "no start" {
				generated, finished, observed = 5737+16, 62, 62
			}
			if *g.Tokens.Generation != generated || g.Requests.Finished["length"] != finished || g.LatencySeconds.TimeToFirstToken.Count != observed {
				t.Errorf("%s %s, want %d generated", testkit.JSON(g.Tokens), testkit.JSON(g.Requests), generated)
			}
			if g.Window.Resets != 1 || !strings.Contains(testkit.Codes(report.Notes), "counter_reset") || g.Window.Final != "settled" || g.Scrapes.Errors > 1 {
				t.Errorf("window %s, scrapes %s, doubts %s", testkit.JSON(g.Window), testkit.JSON(g.Scrapes), testkit.Codes(report.Notes))
			}
			if start := g.Endpoints[0].ProcessStartTime; (start == nil) != (name == "no start") {
				t.Errorf("start %s", testkit.JSON(start))
			}
		})
	}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}

// Two engines behind a load balancer: their counters must not be taken for
// restarts of one.
func TestServersInTurn(t *testing.T) {
	pre := testkit.Recorded(t, "serve_default_pre")
	other := strings.Replace(testkit.Recorded(t, "serve_default_post"), processStartLine, "process_start_time_seconds 1.79530349e+09\n", 1)
	r := newReplay(t, pre)
	server := httptest.NewServer(r)
	defer server.Close()
	p := New(quick)
	p.Add(target(t, server.URL))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	for range 3 {
		r.set(other)
		p.BeforeShutdown(context.Background())
		r.set(pre)
		p.BeforeShutdown(context.Background())
	}
	report := p.finishWithin(t)
	if g := report.Engine; g.Tokens.Generation != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.tokens.generation"), "several servers answer") || !strings.Contains(testkit.Codes(report.Notes), "several_servers") || strings.Contains(testkit.Codes(report.Notes), "counter_reset") {
		t.Errorf("%s, doubts %s", testkit.JSON(g.Tokens), testkit.Codes(report.Notes))
	}
	// What one of them says of itself is nothing about the others.
	if got := testkit.JSON(report.EngineRuntimeConfig); got != "{}" || report.Engine.Config != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.config"), "in turn") {
		t.Errorf("settings %s %s", got, testkit.JSON(report.Engine.Config))
	}
}

// Something answered before the start that was no engine, and then an engine does
// that had been there all along: it does not count from zero.
func TestLateBase(t *testing.T) {
	for name, c := range map[string]struct {
		start string
		want  int64
		codes string
	}{
		"older than the run":   {processStartLine, 5737, "late_base"},
		"younger than the run": {"process_start_time_seconds 4e9\n", 5753, ""},
	} {
		engine, server := newFaulty(t, strings.Replace(underLoad(t), processStartLine, c.start, 1))
		engine.serve(func(http.ResponseWriter, *http.Request) {}) // an empty page
		p := New(quick)
		p.Add(target(t, server.URL))
		p.ScrapeBaseline(context.Background())
		engine.set(strings.Replace(testkit.Recorded(t, "serve_default_pre"), processStartLine, c.start, 1))
		engine.serve(nil)
		p.Start(time.Now())
		engine.await("filtered", 2)
		engine.set(strings.Replace(testkit.Recorded(t, "serve_default_post"), processStartLine, c.start, 1))
		report := p.finishWithin(t)
		if got := *report.Engine.Tokens.Generation; got != c.want || c.codes != "" && !strings.Contains(testkit.Codes(report.Notes), c.codes) {
			t.Errorf("%s: %d generated, doubts %s", name, got, testkit.Codes(report.Notes))
		}
	}
}

// Filtered polls that worked begin to fail, alone: full pages take their place.
func TestFilterBeginsToFail(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"empty":       func(http.ResponseWriter, *http.Request) {},
		"500":         func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) },
		"HTML":        func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>\n") },
		"other names": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "vllm:num_requests_waiting 0\n") },
		"all names": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, testkit.Recorded(t, "serve_default_pre"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			engine, server := newFaulty(t, testkit.Recorded(t, "serve_default_pre"))
			p := New(quick)
			p.Add(target(t, server.URL))
			p.ScrapeBaseline(context.Background())
			p.Start(time.Now())
			engine.await("filtered", 3)
			engine.serve(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery != "" {
					answer(w, r)
					return
				}
				engine.replay.ServeHTTP(w, r)
			})
			engine.awaitHits(3)
			engine.set(underLoad(t))
			full := 3
			if name == "all names" {
				full = 4 // the polls that are answered so count none
			}
			engine.await("full", full)
			e := p.snapshot()[0]
			await(t, "the end of filtered polls", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return e.schedule.Filter == scrape.FilterRefused
			})
			engine.await("full", 3)
			engine.set(testkit.Recorded(t, "serve_default_post"))
			report := p.finishWithin(t)
			checkRecordedRun(t, report)
			if g := report.Engine; *g.Requests.Running.Peak != 3 || (g.Scrapes.Errors == 0) != (name == "all names") || g.Scrapes.Errors > 4 {
				t.Errorf("running %s, scrapes %s", testkit.JSON(g.Requests.Running), testkit.JSON(g.Scrapes))
			}
		})
	}
}

// A server that closes its connections without a word, after each answer or when
// they are idle: the next request goes on a new one, and nothing has failed.
func TestClosedConnections(t *testing.T) {
	for name, prepare := range map[string]func(*http.Server){
		"when idle":         func(s *http.Server) { s.IdleTimeout = time.Millisecond },
		"after each answer": func(s *http.Server) { s.SetKeepAlivesEnabled(false) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
			server := httptest.NewUnstartedServer(r)
			prepare(server.Config)
			server.Start()
			defer server.Close()
			p := New(quick)
			p.Add(target(t, server.URL))
			p.ScrapeBaseline(context.Background())
			p.Start(time.Now())
			r.await("filtered", 20)
			r.set(testkit.Recorded(t, "serve_default_post"))
			report := p.finishWithin(t)
			checkRecordedRun(t, report)
			if s := report.Engine.Scrapes; s.Errors != 0 || testkit.Codes(report.Notes) != "short_window" {
				t.Errorf("scrapes %s, doubts %s", testkit.JSON(s), testkit.Codes(report.Notes))
			}
		})
	}
}

// A page takes 500 ms: the start waits for it, and then there is one poll within
// the first half minute, for what a request costs the server is 1 % of the time.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case <-time.After(500 * time.Millisecond):
		case <-req.Context().Done():
		}
		r.ServeHTTP(w, req)
	}))
	defer server.Close()
	p := New(Config{})
	p.Add(target(t, server.URL))
	within(t, "Base", baselineTimeout, func() { p.ScrapeBaseline(context.Background()) })
	p.Start(time.Now())
	var wait time.Duration
	await(t, "the first poll's end", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		wait, _ = p.endpoints[0].plan()
		return p.endpoints[0].schedule.FilteredLatency.N > 0
	})
	if p.endpoints[0].base == aggregate.BaseScraped && wait < 30*time.Second { // else the machine was too slow for it
		t.Errorf("the next poll comes after %v, want 50 s less what the first credit covers", wait)
	}
	r.set(testkit.Recorded(t, "serve_default_post"))
	p.beforeShutdownWithin(t) // it gets nothing within 250 ms
	report := p.finishWithin(t)
	if g := report.Engine; p.endpoints[0].base == aggregate.BaseScraped && *g.Tokens.Generation != 5737 {
		t.Errorf("%s, %s", testkit.JSON(g.Tokens), testkit.JSON(g.Window))
	}
}

// A header and a private CA through a whole run.
func TestLockedServer(t *testing.T) {
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, _ := req.BasicAuth(); req.Header.Get("X-Key") != "k" || user != "u" || password != "p" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		r.ServeHTTP(w, req)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	address := strings.Replace(server.URL, "https://", "https://u:p@", 1)
	cfg := Config{Interval: quick.Interval, CA: pool, Headers: http.Header{"X-Key": {"k"}}}
	p := New(cfg)
	p.Add(target(t, address))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	r.await("filtered", 3)
	r.set(testkit.Recorded(t, "serve_default_post"))
	report := p.finishWithin(t)
	checkRecordedRun(t, report)
	if strings.Contains(testkit.JSON(report.Engine.Endpoints), "u:p") {
		t.Error("user info reaches the event")
	}
	cfg.CA = x509.NewCertPool()
	if err := Check(context.Background(), cfg, target(t, address)); err == nil || !strings.Contains(err.Error(), "--metrics-ca") || strings.Contains(err.Error(), "u:p") {
		t.Errorf("without the CA: %v", err)
	}
	cfg.CA, cfg.Headers = pool, nil
	if err := Check(context.Background(), cfg, target(t, address)); err == nil || !strings.Contains(err.Error(), "--metrics-header") {
		t.Errorf("without the header: %v", err)
	}
}

// A server that was there before the run is not the one that the command starts,
// whoever it is that listens on its port.
func TestOlderThanTheServerToBeStarted(t *testing.T) {
	page := testkit.Recorded(t, "serve_default_post")
	started := fmt.Sprintf("process_start_time_seconds %d.0", time.Now().Add(-time.Hour).Unix())
	r := newReplay(t, strings.Replace(page, "process_start_time_seconds 1.79530343511e+09", started, 1))
	server := httptest.NewServer(r)
	defer server.Close()
	tg := target(t, server.URL)
	tg.Started = true
	p := New(quick)
	p.Add(tg)
	p.Start(time.Now())
	r.await("full", 1)
	report := p.Finish(context.Background(), time.Now())
	if report.Engine != nil || !strings.Contains(testkit.Codes(report.Notes), "engine_not_ours") || !strings.Contains(testkit.Reason(report.Notes, "engine"), "started before the command") {
		t.Errorf("engine %s, doubts %s, reason %q", testkit.JSON(report.Engine), testkit.Codes(report.Notes), testkit.Reason(report.Notes, "engine"))
	}
}
