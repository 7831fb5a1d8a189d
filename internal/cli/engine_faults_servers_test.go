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

// secret is a value of --metrics-header: nothing may tell it.
const secret = "s3cr3t-0f-th3-s3rv3r"

// stage is a server whose page a test changes as a run goes on, with faults put
// before it.
type stage struct {
	t *testing.T
	// host is what it listens on; "" is 127.0.0.1.
	host string
	// socket is the path of a unix socket instead; "" for none.
	socket string
	// tls has it serve https, under a certificate of its own.
	tls bool
	// wrap and prepare change how it serves; nil for as it is.
	wrap    func(http.Handler) http.Handler
	prepare func(*httptest.Server)
	server  *httptest.Server

	mu     sync.Mutex
	change *sync.Cond
	page   string
	fault  http.HandlerFunc
	// full counts whole pages that were answered since the page was set, later the
	// requests that came after the first of them, polls all, hits those that met
	// the fault.
	full, later, polls, hits int
	// asked counts connections and requests.
	asked int
}

func newStage(t *testing.T, page string) *stage {
	s := &stage{t: t, page: page}
	s.change = sync.NewCond(&s.mu)
	return s
}

// listen begins to serve, and gives the address.
func (s *stage) listen() (address string) {
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
		s.noteAsked()
		handler.ServeHTTP(w, r)
	}))
	s.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.noteAsked()
		}
	}
	s.server.Listener.Close()
	s.server.Listener = l
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // what goes wrong is the point
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

func (s *stage) noteAsked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.change.Broadcast()
}

// awaitAsked waits until so many connections and requests have come.
func (s *stage) awaitAsked(n int) {
	s.await(fmt.Sprint(n, " connections and requests"), func() bool { return s.asked >= n })
}

func (s *stage) close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

func (s *stage) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/version" {
		io.WriteString(w, `{"version":"0.32.0"}`)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/metrics") { // questions beside the polls
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
func (s *stage) set(page string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page, s.full, s.later, s.polls = page, 0, 0, 0
}

// serve puts a fault before the page; nil takes it away.
func (s *stage) serve(fault http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.hits = fault, 0
}

// awaitTaken waits until vobs has taken in the whole page: it asks again.
func (s *stage) awaitTaken() { s.await("another request", func() bool { return s.later > 0 }) }

// awaitHits waits until so many requests have met the fault.
func (s *stage) awaitHits(n int) {
	s.await(fmt.Sprint(n, " requests"), func() bool { return s.hits >= n })
}

func (s *stage) await(what string, is func() bool) {
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
func (s *stage) caFile() string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o666); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// newCertificate makes a certificate that vouches for itself alone.
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

// outsideAddress is an address of this host that is not its loopback's: a server
// there counts as one on another host, and nothing leaves this one.
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

// recorded is a page of a real engine.
func recorded(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "testdata", "expositions", name+".prom"))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// poisoned is a page on which every figure of the engine is another: one of them
// in an event says that a page was taken in that is not to be.
func poisoned(page string) string {
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
	// want is what the reason says of it.
	want string
	// hits is how many requests have met it when one poll has done so to its end;
	// 0 where that takes the whole time of a request.
	hits int
}

// sends gives an answer as it stands, status line and all, and closes the connection.
func sends(parts ...string) http.HandlerFunc {
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

// says gives an ordinary answer.
func says(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// pause waits, and no longer than the client does.
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

// faults lists those that keep no core busy. Each handler ends when the client
// goes away. Where a page comes in part, it is one with wrong figures.
func faults() []fault {
	raw, err := os.ReadFile(filepath.Join("..", "..", "testdata", "expositions", "serve_default_post.prom"))
	if err != nil {
		panic(err)
	}
	wrong := poisoned(string(raw))
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
		{"hangs up", sends(), "the server closed the connection without a response (EOF): is it an HTTP server, or does it need https://?", 3}, // the first is tried again at once; the third comes when that has failed
		{"500", says(500, "text/plain", wrong), "the server answers 500 Internal Server Error", 2},
		{"404", says(404, "application/json", `{"detail":"Not Found"}`), "404 Not Found: vLLM serves its page at /metrics", 2},
		{"HTML", says(200, "text/html", "<!doctype html>\n<html></html>\n"), `its page cannot be read: line 1: no metric name at "<!doctype html>"`, 2},
		{"HTML behind samples", says(200, "text/html", half+"<p>error</p>\n"), "its page cannot be read: line", 2},
		{"JSON", says(200, "application/json", `{"object":"list"}`), "its page cannot be read: line 1", 2},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/metrics", http.StatusFound) }, "redirected more than 3 times: give the page's own address", 5},
		{"redirect elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://metrics.invalid/metrics?key="+secret, http.StatusTemporaryRedirect)
		}, "redirected to another server, http://metrics.invalid, which is not scraped: give its address if it is the engine", 2},
		{"gzip cut", sends(ok + "Content-Encoding: gzip\r\n\r\n" + zipped(wrong)[:2000]), "the response is cut off after 2000 bytes", 2},
		{"broken UTF-8", says(200, "text/plain", half+"vllm:num_requests_running{model_name=\"\xff\"} 0\n"), "value of label model_name: not valid UTF-8", 2},
		{"cut body", sends(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", ok, len(wrong), half)), fmt.Sprintf("the response is cut off after %d bytes", len(half)), 2},
		{"cut in a line, without a length", sends("HTTP/1.0 200 OK\r\n\r\n" + half[:len(half)-1]), "the page is cut off in its last line", 2},
		{"bad chunks", sends(ok+"Transfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("%x\r\n%s\r\n", len(half), half), "pardon?\r\n"), "invalid byte in chunk length", 2},
		{"chunks without an end", sends(ok+"Transfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("%x\r\n%s\r\n", len(half), half)), fmt.Sprintf("the response is cut off after %d bytes", len(half)), 2},
		{"a huge header name", sends(ok+"X-", strings.Repeat("Huge-", 1<<17), ": 1\r\n\r\n"+wrong), "header", 2},
		{"empty page", says(200, "text/plain", ""), "the server returned an empty page", 2},
		{"another exporter", says(200, "text/plain", "# TYPE node_load1 gauge\nnode_load1 0.5\n"), "exports no vllm: samples", 2},
	}
}

// floods lists the answers that keep a core busy: more than is read, or no end.
func floods(t *testing.T) []fault {
	wrong := poisoned(recorded(t, "serve_default_post"))
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
		// Each is a new one to remember.
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

// oddity is a server that is odd and can be read.
type oddity struct {
	name    string
	wrap    func(http.Handler) http.Handler
	prepare func(*httptest.Server)
	flags   []string
	tls, ca bool // it serves https; its certificate is given by --metrics-ca
}

// rewritten has a page sent in another way.
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

func oddities(t *testing.T) []oddity {
	return []oddity{
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
			sends("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n", page)(w, r)
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
