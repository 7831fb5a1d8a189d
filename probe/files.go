package probe

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/multiproc"
	"github.com/vobs/vobs/probe/scrape"
)

const (
	// filesInterval is the time between two readings of files: the engine takes no
	// part in them.
	filesInterval = 50 * time.Millisecond
	// filesIdleInterval is the same until there are some, and while the budget is spent: it
	// shares the beat's wake-up, and so costs next to nothing.
	filesIdleInterval = budget.Tick
)

// Directory is the target of a directory of prometheus_client's shared files
// (PROMETHEUS_MULTIPROC_DIR). fresh says that nothing in it stood before the run: its
// counters count from zero.
func Directory(dir string, fresh bool) scrape.Target {
	return scrape.Target{Origin: scrape.FromFiles, Dir: dir, URL: &url.URL{Scheme: "file", Path: dir}, Started: fresh}
}

// errNoFiles is for a directory that nobody has written to: nothing that could have
// counted was there. In vLLM the statistics of LLM() are off by default
// (EngineArgs.disable_log_stats in vllm/entrypoints/llm.py).
var errNoFiles = fmt.Errorf("no process has written vllm: metrics there (a script's LLM() does with --instrument --multiproc on, or with disable_log_stats=False): %w", syscall.ENOENT)

// matchInFiles says in which readings of files a name is wanted.
func matchInFiles(name string) multiproc.Wanted {
	switch {
	case slices.Contains(metrics.PollNames, name), slices.Contains(metrics.OmniPollNames, name):
		return multiproc.InPolls
	case metrics.IsWanted(name):
		return multiproc.InFull
	}
	return multiproc.Never
}

// readFiles reads the endpoint's directory into its page.
func (e *endpoint) readFiles(full bool) scrape.Response {
	began := time.Now()
	err := e.files.Read(&e.page, full)
	a := scrape.Response{Latency: time.Since(began), Complete: true}
	var partial *multiproc.PartialError
	switch {
	case errors.As(err, &partial) && len(e.page.Samples) > 0:
		a.Partial = partial
	case err != nil:
		a.Err = err
	case len(e.page.Samples) == 0:
		a.Err = fmt.Errorf("reading the directory %s: %w", e.target.Dir, errNoFiles)
	}
	return a
}

// planFiles is plan for files.
func (e *endpoint) planFiles() (wait time.Duration, full bool) {
	if !e.up {
		return budget.AlignToTick(filesIdleInterval), true
	}
	_, full = e.schedule.Next(time.Now(), scrape.TargetStatus{Up: true, IdleSinceFull: e.idleSinceFull})
	switch spent := e.overBudget(); {
	case spent > 0 && e.recorded: // some rounds wait to be taken, and can wait longer
		return budget.AlignToTick(min(spent, scrape.SoonestFull)), full
	case spent > 0, e.recorded:
		return budget.AlignToTick(filesInterval), full
	}
	return filesInterval, full
}

// overBudget is how long what can wait is to do so, the budget being spent; 0 where a wait of
// filesInterval is enough.
func (e *endpoint) overBudget() time.Duration {
	if e.p.cfg.Wait == nil {
		return 0
	}
	if wait := e.p.cfg.Wait(); wait > filesInterval {
		return wait
	}
	return 0
}

// recording sees to a record of the endpoint's files, and reports whether its rounds are
// all that is to be read now: they were taken.
func (e *endpoint) recording(ctx context.Context, full bool) bool {
	if e.files == nil {
		return false
	}
	e.p.mu.Lock()
	up := e.up
	e.p.mu.Unlock()
	if !up {
		return false
	}
	select {
	case e.sem <- struct{}{}:
		defer func() { <-e.sem }()
	case <-ctx.Done():
		return false
	}
	taken := e.takeRecorded()
	interval := filesInterval
	if e.overBudget() > 0 {
		interval = budget.Tick
	}
	if !full {
		e.recorded = e.files.Record(interval)
	}
	return taken > 0 && !full
}

// takeRecorded puts what was recorded since the last reading into the books. The turn is held.
func (e *endpoint) takeRecorded() (taken int) {
	for {
		at, took, ok, err := e.files.Recorded(&e.page)
		if !ok {
			return taken
		}
		if err != nil {
			continue // the files themselves tell
		}
		e.p.mu.Lock()
		if _, err = e.ingest(at, scrape.Response{Latency: took, Complete: true, Partial: e.partial}, false, during); err == nil {
			taken++
		}
		e.p.mu.Unlock()
	}
}

// stopRecording takes what is left of a record, and ends it.
func (e *endpoint) stopRecording() {
	if e.files == nil {
		return
	}
	e.sem <- struct{}{}
	defer func() { <-e.sem }()
	e.takeRecorded()
	e.files.StopRecord()
}
