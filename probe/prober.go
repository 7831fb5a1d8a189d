package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/probe/window"
)

const (
	// baselineTimeout is the longest that the readings before the start may delay it.
	baselineTimeout = time.Second
	// lastTryTimeout is how long an address that never answered is asked a last time.
	lastTryTimeout = 250 * time.Millisecond
)

// Config says how engines are asked.
type Config struct {
	// Interval between two polls; 0 is `auto`: the longest of 500 ms and 100
	// times the median wall time of a request.
	Interval time.Duration
	// Headers are sent with every request.
	Headers http.Header
	// Wait, where set, tells for how long what was spent by the whole process is
	// not covered by its budget: under `auto` the next poll waits for that.
	Wait func() time.Duration
	// CA verifies https servers; nil uses the system's, and then a loopback
	// server is not verified.
	CA *x509.CertPool
}

// Prober reads the engines of one run. Its methods may be called from several
// goroutines; their order in a run is Add, Base, Start, then Add and
// BeforeShutdown at any time, Finish.
type Prober struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelFunc
	polling sync.WaitGroup
	// queries are the questions beside the polls; they end with queryCtx.
	queries     sync.WaitGroup
	queryCtx    context.Context
	stopQueries context.CancelFunc

	mu            sync.Mutex
	endpoints     []*endpoint
	gauges        map[scrape.Origin]*window.Gauges
	active        map[scrape.Origin]*window.ActiveTime
	best          scrape.Origin // the best origin that has yielded vLLM samples
	yielded       bool
	started       time.Time // of the command; zero before
	finishing     bool
	introspection aggregate.Introspection
}

// New makes a Prober without any address.
func New(cfg Config) *Prober {
	ctx, cancel := context.WithCancel(context.Background())
	askCtx, stopAsking := context.WithCancel(context.Background())
	return &Prober{
		cfg: cfg, ctx: ctx, cancel: cancel, queryCtx: askCtx, stopQueries: stopAsking,
		gauges: map[scrape.Origin]*window.Gauges{},
		active: map[scrape.Origin]*window.ActiveTime{},
	}
}

// Add makes an address known, and says whether it was new; one that is known
// already, or whose origin is outdone by one that has yielded figures, changes
// nothing. After Start it is polled at once.
func (p *Prober) Add(t scrape.Target) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.finishing || p.yielded && p.best < t.Origin && !p.isConfigSource(t) {
		return false
	}
	for _, e := range p.endpoints {
		if e.target.Same(t) {
			return false
		}
	}
	if p.gauges[t.Origin] == nil {
		p.gauges[t.Origin], p.active[t.Origin] = window.NewGauges(), &window.ActiveTime{}
	}
	e := newEndpoint(p, len(p.endpoints), t)
	p.endpoints = append(p.endpoints, e)
	if !p.started.IsZero() {
		p.poll(e)
	}
	return true
}

// SetServerFlags notes what the command line of the server behind a known address tells of
// its engines. Nothing that is known already is forgotten.
func (p *Prober) SetServerFlags(t scrape.Target, line CommandLine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.endpoints {
		if e.target.Same(t) && line.MaxNumSeqs > 0 {
			e.maxNumSeqs = line.MaxNumSeqs
		}
	}
}

// Targets lists the addresses known so far, with what was learned of them.
func (p *Prober) Targets() []scrape.Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []scrape.Target
	for _, e := range p.endpoints {
		t := e.target
		t.MaxNumSeqs = e.maxNumSeqs
		out = append(out, t)
	}
	return out
}

// poll starts an endpoint's goroutine. The lock is held.
func (p *Prober) poll(e *endpoint) {
	p.polling.Add(1)
	go func() {
		defer p.polling.Done()
		e.recoverPanic(func() { e.loop(p.ctx) })
	}()
}

// markYielded notes that an origin has yielded vLLM samples. The lock is held.
func (p *Prober) markYielded(o scrape.Origin) {
	if !p.yielded || o < p.best {
		p.best, p.yielded = o, true
	}
}

// watermark is the earliest time at which an interval that is still to come may
// begin, at any endpoint of an origin. The lock is held.
func (p *Prober) watermark(o scrape.Origin) (at time.Time) {
	for _, e := range p.endpoints {
		if e.up && e.target.Origin == o && (at.IsZero() || e.lastAt.Before(at)) {
			at = e.lastAt
		}
	}
	return at
}

// superseded says whether an endpoint is not needed any more: a better origin has yielded
// figures, and the endpoint has nothing to tell beside them.
func (p *Prober) superseded(e *endpoint) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.yielded && p.best < e.target.Origin && (!p.isConfigSource(e.target) || e.up && e.allQueried())
}

// snapshot copies the list of endpoints.
func (p *Prober) snapshot() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*endpoint(nil), p.endpoints...)
}

// ScrapeBaseline takes the readings that counters count from, of all known addresses at
// once and within 1 s. An address where nobody listens costs nothing.
func (p *Prober) ScrapeBaseline(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, baselineTimeout)
	defer cancel()
	p.each(p.snapshot(), func(e *endpoint) {
		_, err := e.read(ctx, true, before)
		p.mu.Lock()
		e.portFreeBefore = err != nil && scrape.IsRefused(err)
		p.mu.Unlock()
	})
}

// each runs f for every endpoint, side by side.
func (p *Prober) each(endpoints []*endpoint, f func(*endpoint)) {
	var wg sync.WaitGroup
	for _, e := range endpoints {
		wg.Go(func() { e.recoverPanic(func() { f(e) }) })
	}
	wg.Wait()
}

// Start begins to poll: the command has started at this time.
func (p *Prober) Start(commandStarted time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = commandStarted
	for _, e := range p.endpoints {
		p.poll(e)
	}
}

// BeforeShutdown takes one more reading of every engine that is up, before a
// shutdown signal goes on to it, within ctx.
func (p *Prober) BeforeShutdown(ctx context.Context) {
	var up []*endpoint
	for _, e := range p.snapshot() {
		p.mu.Lock()
		if e.up && !(p.yielded && p.best < e.target.Origin) {
			up = append(up, e)
		}
		p.mu.Unlock()
	}
	p.each(up, func(e *endpoint) { _, _ = e.read(ctx, true, shutdown) })
}

// Finish stops polling, waits within ctx and 2 s for the last observations of
// the engines that yielded figures, and says what it all amounts to. The command
// ended at this time.
func (p *Prober) Finish(ctx context.Context, commandEnded time.Time) aggregate.Output {
	p.mu.Lock()
	p.finishing = true
	p.mu.Unlock()
	p.cancel()
	p.polling.Wait()
	ctx, cancel := context.WithTimeout(ctx, aggregate.SettleTimeout)
	defer cancel()
	var mu sync.Mutex
	settled := map[*endpoint]bool{}
	chosen := p.selectEndpoints(ctx)
	p.each(chosen, func(e *endpoint) {
		ok := e.settle(ctx)
		mu.Lock()
		settled[e] = ok
		mu.Unlock()
	})
	var answering []*endpoint
	for e, ok := range settled {
		if ok {
			answering = append(answering, e)
		}
	}
	p.finishConfigQueries(ctx, append(answering, p.configSources()...))
	for _, e := range p.snapshot() {
		if e.client != nil {
			e.client.Close()
		}
	}
	return p.aggregate(chosen, settled, commandEnded)
}

// selectEndpoints gives the endpoints whose figures count: those of the best origin that
// yielded any. One that never answered during the run is asked a last time, if
// nothing else did.
func (p *Prober) selectEndpoints(ctx context.Context) []*endpoint {
	p.mu.Lock()
	yielded := p.yielded
	p.mu.Unlock()
	if !yielded {
		ctx, cancel := context.WithTimeout(ctx, lastTryTimeout)
		defer cancel()
		p.each(p.snapshot(), func(e *endpoint) { _, _ = e.read(ctx, true, after) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*endpoint
	for _, e := range p.endpoints {
		if e.up && e.target.Origin == p.best {
			out = append(out, e)
		}
	}
	return out
}

// Listening reports whether somebody answers at an address: before the start of a
// server, that is a foreign one.
func Listening(ctx context.Context, t scrape.Target) bool {
	network, address := "tcp", scrape.HostPort(t.URL.Hostname(), t.URL.Port())
	switch {
	case t.Socket != "":
		network, address = "unix", t.Socket
	case t.URL.Port() == "":
		address = net.JoinHostPort(t.URL.Hostname(), map[string]string{"http": "80", "https": "443"}[t.URL.Scheme])
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Check asks an address once: nil where it answers with vLLM samples. It serves
// --strict.
func Check(ctx context.Context, cfg Config, t scrape.Target) error {
	p := New(cfg)
	p.Add(t)
	defer p.cancel()
	e := p.endpoints[0]
	defer e.client.Close()
	if _, err := e.read(ctx, true, before); err != nil {
		return fmt.Errorf("no engine: %w", err)
	}
	return nil
}

// Fetch reads a whole page as it stands.
func Fetch(ctx context.Context, cfg Config, t scrape.Target) (page []byte, err error) {
	c := scrape.NewClient(t, cfg.Headers, cfg.CA)
	defer c.Close()
	a := c.Scrape(ctx, false, func(r io.Reader) (err error) {
		page, err = io.ReadAll(r)
		if err == nil && exposition.IsOpenMetrics(c.ContentType) && !exposition.EndsInEOF(page) {
			err = exposition.ErrNoEOF
		}
		return err
	})
	return page, a.Err
}

// Health asks a server once, on a connection of its own, how its engine is, and
// gives the status of the answer: vLLM's /health has 200, and 503 once it knows
// that its engine is dead (vllm/entrypoints/serve/instrumentator/health.py).
func Health(ctx context.Context, cfg Config, t scrape.Target) (status int, err error) {
	c := scrape.NewClient(t, cfg.Headers, cfg.CA)
	defer c.Close()
	_, a := c.Get(ctx, "/health", "")
	var other *scrape.StatusError
	switch {
	case a.Err == nil:
		return http.StatusOK, nil
	case errors.As(a.Err, &other):
		return other.Status, nil
	}
	return 0, a.Err
}
