package probe

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
)

// replay is a server whose /metrics page a test changes during a run.
type replay struct {
	t *testing.T

	mu     sync.Mutex
	page   string
	filter bool // filters by name[] at /metrics/, as prometheus_client does
	// endless ends each response with its connection, so that a client cannot know
	// whether it is complete.
	endless  bool
	status   int
	handlers map[string]http.HandlerFunc // of other paths
	served   map[string]int              // requests, by "full", "filtered" or other path
}

func newReplay(t *testing.T, page string) *replay {
	return &replay{t: t, page: page, filter: true, served: map[string]int{}}
}

func (r *replay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if handler := r.handlers[req.URL.Path]; handler != nil {
		r.served[req.URL.Path]++
		r.mu.Unlock()
		handler(w, req)
		r.mu.Lock()
		return
	}
	names := req.URL.Query()["name[]"]
	if r.endless {
		w.Header().Set("Transfer-Encoding", "identity")
	}
	switch {
	case req.URL.Path == "/version":
		r.served["/version"]++
		fmt.Fprint(w, `{"version":"0.32.0"}`)
	case r.status != 0:
		http.Error(w, "no", r.status)
	case req.URL.Path == "/metrics/" && len(names) > 0 && r.filter:
		r.served["filtered"]++
		for _, line := range strings.SplitAfter(r.page, "\n") {
			for _, n := range names {
				if strings.HasPrefix(line, n+"{") || strings.HasPrefix(line, n+" ") {
					fmt.Fprint(w, line)
				}
			}
		}
	case req.URL.Path == "/metrics" || req.URL.Path == "/metrics/":
		r.served["full"]++
		fmt.Fprint(w, r.page)
	default:
		http.NotFound(w, req)
	}
}

// set replaces the page.
func (r *replay) set(page string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.page = page
}

// count returns how many requests of a kind have been served.
func (r *replay) count(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.served[kind]
}

// await waits until more further requests of a kind have been served.
func (r *replay) await(kind string, more int) {
	r.t.Helper()
	r.awaitTotal(kind, r.count(kind)+more)
}

// awaitTotal waits until n requests of a kind have been served since the start.
func (r *replay) awaitTotal(kind string, n int) {
	r.t.Helper()
	testkit.Await(r.t, fmt.Sprintf("%d requests for %s", n, kind), func() bool { return r.count(kind) >= n })
}

// codesOfReplay returns the codes of a replayed run, but for short_window: it depends on the
// machine whether the polls of a moment resolve the time in which the engine worked.
func codesOfReplay(report aggregate.Output) string {
	return strings.ReplaceAll(testkit.Codes(report.Notes), "short_window ", "")
}

// startRun returns a Prober of one server whose command has just started.
func startRun(t testing.TB, url string) *Prober {
	t.Helper()
	p := New(quick)
	p.Add(target(t, url))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	return p
}

// bracket replays a run: pre before the start, during while the command runs, post after
// its end.
func bracket(t *testing.T, pre, during, post string) aggregate.Output {
	t.Helper()
	return bracketReplay(t, newReplay(t, pre), during, post)
}

// bracketReplay is bracket with a server that has the first page already.
func bracketReplay(t *testing.T, r *replay, during, post string) aggregate.Output {
	t.Helper()
	server := httptest.NewServer(r)
	defer server.Close()
	p := New(quick)
	p.Add(target(t, server.URL))
	p.ScrapeBaseline(context.Background())
	r.set(during)
	p.Start(time.Now())
	r.await("filtered", 6)
	r.set(post)
	report := p.Finish(context.Background(), time.Now())
	if report.Engine == nil {
		t.Fatalf("no engine was read: %+v", report.Notes)
	}
	checkNulls(t, report)
	return report
}
