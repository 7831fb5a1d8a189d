package probe

import (
	"context"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
	"net/http"
	"testing"
	"time"
)

// The body of a page that a server begins to send and never ends must not be
// waited for by the one who ends the run.
func TestFinishDuringAPoll(t *testing.T) {
	engine, server := newFaulty(t, testkit.Recorded(t, "serve_default_pre"))
	p := New(quick)
	p.Add(target(t, server.URL))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	engine.await("filtered", 1)
	engine.serve(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		<-r.Context().Done()
	})
	engine.awaitHits(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // INT ends the settling
	within(t, "Finish", 0, func() {
		if report := p.Finish(ctx, time.Now()); report.Engine == nil || report.Engine.Window.Final != "last_good" {
			t.Errorf("%+v", report.Notes)
		}
	})
}

// What vobs has overspent puts polls off, but no longer than they are worth: a small
// page is read ten times a second for 0.2 % of a core, one of 2 MB every three seconds.
func TestOwnBudgetPutsPollsOff(t *testing.T) {
	p := New(Config{Wait: func() time.Duration { return 4 * time.Second }})
	defer p.cancel()
	target, err := scrape.ParseTarget("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	p.Add(target)
	e := p.endpoints[0]
	e.up, e.schedule.Filter, e.schedule.FullAt = true, scrape.FilterWorks, time.Now()
	for bytes, want := range map[int64]time.Duration{0: scrape.MinInterval, 1000: scrape.MinInterval, 50_000: scrape.MinInterval, 2 << 20: 3 * time.Second, 1 << 30: 4 * time.Second} {
		e.bytes = bytes
		if wait, _ := e.plan(); wait < want || wait > want+500*time.Millisecond {
			t.Errorf("after an answer of %d bytes the next poll waits %v, want %v and up to two beats", bytes, wait, want)
		}
	}
}
