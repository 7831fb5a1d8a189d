package probe

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/schema"
)

// pipeNetwork is a network without sockets, so that synctest's clock advances while a
// server is waited for. It is a net.Listener, too.
type pipeNetwork struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeNetwork() *pipeNetwork {
	return &pipeNetwork{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *pipeNetwork) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.conns <- server:
		return client, nil
	case <-n.closed:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *pipeNetwork) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *pipeNetwork) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *pipeNetwork) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// poll is a request for a page, as a polledEngine saw it.
type poll struct {
	at   time.Duration
	full bool
}

// polledEngine is an engine under `auto` on synctest's clock.
type polledEngine struct {
	*replay
	network *pipeNetwork
	server  *http.Server
	prober  *Prober
	began   time.Time

	mu    sync.Mutex
	polls []poll
	pings int // requests for /health
	// late returns how late the response to a request at that time is.
	late func(at time.Duration, path string) time.Duration
}

// pollEngine starts a run with an engine that serves page and is late by what late returns.
func pollEngine(t *testing.T, page string, late func(time.Duration, string) time.Duration) *polledEngine {
	e := &polledEngine{replay: newReplay(t, page), network: newPipeNetwork(), late: late, began: time.Now()}
	e.server = &http.Server{Handler: http.HandlerFunc(e.serve), ErrorLog: log.New(io.Discard, "", 0)}
	go e.server.Serve(e.network)
	e.prober = New(Config{Dial: e.network.dial})
	e.prober.Add(target(t, "http://127.0.0.1:8000"))
	e.prober.ScrapeBaseline(context.Background())
	e.mu.Lock()
	e.polls = nil
	e.mu.Unlock()
	e.prober.Start(time.Now())
	return e
}

func (e *polledEngine) serve(w http.ResponseWriter, r *http.Request) {
	at := time.Since(e.began)
	e.mu.Lock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/metrics"):
		e.polls = append(e.polls, poll{at, r.URL.RawQuery == ""})
	case r.URL.Path == "/health":
		e.pings++
	}
	e.mu.Unlock()
	time.Sleep(e.late(at, r.URL.Path))
	e.replay.ServeHTTP(w, r)
}

// kill ends the engine as SIGKILL does.
func (e *polledEngine) kill() {
	e.network.Close()
	e.server.Close()
}

// finish ends the command, and then the engine.
func (e *polledEngine) finish() aggregate.Output {
	report := e.prober.Finish(context.Background(), time.Now())
	e.kill()
	checkNulls(e.t, report)
	return report
}

// longestGap returns the longest time between the beginnings of two polls, and the number
// of polls.
func (e *polledEngine) longestGap() (gap time.Duration, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := 1; i < len(e.polls); i++ {
		gap = max(gap, e.polls[i].at-e.polls[i-1].at)
	}
	return gap, len(e.polls)
}

func onTime(time.Duration, string) time.Duration { return 0 }

// A late response is no cost to the server, whether a single one is late (a busy event
// loop) or each (a tunnel). The polls after it come as always.
func TestLateResponsesDelayNoPoll(t *testing.T) {
	for name, c := range map[string]struct {
		late    func(time.Duration, string) time.Duration
		length  time.Duration
		maxGap  time.Duration
		minimum int
		pings   int
	}{
		"on time": {onTime, 16 * time.Second, 250 * time.Millisecond, 120, 0},
		"one of 0.4 s": {func(at time.Duration, _ string) time.Duration {
			if at > 2*time.Second && at < 2100*time.Millisecond {
				return 400 * time.Millisecond
			}
			return 0
		}, 16 * time.Second, 501 * time.Millisecond, 115, 5},
		"each by 50 ms": {func(time.Duration, string) time.Duration { return 50 * time.Millisecond }, 20 * time.Second, 250 * time.Millisecond, 120, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := pollEngine(t, testkit.Recorded(t, "serve_default_pre"), c.late)
				time.Sleep(c.length)
				report := e.finish()
				gap, n := e.longestGap()
				if gap > c.maxGap || n < c.minimum || e.pings > c.pings {
					t.Errorf("%d polls, up to %v apart, want %d, %v; %d requests for /health, want %d at most", n, gap, c.minimum, c.maxGap, e.pings, c.pings)
				}
				if s := report.Engine.Scrapes; s.Errors != 0 || float64(*s.MaxGapSeconds) > (c.maxGap+50*time.Millisecond).Seconds() {
					t.Errorf("scrapes %s", testkit.JSON(s))
				}
			})
		})
	}
}

// An event loop that is busy for 11.8 s answers nothing meanwhile. Requests that time out
// are sent again, and polls go on when it is free, filtered ones too.
func TestBusyEventLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const from, to = 2 * time.Second, 13800 * time.Millisecond
		e := pollEngine(t, testkit.Recorded(t, "serve_default_pre"), func(at time.Duration, _ string) time.Duration {
			if at >= from && at < to {
				return to - at
			}
			return 0
		})
		e.set(underLoad(t))
		time.Sleep(20 * time.Second)
		report := e.finish()
		e.mu.Lock()
		defer e.mu.Unlock()
		before, after, filtered := 0, 0, 0
		for i, p := range e.polls {
			switch {
			case p.at < from:
				before++
			case p.at >= to:
				if after++; !p.full {
					filtered++
				}
			case i > 0 && p.at-e.polls[i-1].at > 2*time.Second:
				t.Errorf("no request between %v and %v", e.polls[i-1].at, p.at)
			}
		}
		if before < 15 || filtered < 15 || after > 3*filtered {
			t.Errorf("%d polls before, %d after, %d of them filtered", before, after, filtered)
		}
		if s := report.Engine.Scrapes; *s.MaxGapSeconds < 11.7 || *s.MaxGapSeconds > 14 || s.Errors == 0 || s.Errors > 6 {
			t.Errorf("scrapes %s", testkit.JSON(s))
		}
	})
}

// When a filtered poll first sees the engine idle after work, the full page is read at
// once: an engine that is killed right after has lost nothing.
func TestEngineKilledAfterItDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := pollEngine(t, testkit.Recorded(t, "serve_default_pre"), onTime)
		time.Sleep(time.Second)
		e.set(underLoad(t))
		time.Sleep(2050 * time.Millisecond) // among the first ten seconds
		e.set(testkit.Recorded(t, "serve_default_post"))
		time.Sleep(101 * time.Millisecond)
		e.kill()
		time.Sleep(900 * time.Millisecond)
		report := e.finish()
		checkRecordedRun(t, report)
		if w := report.Engine.Window; w.Final != "last_good" {
			t.Errorf("window %s", testkit.JSON(w))
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		last := e.polls[len(e.polls)-1]
		if before := e.polls[len(e.polls)-2]; !last.full || before.full || last.at-before.at > 5*time.Millisecond {
			t.Errorf("the last polls were %+v and %+v", before, last)
		}
	})
}

// A second of work is seen by enough polls for its peak and its mean.
func TestShortWorkIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := pollEngine(t, testkit.Recorded(t, "serve_default_pre"), onTime)
		time.Sleep(500 * time.Millisecond)
		e.set(underLoad(t))
		time.Sleep(1030 * time.Millisecond)
		e.set(testkit.Recorded(t, "serve_default_post"))
		time.Sleep(300 * time.Millisecond)
		report := e.finish()
		checkRecordedRun(t, report)
		seen := 0
		for _, p := range e.polls {
			if p.at >= 500*time.Millisecond && p.at < 1530*time.Millisecond {
				seen++
			}
		}
		if r := report.Engine.Requests.Running; seen < 9 || r.Peak == nil || *r.Peak != 3000 || r.Mean == nil {
			t.Errorf("%d polls saw the work; %s", seen, testkit.JSON(r))
		}
		// Eleven polls resolve a second to a fifth: not well enough for rates over it.
		if w := report.Engine.Window; w.ActiveSecondsEst != nil || w.ActiveIntervals == nil || *w.ActiveIntervals < 9 {
			t.Errorf("window %v", testkit.JSON(w))
		}
	})
}

// Polls of an engine at work may take more than 1 % of its server, and the event says so.
func TestScrapeCostIsNoted(t *testing.T) {
	for name, c := range map[string]struct {
		page string // after the start
		cost time.Duration
		want string
		gap  time.Duration
	}{
		"expensive, at work": {underLoad(t), 30 * time.Millisecond, "scrape_cost", 1100 * time.Millisecond},
		"expensive, idle":    {testkit.Recorded(t, "serve_default_pre"), 30 * time.Millisecond, "short_window", 10 * time.Second},
		"cheap, at work":     {underLoad(t), time.Millisecond, "", 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := pollEngine(t, testkit.Recorded(t, "serve_default_pre"), func(_ time.Duration, path string) time.Duration {
					if strings.HasPrefix(path, "/metrics") {
						return c.cost
					}
					return 0
				})
				e.set(c.page)
				time.Sleep(30 * time.Second)
				e.set(testkit.Recorded(t, "serve_default_post"))
				report := e.finish()
				if gap, n := e.longestGap(); gap > c.gap {
					t.Errorf("%d polls, up to %v apart, want %v", n, gap, c.gap)
				}
				if got := strings.TrimSpace(strings.ReplaceAll(testkit.Codes(report.Notes), "few_requests", "")); got != c.want {
					t.Fatalf("doubts %q, want %q", got, c.want)
				}
				if c.want != "scrape_cost" {
					return
				}
				v := report.Notes.Validity[0]
				share, ok := v.Evidence.Value.(schema.Float)
				if !ok || v.Severity != schema.Info || share < 0.03 || share > 0.06 || v.Evidence.Threshold != schema.Float(0.01) {
					t.Errorf("note %s", testkit.JSON(v))
				}
			})
		})
	}
}
