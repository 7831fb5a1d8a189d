package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vobs/vobs/schema"
)

// Kind is how much a metric varies between two equal runs.
type Kind string

// The kinds of metrics.
const (
	Exact             Kind = "exact"              // not at all: it counts what must not happen
	NearDeterministic Kind = "near-deterministic" // hardly: one run on each side is enough
	Noisy             Kind = "noisy"              // from run to run
)

// Metric is a figure that is compared.
type Metric struct {
	// Name is what users call it: a short name, the figure's path in the event, or a share
	// of requests as ttft<=500ms.
	Name   string
	Unit   schema.Unit
	Better schema.Direction
	Kind   Kind
	// Relative and Absolute are the tolerances: a change is large if it exceeds both. The
	// relative one is a fraction of the base's median, the absolute one is in Unit.
	Relative, Absolute float64
	// Gated reports whether the metric decides the verdict, instead of being shown only.
	Gated bool
	// Requested reports whether the user named the metric, so that runs without it are an
	// error of theirs.
	Requested bool

	path  string
	limit float64 // in seconds, if the metric is the share of requests within it
	count string  // the path of what a rate counts; "" if the metric is not a rate
}

const (
	// noisyTolerance is the relative tolerance of noisy metrics. Equal runs of one engine
	// on one machine vary by 1 to 5 %.
	noisyTolerance = 0.03
	// peakTolerance and peakBytes are the tolerances of peaks of GPU memory.
	peakTolerance = 0.01
	peakBytes     = 64 << 20
)

const latency = "engine.latency_seconds."

// known are the metrics with short names, in the order of the output.
var known = []Metric{
	{Name: "generation_tokens_per_second", path: "engine.throughput.generation_tokens_per_second", Relative: noisyTolerance, Gated: true},
	{Name: "ttft.mean", path: latency + "time_to_first_token.mean", Relative: noisyTolerance, Absolute: 0.0001, Gated: true},
	{Name: "peak_vram", path: "peak_vram_gb", Kind: NearDeterministic, Relative: peakTolerance, Absolute: peakBytes / float64(1<<30), Gated: true},
	{Name: "requests_per_second", path: "engine.throughput.requests_per_second", Relative: noisyTolerance},
	{Name: "itl.mean", path: latency + "inter_token_latency.mean", Relative: noisyTolerance, Absolute: 0.00001},
	{Name: "tpot.mean", path: latency + "time_per_output_token.mean", Relative: noisyTolerance, Absolute: 0.00001},
	{Name: "e2e.mean", path: latency + "e2e_request_latency.mean", Relative: noisyTolerance, Absolute: 0.0001},
	{Name: "queue_time.mean", path: latency + "request_queue_time.mean", Relative: noisyTolerance, Absolute: 0.0001},
	{Name: "duration", path: "run.duration_seconds", Relative: noisyTolerance, Absolute: 0.001},
	{Name: "kv_cache_peak", path: "engine.kv_cache.usage.peak", Better: schema.NeitherBetter, Relative: noisyTolerance, Absolute: 0.01},
	{Name: "preemptions", path: "engine.requests.preemptions", Relative: noisyTolerance},
	{Name: "prefix_cache_hit_rate", path: "prefix_cache_hit_rate", Relative: noisyTolerance, Absolute: 0.005},
	{Name: "spec_accept_rate", path: "spec_accept_rate", Relative: noisyTolerance, Absolute: 0.005},
	{Name: "joules_per_generation_token", path: "efficiency.joules_per_generation_token", Relative: noisyTolerance},
	{Name: "joules_per_request", path: "efficiency.joules_per_request", Relative: noisyTolerance},
	{Name: "cpu_seconds", path: "host.tree_cpu_seconds", Relative: noisyTolerance, Absolute: 0.001},
	{Name: "peak_rss", path: "host.tree_peak_rss_bytes", Relative: noisyTolerance, Absolute: 1 << 20},
}

// shares are the latencies whose shares of requests can be compared.
var shares = map[string]string{
	"ttft": "time_to_first_token", "itl": "inter_token_latency", "tpot": "time_per_output_token",
	"e2e": "e2e_request_latency", "queue_time": "request_queue_time",
}

// Defaults returns the metrics that are compared if the user names none.
func Defaults() []Metric {
	metrics := slices.Clone(known)
	for i := range metrics {
		metrics[i].describe()
	}
	return metrics
}

// counts are what the rates of engine.throughput count, by the rates' paths.
var counts = map[string]string{
	"engine.throughput.generation_tokens_per_second": "engine.tokens.generation",
	"engine.throughput.prompt_tokens_per_second":     "engine.tokens.prompt",
	"engine.throughput.requests_per_second":          "engine.requests.finished.*",
}

// describe fills in what schema knows of the figure.
func (m *Metric) describe() {
	m.count = counts[m.path]
	field, ok := schema.FieldAt(m.path)
	if !ok {
		panic("compare: no figure " + m.path)
	}
	m.Unit = field.Unit
	if m.Better == "" {
		m.Better = field.Better
	}
	if m.Kind == "" {
		m.Kind = Noisy
	}
}

// Select returns the default metrics with the named ones gated instead of the defaults'
// own. A name is a short name, a figure's path, or LATENCY<=LIMIT as ttft<=500ms for the
// share of requests within the limit.
func Select(names []string) ([]Metric, error) {
	metrics := Defaults()
	if len(names) == 0 {
		return metrics, nil
	}
	for i := range metrics {
		metrics[i].Gated = false
	}
	for _, name := range names {
		named := func(m Metric) bool { return m.Name == name || m.path == name }
		i := slices.IndexFunc(metrics, named)
		if i < 0 {
			m, err := parseMetric(name)
			if err != nil {
				return nil, err
			}
			i, metrics = len(metrics), append(metrics, m)
		}
		if metrics[i].Requested {
			return nil, fmt.Errorf("metric %s is named twice", name)
		}
		metrics[i].Gated, metrics[i].Requested = true, true
	}
	return metrics, nil
}

func parseMetric(name string) (Metric, error) {
	if base, limit, ok := strings.Cut(name, "<="); ok {
		distribution, known := shares[base]
		if !known {
			return Metric{}, fmt.Errorf("metric %s: %q is not a latency: use ttft, itl, tpot, e2e or queue_time", name, base)
		}
		d, err := time.ParseDuration(limit)
		if err != nil || d <= 0 {
			return Metric{}, fmt.Errorf("metric %s: %q is not a time above 0, as 500ms or 2s", name, limit)
		}
		return Metric{
			Name: name, path: latency + distribution, limit: d.Seconds(), Unit: schema.UnitFraction, Better: schema.HigherIsBetter,
			Kind: Noisy, Absolute: 0.01,
		}, nil
	}
	path := schema.ExpandShortName(name)
	switch field, ok := schema.FieldAt(path); {
	case schema.IsDistribution(path):
		return Metric{}, fmt.Errorf("%s is a distribution: compare its mean, %s.mean, or a share of requests, as ttft<=500ms", name, name)
	case ok && strings.Contains(path, "*"):
		return Metric{}, fmt.Errorf("%s has several values in an event (%s): name one, as %s", name, path, strings.Replace(path, "*", "0", 1))
	case !ok:
		return Metric{}, fmt.Errorf("no figure is called %s: use one of %s, the path of a figure in the event, or a share of requests as ttft<=500ms", name, strings.Join(Names(), ", "))
	default:
		return metricAt(name, path, field)
	}
}

// metricAt returns the metric of a figure.
func metricAt(name, path string, field schema.Field) (Metric, error) {
	m := Metric{Name: name, path: path, Relative: noisyTolerance}
	if field.Kind == schema.KindSampledPeak && field.Unit == schema.UnitBytes && strings.HasPrefix(path, "gpus.") {
		m.Kind, m.Relative, m.Absolute = NearDeterministic, peakTolerance, peakBytes
	}
	switch field.Kind {
	case schema.KindIdentity, schema.KindConfiguration, schema.KindCoverage, schema.KindBound, schema.KindInstant:
		return Metric{}, fmt.Errorf("%s is a figure of kind %q, which does not measure how well a run went", name, field.Kind)
	case schema.KindQuantile:
		return Metric{}, fmt.Errorf("%s is interpolated within a bucket of a histogram, so that two of them cannot be compared: "+
			"compare the mean, or the share of requests within a limit, as ttft<=500ms", name)
	}
	m.describe()
	if m.Better == "" {
		m.Better = schema.NeitherBetter
	}
	return m, nil
}

// Names returns the short names of metrics.
func Names() []string {
	names := make([]string, len(known))
	for i, m := range known {
		names[i] = m.Name
	}
	return names
}

// figure returns the number at a path without *, and whether it is not null.
func figure(e *schema.GenerationObservability, path string) (float64, bool) {
	x := e.Figures(path)[0].Value
	if x == nil || math.IsNaN(*x) || math.IsInf(*x, 0) {
		return 0, false
	}
	return *x, true
}

// windowRate returns the rate over the whole window, and whether it is known.
func (m *Metric) windowRate(e *schema.GenerationObservability) (float64, bool) {
	seconds, ok := figure(e, "engine.window.duration_seconds")
	if !ok || seconds <= 0 {
		return 0, false
	}
	sum, known := 0.0, false
	for _, f := range e.Figures(m.count) {
		if f.Value != nil {
			sum, known = sum+*f.Value, true
		}
	}
	return sum / seconds, known
}

// A share is the fraction of requests within a limit: an interval if the limit lies within a
// bucket.
type share struct {
	low, high float64
	isBound   bool // the limit is the bound of a bucket
}

// shareOf returns the fraction of requests within the limit, as far as the non-empty buckets
// of the histogram tell, and whether there is a histogram.
func (m *Metric) shareOf(e *schema.GenerationObservability) (share, bool) {
	d := e.Distributions(m.path)[0].Distribution
	if d == nil || d.Count == 0 || d.Buckets == nil {
		return share{}, false
	}
	var s share
	for _, b := range d.Buckets {
		within := *b[1] / float64(d.Count)
		switch {
		case b[0] != nil && math.Abs(*b[0]-m.limit) <= 1e-9*m.limit:
			return share{within, within, true}, true
		case b[0] != nil && *b[0] < m.limit:
			s.low, s.high = within, within
		default:
			s.high = within
			return s, true
		}
	}
	return s, true
}
