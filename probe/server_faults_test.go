package probe

import (
	"bytes"
	"compress/gzip"
	"context"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is a way in which a server answers wrongly.
type fault struct {
	name   string
	answer http.HandlerFunc
	// want is what the reason says of it.
	want string
	// heavy ones keep a core busy: they are tried as an endpoint's only answer.
	heavy bool
}

// hits is the number of requests of which the first poll has met the fault to its end.
func (f *fault) hits() int {
	if f.name == "redirect loop" {
		return 1 + 3 + 1
	}
	return 2
}

// faults lists them. Each handler ends when the client goes away.
func faults() []fault {
	static := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
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
	// endless repeats text behind a header until the client goes.
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
	raw := func(text string, repeat string) http.HandlerFunc {
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
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer in time: nothing within", false},
		{"hangs after the header", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "no whole answer in time: 0 bytes within", false},
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
		}, "no whole answer in time", false},
		{"500", static(500, "text/plain", "it broke\n"), "the server answers 500 Internal Server Error", false},
		{"404", static(404, "text/plain", "what?\n"), "404 Not Found: a vLLM server has its page at /metrics", false},
		{"401", static(401, "text/plain", "who?\n"), "401 Unauthorized: give what it needs by --metrics-header", false},
		{"503 without end", endless(503, "busy\n"), "the server answers 503", false},
		{"HTML", static(200, "text/html", "<!doctype html>\n<html></html>\n"), `line 1: no metric name at "<!doctype html>"`, false},
		{"JSON", static(200, "application/json", `{"object":"list"}`), "its page cannot be read: line 1: label object has no value", false},
		{"binary", static(200, "application/octet-stream", "\x00\x01\xff\n"), "line 1: no metric name", false},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/metrics", http.StatusFound) }, "redirected more than 3 times", false},
		{"redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://metrics.invalid/metrics?token=secret", http.StatusFound)
		}, "redirected to another server, http://metrics.invalid, which is not asked", false},
		{"redirect to nowhere", static(302, "text/plain", ""), "tells no address to go on at", false},
		{"deflate", encoded("deflate", []byte("x")), "the server compresses its answer (deflate)", false},
		{"br", encoded("br", []byte("x")), "the server compresses its answer (br)", false},
		{"gzip twice", encoded("gzip, gzip", []byte("x")), "the server compresses its answer (gzip, gzip)", false},
		{"gzip that is none", encoded("gzip", []byte(page)), "the server says that its answer is gzip, and it is not", false},
		{"gzip of nothing", encoded("gzip", nil), "the answer is cut off", false},
		{"gzip cut", encoded("gzip", zipped(page)[:20]), "the answer is cut off after 20 bytes", false},
		{"broken UTF-8", static(200, "text/plain", "vllm:num_requests_running{model_name=\"\xff\"} 0\n"), "value of label model_name: not valid UTF-8", false},
		{"shorter than it says", raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+page, ""), "the answer is cut off after 63 bytes", false},
		{"chunked and cut", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3f\r\n"+page+"\r\n", ""), "the answer is cut off after 63 bytes", false},
		{"cut in its last line", static(200, "text/plain", page[:60]), "the page is cut off in its last line", false},
		{"OpenMetrics without its last line", static(200, "application/openmetrics-text; version=1.0.0", page), "does not end with # EOF", false},
		{"empty", static(200, "text/plain", ""), "the server answers with an empty page", false},
		{"another exporter", static(200, "text/plain", "# TYPE DCGM_FI_DEV_GPU_UTIL gauge\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 0\n"), "exports no vllm: samples", false},
		{"stranger", static(200, "text/plain", "# TYPE node_load1 gauge\nnode_load1 0.5\nprocess_start_time_seconds 1.0\n"), "exports no vllm: samples", false},
		{"speaks TLS", raw("\x15\x03\x01\x00\x02\x02\x16", ""), "the server speaks TLS: use https://", false},
		{"no HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n", ""), "malformed HTTP", false},
		{"hangs up", raw("", ""), "the server closed the connection without an answer (EOF): is it an HTTP server", false},
		{"header without end", raw("HTTP/1.1 200 OK\r\n", strings.Repeat("X-More: and more\r\n", 1000)), "header", false},
		{"HTML without end", endless(200, "<p>more</p>\n"), "line 1: no metric name", false},
		{"a line without end", endless(200, "vllm:num_requests_running{"), "line 1: longer than 8388608 bytes", true},
		{"a name without end", endless(200, "vllm:num_requests_running"), `line 1: no metric name at "vllm:num`, true},
		{"samples without end", endless(200, "vllm:num_requests_running{engine=\"0\"} 1\n"), "more than 131072 samples", true},
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

// light are the faults that keep no core busy.
func light() []fault {
	return slices.DeleteFunc(faults(), func(f fault) bool { return f.heavy })
}

// room is for so many cases at once that a busy machine has time for each.
var room = make(chan struct{}, 16)

// sideBySide tries the faults at the same time, for most of them wait; the heavy
// ones one by one.
func sideBySide(t *testing.T, all []fault, try func(*testing.T, fault)) {
	var wg sync.WaitGroup
	for _, f := range all {
		if !f.heavy {
			wg.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
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

// faulty is an engine that a fault can be put before.
type faulty struct {
	*replay
	mu      sync.Mutex
	answer  http.HandlerFunc
	arrived chan struct{} // one for each request that met the fault
}

func newFaulty(t *testing.T, page string) (*faulty, *httptest.Server) {
	f := &faulty{replay: newReplay(t, page), arrived: make(chan struct{}, 1<<16)}
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return f, server
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	if answer == nil || !strings.HasPrefix(r.URL.Path, "/metrics") { // questions beside the polls
		f.replay.ServeHTTP(w, r)
		return
	}
	select {
	case f.arrived <- struct{}{}:
	default:
	}
	answer(w, r)
}

func (f *faulty) serve(answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *faulty) awaitHits(n int) {
	f.t.Helper()
	for range n {
		select {
		case <-f.arrived:
		case <-time.After(30 * time.Second):
			f.t.Fatal("waited 30 s for a request")
		}
	}
}

// within holds a step against the time that the command may be held up by it,
// with room for a machine that has other things to do.
func within(t *testing.T, step string, limit time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if d := time.Since(began); d > limit+2500*time.Millisecond {
		t.Errorf("%s took %v, may take %v", step, d, limit)
	}
}

func (p *Prober) beforeShutdownWithin(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	within(t, "BeforeShutdown", 250*time.Millisecond, func() { p.BeforeShutdown(ctx) })
}

func (p *Prober) finishWithin(t *testing.T) (report aggregate.Output) {
	t.Helper()
	within(t, "Finish", aggregate.SettleTimeout, func() { report = p.Finish(context.Background(), time.Now()) })
	checkNulls(t, report)
	return report
}

// Every fault at every time of a run, all at once.
func TestFaults(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for name, try := range map[string]func(*testing.T){
		"from the start": faultFromTheStart,
		"in the middle":  faultInTheMiddle,
		"at the end":     faultAtTheEnd,
	} {
		wg.Go(func() { t.Run(name, try) })
	}
	wg.Wait()
}

// A server that never answers as an engine: no figures, a reason, no delay.
func faultFromTheStart(t *testing.T) {
	sideBySide(t, faults(), func(t *testing.T, f fault) {
		engine, server := newFaulty(t, "")
		engine.serve(f.answer)
		p := New(quick)
		p.Add(target(t, server.URL))
		within(t, "Base", baselineTimeout, func() { p.ScrapeBaseline(context.Background()) })
		p.Start(time.Now())
		p.beforeShutdownWithin(t)
		report := p.finishWithin(t)
		why := testkit.Reason(report.Notes, "engine")
		if report.Engine != nil || !strings.Contains(why, f.want) && !(f.heavy && strings.Contains(why, "in time")) {
			t.Errorf("reason %q, want one with %q", why, f.want)
		}
		if strings.Contains(why, "secret") || len(why) > 2*300 {
			t.Errorf("reason %q", why)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		within(t, "Check", 2*time.Second, func() {
			if err := Check(ctx, quick, target(t, server.URL)); err == nil || !strings.Contains(err.Error(), f.want) && !(f.heavy && strings.Contains(err.Error(), "in time")) {
				t.Errorf("Check: %v, want %q", err, f.want)
			}
		})
	})
}

// An engine that answers wrongly for a while, in the middle of the run: every
// figure is right in the end, and the event tells of it.
func faultInTheMiddle(t *testing.T) {
	sideBySide(t, light(), func(t *testing.T, f fault) {
		engine, server := newFaulty(t, testkit.Recorded(t, "serve_default_pre"))
		p := New(quick)
		p.Add(target(t, server.URL))
		p.ScrapeBaseline(context.Background())
		p.Start(time.Now())
		engine.await("filtered", 2)
		engine.serve(f.answer)
		engine.awaitHits(f.hits()) // a first poll has met it to the end
		engine.set(underLoad(t))
		engine.serve(nil)
		engine.await("filtered", 6)
		engine.set(testkit.Recorded(t, "serve_default_post"))
		report := p.finishWithin(t)
		checkRecordedRun(t, report)
		g := report.Engine
		if g.Window.Final != "settled" || g.Scrapes.Errors == 0 || g.Window.Resets != 0 || *g.KVCache.Usage.Peak != 0.0005493499359091603 {
			t.Errorf("window %s, scrapes %s, usage %s", testkit.JSON(g.Window), testkit.JSON(g.Scrapes), testkit.JSON(g.KVCache.Usage))
		}
		if testkit.Codes(report.Notes) != "scrapes_failed" || !strings.Contains(testkit.JSON(report.Notes.Validity), asText(f.want)) {
			t.Errorf("validity %s", testkit.JSON(report.Notes.Validity))
		}
	})
}

// An engine that answers wrongly at the end: the last good reading counts.
func faultAtTheEnd(t *testing.T) {
	sideBySide(t, light(), func(t *testing.T, f fault) {
		engine, server := newFaulty(t, testkit.Recorded(t, "serve_default_pre"))
		p := New(quick)
		p.Add(target(t, server.URL))
		p.ScrapeBaseline(context.Background())
		p.Start(time.Now())
		engine.await("filtered", 2)
		engine.set(testkit.Recorded(t, "serve_default_post"))
		p.BeforeShutdown(context.Background())
		engine.serve(f.answer)
		engine.awaitHits(f.hits()) // a first poll has met it to the end
		p.beforeShutdownWithin(t)
		report := p.finishWithin(t)
		checkRecordedRun(t, report)
		w := report.Engine.Window
		if !lastBeforeTheEnd(w) || w.FinalAgeSeconds <= 0 || w.SettleSeconds != 0 || report.Engine.Scrapes.Errors == 0 {
			t.Errorf("window %s, scrapes %s", testkit.JSON(w), testkit.JSON(report.Engine.Scrapes))
		}
		for _, code := range []string{"final_reading_lost", "scrapes_failed"} {
			if !strings.Contains(testkit.Codes(report.Notes), code) {
				t.Errorf("doubts %s, want %s", testkit.Codes(report.Notes), code)
			}
		}
		if !strings.Contains(testkit.JSON(report.Notes.Validity), asText(f.want)) {
			t.Errorf("validity %s", testkit.JSON(report.Notes.Validity))
		}
	})
}

// checkRecordedRun holds a report against what the recorded run counted.
func checkRecordedRun(t *testing.T, report aggregate.Output) {
	t.Helper()
	g := report.Engine
	if g == nil {
		t.Fatalf("no engine: %+v", report.Notes)
	}
	if g.Tokens.Prompt == nil || *g.Tokens.Prompt != 14518 || *g.Tokens.Generation != 5737 || g.Requests.Finished["length"] != 60 {
		t.Errorf("tokens %s, requests %s", testkit.JSON(g.Tokens), testkit.JSON(g.Requests))
	}
	if ttft := g.LatencySeconds.TimeToFirstToken; ttft == nil || ttft.Count != 60 || !testkit.Near(&ttft.Sum, 2.8157277107238770) {
		t.Errorf("TTFT %s", testkit.JSON(ttft))
	}
	if h := g.PrefixCache.Local; h == nil || h.Queries != 14518 || h.Hits != 7168 {
		t.Errorf("prefix cache %s", testkit.JSON(h))
	}
}

// asText is a text as it stands inside a JSON string.
func asText(s string) string { return strings.Trim(testkit.JSON(s), `"`) }

// The server compresses although it was not asked to.
func TestGzippedPages(t *testing.T) {
	r := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if got := req.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("asked for encoding %q", got)
		}
		plain := httptest.NewRecorder()
		r.ServeHTTP(plain, req)
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(zipped(plain.Body.String()))
	}))
	defer server.Close()
	p := New(quick)
	p.Add(target(t, server.URL))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	r.await("filtered", 3)
	r.set(testkit.Recorded(t, "serve_default_post"))
	report := p.finishWithin(t)
	checkRecordedRun(t, report)
	if report.Engine.Scrapes.Errors != 0 || *report.Engine.Endpoints[0].Version != "0.32.0" {
		t.Errorf("%s %s", testkit.JSON(report.Engine.Scrapes), testkit.JSON(report.Engine.Endpoints))
	}
}
