package aggregate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
)

// vLLM 0.9.2 to 0.10 exports the old and the new name of a metric side by side.
func TestOldNames(t *testing.T) {
	both := func(oldHits, newHits string) string {
		return "vllm:gpu_prefix_cache_hits_total " + oldHits + "\nvllm:prefix_cache_hits_total " + newHits + "\nvllm:gpu_cache_usage_perc 0.5\n"
	}
	if n, why := viewAfter(t, both("5", "5"), both("9", "9")).counter(metrics.PrefixHits); n != 4 || why != "" {
		t.Errorf("both names: %d %q, want 4", n, why)
	}
	if n, why := viewAfter(t, "vllm:gpu_prefix_cache_hits_total 5\n", "vllm:gpu_prefix_cache_hits_total 7\n").counter(metrics.PrefixHits); n != 2 || why != "" {
		t.Errorf("the old name alone: %d %q, want 2", n, why)
	}
}

// Old and new names of one metric are never added up. Which one counts depends on the
// baseline page and the last page.
func TestNamesOfOneMetric(t *testing.T) {
	const start, restart = "process_start_time_seconds 100\n", "process_start_time_seconds 200\n"
	oldOne := func(n int) string { return fmt.Sprintf("vllm:gpu_prefix_cache_hits_total{engine=\"0\"} %d\n", n) }
	newOne := func(n int) string { return fmt.Sprintf("vllm:prefix_cache_hits_total{engine=\"0\"} %d\n", n) }
	const newDeclared = "# TYPE vllm:prefix_cache_hits_total counter\n"
	page := func(parts ...string) testPage { return testPage{text: strings.Join(parts, "")} }
	for _, c := range []struct {
		name  string
		pages []testPage
		want  int64
		why   string
	}{
		{"only the new", []testPage{page(newOne(5)), page(newOne(9))}, 4, ""},
		{"only the old", []testPage{page(oldOne(5)), page(oldOne(9))}, 4, ""},
		{"both on both: the new", []testPage{page(oldOne(50), newOne(5)), page(oldOne(60), newOne(9))}, 4, ""},
		{"the new is only declared: the old", []testPage{page(oldOne(5), newDeclared), page(oldOne(9), newDeclared)}, 4, ""},
		{"the new was declared and appears: it counts from zero", []testPage{page(oldOne(5), newDeclared), page(oldOne(9), newOne(3))}, 3, ""},
		{"the new appears undeclared: the old, which has a baseline", []testPage{page(oldOne(5)), page(oldOne(9), newOne(700))}, 4, ""},
		{"the new vanishes: the old", []testPage{page(oldOne(5), newOne(5)), page(oldOne(9), newDeclared)}, 4, ""},
		{"the old vanishes: the new", []testPage{page(oldOne(5), newOne(5)), page(newOne(9))}, 4, ""},
		{"an engine of another version replaces it", []testPage{page(start, oldOne(5)), page(start, oldOne(9)), page(restart, newOne(3))}, 0, "replaced inside the window by one that exports vllm:gpu_prefix_cache_hits_total as vllm:prefix_cache_hits_total"},
		{"and the other way round", []testPage{page(start, newOne(5)), page(start, newOne(9)), page(restart, oldOne(3))}, 0, "replaced inside the window"},
		{"an engine with both replaces one with only the old", []testPage{page(start, oldOne(5)), page(start, oldOne(9)), page(restart, oldOne(3), newOne(3))}, 0, "replaced inside the window"},
		{"an engine with only the old replaces one with both", []testPage{page(start, oldOne(5), newOne(5)), page(start, oldOne(9), newOne(9)), page(restart, oldOne(3))}, 7, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, why := viewOf(countersAfter(t, false, c.pages...), window.NewGauges()).counter(metrics.PrefixHits)
			if n != c.want || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("%d %q, want %d %q", n, why, c.want, c.why)
			}
		})
	}
}

// What happens to Ray's workers inside the window, and which naming is read.
func TestNamings(t *testing.T) {
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
		{"a worker appears", []string{idle + a + "10\n", idle + a + "11\n" + b + "5\n"}, 6, ""},
		{"a worker vanishes", []string{a + "10\n" + b + "1\n", a + "12\n"}, 0, "vanished"},
		{"the agent restarts and keeps its counts", []string{a + "10\nprocess_start_time_seconds 5\n", a + "12\nprocess_start_time_seconds 9\n"}, 2, ""},
		{"the counts start over", []string{a + "10\n", a + "3\n"}, 3, ""},
		{"counters as gauges", []string{"ray_vllm_generation_tokens 10\n" + a + "10\n", "ray_vllm_generation_tokens 30\n" + a + "12\n"}, 2, ""},
		{"native names win", []string{a + "10\n" + own + "1\n", a + "90\n" + own + "3\n"}, 2, ""},
		{"native names appear later", []string{a + "10\n", a + "90\n" + own + "3\n"}, 0, "only on a later one"},
		{"native names vanish", []string{a + "10\n" + own + "1\n", a + "90\n"}, 0, "only on a later one"},
		{"one naming of two", []string{a + "10\nvllm_generation_tokens_total 10\n", a + "12\nvllm_generation_tokens_total 12\n"}, 2, ""},
	} {
		got, why := viewAfter(t, c.pages...).counter(metrics.GenerationTokens)
		if got != c.want || (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d %q, want %d %q", c.name, got, why, c.want, c.why)
		}
	}
}
