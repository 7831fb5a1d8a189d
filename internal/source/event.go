package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/vobs/vobs/observe"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/schema"
)

const (
	// notRead is why an event from Prometheus has no figures but the engine's.
	notRead = "the figures are those of the engines that Prometheus has scraped: no command was run, and the host and the GPUs were not read"
	// notQueried is why the engine's version and most of its settings are unknown.
	notQueried = "Prometheus does not record it: an engine's page has no version, and only the settings in vllm:cache_config_info"
	// timeLayout is that of the event's times.
	timeLayout = "2006-01-02T15:04:05.000Z07:00"
)

// ErrNoEngine is wrapped by the errors of a window in which no engine was scraped.
var ErrNoEngine = errors.New("no engine")

// Event returns an event about a window of time from what the server has recorded of the engines
// that a selector selects, such as {job="vllm"}. version is that of this vobs. warnings has what
// the server warns of, and what is missing of the window.
func (p *Prometheus) Event(ctx context.Context, selector string, from, to time.Time, version string) (e *schema.GenerationObservability, warnings []string, err error) {
	if strings.TrimSpace(selector) == "" {
		return nil, nil, fmt.Errorf("no selector is given: %s", p.jobsHint(ctx, from, to))
	}
	f, err := p.fetch(ctx, selector, from.Add(-baselineMargin), to)
	if err != nil {
		return nil, nil, err
	}
	recorded := recordings(targetsOf(f.series))
	inside := pagesInside(recorded, from, to)
	if len(inside) == 0 {
		return nil, f.warnings, fmt.Errorf("%w: %s has no metrics of vLLM for %s from %s to %s: %s", ErrNoEngine, p.Name(), selector, clock(from), clock(to), p.jobsHint(ctx, from, to))
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, nil, fmt.Errorf("making a run id: %w", err)
	}
	read := probe.Replay(recorded, from, to, notQueried)
	e = observe.Replayed(schema.Run{
		ID: id.String(), Command: []string{}, Labels: map[string]string{}, Leftovers: []schema.Leftover{},
		StartedAt: from.UTC().Format(timeLayout), EndedAt: schema.Ptr(to.UTC().Format(timeLayout)),
		DurationSeconds: schema.Float(to.Sub(from).Seconds()), VobsVersion: version,
	}, read, notRead)
	return e, append(f.warnings, missing(inside, from, to)...), nil
}

// jobsHint returns which jobs have metrics of vLLM in a window.
func (p *Prometheus) jobsHint(ctx context.Context, from, to time.Time) string {
	jobs, err := p.jobs(ctx, from, to)
	switch {
	case err != nil:
		return "use one like {job=\"vllm\"} (" + err.Error() + ")"
	case len(jobs) == 0:
		return "no job has any in that time"
	}
	for i, job := range jobs {
		jobs[i] = fmt.Sprintf("{job=%q}", job)
	}
	return "these jobs have some: " + strings.Join(jobs, ", ")
}

// pagesInside returns the times of all pages in a window, in order.
func pagesInside(recorded []probe.Recording, from, to time.Time) (times []time.Time) {
	for _, r := range recorded {
		for _, page := range r.Pages {
			if page.Err == nil && page.At.After(from) && !page.At.After(to) {
				times = append(times, page.At)
			}
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// missing returns what is missing of a window at its ends: Prometheus may not keep samples for that
// long, or may not have scraped the engines yet. A scrape interval is not missing.
func missing(inside []time.Time, from, to time.Time) []string {
	first, last := inside[0], inside[len(inside)-1]
	tolerance := baselineMargin
	if n := len(inside); n > 1 {
		tolerance = min(tolerance, max(2*last.Sub(first)/time.Duration(n-1), 5*time.Second))
	}
	if first.Sub(from) <= tolerance && to.Sub(last) <= tolerance {
		return nil
	}
	return []string{fmt.Sprintf("Prometheus has samples from %s to %s only: %s of the %s from %s on",
		clock(first), clock(last), last.Sub(first).Round(time.Second), to.Sub(from).Round(time.Second), clock(from))}
}

// clock formats a time for messages, in the local time zone.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
