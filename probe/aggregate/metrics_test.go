package aggregate

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
)

// How pages become the gains of a window, each case with a counter and with a histogram,
// every series of which counts.
func TestGains(t *testing.T) {
	const start, restart = "process_start_time_seconds 100\n", "process_start_time_seconds 200\n"
	counter := func(labels string, v int) string {
		return fmt.Sprintf("vllm:generation_tokens_total{%s} %d\n", labels, v)
	}
	// low observations of 0.5 and high ones of 2
	histogram := func(labels string, low, high int) string {
		if labels != "" {
			labels += ","
		}
		const name = "vllm:time_to_first_token_seconds"
		return fmt.Sprintf("%[1]s_bucket{%[2]sle=\"1.0\"} %[3]d\n%[1]s_bucket{%[2]sle=\"+Inf\"} %[4]d\n%[1]s_count{%[2]s} %[4]d\n%[1]s_sum{%[2]s} %[5]g\n", name, labels, low, low+high, 0.5*float64(low)+2*float64(high))
	}
	const declared = "# TYPE vllm:generation_tokens_total counter\n# TYPE vllm:time_to_first_token_seconds histogram\n"
	const other = "vllm:num_requests_running 0\n"
	both := func(labels string, n, low, high int) string { return counter(labels, n) + histogram(labels, low, high) }
	const e0, e1 = `engine="0"`, `engine="1"`
	prompt := func(v int) string { return fmt.Sprintf("vllm:prompt_tokens_total{engine=\"0\"} %d\n", v) }
	page := func(parts ...string) testPage { return testPage{text: strings.Join(parts, "")} }
	cut := func(parts ...string) testPage { return testPage{text: strings.Join(parts, ""), cut: true} }
	filtered := func(parts ...string) testPage { return testPage{text: strings.Join(parts, ""), filtered: true} }
	for _, c := range []struct {
		name      string
		zero      bool // the engine started inside the run
		pages     []testPage
		tokens    int64
		low, high float64 // observations
		resets    int64
		why       string // of a missing gain
	}{
		{name: "gains per series, then added up",
			pages:  []testPage{page(both(e0, 100, 5, 5), both(e1, 1, 1, 0)), page(both(e0, 130, 6, 8), both(e1, 3, 1, 1))},
			tokens: 32, low: 1, high: 4},
		{name: "the counters of one of two engines decrease: only its gains start over", resets: 1,
			// If engines were added up first, 140 → 133 would look like a restart of both.
			pages:  []testPage{page(both(e0, 100, 50, 50), both(e1, 40, 9, 9), prompt(5)), page(both(e0, 130, 60, 58), both(e1, 3, 2, 1), prompt(6))},
			tokens: 33, low: 12, high: 9},
		{name: "from zero", zero: true,
			pages:  []testPage{page(both(e0, 7, 1, 2)), page(both(e0, 9, 2, 2))},
			tokens: 9, low: 2, high: 2},
		{name: "appears after it was declared",
			pages:  []testPage{page(declared, other), page(declared, other, both(e0, 4, 1, 1))},
			tokens: 4, low: 1, high: 1},
		{name: "an engine appears in a family that has others",
			pages:  []testPage{page(both(e0, 10, 1, 1)), page(both(e0, 11, 1, 2), both(e1, 4, 2, 0))},
			tokens: 5, low: 2, high: 1},
		{name: "appears undeclared in the same process",
			pages:  []testPage{page(start, other), page(start, other, both(e0, 4, 1, 1))},
			tokens: 4, low: 1, high: 1},
		{name: "appears undeclared in an unknown process",
			pages: []testPage{page(other), page(other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "appears undeclared, with a start time only from then on",
			pages: []testPage{page(other), page(start, other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "appears undeclared, without a start time from then on",
			pages: []testPage{page(start, other), page(other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "appears undeclared in the same process, after a page that may have been cut off",
			pages: []testPage{cut(start, other), page(start, other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "appears undeclared in another process", resets: 1,
			pages:  []testPage{page(start, other), page(restart, other, both(e0, 4, 1, 1))},
			tokens: 4, low: 1, high: 1},
		{name: "an engine appears in a family in which the first page may have been cut off",
			pages: []testPage{cut(start, histogram(e0, 1, 1), counter(e0, 10)), page(start, histogram(e0, 1, 1), counter(e0, 11), counter(e1, 4000))}, low: 0, why: "was not on the first page"},
		{name: "appears after a page that may have been cut off only declared it",
			pages: []testPage{cut(start, declared, other), page(start, declared, other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "an engine appears in a family before the cut",
			pages:  []testPage{cut(start, both(e0, 10, 1, 1), other), page(start, both(e0, 11, 1, 2), both(e1, 4, 2, 0), other)},
			tokens: 5, low: 2, high: 1},
		{name: "decreases: what it counted since", resets: 1,
			pages:  []testPage{page(both(e0, 100, 5, 5)), page(both(e0, 120, 6, 6)), page(both(e0, 30, 4, 1))},
			tokens: 50, low: 5, high: 2},
		{name: "a single bucket decreases: the whole histogram starts over", resets: 1,
			// The other buckets are higher than before, and the tokens go on.
			pages:  []testPage{page(both(e0, 100, 9, 1)), page(both(e0, 120, 2, 30))},
			tokens: 20, low: 2, high: 30},
		{name: "the start time shows a restart that the counters hide", resets: 1,
			pages:  []testPage{page(start, both(e0, 10, 1, 1)), page(restart, both(e0, 500, 7, 8))},
			tokens: 500, low: 7, high: 8},
		{name: "a restart that a filtered page showed", resets: 1,
			pages:  []testPage{page(start, both(e0, 10, 1, 1)), filtered(restart, other, counter(e0, 500)), page(restart, both(e0, 501, 7, 8))},
			tokens: 501, low: 7, high: 8},
		{name: "a page of two processes, one of which restarts, whatever their order", resets: 1,
			pages:  []testPage{page(start, "process_start_time_seconds 150\n", both(e0, 10, 1, 1)), page("process_start_time_seconds 150\n", start, both(e0, 11, 1, 1)), page(start, "process_start_time_seconds 250\n", both(e0, 500, 7, 8))},
			tokens: 501, low: 7, high: 8},
		{name: "a page of two processes with labels, one of which restarts", resets: 1,
			pages:  []testPage{page("process_start_time_seconds{pod=\"a\"} 100\nprocess_start_time_seconds{pod=\"b\"} 150\n", both(e0, 10, 1, 1)), page("process_start_time_seconds{pod=\"a\"} 100\nprocess_start_time_seconds{pod=\"b\"} 250\n", both(e0, 500, 7, 8))},
			tokens: 500, low: 7, high: 8},
		{name: "another process joins the page: the set has changed", resets: 1,
			pages:  []testPage{page(start, both(e0, 10, 1, 1)), page(start, restart, both(e0, 500, 7, 8))},
			tokens: 500, low: 7, high: 8},
		{name: "a page of two processes that go on",
			pages:  []testPage{page(start, restart, both(e0, 10, 1, 1)), filtered(restart, other, counter(e0, 11)), page(restart, start, both(e0, 12, 2, 1))},
			tokens: 2, low: 1, high: 0},
		{name: "a filtered page shows the restart of one of two processes, the whole page both", resets: 1,
			pages:  []testPage{page(start, "process_start_time_seconds 150\n", both(e0, 10, 1, 1)), filtered(restart, other, counter(e0, 500)), page(restart, start, both(e0, 501, 7, 8))},
			tokens: 501, low: 7, high: 8},
		{name: "two restarts", resets: 2,
			pages:  []testPage{page(start, both(e0, 10, 1, 1)), page(restart, both(e0, 500, 7, 8)), page("process_start_time_seconds 300\n", both(e0, 600, 8, 8))},
			tokens: 1100, low: 15, high: 16},
		{name: "a series vanishes",
			pages: []testPage{page(both(e0, 10, 1, 1), both(e1, 10, 1, 1)), page(both(e0, 20, 2, 2))}, why: "vanished"},
		{name: "the family vanishes",
			pages: []testPage{page(both(e0, 10, 1, 1), other), page(other)}, why: "vanished"},
		{name: "vanishes with its process: what it gained before", resets: 1,
			pages:  []testPage{page(start, both(e0, 10, 1, 1), both(e1, 10, 1, 1)), page(start, both(e0, 11, 1, 2), both(e1, 12, 2, 1)), page(restart, both(e0, 1, 1, 0))},
			tokens: 4, low: 2, high: 1},
		{name: "vanishes for one page and comes back",
			pages:  []testPage{page(both(e0, 10, 1, 1)), page(declared, other), page(both(e0, 20, 2, 2))},
			tokens: 10, low: 1, high: 1},
		{name: "processes of one server add up",
			pages:  []testPage{page(both(`engine="0",pid="7"`, 10, 1, 1), both(`engine="0",pid="8"`, 20, 2, 2)), page(both(`engine="0",pid="7"`, 11, 1, 2), both(`engine="0",pid="8"`, 25, 3, 3))},
			tokens: 6, low: 1, high: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			counters := countersAfter(t, c.zero, c.pages...)
			v := viewOf(counters, window.NewGauges())
			n, why := v.counter(metrics.GenerationTokens)
			if n != c.tokens || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("tokens %d %q, want %d %q", n, why, c.tokens, c.why)
			}
			found, why := v.metricsOf(metrics.TimeToFirstToken)
			if c.why != "" && c.tokens == 0 && strings.Contains(c.name, "in which the first page may have been cut off") {
				if why != "" {
					t.Errorf("the histogram was before the cut: %q", why)
				}
			} else if (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("histogram %q, want %q", why, c.why)
			}
			if c.why == "" {
				h := window.MergeHistograms(found)
				want := histogramOf(c.low, c.high)
				if h.Count != want.Count || math.Abs(h.Sum-want.Sum) > 1e-9 || len(h.Buckets) != 2 || h.Buckets[0] != want.Buckets[0] || h.Buckets[1] != want.Buckets[1] {
					t.Errorf("histogram %+v, want %+v", h, want)
				}
			}
			if counters.Resets != c.resets {
				t.Errorf("%d resets, want %d", counters.Resets, c.resets)
			}
		})
	}
}

func histogramOf(low, high float64) window.Histogram {
	return window.Histogram{Count: low + high, Sum: 0.5*low + 2*high, Buckets: []window.Bucket{{UpperBound: 1, Count: low}, {UpperBound: math.Inf(1), Count: low + high}}}
}

func TestCounter(t *testing.T) {
	const line = "vllm:generation_tokens_total{engine=\"0\"} "
	const declaredOnly = "# TYPE vllm:generation_tokens_total counter\nvllm:num_requests_running 0\n"
	for _, c := range []struct {
		name  string
		pages []string
		want  int64
		why   string
	}{
		{"difference", []string{line + "10\n", line + "17\n"}, 7, ""},
		{"back to zero", []string{line + "10\n", line + "15\n", line + "3\n"}, 8, ""},
		{"appears, declared", []string{declaredOnly, line + "4\n"}, 4, ""},
		{"declared and never sampled", []string{declaredOnly, declaredOnly}, 0, ""},
		{"vanishes", []string{line + "10\n", "vllm:num_requests_running 0\n# TYPE vllm:generation_tokens_total counter\n"}, 0, "vanished"},
		{"never there", []string{"vllm:num_requests_running 0\n"}, 0, "does not export vllm:generation_tokens_total"},
		{"NaN at the end", []string{line + "10\n", line + "NaN\n"}, 0, "had an invalid value"},
		{"NaN between", []string{line + "10\n", line + "NaN\n", line + "12\n"}, 2, ""},
		{"NaN at the start", []string{line + "NaN\n", line + "10\n", line + "12\n"}, 0, "no usable value on the first page"},
		{"infinite", []string{line + "10\n", line + "+Inf\n"}, 0, "had an invalid value"},
		{"beyond 2^53", []string{line + "10\n", line + "1e300\n"}, 0, "too large"},
		{"negative", []string{line + "10\n", line + "-4\n"}, 0, "had an invalid value"},
		{"twice on the last page", []string{line + "10\n", line + "12\n" + line + "2\n"}, 0, "two different values"},
		{"twice between", []string{line + "10\n", line + "12\n" + line + "2\n", line + "13\n"}, 3, ""},
		{"twice at the start", []string{line + "10\n" + line + "2\n", line + "12\n"}, 0, "no usable value on the first page"},
		{"twice with one value", []string{line + "10\n" + line + "10\n", line + "12\n" + line + "12\n"}, 2, ""},
		{"not on the first page", []string{"vllm:num_requests_running 0\n", line + "1000\n"}, 0, "only on a later one"},
		{"vanishes and comes back", []string{line + "10\n", declaredOnly, line + "12\n"}, 2, ""},
		{"two engines", []string{line + "10\nvllm:generation_tokens_total{engine=\"1\"} 1\n", line + "11\nvllm:generation_tokens_total{engine=\"1\"} 5\n"}, 5, ""},
		{"labels in another order", []string{"vllm:generation_tokens_total{a=\"1\",b=\"2\"} 1\n", "vllm:generation_tokens_total{b=\"2\",a=\"1\"} 5\n"}, 4, ""},
	} {
		got, why := viewAfter(t, c.pages...).counter(metrics.GenerationTokens)
		if got != c.want || (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d %q, want %d %q", c.name, got, why, c.want, c.why)
		}
	}
}

func TestHistogramResetOnce(t *testing.T) {
	page := func(low, inf, sum string) string {
		return "# TYPE vllm:e2e_request_latency_seconds histogram\nvllm:e2e_request_latency_seconds_bucket{le=\"1.0\"} " + low +
			"\nvllm:e2e_request_latency_seconds_bucket{le=\"+Inf\"} " + inf + "\nvllm:e2e_request_latency_seconds_count " + inf + "\nvllm:e2e_request_latency_seconds_sum " + sum + "\n"
	}
	// After the restart the lower bucket is as high as before: only the others decreased.
	counters := countersAfter(t, false, fullPages(page("1", "10", "50"), page("2", "12", "61"), page("2", "3", "6"))...)
	found, _ := viewOf(counters, window.NewGauges()).metricsOf(metrics.E2ELatency)
	h := window.MergeHistograms(found)
	if want := []window.Bucket{{UpperBound: 1, Count: 3}, {UpperBound: math.Inf(1), Count: 5}}; !cmp.Equal(want, h.Buckets, cmp.AllowUnexported(window.Bucket{})) || h.Count != 5 || h.Sum != 17 || counters.Resets != 1 {
		t.Errorf("after a reset: %+v, resets %d", h, counters.Resets)
	}
}

// OpenMetrics declares a counter without _total: its first increment counts from 0.
// A gauge with that name, as Ray exports it, does not declare the counter and is not read.
func TestCounterDeclaredWithoutTotal(t *testing.T) {
	const idle = "vllm:num_requests_running 0\n"
	got, why := viewAfter(t, idle+"# TYPE vllm:num_preemptions counter\n# EOF\n", idle+"vllm:num_preemptions_total 4\n# EOF\n").counter(metrics.Preemptions)
	if got != 4 || why != "" {
		t.Errorf("declared: %d %q", got, why)
	}
	const gauge = idle + "# TYPE vllm:num_preemptions gauge\nvllm:num_preemptions 7\n"
	if got, why := viewAfter(t, gauge, gauge+"vllm:num_preemptions_total 4\n").counter(metrics.Preemptions); !strings.Contains(why, "only on a later one") {
		t.Errorf("a gauge: %d %q", got, why)
	}
	if got, why := viewAfter(t, gauge, gauge).counter(metrics.Preemptions); !strings.Contains(why, "does not export") {
		t.Errorf("a gauge alone: %d %q", got, why)
	}
}

// In a pipeline of stages, series without a stage belong to no stage: they are neither
// added to the first one nor left out silently.
func TestSeriesWithoutStage(t *testing.T) {
	page := func(n int) string {
		return fmt.Sprintf("vllm:generation_tokens_total{stage=\"0\",replica=\"0\"} %d\n", n) + specPage([]int{n, 2 * n, n, n})
	}
	v := viewAfter(t, page(1), page(5))
	v.stage = v.chooseStage()
	if n, why := v.counter(metrics.GenerationTokens); n != 4 || why != "" {
		t.Errorf("%d tokens %q", n, why)
	}
	if s := v.speculative(); s != nil || !strings.Contains(reasonAt(v, "spec_accept_rate"), "have no stage label") {
		t.Errorf("%s %q", testkit.JSON(s), reasonAt(v, "spec_accept_rate"))
	}
}
