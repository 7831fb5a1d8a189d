package probe

import (
	"github.com/vobs/vobs/internal/testkit"
	"strings"
	"testing"
)

// A page without a length that is cut off between two lines looks whole. A
// histogram of which a part is missing has no figures: they would be of two pages.
func TestHalfAPage(t *testing.T) {
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
			report := bracketOf(t, r, load, c.post)
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

// A process that takes another's place may have more on its page, and other
// buckets: that counts from zero, for the one before had none of it.
func TestReplacedByAnotherVersion(t *testing.T) {
	t.Parallel()
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	const ttft = `vllm:time_to_first_token_seconds_bucket{engine="0",le="0.04",model_name="tiny"} `
	poor := testkit.ReplaceLines(t, testkit.ReplaceLines(t, pre, "vllm:e2e_request_latency_seconds", ""), ttft, "")
	rich := testkit.ReplaceLines(t, post, processStartLine, "process_start_time_seconds 1.79530349e+09\n")
	report := bracket(t, poor, poor, rich)
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
