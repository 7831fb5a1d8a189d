package probe

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
)

// headerRecorder counts a server's requests by their Authorization header.
type headerRecorder struct {
	http.Handler
	mu   sync.Mutex
	seen map[string]int
}

func (h *headerRecorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.seen[r.Header.Get("Authorization")]++
	h.mu.Unlock()
	h.Handler.ServeHTTP(w, r)
}

func (h *headerRecorder) requests(authorization string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen[authorization]
}

// The headers go to the address that the user gave, with every kind of request, and to no
// address that vobs found itself.
func TestHeadersGoToGivenAddressesOnly(t *testing.T) {
	const secret = "Bearer S"
	for name, origin := range map[string]scrape.Origin{"command line": scrape.FromCommandLine, "process tree": scrape.FromTree} {
		t.Run(name, func(t *testing.T) {
			servers := [2]*headerRecorder{}
			var targets [2]scrape.Target
			for i := range servers {
				// Nothing answers with samples at the first server, so that the second is read.
				page := ""
				if i == 1 {
					page = testkit.Recorded(t, "serve_default_pre")
				}
				servers[i] = &headerRecorder{Handler: newConfigReplay(t, nil), seen: map[string]int{}}
				servers[i].Handler.(*replay).set(page)
				server := httptest.NewServer(servers[i])
				defer server.Close()
				targets[i] = target(t, server.URL)
			}
			targets[1].Origin = origin
			cfg := Config{Interval: quick.Interval, Headers: http.Header{"Authorization": {secret}}}
			p := New(cfg)
			for _, target := range targets {
				p.Add(target)
			}
			p.ScrapeBaseline(context.Background())
			p.Start(time.Now())
			servers[1].Handler.(*replay).await("filtered", 3)
			report := p.Finish(context.Background(), time.Now())
			if e := report.Engine; e == nil || len(e.Endpoints) != 1 || e.Endpoints[0].URL != targets[1].Name() {
				t.Fatalf("read %s", testkit.JSON(e))
			}
			for _, target := range targets {
				if _, err := Health(context.Background(), cfg, target); err != nil {
					t.Error(err)
				}
				if _, err := Fetch(context.Background(), cfg, target); err != nil {
					t.Error(err)
				}
			}
			if with, without := servers[0].requests(secret), servers[0].requests(""); with < 3 || without != 0 {
				t.Errorf("the given address had %d requests with the header, %d without", with, without)
			}
			if with, without := servers[1].requests(secret), servers[1].requests(""); with != 0 || without < 3 {
				t.Errorf("the other address had %d requests with the header, %d without", with, without)
			}
		})
	}
}
