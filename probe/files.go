package probe

import (
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
	filesAwaited = budget.Beat
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
		return budget.OnBeat(filesAwaited), true
	}
	_, full = e.pace.next(time.Now(), standing{up: true, drained: e.drained})
	if e.p.cfg.Wait != nil && e.p.cfg.Wait() > filesInterval {
		return budget.OnBeat(filesInterval), full
	}
	return filesInterval, full
}

// source is the endpoint's, as the event names it.
func (e *endpoint) source() string {
	if e.files != nil {
		return "multiprocess"
	}
	return "http"
}
