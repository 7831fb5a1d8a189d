package probe

import (
	"context"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An engine that goes away while it is busy: its tokens are known up to the last
// poll, its histograms up to the full page before. The event names both ages.
func TestLostAtTwoAges(t *testing.T) {
	t.Parallel()
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(r)
	defer server.Close()
	p := New(quick)
	p.Add(target(t, server.URL))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	r.set(underLoad(t))
	r.await("filtered", 3)
	server.CloseClientConnections()
	server.Close()
	e := p.snapshot()[0]
	await(t, "a refused poll", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return scrape.IsRefused(e.lastError)
	})
	p.mu.Lock()
	ended := e.lastAt.Add(250 * time.Millisecond)
	e.fullAt = ended.Add(-4 * time.Second)
	p.mu.Unlock()
	report := p.Finish(context.Background(), ended)
	checkNulls(t, report)
	if g := report.Engine; *g.Tokens.Generation != 2784 || g.LatencySeconds.TimeToFirstToken != nil || g.Window.FinalAgeSeconds != 4 {
		t.Errorf("window %s, tokens %s, TTFT %s", testkit.JSON(g.Window), testkit.JSON(g.Tokens), testkit.JSON(g.LatencySeconds.TimeToFirstToken))
	}
	const want = "the engine was gone when the command ended: its figures are from 4.00 s earlier (tokens.prompt, tokens.generation, their rates and the gauges, which are polled more often: 0.25 s earlier), and what it did after that is not counted"
	if !strings.Contains(testkit.JSON(report.Notes.Validity), want) {
		t.Errorf("validity %s", testkit.JSON(report.Notes.Validity))
	}
	e.fullAt = e.lastAt // as where the last poll was for the full page
	if got := testkit.JSON(p.aggregate([]*endpoint{e}, nil, ended).Notes.Validity); !strings.Contains(got, "from 0.25 s earlier, and what it did") {
		t.Errorf("validity %s", got)
	}
}
