package aggregate

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/window"
)

// testPage is one page that a ledger is given.
type testPage struct {
	text     string
	filtered bool // it answers a filtered poll
	open     bool // it ended with the connection: it may have been cut off
}

func ledgerOf(t *testing.T, zero bool, pages ...testPage) *window.Counters {
	t.Helper()
	l := window.NewCounters()
	parser := exposition.NewParser(metrics.IsWanted)
	for i, p := range pages {
		var page exposition.Page
		if err := parser.Parse([]byte(p.text), &page); err != nil {
			t.Fatal(err)
		}
		l.Classify(&page, !p.filtered)
		l.Complete = !p.open
		l.Apply(&page, !p.filtered, i == 0 && !zero)
	}
	return l
}

// The rules by which two readings become a figure, each with a counter and with a
// histogram, whose lines all have a part in it.
func TestWindow(t *testing.T) {
	const start, restart = "process_start_time_seconds 100\n", "process_start_time_seconds 200\n"
	counter := func(labels string, v int) string {
		return fmt.Sprintf("vllm:generation_tokens_total{%s} %d\n", labels, v)
	}
	// So many observations of 0.5 and of 2 each.
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
	cut := func(parts ...string) testPage { return testPage{text: strings.Join(parts, ""), open: true} }
	filtered := func(parts ...string) testPage { return testPage{text: strings.Join(parts, ""), filtered: true} }
	for _, c := range []struct {
		name      string
		zero      bool // the engine came up inside the run
		pages     []testPage
		tokens    int64
		low, high float64 // observations
		resets    int64
		why       string // for no figure
	}{
		{name: "deltas per series, then added",
			pages:  []testPage{page(both(e0, 100, 5, 5), both(e1, 1, 1, 0)), page(both(e0, 130, 6, 8), both(e1, 3, 1, 1))},
			tokens: 32, low: 1, high: 4},
		{name: "a second engine goes back, the first goes on: only its gains count anew", resets: 1,
			// Of the sum 101 → 133 no one would see it.
			pages:  []testPage{page(both(e0, 100, 50, 50), both(e1, 40, 9, 9), prompt(5)), page(both(e0, 130, 60, 58), both(e1, 3, 2, 1), prompt(6))},
			tokens: 33, low: 12, high: 9},
		{name: "from zero", zero: true,
			pages:  []testPage{page(both(e0, 7, 1, 2)), page(both(e0, 9, 2, 2))},
			tokens: 9, low: 2, high: 2},
		{name: "appears, declared before",
			pages:  []testPage{page(declared, other), page(declared, other, both(e0, 4, 1, 1))},
			tokens: 4, low: 1, high: 1},
		{name: "an engine appears, its families were there",
			pages:  []testPage{page(both(e0, 10, 1, 1)), page(both(e0, 11, 1, 2), both(e1, 4, 2, 0))},
			tokens: 5, low: 2, high: 1},
		{name: "appears, not declared, and the process is the same",
			pages:  []testPage{page(start, other), page(start, other, both(e0, 4, 1, 1))},
			tokens: 4, low: 1, high: 1},
		{name: "appears, not declared, and it is not known which process it is",
			pages: []testPage{page(other), page(other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "appears, not declared, and the start is told from then on alone",
			pages: []testPage{page(other), page(start, other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "appears, not declared, and the start is told no more",
			pages: []testPage{page(start, other), page(other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "appears, not declared, in the same process, on a page after one that may have been cut off",
			pages: []testPage{cut(start, other), page(start, other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "appears, not declared, in another process", resets: 1,
			pages:  []testPage{page(start, other), page(restart, other, both(e0, 4, 1, 1))},
			tokens: 4, low: 1, high: 1},
		{name: "an engine appears in a family that the first page may have been cut off in",
			pages: []testPage{cut(start, histogram(e0, 1, 1), counter(e0, 10)), page(start, histogram(e0, 1, 1), counter(e0, 11), counter(e1, 4000))}, low: 0, why: "was not on the first page"},
		{name: "appears where the page that may have been cut off only declared it",
			pages: []testPage{cut(start, declared, other), page(start, declared, other, both(e0, 4, 1, 1))}, why: "was not on the first page"},
		{name: "an engine appears behind a family that the cut was not in",
			pages:  []testPage{cut(start, both(e0, 10, 1, 1), other), page(start, both(e0, 11, 1, 2), both(e1, 4, 2, 0), other)},
			tokens: 5, low: 2, high: 1},
		{name: "goes back: what it has counted since", resets: 1,
			pages:  []testPage{page(both(e0, 100, 5, 5)), page(both(e0, 120, 6, 6)), page(both(e0, 30, 4, 1))},
			tokens: 50, low: 5, high: 2},
		{name: "one bucket alone goes back: all lines of the histogram count anew", resets: 1,
			// The others stand higher than before, and the tokens go on.
			pages:  []testPage{page(both(e0, 100, 9, 1)), page(both(e0, 120, 2, 30))},
			tokens: 20, low: 2, high: 30},
		{name: "the counters hide a restart that the start tells", resets: 1,
			pages:  []testPage{page(start, both(e0, 10, 1, 1)), page(restart, both(e0, 500, 7, 8))},
			tokens: 500, low: 7, high: 8},
		{name: "a restart that a filtered poll told", resets: 1,
			pages:  []testPage{page(start, both(e0, 10, 1, 1)), filtered(restart, other, counter(e0, 500)), page(restart, both(e0, 501, 7, 8))},
			tokens: 501, low: 7, high: 8},
		{name: "two restarts", resets: 2,
			pages:  []testPage{page(start, both(e0, 10, 1, 1)), page(restart, both(e0, 500, 7, 8)), page("process_start_time_seconds 300\n", both(e0, 600, 8, 8))},
			tokens: 1100, low: 15, high: 16},
		{name: "a series vanishes",
			pages: []testPage{page(both(e0, 10, 1, 1), both(e1, 10, 1, 1)), page(both(e0, 20, 2, 2))}, why: "vanished"},
		{name: "the family vanishes",
			pages: []testPage{page(both(e0, 10, 1, 1), other), page(other)}, why: "vanished"},
		{name: "vanishes with its process: what it gained until then", resets: 1,
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
			l := ledgerOf(t, c.zero, c.pages...)
			r := reportOf(l)
			n, why := r.counter(metrics.GenerationTokens)
			if n != c.tokens || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("tokens %d %q, want %d %q", n, why, c.tokens, c.why)
			}
			groups, why := r.metricsOf(metrics.TimeToFirstToken)
			if c.why != "" && c.tokens == 0 && strings.Contains(c.name, "cut off in") {
				if why != "" {
					t.Errorf("the histogram is whole: %q", why)
				}
			} else if (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("histogram %q, want %q", why, c.why)
			}
			if c.why == "" {
				h := window.MergeHistograms(groups)
				want := histogramOf(c.low, c.high)
				if h.Count != want.Count || math.Abs(h.Sum-want.Sum) > 1e-9 || len(h.Buckets) != 2 || h.Buckets[0] != want.Buckets[0] || h.Buckets[1] != want.Buckets[1] {
					t.Errorf("histogram %+v, want %+v", h, want)
				}
			}
			if l.Resets != c.resets {
				t.Errorf("%d resets, want %d", l.Resets, c.resets)
			}
		})
	}
}

func histogramOf(low, high float64) window.Histogram {
	return window.Histogram{Count: low + high, Sum: 0.5*low + 2*high, Buckets: []window.Bucket{{UpperBound: 1, Count: low}, {UpperBound: math.Inf(1), Count: low + high}}}
}

// Old and new names of one figure are never added up: which one counts is decided
// by the page that is counted from and by the last one.
func TestNamesOfOneFigure(t *testing.T) {
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
		{"the new alone", []testPage{page(newOne(5)), page(newOne(9))}, 4, ""},
		{"the old alone", []testPage{page(oldOne(5)), page(oldOne(9))}, 4, ""},
		{"both on both: the new", []testPage{page(oldOne(50), newOne(5)), page(oldOne(60), newOne(9))}, 4, ""},
		{"the new is only declared: the old", []testPage{page(oldOne(5), newDeclared), page(oldOne(9), newDeclared)}, 4, ""},
		{"the new was declared and comes: it counts from zero", []testPage{page(oldOne(5), newDeclared), page(oldOne(9), newOne(3))}, 3, ""},
		{"the new comes undeclared: the old, for there is something to count from", []testPage{page(oldOne(5)), page(oldOne(9), newOne(700))}, 4, ""},
		{"the new goes: the old", []testPage{page(oldOne(5), newOne(5)), page(oldOne(9), newDeclared)}, 4, ""},
		{"the old goes: the new", []testPage{page(oldOne(5), newOne(5)), page(newOne(9))}, 4, ""},
		{"an engine of another version takes its place", []testPage{page(start, oldOne(5)), page(start, oldOne(9)), page(restart, newOne(3))}, 0, "replaced inside the window by one that calls vllm:gpu_prefix_cache_hits_total vllm:prefix_cache_hits_total"},
		{"and the other way round", []testPage{page(start, newOne(5)), page(start, newOne(9)), page(restart, oldOne(3))}, 0, "replaced inside the window"},
		{"one with both takes the place of one with the old alone", []testPage{page(start, oldOne(5)), page(start, oldOne(9)), page(restart, oldOne(3), newOne(3))}, 0, "replaced inside the window"},
		{"one with the old alone takes the place of one with both", []testPage{page(start, oldOne(5), newOne(5)), page(start, oldOne(9), newOne(9)), page(restart, oldOne(3))}, 7, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, why := reportOf(ledgerOf(t, false, c.pages...)).counter(metrics.PrefixHits)
			if n != c.want || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("%d %q, want %d %q", n, why, c.want, c.why)
			}
		})
	}
}
