package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vobs/vobs/probe/exposition"
)

const (
	// minInterval is the shortest time between two requests under `auto`.
	minInterval = 500 * time.Millisecond
	// costFactor keeps the requests' wall time, which counts as the server's
	// cost, at 1 % of the time.
	costFactor = 100
	// fullInterval is how often a full page is read between filtered polls, so
	// that a recent one exists if the server goes away.
	fullInterval = 5 * time.Second
	// strangerInterval is how often a server is asked again that answers without
	// any vLLM sample.
	strangerInterval = 5 * time.Second
	// keptWalls is the number of request times that medians are taken over.
	keptWalls = 31
)

// phase says when a reading is taken.
type phase int

const (
	before   phase = iota // before the command starts: counters count from it
	during                // while the command runs
	shutdown              // while it runs, before a shutdown signal goes on
	after                 // after its end
)

// filterState is what is known about filtered polls at an endpoint.
type filterState int

const (
	filterUntried filterState = iota
	filterWorks
	filterRefused
)

// baseState is what an endpoint's counters count from.
type baseState int

const (
	baseNone    baseState = iota
	baseScraped           // a reading before the start
	baseZero              // the process came up inside the run
	baseLate              // the first reading inside the run: what came before it is lost
)

// endpoint is one address that is read. Its fields below mu belong to the
// Prober's lock.
type endpoint struct {
	p      *Prober
	index  int
	target Target
	client *client
	parser *exposition.Parser
	page   exposition.Page
	// turn is held by the one who asks: the client and the parser serve one at a time.
	turn chan struct{}

	up        bool // has answered with vLLM samples
	stranger  bool // answers, with no vLLM sample
	silent    bool // answered nothing before the start although something listens
	base      baseState
	baseAt    time.Time
	fullAt    time.Time // when the last full page was asked for
	goodAt    time.Time // when the last good reading was asked for
	lastPhase phase     // of the last good full page
	filter    filterState
	ledger    *ledger
	active    spans
	// activeIntervals counts the intervals that active was made of.
	activeIntervals int
	tokens          float64
	running         float64
	fullTokens      float64 // tokens at the last full page
	drained         bool    // idle, with tokens counted since the last full page
	lastError       error
	version         string
	asked           bool // for the version

	count, errors       int64
	firstAt             time.Time
	maxGap              time.Duration
	fullWalls, allWalls []time.Duration
}

func newEndpoint(p *Prober, index int, t Target) *endpoint {
	l := newLedger()
	e := &endpoint{
		p: p, index: index, target: t, ledger: l,
		client: newClient(t, p.cfg.Headers, p.cfg.CA),
		parser: exposition.NewParser(l.wants),
		turn:   make(chan struct{}, 1),
	}
	if t.ExactPath || t.URL.RawQuery != "" {
		e.filter = filterRefused
	}
	if t.Started {
		e.base = baseZero
	}
	return e
}

var errStranger = errors.New("the server answers, but exports no vllm: samples (is it vLLM, and not started with --disable-log-stats?)")

// read asks once and takes in the answer. It waits for its turn no longer than ctx.
func (e *endpoint) read(ctx context.Context, full bool, ph phase) (applied, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return applied{}, fmt.Errorf("asking %s: another request is under way", e.target.Name())
	}
	var names []string
	if !full {
		names = pollNames
	}
	at := time.Now()
	body, wall, err := e.client.metrics(ctx, names)
	if err == nil {
		if err = e.parser.Parse(body, &e.page); err != nil {
			err = fmt.Errorf("reading the page of %s: %w", e.target.Name(), err)
		}
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	if err != nil {
		if !full && e.filter == filterUntried && isStatus(err) {
			e.filter = filterRefused
			return applied{}, err
		}
		if e.up && ph != after && ctx.Err() == nil {
			e.errors++
		}
		e.lastError = err
		return applied{}, err
	}
	return e.take(at, wall, full, ph)
}

func isStatus(err error) bool {
	var status *statusError
	return errors.As(err, &status)
}

// take puts the parsed page into the books. The Prober's lock is held.
func (e *endpoint) take(at time.Time, wall time.Duration, full bool, ph phase) (applied, error) {
	if !full && !e.checkFilter() {
		return applied{}, nil
	}
	if !e.up {
		if !e.hasVLLM() {
			e.stranger = true
			e.lastError = errStranger
			return applied{}, errStranger
		}
		e.setBase(at, ph)
	}
	fresh := !e.up
	e.up, e.stranger = true, false
	got := e.ledger.apply(&e.page, full, fresh && e.base != baseZero)
	if !got.vllm {
		e.errors++
		e.lastError = errStranger
		return got, errStranger
	}
	e.p.found(e.target.Origin)
	e.p.gauges[e.target.Origin].add(e.index, at, got.gauges, ph == during || ph == shutdown)
	e.countReading(at, wall, full)
	tokens, running := e.ledger.tokens(), e.p.gauges[e.target.Origin].runningNow(e.index)
	if !fresh && (tokens > e.tokens || running > 0 || e.running > 0) {
		e.active.add(e.goodAt, at)
		e.activeIntervals++
	}
	e.tokens, e.running = tokens, running
	e.goodAt = at
	if full {
		e.fullAt, e.lastPhase, e.fullTokens = at, ph, tokens
	}
	e.drained = tokens != e.fullTokens && !e.p.gauges[e.target.Origin].busyNow(e.index)
	return got, nil
}

// hasVLLM says whether the page has a sample of vLLM.
func (e *endpoint) hasVLLM() bool {
	for i := range e.page.Samples {
		if rows[e.ledger.wanted[e.page.Samples[i].Name].row].figure != processStart {
			return true
		}
	}
	return false
}

// setBase decides, at the first answer, what counters count from.
func (e *endpoint) setBase(at time.Time, ph phase) {
	e.baseAt = at
	switch {
	case ph == before:
		e.base = baseScraped
	case e.base == baseZero:
	default:
		e.base = baseZero
		if e.silent {
			// Something listened before the start and gave no answer: only a process
			// that is younger than the run counts from zero.
			e.base = baseLate
			for i := range e.page.Samples {
				s := &e.page.Samples[i]
				if rows[e.ledger.wanted[s.Name].row].figure == processStart && s.Value > float64(e.p.started.UnixNano())/1e9 {
					e.base = baseZero
				}
			}
		}
	}
	if e.base == baseZero {
		e.baseAt = e.p.started
	}
}

// checkFilter looks at the answer to a filtered poll: is it one, and is what
// was asked for there? The first answer decides whether such polls go on.
func (e *endpoint) checkFilter() bool {
	asked, bulk := 0, false
	for i := range e.page.Samples {
		r := &rows[e.ledger.wanted[e.page.Samples[i].Name].row]
		switch {
		case r.kind == histogramKind:
			bulk = true
		case r.figure == kvUsage, r.figure == running, r.figure == generationTokens:
			asked++
		}
	}
	if e.filter == filterUntried {
		e.filter = filterWorks
		if bulk || asked < 3 {
			e.filter = filterRefused
		}
	}
	if asked < 3 {
		return false
	}
	return true
}

func (e *endpoint) countReading(at time.Time, wall time.Duration, full bool) {
	if e.count == 0 {
		e.firstAt = at
	} else {
		e.maxGap = max(e.maxGap, at.Sub(e.goodAt))
	}
	e.count++
	e.allWalls = keepLast(e.allWalls, wall)
	if full {
		e.fullWalls = keepLast(e.fullWalls, wall)
	}
}

func keepLast(walls []time.Duration, wall time.Duration) []time.Duration {
	if len(walls) == keptWalls {
		walls = append(walls[:0], walls[1:]...)
	}
	return append(walls, wall)
}

func median(walls []time.Duration) time.Duration {
	if len(walls) == 0 {
		return 0
	}
	sorted := slices.Clone(walls)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// plan says how long to wait after the last request, and whether the next one
// is for a full page. The Prober's lock is held.
func (e *endpoint) plan(lastWasFull bool) (wait time.Duration, full bool) {
	// When the engine has drained, its figures are whole: a script may end it next.
	due := e.drained || time.Since(e.fullAt) >= fullInterval
	full = !e.up || e.filter == filterRefused || e.filter == filterWorks && due
	if e.stranger {
		return strangerInterval, true
	}
	if e.p.cfg.Interval > 0 {
		return e.p.cfg.Interval, full
	}
	wait = costFactor * median(e.allWalls)
	if lastWasFull {
		wait = max(wait, costFactor*median(e.fullWalls))
	}
	return max(wait, minInterval), full
}

// guard keeps an error of this package from costing the command its wrapper: it
// costs this endpoint's further readings.
func (e *endpoint) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			e.p.mu.Lock()
			defer e.p.mu.Unlock()
			e.errors++
			e.lastError = fmt.Errorf("an error in vobs, reading %s: %v: please report it", e.target.Name(), p)
		}
	}()
	f()
}

// follow polls until ctx ends or a better origin has yielded figures.
func (e *endpoint) follow(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	e.p.mu.Lock()
	_, full := e.plan(false)
	e.p.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if e.p.outdone(e.target.Origin) {
			return
		}
		// The verdict is in the endpoint's books; a failed poll is followed by the next.
		_, err := e.read(ctx, full, during)
		if err == nil {
			e.askVersion(ctx)
		}
		e.p.mu.Lock()
		wait, next := e.plan(full)
		e.p.mu.Unlock()
		full = next
		timer.Reset(wait)
	}
}

// askVersion asks once for the engine's version.
func (e *endpoint) askVersion(ctx context.Context) {
	e.p.mu.Lock()
	todo := e.up && !e.asked
	e.asked = e.asked || todo
	e.p.mu.Unlock()
	if !todo {
		return
	}
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	body, err := e.client.beside(ctx, "/version")
	<-e.turn
	var answer struct {
		Version string `json:"version"`
	}
	if err != nil || json.Unmarshal(body, &answer) != nil {
		return
	}
	e.p.mu.Lock()
	e.version = answer.Version
	e.p.mu.Unlock()
}

// settle reads until the engine is idle and nothing moves any more between two
// full pages, or until ctx ends. It reports whether that was reached.
func (e *endpoint) settle(ctx context.Context) (settled bool) {
	quiet := 0
	for pause := 100 * time.Millisecond; ; pause *= 2 { // a busy server is not to be asked all the time
		got, err := e.read(ctx, true, after)
		if err != nil {
			if refused(err) || ctx.Err() != nil {
				return false
			}
			quiet = 0
		} else {
			e.p.mu.Lock()
			busy := e.p.gauges[e.target.Origin].busyNow(e.index)
			e.p.mu.Unlock()
			quiet++
			if busy || got.moved {
				quiet = 1 // this page is the first of the next pair
			}
			if busy {
				quiet = 0
			}
			if quiet >= 2 {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}
