package probe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// workingEngine serves a page with a number of running requests and a counter of tokens.
type workingEngine struct {
	running, tokens atomic.Int64
}

func (e *workingEngine) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	const labels = `{engine="0",model_name="m"}`
	fmt.Fprintf(w, "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running%s %d\n", labels, e.running.Load())
	fmt.Fprintf(w, "# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc%s 0.1\n", labels)
	fmt.Fprintf(w, "# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total%s %d\n", labels, e.tokens.Load())
	fmt.Fprintf(w, "# TYPE vllm:prompt_tokens counter\nvllm:prompt_tokens_total%s 0\n", labels)
}

// Every reading reports whether any engine on this host is at work, and since when that may be
// so.
func TestActivity(t *testing.T) {
	var engines [2]workingEngine
	var servers [2]*httptest.Server
	cfg := quick
	var mu sync.Mutex
	var seen []Activity
	cfg.Activity = func(a Activity) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, a)
	}
	p := New(cfg)
	for i := range servers {
		socket := filepath.Join(t.TempDir(), "s.sock")
		ln, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		servers[i] = httptest.NewUnstartedServer(&engines[i])
		servers[i].Listener.Close()
		servers[i].Listener = ln
		servers[i].Start()
		defer servers[i].Close()
		p.Add(target(t, "unix://"+socket))
	}
	// next returns the first report from now on that satisfies f.
	next := func(what string, f func(a Activity) bool) (found Activity) {
		t.Helper()
		mu.Lock()
		from := len(seen)
		mu.Unlock()
		testkit.Await(t, what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			for ; from < len(seen); from++ {
				if f(seen[from]) {
					found = seen[from]
					return true
				}
			}
			return false
		})
		return found
	}
	idle := func(a Activity) bool { return !a.Busy && !a.Worked && !a.Gone }
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	next("idle", idle)
	before := time.Now()
	engines[0].running.Store(1)
	if a := next("the first one works", func(a Activity) bool { return a.Busy }); a.At.Before(before) || !a.Since.Before(a.At) || a.Worked || a.Gone {
		t.Errorf("%+v", a)
	}
	engines[1].running.Store(2)
	next("both work", func(a Activity) bool { return a.Busy })
	testkit.Await(t, "the second was seen at work", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.endpoints[1].busy
	})
	engines[0].running.Store(0)
	engines[0].tokens.Add(10)
	testkit.Await(t, "the first was seen idle", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.endpoints[0].busy
	})
	next("the second still works", func(a Activity) bool { return a.Busy })
	engines[1].running.Store(0)
	next("idle again", idle)
	engines[1].tokens.Add(5)
	if a := next("unseen work", func(a Activity) bool { return a.Worked }); a.Busy || !a.Since.Before(a.At) {
		t.Errorf("%+v", a)
	}
	for _, s := range servers {
		s.Close()
	}
	next("none is left", func(a Activity) bool { return a.Gone && !a.Busy })
	p.Finish(context.Background(), time.Now())
}

// An engine on another host says nothing of this host's GPUs.
func TestActivityElsewhere(t *testing.T) {
	var engine workingEngine
	server := httptest.NewServer(&engine)
	defer server.Close()
	called := false
	cfg := quick
	cfg.Activity = func(Activity) { called = true }
	cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	p := New(cfg)
	p.Add(target(t, "http://192.0.2.1:8000/metrics"))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	if out := p.finishWithin(t); out.Engine == nil || out.Local || called {
		t.Errorf("engine %v, local %v, activity reported %v: %v", out.Engine != nil, out.Local, called, out.Notes.Unavailable)
	}
}
