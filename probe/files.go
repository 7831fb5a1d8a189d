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
	"github.com/vobs/vobs/probe/multiproc"
)

const (
	// filesInterval is the time between two readings of files: the engine takes no
	// part in them.
	filesInterval = 50 * time.Millisecond
	// filesAwaited is the same until there are some, and while the budget is spent: it
	// shares the beat's wake-up, and so costs next to nothing.
	filesAwaited = budget.Tick
)

// Directory is the target of a directory of prometheus_client's shared files
// (PROMETHEUS_MULTIPROC_DIR). fresh says that nothing in it stood before the run: its
// counters count from zero.
func Directory(dir string, fresh bool) Target {
	return Target{Origin: FromFiles, Dir: dir, URL: &url.URL{Scheme: "file", Path: dir}, Started: fresh}
}

// errNoFiles is for a directory that nobody has written to: nothing that could have
// counted was there. In vLLM the statistics of LLM() are off by default
// (EngineArgs.disable_log_stats in vllm/entrypoints/llm.py).
var errNoFiles = fmt.Errorf("no process has written vllm: metrics there (a script's LLM() does with --instrument --multiproc on, or with disable_log_stats=False): %w", syscall.ENOENT)

// wantedInFiles says in which readings of files a name is wanted.
func wantedInFiles(name string) multiproc.Wanted {
	switch {
	case slices.Contains(pollNames, name), slices.Contains(omniPollNames, name):
		return multiproc.InPolls
	case isWanted(name):
		return multiproc.InFull
	}
	return multiproc.Never
}

// readFiles reads the endpoint's directory into its page.
func (e *endpoint) readFiles(full bool) answer {
	began := time.Now()
	err := e.files.Read(&e.page, full)
	a := answer{wall: time.Since(began), whole: true}
	var partial *multiproc.PartialError
	switch {
	case errors.As(err, &partial) && len(e.page.Samples) > 0:
		a.partial = partial
	case err != nil:
		a.err = err
	case len(e.page.Samples) == 0:
		a.err = fmt.Errorf("reading the directory %s: %w", e.target.Dir, errNoFiles)
	}
	return a
}

// planFiles is plan for files.
func (e *endpoint) planFiles() (wait time.Duration, full bool) {
	if !e.up {
		return budget.AlignToTick(filesAwaited), true
	}
	_, full = e.pace.next(time.Now(), standing{up: true, drained: e.drained})
	switch spent := e.spent(); {
	case spent > 0 && e.recorded: // some rounds wait to be taken, and can wait longer
		return budget.AlignToTick(min(spent, soonestFull)), full
	case spent > 0, e.recorded:
		return budget.AlignToTick(filesInterval), full
	}
	return filesInterval, full
}

// spent is how long what can wait is to do so, the budget being spent; 0 where a wait of
// filesInterval is enough.
func (e *endpoint) spent() time.Duration {
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
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return false
	}
	taken := e.takeRecorded()
	interval := filesInterval
	if e.spent() > 0 {
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
		if _, err = e.take(at, answer{wall: took, whole: true, partial: e.partial}, false, during); err == nil {
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
	e.turn <- struct{}{}
	defer func() { <-e.turn }()
	e.takeRecorded()
	e.files.StopRecord()
}

// source is the endpoint's, as the event names it.
func (e *endpoint) source() string {
	if e.files != nil {
		return "multiprocess"
	}
	return "http"
}
