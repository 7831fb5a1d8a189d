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
	"github.com/vobs/vobs/probe/dcgm"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/multiproc"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/probe/window"
)

// phase is the part of the run in which a reading is taken.
type phase int

const (
	phaseBefore       phase = iota // before the command starts: the baseline of counters
	phaseDuring                    // while the command runs
	phaseBeforeSignal              // while it runs, before a shutdown signal is forwarded
	phaseAfter                     // after the command has ended
)

// endpoint is one target and what has been read from it. The Prober's lock guards the
// fields below mu.
type endpoint struct {
	p      *Prober
	index  int
	target scrape.Target
	client *scrape.Client    // nil for files
	files  *multiproc.Reader // nil for a server
	parser *exposition.Parser
	page   exposition.Page
	// sem is held while reading: the client and the parser serve one request at a time.
	sem  chan struct{}
	self scrape.SelfMeter

	// mu is the Prober's.
	up         bool           // has returned vLLM samples
	busy       bool           // requests were running at the last reading, if cfg.Activity is set
	notVLLM    bool           // responds, without any vLLM sample
	silent     bool           // has responded without any vLLM sample, and never with one
	identified bool           // has returned an answer about its configuration that only vLLM returns
	foreign    bool           // responds, but is not the server that the command starts
	exporter   *dcgm.Activity // of the pages of a dcgm-exporter; nil if it has returned none
	portFree   bool           // nothing listened there before the start, or at a poll before the first page
	base       aggregate.Base
	baseAt     time.Time
	fullAt     time.Time // when the last good full page was rendered
	lastAt     time.Time // when the last good reading was
	// baseWritten and fullWritten are the times between which the page at baseAt, and the one
	// at fullAt, were written.
	baseWritten, fullWritten [2]time.Time
	failedAt                 time.Time // when the last failed request began
	lastPhase                phase     // of the last good full page
	schedule                 scrape.Schedule
	counters                 *window.Counters
	tokens                   float64 // all tokens as of the last good reading
	running                  float64 // running requests as of the last good reading
	// fullTokens are the tokens, and activeAtFull the active seconds, as of the last full
	// page.
	fullTokens, activeAtFull float64
	// atBase and atFull are the requests on the base page and on the last full page.
	atBase, atFull window.Load
	working        bool  // as of the last good reading; see scrape.TargetStatus
	idleSinceFull  bool  // idle, and has counted tokens since the last full page
	lastError      error // of the latest failed request
	lastCounted    error // of the latest failed request that errors counts
	version        string
	answers        [numConfigQueries]aggregate.Answer
	querying       bool // configuration queries are in progress
	restarts       int  // of the process behind the address
	// answersBefore are those of the process before the last restart; changed describes how
	// answers differ between two processes that followed each other, by what differs.
	answersBefore       [numConfigQueries]aggregate.Answer
	changed             map[string]string
	replacedTokens      window.KVTokens
	maxNumSeqs          int        // of each of its engines; 0 if unknown
	maxNumBatchedTokens int        // the same
	kvRole              string     // in its command line; "" if unknown
	omni                bool       // polls request vllm-omni's gauges too
	partial             error      // what the last page from files lacks
	recording           bool       // the files are being recorded
	gaugeFiles          gaugeFiles // of a server whose gauges are in files

	count, errors int64 // good readings, and failed ones while the engine was up
	firstAt       time.Time
	maxGap        time.Duration

	// duplicateOf is the endpoint at which the same server is read; nil if this one counts.
	// duplicateForSure is set if that cannot change.
	duplicateOf      *endpoint
	duplicateForSure bool
	sameListener     []*endpoint // that the same process listens for
	sightings        []sighting
	mismatches       int // in a row, with the pages of duplicateOf
	latencies        scrape.LatencyRing
	tokenCurves      window.TokenCurves
}

func newEndpoint(p *Prober, index int, t scrape.Target) *endpoint {
	e := &endpoint{
		p: p, index: index, target: t, counters: window.NewCounters(), maxNumSeqs: t.MaxNumSeqs, maxNumBatchedTokens: t.MaxNumBatchedTokens, kvRole: t.KVRole,
		changed: map[string]string{}, replacedTokens: window.KVTokens{},
		sem: make(chan struct{}, 1),
	}
	e.gaugeFiles.e = e
	if t.Started {
		e.base = aggregate.BaseZero
	}
	if t.Dir != "" {
		e.files = multiproc.New(t.Dir, wantedInFiles)
		e.schedule = scrape.NewSchedule(0)
		if p.cfg.Engines != nil {
			e.files.SetEngines(p.cfg.Engines(t.Dir))
		}
		e.schedule.Filter = scrape.FilterWorks
		return e
	}
	e.client = p.cfg.newClient(t)
	e.client.Dial = p.cfg.Dial
	e.parser = exposition.NewParser(wantedFrom(t))
	e.schedule, e.self.CPU = scrape.NewSchedule(p.cfg.Interval), p.cfg.CPU
	if t.ExactPath || t.URL.RawQuery != "" {
		e.schedule.Filter = scrape.FilterRefused
	}
	return e
}

// isLocal reports whether the engine runs on this host.
func (e *endpoint) isLocal() bool {
	_, ok := e.target.Loopback()
	return ok || e.target.Started
}

var (
	errNotVLLM  = errors.New("the server responds, but exports no vllm: samples (is it vLLM, and not started with --disable-log-stats?)")
	errEmpty    = errors.New("the server returned an empty page: no vllm: samples")
	errNoFilter = errors.New("the server no longer answers requests filtered by name[] as it did before")
	errForeign  = errors.New("another server responds there, which was started before the command")
	errEnded    = errors.New("no response before the command ended")
)

// scrapeError wraps what is wrong with a page as [scrape.Client.Scrape] does.
func (e *endpoint) scrapeError(err error) error {
	return fmt.Errorf("scraping %s: %w", e.target.Name(), err)
}

// read takes one reading and ingests it. It waits for another reading in progress no
// longer than ctx.
func (e *endpoint) read(ctx context.Context, full bool, ph phase) (window.Delta, error) {
	select {
	case e.sem <- struct{}{}:
		defer func() { <-e.sem }()
	case <-ctx.Done():
		return window.Delta{}, e.scrapeError(errors.New("another request is in progress"))
	}
	engine := e.client != nil && !e.isExporter()
	if engine {
		e.gaugeFiles.beforePage(full, ph)
	}
	at := time.Now()
	var resp scrape.Response
	if e.files != nil {
		e.ingestRecorded()
		resp = e.readFiles(full)
	} else {
		e.self.Begin(at)
		resp = e.client.Scrape(ctx, !full, e.parse)
		if resp.Err == nil && engine {
			e.findListener()
			e.gaugeFiles.afterPage(ph)
		}
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	delta, err := window.Delta{}, resp.Err
	if err == nil {
		rendered := at
		if e.client != nil {
			rendered = e.rendered(at, resp.Latency, full)
		}
		delta, err = e.ingest(rendered, resp, full, ph)
	}
	self := time.Duration(0)
	if e.files == nil {
		self = e.self.End(time.Now())
	}
	switch {
	case ph == phaseDuring:
		e.schedule.Record(scrape.Poll{
			Began: at, Latency: resp.Latency, Self: self, Full: full,
			Failed: err != nil, Refused: err != nil && scrape.IsRefused(err), TimedOut: resp.TimedOut,
		})
	case err == nil:
		// The budget is for polls only, but every full page shows what one costs.
		e.schedule.FullLatency.Add(resp.Latency)
	}
	if err != nil {
		e.recordFailure(ctx, at, resp, err, full, ph)
	}
	return delta, err
}

func (e *endpoint) parse(r io.Reader) error {
	e.parser.OpenMetrics = exposition.IsOpenMetrics(e.client.ContentType)
	if err := e.parser.ParseReader(r, &e.page); err != nil {
		return fmt.Errorf("its page cannot be read: %w", err)
	}
	return nil
}

// recordFailure updates the endpoint's state after a failed request. The Prober's lock is
// held.
func (e *endpoint) recordFailure(ctx context.Context, at time.Time, resp scrape.Response, err error, full bool, ph phase) {
	if errors.Is(ctx.Err(), context.Canceled) {
		// vobs ended the request itself: that must not hide an earlier failure.
		if e.lastError == nil {
			e.lastError = e.scrapeError(errEnded)
		}
		return
	}
	// A request that ran out of vobs's own time explains less than an earlier failure.
	explains := ctx.Err() == nil || e.lastError == nil || e.up && e.failedAt.Before(e.lastAt)
	// That a server without samples has ended explains less than that it had none.
	if explains && !(e.silent && !resp.Reached) {
		e.lastError = err
	}
	e.failedAt = at
	e.notVLLM = e.notVLLM && resp.Err == nil // no page at all: it may be starting up
	switch {
	case !full && e.schedule.Filter == scrape.FilterUntried && resp.Reached:
		e.schedule.Filter = scrape.FilterRefused // the filter is at fault, not the engine
	case scrape.IsRefused(err), errors.Is(err, multiproc.ErrCleared):
		// The engine is known to be down, or to be removing its files at its exit.
		e.portFree = e.portFree || !e.up
		e.p.gauges[e.target.Origin].Clear(e.index, at)
		e.gaugeFiles.serverEnded()
		e.working = false
		e.reportGone(at)
	case e.up && (ph != phaseAfter || resp.Reached):
		e.errors++
		if explains || e.lastCounted == nil {
			e.lastCounted = err
		}
	}
}

// ingest adds the parsed page, rendered at a time, to the counters and gauges. The
// Prober's lock is held.
func (e *endpoint) ingest(at time.Time, resp scrape.Response, full bool, ph phase) (window.Delta, error) {
	written := e.written(at, resp.Latency, full)
	var created []float64
	if e.client != nil {
		created = createdTimes(&e.page)
	}
	activity := dcgm.Take(&e.page)
	content := e.counters.Classify(&e.page, full)
	if !content.VLLM && !e.up && (!activity.Empty() || e.exporter != nil) {
		return window.Delta{}, e.ingestExporter(at, activity, ph)
	}
	if e.client != nil && content.VLLM && e.client.Naming != e.counters.Naming {
		e.client.SetFilter(e.counters.Naming, e.omni)
	}
	if e.files != nil {
		e.partial = resp.Partial
	} else if !full {
		switch {
		case content.HasHistogram && content.HasPollNames:
			full = true // the server ignored the filter
			e.schedule.RecordUnfiltered()
		case content.HasPollNames && !content.HasHistogram:
			e.schedule.RecordFiltered()
		case e.schedule.Filter == scrape.FilterUntried, content.VLLM:
			return window.Delta{}, e.scrapeError(errNoFilter)
		}
	}
	if !content.VLLM {
		e.notVLLM = !e.up
		if resp.Bytes == 0 {
			return window.Delta{}, e.scrapeError(errEmpty)
		}
		e.silent = !e.up
		return window.Delta{}, e.scrapeError(errNotVLLM)
	}
	if !e.up {
		if e.target.Started && e.olderThanRun() {
			e.notVLLM, e.foreign = true, true
			return window.Delta{}, e.scrapeError(errForeign)
		}
		e.setBase(at, ph)
		e.baseWritten = written
		if e.base == aggregate.BaseZero {
			e.baseWritten = [2]time.Time{e.baseAt, e.baseAt}
		}
	}
	first := !e.up
	e.up, e.notVLLM, e.silent = true, false, false
	delta := e.counters.Apply(&e.page, window.Reading{Full: full, Complete: resp.Complete, Baseline: first && e.base != aggregate.BaseZero})
	if delta.Restarted {
		e.replacedTokens.AddReplaced(e.p.gauges[e.target.Origin], e.index, delta.Replaced)
		e.clearAnswers()
	}
	if first || delta.Restarted {
		e.schedule.RecordSeen(at)
	}
	if !e.omni {
		if e.omni, _ = e.counters.HasOmni(); e.omni && e.client != nil {
			e.client.SetFilter(e.counters.Naming, true)
		}
	}
	e.p.markYielded(e.target.Origin)
	if full {
		e.see(at, resp.Latency, created, first)
	}
	gauges := e.p.gauges[e.target.Origin]
	if first && e.base == aggregate.BaseZero && !e.p.started.IsZero() && e.failedAt.Before(e.p.started) {
		gauges.Clear(e.index, e.p.started) // the process did not exist yet
	}
	if e.duplicateOf != nil {
		delta.Gauges = nil // they are those of the other endpoint
	} else {
		gauges.Add(e.index, window.GaugePage{
			At: at, Written: written, Gauges: delta.Gauges, Full: full, During: ph != phaseBefore,
			Restarted: delta.Restarted, TokensRose: e.counters.Tokens > e.tokens, Covers: e.gaugeFiles.coversPage,
		})
		e.recordGauges(at, full, e.gaugeFiles.coversPage)
		e.gaugeFiles.pageCounts(at, delta.Restarted)
	}
	load := e.gaugeFiles.load(gauges.LoadNow(e.index))
	if first {
		e.atBase = load
	}
	e.countReading(at, resp.Latency)
	tokens, running := e.counters.Tokens, gauges.RunningNow(e.index)
	counted := !first || e.base == aggregate.BaseZero && !e.p.started.IsZero() // what came before this page
	from := e.lastAt
	if first {
		from = e.p.started
	}
	if (first || delta.Restarted) && e.failedAt.After(from) {
		from = e.failedAt // it was down until then
	}
	if e.duplicateOf == nil && !e.p.started.IsZero() {
		e.tokenCurves.Add(e.counters, from.Sub(e.p.started), at.Sub(e.p.started), counted, e.recorder(at))
	}
	if counted && e.duplicateOf == nil && (tokens > e.tokens || running > 0 || e.running > 0) {
		e.p.active[e.target.Origin].Add(from, at, e.p.watermark(e.target.Origin), running > 0 && e.running > 0 && !delta.Restarted)
	}
	if !counted {
		from = at
	}
	e.reportActivity(from, at, running > 0, counted && tokens > e.tokens && running == 0 && e.running == 0)
	e.working = gauges.BusyNow(e.index) || !first && tokens > e.tokens
	e.tokens, e.running = tokens, running
	e.lastAt = at
	if full {
		e.fullAt, e.fullWritten, e.lastPhase, e.fullTokens = at, written, ph, tokens
		e.activeAtFull = e.p.active[e.target.Origin].Seconds()
		e.atFull = load
	}
	e.idleSinceFull = e.duplicateOf == nil && tokens != e.fullTokens && !gauges.BusyNow(e.index)
	return delta, nil
}

// rendered returns when a server rendered a page, as an estimate; the request began at a time.
func (e *endpoint) rendered(began time.Time, latency time.Duration, full bool) time.Time {
	return began.Add(latency - e.schedule.ReturnTrip(full, latency))
}

// written returns the times between which a page was written that is taken to be of a time.
func (e *endpoint) written(at time.Time, latency time.Duration, full bool) [2]time.Time {
	if e.client == nil {
		return [2]time.Time{at, at.Add(latency)}
	}
	back := e.schedule.ReturnTrip(full, latency)
	return [2]time.Time{at.Add(back - latency), at.Add(back)}
}

// setBase decides, at the first good page, what counters count from.
func (e *endpoint) setBase(at time.Time, ph phase) {
	e.baseAt = at
	switch {
	case ph == phaseBefore:
		e.base = aggregate.BaseScraped
	case e.base == aggregate.BaseZero:
	case e.portFree && !e.olderThanRun() || e.youngerThanRun():
		e.base = aggregate.BaseZero
	default:
		// Something listened there all the time that was no engine, or the engine is older than
		// the run and was behind a tunnel: what it did before this page is unknown.
		e.base = aggregate.BaseLate
	}
	if e.base == aggregate.BaseZero {
		e.baseAt = e.p.started
	}
}

// youngerThanRun reports whether the page shows that its process started inside the run.
func (e *endpoint) youngerThanRun() bool {
	start, ok := e.processStart()
	return ok && start > float64(e.p.started.UnixNano())/1e9
}

// startSlack is how many seconds process_start_time_seconds may lie before the true
// start: it is relative to the boot time, which the kernel reports in whole seconds.
const startSlack = 2

// olderThanRun reports whether the page shows that its process started before the run.
func (e *endpoint) olderThanRun() bool {
	start, ok := e.processStart()
	return ok && !e.p.started.IsZero() && start < float64(e.p.started.UnixNano())/1e9-startSlack
}

// processStart returns the page's process_start_time_seconds, in Unix time.
func (e *endpoint) processStart() (seconds float64, ok bool) {
	for i := range e.page.Samples {
		if s := &e.page.Samples[i]; s.Name == metrics.ProcessStartName {
			return s.Value, true
		}
	}
	return 0, false
}

// countReading counts a good reading. It must precede the update of lastAt.
func (e *endpoint) countReading(at time.Time, latency time.Duration) {
	if e.count == 0 {
		e.firstAt = at
	} else {
		e.maxGap = max(e.maxGap, at.Sub(e.lastAt))
	}
	e.count++
	e.latencies.Add(latency)
}

// nextRead returns how long to wait from now on, and whether the next reading is of the
// full page. The Prober's lock is held.
func (e *endpoint) nextRead() (wait time.Duration, full bool) {
	if e.files != nil {
		return e.nextFileRead()
	}
	if e.duplicateOf != nil {
		return budget.AlignToTick(duplicateInterval), true
	}
	status := scrape.TargetStatus{Up: e.up, NotVLLM: e.notVLLM, Exporter: e.isExporter(), Working: e.working, IdleSinceFull: e.idleSinceFull, Servers: e.p.polledServers()}
	if e.p.cfg.Wait != nil {
		status.Overdrawn = e.p.cfg.Wait()
	}
	wait, full = e.schedule.Next(time.Now(), status)
	switch {
	case status.Exporter:
		wait = budget.AlignToTick(wait)
	case e.schedule.Interval != 0:
	case status.Servers > 1:
		wait = e.schedule.AlignTo(e.p.started, time.Now(), wait)
	case e.p.cfg.Wait != nil && wait >= minAligned:
		wait = budget.AlignBack(wait) // a longer one would make a gap
	}
	return wait, full
}

// minAligned is the shortest wait between polls that shares a wake-up with other work.
const minAligned = 200 * time.Millisecond

// measureRoundTrip measures the round trip to the server if that makes a difference to
// the schedule.
func (e *endpoint) measureRoundTrip(ctx context.Context) {
	if e.client == nil {
		return
	}
	e.p.mu.Lock()
	wanted := e.schedule.WantsRoundTrip(time.Now())
	e.p.mu.Unlock()
	if !wanted {
		return
	}
	select {
	case e.sem <- struct{}{}:
		defer func() { <-e.sem }()
	case <-ctx.Done():
		return
	}
	latency, err := e.client.RoundTrip(ctx)
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	if err == nil {
		e.schedule.RecordRoundTrip(time.Now(), latency)
	}
}

// recoverPanic calls f. A panic in it ends this endpoint's readings, not vobs, which
// wraps the command.
func (e *endpoint) recoverPanic(f func()) {
	defer func() {
		if p := recover(); p != nil {
			e.p.mu.Lock()
			defer e.p.mu.Unlock()
			e.errors++
			e.lastError = fmt.Errorf("an error in vobs while reading %s: %v: please report it", e.target.Name(), p)
			e.lastCounted = e.lastError
		}
	}()
	f()
}

// loop polls until ctx ends or the endpoint is superseded.
func (e *endpoint) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer e.stopRecording()
	e.p.mu.Lock()
	_, full := e.nextRead()
	e.p.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if e.p.superseded(e) || e.p.isSure(e) {
			return
		}
		if !e.pollRecording(ctx, full) {
			// read records its own failures; polling goes on after one.
			_, err := e.read(ctx, full, phaseDuring)
			if err == nil || errors.Is(err, errNotVLLM) {
				e.queryConfig(false)
				e.measureRoundTrip(ctx)
			}
		}
		e.p.mu.Lock()
		wait, nextFull := e.nextRead()
		e.p.mu.Unlock()
		full = nextFull
		timer.Reset(wait)
	}
}

// settle reads full pages until the engine is idle and two in a row are equal, or until
// ctx ends. It reports whether the engine settled.
func (e *endpoint) settle(ctx context.Context) (settled bool) {
	if e.files != nil { // the processes that wrote them have ended
		_, err := e.read(ctx, true, phaseAfter)
		return err == nil
	}
	quiet := 0
	for pause := 100 * time.Millisecond; ; pause *= 2 { // less and less load on a busy server
		delta, err := e.read(ctx, true, phaseAfter)
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
			if busy || delta.Moved {
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
