package probe

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// The figures that the client counted, and the exact differences between the pages, are in
// testdata/expositions/README.md and *_expected.md.
func TestRecordedEngine(t *testing.T) {
	report := bracket(t, testkit.Recorded(t, "serve_default_pre"), underLoad(t), testkit.Recorded(t, "serve_default_post"))
	g := report.Engine
	if g.Window.Base != "scraped" || g.Window.Final != "settled" || g.Window.FinalAgeSeconds != 0 || g.Window.Resets != 0 {
		t.Errorf("window: %+v", g.Window)
	}
	if diff := cmp.Diff([]string{"tiny"}, g.Models); diff != "" {
		t.Error(diff)
	}
	if v := g.Endpoints[0]; *v.Version != "0.32.0" || v.ProcessStartTime == nil || *v.ProcessStartTime != "2026-11-21T23:23:55.11Z" {
		t.Errorf("endpoint: %s", testkit.JSON(v))
	}
	if diff := cmp.Diff(map[string]int64{"stop": 0, "length": 60, "abort": 0, "error": 0, "repetition": 0}, g.Requests.Finished); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int64{"local_compute": 7350, "local_cache_hit": 7168, "external_kv_transfer": 0}, g.Tokens.PromptBySource); diff != "" {
		t.Error(diff)
	}
	if *g.Tokens.Prompt != 14518 || *g.Tokens.Generation != 5737 || *g.Requests.Preemptions != 0 {
		t.Errorf("tokens: %s", testkit.JSON(g.Tokens))
	}
	if h := g.PrefixCache.Local; h.Queries != 14518 || h.Hits != 7168 || !testkit.Near(h.HitRate, 7168.0/14518) || report.PrefixCacheHitRate != h.HitRate {
		t.Errorf("prefix cache: %s", testkit.JSON(h))
	}
	ttft := g.LatencySeconds.TimeToFirstToken
	if ttft.Count != 60 || !testkit.Near(&ttft.Sum, 2.8157277107238770) || !testkit.Near(ttft.Mean, 2.8157277107238770/60) ||
		!testkit.Near(ttft.P50Est, 0.04+0.02*6/23) || !testkit.Near(ttft.P90Est, 0.09) || !testkit.Near(ttft.P95Est, 0.095) || !testkit.Near(ttft.P99Est, 0.099) || ttft.Above != nil {
		t.Errorf("TTFT: %s", testkit.JSON(ttft))
	}
	for name, got := range map[string][2]*schema.Float{
		"inter-token": {&g.LatencySeconds.InterTokenLatency.Sum, schema.F(49.0684688)},
		"per token":   {&g.LatencySeconds.TimePerOutputToken.Sum, schema.F(0.520843232)},
		"e2e":         {&g.LatencySeconds.E2ERequestLatency.Sum, schema.F(51.7193079)},
		"queue":       {&g.LatencySeconds.RequestQueueTime.Sum, schema.F(0.001732478)},
		"prefill":     {&g.LatencySeconds.RequestPrefillTime.Sum, schema.F(1.24793579)},
		"decode":      {&g.LatencySeconds.RequestDecodeTime.Sum, schema.F(49.0684688)},
		"inference":   {&g.LatencySeconds.RequestInferenceTime.Sum, schema.F(50.3164046)},
		"prompt":      {&g.Tokens.PromptPerRequest.Sum, schema.F(14518)},
		"generation":  {&g.Tokens.GenerationPerRequest.Sum, schema.F(5737)},
		"iteration":   {&g.Tokens.PerIteration.Sum, schema.F(13087)},
	} {
		if math.Abs(float64(*got[0]-*got[1])) > 1e-8*float64(*got[1]) {
			t.Errorf("sum of %s is %v, want %v", name, *got[0], *got[1])
		}
	}
	if u := g.KVCache.Usage; *u.Peak != 0.0005493499359091603 || *u.Last != 0 || *report.KVCacheUsagePerc != 0 {
		t.Errorf("usage: %s", testkit.JSON(u))
	}
	if k := g.KVCache; *k.NumGPUBlocks != 16384 || *k.BlockSize != 128 || *k.SizeTokens != 2097152 || *k.PeakTokens != 1152 {
		t.Errorf("KV cache: %s", testkit.JSON(k))
	}
	// Replayed in a moment, the requests' time of running makes a high mean.
	if q := g.Requests.Running; *q.Peak != 3000 || *q.Last != 0 || *q.Method != "littles_law" || math.Abs(float64(*q.Mean*g.Window.DurationSeconds)-50.3164046) > 1e-6 {
		t.Errorf("running: %s", testkit.JSON(q))
	}
	if c := report.EngineRuntimeConfig; *c.EnablePrefixCaching != true || *c.KVCacheDtype != "auto" || c.MaxNumSeqs != nil {
		t.Errorf("runtime config: %s", testkit.JSON(c))
	}
	if g.Speculative != nil || !strings.Contains(testkit.Reason(report.Notes, "spec_accept_rate"), "off") {
		t.Errorf("speculation without its families: %s, %q", testkit.JSON(g.Speculative), testkit.Reason(report.Notes, "spec_accept_rate"))
	}
	in := g.Instances
	if len(in) != 1 || *in[0].Engine != "0" || *in[0].RequestsFinished != 60 || *in[0].PromptTokens != 14518 || *in[0].GenerationTokens != 5737 || *in[0].RequestsRunningPeak != 3000 {
		t.Errorf("instances: %s", testkit.JSON(in))
	}
	if s := g.Scrapes; s.Count < 7 || s.Errors != 0 || *s.MedianSeconds <= 0 || *s.MaxGapSeconds < *s.PeriodSeconds {
		t.Errorf("scrapes: %s", testkit.JSON(s))
	}
	seconds := float64(g.Window.DurationSeconds)
	if x, ok := g.Window.ActiveSecondsEst.Value(); ok != (*g.Throughput.Over == "active") {
		t.Errorf("throughput %s, window %s", testkit.JSON(g.Throughput), testkit.JSON(g.Window))
	} else if ok {
		seconds = x
	}
	if seconds <= 0 || !testkit.Near(g.Throughput.GenerationTokensPerSecond, 5737/seconds) || !testkit.Near(g.Throughput.RequestsPerSecond, 60/seconds) {
		t.Errorf("throughput %s over %v s", testkit.JSON(g.Throughput), seconds)
	}
	if codesOfReplay(report) != "few_requests" {
		t.Errorf("doubts: %s", testkit.Codes(report.Notes))
	}
}

func TestSpeculation(t *testing.T) {
	report := bracket(t, testkit.Recorded(t, "serve_ngram_pre"), testkit.Recorded(t, "serve_ngram_pre"), testkit.Recorded(t, "serve_ngram_post"))
	s := report.Engine.Speculative
	if s == nil || *s.Drafts != 929 || *s.DraftTokens != 2747 || *s.AcceptedTokens != 2747 || *s.AcceptanceRate != 1 || !testkit.Near(s.AcceptanceLength, 1+2747.0/929) {
		t.Fatalf("speculation: %s", testkit.JSON(s))
	}
	if diff := cmp.Diff([]int64{929, 929, 889}, s.AcceptedPerPosition); diff != "" {
		t.Error(diff)
	}
	if report.SpecAcceptRate != s.AcceptanceRate || !strings.Contains(testkit.Codes(report.Notes), "short_window") {
		t.Errorf("rate %v, doubts %s", report.SpecAcceptRate, testkit.Codes(report.Notes))
	}
}

func TestTwoEngines(t *testing.T) {
	report := bracket(t, testkit.Recorded(t, "serve_dp2_pre"), testkit.Recorded(t, "serve_dp2_pre"), testkit.Recorded(t, "serve_dp2_post"))
	g := report.Engine
	if *g.Tokens.Prompt != 7275+7243 || *g.Tokens.Generation != 2800+2937 || g.Requests.Finished["length"] != 60 {
		t.Errorf("sums: %s", testkit.JSON(g.Tokens))
	}
	if len(g.Instances) != 2 || *g.Instances[0].PromptTokens != 7275 || *g.Instances[1].GenerationTokens != 2937 {
		t.Errorf("instances: %s", testkit.JSON(g.Instances))
	}
	if !testkit.Near(&g.LatencySeconds.TimeToFirstToken.Sum, 1.76073956489563+1.92854762077332) {
		t.Errorf("TTFT: %s", testkit.JSON(g.LatencySeconds.TimeToFirstToken))
	}
	if g.Endpoints[0].ProcessStartTime != nil || testkit.Reason(report.Notes, "engine.endpoints.0.process_start_time") == "" {
		t.Error("a multiprocess page has no process_start_time_seconds")
	}
}

func TestIdleRun(t *testing.T) {
	page := testkit.Recorded(t, "serve_default_pre")
	report := bracket(t, page, page, page)
	g := report.Engine
	if *g.Tokens.Prompt != 0 || *g.Tokens.Generation != 0 || g.LatencySeconds.TimeToFirstToken != nil || g.PrefixCache.Local.HitRate != nil || report.PrefixCacheHitRate != nil {
		t.Errorf("figures of an idle engine: %s", testkit.JSON(g))
	}
	if r := testkit.Reason(report.Notes, "prefix_cache_hit_rate"); r != "no tokens were looked up" {
		t.Errorf("reason: %q", r)
	}
}

func TestBusyEngineDoesNotSettle(t *testing.T) {
	t.Parallel()
	busy := strings.Replace(testkit.Recorded(t, "serve_default_post"), `vllm:num_requests_running{engine="0",model_name="tiny"} 0.0`, `vllm:num_requests_running{engine="0",model_name="tiny"} 2.0`, 1)
	report := bracket(t, testkit.Recorded(t, "serve_default_pre"), busy, busy)
	if w := report.Engine.Window; w.Final != "unsettled" || w.SettleSeconds < 1 || !strings.Contains(testkit.Codes(report.Notes), "unsettled") {
		t.Errorf("busy engine: window %s, doubts %s", testkit.JSON(w), testkit.Codes(report.Notes))
	}
}

func TestBestOriginWins(t *testing.T) {
	given := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	foundInTree := newReplay(t, testkit.Recorded(t, "serve_ngram_pre"))
	a, b := httptest.NewServer(given), httptest.NewServer(foundInTree)
	defer a.Close()
	defer b.Close()
	p := New(quick)
	tree := target(t, b.URL)
	tree.Origin, tree.Started = scrape.FromTree, true
	p.Add(target(t, a.URL))
	p.Add(tree)
	p.Start(time.Now())
	given.await("filtered", 2)
	report := p.Finish(context.Background(), time.Now())
	checkNulls(t, report)
	if e := report.Engine.Endpoints; len(e) != 1 || e[0].URL != a.URL+"/metrics" {
		t.Errorf("endpoints %s", testkit.JSON(e))
	}
}

func TestNoEngine(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("process_start_time_seconds 1.0\nnode_load1 0.5\n"))
	}))
	defer other.Close()
	failing := newReplay(t, "")
	failing.status = 401
	unauthorized := httptest.NewServer(failing)
	defer unauthorized.Close()
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>\n")) }))
	defer html.Close()
	for _, c := range []struct{ address, want string }{
		{other.URL, "no vllm: samples"},
		{unauthorized.URL, "--metrics-header"},
		{html.URL, "line 1: no metric name"},
		{"http://127.0.0.1:1", "connection refused"},
		{"", "--metrics-url"},
	} {
		p := New(quick)
		if c.address != "" {
			p.Add(target(t, c.address))
		}
		p.ScrapeBaseline(context.Background())
		p.Start(time.Now())
		report := p.Finish(context.Background(), time.Now())
		if report.Engine != nil || !strings.Contains(testkit.Reason(report.Notes, "engine"), c.want) {
			t.Errorf("%s: reason %q, want one with %q", c.address, testkit.Reason(report.Notes, "engine"), c.want)
		}
		checkNulls(t, report)
	}
}

// Addresses of the same engine are one target: it would count twice otherwise.
func TestSameAddress(t *testing.T) {
	for _, c := range []struct {
		first, second string
		same          bool
	}{
		{"http://127.0.0.1:8000", "http://localhost:8000/metrics", true},
		{"http://localhost", "http://127.0.0.1", true},
		{"http://127.0.0.1:8000", "http://0.0.0.0:8000", true},
		{"http://127.0.0.1:8000", "http://localhost:8001", false},
		{"http://127.0.0.1:8000", "https://localhost:8000", false},
		{"http://127.0.0.1:8000", "http://[::1]:8000", false}, // two servers may listen on that port
		{"http://localhost:8000/a", "http://127.0.0.1:8000/b", false},
		{"unix:///a", "http://localhost", false},
	} {
		p := New(quick)
		p.Add(target(t, c.first))
		if added := p.Add(target(t, c.second)); added == c.same {
			t.Errorf("%s and %s: same %v", c.first, c.second, !added)
		}
	}
}

// A known address takes over that the command started the server there, whose counters count
// from zero, and that only the exact path may be scraped.
func TestServerFoundAtKnownAddress(t *testing.T) {
	engine := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(engine)
	defer server.Close()
	p := New(quick)
	known := target(t, server.URL)
	known.Origin = scrape.FromTree
	p.Add(known)
	found := known
	found.Started, found.ExactPath = true, true
	if p.Add(found) {
		t.Error("added twice")
	}
	p.Start(time.Date(2026, 11, 21, 23, 23, 54, 0, time.UTC)) // a second before the engine
	engine.await("full", 2)
	report := p.Finish(context.Background(), time.Now())
	if w := report.Engine.Window; w.Base != "zero" || engine.count("filtered") > 0 {
		t.Errorf("base %s, %d filtered requests", w.Base, engine.count("filtered"))
	}
}
