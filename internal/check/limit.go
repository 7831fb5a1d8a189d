package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/internal/quantity"
	"github.com/vobs/vobs/internal/slo"
	"github.com/vobs/vobs/internal/spelling"
	"github.com/vobs/vobs/schema"
)

// Bound is the side on which a limit bounds a figure.
type Bound string

// The bounds. A figure that equals the limit passes.
const (
	Max Bound = "max"
	Min Bound = "min"
)

// words returns how people read a bound.
func (b Bound) words() string {
	if b == Min {
		return "at least"
	}
	return "at most"
}

// Limit is a bound of one figure, or of the same figure of several GPUs, engines or stages.
type Limit struct {
	Bound Bound
	// Value is in the figure's unit.
	Value float64
	target
	// instead replaces the figure in some events; nil for limits that name a figure.
	instead *alternative
}

// alternative is the figure that an objective is about in events for which when returns true.
type alternative struct {
	target
	when func(*events.Event) bool
	why  string
}

// target is the figure that a limit is about.
type target struct {
	// name as the user wrote it, with the percentile if they left that out.
	name string
	// path of the figure, or of the distribution; it may have a *.
	path string
	// percentile of the distribution; 0 for a figure.
	percentile int
	field      schema.Field
}

// same reports whether two limits bound the same side of the same figure.
func (l Limit) same(m Limit) bool {
	return l.Bound == m.Bound && l.path == m.path && l.percentile == m.percentile
}

// text returns the limit as people read it.
func (l Limit) text() string {
	return l.Bound.words() + " " + quantity.Format(l.Value, l.field.Unit)
}

// ParseLimit reads NAME=VALUE. NAME is a path of the event, or begins with a short name of
// [schema.ShortNames]; it may end in .p50, .p90, .p95 or .p99 behind a distribution. A
// distribution alone means its 95th percentile, as in an SLO. VALUE has the figure's unit.
func ParseLimit(bound Bound, text string) (Limit, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || strings.TrimSpace(name) == "" {
		return Limit{}, fmt.Errorf("limit %q is not of the form NAME=VALUE, as peak_vram=70GiB", text)
	}
	l, err := newLimit(bound, strings.TrimSpace(name), value)
	if err != nil {
		return Limit{}, fmt.Errorf("limit %q: %w", text, err)
	}
	return l, nil
}

func newLimit(bound Bound, name, value string) (Limit, error) {
	t, err := findTarget(name)
	if err != nil {
		return Limit{}, err
	}
	x, err := quantity.Parse(value, t.field.Unit)
	if err != nil {
		return Limit{}, err
	}
	if why := t.field.Impossible(x); why != "" {
		return Limit{}, fmt.Errorf("%q is impossible for the figure: %s", strings.TrimSpace(value), why)
	}
	return Limit{Bound: bound, Value: x + 0, target: t}, nil // -0 + 0 is 0
}

// objectives returns the limits that service level objectives set.
func objectives(all []slo.Objective) []Limit {
	names := map[slo.Metric]string{slo.TTFT: "ttft", slo.ITL: "itl", slo.E2E: "e2e"}
	var out []Limit
	for _, o := range all {
		percentile := ".p" + strconv.Itoa(o.Percentile)
		l := Limit{Bound: Max, Value: o.Seconds, target: mustFind(names[o.Metric] + percentile)}
		switch o.Metric {
		case slo.ITL:
			l.instead = &alternative{mustFind("tpot" + percentile), speculates,
				"per output token, because the engine decodes speculatively and a step yields several tokens"}
		case slo.E2E:
			l.instead = &alternative{mustFind("omni.pipeline.e2e_request_latency_seconds" + percentile), hasPipeline,
				"of whole requests, because an engine of a vllm-omni pipeline sees one stage of them"}
		}
		out = append(out, l)
	}
	return out
}

// mustFind is findTarget for names that exist.
func mustFind(name string) target {
	t, err := findTarget(name)
	if err != nil {
		panic(err)
	}
	return t
}

// Spec is where limits come from.
type Spec struct {
	// File is a limits file.
	File File
	// SLO is in the grammar of package slo; it replaces that of the file.
	SLO string
	// Max and Min are of the form NAME=VALUE.
	Max, Min []string
}

// Limits returns the limits of a specification: those of the SLO, of the file, and of Max and
// Min. A limit replaces an earlier one on the same side of the same figure.
func (s Spec) Limits() ([]Limit, error) {
	all := objectives(s.File.SLO)
	if s.SLO != "" {
		given, err := slo.Parse(s.SLO)
		if err != nil {
			return nil, err
		}
		all = objectives(given)
	}
	all = override(all, s.File.Limits)
	var given []Limit
	for _, flag := range []struct {
		bound Bound
		texts []string
	}{{Max, s.Max}, {Min, s.Min}} {
		for _, text := range flag.texts {
			l, err := ParseLimit(flag.bound, text)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(given, l.same) {
				return nil, fmt.Errorf("limit %q: %s already has a limit on this side", text, l.name)
			}
			given = append(given, l)
		}
	}
	return override(all, given), nil
}

// override returns base with the limits of over, each in the place of one on the same side of
// the same figure.
func override(base, over []Limit) []Limit {
	out := slices.Clone(base)
	for _, l := range over {
		if i := slices.IndexFunc(out, l.same); i >= 0 {
			out[i] = l
			continue
		}
		out = append(out, l)
	}
	return out
}

// percentiles are those that an event has, by the last step of a name.
var percentiles = map[string]int{"p50": 50, "p90": 90, "p95": 95, "p99": 99}

// findTarget finds the figure that a name means.
func findTarget(name string) (target, error) {
	path := schema.ExpandShortName(name)
	if f, ok := schema.FieldAt(path); ok {
		return target{name: name, path: path, field: f}, nil
	}
	if schema.IsDistribution(path) {
		return findTarget(name + ".p" + strconv.Itoa(slo.DefaultPercentile))
	}
	group, last := cutLast(path)
	if schema.IsDistribution(group) {
		p, ok := percentiles[last]
		if !ok {
			base, _ := cutLast(name)
			return target{}, fmt.Errorf("%s has no %s: use .p50, .p90, .p95, .p99, .mean, .count or .sum", base, last)
		}
		f, _ := schema.FieldAt(group + ".p95_est")
		return target{name: name, path: group, percentile: p, field: f}, nil
	}
	return target{}, unknownName(name, path)
}

// cutLast cuts the last step off a path.
func cutLast(path string) (group, last string) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// unknownName returns the error about a name of no figure, with names that may have been
// meant.
func unknownName(name, path string) error {
	var members, all []string
	for _, n := range schema.ShortNames() {
		all = append(all, n.Name)
		if schema.IsDistribution(n.Path) {
			for _, member := range []string{".mean", ".p50", ".p90", ".p95", ".p99"} {
				all = append(all, n.Name+member)
			}
		}
	}
	for _, f := range schema.Fields() {
		all = append(all, f.Path)
		group, last := cutLast(f.Path)
		if last == "p95_est" {
			all = append(all, group, group+".p95")
		}
		if strings.HasPrefix(f.Path, path+".") {
			members = append(members, f.Path)
		}
	}
	const most = 3
	if len(members) > 0 {
		more := ""
		if len(members) > most {
			more = fmt.Sprintf(" and %d others", len(members)-most)
		}
		return fmt.Errorf("%s is a group of figures: use one of them: %s%s", name, strings.Join(members[:min(most, len(members))], ", "), more)
	}
	near := spelling.Nearest(name, all, most)
	if len(near) == 0 {
		return fmt.Errorf("unknown figure %s: vobs check --list shows short names, docs/event.md every path", name)
	}
	return fmt.Errorf("unknown figure %s: did you mean %s?", name, strings.Join(near, ", or "))
}
