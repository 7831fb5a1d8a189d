package probe

import (
	"context"
	"fmt"
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
)

// An engine that starts during the run counts from zero, whether its address is known before
// the start or found during it. Its start time is relative to the boot time, which the kernel
// rounds to seconds, and may be before that of the run. An engine that is older than the run
// was there all the time, behind a tunnel that opened during the run.
func TestEngineStartsDuringRun(t *testing.T) {
	for name, c := range map[string]struct {
		found bool          // during the run
		age   time.Duration // of the engine at the run's start
		base  string
	}{
		"given":          {false, 0, "zero"},
		"found":          {true, 900 * time.Millisecond, "zero"},
		"given, tunnel":  {false, time.Minute, "scraped"},
		"found, tunnel":  {true, time.Minute, "scraped"},
		"given, rounded": {false, 900 * time.Millisecond, "zero"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "vllm.sock")
			p := New(quick)
			engine := target(t, "unix://"+socket)
			if !c.found {
				p.Add(engine)
			}
			p.ScrapeBaseline(context.Background()) // nothing listens yet
			started := time.Now()
			p.Start(started)
			if c.found {
				p.Add(engine)
				testkit.Await(t, "a poll is refused", func() bool {
					p.mu.Lock()
					defer p.mu.Unlock()
					return scrape.IsRefused(p.endpoints[0].lastError)
				})
			}
			born := fmt.Sprintf("process_start_time_seconds %.2f\n", float64(started.Add(-c.age).UnixMilli())/1000)
			r := newReplay(t, testkit.ReplaceLines(t, testkit.Recorded(t, "serve_default_post"), processStartLine, born))
			ln, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewUnstartedServer(r)
			server.Listener = ln
			server.Start()
			defer server.Close()
			r.await("filtered", 2)
			report := p.Finish(context.Background(), time.Now())
			checkNulls(t, report)
			g := report.Engine
			want := map[string]int64{"zero": 1, "scraped": 0}[c.base]
			if g == nil || g.Window.Base != c.base || *g.Tokens.Prompt != want*14570 || *g.Tokens.Generation != want*5753 || g.Requests.Finished["length"] != want*62 {
				t.Fatalf("engine %s, want base %s", testkit.JSON(g), c.base)
			}
			if late := strings.Contains(testkit.Codes(report.Notes), "late_base"); late != (c.base == "scraped") {
				t.Errorf("doubts %s", testkit.Codes(report.Notes))
			}
			if g.Endpoints[0].URL != "unix://"+socket {
				t.Errorf("endpoint %s", testkit.JSON(g.Endpoints))
			}
		})
	}
}

// Another process on the same address: gains before and after the restart add up.
func TestRestart(t *testing.T) {
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(r)
	defer server.Close()
	p := startRun(t, server.URL)
	r.await("filtered", 2)
	r.set(testkit.Recorded(t, "serve_default_post"))
	p.BeforeShutdown(context.Background()) // a full page: +5737 generated
	// The new process has counted more than the old one: only its start time differs.
	r.set(testkit.ReplaceLines(t, testkit.Recorded(t, "serve_default_post"), processStartLine, "process_start_time_seconds 1.79530349e+09\n"))
	r.await("filtered", 2)
	report := p.Finish(context.Background(), time.Now())
	checkNulls(t, report)
	g := report.Engine
	if *g.Tokens.Generation != 5737+5753 || g.Requests.Finished["length"] != 60+62 || g.LatencySeconds.TimeToFirstToken.Count != 122 {
		t.Errorf("after a restart: %s %s", testkit.JSON(g.Tokens), testkit.JSON(g.Requests))
	}
	if g.Window.Resets != 1 || !strings.Contains(testkit.Codes(report.Notes), "counter_reset") {
		t.Errorf("resets %d, doubts %s", g.Window.Resets, testkit.Codes(report.Notes))
	}
}

// The engine dies and is restarted after refused connections, with or without a start
// time on its page.
func TestRestartAfterRefusedPolls(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	for name, second := range map[string]string{
		"a new start time": strings.Replace(post, processStartLine, "process_start_time_seconds 1.79530349e+09\n", 1),
		"no start time":    testkit.ReplaceLines(t, pre, metrics.ProcessStartName, ""),
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
			p := startRun(t, "unix://"+socket)
			r.await("filtered", 2)
			r.set(post)
			p.BeforeShutdown(context.Background()) // 5737 generated
			server.CloseClientConnections()
			server.Close()
			e := p.allEndpoints()[0]
			testkit.Await(t, "a poll is refused", func() bool {
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
			if name == "no start time" {
				generated, finished, observed = 5737+16, 62, 62
			}
			if *g.Tokens.Generation != generated || g.Requests.Finished["length"] != finished || g.LatencySeconds.TimeToFirstToken.Count != observed {
				t.Errorf("%s %s, want %d generated", testkit.JSON(g.Tokens), testkit.JSON(g.Requests), generated)
			}
			if g.Window.Resets != 1 || !strings.Contains(testkit.Codes(report.Notes), "counter_reset") || g.Window.Final != "settled" || g.Scrapes.Errors > 1 {
				t.Errorf("window %s, scrapes %s, doubts %s", testkit.JSON(g.Window), testkit.JSON(g.Scrapes), testkit.Codes(report.Notes))
			}
			if start := g.Endpoints[0].ProcessStartTime; (start == nil) != (name == "no start time") {
				t.Errorf("start %s", testkit.JSON(start))
			}
		})
	}
}

// A process that replaces another may have more metrics and other buckets. These count
// from zero, because the old process did not have them.
func TestRestartWithMoreMetrics(t *testing.T) {
	t.Parallel()
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	const ttft = `vllm:time_to_first_token_seconds_bucket{engine="0",le="0.04",model_name="tiny"} `
	fewer := testkit.ReplaceLines(t, testkit.ReplaceLines(t, pre, "vllm:e2e_request_latency_seconds", ""), ttft, "")
	more := testkit.ReplaceLines(t, post, processStartLine, "process_start_time_seconds 1.79530349e+09\n")
	report := bracket(t, fewer, fewer, more)
	g := report.Engine
	if d := g.LatencySeconds.E2ERequestLatency; d == nil || d.Count != 62 {
		t.Errorf("E2E %s: %q", testkit.JSON(d), testkit.Reason(report.Notes, "engine.latency_seconds.e2e_request_latency"))
	}
	if d := g.LatencySeconds.TimeToFirstToken; d == nil || d.Count != 62 {
		t.Errorf("TTFT %s: %q", testkit.JSON(d), testkit.Reason(report.Notes, "engine.latency_seconds.time_to_first_token"))
	}
	if g.Window.Resets != 1 || *g.Tokens.Generation != 5753 {
		t.Errorf("window %s, tokens %s", testkit.JSON(g.Window), testkit.JSON(g.Tokens))
	}
}

// Two engines behind a load balancer must not be taken for one that restarts.
func TestLoadBalancedEngines(t *testing.T) {
	pre := testkit.Recorded(t, "serve_default_pre")
	other := strings.Replace(testkit.Recorded(t, "serve_default_post"), processStartLine, "process_start_time_seconds 1.79530349e+09\n", 1)
	r := newReplay(t, pre)
	server := httptest.NewServer(r)
	defer server.Close()
	p := startRun(t, server.URL)
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
	// The configuration of one does not describe the other.
	if got := testkit.JSON(report.EngineRuntimeConfig); got != "{}" || report.Engine.Config != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.config"), "in turn") {
		t.Errorf("settings %s %s", got, testkit.JSON(report.Engine.Config))
	}
}

// Before the start the address served an empty page, during the run an engine's. If that
// engine is older than the run, it does not count from zero.
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
		engine.setFault(func(http.ResponseWriter, *http.Request) {}) // an empty page
		p := New(quick)
		p.Add(target(t, server.URL))
		p.ScrapeBaseline(context.Background())
		engine.set(strings.Replace(testkit.Recorded(t, "serve_default_pre"), processStartLine, c.start, 1))
		engine.setFault(nil)
		p.Start(time.Now())
		engine.await("filtered", 2)
		engine.set(strings.Replace(testkit.Recorded(t, "serve_default_post"), processStartLine, c.start, 1))
		report := p.finishWithin(t)
		if got := *report.Engine.Tokens.Generation; got != c.want || c.codes != "" && !strings.Contains(testkit.Codes(report.Notes), c.codes) {
			t.Errorf("%s: %d generated, doubts %s", name, got, testkit.Codes(report.Notes))
		}
	}
}

// A server that is older than the run is not the one that the command starts, even though
// it listens on that one's port.
func TestForeignServerOnExpectedPort(t *testing.T) {
	started := fmt.Sprintf("process_start_time_seconds %d.0\n", time.Now().Add(-time.Hour).Unix())
	r := newReplay(t, testkit.ReplaceLines(t, testkit.Recorded(t, "serve_default_post"), processStartLine, started))
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

// The engine ends with the command: the last good reading counts, with its age.
func TestEngineEndsWithCommand(t *testing.T) {
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(r)
	p := startRun(t, server.URL)
	r.await("filtered", 2)
	r.set(testkit.Recorded(t, "serve_default_post"))
	r.await("filtered", 2)
	p.BeforeShutdown(context.Background())
	server.CloseClientConnections()
	server.Close()
	ended := time.Now()
	began := time.Now()
	report := p.Finish(context.Background(), ended)
	if d := time.Since(began); d > aggregate.SettleTimeout {
		t.Errorf("Finish waited %v for a server that has ended", d)
	}
	checkNulls(t, report)
	g := report.Engine
	if !endsBeforeExit(g.Window) || g.Window.FinalAgeSeconds <= 0 || !strings.Contains(testkit.Codes(report.Notes), "final_reading_lost") {
		t.Errorf("window %s, doubts %s", testkit.JSON(g.Window), testkit.Codes(report.Notes))
	}
	if *g.Tokens.Prompt != 14518 || *g.Tokens.Generation != 5737 {
		t.Errorf("tokens %s", testkit.JSON(g.Tokens))
	}
}

// An engine ends while it is busy: its tokens are known up to the last poll, its
// histograms up to the full page before. The event has both ages.
func TestEngineEndsWhileBusy(t *testing.T) {
	t.Parallel()
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(r)
	defer server.Close()
	p := startRun(t, server.URL)
	r.set(underLoad(t))
	r.await("filtered", 3)
	server.CloseClientConnections()
	server.Close()
	e := p.allEndpoints()[0]
	testkit.Await(t, "a poll is refused", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return scrape.IsRefused(e.lastError)
	})
	p.mu.Lock()
	ended := e.lastAt.Add(250 * time.Millisecond)
	e.fullAt = ended.Add(-4 * time.Second)
	p.mu.Unlock()
	report := p.Finish(context.Background(), ended)
	checkNulls(t, report)
	if g := report.Engine; *g.Tokens.Generation != 2784 || g.LatencySeconds.TimeToFirstToken != nil || g.Window.FinalAgeSeconds != 4 {
		t.Errorf("window %s, tokens %s, TTFT %s", testkit.JSON(g.Window), testkit.JSON(g.Tokens), testkit.JSON(g.LatencySeconds.TimeToFirstToken))
	}
	const want = "the engine was gone when the command ended: its figures are from 4.00 s earlier (tokens, their rates and the gauges, which are polled more often: 0.25 s earlier), and what it did after that is not counted"
	if !strings.Contains(testkit.JSON(report.Notes.Validity), want) {
		t.Errorf("validity %s", testkit.JSON(report.Notes.Validity))
	}
	e.fullAt = e.lastAt // as if the last poll had been for the full page
	if got := testkit.JSON(p.aggregate([]*endpoint{e}, nil, ended).Notes.Validity); !strings.Contains(got, "from 0.25 s earlier, and what it did") {
		t.Errorf("validity %s", got)
	}
}
