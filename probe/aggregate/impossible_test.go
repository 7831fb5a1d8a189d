package aggregate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
)

// A histogram's sum that decreases without its count is an invalid value, not a restart.
func TestSumDecreases(t *testing.T) {
	page := func(count int, sum float64) string {
		const name = "vllm:request_queue_time_seconds"
		return fmt.Sprintf("vllm:generation_tokens_total %d\n%[2]s_bucket{le=\"0.3\"} %[1]d\n%[2]s_bucket{le=\"+Inf\"} %[1]d\n%[2]s_count %[1]d\n%[2]s_sum %[3]v\n", count, name, sum)
	}
	for _, c := range []struct {
		name     string
		fromZero bool
		pages    []string
		sum      float64
		why      string // of a missing distribution
	}{
		{"rises", false, []string{page(10, 100), page(12, 101)}, 1, ""},
		{"falls", false, []string{page(10, 100), page(12, 99)}, 0, "_sum decreased although its count did not"},
		{"falls and rises again", false, []string{page(10, 100), page(12, 90), page(14, 120)}, 0, "_sum decreased although its count did not"},
		{"falls by rounding", false, []string{page(10, 100), page(12, 100-1e-9)}, -1e-9, ""},
		{"begins negative", true, []string{page(10, -1)}, 0, "_sum decreased although its count did not"},
		{"falls with its count: it starts over", false, []string{page(10, 100), page(4, 3)}, 3, ""},
	} {
		counters := countersAfter(t, c.fromZero, fullPages(c.pages...)...)
		v := viewOf(counters, window.NewGauges())
		d := v.distribution("engine.latency_seconds.request_queue_time", metrics.QueueTime)
		why := reasonAt(v, "engine.latency_seconds.request_queue_time")
		if (d == nil) != (c.why != "") || !strings.Contains(why, c.why) || d != nil && (float64(d.Sum) < c.sum-1e-12 || float64(d.Sum) > c.sum+1e-12) {
			t.Errorf("%s: %+v %q", c.name, d, why)
		}
		if (counters.Invalid > 0) != (c.why != "") || (counters.Resets > 0) != strings.Contains(c.name, "starts over") {
			t.Errorf("%s: %d invalid values, %d resets", c.name, counters.Invalid, counters.Resets)
		}
	}
}
