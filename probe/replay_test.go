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

	"go.uber.org/goleak"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// replay is a server whose /metrics page a test changes as the run goes on.
type replay struct {
	t *testing.T

	mu     sync.Mutex
	page   string
	filter bool // honours name[] at /metrics/, as prometheus_client does
	// endless ends each answer with its connection: nothing tells that it is whole.
	endless bool
	status  int
	answers map[string]http.HandlerFunc // at other paths
	served  map[string]int              // requests answered, by "full", "filtered" and other paths
	change  *sync.Cond
}

func newReplay(t *testing.T, page string) *replay {
	r := &replay{t: t, page: page, filter: true, served: map[string]int{}}
	r.change = sync.NewCond(&r.mu)
	return r
}

func (r *replay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.change.Broadcast()
	if answer := r.answers[req.URL.Path]; answer != nil {
		r.served[req.URL.Path]++
		r.change.Broadcast()
		r.mu.Unlock()
		answer(w, req)
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

func (r *replay) set(page string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.page = page
}

// await waits until so many more pages of a kind have been answered.
func (r *replay) await(kind string, more int) {
	r.t.Helper()
	r.awaitServed(kind, func(now int) int { return now + more })
}

// awaitServed waits until so many have been answered; until is given those of now.
func (r *replay) awaitServed(kind string, until func(now int) int) {
	r.t.Helper()
	timer := time.AfterFunc(30*time.Second, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.served[kind] = 1 << 30 // ends the wait; the check below fails
		r.change.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for want := until(r.served[kind]); r.served[kind] < want; {
		r.change.Wait()
	}
	if r.served[kind] >= 1<<30 {
		r.t.Fatalf("waited 30 s for %s pages", kind)
	}
}

// underLoad is a page of the recorded run's middle: half way from pre to post
// in what the tests look at, three requests running. (The recorded
// serve_default_during is of a later load.)
func underLoad(t testing.TB) string {
	t.Helper()
	page := testkit.Recorded(t, "serve_default_pre")
	for _, change := range [][2]string{
		{`num_requests_running{engine="0",model_name="tiny"} 0.0`, `num_requests_running{engine="0",model_name="tiny"} 3.0`},
		{`kv_cache_usage_perc{engine="0",model_name="tiny"} 0.0`, `kv_cache_usage_perc{engine="0",model_name="tiny"} 0.0005493499359091603`},
		{`generation_tokens_total{engine="0",model_name="tiny"} 16.0`, `generation_tokens_total{engine="0",model_name="tiny"} 2800.0`},
	} {
		if !strings.Contains(page, change[0]) {
			t.Fatalf("the recording has no line %s", change[0])
		}
		page = strings.Replace(page, change[0], change[1], 1)
	}
	return page
}

func target(t testing.TB, address string) scrape.Target {
	t.Helper()
	tg, err := scrape.ParseTarget(address)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

// quick polls as fast as a test needs it.
var quick = Config{Interval: 5 * time.Millisecond}

// bracket replays a run: pre before the start, during while the command runs,
// post after its end.
func bracket(t *testing.T, pre, during, post string) aggregate.Output {
	t.Helper()
	return bracketOf(t, newReplay(t, pre), during, post)
}

func bracketOf(t *testing.T, r *replay, during, post string) aggregate.Output {
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

// lastBeforeTheEnd says that the window ends with the reading before a shutdown
// signal, or with a poll that still fell between it and the engine's end.
func lastBeforeTheEnd(w *schema.Window) bool {
	return w.Final == "before_signal" || w.Final == "last_good"
}

// checkNulls holds a report against the promise that every null has its reason.
func checkNulls(t *testing.T, report aggregate.Output) {
	t.Helper()
	e := &schema.GenerationObservability{
		Core: schema.Core{
			KVCacheUsagePerc: report.KVCacheUsagePerc, PrefixCacheHitRate: report.PrefixCacheHitRate,
			SpecAcceptRate: report.SpecAcceptRate, EngineRuntimeConfig: report.EngineRuntimeConfig,
		},
		Engine:      report.Engine,
		Omni:        report.Omni,
		Validity:    report.Notes.Validity,
		Unavailable: report.Notes.Unavailable,
	}
	for _, path := range schema.UnexplainedNulls(e) {
		if strings.HasPrefix(path, "engine") || strings.HasPrefix(path, "omni") || path == "kv_cache_usage_perc" || path == "prefix_cache_hit_rate" || path == "spec_accept_rate" {
			t.Errorf("%s is null without a reason", path)
		}
	}
}
