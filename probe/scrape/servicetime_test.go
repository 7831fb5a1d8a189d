package scrape

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// The round trip is measured on the connection of the polls, at /health beside the page,
// and leaves the connection open even if the server has no such path.
func TestRoundTrip(t *testing.T) {
	var connections atomic.Int32
	var paths []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.RequestURI())
		if r.Header.Get("Authorization") != "Bearer x" {
			t.Errorf("no header at %s", r.URL.Path)
		}
		if r.URL.Path != "/a/metrics" {
			http.Error(w, "no such path", http.StatusNotFound)
		}
	}))
	defer server.Close()
	target, err := ParseTarget(server.URL + "/a/metrics?x=1")
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(target, http.Header{"Authorization": {"Bearer x"}}, nil)
	defer c.Close()
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		connections.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	for range 2 {
		if r := c.Scrape(context.Background(), false, func(r io.Reader) error { _, err := io.ReadAll(r); return err }); r.Err != nil {
			t.Fatal(r.Err)
		}
		if latency, err := c.RoundTrip(context.Background()); err != nil || latency <= 0 || latency > requestTimeout {
			t.Errorf("latency %v, error %v", latency, err)
		}
	}
	if n := connections.Load(); n != 1 || len(paths) != 4 || paths[1] != "/a/health" || paths[3] != "/a/health" {
		t.Errorf("%d connections, requests for %q", n, paths)
	}
	server.Close()
	if _, err := c.RoundTrip(context.Background()); err == nil {
		t.Error("no error from a closed server")
	}
}

// A late page was rendered just before it arrived, not when it was requested.
func TestReturnTrip(t *testing.T) {
	s := NewSchedule(0)
	if got := s.ReturnTrip(false, 50*ms); got != 25*ms {
		t.Errorf("the first page: %v", got)
	}
	s.Record(Poll{Began: time.Unix(1e9, 0), Latency: 50 * ms})
	s.Record(Poll{Began: time.Unix(1e9, 1e8), Latency: 40 * ms})
	if got := s.ReturnTrip(false, 400*ms); got != 20*ms {
		t.Errorf("a late page: %v", got)
	}
	if got := s.ReturnTrip(true, 400*ms); got != 200*ms {
		t.Errorf("the first full page: %v", got)
	}
}

// What other work takes in the time of a request is not counted, even if the response is
// late.
func TestSelfMeter(t *testing.T) {
	now, cpu := time.Unix(1e9, 0), time.Duration(0)
	pass := func(d time.Duration, share float64) {
		now = now.Add(d)
		cpu += time.Duration(share * float64(d))
	}
	m := SelfMeter{CPU: func() time.Duration { return cpu }}
	request := func(latency, own time.Duration) time.Duration {
		m.Begin(now)
		pass(latency, 0.01)
		cpu += own
		return m.End(now)
	}
	request(ms, ms) // what else is done is unknown
	for _, latency := range []time.Duration{ms, 50 * ms, time.Second} {
		pass(100*ms, 0.01)
		if got := request(latency, 300*time.Microsecond); (got - wakeUp - 300*time.Microsecond).Abs() > time.Microsecond {
			t.Errorf("a response after %v took %v, want 300µs and a wake-up", latency, got)
		}
	}
	pass(10*ms, 0.5) // too short to show anything
	if got := request(100*ms, ms); (got - wakeUp - ms).Abs() > time.Microsecond {
		t.Errorf("after a short pause: %v", got)
	}
	m = SelfMeter{}
	m.Begin(now)
	if got := m.End(now); got != 0 {
		t.Errorf("without a clock: %v", got)
	}
}
