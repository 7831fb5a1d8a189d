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
	// filesInterval is the time between two readings of files, which cost the engine
	// nothing.
	filesInterval = 50 * time.Millisecond
	// filesIdleInterval is the time between two readings until files exist, and while the
	// budget is spent: it shares the tick's wake-up, and so costs next to nothing.
	filesIdleInterval = budget.Tick
)

// Directory returns the target of a directory of prometheus_client's multiprocess files
// (PROMETHEUS_MULTIPROC_DIR). fresh reports whether it was empty before the run, so that
// its counters count from zero.
func Directory(dir string, fresh bool) scrape.Target {
	return scrape.Target{Origin: scrape.FromFiles, Dir: dir, URL: &url.URL{Scheme: "file", Path: dir}, Started: fresh}
}

// errNoFiles is returned for a directory without vLLM's metrics: no process has counted
// anything there. vLLM's LLM() disables its statistics by default
// (EngineArgs.disable_log_stats in vllm/entrypoints/llm.py).
var errNoFiles = fmt.Errorf("no process has written vllm: metrics there (a script's LLM() does with --instrument --multiproc on, or with disable_log_stats=False): %w", syscall.ENOENT)

// wantedInFiles returns in which readings of files a metric is wanted.
func wantedInFiles(name string) multiproc.Wanted {
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
	resp := scrape.Response{Latency: time.Since(began), Complete: true}
	var partial *multiproc.PartialError
	switch {
	case errors.As(err, &partial) && len(e.page.Samples) > 0:
		resp.Partial = partial
	case err != nil:
		resp.Err = err
	case len(e.page.Samples) == 0:
		resp.Err = fmt.Errorf("reading the directory %s: %w", e.target.Dir, errNoFiles)
	}
	return resp
}

// nextFileRead is nextRead for files.
func (e *endpoint) nextFileRead() (wait time.Duration, full bool) {
	if !e.up {
		return budget.AlignToTick(filesIdleInterval), true
	}
	_, full = e.schedule.Next(time.Now(), scrape.TargetStatus{Up: true, IdleSinceFull: e.idleSinceFull})
	return waitForFiles(e.budgetWait(), e.recording), full
}

// waitForFiles returns how long to wait until files are read again, or what was recorded of
// them. overdrawn is that of budgetWait.
func waitForFiles(overdrawn time.Duration, recording bool) time.Duration {
	switch {
	case overdrawn > 0 && recording: // recorded rounds can wait longer
		return budget.AlignToTick(min(overdrawn, scrape.MinFullInterval))
	case overdrawn > 0, recording:
		return budget.AlignToTick(filesInterval)
	}
	return filesInterval
}

// recordInterval returns the time between two recorded rounds. overdrawn is that of budgetWait.
func recordInterval(overdrawn time.Duration) time.Duration {
	if overdrawn > 0 {
		return budget.Tick
	}
	return filesInterval
}

// budgetWait returns how long to pause until the CPU time spent so far fits the budget; 0
// if filesInterval is long enough.
func (e *endpoint) budgetWait() time.Duration {
	if e.p.cfg.Wait == nil {
		return 0
	}
	if wait := e.p.cfg.Wait(); wait > filesInterval {
		return wait
	}
	return 0
}

// pollRecording starts or continues the recording of the endpoint's files and ingests the
// rounds recorded since the last call. It reports whether they stand for this poll, so
// that the files need not be read.
func (e *endpoint) pollRecording(ctx context.Context, full bool) (done bool) {
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
	rounds, valid := e.ingestRecorded()
	if !valid { // the files have to be read themselves
		e.recording = false
		return false
	}
	if !full {
		e.recording = e.files.Record(recordInterval(e.budgetWait()))
	}
	return rounds > 0 && !full
}

// ingestRecorded ingests the rounds recorded since the last reading and returns how many
// were good. valid is false if one was not: the recording has ended, and the next reading of
// the files finds the same fault, or none. e.sem is held.
func (e *endpoint) ingestRecorded() (rounds int, valid bool) {
	for {
		at, took, ok, err := e.files.Recorded(&e.page)
		if !ok {
			return rounds, true
		}
		if err != nil {
			return rounds, false
		}
		e.p.mu.Lock()
		if _, err = e.ingest(at, scrape.Response{Latency: took, Complete: true, Partial: e.partial}, false, phaseDuring); err == nil {
			rounds++
		}
		e.p.mu.Unlock()
	}
}

// stopRecording ingests the last rounds and ends the recording.
func (e *endpoint) stopRecording() {
	if e.files == nil {
		return
	}
	e.sem <- struct{}{}
	defer func() { <-e.sem }()
	e.ingestRecorded()
	e.files.StopRecord()
}
