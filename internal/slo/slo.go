// Package slo reads service level objectives for latencies: a use case, as chat, or targets,
// as ttft=500ms,itl=50ms,e2e=10s.
package slo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/quantity"
	"github.com/vobs/vobs/internal/spelling"
	"github.com/vobs/vobs/schema"
)

// Metric is a latency that an objective is about.
type Metric string

// The metrics, by the names of the grammar.
const (
	TTFT Metric = "ttft" // time to first token
	ITL  Metric = "itl"  // between two tokens: inter-token latency, or time per output token under speculation
	E2E  Metric = "e2e"  // whole request
)

// metrics are all metrics, in the order in which objectives are listed.
var metrics = []Metric{TTFT, ITL, E2E}

// DefaultPercentile is the percentile of a target that names none.
const DefaultPercentile = 95

// percentiles are those that an event has.
var percentiles = []int{50, 90, 95, 99}

// Objective is one target: the percentile of the metric is to be at most Seconds.
type Objective struct {
	Metric     Metric
	Percentile int
	Seconds    float64
}

// String returns the objective as [Parse] reads it.
func (o Objective) String() string {
	text := strings.ReplaceAll(quantity.Format(o.Seconds, schema.UnitSeconds), " ", "")
	s := string(o.Metric) + "=" + text
	if o.Percentile != DefaultPercentile {
		s += "@p" + strconv.Itoa(o.Percentile)
	}
	return s
}

// Preset is the objectives of a use case.
type Preset struct {
	Name string
	// UseCase describes it.
	UseCase string
	// TTFT, ITL and E2E are the targets in seconds.
	TTFT, ITL, E2E float64
}

// Presets returns the use cases. The targets are those of the table "Latency Targets by Use
// Case" in a published guide to vLLM v1's metrics in production, which calls the middle one
// time between tokens.
func Presets() []Preset {
	return []Preset{
		{"chat", "interactive chat", 0.5, 0.05, 10},
		{"code", "code completion", 0.2, 0.03, 3},
		{"batch", "batch processing", 5, 0.1, 60},
		{"rag", "retrieval-augmented generation", 1, 0.08, 15},
		{"agentic", "agentic workflows", 2, 0.1, 30},
	}
}

// Names returns the names of the presets.
func Names() []string {
	var names []string
	for _, p := range Presets() {
		names = append(names, p.Name)
	}
	return names
}

// Parse reads objectives: the name of a preset, or targets separated by commas, each a metric,
// = and a time. @p50, @p90, @p95 or @p99 behind the preset or a target chooses the percentile;
// without it, it is the 95th.
func Parse(text string) ([]Objective, error) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, "=") {
		return parsePreset(text)
	}
	var out []Objective
	for target := range strings.SplitSeq(text, ",") {
		o, err := parseTarget(strings.TrimSpace(target))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(p Objective) bool { return p.Metric == o.Metric && p.Percentile == o.Percentile }) {
			return nil, fmt.Errorf("SLO %q: %s has two targets at p%d", text, o.Metric, o.Percentile)
		}
		out = append(out, o)
	}
	return out, nil
}

func parsePreset(text string) ([]Objective, error) {
	name, percentile, err := cutPercentile(text)
	if err != nil {
		return nil, fmt.Errorf("SLO %q: %w", text, err)
	}
	for _, p := range Presets() {
		if p.Name == name {
			return []Objective{{TTFT, percentile, p.TTFT}, {ITL, percentile, p.ITL}, {E2E, percentile, p.E2E}}, nil
		}
	}
	meant := ""
	if near := spelling.Nearest(name, Names(), 1); len(near) > 0 {
		meant = fmt.Sprintf(" (did you mean %s?)", near[0])
	}
	return nil, fmt.Errorf("SLO %q%s: use %s, or targets like ttft=500ms,itl=50ms,e2e=10s", text, meant, strings.Join(Names(), ", "))
}

func parseTarget(text string) (Objective, error) {
	name, value, ok := strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	if !ok {
		return Objective{}, fmt.Errorf("SLO target %q is not of the form METRIC=TIME, as ttft=500ms", text)
	}
	if !slices.Contains(metrics, Metric(name)) {
		return Objective{}, fmt.Errorf("SLO target %q: unknown metric %q: use ttft, itl or e2e", text, name)
	}
	value, percentile, err := cutPercentile(value)
	if err != nil {
		return Objective{}, fmt.Errorf("SLO target %q: %w", text, err)
	}
	seconds, err := quantity.ParsePositive(value, schema.UnitSeconds)
	if err != nil {
		return Objective{}, fmt.Errorf("SLO target %q: %w", text, err)
	}
	return Objective{Metric(name), percentile, seconds}, nil
}

// cutPercentile cuts @p99 off a text.
func cutPercentile(text string) (before string, percentile int, err error) {
	before, after, ok := strings.Cut(text, "@")
	before = strings.TrimSpace(before)
	if !ok {
		return before, DefaultPercentile, nil
	}
	digits, isPercentile := strings.CutPrefix(strings.TrimSpace(after), "p")
	percentile, err = strconv.Atoi(digits)
	if err != nil || !isPercentile || !slices.Contains(percentiles, percentile) {
		return "", 0, fmt.Errorf("percentile %q: use @p50, @p90, @p95 or @p99", "@"+after)
	}
	return before, percentile, nil
}
