package probe

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// fault is an invalid response.
type fault struct {
	name    string
	handler http.HandlerFunc
	// want is part of the resulting reason.
	want string
	// heavy reports whether the fault keeps a core busy. Heavy faults are tried only as an
	// endpoint's only response.
	heavy bool
}

// hits returns the number of requests to wait for until one poll has failed because of
// the fault.
func (f *fault) hits() int {
	if f.name == "redirect loop" {
		return 1 + 3 + 1
	}
	return 2
}

// faults returns all faults. Each handler ends when the client disconnects.
func faults() []fault {
	static := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	encoded := func(encoding string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			w.Write(body)
		}
	}
	// endless repeats text until the client disconnects.
	endless := func(status int, text string) http.HandlerFunc {
		block := []byte(strings.Repeat(text, 1+(64<<10)/len(text)))
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			for {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}
	}
	// raw writes text to the connection as it is, then repeats another text.
	raw := func(text, repeat string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			io.WriteString(conn, text)
			for err == nil && repeat != "" {
				_, err = io.WriteString(conn, repeat)
			}
		}
	}
	bomb := bytes.Repeat(zipped(strings.Repeat("# nothing again\n", 1<<16)), 65) // 65 MiB, in members of 1 MiB
	const page = "vllm:num_requests_running 0\nvllm:generation_tokens_total 12345\n"
	return []fault{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timed out: no response within", false},
		{"hangs after the header", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "timed out: an incomplete response of 0 bytes within", false},
		{"drips", func(w http.ResponseWriter, r *http.Request) {
			for tick := time.NewTicker(2 * time.Millisecond); ; {
				select {
				case <-r.Context().Done():
					tick.Stop()
					return
				case <-tick.C:
					io.WriteString(w, "#")
					http.NewResponseController(w).Flush()
				}
			}
		}, "timed out: an incomplete response of", false},
		{"500", static(500, "text/plain", "it broke\n"), "the server answers 500 Internal Server Error", false},
		{"404", static(404, "text/plain", "what?\n"), "404 Not Found: vLLM serves its page at /metrics", false},
		{"401", static(401, "text/plain", "who?\n"), "401 Unauthorized: give its credentials with --metrics-header", false},
		{"503 without end", endless(503, "busy\n"), "the server answers 503", false},
		{"HTML", static(200, "text/html", "<!doctype html>\n<html></html>\n"), `line 1: no metric name at "<!doctype html>"`, false},
		{"JSON", static(200, "application/json", `{"object":"list"}`), "its page cannot be read: line 1: label object has no value", false},
		{"binary", static(200, "application/octet-stream", "\x00\x01\xff\n"), "line 1: no metric name", false},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/metrics", http.StatusFound) }, "redirected more than 3 times", false},
		{"redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://metrics.invalid/metrics?token=secret", http.StatusFound)
		}, "redirected to another server, http://metrics.invalid, which is not scraped", false},
		{"redirect without a location", static(302, "text/plain", ""), "the server answers 302 without a usable Location header", false},
		{"deflate", encoded("deflate", []byte("x")), "the server compresses the page (deflate)", false},
		{"br", encoded("br", []byte("x")), "the server compresses the page (br)", false},
		{"gzip twice", encoded("gzip, gzip", []byte("x")), "the server compresses the page (gzip, gzip)", false},
		{"invalid gzip", encoded("gzip", []byte(page)), "the response is marked as gzip and is not valid gzip", false},
		{"empty gzip", encoded("gzip", nil), "the response is cut off", false},
		{"gzip cut", encoded("gzip", zipped(page)[:20]), "the response is cut off after 20 bytes", false},
		{"broken UTF-8", static(200, "text/plain", "vllm:num_requests_running{model_name=\"\xff\"} 0\n"), "value of label model_name: not valid UTF-8", false},
		{"shorter than its length", raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+page, ""), "the response is cut off after 63 bytes", false},
		{"chunked and cut", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3f\r\n"+page+"\r\n", ""), "the response is cut off after 63 bytes", false},
		{"cut in its last line", static(200, "text/plain", page[:60]), "the page is cut off in its last line", false},
		{"OpenMetrics without its last line", static(200, "application/openmetrics-text; version=1.0.0", page), "does not end with # EOF", false},
		{"empty", static(200, "text/plain", ""), "the server returned an empty page", false},
		{"another exporter", static(200, "text/plain", "# TYPE DCGM_FI_DEV_GPU_UTIL gauge\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 0\n"), "exports no vllm: samples", false},
		{"another application", static(200, "text/plain", "# TYPE node_load1 gauge\nnode_load1 0.5\nprocess_start_time_seconds 1.0\n"), "exports no vllm: samples", false},
		{"speaks TLS", raw("\x15\x03\x01\x00\x02\x02\x16", ""), "the server speaks TLS: use https://", false},
		{"not HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n", ""), "malformed HTTP", false},
		{"closes the connection", raw("", ""), "the server closed the connection without a response (EOF): is it an HTTP server", false},
		{"header without end", raw("HTTP/1.1 200 OK\r\n", strings.Repeat("X-More: and more\r\n", 1000)), "header", false},
		{"HTML without end", endless(200, "<p>more</p>\n"), "line 1: no metric name", false},
		{"a line without end", endless(200, "vllm:num_requests_running{"), "line 1: longer than 8388608 bytes", true},
		{"a name without end", endless(200, "vllm:num_requests_running"), `line 1: no metric name at "vllm:num`, true},
		{"samples without end", endless(200, "vllm:num_requests_running{engine=\"0\"} 1\n"), "more than 131072 wanted samples", true},
		{"gzip bomb", encoded("gzip", bomb), "the page is larger than 64 MiB", true},
		{"gzip without end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			part := bomb[:len(bomb)/65]
			for {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		}, "the page is larger than 64 MiB", true},
	}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.Bytes()
}

// lightFaults returns the faults that do not keep a core busy.
func lightFaults() []fault {
	return slices.DeleteFunc(faults(), func(f fault) bool { return f.heavy })
}

// slots limits the cases that run concurrently, so that a busy machine has time for each.
var slots = make(chan struct{}, 16)

// forEachFault runs try for the light faults concurrently, because most of them wait, and
// then for the heavy ones one by one.
func forEachFault(t *testing.T, all []fault, try func(*testing.T, fault)) {
	var wg sync.WaitGroup
	for _, f := range all {
		if !f.heavy {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				t.Run(f.name, func(t *testing.T) { try(t, f) })
			})
		}
	}
	wg.Wait()
	for _, f := range all {
		if f.heavy {
			t.Run(f.name, func(t *testing.T) { try(t, f) })
		}
	}
}

// faulty is a replay whose /metrics page can be replaced by a fault.
type faulty struct {
	*replay
	mu      sync.Mutex
	handler http.HandlerFunc
	hit     chan struct{} // receives once for each request that the fault served
}

func newFaulty(t *testing.T, page string) (*faulty, *httptest.Server) {
	f := &faulty{replay: newReplay(t, page), hit: make(chan struct{}, 1<<16)}
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return f, server
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	handler := f.handler
	f.mu.Unlock()
	if handler == nil || !strings.HasPrefix(r.URL.Path, "/metrics") { // a configuration query
		f.replay.ServeHTTP(w, r)
		return
	}
	select {
	case f.hit <- struct{}{}:
	default:
	}
	handler(w, r)
}

// setFault makes handler serve the page from now on; nil ends that.
func (f *faulty) setFault(handler http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handler = handler
}

// awaitHits waits until n further requests have met the fault.
func (f *faulty) awaitHits(n int) {
	f.t.Helper()
	for range n {
		select {
		case <-f.hit:
		case <-time.After(testkit.Patience):
			f.t.Fatalf("no request within %v", testkit.Patience)
		}
	}
}

// Every fault in every part of a run, concurrently.
func TestFaults(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for name, try := range map[string]func(*testing.T){
		"from the start": testFaultFromStart,
		"in the middle":  testFaultInBetween,
		"at the end":     testFaultAtEnd,
	} {
		wg.Go(func() { t.Run(name, try) })
	}
	wg.Wait()
}

// A server that never responds as an engine: no figures, a reason, no delay.
func testFaultFromStart(t *testing.T) {
	forEachFault(t, faults(), func(t *testing.T, f fault) {
		engine, server := newFaulty(t, "")
		engine.setFault(f.handler)
		p := New(quick)
		p.Add(target(t, server.URL))
		within(t, "ScrapeBaseline", baselineTimeout, func() { p.ScrapeBaseline(context.Background()) })
		p.Start(time.Now())
		p.beforeShutdownWithin(t)
		report := p.finishWithin(t)
		why := testkit.Reason(report.Notes, "engine")
		if report.Engine != nil || !strings.Contains(why, f.want) && !(f.heavy && strings.Contains(why, "timed out")) {
			t.Errorf("reason %q, want one with %q", why, f.want)
		}
		if strings.Contains(why, "secret") || len(why) > 2*300 {
			t.Errorf("reason with a secret, or too long: %q", why)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		within(t, "Check", 2*time.Second, func() {
			if err := Check(ctx, quick, target(t, server.URL)); err == nil || !strings.Contains(err.Error(), f.want) && !(f.heavy && strings.Contains(err.Error(), "timed out")) {
				t.Errorf("Check: %v, want %q", err, f.want)
			}
		})
	})
}

// An engine with the fault for a while during the run: every figure is correct in the
// end, and the event mentions the fault.
func testFaultInBetween(t *testing.T) {
	forEachFault(t, lightFaults(), func(t *testing.T, f fault) {
		engine, server := newFaulty(t, testkit.Recorded(t, "serve_default_pre"))
		p := startRun(t, server.URL)
		engine.await("filtered", 2)
		engine.setFault(f.handler)
		engine.awaitHits(f.hits())
		engine.set(underLoad(t))
		engine.setFault(nil)
		engine.await("filtered", 6)
		engine.set(testkit.Recorded(t, "serve_default_post"))
		report := p.finishWithin(t)
		checkRecordedRun(t, report)
		g := report.Engine
		if g.Window.Final != "settled" || g.Scrapes.Errors == 0 || g.Window.Resets != 0 || *g.KVCache.Usage.Peak != 0.0005493499359091603 {
			t.Errorf("window %s, scrapes %s, usage %s", testkit.JSON(g.Window), testkit.JSON(g.Scrapes), testkit.JSON(g.KVCache.Usage))
		}
		if codesOfReplay(report) != "scrapes_failed few_requests" || !strings.Contains(testkit.JSON(report.Notes.Validity), quoted(f.want)) {
			t.Errorf("validity %s", testkit.JSON(report.Notes.Validity))
		}
	})
}

// An engine with the fault at the end of the run: the last good reading counts.
func testFaultAtEnd(t *testing.T) {
	forEachFault(t, lightFaults(), func(t *testing.T, f fault) {
		engine, server := newFaulty(t, testkit.Recorded(t, "serve_default_pre"))
		p := startRun(t, server.URL)
		engine.await("filtered", 2)
		engine.set(testkit.Recorded(t, "serve_default_post"))
		p.BeforeShutdown(context.Background())
		engine.setFault(f.handler)
		engine.awaitHits(f.hits())
		p.beforeShutdownWithin(t)
		report := p.finishWithin(t)
		checkRecordedRun(t, report)
		w := report.Engine.Window
		if !endsBeforeExit(w) || w.FinalAgeSeconds <= 0 || w.SettleSeconds != 0 || report.Engine.Scrapes.Errors == 0 {
			t.Errorf("window %s, scrapes %s", testkit.JSON(w), testkit.JSON(report.Engine.Scrapes))
		}
		for _, code := range []string{"final_reading_lost", "scrapes_failed"} {
			if !strings.Contains(testkit.Codes(report.Notes), code) {
				t.Errorf("doubts %s, want %s", testkit.Codes(report.Notes), code)
			}
		}
		if !strings.Contains(testkit.JSON(report.Notes.Validity), quoted(f.want)) {
			t.Errorf("validity %s", testkit.JSON(report.Notes.Validity))
		}
	})
}

// quoted returns s as it appears inside a JSON string.
func quoted(s string) string { return strings.Trim(testkit.JSON(s), `"`) }

// Finish does not wait for a page that a server started to send and never ends.
func TestFinishDuringPoll(t *testing.T) {
	engine, server := newFaulty(t, testkit.Recorded(t, "serve_default_pre"))
	p := startRun(t, server.URL)
	engine.await("filtered", 1)
	engine.setFault(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		<-r.Context().Done()
	})
	engine.awaitHits(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // as INT does
	within(t, "Finish", 0, func() {
		if report := p.Finish(ctx, time.Now()); report.Engine == nil || report.Engine.Window.Final != "last_good" {
			t.Errorf("%+v", report.Notes)
		}
	})
}
