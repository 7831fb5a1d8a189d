package cli

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// secret is a value of --metrics-header, which must not be shown anywhere.
const secret = "s3cr3t-0f-th3-s3rv3r"

// pageServer is a server whose page a test changes during a run, and which can have
// faults.
type pageServer struct {
	t *testing.T
	// host is the address it listens on; "" is 127.0.0.1.
	host string
	// socket is the path of a unix socket to use instead; "" for none.
	socket string
	// tls serves https, with a certificate of its own.
	tls bool
	// wrap and prepare change how it serves; they may be nil.
	wrap    func(http.Handler) http.Handler
	prepare func(*httptest.Server)
	server  *httptest.Server

	mu     sync.Mutex
	change *sync.Cond
	page   string
	fault  http.HandlerFunc
	// full counts the responses with the whole page since it was set, later the requests
	// after the first of them, polls all, hits those that met the fault.
	full, later, polls, hits int
	// requests counts connections and requests.
	requests int
}

func newPageServer(t *testing.T, page string) *pageServer {
	s := &pageServer{t: t, page: page}
	s.change = sync.NewCond(&s.mu)
	return s
}

// listen begins to serve, and returns the address.
func (s *pageServer) listen() (address string) {
	s.t.Helper()
	network, at := "tcp", net.JoinHostPort("127.0.0.1", "0")
	switch {
	case s.socket != "":
		network, at = "unix", s.socket
	case s.host != "":
		at = net.JoinHostPort(s.host, "0")
	}
	l, err := net.Listen(network, at)
	if err != nil {
		s.t.Fatal(err)
	}
	handler := http.Handler(http.HandlerFunc(s.answer))
	if s.wrap != nil {
		handler = s.wrap(handler)
	}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.countRequest()
		handler.ServeHTTP(w, r)
	}))
	s.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.countRequest()
		}
	}
	s.server.Listener.Close()
	s.server.Listener = l
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // errors are what the test is about
	if s.prepare != nil {
		s.prepare(s.server)
	}
	switch {
	case s.tls:
		s.server.TLS = &tls.Config{Certificates: []tls.Certificate{newCertificate(s.t)}}
		s.server.StartTLS()
	default:
		s.server.Start()
	}
	s.t.Cleanup(s.close)
	if s.socket != "" {
		return "unix://" + s.socket
	}
	return s.server.URL
}

func (s *pageServer) countRequest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.change.Broadcast()
}

// awaitRequests waits for so many connections and requests.
func (s *pageServer) awaitRequests(n int) {
	s.await(fmt.Sprint(n, " connections and requests"), func() bool { return s.requests >= n })
}

func (s *pageServer) close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

func (s *pageServer) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/version" {
		io.WriteString(w, `{"version":"0.32.0"}`)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/metrics") { // queries of the configuration
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	if fault := s.fault; fault != nil {
		s.hits++
		s.change.Broadcast()
		s.mu.Unlock()
		fault(w, r)
		return
	}
	defer s.mu.Unlock()
	defer s.change.Broadcast()
	s.polls++
	if s.full > 0 {
		s.later++
	}
	names := r.URL.Query()["name[]"]
	if len(names) == 0 {
		io.WriteString(w, s.page)
		s.full++
		return
	}
	for line := range strings.Lines(s.page) {
		for _, n := range names {
			if strings.HasPrefix(line, n+"{") || strings.HasPrefix(line, n+" ") {
				io.WriteString(w, line)
			}
		}
	}
}

// set changes the page.
func (s *pageServer) set(page string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page, s.full, s.later, s.polls = page, 0, 0, 0
}

// serve sets a fault that is served instead of the page; nil removes it.
func (s *pageServer) serve(fault http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.hits = fault, 0
}

// awaitIngested waits until vobs has ingested the whole page: then it sends another request.
func (s *pageServer) awaitIngested() { s.await("another request", func() bool { return s.later > 0 }) }

// awaitHits waits until so many requests have met the fault.
func (s *pageServer) awaitHits(n int) {
	s.await(fmt.Sprint(n, " requests"), func() bool { return s.hits >= n })
}

func (s *pageServer) await(what string, is func() bool) {
	s.t.Helper()
	over := false
	timer := time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		s.change.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !is() {
		if over {
			s.t.Fatalf("waited %v for %s", patience, what)
		}
		s.change.Wait()
	}
}

// caFile writes the server's certificate.
func (s *pageServer) caFile() string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o666); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// newCertificate returns a self-signed certificate.
func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// outsideAddress returns an address of this host other than the loopback's: a server there
// counts as one on another host, although nothing leaves this one.
func outsideAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("SKIPPED: this needs an IPv4 address beside the loopback's: give the machine a network interface")
	return ""
}

// recorded returns a page of a real engine.
func recorded(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "testdata", "expositions", name+".prom"))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// withWrongFigures changes every figure of the engine on a page: one of them in an event
// means that a page was ingested that must not be.
func withWrongFigures(page string) string {
	var out strings.Builder
	for line := range strings.Lines(page) {
		at := strings.LastIndexByte(line, ' ')
		if value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64); err == nil && strings.HasPrefix(line, "vllm:") {
			line = fmt.Sprintf("%s %v\n", line[:at], 3*value+1)
		}
		out.WriteString(line)
	}
	return out.String()
}

// fault is a way in which a server answers wrongly.
type fault struct {
	name   string
	answer http.HandlerFunc
	// want is part of the reason in the event.
	want string
	// hits is how many requests meet it during one complete poll; 0 if that takes the
	// whole time of a request.
	hits int
}

// sendsRaw sends a response verbatim, status line included, and closes the connection.
func sendsRaw(parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		for _, p := range parts {
			if _, err := io.WriteString(conn, p); err != nil {
				return
			}
		}
	}
}

// responds sends an ordinary response.
func responds(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// pause waits, at most until the client leaves.
func pause(r *http.Request, d time.Duration) (more bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

// faults returns the faults that keep no CPU core busy. Each handler ends when the client
// goes away. A partial page is one with wrong figures.
func faults() []fault {
	raw, err := os.ReadFile(filepath.Join("..", "..", "testdata", "expositions", "serve_default_post.prom"))
	if err != nil {
		panic(err)
	}
	wrong := withWrongFigures(string(raw))
	half := wrong[:strings.Index(wrong, "vllm:e2e_request_latency_seconds_count")]
	const ok = "HTTP/1.1 200 OK\r\n"
	return []fault{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timed out: no response within", 0},
		{"hangs after the header", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			flush(w)
			<-r.Context().Done()
		}, "timed out: an incomplete response of 0 bytes within", 0},
		{"hangs in the page", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, half)
			flush(w)
			<-r.Context().Done()
		}, fmt.Sprintf("timed out: an incomplete response of %d bytes within", len(half)), 0},
		{"drips", func(w http.ResponseWriter, r *http.Request) {
			for i := 0; pause(r, 20*time.Millisecond); i++ {
				io.WriteString(w, wrong[i:i+1])
				flush(w)
			}
		}, "timed out: an incomplete response of", 0},
		{"slow page of 3 s", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, half)
			flush(w)
			if pause(r, 3*time.Second) {
				io.WriteString(w, wrong[len(half):])
			}
		}, "timed out: an incomplete response of", 0},
		{"hangs up", sendsRaw(), "the server closed the connection without a response (EOF): is it an HTTP server, or does it need https://?", 3}, // the first is retried at once; the third comes after that has failed
		{"500", responds(500, "text/plain", wrong), "the server answers 500 Internal Server Error", 2},
		{"404", responds(404, "application/json", `{"detail":"Not Found"}`), "404 Not Found: vLLM serves its page at /metrics", 2},
		{"HTML", responds(200, "text/html", "<!doctype html>\n<html></html>\n"), `its page cannot be read: line 1: no metric name at "<!doctype html>"`, 2},
		{"HTML behind samples", responds(200, "text/html", half+"<p>error</p>\n"), "its page cannot be read: line", 2},
		{"JSON", responds(200, "application/json", `{"object":"list"}`), "its page cannot be read: line 1", 2},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/metrics", http.StatusFound) }, "redirected more than 3 times: give the page's own address", 5},
		{"redirect elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://metrics.invalid/metrics?key="+secret, http.StatusTemporaryRedirect)
		}, "redirected to another server, http://metrics.invalid, which is not scraped: give its address if it is the engine", 2},
		{"gzip cut", sendsRaw(ok + "Content-Encoding: gzip\r\n\r\n" + zipped(wrong)[:2000]), "the response is cut off after 2000 bytes", 2},
		{"broken UTF-8", responds(200, "text/plain", half+"vllm:num_requests_running{model_name=\"\xff\"} 0\n"), "value of label model_name: not valid UTF-8", 2},
		{"cut body", sendsRaw(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", ok, len(wrong), half)), fmt.Sprintf("the response is cut off after %d bytes", len(half)), 2},
		{"cut in a line, without a length", sendsRaw("HTTP/1.0 200 OK\r\n\r\n" + half[:len(half)-1]), "the page is cut off in its last line", 2},
		{"bad chunks", sendsRaw(ok+"Transfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("%x\r\n%s\r\n", len(half), half), "pardon?\r\n"), "invalid byte in chunk length", 2},
		{"chunks without an end", sendsRaw(ok+"Transfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("%x\r\n%s\r\n", len(half), half)), fmt.Sprintf("the response is cut off after %d bytes", len(half)), 2},
		{"a huge header name", sendsRaw(ok+"X-", strings.Repeat("Huge-", 1<<17), ": 1\r\n\r\n"+wrong), "header", 2},
		{"empty page", responds(200, "text/plain", ""), "the server returned an empty page", 2},
		{"another exporter", responds(200, "text/plain", "# TYPE node_load1 gauge\nnode_load1 0.5\n"), "exports no vllm: samples", 2},
	}
}

// floods returns responses that keep a CPU core busy: too large, or endless.
func floods(t *testing.T) []fault {
	wrong := withWrongFigures(recorded(t, "serve_default_post"))
	comments := strings.Repeat("# nothing to be seen here, go on\n", 1<<11)
	endless := func(w io.Writer, block func(i int) string) {
		for i := 0; ; i++ {
			if _, err := io.WriteString(w, block(i)); err != nil {
				return
			}
		}
	}
	long := strings.Repeat("long-", 400)
	member := zipped(strings.Repeat("# nothing again\n", 1<<16)) // 1 MiB
	return []fault{
		{"comments without end", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, wrong)
			endless(w, func(int) string { return comments })
		}, "the page is larger than 64 MiB: is it a /metrics page?", 0},
		// Each one is new to the parser's memory.
		{"series without end", func(w http.ResponseWriter, _ *http.Request) {
			endless(w, func(i int) string {
				return "vllm:num_requests_running{engine=\"" + strconv.Itoa(i) + "\",model_name=\"" + long + "\"} 1\n"
			})
		}, "the page has more than 8 MiB of different labels", 0},
		{"one line without end", func(w http.ResponseWriter, _ *http.Request) {
			endless(w, func(int) string { return "vllm:num_requests_running" })
		}, "line 1: no metric name", 0},
		{"gzip without end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			endless(w, func(int) string { return member })
		}, "the page is larger than 64 MiB", 0},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, zipped(wrong)+strings.Repeat(member, 65))
		}, "the page is larger than 64 MiB", 0},
		{"a page of 65 MiB", func(w http.ResponseWriter, _ *http.Request) {
			n := 65<<20/len(comments) + 1
			w.Header().Set("Content-Length", strconv.Itoa(len(wrong)+n*len(comments)))
			io.WriteString(w, wrong)
			for range n {
				if _, err := io.WriteString(w, comments); err != nil {
					return
				}
			}
		}, "the page is larger than 64 MiB", 0},
	}
}

// unusualServer is a server that does something unusual, but can be read.
type unusualServer struct {
	name    string
	wrap    func(http.Handler) http.Handler
	prepare func(*httptest.Server)
	flags   []string
	tls, ca bool // it serves https; its certificate is given with --metrics-ca
}

// rewritten sends a page in another way.
func rewritten(send func(w http.ResponseWriter, r *http.Request, page string)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			plain := httptest.NewRecorder()
			next.ServeHTTP(plain, r)
			send(w, r, plain.Body.String())
		})
	}
}

func needsHeader(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != secret {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func unusualServers(t *testing.T) []unusualServer {
	return []unusualServer{
		{name: "closes each connection and says so", prepare: func(s *httptest.Server) { s.Config.SetKeepAlivesEnabled(false) }},
		{name: "closes each connection without a word", prepare: func(s *httptest.Server) {
			s.Config.ConnState = func(c net.Conn, state http.ConnState) {
				if state == http.StateIdle {
					c.Close()
				}
			}
		}},
		// uvicorn does so after 5 s.
		{name: "closes idle connections", prepare: func(s *httptest.Server) { s.Config.IdleTimeout = 10 * time.Millisecond }},
		{name: "needs a header", wrap: needsHeader, flags: []string{"--metrics-header", "X-Key: " + secret}},
		{name: "needs a private CA", tls: true, ca: true},
		{name: "a private CA on this host", tls: true},
		{name: "HTTP/1.0 without a length", wrap: rewritten(func(w http.ResponseWriter, r *http.Request, page string) {
			sendsRaw("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n", page)(w, r)
		})},
		{name: "gzip that nobody asked for", wrap: rewritten(func(w http.ResponseWriter, _ *http.Request, page string) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, zipped(page))
		})},
		{name: "in many chunks", wrap: rewritten(func(w http.ResponseWriter, _ *http.Request, page string) {
			for len(page) > 0 {
				n := min(997, len(page))
				io.WriteString(w, page[:n])
				flush(w)
				page = page[n:]
			}
		})},
		{name: "a long header name", wrap: rewritten(func(w http.ResponseWriter, _ *http.Request, page string) {
			w.Header().Set("X-"+strings.Repeat("Long-", 20_000)+"Name", "1")
			io.WriteString(w, page)
		})},
		{name: "redirects on itself", wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if to, inner := strings.CutPrefix(r.URL.Path, "/inner"); inner || to == "/version" {
					r.URL.Path = to
					next.ServeHTTP(w, r)
					return
				}
				u := *r.URL
				u.Path = "/inner" + u.Path
				http.Redirect(w, r, u.String(), http.StatusPermanentRedirect)
			})
		}},
	}
}
