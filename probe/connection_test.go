package probe

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
)

// A loopback server's certificate is verified only if a CA is given.
func TestTLS(t *testing.T) {
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewUnstartedServer(r)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // logs the refused handshake
	server.StartTLS()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	for name, cfg := range map[string]Config{"loopback": quick, "own CA": {Interval: quick.Interval, CA: pool}} {
		if err := Check(context.Background(), cfg, target(t, server.URL)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Check(context.Background(), Config{CA: x509.NewCertPool()}, target(t, server.URL)); err == nil {
		t.Error("no error for a server whose certificate the given CA did not sign")
	}
}

func TestHeaders(t *testing.T) {
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer x" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		r.ServeHTTP(w, req)
	}))
	defer server.Close()
	if err := Check(context.Background(), Config{Headers: http.Header{"Authorization": {"Bearer x"}}}, target(t, server.URL)); err != nil {
		t.Error(err)
	}
	if err := Check(context.Background(), Config{}, target(t, server.URL)); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without the header: %v", err)
	}
}

// Credentials and a private CA work for a whole run.
func TestCredentialsAndCA(t *testing.T) {
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, _ := req.BasicAuth(); req.Header.Get("X-Key") != "k" || user != "u" || password != "p" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		r.ServeHTTP(w, req)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	address := strings.Replace(server.URL, "https://", "https://u:p@", 1)
	cfg := Config{Interval: quick.Interval, CA: pool, Headers: http.Header{"X-Key": {"k"}}}
	p := New(cfg)
	p.Add(target(t, address))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	r.await("filtered", 3)
	r.set(testkit.Recorded(t, "serve_default_post"))
	report := p.finishWithin(t)
	checkRecordedRun(t, report)
	if strings.Contains(testkit.JSON(report.Engine.Endpoints), "u:p") {
		t.Error("the event contains user info")
	}
	cfg.CA = x509.NewCertPool()
	if err := Check(context.Background(), cfg, target(t, address)); err == nil || !strings.Contains(err.Error(), "--metrics-ca") || strings.Contains(err.Error(), "u:p") {
		t.Errorf("without the CA: %v", err)
	}
	cfg.CA, cfg.Headers = pool, nil
	if err := Check(context.Background(), cfg, target(t, address)); err == nil || !strings.Contains(err.Error(), "--metrics-header") {
		t.Errorf("without the header: %v", err)
	}
}

// If the server closes its connections, after each response or when they are idle, the
// next request uses a new one and nothing counts as failed.
func TestClosedConnections(t *testing.T) {
	for name, prepare := range map[string]func(*http.Server){
		"when idle":           func(s *http.Server) { s.IdleTimeout = time.Millisecond },
		"after each response": func(s *http.Server) { s.SetKeepAlivesEnabled(false) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
			server := httptest.NewUnstartedServer(r)
			prepare(server.Config)
			server.Start()
			defer server.Close()
			p := startRun(t, server.URL)
			r.await("filtered", 20)
			r.set(testkit.Recorded(t, "serve_default_post"))
			report := p.finishWithin(t)
			checkRecordedRun(t, report)
			if s := report.Engine.Scrapes; s.Errors != 0 || codesOfReplay(report) != "few_requests" {
				t.Errorf("scrapes %s, doubts %s", testkit.JSON(s), testkit.Codes(report.Notes))
			}
		})
	}
}

// A page takes 500 ms of the server's time, and other requests do not: the start waits for
// it, and few polls follow: those of an idle engine may take 1 %, and the first ones, whose
// cost is not known yet, 5 %.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/metrics") {
			select {
			case <-time.After(500 * time.Millisecond):
			case <-req.Context().Done():
			}
		}
		r.ServeHTTP(w, req)
	}))
	defer server.Close()
	p := New(Config{})
	p.Add(target(t, server.URL))
	within(t, "ScrapeBaseline", baselineTimeout, func() { p.ScrapeBaseline(context.Background()) })
	p.Start(time.Now())
	var wait time.Duration
	testkit.Await(t, "the first poll ends", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		wait, _ = p.endpoints[0].nextRead()
		return p.endpoints[0].schedule.FilteredLatency.Count > 0
	})
	if p.endpoints[0].base == aggregate.BaseScraped && wait < 5*time.Second { // otherwise the machine was too slow
		t.Errorf("the next poll waits %v, want 10 s less what has passed since the last one", wait)
	}
	r.set(testkit.Recorded(t, "serve_default_post"))
	p.beforeShutdownWithin(t) // the server needs more than its 250 ms
	report := p.finishWithin(t)
	if g := report.Engine; p.endpoints[0].base == aggregate.BaseScraped && *g.Tokens.Generation != 5737 {
		t.Errorf("%s, %s", testkit.JSON(g.Tokens), testkit.JSON(g.Window))
	}
}

// The server compresses although the request does not accept that.
func TestGzippedPages(t *testing.T) {
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if got := req.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding %q, want identity", got)
		}
		plain := httptest.NewRecorder()
		r.ServeHTTP(plain, req)
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(zipped(plain.Body.String()))
	}))
	defer server.Close()
	p := startRun(t, server.URL)
	r.await("filtered", 3)
	r.set(testkit.Recorded(t, "serve_default_post"))
	report := p.finishWithin(t)
	checkRecordedRun(t, report)
	if report.Engine.Scrapes.Errors != 0 || *report.Engine.Endpoints[0].Version != "0.32.0" {
		t.Errorf("%s %s", testkit.JSON(report.Engine.Scrapes), testkit.JSON(report.Engine.Endpoints))
	}
}
