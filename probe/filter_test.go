package probe

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
)

// Full pages are polled if the server ignores name[], or if only the exact path is kept
// out of its access log.
func TestWithoutFilter(t *testing.T) {
	for name, prepare := range map[string]func(*replay, *scrape.Target){
		"server ignores name[]": func(r *replay, _ *scrape.Target) { r.filter = false },
		"exact path only":       func(_ *replay, tg *scrape.Target) { tg.ExactPath = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
			server := httptest.NewServer(r)
			defer server.Close()
			tg := target(t, server.URL)
			prepare(r, &tg)
			p := New(quick)
			p.Add(tg)
			p.ScrapeBaseline(context.Background())
			r.set(underLoad(t))
			p.Start(time.Now())
			r.await("full", 4)
			r.set(testkit.Recorded(t, "serve_default_post"))
			report := p.Finish(context.Background(), time.Now())
			checkNulls(t, report)
			if g := report.Engine; *g.Tokens.Generation != 5737 || *g.KVCache.Usage.Peak == 0 || g.Scrapes.Errors != 0 {
				t.Errorf("%s", testkit.JSON(g))
			}
			if r.served["filtered"] > 0 {
				t.Errorf("%d filtered requests, want none", r.served["filtered"])
			}
		})
	}
}

// Filtered polls start to fail while full pages do not: full pages replace them.
func TestFilterStopsWorking(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"empty":       func(http.ResponseWriter, *http.Request) {},
		"500":         func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) },
		"HTML":        func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>\n") },
		"other names": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "vllm:num_requests_waiting 0\n") },
		"all names": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, testkit.Recorded(t, "serve_default_pre"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			engine, server := newFaulty(t, testkit.Recorded(t, "serve_default_pre"))
			p := startRun(t, server.URL)
			engine.await("filtered", 3)
			engine.setFault(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery != "" {
					handler(w, r)
					return
				}
				engine.replay.ServeHTTP(w, r)
			})
			engine.awaitHits(3)
			engine.set(underLoad(t))
			full := 3
			if name == "all names" {
				full = 4 // unfiltered responses to filtered polls are not counted here
			}
			engine.await("full", full)
			e := p.allEndpoints()[0]
			testkit.Await(t, "filtered polls end", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return e.schedule.Filter == scrape.FilterRefused
			})
			engine.await("full", 3)
			engine.set(testkit.Recorded(t, "serve_default_post"))
			report := p.finishWithin(t)
			checkRecordedRun(t, report)
			if g := report.Engine; *g.Requests.Running.Peak != 3000 || (g.Scrapes.Errors == 0) != (name == "all names") || g.Scrapes.Errors > 4 {
				t.Errorf("running %s, scrapes %s", testkit.JSON(g.Requests.Running), testkit.JSON(g.Scrapes))
			}
		})
	}
}
