package probe

import (
	"cmp"
	"context"
	"crypto/x509"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/multiproc"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/probe/window"
)

const (
	// baselineTimeout is the longest that the readings before the start may delay it.
	baselineTimeout = time.Second
	// lastTryTimeout bounds the last request to an address that never responded.
	lastTryTimeout = 250 * time.Millisecond
)

// Config configures how engines are scraped.
type Config struct {
	// Interval is the time between two polls; 0 means `auto`: 100 ms at first, then 250 and
	// 500 ms, longer by what requests cost the server and vobs.
	Interval time.Duration
	// Headers are sent with every request to an address that the user gave, and to no other:
	// they may contain credentials.
	Headers http.Header
	// Wait, if set, returns how long to pause until the CPU time that vobs has spent fits
	// its budget. Under `auto` expensive polls wait for that.
	Wait func() time.Duration
	// CPU, if set, returns the CPU time that vobs has spent so far. Under `auto` polls keep
	// to a share of it.
	CPU func() time.Duration
	// CA verifies https servers; nil means the system's CAs, with no verification of a
	// loopback server.
	CA *x509.CertPool
	// Dial, if set, connects to the engines instead of a net.Dialer, for tests on a
	// simulated network.
	Dial scrape.DialFunc
	// SameListener, if set, reports whether the same process of this host listens at two
	// addresses.
	SameListener func(a, b scrape.Target) bool
	// ServerFiles, if set, returns the files in which the processes of a server on this host
	// share their metrics; nil if there are none. After an error it may be called again.
	ServerFiles func(t scrape.Target) (*ServerFiles, error)
	// Activity, if set, is called after every reading of an engine on this host, under the
	// Prober's lock: it must not block, and must not call the Prober.
	Activity func(Activity)
	// Engines, if set, distinguishes the engines whose processes share a directory of
	// multiprocess files.
	Engines func(dir string) multiproc.Engines
	// Record, if set, gets every reading of the figures that are followed over the run. It must
	// not block.
	Record func(curve.Reading)
}

// newClient returns a client for a server, which gets the headers if the user named its
// address.
func (c *Config) newClient(t scrape.Target) *scrape.Client {
	var headers http.Header
	if t.Origin == scrape.FromFlag {
		headers = c.Headers
	}
	return scrape.NewClient(t, headers, c.CA)
}

// Prober reads the engines of one run. Its methods are safe for concurrent use. Their
// order in a run is Add, ScrapeBaseline, Start, then Add and BeforeShutdown at any
// time, then Finish.
type Prober struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	polls  sync.WaitGroup
	// queries are the configuration queries in progress; they end with queryCtx.
	queries     sync.WaitGroup
	queryCtx    context.Context
	stopQueries context.CancelFunc

	mu            sync.Mutex
	endpoints     []*endpoint
	gauges        map[scrape.Origin]*window.Gauges
	active        map[scrape.Origin]*window.ActiveTime
	best          scrape.Origin // the best origin that has yielded vLLM samples
	yielded       bool          // some origin has
	started       time.Time     // when the command started; zero before that
	finishing     bool
	introspection aggregate.Introspection
}

// New returns a Prober without targets.
func New(cfg Config) *Prober {
	ctx, cancel := context.WithCancel(context.Background())
	queryCtx, stopQueries := context.WithCancel(context.Background())
	return &Prober{
		cfg: cfg, ctx: ctx, cancel: cancel, queryCtx: queryCtx, stopQueries: stopQueries,
		gauges: map[scrape.Origin]*window.Gauges{},
		active: map[scrape.Origin]*window.ActiveTime{},
	}
}

// Add adds a target and reports whether it did. It ignores a target that is known
// already, and one whose origin is superseded by a better origin that has yielded
// figures. A known target takes over that the command started its server. After Start,
// polling begins immediately.
func (p *Prober) Add(t scrape.Target) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.finishing || p.yielded && p.best < t.Origin && !p.isConfigSource(t) {
		return false
	}
	for _, e := range p.endpoints {
		if e.target.Same(t) {
			e.serverFound(t)
			return false
		}
	}
	e := p.addEndpoint(t)
	if !p.started.IsZero() {
		p.startPolling(e)
	}
	return true
}

// addEndpoint appends an endpoint. The lock is held.
func (p *Prober) addEndpoint(t scrape.Target) *endpoint {
	if p.gauges[t.Origin] == nil {
		p.gauges[t.Origin], p.active[t.Origin] = window.NewGauges(), &window.ActiveTime{}
		p.gauges[t.Origin].Start(p.started)
	}
	e := newEndpoint(p, len(p.endpoints), t)
	p.endpoints = append(p.endpoints, e)
	return e
}

// serverFound records that the process behind a known address is the command's server t. The
// Prober's lock is held.
func (e *endpoint) serverFound(t scrape.Target) {
	if t.Started && !e.up && !e.target.Started {
		e.target.Started, e.base = true, aggregate.BaseZero
	}
	if t.ExactPath && !e.target.ExactPath {
		e.target.ExactPath, e.schedule.Filter = true, scrape.FilterRefused
	}
}

// SetServerFlags records what the command line of the server at a known target
// configures. It never clears a value that is already known.
func (p *Prober) SetServerFlags(t scrape.Target, line CommandLine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.endpoints {
		if !e.target.Same(t) {
			continue
		}
		if line.MaxNumSeqs > 0 {
			e.maxNumSeqs = line.MaxNumSeqs
		}
		e.maxNumBatchedTokens = cmp.Or(line.MaxNumBatchedTokens, e.maxNumBatchedTokens)
		e.kvRole = cmp.Or(line.KVRole, e.kvRole)
	}
}

// Targets returns the targets known so far that may be engines, with their current MaxNumSeqs,
// MaxNumBatchedTokens and KVRole.
func (p *Prober) Targets() []scrape.Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []scrape.Target
	for _, e := range p.endpoints {
		if e.isExporter() {
			continue
		}
		t := e.target
		t.MaxNumSeqs, t.MaxNumBatchedTokens, t.KVRole = e.maxNumSeqs, e.maxNumBatchedTokens, e.kvRole
		out = append(out, t)
	}
	return out
}

// startPolling starts an endpoint's goroutine. The lock is held.
func (p *Prober) startPolling(e *endpoint) {
	p.polls.Add(1)
	go func() {
		defer p.polls.Done()
		e.recoverPanic(func() { e.loop(p.ctx) })
	}()
}

// markYielded notes that an origin has yielded vLLM samples. The lock is held.
func (p *Prober) markYielded(o scrape.Origin) {
	if !p.yielded || o < p.best {
		p.best, p.yielded = o, true
	}
}

// watermark returns the earliest time at which an interval still to come can begin, over
// all endpoints of an origin. The lock is held.
func (p *Prober) watermark(o scrape.Origin) (at time.Time) {
	for _, e := range p.endpoints {
		if e.up && e.duplicateOf == nil && e.target.Origin == o && (at.IsZero() || e.lastAt.Before(at)) {
			at = e.lastAt
		}
	}
	return at
}

// polledServers returns the number of servers that are up and polled. The lock is held.
func (p *Prober) polledServers() (n int) {
	for _, e := range p.endpoints {
		if e.client != nil && e.up && e.target.Origin == p.best {
			n++
		}
	}
	return n
}

// superseded reports whether an endpoint is no longer needed: a better origin has yielded
// figures, and the endpoint has no configuration left to query.
func (p *Prober) superseded(e *endpoint) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.yielded && p.best < e.target.Origin && (!p.isConfigSource(e.target) || e.up && e.allQueried())
}

// allEndpoints returns a copy of the list of endpoints.
func (p *Prober) allEndpoints() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*endpoint(nil), p.endpoints...)
}

// selected returns the endpoints whose figures count: those of the best origin that has
// yielded any.
func (p *Prober) selected() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*endpoint
	for _, e := range p.endpoints {
		if e.up && e.target.Origin == p.best && e.duplicateOf == nil {
			out = append(out, e)
		}
	}
	return out
}

// silent returns the servers that responded without samples if no engine yielded figures.
func (p *Prober) silent() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.yielded {
		return nil
	}
	var out []*endpoint
	for _, e := range p.endpoints {
		if e.silent && e.notVLLM {
			out = append(out, e)
		}
	}
	return out
}

// forEach calls f for every endpoint, concurrently, and waits for all.
func (p *Prober) forEach(endpoints []*endpoint, f func(*endpoint)) {
	var wg sync.WaitGroup
	for _, e := range endpoints {
		wg.Go(func() { e.recoverPanic(func() { f(e) }) })
	}
	wg.Wait()
}

// ScrapeBaseline takes the readings that counters count from, of all targets
// concurrently and within 1 s. An address where nothing listens costs no time.
func (p *Prober) ScrapeBaseline(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, baselineTimeout)
	defer cancel()
	p.forEach(p.allEndpoints(), func(e *endpoint) {
		_, _ = e.read(ctx, true, phaseBefore) // a failure is kept
	})
}

// Start begins polling. commandStarted is when the command started.
func (p *Prober) Start(commandStarted time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin(commandStarted)
	for _, e := range p.endpoints {
		p.startPolling(e)
	}
}

// begin records when the command started. The lock is held.
func (p *Prober) begin(commandStarted time.Time) {
	p.started = commandStarted
	for _, g := range p.gauges {
		g.Start(commandStarted)
	}
}

// end records when the command ended. The lock is held.
func (p *Prober) end(commandEnded time.Time) {
	for _, g := range p.gauges {
		g.End(commandEnded)
	}
	for _, e := range p.endpoints {
		e.tokenCurves.End(commandEnded.Sub(p.started))
	}
}

// BeforeShutdown takes one more reading of every engine that is up, within ctx. It is
// called before a shutdown signal is forwarded to them.
func (p *Prober) BeforeShutdown(ctx context.Context) {
	var up []*endpoint
	for _, e := range p.allEndpoints() {
		p.mu.Lock()
		if e.up && !(p.yielded && p.best < e.target.Origin) {
			up = append(up, e)
		}
		p.mu.Unlock()
	}
	p.forEach(up, func(e *endpoint) { _, _ = e.read(ctx, true, phaseBeforeSignal) })
}

// Finish stops polling, waits within ctx and 2 s until the engines that yielded figures
// have settled, and returns the result. commandEnded is when the command ended.
func (p *Prober) Finish(ctx context.Context, commandEnded time.Time) aggregate.Output {
	p.mu.Lock()
	p.finishing = true
	p.end(commandEnded)
	p.mu.Unlock()
	p.cancel()
	p.polls.Wait()
	ctx, cancel := context.WithTimeout(ctx, aggregate.SettleTimeout)
	defer cancel()
	p.tryUnread(ctx)
	selected := p.selected()
	// An engine that stays busy takes all of the time to settle, and answers meanwhile.
	for _, e := range append(selected, p.configSources()...) {
		e.queryConfig(true)
	}
	silent := p.silent()
	for _, e := range silent {
		e.queryConfig(true)
	}
	var mu sync.Mutex
	settled := map[*endpoint]bool{}
	p.forEach(slices.Concat(selected, p.duplicates()), func(e *endpoint) {
		ok := e.settle(ctx)
		mu.Lock()
		settled[e] = ok
		mu.Unlock()
	})
	selected = p.selected() // an address may have turned out to be another server's
	var toQuery []*endpoint
	for e, ok := range settled {
		if ok {
			toQuery = append(toQuery, e)
		}
	}
	p.finishConfigQueries(ctx, slices.Concat(toQuery, p.configSources(), silent))
	for _, e := range p.allEndpoints() {
		if e.client != nil {
			e.client.Close()
		}
	}
	return p.aggregate(selected, settled, commandEnded)
}

// tryUnread scrapes all endpoints that may be engines a last time if none has yielded figures during
// the run.
func (p *Prober) tryUnread(ctx context.Context) {
	p.mu.Lock()
	yielded := p.yielded
	unread := slices.DeleteFunc(slices.Clone(p.endpoints), (*endpoint).isExporter)
	p.mu.Unlock()
	if yielded {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastTryTimeout)
	defer cancel()
	p.forEach(unread, func(e *endpoint) { _, _ = e.read(ctx, true, phaseAfter) })
}
