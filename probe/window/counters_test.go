package window

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// A page with the same series as the one before allocates next to nothing.
func TestSameSeriesAllocateNothing(t *testing.T) {
	body := testkit.Recorded(t, "serve_default_post")
	if testkit.RaceEnabled {
		t.Skip("the race detector allocates on its own")
	}
	c, g := NewCounters(), NewGauges()
	parser, page := exposition.NewParser(metrics.IsWanted), exposition.Page{}
	at := time.Unix(1e9, 0)
	poll := func() {
		if err := parser.Parse([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		c.Classify(&page, true)
		g.Add(0, GaugePage{At: at, Gauges: c.Apply(&page, Reading{Full: true}).Gauges, Full: true, During: true})
	}
	poll()
	if n := testing.AllocsPerRun(20, poll); n > 3 {
		t.Errorf("a poll allocates %v times", n)
	}
}

// The total length of all labels is bounded.
func TestMaxLabelBytes(t *testing.T) {
	const first = "vllm:generation_tokens_total{x=\"1\"} 1\n"
	c := NewCounters()
	read := func(text string, baseline bool) {
		t.Helper()
		var page exposition.Page
		if err := exposition.NewParser(metrics.IsWanted).Parse([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		c.Classify(&page, true)
		c.Apply(&page, Reading{Full: true, Baseline: baseline})
	}
	read(first, true)
	if c.labelBytes != len(`"x"="1",`) {
		t.Errorf("%d bytes of labels", c.labelBytes)
	}
	c.labelBytes = MaxLabelBytes - 10
	read(first+"vllm:generation_tokens_total{x=\"22\"} 1\nvllm:generation_tokens_total{x=\"333333\"} 1\n", false)
	why := ""
	for _, m := range c.Metrics() {
		why = c.WhyUnusable(m, nil)
	}
	if len(c.series) != 2 || !strings.Contains(why, "more series than vobs tracks") {
		t.Errorf("%d series, reason %q", len(c.series), why)
	}
}

// histogramPage is a page with one histogram of n buckets, in a random order.
func histogramPage(n int) []byte {
	var b strings.Builder
	b.WriteString("# TYPE vllm:e2e_request_latency_seconds histogram\n")
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(n) {
		fmt.Fprintf(&b, "vllm:e2e_request_latency_seconds_bucket{le=\"%d\"} %d\n", i, i)
	}
	fmt.Fprintf(&b, "vllm:e2e_request_latency_seconds_bucket{le=\"+Inf\"} %d\nvllm:e2e_request_latency_seconds_count %d\nvllm:e2e_request_latency_seconds_sum %d\n", n, n, n)
	return []byte(b.String())
}

// Buckets are sorted whatever their order on the page.
func TestBucketsInAnyOrder(t *testing.T) {
	c := NewCounters()
	var page exposition.Page
	if err := exposition.NewParser(metrics.IsWanted).Parse(histogramPage(1000), &page); err != nil {
		t.Fatal(err)
	}
	c.Classify(&page, true)
	c.Apply(&page, Reading{Full: true})
	m := c.Metrics()[0]
	if len(m.Buckets) != 1001 || !slices.IsSortedFunc(m.Buckets, func(a, b *Bucket) int { return cmp.Compare(a.UpperBound, b.UpperBound) }) {
		t.Errorf("%d buckets", len(m.Buckets))
	}
}

// The time for a histogram is in proportion to its buckets.
func BenchmarkBuckets(b *testing.B) {
	for _, n := range []int{1000, 60_000} {
		text := histogramPage(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				c := NewCounters()
				var page exposition.Page
				if err := exposition.NewParser(metrics.IsWanted).Parse(text, &page); err != nil {
					b.Fatal(err)
				}
				c.Classify(&page, true)
				c.Apply(&page, Reading{Full: true})
				MergeHistograms(c.Metrics()).Distribution()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/bucket")
		})
	}
}
