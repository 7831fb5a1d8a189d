package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

const (
	runningName = "vllm:num_requests_running"
	waitingName = "vllm:num_requests_waiting"
	usageName   = "vllm:kv_cache_usage_perc"
)

// apiServer is a vLLM server whose page shows one API server's view of the gauges, while
// the files of its processes show the engine's.
type apiServer struct {
	*httptest.Server
	dir    string
	tokens atomic.Int64
	// running, waiting and usage are what the page shows, the usage in percent.
	running, waiting, usage atomic.Int64

	mu    sync.Mutex
	alive map[string]bool // processes, by identifier
	hold  chan struct{}   // pages wait until it is closed; nil if they do not
}

func newAPIServer(t *testing.T) *apiServer {
	s := &apiServer{dir: filepath.Join(t.TempDir(), "db"), alive: map[string]bool{}}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics" && r.URL.Path != "/metrics/" {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	const labels = `{engine="0",model_name="m"}`
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, g := range []struct {
		name  string
		value float64
	}{{runningName, float64(s.running.Load())}, {waitingName, float64(s.waiting.Load())}, {usageName, float64(s.usage.Load()) / 100}} {
		fmt.Fprintf(w, "# TYPE %s gauge\n%s%s %v\n", g.name, g.name, labels, g.value)
	}
	for _, name := range []string{"vllm:prompt_tokens", "vllm:generation_tokens"} {
		fmt.Fprintf(w, "# TYPE %s_total counter\n%s_total%s %d\n", name, name, labels, s.tokens.Load())
	}
}

// process starts a process of the server, and returns its file.
func (s *apiServer) process(t *testing.T, id string) *testkit.GaugeFile {
	t.Helper()
	s.setAlive(id, true)
	return testkit.NewGaugeFile(t, s.dir, id, runningName, waitingName, usageName)
}

func (s *apiServer) setAlive(id string, alive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive[id] = alive
}

// files is Config.ServerFiles.
func (s *apiServer) files(scrape.Target) (*ServerFiles, error) {
	return &ServerFiles{Dir: s.dir, Writes: func(process, file string) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.alive[process] && file == "gauge_mostrecent_"+process+".db"
	}}, nil
}

// setGauges sets the gauges in a process's file.
func setGauges(f *testkit.GaugeFile, running, waiting, usage float64) {
	f.Set(runningName, running)
	f.Set(waitingName, waiting)
	f.Set(usageName, usage)
}

// probe starts a Prober of the server.
func (s *apiServer) probe(t *testing.T, files func(scrape.Target) (*ServerFiles, error)) *Prober {
	t.Helper()
	cfg := quick
	cfg.ServerFiles = files
	p := New(cfg)
	p.Add(target(t, s.URL))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	return p
}

// runningNow returns the running requests as of the last reading.
func (p *Prober) runningNow() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gauges[p.endpoints[0].target.Origin].RunningNow(0)
}

func (p *Prober) awaitRunning(t *testing.T, want float64) {
	t.Helper()
	testkit.Await(t, fmt.Sprintf("%v running requests", want), func() bool { return p.runningNow() == want })
}

// awaitPages waits for more good pages of the endpoint.
func (p *Prober) awaitPages(t *testing.T, more int64) {
	t.Helper()
	count := func() int64 {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.endpoints[0].count
	}
	want := count() + more
	testkit.Await(t, "more pages", func() bool { return count() >= want })
}

func checkGauges(t *testing.T, out aggregate.Output, from string, running, waiting, usage float64) {
	t.Helper()
	if out.Engine == nil {
		t.Fatalf("no engine: %s", testkit.JSON(out.Notes))
	}
	e, q := out.Engine.Endpoints[0], out.Engine.Requests
	if e.Source != "http" || e.GaugesFrom == nil || *e.GaugesFrom != from {
		t.Errorf("endpoint %s, want gauges from %s", testkit.JSON(e), from)
	}
	for _, g := range []struct {
		name string
		peak *schema.Float
		want float64
	}{{"running", q.Running.Peak, running}, {"waiting", q.Waiting.Peak, waiting}, {"usage", out.Engine.KVCache.Usage.Peak, usage}} {
		if got, ok := g.peak.Value(); !ok || got != g.want {
			t.Errorf("peak of %s: %s, want %v", g.name, testkit.JSON(g.peak), g.want)
		}
	}
}

// Peaks, means and last values are those of the files, counters those of the page. The files
// of an ended process do not count, however new its values are.
func TestGaugesFromFiles(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.running.Store(50)
	s.waiting.Store(60)
	s.usage.Store(99)
	ended := s.process(t, "3")
	s.setAlive("3", false)
	for _, name := range []string{runningName, waitingName} {
		ended.SetAt(name, 70, time.Now().Add(time.Hour))
	}
	first, second := s.process(t, "1"), s.process(t, "2")
	setGauges(first, 4, 2, 0.25)
	s.tokens.Store(1000)
	p := s.probe(t, s.files)
	s.tokens.Add(5)
	p.awaitRunning(t, 4)
	p.awaitPages(t, 5)
	setGauges(second, 4, 3, 0.5)
	testkit.Await(t, "the waiting requests of the second process", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.gauges[p.endpoints[0].target.Origin].LoadNow(0).Requests == 7
	})
	s.tokens.Add(7)
	p.awaitPages(t, 5)
	out := p.finishWithin(t)
	checkGauges(t, out, "multiprocess", 4, 3, 0.5)
	g := out.Engine
	if mean, ok := g.Requests.Running.Mean.Value(); !ok || mean != 4 {
		t.Errorf("mean of running: %s, want 4", testkit.JSON(g.Requests.Running))
	}
	if mean, ok := g.KVCache.Usage.Mean.Value(); !ok || mean < 0.25 || mean > 0.5 {
		t.Errorf("mean of the usage: %s", testkit.JSON(g.KVCache.Usage))
	}
	if *g.Requests.Running.Last != 4 || *g.Requests.Waiting.Last != 3 {
		t.Errorf("last values: %s", testkit.JSON(g.Requests))
	}
	if g.Window.Base != "scraped" || g.Tokens.Generation == nil || *g.Tokens.Generation != 12 || g.Window.Resets != 0 {
		t.Errorf("window %s, tokens %s", testkit.JSON(g.Window), testkit.JSON(g.Tokens))
	}
	if codes := testkit.Codes(out.Notes); !strings.Contains(codes, "engine_shared") {
		t.Errorf("the files showed requests before the start, but the notes are %s", codes)
	}
}

// Without files, or while they have no gauge yet, the page counts.
func TestGaugesFromPage(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]func(*apiServer) func(scrape.Target) (*ServerFiles, error){
		"no look-up":   func(*apiServer) func(scrape.Target) (*ServerFiles, error) { return nil },
		"no directory": func(*apiServer) func(scrape.Target) (*ServerFiles, error) { return noFiles },
		"failure":      func(*apiServer) func(scrape.Target) (*ServerFiles, error) { return failingFiles },
		"gone": func(s *apiServer) func(scrape.Target) (*ServerFiles, error) {
			return func(t scrape.Target) (*ServerFiles, error) {
				f, err := s.files(t)
				f.Dir += "/absent"
				return f, err
			}
		},
		"never set": func(s *apiServer) func(scrape.Target) (*ServerFiles, error) { return s.files },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newAPIServer(t)
			s.process(t, "1")
			p := s.probe(t, files(s))
			s.tokens.Add(9)
			s.running.Store(5)
			s.waiting.Store(6)
			s.usage.Store(75)
			p.awaitPages(t, 8)
			checkGauges(t, p.finishWithin(t), "http", 5, 6, 0.75)
		})
	}
}

// The command's own server is not looked into: its directory is an endpoint of its own. With
// --metrics-url it is, because that precedes directories.
func TestFilesOfOwnServer(t *testing.T) {
	t.Parallel()
	for origin, want := range map[scrape.Origin]string{scrape.FromTree: "http", scrape.FromFlag: "multiprocess"} {
		s := newAPIServer(t)
		s.running.Store(5)
		s.waiting.Store(6)
		s.usage.Store(75)
		f := s.process(t, "1")
		f.Set(runningName, 5)
		f.Set(waitingName, 6)
		f.Set(usageName, 0.75)
		cfg := quick
		cfg.ServerFiles = s.files
		p := New(cfg)
		tg := target(t, s.URL)
		tg.Origin, tg.Started = origin, true
		p.Add(tg)
		p.Start(time.Now())
		testkit.Await(t, "a page", func() bool { return p.runningNow() == 5 })
		s.tokens.Add(9)
		p.awaitPages(t, 8)
		checkGauges(t, p.finishWithin(t), want, 5, 6, 0.75)
	}
}

func noFiles(scrape.Target) (*ServerFiles, error)      { return nil, nil }
func failingFiles(scrape.Target) (*ServerFiles, error) { return nil, errors.New("not permitted") }

// Once the files are gone, what they have shown is kept and the page counts again.
func TestGaugeFilesVanish(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.running.Store(1)
	f := s.process(t, "1")
	setGauges(f, 8, 2, 0.5)
	p := s.probe(t, s.files)
	s.tokens.Add(9)
	p.awaitRunning(t, 8)
	p.awaitPages(t, 8)
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	p.awaitRunning(t, 1)
	p.awaitPages(t, 3)
	out := p.finishWithin(t)
	checkGauges(t, out, "multiprocess", 8, 2, 0.5)
	if *out.Engine.Requests.Running.Last != 1 || *out.Engine.Requests.Waiting.Last != 0 {
		t.Errorf("last values: %s", testkit.JSON(out.Engine.Requests))
	}
	if out.Engine.Scrapes.Errors != 0 {
		t.Errorf("scrapes %s", testkit.JSON(out.Engine.Scrapes))
	}
}

// A value that lasts a few readings of the files is seen although the server answers too
// late for its page to show it.
func TestGaugeFilesOfBusyServer(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	f := s.process(t, "1")
	setGauges(f, 1, 0, 0.1)
	p := s.probe(t, s.files)
	s.tokens.Add(9)
	p.awaitRunning(t, 1)
	p.awaitPages(t, 8)
	hold := make(chan struct{})
	s.mu.Lock()
	s.hold = hold
	s.mu.Unlock()
	f.Set(runningName, 30)
	p.awaitRunning(t, 30)
	f.Set(runningName, 2)
	p.awaitRunning(t, 2)
	s.mu.Lock()
	s.hold = nil
	s.mu.Unlock()
	close(hold)
	p.awaitPages(t, 2)
	checkGauges(t, p.finishWithin(t), "multiprocess", 30, 0, 0.1)
}

// The files of a server that has ended do not count for the one that follows it.
func TestGaugeFilesOfNextServer(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	f := s.process(t, "1")
	f.Set(runningName, 6)
	var looks atomic.Int64
	next := filepath.Join(t.TempDir(), "next")
	files := func(target scrape.Target) (*ServerFiles, error) {
		found, err := s.files(target)
		if looks.Add(1) > 1 {
			found.Dir = next
		}
		return found, err
	}
	s.tokens.Store(1000)
	p := s.probe(t, files)
	p.awaitRunning(t, 6)
	p.awaitPages(t, 2)
	if err := os.Mkdir(next, 0o700); err != nil {
		t.Fatal(err)
	}
	s.setAlive("1", false)
	s.setAlive("4", true)
	testkit.NewGaugeFile(t, next, "4", runningName).Set(runningName, 3)
	s.tokens.Store(10) // it counts from zero
	p.awaitRunning(t, 3)
	p.awaitPages(t, 2)
	out := p.finishWithin(t)
	if out.Engine == nil || out.Engine.Window.Resets != 1 || *out.Engine.Requests.Running.Last != 3 || looks.Load() < 2 {
		t.Errorf("%d looks: %s", looks.Load(), testkit.JSON(out.Engine))
	}
}
