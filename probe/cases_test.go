package probe

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
)

// casePages returns the pages of a case in testdata/cases.
func casePages(t *testing.T, name string) (pre, post string) {
	t.Helper()
	return string(testkit.Testdata(t, "cases/"+name+"_pre.prom")), string(testkit.Testdata(t, "cases/"+name+"_post.prom"))
}

// playCase plays a command of 3 s on a server that serves the first page for the first
// half second and the second page from then on, polled each half second.
func playCase(t *testing.T, pre, post string) aggregate.Output {
	t.Helper()
	pl := newPlayer(t, target(t, "http://127.0.0.1:9940"))
	pl.at(-0.1, 0, phaseBefore, true, pre)
	for i := range 6 {
		page := pre
		if i > 0 {
			page = post
		}
		pl.at(0.1+float64(i)/2, 0, phaseDuring, true, page)
	}
	pl.at(3.1, 0, phaseAfter, true, post)
	pl.at(3.2, 0, phaseAfter, true, post)
	return pl.report(3)
}

// Preemptions prove that the cache was full, and the engine's own times how many requests
// there were at most: no poll saw either.
func TestPreemptionsBetweenPolls(t *testing.T) {
	pre, post := casePages(t, "preempt")
	report := playCase(t, pre, post)
	g := report.Engine
	const window = 3.3
	q := g.Requests
	if *g.Requests.Preemptions != 25 || q.Finished["length"] != 48 || *q.UnaccountedMin != 0 {
		t.Errorf("requests %s", testkit.JSON(q))
	}
	if r := q.Running; r.Peak != nil || r.Mean != nil || r.Method != nil || *r.Last != 0 || r.MeanBounds == nil || *r.MeanBounds[0] != 0 || math.Abs(float64(*r.MeanBounds[1])-17.34081239599982/window) > 1e-6 {
		t.Errorf("running %s", testkit.JSON(r))
	}
	if r := q.Waiting; r.Peak != nil || r.Mean != nil || math.Abs(float64(*r.MeanBounds[0])-4.007054935/window) > 1e-6 || math.Abs(float64(*r.MeanBounds[1])-(4.007054935+17.340812396)/window) > 1e-6 {
		t.Errorf("waiting %s", testkit.JSON(r))
	}
	if q.BatchUtilization != nil {
		t.Errorf("batch utilization %v", *q.BatchUtilization)
	}
	if u := g.KVCache.Usage; u.Peak != nil || u.Mean != nil || *u.Last != 0 || *report.KVCacheUsagePerc != 0 || g.KVCache.PeakTokens != nil {
		t.Errorf("KV cache %s", testkit.JSON(g.KVCache))
	}
	if in := g.Instances[0]; in.KVCacheUsagePeak != nil || in.RequestsRunningPeak != nil || *in.RequestsFinished != 48 {
		t.Errorf("instance %s", testkit.JSON(in))
	}
	for path, needed := range map[string]int{"engine.requests.running.peak": 3, "engine.requests.running.mean": 10, "engine.kv_cache.usage.peak": 3, "engine.kv_cache.usage.mean": 10, "engine.instances.0.kv_cache_usage_peak": 3} {
		if why := testkit.Reason(report.Notes, path); !strings.HasPrefix(why, fmt.Sprintf("1 of the polls saw the engine at work, and %d are needed", needed)) {
			t.Errorf("%s: %q", path, why)
		}
	}
	if *g.Throughput.Over != "window" || math.Abs(float64(*g.Throughput.RequestsPerSecond)-48/window) > 1e-6 {
		t.Errorf("throughput %s", testkit.JSON(g.Throughput))
	}
	// What was seen too rarely has no curve, tokens have one, and it has all of them.
	tokens := []struct {
		name  string
		count int64
	}{
		{"engine.throughput.prompt_tokens_per_second", *g.Tokens.Prompt},
		{"engine.throughput.generation_tokens_per_second", *g.Tokens.Generation},
	}
	if len(report.Curves) != len(tokens) {
		t.Fatalf("curves %+v", report.Curves)
	}
	for i, want := range tokens {
		c := &report.Curves[i]
		total := 0.0
		for _, s := range c.Slots(c.Width(), curve.MaxSlots) {
			total += s.Mean * c.Width().Seconds()
		}
		if count := float64(want.count); c.Name != want.name || total < 0.9*count || total > count*1.1 {
			t.Errorf("curve %s has %.0f tokens, the counter of %s %.0f", c.Name, total, want.name, count)
		}
	}
}

// Requests that were aborted after their first token are counted nowhere.
func TestUnaccountedRequests(t *testing.T) {
	for name, want := range map[string]int64{"abort4xx": 9, "abort_uncounted": 5, "preempt": 0} {
		pre, post := casePages(t, name)
		report := playCase(t, pre, post)
		if n := report.Engine.Requests.UnaccountedMin; n == nil || *n != want {
			t.Errorf("%s: %s, want %d: %s", name, testkit.JSON(n), want, testkit.Reason(report.Notes, "engine.requests.unaccounted_min"))
		}
		// Their time of running is in no sum, which is then only a lower bound.
		if r := report.Engine.Requests.Running; want > 0 && (r.MeanBounds != nil && (*r.MeanBounds[0] <= 0 || r.MeanBounds[1] != nil) || r.Method != nil) {
			t.Errorf("%s: running %s", name, testkit.JSON(r))
		}
	}
	pre, post := casePages(t, "abort4xx")
	if r := playCase(t, pre, post).Engine.Requests.Running; r.MeanBounds == nil {
		t.Errorf("running %s", testkit.JSON(r))
	}
	for name, c := range map[string]struct{ pre, post, why string }{
		"under way at the end":                 {pre, testkit.ReplaceAll(t, post, runningLine+"0.0", runningLine+"1.0"), "not idle when the window ended"},
		"more finished than had a first token": {testkit.ReplaceAll(t, pre, ttftCount+"1174.0", ttftCount+"1200.0"), post, "more requests finished (36) than had a first token (19)"},
		"restart":                              {pre, testkit.ReplaceAll(t, post, "1.79598686051e+09", "1.79598690000e+09"), "restarted"},
	} {
		report := playCase(t, c.pre, c.post)
		if n, why := report.Engine.Requests.UnaccountedMin, testkit.Reason(report.Notes, "engine.requests.unaccounted_min"); n != nil || !strings.Contains(why, c.why) {
			t.Errorf("%s: %s %q", name, testkit.JSON(n), why)
		}
	}
}

// Samples of the cases' pages, without their values.
const (
	runningLine = `vllm:num_requests_running{engine="0",model_name="tiny"} `
	waitingLine = `vllm:num_requests_waiting{engine="0",model_name="tiny"} `
	ttftCount   = `vllm:time_to_first_token_seconds_count{engine="0",model_name="tiny"} `
)

// An engine that has requests when the command starts serves others too.
func TestEngineShared(t *testing.T) {
	pre, post := casePages(t, "abort4xx")
	if r := playCase(t, pre, post).Engine.Requests.Running; r.MeanBounds == nil {
		t.Errorf("running %s", testkit.JSON(r))
	}
	for name, c := range map[string]struct {
		pre    string
		shared bool
	}{
		"idle":    {pre, false},
		"running": {testkit.ReplaceAll(t, pre, runningLine+"0.0", runningLine+"4.0"), true},
		"waiting": {testkit.ReplaceAll(t, pre, waitingLine+"0.0", waitingLine+"2.0"), true},
	} {
		report := playCase(t, c.pre, post)
		if got := strings.Contains(testkit.Codes(report.Notes), "engine_shared"); got != c.shared {
			t.Errorf("%s: doubts %s", name, testkit.Codes(report.Notes))
		}
		q := report.Engine.Requests
		if why := testkit.Reason(report.Notes, "engine.requests.unaccounted_min"); c.shared && (q.UnaccountedMin != nil || !strings.Contains(why, "not idle when the window began") || q.Running.Method != nil && *q.Running.Method != "polled") {
			t.Errorf("%s: %s %q", name, testkit.JSON(q), why)
		}
	}
	// A server that started inside the run has the command's requests.
	tg := target(t, "http://127.0.0.1:9940")
	tg.Started = true
	pl := newPlayer(t, tg)
	pl.version = ""
	busy := testkit.ReplaceAll(t, testkit.DropSamples(t, pre, "process_start_time_seconds"), runningLine+"0.0", runningLine+"4.0")
	pl.at(0.5, 0, phaseDuring, true, busy)
	pl.at(1, 0, phaseAfter, true, testkit.DropSamples(t, post, "process_start_time_seconds"))
	if codes := testkit.Codes(pl.report(1).Notes); strings.Contains(codes, "engine_shared") {
		t.Errorf("a server of the command's: %s", codes)
	}
}

// Hits of 0 beside tokens from the cache, and a usage outside of 0 to 1, are no figures.
func TestImpossibleFigures(t *testing.T) {
	pre, post := casePages(t, "hits_zero")
	report := playCase(t, pre, post)
	if c := report.Engine.PrefixCache; c.Local != nil || report.PrefixCacheHitRate != nil || !strings.Contains(testkit.Reason(report.Notes, "prefix_cache_hit_rate"), "gained 600 for local_cache_hit") ||
		!strings.Contains(testkit.Codes(report.Notes), "inconsistent_counters") {
		t.Errorf("%s, doubts %s", testkit.JSON(c), testkit.Codes(report.Notes))
	}
	// A request under way when the window began had its hits counted before.
	report = playCase(t, strings.Replace(pre, "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 0", "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 1", 1), post)
	if c := report.Engine.PrefixCache; c.Local == nil || *c.Local.HitRate != 0 || strings.Contains(testkit.Codes(report.Notes), "inconsistent_counters") {
		t.Errorf("%s, doubts %s", testkit.JSON(c), testkit.Codes(report.Notes))
	}

	pre, post = casePages(t, "kv_negative")
	for name, change := range map[string]func(page string) string{
		"negative": func(page string) string { return page },
		"above 1": func(page string) string {
			return strings.ReplaceAll(page, `model_name="m"} -0.`, `model_name="m"} 10.`)
		},
	} {
		report := playCase(t, change(pre), change(post))
		if k := report.Engine.KVCache; report.KVCacheUsagePerc != nil || k.Usage != nil || k.PeakTokens != nil || report.Engine.Instances[0].KVCacheUsagePeak != nil || !strings.Contains(testkit.Reason(report.Notes, "kv_cache_usage_perc"), "was invalid") ||
			!strings.Contains(testkit.Codes(report.Notes), "invalid_values") {
			t.Errorf("%s: %s, %s, doubts %s", name, testkit.JSON(k), testkit.JSON(report.Engine.Instances), testkit.Codes(report.Notes))
		}
	}
	sound := func(page string) string { return strings.ReplaceAll(page, `model_name="m"} -0.`, `model_name="m"} 0.`) }
	if report := playCase(t, sound(pre), sound(post)); report.KVCacheUsagePerc == nil || strings.Contains(testkit.Codes(report.Notes), "invalid_values") {
		t.Errorf("usage %s, doubts %s", testkit.JSON(report.KVCacheUsagePerc), testkit.Codes(report.Notes))
	}
}

// A saturated burst of 1.03 s that two polls saw, and one that is resolved.
func TestRatesOfShortAndLongBursts(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	load := underLoad(t)
	play := func(from, to, step, end float64) aggregate.Output {
		pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
		pl.at(-0.1, 0, phaseBefore, true, pre)
		for at := step / 2; at < end; at += step {
			page := pre
			switch {
			case at > to:
				page = post
			case at >= from:
				page = load
			}
			pl.at(at, 0, phaseDuring, at > to, page)
		}
		pl.at(end+0.1, 0, phaseAfter, true, post)
		return pl.report(end)
	}
	short := play(1, 2.03, 0.5, 4)
	if g := short.Engine; *g.Throughput.Over != "window" || g.Window.ActiveSecondsEst != nil || *g.Window.ActiveIntervals != 3 || math.Abs(float64(*g.Throughput.RequestsPerSecond)-60/4.2) > 1e-6 {
		t.Errorf("%s %s", testkit.JSON(g.Throughput), testkit.JSON(g.Window))
	}
	for _, v := range short.Notes.Validity {
		if e := v.Evidence; v.Code == "short_window" && (e.Field != "engine.window.active_intervals" || e.Value != int64(3) || e.Threshold != 20) {
			t.Errorf("evidence %s", testkit.JSON(e))
		}
	}
	if !strings.Contains(testkit.Codes(short.Notes), "short_window") || !strings.Contains(testkit.Reason(short.Notes, "engine.window.active_seconds_est"), "active for 0.50 to 1.50 s") {
		t.Errorf("doubts %s: %q", testkit.Codes(short.Notes), testkit.Reason(short.Notes, "engine.window.active_seconds_est"))
	}
	long := play(1, 9.03, 0.25, 20)
	active := float64(*long.Engine.Window.ActiveSecondsEst)
	if g := long.Engine; *g.Throughput.Over != "active" || active < 8.03 || active > 8.03*1.1 || math.Abs(float64(*g.Throughput.RequestsPerSecond)-60/active) > 1e-6 || strings.Contains(testkit.Codes(long.Notes), "short_window") {
		t.Errorf("%s %s", testkit.JSON(g.Throughput), testkit.JSON(g.Window))
	}
}

// Figures that the polls found are null if counters refute them.
func TestRefutedByCounters(t *testing.T) {
	pre, post := casePages(t, "preempt")
	const usageLine = `vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} `
	under := func(running, usage string) string {
		return testkit.SetValues(t, pre, runningLine+running, usageLine+usage, `vllm:generation_tokens_total{engine="0",model_name="tiny"} 100.0`)
	}
	play := func(load, post string) aggregate.Output {
		pl := newPlayer(t, target(t, "http://127.0.0.1:9940"))
		pl.run(runPages{pre, load, post})
		return pl.report(10)
	}
	noPreemptions := testkit.ReplaceAll(t, post, `vllm:num_preemptions_total{engine="0",model_name="tiny"} 25.0`, `vllm:num_preemptions_total{engine="0",model_name="tiny"} 0.0`)
	for _, c := range []struct {
		name, load, post  string
		usagePeak, usage  bool // whether there is a peak and a mean
		running           bool // whether there is a peak
		method, whyMissed string
	}{
		{"full, and preempted", under("2.0", "0.97"), post, true, true, true, "littles_law_with_polls", ""},
		{"never full, but preempted", under("2.0", "0.5"), post, false, true, true, "littles_law_with_polls", "must have been full for 25 preemptions"},
		{"fewer than the times prove, and preempted", under("1.0", "0.97"), post, true, true, true, "", ""},
		{"never full, not preempted", under("8.0", "0.5"), noPreemptions, true, true, true, "littles_law", ""},
		{"nothing running, but tokens", under("0.0", "0.0"), noPreemptions, false, false, false, "littles_law", "2 of the polls saw the engine at work"},
		{"no usage, but tokens", under("8.0", "0.0"), noPreemptions, false, false, true, "littles_law", "found 0 for vllm:kv_cache_usage_perc, although 9600 tokens were generated"},
		{"fewer running than on average", under("1.0", "0.5"), noPreemptions, true, true, false, "littles_law", ""},
	} {
		report := play(c.load, c.post)
		u, r := report.Engine.KVCache.Usage, report.Engine.Requests.Running
		if (u.Peak != nil) != c.usagePeak || (u.Mean != nil) != c.usage || (report.Engine.KVCache.PeakTokens != nil) != c.usagePeak || !strings.Contains(testkit.Reason(report.Notes, "engine.kv_cache.usage.peak"), c.whyMissed) {
			t.Errorf("%s: usage %s %q", c.name, testkit.JSON(u), testkit.Reason(report.Notes, "engine.kv_cache.usage.peak"))
		}
		if (r.Peak != nil) != c.running || (r.Method != nil) != (c.method != "") || r.Method != nil && *r.Method != c.method {
			t.Errorf("%s: running %s %q", c.name, testkit.JSON(r), testkit.Reason(report.Notes, "engine.requests.running.peak"))
		}
		if want := 17.34081239599982 / 10.3; c.method != "" && math.Abs(float64(*r.Mean)-want) > 1e-6 {
			t.Errorf("%s: the mean is %v, want %v", c.name, *r.Mean, want)
		}
	}
	// If nothing happened, 0 is right.
	idle := play(pre, pre)
	if r := idle.Engine.Requests.Running; *r.Peak != 0 || *r.Mean != 0 || *idle.Engine.KVCache.Usage.Peak != 0 || *idle.Engine.Instances[0].RequestsRunningPeak != 0 {
		t.Errorf("idle: %s", testkit.JSON(idle.Engine.Requests))
	}
}

// Answers that come late leave open when the window began and ended. Figures that rest on its
// length are null if that matters.
func TestLateWindow(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	play := func(seconds float64) aggregate.Output {
		pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
		pl.late(0, 10*time.Millisecond, 0, phaseBefore, true, pre)
		pl.p.endpoints[0].schedule.FullLatency.Add(10 * time.Millisecond) // the usual one
		pl.late(seconds, 400*time.Millisecond, 0, phaseAfter, true, post)
		return pl.report(seconds)
	}
	short, long := play(1), play(10)
	why := "the window lasted between 0.60 and 1.01 s"
	r := short.Engine.Requests.Running
	if q := short.Engine.Throughput; q.RequestsPerSecond != nil || !strings.Contains(testkit.Reason(short.Notes, "engine.throughput.requests_per_second"), why) {
		t.Errorf("%s %q", testkit.JSON(q), testkit.Reason(short.Notes, "engine.throughput.requests_per_second"))
	}
	const inference = 50.316404576000195 // seconds, by the recorded pages
	if r.Mean != nil || r.MeanBounds == nil || *r.MeanBounds[0] > inference/1.009 || *r.MeanBounds[0] < inference/1.02 || *r.MeanBounds[1] < inference/0.6 {
		t.Errorf("running %s", testkit.JSON(r))
	}
	if g := long.Engine; g.Throughput.RequestsPerSecond == nil || *g.Requests.Running.Method != "littles_law" || !testkit.Near(g.Requests.Running.Mean, inference/10) {
		t.Errorf("%s %s", testkit.JSON(g.Throughput), testkit.JSON(g.Requests.Running))
	}
}
