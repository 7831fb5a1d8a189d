package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/multiproc"
)

// phase says when a reading is taken.
type phase int

const (
	before   phase = iota // before the command starts: counters count from it
	during                // while the command runs
	shutdown              // while it runs, before a shutdown signal goes on
	after                 // after its end
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
	client *client           // nil where files are read
	files  *multiproc.Reader // nil where a server is asked
	parser *exposition.Parser
	page   exposition.Page
	// turn is held by the one who asks: the client and the parser serve one at a time.
	turn chan struct{}

	// mu is the Prober's.
	up        bool // has answered with vLLM samples
	stranger  bool // answers, with no vLLM sample
	foreign   bool // answers, and is not the server that the command starts
	vacant    bool // nobody listened there before the start
	base      baseState
	baseAt    time.Time
	fullAt    time.Time // when the last good full page was asked for
	goodAt    time.Time // when the last good reading was
	failedAt  time.Time // when the last request that failed was
	lastPhase phase     // of the last good full page
	pace      pace
	ledger    *ledger
	tokens    float64
	running   float64
	// fullTokens are the tokens, and activeAtFull the seconds of activity, as of
	// the last full page.
	fullTokens, activeAtFull float64
	drained                  bool  // idle, with tokens counted since the last full page
	lastError                error // of the latest request that failed
	lastCounted              error // of the latest that counts as an error
	version                  string
	questions                [questions]standingQuestion
	wondering                bool  // questions are under way
	process                  int   // rises with each restart of the process behind it
	maxNumSeqs               int   // of each of its engines; 0 where it is not known
	omni                     bool  // polls ask for vllm-omni's gauges too
	partial                  error // what the last page from files lacks
	recorded                 bool  // a record of the files is under way

	bytes         int64 // that the latest answer had
	count, errors int64
	firstAt       time.Time
	maxGap        time.Duration
	allWalls      walls
}

func newEndpoint(p *Prober, index int, t Target) *endpoint {
	l := newLedger()
	e := &endpoint{
		p: p, index: index, target: t, ledger: l, maxNumSeqs: t.MaxNumSeqs,
		turn: make(chan struct{}, 1),
	}
	if t.Started {
		e.base = baseZero
	}
	if t.Dir != "" {
		e.files = multiproc.New(t.Dir, wantedInFiles)
		e.pace.filter = filterWorks
		return e
	}
	e.client = newClient(t, p.cfg.Headers, p.cfg.CA)
	e.parser = exposition.NewParser(isWanted)
	e.pace.interval, e.pace.credit = p.cfg.Interval, firstCredit
	if t.ExactPath || t.URL.RawQuery != "" {
		e.pace.filter = filterRefused
	}
	return e
}

var (
	errStranger = errors.New("the server answers, but exports no vllm: samples (is it vLLM, and not started with --disable-log-stats?)")
	errEmpty    = errors.New("the server answers with an empty page: no vllm: samples")
	errLacking  = errors.New("the server does not answer a poll for some names any more as it did before")
	errForeign  = errors.New("another server answers there, which was started before the command")
	errEnded    = errors.New("no answer until the command had ended")
)

// read asks once and takes in the answer. It waits for its turn no longer than ctx.
func (e *endpoint) read(ctx context.Context, full bool, ph phase) (applied, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return applied{}, fmt.Errorf("asking %s: another request is under way", e.target.Name())
	}
	at := time.Now()
	var a answer
	if e.files != nil {
		e.takeRecorded()
		a = e.readFiles(full)
	} else {
		a = e.client.metrics(ctx, !full, e.parse)
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.bytes = a.bytes
	got, err := applied{}, a.err
	if err == nil {
		got, err = e.take(at, a, full, ph)
	}
	switch {
	case ph == during && err != nil && refused(err):
		e.pace.asked(at, 0, full, true) // nobody was there to bear a cost
	case ph == during:
		e.pace.asked(at, a.wall, full, err != nil)
	case err == nil:
		// The budget is for what goes on by itself; the cost is known from all.
		e.pace.full.add(a.wall)
	}
	if err != nil {
		e.failed(ctx, at, a, err, full, ph)
	}
	return got, err
}

func (e *endpoint) parse(r io.Reader) error {
	e.parser.OpenMetrics = exposition.IsOpenMetrics(e.client.contentType)
	if err := e.parser.ParseReader(r, &e.page); err != nil {
		return fmt.Errorf("its page cannot be read: %w", err)
	}
	return nil
}

// failed puts a request that failed into the books. The Prober's lock is held.
func (e *endpoint) failed(ctx context.Context, at time.Time, a answer, err error, full bool, ph phase) {
	if errors.Is(ctx.Err(), context.Canceled) {
		// Our own doing: it must not hide what went wrong before.
		if e.lastError == nil {
			e.lastError = fmt.Errorf("asking %s: %w", e.target.Name(), errEnded)
		}
		return
	}
	// What ended because our own time was over has less to tell than a failure
	// before it.
	telling := ctx.Err() == nil || e.lastError == nil || e.up && e.failedAt.Before(e.goodAt)
	if telling {
		e.lastError = err
	}
	e.failedAt = at
	e.stranger = e.stranger && a.err == nil // no page: it may be starting up
	switch {
	case !full && e.pace.filter == filterUntried && a.reached:
		e.pace.filter = filterRefused // a try of ours, not a failure of the engine
	case refused(err), errors.Is(err, multiproc.ErrCleared):
		// The engine is known not to be up, or to clear away at its exit.
		e.p.gauges[e.target.Origin].gone(e.index)
	case e.up && (ph != after || a.reached):
		e.errors++
		if telling || e.lastCounted == nil {
			e.lastCounted = err
		}
	}
}

// take puts the parsed page into the books. The Prober's lock is held.
func (e *endpoint) take(at time.Time, a answer, full bool, ph phase) (applied, error) {
	content := e.ledger.open(&e.page, full)
	if e.client != nil && content.vllm && e.client.polls != e.ledger.spelling {
		e.client.poll(e.ledger.spelling, e.omni)
	}
	if e.files != nil {
		e.partial = a.partial
	} else if !full {
		switch {
		case content.bulk && content.polled:
			full = true // the whole page, whatever was asked for
			e.pace.unfiltered()
		case content.polled && !content.bulk:
			e.pace.filter, e.pace.whole = filterWorks, 0
		case e.pace.filter == filterUntried:
			return applied{}, fmt.Errorf("asking %s: %w", e.target.Name(), errLacking)
		case content.vllm:
			return applied{}, fmt.Errorf("asking %s: %w", e.target.Name(), errLacking)
		}
	}
	if !content.vllm {
		e.stranger = !e.up
		err := errStranger
		if a.bytes == 0 {
			err = errEmpty
		}
		return applied{}, fmt.Errorf("asking %s: %w", e.target.Name(), err)
	}
	if !e.up {
		if e.target.Started && e.olderThanRun() {
			e.stranger, e.foreign = true, true
			return applied{}, fmt.Errorf("asking %s: %w", e.target.Name(), errForeign)
		}
		e.setBase(at, ph)
	}
	fresh := !e.up
	e.up, e.stranger = true, false
	e.ledger.whole = a.whole
	got := e.ledger.apply(&e.page, full, fresh && e.base != baseZero)
	if got.restarted {
		e.forget()
	}
	if !e.omni {
		if e.omni, _ = e.ledger.hasOmni(); e.omni && e.client != nil {
			e.client.poll(e.ledger.spelling, true)
		}
	}
	e.p.found(e.target.Origin)
	gauges := e.p.gauges[e.target.Origin]
	gauges.add(e.index, at, got.gauges, full, ph == during || ph == shutdown, got.restarted)
	e.countReading(at, a.wall)
	tokens, running := e.ledger.tokens, gauges.runningNow(e.index)
	if !fresh && (tokens > e.tokens || running > 0 || e.running > 0) {
		from := e.goodAt
		if got.restarted && e.failedAt.After(from) {
			from = e.failedAt // it was not up before
		}
		e.p.activity[e.target.Origin].add(from, at, e.p.horizon(e.target.Origin))
	}
	e.tokens, e.running = tokens, running
	e.goodAt = at
	if full {
		e.fullAt, e.lastPhase, e.fullTokens = at, ph, tokens
		e.activeAtFull = e.p.activity[e.target.Origin].seconds()
	}
	e.drained = tokens != e.fullTokens && !gauges.busyNow(e.index)
	return got, nil
}

// setBase decides, at the first answer, what counters count from.
func (e *endpoint) setBase(at time.Time, ph phase) {
	e.baseAt = at
	switch {
	case ph == before:
		e.base = baseScraped
	case e.base == baseZero:
	case e.vacant || e.youngerThanRun():
		e.base = baseZero
	default:
		// Something listened before the start and was no engine, or nobody looked:
		// only a process that is younger than the run counts from zero.
		e.base = baseLate
	}
	if e.base == baseZero {
		e.baseAt = e.p.started
	}
}

// youngerThanRun says whether the page tells that its process started inside the run.
func (e *endpoint) youngerThanRun() bool {
	start, ok := e.processStart()
	return ok && start > float64(e.p.started.UnixNano())/1e9
}

// startSlack is how far process_start_time_seconds may lie before the truth: it
// counts from the boot time, which the kernel gives in whole seconds.
const startSlack = 2

// olderThanRun says whether the page tells that its process was there before the run.
func (e *endpoint) olderThanRun() bool {
	start, ok := e.processStart()
	return ok && !e.p.started.IsZero() && start < float64(e.p.started.UnixNano())/1e9-startSlack
}

// processStart reads the start of the process that the page tells of, in Unix time.
func (e *endpoint) processStart() (seconds float64, ok bool) {
	for i := range e.page.Samples {
		if s := &e.page.Samples[i]; s.Name == processStartName {
			return s.Value, true
		}
	}
	return 0, false
}

func (e *endpoint) countReading(at time.Time, wall time.Duration) {
	if e.count == 0 {
		e.firstAt = at
	} else {
		e.maxGap = max(e.maxGap, at.Sub(e.goodAt))
	}
	e.count++
	e.allWalls.add(wall)
}

// plan says how long to wait from now on, and whether the next request is for a
// full page. The Prober's lock is held.
func (e *endpoint) plan() (wait time.Duration, full bool) {
	if e.files != nil {
		return e.planFiles()
	}
	wait, full = e.pace.next(time.Now(), standing{e.up, e.stranger, e.drained})
	if e.pace.interval == 0 && e.p.cfg.Wait != nil {
		wait = budget.AlignToTick(max(wait, min(e.p.cfg.Wait(), e.longestWait())))
	}
	return wait, full
}

// longestWait is how long the next reading may be put off for what it costs ourselves:
// at 500 times its CPU time it is 0.2 % of a core. The engine may end at any time, and
// what was not read then is lost. The Prober's lock is held.
func (e *endpoint) longestWait() time.Duration {
	const request, perByte, factor = 200 * time.Microsecond, 3 * time.Nanosecond, 500
	return factor * (request + time.Duration(e.bytes)*perByte)
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
			e.lastCounted = e.lastError
		}
	}()
	f()
}

// follow polls until ctx ends or a better origin has yielded figures.
func (e *endpoint) follow(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer e.stopRecording()
	e.p.mu.Lock()
	_, full := e.plan()
	e.p.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if e.p.outdone(e) {
			return
		}
		if !e.recording(ctx, full) {
			// The verdict is in the endpoint's books; a failed poll is followed by the next.
			_, err := e.read(ctx, full, during)
			if err == nil {
				e.wonder(false)
			}
		}
		e.p.mu.Lock()
		wait, next := e.plan()
		e.p.mu.Unlock()
		full = next
		timer.Reset(wait)
	}
}

// settle reads until the engine is idle and nothing moves any more between two
// full pages, or until ctx ends. It reports whether that was reached.
func (e *endpoint) settle(ctx context.Context) (settled bool) {
	if e.files != nil { // whoever wrote them has ended
		_, err := e.read(ctx, true, after)
		return err == nil
	}
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
