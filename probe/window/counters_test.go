package window

import (
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
