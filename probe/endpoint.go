package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/multiproc"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/probe/window"
)

// phase says when a reading is taken.
type phase int

const (
	before   phase = iota // before the command starts: counters count from it
	during                // while the command runs
	shutdown              // while it runs, before a shutdown signal goes on
	after                 // after its end
)

// endpoint is one address that is read. Its fields below mu belong to the
// Prober's lock.
type endpoint struct {
	p      *Prober
	index  int
	target scrape.Target
	client *scrape.Client    // nil where files are read
	files  *multiproc.Reader // nil where a server is asked
	parser *exposition.Parser
	page   exposition.Page
	// sem is held by the one who asks: the client and the parser serve one at a time.
	sem chan struct{}

	// mu is the Prober's.
	up             bool // has answered with vLLM samples
	notVLLM        bool // answers, with no vLLM sample
	foreign        bool // answers, and is not the server that the command starts
	portFreeBefore bool // nobody listened there before the start
	base           aggregate.Base
	baseAt         time.Time
	fullAt         time.Time // when the last good full page was asked for
	lastAt         time.Time // when the last good reading was
	failedAt       time.Time // when the last request that failed was
	lastPhase      phase     // of the last good full page
	schedule       scrape.Schedule
	counters       *window.Counters
	tokens         float64
	running        float64
	// fullTokens are the tokens, and activeAtFull the seconds of activity, as of
	// the last full page.
	fullTokens, activeAtFull float64
	idleSinceFull            bool  // idle, with tokens counted since the last full page
	lastError                error // of the latest request that failed
	lastCounted              error // of the latest that counts as an error
	version                  string
	answers                  [numConfigQueries]aggregate.Answer
	querying                 bool  // questions are under way
	process                  int   // rises with each restart of the process behind it
	maxNumSeqs               int   // of each of its engines; 0 where it is not known
	omni                     bool  // polls ask for vllm-omni's gauges too
	partial                  error // what the last page from files lacks
	recorded                 bool  // a record of the files is under way

	bytes         int64 // that the latest answer had
	count, errors int64
	firstAt       time.Time
	maxGap        time.Duration
	latencies     scrape.LatencyRing
}

func newEndpoint(p *Prober, index int, t scrape.Target) *endpoint {
	l := window.NewCounters()
	e := &endpoint{
		p: p, index: index, target: t, counters: l, maxNumSeqs: t.MaxNumSeqs,
		sem: make(chan struct{}, 1),
	}
	if t.Started {
		e.base = aggregate.BaseZero
	}
	if t.Dir != "" {
		e.files = multiproc.New(t.Dir, matchInFiles)
		e.schedule.Filter = scrape.FilterWorks
		return e
	}
	e.client = scrape.NewClient(t, p.cfg.Headers, p.cfg.CA)
	e.parser = exposition.NewParser(metrics.IsWanted)
	e.schedule.Interval, e.schedule.Credit = p.cfg.Interval, scrape.FirstCredit
	if t.ExactPath || t.URL.RawQuery != "" {
		e.schedule.Filter = scrape.FilterRefused
	}
	return e
}

var (
	errNotVLLM = errors.New("the server answers, but exports no vllm: samples (is it vLLM, and not started with --disable-log-stats?)")
	errEmpty   = errors.New("the server answers with an empty page: no vllm: samples")
	errLacking = errors.New("the server does not answer a poll for some names any more as it did before")
	errForeign = errors.New("another server answers there, which was started before the command")
	errEnded   = errors.New("no answer until the command had ended")
)

// read asks once and takes in the answer. It waits for its turn no longer than ctx.
func (e *endpoint) read(ctx context.Context, full bool, ph phase) (window.Delta, error) {
	select {
	case e.sem <- struct{}{}:
		defer func() { <-e.sem }()
	case <-ctx.Done():
		return window.Delta{}, fmt.Errorf("asking %s: another request is under way", e.target.Name())
	}
	at := time.Now()
	var a scrape.Response
	if e.files != nil {
		e.takeRecorded()
		a = e.readFiles(full)
	} else {
		a = e.client.Scrape(ctx, !full, e.parse)
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.bytes = a.Bytes
	got, err := window.Delta{}, a.Err
	if err == nil {
		got, err = e.ingest(at, a, full, ph)
	}
	switch {
	case ph == during && err != nil && scrape.IsRefused(err):
		e.schedule.Record(at, 0, full, true) // nobody was there to bear a cost
	case ph == during:
		e.schedule.Record(at, a.Latency, full, err != nil)
	case err == nil:
		// The budget is for what goes on by itself; the cost is known from all.
		e.schedule.FullLatency.Add(a.Latency)
	}
	if err != nil {
		e.failed(ctx, at, a, err, full, ph)
	}
	return got, err
}

func (e *endpoint) parse(r io.Reader) error {
	e.parser.OpenMetrics = exposition.IsOpenMetrics(e.client.ContentType)
	if err := e.parser.ParseReader(r, &e.page); err != nil {
		return fmt.Errorf("its page cannot be read: %w", err)
	}
	return nil
}

// failed puts a request that failed into the books. The Prober's lock is held.
func (e *endpoint) failed(ctx context.Context, at time.Time, a scrape.Response, err error, full bool, ph phase) {
	if errors.Is(ctx.Err(), context.Canceled) {
		// Our own doing: it must not hide what went wrong before.
		if e.lastError == nil {
			e.lastError = fmt.Errorf("asking %s: %w", e.target.Name(), errEnded)
		}
		return
	}
	// What ended because our own time was over has less to tell than a failure
	// before it.
	telling := ctx.Err() == nil || e.lastError == nil || e.up && e.failedAt.Before(e.lastAt)
	if telling {
		e.lastError = err
	}
	e.failedAt = at
	e.notVLLM = e.notVLLM && a.Err == nil // no page: it may be starting up
	switch {
	case !full && e.schedule.Filter == scrape.FilterUntried && a.Reached:
		e.schedule.Filter = scrape.FilterRefused // a try of ours, not a failure of the engine
	case scrape.IsRefused(err), errors.Is(err, multiproc.ErrCleared):
		// The engine is known not to be up, or to clear away at its exit.
		e.p.gauges[e.target.Origin].Clear(e.index)
	case e.up && (ph != after || a.Reached):
		e.errors++
		if telling || e.lastCounted == nil {
			e.lastCounted = err
		}
	}
}

// ingest puts the parsed page into the books. The Prober's lock is held.
func (e *endpoint) ingest(at time.Time, a scrape.Response, full bool, ph phase) (window.Delta, error) {
	content := e.counters.Classify(&e.page, full)
	if e.client != nil && content.VLLM && e.client.Filter != e.counters.Naming {
		e.client.SetFilter(e.counters.Naming, e.omni)
	}
	if e.files != nil {
		e.partial = a.Partial
	} else if !full {
		switch {
		case content.HasHistogram && content.HasPollNames:
			full = true // the whole page, whatever was asked for
			e.schedule.RecordUnfiltered()
		case content.HasPollNames && !content.HasHistogram:
			e.schedule.Filter, e.schedule.UnfilteredPages = scrape.FilterWorks, 0
		case e.schedule.Filter == scrape.FilterUntried:
			return window.Delta{}, fmt.Errorf("asking %s: %w", e.target.Name(), errLacking)
		case content.VLLM:
			return window.Delta{}, fmt.Errorf("asking %s: %w", e.target.Name(), errLacking)
		}
	}
	if !content.VLLM {
		e.notVLLM = !e.up
		err := errNotVLLM
		if a.Bytes == 0 {
			err = errEmpty
		}
		return window.Delta{}, fmt.Errorf("asking %s: %w", e.target.Name(), err)
	}
	if !e.up {
		if e.target.Started && e.olderThanRun() {
			e.notVLLM, e.foreign = true, true
			return window.Delta{}, fmt.Errorf("asking %s: %w", e.target.Name(), errForeign)
		}
		e.setBase(at, ph)
	}
	fresh := !e.up
	e.up, e.notVLLM = true, false
	got := e.counters.Apply(&e.page, window.Reading{Full: full, Complete: a.Complete, Baseline: fresh && e.base != aggregate.BaseZero})
	if got.Restarted {
		e.forget()
	}
	if !e.omni {
		if e.omni, _ = e.counters.HasOmni(); e.omni && e.client != nil {
			e.client.SetFilter(e.counters.Naming, true)
		}
	}
	e.p.markYielded(e.target.Origin)
	gauges := e.p.gauges[e.target.Origin]
	gauges.Add(e.index, at, got.Gauges, full, ph == during || ph == shutdown, got.Restarted)
	e.countReading(at, a.Latency)
	tokens, running := e.counters.Tokens, gauges.RunningNow(e.index)
	if !fresh && (tokens > e.tokens || running > 0 || e.running > 0) {
		from := e.lastAt
		if got.Restarted && e.failedAt.After(from) {
			from = e.failedAt // it was not up before
		}
		e.p.active[e.target.Origin].Add(from, at, e.p.watermark(e.target.Origin))
	}
	e.tokens, e.running = tokens, running
	e.lastAt = at
	if full {
		e.fullAt, e.lastPhase, e.fullTokens = at, ph, tokens
		e.activeAtFull = e.p.active[e.target.Origin].Seconds()
	}
	e.idleSinceFull = tokens != e.fullTokens && !gauges.BusyNow(e.index)
	return got, nil
}

// setBaseline decides, at the first answer, what counters count from.
func (e *endpoint) setBase(at time.Time, ph phase) {
	e.baseAt = at
	switch {
	case ph == before:
		e.base = aggregate.BaseScraped
	case e.base == aggregate.BaseZero:
	case e.portFreeBefore || e.youngerThanRun():
		e.base = aggregate.BaseZero
	default:
		// Something listened before the start and was no engine, or nobody looked:
		// only a process that is younger than the run counts from zero.
		e.base = aggregate.BaseLate
	}
	if e.base == aggregate.BaseZero {
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

// ProcessStart reads the start of the process that the page tells of, in Unix time.
func (e *endpoint) processStart() (seconds float64, ok bool) {
	for i := range e.page.Samples {
		if s := &e.page.Samples[i]; s.Name == metrics.ProcessStartName {
			return s.Value, true
		}
	}
	return 0, false
}

func (e *endpoint) countReading(at time.Time, wall time.Duration) {
	if e.count == 0 {
		e.firstAt = at
	} else {
		e.maxGap = max(e.maxGap, at.Sub(e.lastAt))
	}
	e.count++
	e.latencies.Add(wall)
}

// plan says how long to wait from now on, and whether the next request is for a
// full page. The Prober's lock is held.
func (e *endpoint) plan() (wait time.Duration, full bool) {
	if e.files != nil {
		return e.planFiles()
	}
	wait, full = e.schedule.Next(time.Now(), scrape.TargetStatus{Up: e.up, NotVLLM: e.notVLLM, IdleSinceFull: e.idleSinceFull})
	if e.schedule.Interval == 0 && e.p.cfg.Wait != nil {
		wait = budget.OnBeat(max(wait, min(e.p.cfg.Wait(), e.longestWait())))
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

// recoverPanic keeps an error of this package from costing the command its wrapper: it
// costs this endpoint's further readings.
func (e *endpoint) recoverPanic(f func()) {
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

// loop polls until ctx ends or a better origin has yielded figures.
func (e *endpoint) loop(ctx context.Context) {
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
		if e.p.superseded(e) {
			return
		}
		if !e.recording(ctx, full) {
			// The verdict is in the endpoint's books; a failed poll is followed by the next.
			_, err := e.read(ctx, full, during)
			if err == nil {
				e.queryConfig(false)
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
			if scrape.IsRefused(err) || ctx.Err() != nil {
				return false
			}
			quiet = 0
		} else {
			e.p.mu.Lock()
			busy := e.p.gauges[e.target.Origin].BusyNow(e.index)
			e.p.mu.Unlock()
			quiet++
			if busy || got.Moved {
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
