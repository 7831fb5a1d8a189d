package aggregate

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/window"
)

// applied pages of a made-up engine.
func applyAll(t *testing.T, pages ...string) *window.Counters {
	t.Helper()
	l := window.NewCounters()
	parser := exposition.NewParser(metrics.IsWanted)
	for i, text := range pages {
		var page exposition.Page
		if err := parser.Parse([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		l.Classify(&page, true)
		l.Complete = true
		l.Apply(&page, true, i == 0)
	}
	return l
}

func reportOf(l *window.Counters) view { return viewOf(l, window.NewGauges()) }

// viewOf is the view of one endpoint with these counters and gauges.
func viewOf(l *window.Counters, g *window.Gauges) view {
	return view{aggregator: newAggregator(Input{Endpoints: []Endpoint{{Counters: l}}, Gauges: g, Active: &window.ActiveTime{}})}
}

func TestCounterRules(t *testing.T) {
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
		{"NaN at the end", []string{line + "10\n", line + "NaN\n"}, 0, "no counter can have"},
		{"NaN between", []string{line + "10\n", line + "NaN\n", line + "12\n"}, 2, ""},
		{"NaN at the start", []string{line + "NaN\n", line + "10\n", line + "12\n"}, 0, "no usable value on the page to count from"},
		{"infinite", []string{line + "10\n", line + "+Inf\n"}, 0, "no counter can have"},
		{"beyond a float's digits", []string{line + "10\n", line + "1e300\n"}, 0, "too large"},
		{"negative", []string{line + "10\n", line + "-4\n"}, 0, "no counter can have"},
		{"twice on the last page", []string{line + "10\n", line + "12\n" + line + "2\n"}, 0, "two values at once"},
		{"twice between", []string{line + "10\n", line + "12\n" + line + "2\n", line + "13\n"}, 3, ""},
		{"twice at the start", []string{line + "10\n" + line + "2\n", line + "12\n"}, 0, "no usable value on the page to count from"},
		{"twice with one value", []string{line + "10\n" + line + "10\n", line + "12\n" + line + "12\n"}, 2, ""},
		{"not on the first page", []string{"vllm:num_requests_running 0\n", line + "1000\n"}, 0, "only on a later one"},
		{"vanishes and comes back", []string{line + "10\n", declaredOnly, line + "12\n"}, 2, ""},
		{"two engines", []string{line + "10\nvllm:generation_tokens_total{engine=\"1\"} 1\n", line + "11\nvllm:generation_tokens_total{engine=\"1\"} 5\n"}, 5, ""},
		{"labels in another order", []string{"vllm:generation_tokens_total{a=\"1\",b=\"2\"} 1\n", "vllm:generation_tokens_total{b=\"2\",a=\"1\"} 5\n"}, 4, ""},
	} {
		got, why := reportOf(applyAll(t, c.pages...)).counter(metrics.GenerationTokens)
		if got != c.want || (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d %q, want %d %q", c.name, got, why, c.want, c.why)
		}
	}
}

// vLLM 0.9.2 to 0.10 exports old and new names of one figure side by side.
func TestOldNames(t *testing.T) {
	both := func(oldHits, newHits string) string {
		return "vllm:gpu_prefix_cache_hits_total " + oldHits + "\nvllm:prefix_cache_hits_total " + newHits + "\nvllm:gpu_cache_usage_perc 0.5\n"
	}
	if n, why := reportOf(applyAll(t, both("5", "5"), both("9", "9"))).counter(metrics.PrefixHits); n != 4 || why != "" {
		t.Errorf("both names: %d %q, want 4", n, why)
	}
	if n, why := reportOf(applyAll(t, "vllm:gpu_prefix_cache_hits_total 5\n", "vllm:gpu_prefix_cache_hits_total 7\n")).counter(metrics.PrefixHits); n != 2 || why != "" {
		t.Errorf("the old name alone: %d %q, want 2", n, why)
	}
}

func TestHistogramResetOnce(t *testing.T) {
	page := func(low, inf, sum string) string {
		return "# TYPE vllm:e2e_request_latency_seconds histogram\nvllm:e2e_request_latency_seconds_bucket{le=\"1.0\"} " + low +
			"\nvllm:e2e_request_latency_seconds_bucket{le=\"+Inf\"} " + inf + "\nvllm:e2e_request_latency_seconds_count " + inf + "\nvllm:e2e_request_latency_seconds_sum " + sum + "\n"
	}
	// After the restart the lower bucket stands as high as before: only the others went back.
	l := applyAll(t, page("1", "10", "50"), page("2", "12", "61"), page("2", "3", "6"))
	groups, _ := reportOf(l).metricsOf(metrics.E2ELatency)
	h := window.MergeHistograms(groups)
	if want := []window.Bucket{{UpperBound: 1, Count: 3}, {UpperBound: math.Inf(1), Count: 5}}; !cmp.Equal(want, h.Buckets, cmp.AllowUnexported(window.Bucket{})) || h.Count != 5 || h.Sum != 17 || l.Resets != 1 {
		t.Errorf("after a reset: %+v, resets %d", h, l.Resets)
	}
}

// OpenMetrics declares a counter without _total: its first increment counts from 0.
// A gauge of that name, as Ray has one, declares nothing, and is no sample either.
func TestCounterDeclaredWithoutTotal(t *testing.T) {
	const idle = "vllm:num_requests_running 0\n"
	got, why := reportOf(applyAll(t, idle+"# TYPE vllm:num_preemptions counter\n# EOF\n", idle+"vllm:num_preemptions_total 4\n# EOF\n")).counter(metrics.Preemptions)
	if got != 4 || why != "" {
		t.Errorf("declared: %d %q", got, why)
	}
	const gauge = idle + "# TYPE vllm:num_preemptions gauge\nvllm:num_preemptions 7\n"
	if got, why := reportOf(applyAll(t, gauge, gauge+"vllm:num_preemptions_total 4\n")).counter(metrics.Preemptions); !strings.Contains(why, "only on a later one") {
		t.Errorf("a gauge: %d %q", got, why)
	}
	if got, why := reportOf(applyAll(t, gauge, gauge)).counter(metrics.Preemptions); !strings.Contains(why, "does not export") {
		t.Errorf("a gauge alone: %d %q", got, why)
	}
}

// What Ray's workers do inside the window, and which spelling is read.
func TestSpellingRules(t *testing.T) {
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
		{"a worker that comes", []string{idle + a + "10\n", idle + a + "11\n" + b + "5\n"}, 6, ""},
		{"a worker that goes", []string{a + "10\n" + b + "1\n", a + "12\n"}, 0, "vanished"},
		{"the agent starts anew and keeps its counts", []string{a + "10\nprocess_start_time_seconds 5\n", a + "12\nprocess_start_time_seconds 9\n"}, 2, ""},
		{"its counts start anew", []string{a + "10\n", a + "3\n"}, 3, ""},
		{"counters as gauges", []string{"ray_vllm_generation_tokens 10\n" + a + "10\n", "ray_vllm_generation_tokens 30\n" + a + "12\n"}, 2, ""},
		{"own names win", []string{a + "10\n" + own + "1\n", a + "90\n" + own + "3\n"}, 2, ""},
		{"own names come later", []string{a + "10\n", a + "90\n" + own + "3\n"}, 0, "only on a later one"},
		{"own names go", []string{a + "10\n" + own + "1\n", a + "90\n"}, 0, "only on a later one"},
		{"one spelling of two", []string{a + "10\nvllm_generation_tokens_total 10\n", a + "12\nvllm_generation_tokens_total 12\n"}, 2, ""},
	} {
		got, why := reportOf(applyAll(t, c.pages...)).counter(metrics.GenerationTokens)
		if got != c.want || (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d %q, want %d %q", c.name, got, why, c.want, c.why)
		}
	}
}
