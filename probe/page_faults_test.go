package probe

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// A wrong counter on a valid page makes its figure null or is skipped, and does not affect
// the other figures.
func TestInvalidCounters(t *testing.T) {
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
		{"too large counter at the end", pre, load, testkit.ReplaceLines(t, post, generated, generated+"1e300\n"), -1, "too large", ""},
		{"twice with one value", testkit.ReplaceLines(t, pre, generated, generated+"16.0\n"+generated+"16.0\n"), testkit.ReplaceLines(t, load, generated, generated+"20.0\n"+generated+"20.0\n"), testkit.ReplaceLines(t, post, generated, generated+"5753.0\n"+generated+"5753.0\n"), 5737, "", "duplicate_series"},
		{"twice during", pre, testkit.ReplaceLines(t, load, generated, twice), post, 5737, "", "duplicate_series"},
		{"twice at the end", pre, load, testkit.ReplaceLines(t, post, generated, twice), -1, "two different values", "duplicate_series"},
		{"twice at the start", testkit.ReplaceLines(t, pre, generated, twice), load, post, -1, "the page had it twice", "duplicate_series"},
		{"family lost during", pre, testkit.ReplaceLines(t, load, "vllm:generation_tokens_total", ""), post, 5737, "", "scrapes_failed"},
		{"family lost at the end", pre, load, testkit.ReplaceLines(t, post, "vllm:generation_tokens_total", ""), -1, "vanished from the page inside the window", ""},
		{"family lost at the start", testkit.ReplaceLines(t, testkit.ReplaceLines(t, pre, metrics.ProcessStartName, ""), "vllm:generation_tokens_total", ""), load, post, -1, "only on a later one", ""},
		{"no start time", testkit.ReplaceLines(t, pre, metrics.ProcessStartName, ""), testkit.ReplaceLines(t, load, metrics.ProcessStartName, ""), testkit.ReplaceLines(t, post, metrics.ProcessStartName, ""), 5737, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplay(t, c.pre)
			server := httptest.NewServer(r)
			defer server.Close()
			p := startRun(t, server.URL)
			r.set(c.during)
			p.BeforeShutdown(context.Background()) // a full page
			p.BeforeShutdown(context.Background())
			e := p.allEndpoints()[0]
			p.mu.Lock()
			n := e.count + e.errors
			p.mu.Unlock()
			testkit.Await(t, "two more polls", func() bool {
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
				t.Errorf("the other figures: tokens %s, window %s", testkit.JSON(g.Tokens), testkit.JSON(g.Window))
			}
			if c.codes != "" && !strings.Contains(testkit.Codes(report.Notes), c.codes) && c.codes != "scrapes_failed" {
				t.Errorf("doubts %q, want %q", testkit.Codes(report.Notes), c.codes)
			}
		})
	}
}

// A wrong gauge on a valid page is skipped, and its last value is null if it vanished.
func TestInvalidGauges(t *testing.T) {
	t.Parallel()
	pre, load, post := testkit.Recorded(t, "serve_default_pre"), underLoad(t), testkit.Recorded(t, "serve_default_post")
	peak := 0.0005493499359091603
	for name, c := range map[string]struct {
		during, post string
		peak         float64
		last         float64 // -1: null
		why          string
	}{
		"NaN during":           {testkit.ReplaceLines(t, load, usage, usage+"NaN\n"), post, peak, 0, ""},
		"infinite during":      {testkit.ReplaceLines(t, load, usage, usage+"+Inf\n"), post, peak, 0, ""},
		"twice during":         {testkit.ReplaceLines(t, load, usage, usage+"0.9\n"+usage+"0.8\n"), post, peak, 0, ""},
		"lost at the end":      {load, testkit.ReplaceLines(t, post, "vllm:kv_cache_usage_perc", ""), peak, -1, "vanished"},
		"of two models":        {testkit.ReplaceLines(t, load, usage, usage+"0.25\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"b\"} 0.125\n"), testkit.ReplaceLines(t, post, usage, usage+"0\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"b\"} 0.125\n"), 0.25, 0.125, ""},
		"twice with one value": {testkit.ReplaceLines(t, load, usage, usage+"0.5\n"+usage+"0.5\n"), post, 0.5, 0, ""},
		"one engine lost":      {testkit.ReplaceLines(t, load, usage, usage+"0.25\nvllm:kv_cache_usage_perc{engine=\"1\",model_name=\"tiny\"} 0.5\n"), testkit.ReplaceLines(t, post, usage, usage+"0\n"), 0.5, -1, "vanished"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplay(t, pre)
			server := httptest.NewServer(r)
			defer server.Close()
			p := startRun(t, server.URL)
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
	// If it is always NaN, the usage is null and the reason says so.
	nan := testkit.ReplaceLines(t, pre, usage, usage+"NaN\n")
	report := bracket(t, nan, nan, nan)
	if why := testkit.Reason(report.Notes, "kv_cache_usage_perc"); report.Engine.KVCache.Usage != nil || !strings.Contains(why, "was invalid: NaN, infinite") {
		t.Errorf("%s: %q", testkit.JSON(report.Engine.KVCache), why)
	}
}

// A page without a length that is cut off between two lines looks complete. A histogram
// that lacks a part has no figures: they would come from two pages.
func TestPageCutBetweenLines(t *testing.T) {
	t.Parallel()
	pre, load, post := testkit.Recorded(t, "serve_default_pre"), underLoad(t), testkit.Recorded(t, "serve_default_post")
	const bucket = `vllm:time_to_first_token_seconds_bucket{engine="0",le="0.04",model_name="tiny"} `
	half := func(page string) string { return page[:strings.Index(page, bucket)] }
	for name, c := range map[string]struct {
		pre, post string
		ttft, e2e string // why they are null
	}{
		"at the start":              {half(pre), post, "was incomplete on the first page", "was not on the first page, only on a later one"},
		"at the end":                {pre, half(post), "a series of vllm:time_to_first_token_seconds vanished from the page", "vllm:e2e_request_latency_seconds vanished from the page"},
		"without a line in between": {pre, testkit.ReplaceLines(t, post, bucket, ""), "a series of vllm:time_to_first_token_seconds vanished from the page", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReplay(t, c.pre)
			r.endless = true
			report := bracketReplay(t, r, load, c.post)
			g := report.Engine
			if *g.Tokens.Generation != 5737 || g.Requests.Finished["length"] != 60 {
				t.Errorf("tokens %s, requests %s", testkit.JSON(g.Tokens), testkit.JSON(g.Requests))
			}
			if why := testkit.Reason(report.Notes, "engine.latency_seconds.time_to_first_token"); g.LatencySeconds.TimeToFirstToken != nil || !strings.Contains(why, c.ttft) {
				t.Errorf("TTFT %s: %q, want none: %q", testkit.JSON(g.LatencySeconds.TimeToFirstToken), why, c.ttft)
			}
			if why := testkit.Reason(report.Notes, "engine.latency_seconds.e2e_request_latency"); (g.LatencySeconds.E2ERequestLatency == nil) != (c.e2e != "") || !strings.Contains(why, c.e2e) {
				t.Errorf("E2E %s: %q, want %q", testkit.JSON(g.LatencySeconds.E2ERequestLatency), why, c.e2e)
			}
		})
	}
}
