package truth

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lateness is how long the servers' answers take.
type lateness struct {
	name string
	// Every answer takes roundTrip, and up to jitter more.
	roundTrip, jitter time.Duration
	// A share of the answers is late by up to lateBy.
	lateShare float64
	lateBy    time.Duration
	// While its engines work, the server's event loop is busy for up to busyLoop before it
	// turns to a request.
	busyLoop time.Duration
}

// most is the longest that an answer takes, but for its service time.
func (l lateness) most() time.Duration { return l.roundTrip + l.jitter + l.lateBy + l.busyLoop }

// Service times of vLLM 0.32.0's API server, as measured on a real one.
const (
	wholePageTime = 8600 * time.Microsecond
	filteredTime  = time.Millisecond
	otherTime     = 300 * time.Microsecond
)

// network serves a simulation's servers. Its clock is the wall clock, which is virtual in
// a testing/synctest bubble.
type network struct {
	mu       sync.Mutex
	sim      *simulation
	late     lateness
	seed     uint64
	readings []reading // pages that were delivered
	pages    []*pageTemplate

	httpd   []*http.Server
	serving sync.WaitGroup
}

// newNetwork returns the network of a simulation that began at its epoch.
func newNetwork(s *simulation, late lateness, seed uint64) *network {
	n := &network{sim: s, late: late, seed: seed}
	for i, server := range s.servers {
		n.pages = append(n.pages, newPageTemplate(server))
		n.httpd = append(n.httpd, &http.Server{
			Handler:     n.handler(i),
			IdleTimeout: 5 * time.Second, // uvicorn's
			ErrorLog:    log.New(io.Discard, "", 0),
			ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
				n.mu.Lock()
				defer n.mu.Unlock()
				return context.WithValue(ctx, lifeKey{}, server.life)
			},
		})
	}
	return n
}

// lifeKey is the context key of the process that accepted a connection.
type lifeKey struct{}

// inMemory serves a network over in-memory connections and returns the dialer for them.
func inMemory(n *network) func(context.Context, string, string) (net.Conn, error) {
	listeners := map[string]*pipeListener{}
	for i := range n.httpd {
		l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		listeners[n.sim.servers[i].address] = l
		n.serving.Go(func() { _ = n.httpd[i].Serve(l) })
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !n.isUp(address) {
			return nil, refused(network)
		}
		return listeners[address].dial(ctx)
	}
}

// isUp reports whether the server at an address accepts connections now.
func (n *network) isUp(address string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sim.advance(n.elapsed())
	for _, s := range n.sim.servers {
		if s.address == address {
			return s.up
		}
	}
	return false
}

func refused(network string) error {
	return &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
}

func (n *network) elapsed() time.Duration { return time.Since(n.sim.epoch) }

// close ends all servers.
func (n *network) close() {
	for _, s := range n.httpd {
		s.Close()
	}
	n.serving.Wait()
}

// handler answers as vLLM's API server does.
func (n *network) handler(i int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.serving.Add(1)
		defer n.serving.Done()
		filtered := r.URL.Path == "/metrics/" && r.URL.Query().Has("name[]")
		service := otherTime
		switch {
		case filtered:
			service = filteredTime
		case strings.TrimSuffix(r.URL.Path, "/") == "/metrics":
			service = wholePageTime
		}
		before, after := n.delays(i, r.URL.Path)
		time.Sleep(before)
		status, contentType, body, page := n.answer(i, r, filtered)
		time.Sleep(service + after)
		n.mu.Lock()
		n.sim.advance(n.elapsed())
		server := n.sim.servers[i]
		gone := !server.up || r.Context().Value(lifeKey{}) != server.life
		if !gone && page != nil {
			n.readings = append(n.readings, *page)
		}
		n.mu.Unlock()
		if gone {
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})
}

// delays returns how long a request takes to be turned to, and its answer to arrive. Both
// follow from the request and the instant alone, so that a run can be repeated whatever the
// order of its goroutines.
func (n *network) delays(i int, path string) (before, after time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.elapsed()
	n.sim.advance(now)
	hash := fnv.New64a()
	fmt.Fprint(hash, i, path, int64(now))
	rng := rand.New(rand.NewPCG(n.seed, hash.Sum64()))
	upTo := func(d time.Duration) time.Duration { return time.Duration(rng.Float64() * float64(d)) }
	before = n.late.roundTrip/2 + upTo(n.late.jitter)/2
	after = n.late.roundTrip/2 + upTo(n.late.jitter)/2
	if rng.Float64() < n.late.lateShare {
		before += upTo(n.late.lateBy)
	}
	for _, e := range n.sim.servers[i].engines {
		if e.stepping {
			before += upTo(n.late.busyLoop)
			break
		}
	}
	return before, after
}

// answer returns the answer to a request, as of now, and what page it is, if it is one.
func (n *network) answer(i int, r *http.Request, filtered bool) (status int, contentType string, body []byte, page *reading) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sim.advance(n.elapsed())
	server := n.sim.servers[i]
	const json = "application/json"
	switch r.URL.Path {
	case "/metrics", "/metrics/":
		var names []string
		if filtered {
			names = r.URL.Query()["name[]"]
		}
		return http.StatusOK, "text/plain; version=1.0.0; charset=utf-8", append([]byte(nil), n.pages[i].render(server, names)...),
			&reading{server: i, at: n.sim.now, life: server.life, whole: !filtered}
	case "/health", "/ping":
		return http.StatusOK, json, nil, nil
	case "/version":
		return http.StatusOK, json, []byte(`{"version":"0.32.0"}`), nil
	case "/v1/models":
		server.modelsQueries++
		return http.StatusOK, json, []byte(`{"object":"list","data":[{"id":"tiny","object":"model","created":1,"owned_by":"vllm","root":"tiny","parent":null,"max_model_len":8192}]}`), nil
	}
	return http.StatusNotFound, json, []byte(`{"detail":"Not Found"}`), nil
}

// pipeListener is a listener of in-memory connections.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
	case <-ctx.Done():
	}
	client.Close()
	server.Close()
	return nil, refused("tcp")
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
