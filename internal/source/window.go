package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

const (
	// baselineMargin is how long before a window samples are read too: counters count from the last
	// scrape before it. Scrape intervals are two minutes at most, because a series goes stale after
	// five (Prometheus's lookback delta).
	baselineMargin = 2*time.Minute + 5*time.Second
	// shortestPart is the shortest part of a window that is asked for.
	shortestPart = time.Minute
)

// Names of series that Prometheus itself records at every scrape of a target
// (https://prometheus.io/docs/concepts/jobs_instances/). Their labels are the target's.
const (
	upName       = "up"
	durationName = "scrape_duration_seconds"
)

// createdName is a series that shows when a process was started, see package probe.
const createdName = "vllm:prompt_tokens_created"

// names matches the names of the series that are read: an engine's, its process's and its HTTP
// front end's, and those of Prometheus about the scrape.
const names = `up|scrape_duration_seconds|process_start_time_seconds|http_requests_total|(ray_)?vllm[:_].+|lmcache[:_].+`

// isWanted reports whether the samples of a series are kept.
func isWanted(name string) bool {
	return name == upName || name == durationName || name == createdName || metrics.IsWanted(name)
}

// query returns the range selector of the series with a selector's matchers over a time.
func query(selector string, over time.Duration) (string, error) {
	text := strings.TrimSpace(selector)
	inner, braced := strings.CutPrefix(text, "{")
	if braced {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "}"); !closed {
			return "", fmt.Errorf("selector %s has no } at its end", text)
		}
	}
	inner = strings.TrimSuffix(strings.TrimSpace(inner), ",")
	switch {
	case strings.Contains(inner, "__name__"):
		return "", errors.New("the selector has the label __name__: vobs adds the names of the metrics itself")
	case !strings.ContainsAny(inner, "=~"):
		return "", fmt.Errorf(`selector %q has no label: use one like {job="vllm"}`, text)
	case !braced && strings.Contains(inner, "{"):
		return "", fmt.Errorf(`selector %s begins with a metric's name: use the labels alone, as {job="vllm"}`, text)
	}
	return fmt.Sprintf("{%s,__name__=~%q}[%dms]", inner, names, over.Milliseconds()), nil
}

// series is one series of a window.
type series struct {
	name    string
	labels  []exposition.Label // without __name__, sorted by name
	samples []sample           // in the order of time
}

// get returns the value of a label; "" if there is none.
func (s *series) get(name string) string {
	for _, l := range s.labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// fetched is what the server has of a window.
type fetched struct {
	series   []*series
	warnings []string

	byKey     map[string]*series
	samples   int
	histogram string // name of a native histogram; "" if there is none
}

// fetch reads the series with a selector's matchers from one time to another.
func (p *Prometheus) fetch(ctx context.Context, selector string, from, to time.Time) (*fetched, error) {
	f := &fetched{byKey: map[string]*series{}}
	if err := p.fetchPart(ctx, f, selector, from, to); err != nil {
		return nil, err
	}
	if f.histogram != "" {
		f.warnings = append(f.warnings, fmt.Sprintf("%s is stored as a native histogram, which vobs does not read: keep the classic one too (always_scrape_classic_histograms in the scrape configuration)", f.histogram))
	}
	slices.Sort(f.warnings)
	f.warnings = slices.Compact(f.warnings)
	return f, nil
}

// fetchPart reads a part of a window, and if that is too much, its halves. A range selector of an
// instant query returns the samples as they were scraped.
func (p *Prometheus) fetchPart(ctx context.Context, f *fetched, selector string, from, to time.Time) error {
	text, err := query(selector, to.Sub(from))
	if err != nil {
		return err
	}
	form := url.Values{"query": {text}, "time": {unixText(to)}}
	err = p.request(ctx, "api/v1/query", form, func(r io.Reader) error {
		warnings, err := decodeMatrix(r, func(s matrixSeries) error { return f.add(s, p.maxSamples) })
		f.warnings = append(f.warnings, warnings...)
		return err
	})
	if tooMuch(err) && to.Sub(from) > shortestPart {
		middle := from.Add(to.Sub(from) / 2).Truncate(time.Millisecond)
		if err := p.fetchPart(ctx, f, selector, from, middle); err != nil {
			return err
		}
		return p.fetchPart(ctx, f, selector, middle, to)
	}
	return err
}

// add adds a series, or further samples of one. Samples that are there already are left out: the
// parts of a window may have a moment in common, and a part may be read twice.
func (f *fetched) add(m matrixSeries, limit int) error {
	name := m.Metric["__name__"]
	if !isWanted(name) {
		return nil
	}
	if len(m.Histograms) > 0 {
		f.histogram = cmp.Or(f.histogram, name)
	}
	s := &series{name: name}
	for label, value := range m.Metric {
		if label != "__name__" {
			s.labels = append(s.labels, exposition.Label{Name: label, Value: value})
		}
	}
	slices.SortFunc(s.labels, func(a, b exposition.Label) int { return strings.Compare(a.Name, b.Name) })
	key := fmt.Sprintf("%s%q", name, s.labels)
	if known := f.byKey[key]; known != nil {
		s = known
	} else {
		f.byKey[key] = s
		f.series = append(f.series, s)
	}
	for _, x := range m.Values {
		if n := len(s.samples); n == 0 || x.at > s.samples[n-1].at {
			s.samples = append(s.samples, x)
			f.samples++
		}
	}
	if f.samples > limit {
		return &ownError{fmt.Errorf("more than %d million samples: use a shorter --for, or a --selector of fewer engines", limit>>20)}
	}
	return nil
}

// at returns the sample at a time in milliseconds of Unix time.
func (s *series) at(ms int64) (value float64, ok bool) {
	i, ok := slices.BinarySearchFunc(s.samples, ms, func(x sample, ms int64) int { return cmp.Compare(x.at, ms) })
	if !ok {
		return 0, false
	}
	return s.samples[i].value, true
}
