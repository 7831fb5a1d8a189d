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
	g := gatherer{page: &page, help: helpTexts(body, page.OpenMetrics), families: map[string]*Family{}, metrics: map[string]any{}}
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

// typeNames are the text format's: OpenMetrics' own types are what prometheus_client
// writes for them in that format (exposition.py, generate_latest).
var typeNames = [...]string{
	Untyped: "UNTYPED", Counter: "COUNTER", Gauge: "GAUGE", Histogram: "HISTOGRAM", Summary: "SUMMARY",
	Info: "GAUGE", StateSet: "GAUGE", GaugeHistogram: "HISTOGRAM",
}

func (g *gatherer) add(s *Sample) error {
	name, declared, kind := g.familyOf(s.Name)
	f := g.families[name]
	if f == nil {
		f = &Family{Name: name, Help: g.help[declared], Type: typeNames[kind]}
		g.families[name] = f
	}
	switch kind {
	case Histogram, GaugeHistogram:
		labels, le := labelsWithout(s.Labels, "le")
		h := metricOf(g, f, labels, func() *HistogramMetric {
			return &HistogramMetric{Labels: labels, TimestampMs: timestamp(s), Buckets: map[string]string{}, Count: "0", Sum: "0"}
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
			return &SummaryMetric{Labels: labels, TimestampMs: timestamp(s), Quantiles: map[string]string{}, Count: "0", Sum: "0"}
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
		f.Metrics = append(f.Metrics, Metric{Labels: labels, TimestampMs: timestamp(s), Value: fmt.Sprint(s.Value)})
	}
	return nil
}

// familyOf finds the family of a sample: the declared one of its own name, else
// the histogram or summary whose part it is, else one of its own without a type.
// Families have the names that the text format gives them: OpenMetrics declares a
// counter `x` with samples `x_total` and `x_created`, where the text format has a
// counter `x_total` and a gauge `x_created`. declared is the name in the TYPE line.
func (g *gatherer) familyOf(sample string) (name, declared string, kind Type) {
	if kind, ok := g.page.Types[sample]; ok {
		return sample, sample, kind
	}
	for _, suffix := range []string{"_count", "_sum", "_bucket"} {
		if base, ok := strings.CutSuffix(sample, suffix); ok {
			switch kind := g.page.Types[base]; {
			case kind == Histogram, kind == Summary && suffix != "_bucket", kind == GaugeHistogram && suffix == "_bucket":
				return base, base, kind
			}
		}
	}
	if !g.page.OpenMetrics {
		return sample, sample, Untyped
	}
	for _, part := range []struct {
		suffix string
		kind   Type
		of     []Type
	}{
		{"_total", Counter, []Type{Counter}},
		{"_created", Gauge, []Type{Counter, Histogram, Summary, GaugeHistogram}},
		{"_info", Gauge, []Type{Info}},
		{"_gcount", Gauge, []Type{GaugeHistogram}},
		{"_gsum", Gauge, []Type{GaugeHistogram}},
	} {
		if base, ok := strings.CutSuffix(sample, part.suffix); ok {
			if kind, declared := g.page.Types[base]; declared && slices.Contains(part.of, kind) {
				return sample, base, part.kind
			}
		}
	}
	return sample, sample, Untyped
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

func timestamp(s *Sample) string {
	if s.Timestamp == nil {
		return ""
	}
	return fmt.Sprint(*s.Timestamp)
}

// helpTexts reads the HELP lines, which the parser leaves out. OpenMetrics escapes
// quotes in them, the text format does not.
func helpTexts(body []byte, openMetrics bool) map[string]string {
	escapes := []string{`\\`, `\`, `\n`, "\n"}
	if openMetrics {
		escapes = append(escapes, `\"`, `"`)
	}
	unescape := strings.NewReplacer(escapes...)
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
		name, text := rest[:n], rest[n:]
		if strings.HasPrefix(rest, `"`) {
			quoted, behind, err := unquote([]byte(rest[1:]))
			if err != nil {
				continue
			}
			name, text = quoted, string(behind)
		}
		help[name] = unescape.Replace(strings.TrimLeft(text, " \t"))
	}
	return help
}
