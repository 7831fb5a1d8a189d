package window

import (
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// A page of the same series again allocates nothing in the books.
func TestBooksAllocateNothing(t *testing.T) {
	body := testkit.Recorded(t, "serve_default_post")
	if testkit.RaceEnabled {
		t.Skip("the race detector allocates on its own")
	}
	l, g := NewCounters(), NewGauges()
	parser, page := exposition.NewParser(metrics.IsWanted), exposition.Page{}
	at := time.Unix(1e9, 0)
	poll := func() {
		if err := parser.Parse([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		l.Classify(&page, true)
		g.Add(0, at, l.Apply(&page, true, false).Gauges, true, true, false)
	}
	poll()
	if n := testing.AllocsPerRun(20, poll); n > 3 {
		t.Errorf("a poll allocates %v times", n)
	}
}

// Labels with payloads are followed up to a limit on them all.
func TestLabelBytes(t *testing.T) {
	const first = "vllm:generation_tokens_total{x=\"1\"} 1\n"
	l := NewCounters()
	read := func(text string, base bool) {
		t.Helper()
		var page exposition.Page
		if err := exposition.NewParser(metrics.IsWanted).Parse([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		l.Classify(&page, true)
		l.Apply(&page, true, base)
	}
	read(first, true)
	if l.labelBytes != len(`"x"="1",`) {
		t.Errorf("%d bytes of labels", l.labelBytes)
	}
	l.labelBytes = MaxLabelBytes - 10
	read(first+"vllm:generation_tokens_total{x=\"22\"} 1\nvllm:generation_tokens_total{x=\"333333\"} 1\n", false)
	why := ""
	for _, g := range l.Metrics {
		why = l.WhyUnusable(g, nil)
	}
	if len(l.series) != 2 || !strings.Contains(why, "more series than are followed") {
		t.Errorf("%d series, reason %q", len(l.series), why)
	}
}
