package exposition

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Family is a family of a page in the form of prom2json (type Family there), so
// that tools which read that form read this one: numbers are strings, buckets and
// quantiles are objects.
type Family struct {
	Name string `json:"name"`
	Help string `json:"help"`
	Type string `json:"type"`
	// Metrics are of type Metric, SummaryMetric or HistogramMetric.
	Metrics []any `json:"metrics,omitempty"`
}

// Metric is a single value: of a counter, a gauge or a family without a type.
type Metric struct {
	Labels      map[string]string `json:"labels,omitempty"`
	TimestampMs string            `json:"timestamp_ms,omitempty"`
	Value       string            `json:"value"`
}

// SummaryMetric is one summary.
type SummaryMetric struct {
	Labels      map[string]string `json:"labels,omitempty"`
	TimestampMs string            `json:"timestamp_ms,omitempty"`
	Quantiles   map[string]string `json:"quantiles,omitempty"`
	Count       string            `json:"count"`
	Sum         string            `json:"sum"`
}

// HistogramMetric is one histogram with its cumulative buckets.
type HistogramMetric struct {
	Labels      map[string]string `json:"labels,omitempty"`
	TimestampMs string            `json:"timestamp_ms,omitempty"`
	Buckets     map[string]string `json:"buckets,omitempty"`
	Count       string            `json:"count"`
	Sum         string            `json:"sum"`
}

// Families reads a whole page and gathers its samples into families, sorted by
// name. It serves people and tools, not the polling: see [Parser] for that.
func Families(body []byte) ([]*Family, error) {
	var page Page
	if err := NewParser(nil).Parse(body, &page); err != nil {
		return nil, err
	}
	g := gatherer{page: &page, help: helpTexts(body), families: map[string]*Family{}, metrics: map[string]any{}}
	for i := range page.Samples {
		if err := g.add(&page.Samples[i]); err != nil {
			return nil, err
		}
	}
	out := make([]*Family, 0, len(g.families))
	for _, f := range g.families {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *Family) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

type gatherer struct {
	page     *Page
	help     map[string]string
	families map[string]*Family
	metrics  map[string]any // by family and labels, of summaries and histograms
}

var typeNames = [...]string{Untyped: "UNTYPED", Counter: "COUNTER", Gauge: "GAUGE", Histogram: "HISTOGRAM", Summary: "SUMMARY"}

func (g *gatherer) add(s *Sample) error {
	name, kind := g.familyOf(s.Name)
	f := g.families[name]
	if f == nil {
		f = &Family{Name: name, Help: g.help[name], Type: typeNames[kind]}
		g.families[name] = f
	}
	switch kind {
	case Histogram:
		labels, le := labelsWithout(s.Labels, "le")
		h := metricOf(g, f, labels, func() *HistogramMetric {
			return &HistogramMetric{Labels: labels, TimestampMs: stamp(s), Buckets: map[string]string{}, Count: "0", Sum: "0"}
		})
		switch strings.TrimPrefix(s.Name, name) {
		case "_count":
			h.Count = fmt.Sprint(uint64(s.Value))
		case "_sum":
			h.Sum = fmt.Sprint(s.Value)
		case "_bucket":
			bound, ok := parseValue([]byte(le))
			if !ok {
				return fmt.Errorf("%s has a bucket whose bound is no number: le=%q", name, le)
			}
			h.Buckets[fmt.Sprint(bound)] = fmt.Sprint(uint64(s.Value))
		}
	case Summary:
		labels, quantile := labelsWithout(s.Labels, "quantile")
		m := metricOf(g, f, labels, func() *SummaryMetric {
			return &SummaryMetric{Labels: labels, TimestampMs: stamp(s), Quantiles: map[string]string{}, Count: "0", Sum: "0"}
		})
		switch strings.TrimPrefix(s.Name, name) {
		case "_count":
			m.Count = fmt.Sprint(uint64(s.Value))
		case "_sum":
			m.Sum = fmt.Sprint(s.Value)
		case "":
			q, ok := parseValue([]byte(quantile))
			if !ok {
				return fmt.Errorf("%s has a quantile that is no number: quantile=%q", name, quantile)
			}
			m.Quantiles[fmt.Sprint(q)] = fmt.Sprint(s.Value)
		}
	default:
		labels, _ := labelsWithout(s.Labels, "")
		f.Metrics = append(f.Metrics, Metric{Labels: labels, TimestampMs: stamp(s), Value: fmt.Sprint(s.Value)})
	}
	return nil
}

// familyOf finds the family of a sample: the declared one of its own name, else
// the histogram or summary whose part it is, else one of its own without a type.
func (g *gatherer) familyOf(sample string) (name string, kind Type) {
	if kind, ok := g.page.Types[sample]; ok {
		return sample, kind
	}
	for _, suffix := range []string{"_count", "_sum", "_bucket"} {
		if base, ok := strings.CutSuffix(sample, suffix); ok {
			if kind := g.page.Types[base]; kind == Histogram || kind == Summary && suffix != "_bucket" {
				return base, kind
			}
		}
	}
	return sample, Untyped
}

// metricOf finds the histogram or summary of a family that has these labels.
func metricOf[M any](g *gatherer, f *Family, labels map[string]string, fresh func() *M) *M {
	key := fmt.Sprintf("%q %q", f.Name, labels) // fmt prints maps sorted
	if m, ok := g.metrics[key].(*M); ok {
		return m
	}
	m := fresh()
	g.metrics[key] = m
	f.Metrics = append(f.Metrics, m)
	return m
}

func labelsWithout(l *Labels, name string) (rest map[string]string, value string) {
	rest = make(map[string]string, len(l.pairs))
	for _, p := range l.pairs {
		if p.Name == name {
			value = p.Value
			continue
		}
		rest[p.Name] = p.Value
	}
	return rest, value
}

func stamp(s *Sample) string {
	if s.Timestamp == nil {
		return ""
	}
	return fmt.Sprint(*s.Timestamp)
}

// helpTexts reads the HELP lines, which the parser leaves out.
func helpTexts(body []byte) map[string]string {
	help := map[string]string{}
	for line := range bytes.Lines(body) {
		rest, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSuffix(string(line), "\n"), " \t"), "#")
		if !ok {
			continue
		}
		rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t"), "HELP")
		if !ok || rest == "" || !isBlank(rest[0]) {
			continue
		}
		rest = strings.TrimLeft(rest, " \t")
		n := strings.IndexAny(rest, " \t")
		if n < 0 {
			continue
		}
		text := strings.TrimLeft(rest[n:], " \t")
		help[rest[:n]] = strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(text)
	}
	return help
}
