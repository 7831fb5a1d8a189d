package probe

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/multiproc"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/probe/window"
)

const (
	// maxFileLooks is how often the files of a server are looked for: its processes may
	// still be starting. fileLookInterval is the least time between the first two looks; it
	// grows with their number.
	maxFileLooks     = 3
	fileLookInterval = time.Second
	// maxAllFileLooks bounds the looks for the files of all servers that follow each other
	// at an address: each goes over all processes of the host.
	maxAllFileLooks = 20
)

// ErrLookAgain is wrapped by an error of [Config.ServerFiles] if the search for the files has
// only begun: a further call continues it.
var ErrLookAgain = errors.New("the search for the server's files goes on")

// ServerFiles are the files through which the processes of a server on this host share
// their metrics.
type ServerFiles struct {
	// Dir is the directory (the server's PROMETHEUS_MULTIPROC_DIR), under a name that vobs
	// can open.
	Dir string
	// Writes reports whether a process of the server that is alive writes the named file of
	// the directory. process is the identifier in the file's name.
	Writes func(process, file string) bool
}

// gaugeFiles reads the polled gauges of a server from the files that its processes share,
// 20 times a second, while everything else comes from the server's page. With several API
// servers, the page may show only what one of them knows, and a busy server answers late.
//
// Each gauge has one source at a time. From the first reading of the files on, the page's
// value does not count; it counts again once the files are gone.
type gaugeFiles struct {
	e *endpoint

	// mu is held while the files are looked for or read. It is taken before the Prober's lock.
	mu        sync.Mutex
	reader    *multiproc.Reader // nil if there are no files
	counters  *window.Counters  // turns pages into readings of gauges
	page      exposition.Page
	looks     int // for the files of the present server
	allLooks  int
	nextLook  time.Time
	recording bool
	polling   bool // loop is running

	// The Prober's lock guards the fields below.
	metrics map[metrics.ID]bool // that come from the files; nil if none does
	foundAt time.Time           // when the files were found
	held    *window.GaugePage   // a reading that counts if the page does that is being read
	before  *window.Load        // when the request for that page was sent
	over    bool                // the server that wrote the files has ended
	used    bool                // a reading has counted during the run
}

// wantedGauge returns in which readings of a server's files a metric is wanted.
func wantedGauge(name string) multiproc.Wanted {
	if m, ok := metrics.Lookup(name); ok && m.Desc.Desc().Kind.IsGauge() && wantedInFiles(name) == multiproc.InPolls {
		return multiproc.InPolls
	}
	return multiproc.Never
}

// beforePage reads the files before a page of the server is requested. If no request ran
// then, none can have ended unseen by the page's counters.
func (g *gaugeFiles) beforePage(full bool, ph phase) {
	if g.e.p.cfg.ServerFiles == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closeIfOver()
	if ph == phaseBefore {
		g.look()
	}
	p := g.e.p
	p.mu.Lock()
	up := g.e.up
	p.mu.Unlock()
	g.read(full, !up, ph)
	p.mu.Lock()
	defer p.mu.Unlock()
	g.before = nil
	if up && g.metrics != nil {
		load := p.gauges[g.e.target.Origin].LoadNow(g.e.index)
		g.before = &load
	}
}

// afterPage looks for the files of a server that has returned a page, if they are unknown.
func (g *gaugeFiles) afterPage(ph phase) {
	if g.e.p.cfg.ServerFiles == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closeIfOver()
	if g.reader != nil {
		return
	}
	if g.look(); g.reader != nil {
		g.read(true, true, ph)
	}
}

// look looks for the files, unless that has been done too often. g.mu is held.
func (g *gaugeFiles) look() {
	now := time.Now()
	if g.reader != nil || g.looks >= maxFileLooks || g.allLooks >= maxAllFileLooks || now.Before(g.nextLook) || !g.useful() {
		return
	}
	g.looks++
	g.allLooks++
	g.nextLook = now.Add(time.Duration(g.looks) * fileLookInterval)
	files, err := g.e.p.cfg.ServerFiles(g.e.target)
	switch {
	case errors.Is(err, ErrLookAgain):
		g.looks--
		g.allLooks--
		g.nextLook = now.Add(fileLookInterval)
		return
	case err != nil:
		return
	case files == nil:
		g.looks = maxFileLooks
		return
	}
	g.reader, g.counters = multiproc.New(files.Dir, wantedGauge), window.NewCounters()
	g.reader.OnlyGaugesOf(files.Writes)
	g.e.p.mu.Lock()
	defer g.e.p.mu.Unlock()
	g.foundAt = time.Now()
}

// useful reports whether files of the server would count for this endpoint. The directory of
// a server that the command started is an endpoint of its own, which has all figures.
func (g *gaugeFiles) useful() bool {
	e := g.e
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	return e.duplicateOf == nil && (!e.target.Started || e.target.Origin == scrape.FromFlag)
}

// read takes in the rounds that were recorded, and reads the files if direct is set or
// nothing is being recorded. hold keeps the reading until the page of the server is known to
// count. g.mu is held.
func (g *gaugeFiles) read(direct, hold bool, ph phase) {
	if g.reader == nil {
		return
	}
	g.recording = g.drain() && g.recording
	during := ph != phaseBefore
	if direct || !g.recording {
		at := time.Now()
		if err := g.reader.Read(&g.page, false); err != nil || !g.add(at, hold, during) {
			g.close()
			return
		}
	}
	if during && !hold {
		g.startPolling()
	}
}

// drain takes in the rounds that were recorded. It reports whether all were valid; otherwise
// the recording has ended. g.mu is held.
func (g *gaugeFiles) drain() (valid bool) {
	for {
		at, _, ok, err := g.reader.Recorded(&g.page)
		if !ok {
			return true
		}
		if err != nil || !g.add(at, false, true) {
			return false
		}
	}
}

// add adds the gauges on the files' page. ok is false if the files are not, or no more, those
// of a vLLM server that counts. g.mu is held.
func (g *gaugeFiles) add(at time.Time, hold, during bool) (ok bool) {
	g.counters.Classify(&g.page, false)
	gauges := g.counters.Apply(&g.page, window.Reading{Complete: true}).Gauges
	e := g.e
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	if !window.Shows(gauges, metrics.RequestsRunning) {
		return g.metrics == nil // an engine sets it with its first step
	}
	if g.over || e.duplicateOf != nil {
		return false
	}
	if g.metrics == nil {
		g.metrics = map[metrics.ID]bool{}
		e.p.gauges[e.target.Origin].ChangeSource(e.index)
	}
	for id := range metrics.NumMetrics {
		if window.Shows(gauges, id) {
			g.metrics[id] = true
		}
	}
	page := window.GaugePage{At: at, Gauges: gauges, During: during, Covers: func(id metrics.ID) bool { return g.metrics[id] }}
	if hold {
		page.Gauges = slices.Clone(gauges)
		g.held = &page
		return true
	}
	g.count(page)
	return true
}

// count adds a reading to the endpoint's gauges. The Prober's lock is held.
func (g *gaugeFiles) count(page window.GaugePage) {
	g.e.p.gauges[g.e.target.Origin].Add(g.e.index, page)
	g.e.recordGauges(page.At, false, page.Covers)
	g.used = g.used || page.During
}

// coversPage reports whether a gauge on the server's page counts. The Prober's lock is held.
func (g *gaugeFiles) coversPage(id metrics.ID) bool { return !g.metrics[id] }

// pageCounts counts the reading that was held for a page of the server. restarted reports
// whether the page, requested at a time, shows another process than the one before. The
// Prober's lock is held.
func (g *gaugeFiles) pageCounts(at time.Time, restarted bool) {
	c := g.e.counters
	if restarted && g.foundAt.Before(at) || c.Naming != metrics.Native || c.Collector {
		g.serverEnded()
		return
	}
	if g.held != nil {
		g.count(*g.held)
		g.held = nil
	}
}

// load returns the requests while a page was requested, from those when it has been read:
// the engine was idle only if it was before and after. The Prober's lock is held.
func (g *gaugeFiles) load(after window.Load) window.Load {
	before := g.before
	g.before = nil
	if before == nil {
		return after
	}
	return window.Load{Known: after.Known && before.Known, Requests: max(after.Requests, before.Requests)}
}

// serverEnded ends the reading of the files. Another server may have others. The Prober's
// lock is held.
func (g *gaugeFiles) serverEnded() { g.over, g.metrics, g.held, g.before = true, nil, nil, nil }

// closeIfOver closes the files of a server that has ended. g.mu is held.
func (g *gaugeFiles) closeIfOver() {
	g.e.p.mu.Lock()
	over := g.over
	g.over = false
	g.e.p.mu.Unlock()
	if over {
		g.close()
		g.looks = 0
	}
}

// close ends the reading of the files: the server's page is the source of all gauges again.
// g.mu is held.
func (g *gaugeFiles) close() {
	if g.reader == nil {
		return
	}
	g.reader.StopRecord()
	g.reader, g.recording = nil, false
	g.e.p.mu.Lock()
	defer g.e.p.mu.Unlock()
	if g.metrics != nil {
		g.e.p.gauges[g.e.target.Origin].ChangeSource(g.e.index)
	}
	g.metrics, g.held, g.before = nil, nil, nil
}

// startPolling starts loop unless it is running. g.mu is held.
func (g *gaugeFiles) startPolling() {
	p := g.e.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.polling || p.finishing || p.started.IsZero() {
		return
	}
	g.polling = true
	p.polls.Add(1)
	go func() {
		defer p.polls.Done()
		g.e.recoverPanic(func() { g.loop(p.ctx) })
	}()
}

// loop reads the files until ctx ends, the files are gone or the endpoint is not needed.
func (g *gaugeFiles) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			g.stop()
			return
		case <-timer.C:
		}
		wait, ok := g.poll()
		if !ok {
			return
		}
		timer.Reset(wait)
	}
}

// poll reads the files, or what was recorded of them, and has them recorded until the next
// call after wait. ok is false if that is the end of loop.
func (g *gaugeFiles) poll() (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closeIfOver()
	if g.e.p.superseded(g.e) || g.e.p.isSure(g.e) {
		g.close()
	}
	if g.read(false, false, phaseDuring); g.reader == nil {
		g.polling = false
		return 0, false
	}
	if !g.inUse() {
		return budget.AlignToTick(filesIdleInterval), true
	}
	overdrawn := g.e.budgetWait()
	g.recording = g.reader.Record(recordInterval(overdrawn))
	return waitForFiles(overdrawn, g.recording), true
}

// inUse reports whether a gauge comes from the files.
func (g *gaugeFiles) inUse() bool {
	g.e.p.mu.Lock()
	defer g.e.p.mu.Unlock()
	return g.metrics != nil
}

// stop takes in the last rounds and ends the recording.
func (g *gaugeFiles) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.polling = false
	if g.reader != nil {
		g.drain()
		g.reader.StopRecord()
		g.recording = false
	}
}
