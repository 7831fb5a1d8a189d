package exposition

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// Families reads a whole page, in either dialect, into client_model's families,
// sorted by name. It serves people and tools, not the polling: see [Parser] for
// that. expfmt, which fills the same types, reads the text format only.
//
// Families have the names and types that the text format would give them. A
// declared family without samples is left out.
func Families(body []byte) ([]*dto.MetricFamily, error) {
	var page Page
	if err := NewParser(nil).Parse(body, &page); err != nil {
		return nil, err
	}
	g := gatherer{page: &page, help: helpTexts(body, page.OpenMetrics), families: map[string]*dto.MetricFamily{}, metrics: map[seriesID]*dto.Metric{}}
	for i := range page.Samples {
		if err := g.add(&page.Samples[i]); err != nil {
			return nil, err
		}
	}
	return slices.SortedFunc(maps.Values(g.families), func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) }), nil
}

type gatherer struct {
	page     *Page
	help     map[string]string
	families map[string]*dto.MetricFamily
	metrics  map[seriesID]*dto.Metric // summaries and histograms, which have several samples each
}

// seriesID identifies a summary or histogram by its family and its labels.
type seriesID struct{ family, labels string }

// metricTypes are the types of the text format. For a type that only OpenMetrics
// has, it is the one that prometheus_client writes in the text format
// (exposition.py, generate_latest).
var metricTypes = [...]dto.MetricType{
	Untyped:        dto.MetricType_UNTYPED,
	Counter:        dto.MetricType_COUNTER,
	Gauge:          dto.MetricType_GAUGE,
	Histogram:      dto.MetricType_HISTOGRAM,
	Summary:        dto.MetricType_SUMMARY,
	Info:           dto.MetricType_GAUGE,
	StateSet:       dto.MetricType_GAUGE,
	GaugeHistogram: dto.MetricType_HISTOGRAM,
}

func (g *gatherer) add(s *Sample) error {
	name, declared, kind := g.familyOf(s.Name)
	f := g.families[name]
	if f == nil {
		f = &dto.MetricFamily{Name: &name, Help: proto.String(g.help[declared]), Type: metricTypes[kind].Enum()}
		g.families[name] = f
	}
	switch f.GetType() {
	case dto.MetricType_HISTOGRAM:
		labels, le := labelsWithout(s.Labels, "le")
		m := g.metricOf(f, labels, s)
		if m.Histogram == nil {
			m.Histogram = &dto.Histogram{}
		}
		switch strings.TrimPrefix(s.Name, name) {
		case "_count":
			m.Histogram.SampleCount = proto.Uint64(uint64(s.Value))
		case "_sum":
			m.Histogram.SampleSum = &s.Value
		case "_bucket":
			bound, ok := parseValue([]byte(le))
			if !ok {
				return fmt.Errorf("bucket of %s: le=%q is not a number", name, le)
			}
			m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: proto.Uint64(uint64(s.Value))})
		}
	case dto.MetricType_SUMMARY:
		labels, quantile := labelsWithout(s.Labels, "quantile")
		m := g.metricOf(f, labels, s)
		if m.Summary == nil {
			m.Summary = &dto.Summary{}
		}
		switch strings.TrimPrefix(s.Name, name) {
		case "_count":
			m.Summary.SampleCount = proto.Uint64(uint64(s.Value))
		case "_sum":
			m.Summary.SampleSum = &s.Value
		case "":
			q, ok := parseValue([]byte(quantile))
			if !ok {
				return fmt.Errorf("%s: quantile=%q is not a number", name, quantile)
			}
			m.Summary.Quantile = append(m.Summary.Quantile, &dto.Quantile{Quantile: &q, Value: &s.Value})
		}
	default:
		m := &dto.Metric{Label: labelPairs(s.Labels.pairs), TimestampMs: s.Timestamp}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			m.Counter = &dto.Counter{Value: &s.Value}
		case dto.MetricType_GAUGE:
			m.Gauge = &dto.Gauge{Value: &s.Value}
		default:
			m.Untyped = &dto.Untyped{Value: &s.Value}
		}
		f.Metric = append(f.Metric, m)
	}
	return nil
}

// familyOf returns the family of a sample: the declared one of its own name, else
// the histogram or summary that it is part of, else an untyped family of its own.
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

// metricOf returns the histogram or summary of f that has these labels. A new one
// takes the timestamp of s, its first sample.
func (g *gatherer) metricOf(f *dto.MetricFamily, labels []Label, s *Sample) *dto.Metric {
	id := seriesID{f.GetName(), labelKey(labels)}
	m := g.metrics[id]
	if m == nil {
		m = &dto.Metric{Label: labelPairs(labels), TimestampMs: s.Timestamp}
		g.metrics[id] = m
		f.Metric = append(f.Metric, m)
	}
	return m
}

// labelsWithout returns the labels other than name, and the value of name.
func labelsWithout(l *Labels, name string) (rest []Label, value string) {
	rest = make([]Label, 0, len(l.pairs))
	for _, p := range l.pairs {
		if p.Name == name {
			value = p.Value
			continue
		}
		rest = append(rest, p)
	}
	return rest, value
}

// labelKey identifies a sorted label set; unlike [Labels.Key] it needs no [Labels].
func labelKey(labels []Label) string { return fmt.Sprintf("%q", labels) }

func labelPairs(labels []Label) []*dto.LabelPair {
	out := make([]*dto.LabelPair, len(labels))
	for i := range labels {
		out[i] = &dto.LabelPair{Name: &labels[i].Name, Value: &labels[i].Value}
	}
	return out
}

// helpTexts reads the HELP lines, which the parser skips. OpenMetrics escapes
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
