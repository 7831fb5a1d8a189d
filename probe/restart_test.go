package probe

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
)

// restartedStart is the process start time of an engine that replaces the recorded one.
const restartedStart = "process_start_time_seconds 1.79530349e+09\n"

// enginePage is the page of an engine at work or idle with a KV cache of that many blocks of
// 128 tokens.
func enginePage(blocks, tokens, running, usage string) string {
	return "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} " + running + "\n" +
		"# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"tiny\"} " + usage + "\n" +
		"# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total{engine=\"0\",model_name=\"tiny\"} 5\n" +
		"# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{block_size=\"128\",enable_prefix_caching=\"False\",engine=\"0\",kv_cache_size_tokens=\"" + tokens + "\",num_gpu_blocks=\"" + blocks + "\"} 1.0\n"
}

// The engine behind an address is replaced by one with a smaller KV cache: each peak counts
// with the size of its own engine's cache, and the event says which engine it describes. The
// usage and the sizes are those of two real engines with 60 and with 40 blocks.
func TestReplacedEngineHasItsOwnCacheSize(t *testing.T) {
	const usage = "0.27118644067796616"
	first, second := processStartLine+enginePage("60", "7680", "8.0", usage), restartedStart+enginePage("40", "5120", "0.0", "0.0")
	for name, c := range map[string]struct {
		second  string
		tokens  int64
		size    int64
		changed bool
	}{
		"another size":  {second, 2082, 5120, true},
		"a higher peak": {restartedStart + enginePage("40", "5120", "2.0", "0.5"), 2560, 5120, true},
		"the same size": {restartedStart + enginePage("60", "7680", "0.0", "0.0"), 2082, 7680, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplay(t, first)
			server := httptest.NewServer(r)
			defer server.Close()
			p := startRun(t, server.URL)
			r.await("filtered", 2)
			r.set(c.second)
			r.await("filtered", 2)
			report := p.Finish(context.Background(), time.Now())
			checkNulls(t, report)
			k, w := report.Engine.KVCache, report.Engine.Window
			if k.PeakTokens == nil || *k.PeakTokens != c.tokens || k.SizeTokens == nil || *k.SizeTokens != c.size || w.Resets != 1 {
				t.Errorf("%s %s", testkit.JSON(k), testkit.JSON(w))
			}
			codes := testkit.Codes(report.Notes)
			if strings.Contains(codes, "engine_changed") != c.changed || !strings.Contains(codes, "counter_reset") {
				t.Errorf("doubts %s", codes)
			}
			if notes := testkit.JSON(report.Notes); c.changed && !strings.Contains(notes, "num_gpu_blocks=60, then 40") {
				t.Errorf("%s", notes)
			}
		})
	}
}

// The engine is replaced after it was down for most of the run: the mean is that of the window
// all the same, and batch_utilization is over the time in which the engines worked.
func TestMeanAcrossDownTime(t *testing.T) {
	page := func(start, running string) string {
		return start + enginePage("60", "7680", running, "0.25") + "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine=\"0\",model_name=\"tiny\"} 0.0\n"
	}
	tg := target(t, "http://127.0.0.1:8000")
	tg.MaxNumSeqs = 8
	pl := newPlayer(t, tg)
	pl.at(-1, 0, phaseBefore, true, page(processStartLine, "0.0"))
	for i := range 50 {
		pl.at(float64(i), 0, phaseDuring, false, page(processStartLine, "8.0"))
	}
	pl.at(50, 0, phaseDuring, true, page(processStartLine, "0.0"))
	for _, second := range []time.Duration{51, 499} { // refused
		at := pl.began.Add(second * time.Second)
		pl.p.endpoints[0].failedAt = at
		pl.p.gauges[scrape.FromFlag].Clear(0, at)
	}
	for i := range 50 {
		pl.at(float64(500+i), 0, phaseDuring, i == 0, page(restartedStart, map[bool]string{true: "0.0", false: "4.0"}[i == 0]))
	}
	pl.at(550, 0, phaseAfter, true, page(restartedStart, "0.0"))
	report := pl.report(550)
	const area = 50*8 + 49*4.0
	q := report.Engine.Requests
	if mean := float64(*q.Running.Mean); *q.Running.Method != "polled" || mean < 0.99*area/551 || mean > 1.01*area/551 {
		t.Errorf("running %s, want a mean of %.3f", testkit.JSON(q.Running), area/551)
	}
	if used := q.BatchUtilization; used == nil || *used < 0.95*area/100/8 || *used > 1.05*area/100/8 {
		t.Errorf("batch_utilization %s, want %.3f: %s", testkit.JSON(used), area/100/8, testkit.Reason(report.Notes, "engine.requests.batch_utilization"))
	}
}

// A restart that only a filtered page has shown: the new engine's cache is unknown, and the
// old one's labels are not taken for it.
func TestReplacedEngineWithoutWholePage(t *testing.T) {
	first := processStartLine + enginePage("60", "7680", "8.0", "0.25")
	pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
	pl.at(-0.1, 0, phaseBefore, true, first)
	pl.at(1, 0, phaseDuring, false, first)
	pl.at(2, 0, phaseDuring, false, restartedStart+enginePage("40", "5120", "1.0", "0.5"))
	report := pl.report(10)
	if k := report.Engine.KVCache; k.PeakTokens != nil || k.SizeTokens != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.kv_cache.size_tokens"), "was replaced") {
		t.Errorf("%s", testkit.JSON(k))
	}
}

// A page that is merged from those of several processes does not say which one is the
// engine's (Istio's agent adds its own metrics to an application's).
func TestMergedPage(t *testing.T) {
	page := func(start, tokens string) string {
		return "process_start_time_seconds 1788000000.5\n# TYPE istio_agent_go_info gauge\nistio_agent_go_info{version=\"go1.22\"} 1\n# TYPE process_start_time_seconds gauge\n" +
			"process_start_time_seconds " + start + "\n# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} " + tokens +
			"\n# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\",model_name=\"m\"} 0\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0\n"
	}
	report := bracket(t, page("1789000000.0", "100"), page("1789000000.0", "100"), page("1789000500.0", "300"))
	g := report.Engine
	if *g.Tokens.Generation != 300 || g.Window.Resets != 1 {
		t.Errorf("%s %s", testkit.JSON(g.Tokens), testkit.JSON(g.Window))
	}
	if why := testkit.Reason(report.Notes, "engine.endpoints.0.process_start_time"); !strings.Contains(why, "of 2 processes") {
		t.Errorf("reason %q", why)
	}
	if codes := testkit.Codes(report.Notes); strings.Contains(codes, "duplicate_series") || strings.Contains(codes, "several_servers") {
		t.Errorf("doubts %s", codes)
	}
	same := bracket(t, page("1789000000.0", "100"), page("1789000000.0", "100"), page("1789000000.0", "300"))
	if *same.Engine.Tokens.Generation != 200 || same.Engine.Window.Resets != 0 {
		t.Errorf("%s %s", testkit.JSON(same.Engine.Tokens), testkit.JSON(same.Engine.Window))
	}
}

// The page of vLLM production-stack's router, or a Prometheus server's /federate page, has
// copies of what engines export.
func TestCollectorsPage(t *testing.T) {
	router := func(running string) string {
		var b strings.Builder
		for _, name := range []string{"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:gpu_prefix_cache_hits_total", "vllm:healthy_pods_total"} {
			b.WriteString("# TYPE " + name + " gauge\n" + name + "{server=\"http://10.0.0.1:8000\"} " + running + "\n" + name + "{server=\"http://10.0.0.2:8000\"} 5.0\n")
		}
		return b.String() + processStartLine
	}
	federate := strings.NewReplacer(`model_name="tiny"`, `instance="10.0.0.1:8000",job="vllm",model_name="tiny"`).Replace(testkit.Recorded(t, "serve_default_post"))
	for name, page := range map[string][2]string{
		"router":   {router("3.0"), router("9.0")},
		"federate": {federate, strings.Replace(federate, processStartLine, restartedStart, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplay(t, page[0])
			server := httptest.NewServer(r)
			defer server.Close()
			p := startRun(t, server.URL)
			r.await("full", 3)
			r.set(page[1])
			report := p.finishWithin(t)
			codes := testkit.Codes(report.Notes)
			if !strings.Contains(codes, "delayed_metrics") || strings.Contains(codes, "counter_reset") {
				t.Errorf("doubts %s", codes)
			}
			if r.count("/version") != 0 || report.Engine.Endpoints[0].Version != nil || report.Engine.Endpoints[0].ProcessStartTime != nil {
				t.Errorf("it was queried as an engine: %s", testkit.JSON(report.Engine.Endpoints))
			}
		})
	}
	if report := bracket(t, testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")); strings.Contains(testkit.Codes(report.Notes), "delayed_metrics") {
		t.Error("an engine's own page is taken for a collector's")
	}
}

// The times of the requests that a process finished after its last whole page are lost with
// it: the mean is what the counters have, and what the polls found after that page.
func TestMeanAcrossRestart(t *testing.T) {
	pre, post := casePages(t, "preempt")
	const running = `vllm:num_requests_running{engine="0",model_name="tiny"} `
	const preemptions = `vllm:num_preemptions_total{engine="0",model_name="tiny"} `
	post = testkit.ReplaceAll(t, post, preemptions+"25.0", preemptions+"0.0")
	at := func(n string) string { return testkit.SetValues(t, post, running+n) }
	pl := newPlayer(t, target(t, "http://127.0.0.1:9940"))
	pl.at(-0.1, 0, phaseBefore, true, pre)
	for s := 1.0; s <= 5; s++ {
		pl.at(s, 0, phaseDuring, false, testkit.SetValues(t, pre, running+"2.0"))
	}
	pl.at(6, 0, phaseDuring, true, at("0.0")) // all that the first process counted
	for i := 1; i <= 14; i++ {
		pl.at(6+float64(i)/5, 0, phaseDuring, false, at("4.0"))
	}
	refused := pl.began.Add(9 * time.Second)
	pl.p.gauges[scrape.FromFlag].Clear(0, refused)
	pl.at(9.9, 0, phaseDuring, true, testkit.SetValues(t, newer(t, pre), running+"0.0"))
	pl.at(10.1, 0, phaseAfter, true, testkit.SetValues(t, newer(t, pre), running+"0.0"))
	report := pl.report(10)
	r := report.Engine.Requests.Running
	// From 6 s on: up to 4 within 0.2 s, 4 until 8.8 s, and down to 0 at 9 s.
	want := (17.34081239599982 + 0.4 + 4*2.6 + 0.4) / 10.2
	if r.Method == nil || *r.Method != "littles_law_with_polls" || !testkit.Near(r.Mean, want) || r.MeanBounds == nil || r.MeanBounds[1] != nil {
		t.Errorf("running %s, want %v: %s", testkit.JSON(r), want, testkit.Reason(report.Notes, "engine.requests.running.mean"))
	}
}

// newer returns a page of a process that replaces the one of a case's pages, and has counted
// nothing.
func newer(t *testing.T, page string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "process_start_time_seconds "):
			line = "process_start_time_seconds 1.9e+09\n"
		case strings.HasPrefix(line, "vllm:") && !strings.Contains(line, "_created") && !strings.HasPrefix(line, "vllm:cache_config_info"):
			line = line[:strings.LastIndexByte(line, ' ')] + " 0.0\n"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}
