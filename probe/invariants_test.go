package probe

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
)

// Counters that must agree and do not are reported.
func TestInconsistentCounters(t *testing.T) {
	pre, mid, post := omniPages(t, "now")
	plainPre, plainPost := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	// raise adds one to the value of a sample.
	raise := func(page, sample string) string {
		found := false
		out := regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(sample)+` (\S+)$`).ReplaceAllStringFunc(page, func(line string) string {
			var x float64
			if _, err := fmt.Sscan(strings.TrimPrefix(line, sample), &x); err != nil {
				t.Fatal(err)
			}
			found = true
			return fmt.Sprintf("%s %v", sample, x+1)
		})
		if !found {
			t.Fatalf("the page has no sample %s", sample)
		}
		return out
	}
	const replica = `{model_name="org/demo-omni",replica="0",stage="1"}`
	for name, c := range map[string]struct {
		pre, mid, post string
		want           string
	}{
		"a bucket":     {pre, mid, raise(post, `vllm_omni:request_queue_wait_s_bucket{le="+Inf",model_name="org/demo-omni"}`), "vllm_omni:request_queue_wait_s_count gained 22 and its highest bucket 23"},
		"successes":    {pre, mid, raise(post, `vllm_omni:requests_success_total{finished_reason="stop",model_name="org/demo-omni"}`), "completed requests that were not aborted gained 23 and the end-to-end latency's count 22"},
		"aborts":       {pre, mid, raise(post, `vllm_omni:requests_success_total{finished_reason="abort",model_name="org/demo-omni"}`), ""},
		"audio":        {pre, mid, raise(raise(post, `vllm_omni:audio_frames_total`+replica), `vllm_omni:audio_rtf_count`+replica), "the count of audio durations of stage 1 gained 15 and that of real-time factors 16"},
		"sources":      {plainPre, plainPre, raise(plainPost, `vllm:prompt_tokens_by_source_total{engine="0",model_name="tiny",source="local_compute"}`), "the sum of vllm:prompt_tokens_by_source_total gained 14519 and vllm:prompt_tokens_total 14518"},
		"plain":        {plainPre, plainPre, plainPost, ""},
		"plain bucket": {plainPre, plainPre, raise(plainPost, `vllm:time_to_first_token_seconds_count{engine="0",model_name="tiny"}`), "vllm:time_to_first_token_seconds_count gained 61 and its highest bucket 60"},
	} {
		report := reportOf(t, c.pre, c.mid, c.post)
		got := messages(report, "inconsistent_counters")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// A filtered poll after the last full page has newer tokens: that is consistent.
	p := New(quick)
	readPages(t, p, "http://127.0.0.1:1", plainPre, plainPost)
	e := p.endpoints[0]
	poll := "vllm:prompt_tokens_total{engine=\"0\",model_name=\"tiny\"} 1e6\n" + usage + "0\nvllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} 1\n" + generated + "9000\n"
	if err := e.parse(strings.NewReader(poll)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ingest(e.lastAt.Add(time.Second), scrape.Response{}, false, phaseDuring); err != nil {
		t.Fatal(err)
	}
	if report := finishedReport(t, p); messages(report, "inconsistent_counters") != "" || *report.Engine.Tokens.Prompt < 900000 {
		t.Errorf("%q, %s", messages(report, "inconsistent_counters"), testkit.JSON(report.Engine.Tokens))
	}
}
