package exposition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prom2json"
)

// reference reads a page with expfmt and returns prom2json's families by name.
func reference(body []byte) (map[string]*prom2json.Family, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out := map[string]*prom2json.Family{}
	for name, f := range families {
		out[name] = prom2json.NewFamily(f)
	}
	return out, nil
}

// flat is a sample in a form that both parsers' results convert to.
type flat struct {
	Name   string
	Labels string
	Value  string
}

func flatten(name string, labels map[string]string, value string) flat {
	keys := slices.Sorted(maps.Keys(labels))
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%q=%q,", k, labels[k])
	}
	return flat{name, b.String(), value}
}

func with(labels map[string]string, name, value string) map[string]string {
	out := maps.Clone(labels)
	out[name] = value
	return out
}

func referenceSamples(families map[string]*prom2json.Family) []flat {
	var out []flat
	for name, f := range families {
		for _, m := range f.Metrics {
			switch m := m.(type) {
			case prom2json.Metric:
				out = append(out, flatten(name, m.Labels, m.Value))
			case prom2json.Summary:
				out = append(out, flatten(name+"_count", m.Labels, m.Count), flatten(name+"_sum", m.Labels, m.Sum))
				for q, v := range m.Quantiles {
					out = append(out, flatten(name, with(m.Labels, "quantile", q), v))
				}
			case prom2json.Histogram:
				out = append(out, flatten(name+"_count", m.Labels, m.Count), flatten(name+"_sum", m.Labels, m.Sum))
				for le, v := range m.Buckets.(map[string]string) {
					out = append(out, flatten(name+"_bucket", with(m.Labels, "le", le), v))
				}
			}
		}
	}
	return sorted(out)
}

func ourSamples(page *Page) []flat {
	var out []flat
	for _, s := range page.Samples {
		labels := map[string]string{}
		for _, p := range s.Labels.Pairs() {
			value := p.Value
			if p.Name == "le" && strings.HasSuffix(s.Name, "_bucket") || p.Name == "quantile" {
				if x, ok := parseValue([]byte(value)); ok {
					value = fmt.Sprint(x)
				}
			}
			labels[p.Name] = value
		}
		value := fmt.Sprint(s.Value)
		if strings.HasSuffix(s.Name, "_bucket") || strings.HasSuffix(s.Name, "_count") {
			value = fmt.Sprint(uint64(s.Value)) // the reference keeps counts as integers
		}
		out = append(out, flatten(s.Name, labels, value))
	}
	return sorted(out)
}

func sorted(s []flat) []flat {
	sort.Slice(s, func(i, j int) bool {
		a, b := s[i], s[j]
		return a.Name < b.Name || a.Name == b.Name && (a.Labels < b.Labels || a.Labels == b.Labels && a.Value < b.Value)
	})
	return s
}

func recordings(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../../testdata/expositions/*.prom")
	if err != nil || len(paths) < 10 {
		t.Fatalf("recorded expositions: found %d, want at least 10 (%v)", len(paths), err)
	}
	out := map[string][]byte{}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(path)] = body
	}
	return out
}

// Recorded pages yield the samples that expfmt and prom2json read.
func TestEqualToReference(t *testing.T) {
	parser := NewParser(nil) // one for all pages, so that its cache is tested too
	var page Page
	for name, body := range recordings(t) {
		equalToReference(t, parser, &page, name, body, 100)
	}
}

// equalToReference compares the samples of a page with the reference's, which must be at
// least minSamples.
func equalToReference(t *testing.T, parser *Parser, page *Page, name string, body []byte, minSamples int) {
	t.Helper()
	families, err := reference(body)
	if err != nil {
		t.Fatalf("%s: the reference cannot read it: %v", name, err)
	}
	if err := parser.Parse(body, page); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	want, got := referenceSamples(families), ourSamples(page)
	if len(want) < minSamples {
		t.Fatalf("%s: the reference has only %d samples", name, len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: samples differ from prom2json's (-want +got):\n%s", name, diff)
	}
	for family, f := range families {
		if got, want := typeName(page.Types[family]), f.Type; got != want {
			t.Errorf("%s: type of %s is %s, want %s", name, family, got, want)
		}
	}
}

// What `vobs scrape` prints is what prom2json would print.
func TestFamiliesEqualProm2JSON(t *testing.T) {
	pages := recordings(t)
	pages["summary"] = []byte("# HELP a text with \\\\ and \\n in it\n# TYPE a summary\na{quantile=\"0.5\"} 2 1700000000000\na_sum 4\na_count 2\nb_count 1\nb{x=\"1\"} NaN -5\n")
	for name, body := range pages {
		families, err := reference(body)
		if err != nil {
			t.Fatalf("%s: the reference cannot read it: %v", name, err)
		}
		var want []*prom2json.Family
		for _, n := range slices.Sorted(maps.Keys(families)) {
			if len(families[n].Metrics) > 0 { // a declared family without samples is not kept
				want = append(want, families[n])
			}
		}
		got, err := prom2JSON(body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); diff != "" {
			t.Errorf("%s (-prom2json +ours):\n%s", name, diff)
		}
	}
}

// prom2JSON reads a page with our reader, as vobs scrape does.
func prom2JSON(body []byte) ([]*prom2json.Family, error) {
	families, err := Families(body)
	var out []*prom2json.Family
	for _, f := range families {
		out = append(out, prom2json.NewFamily(f))
	}
	return out, err
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func typeName(t Type) string {
	return [...]dto.MetricType{dto.MetricType_UNTYPED, dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_HISTOGRAM, dto.MetricType_SUMMARY}[t].String()
}

// A parser keeps only what is wanted.
func TestWantedOnly(t *testing.T) {
	body := recordings(t)["serve_default_post.prom"]
	wanted := map[string]bool{"vllm:generation_tokens_total": true, "vllm:time_to_first_token_seconds": true, "vllm:time_to_first_token_seconds_bucket": true}
	parser := NewParser(func(name string) bool { return wanted[name] })
	var page Page
	if err := parser.Parse(body, &page); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, s := range page.Samples {
		counts[s.Name]++
		if s.Name == "vllm:generation_tokens_total" && (s.Value != 5753 || s.Labels.Get("model_name") != "tiny" || s.Labels.Get("engine") != "0") {
			t.Errorf("generation tokens are %v %s", s.Value, s.Labels.Key())
		}
	}
	if want := map[string]int{"vllm:generation_tokens_total": 1, "vllm:time_to_first_token_seconds_bucket": 23}; !maps.Equal(counts, want) {
		t.Errorf("kept %v, want %v", counts, want)
	}
	if want := map[string]Type{"vllm:generation_tokens_total": Counter, "vllm:time_to_first_token_seconds": Histogram}; !maps.Equal(page.Types, want) {
		t.Errorf("types %v, want %v", page.Types, want)
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []flat
	}{
		{"no labels", "a 1\n", []flat{{"a", "", "1"}}},
		{"blanks everywhere", " \ta{ x = \"1\" , y=\"2\", }\t 2.5  17 \n", []flat{{"a", `"x"="1","y"="2",`, "2.5"}}},
		{"empty braces", "a{} 1e3\n", []flat{{"a", "", "1000"}}},
		{"sorted labels", "a{y=\"2\",x=\"1\"} 1\n", []flat{{"a", `"x"="1","y"="2",`, "1"}}},
		{"escapes", `a{x="q\"b\\n\n}"} 1` + "\n", []flat{{"a", `"x"="q\"b\\n\n}",`, "1"}}},
		{"special values", "a +Inf\nb -Inf\nc NaN\n", []flat{{"a", "", "+Inf"}, {"b", "", "-Inf"}, {"c", "", "NaN"}}},
		{"quoted name", "{\"my.metric\",x=\"1\"} 4\n", []flat{{"my.metric", `"x"="1",`, "4"}}},
		{"quoted label", "a{\"my.label\"=\"1\"} 4\n", []flat{{"a", `"my.label"="1",`, "4"}}},
		{"a name that starts like the previous one", "ab 1\nabc 2\nab{x=\"1\"} 3\n", []flat{{"ab", "", "1"}, {"ab", `"x"="1",`, "3"}, {"abc", "", "2"}}},
		{"comments", "# a comment\n#\n# TYPE\n# HELP a\n# TYPE a gauge\na 1\n", []flat{{"a", "", "1"}}},
		{"long numbers", "a 123456789012345678\nb 0.1\nc 9007199254740993.0\n", []flat{{"a", "", "1.2345678901234568e+17"}, {"b", "", "0.1"}, {"c", "", "9.007199254740992e+15"}}},
		{"empty page", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var page Page
			if err := NewParser(nil).Parse([]byte(c.text), &page); err != nil {
				t.Fatal(err)
			}
			var got []flat
			for _, s := range page.Samples {
				got = append(got, flat{s.Name, s.Labels.Key(), fmt.Sprint(s.Value)})
			}
			if diff := cmp.Diff(c.want, sorted(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvalidPages(t *testing.T) {
	for _, c := range []struct{ name, text, message string }{
		{"HTML", "<html>\n", "line 1: no metric name"},
		{"JSON", "{\"a\": 1}\n", "line 1: label a has no value"},
		{"no value", "a 1\nb{x=\"1\"}\n", "line 2: value of b"},
		{"no number", "a one\n", "line 1: value of a"},
		{"hexadecimal", "a 0x1p2\n", "line 1: value of a"},
		{"open braces", "a{x=\"1\" 2\n", "line 1: labels of a are not closed"},
		{"open quotes", "a{x=\"1} 2\n", "line 1: labels of a are not closed"},
		{"label twice", "a{x=\"1\",x=\"2\"} 2\n", "line 1: duplicate label x"},
		{"no quotes", "a{x=1} 2\n", "line 1: value of label x is not quoted"},
		{"invalid UTF-8", "a{x=\"\xff\"} 2\n", "line 1: value of label x: not valid UTF-8"},
		{"timestamp", "a 1 soon\n", "line 1: timestamp of a"},
		{"labels without a name", "{x=\"1\"} 2\n", "line 1: no metric name"},
		{"cut", "a 1\nb 12", "cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var page Page
			err := NewParser(nil).Parse([]byte(c.text), &page)
			if err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("error %v, want one with %q", err, c.message)
			}
		})
	}
}

// FuzzParse checks that any page is parsed without a crash, and that a page that the
// reference accepts yields the same samples.
func FuzzParse(f *testing.F) {
	for _, body := range recordings(f) {
		f.Add(body[:4096])
		f.Add(body[len(body)-4096:])
	}
	f.Add([]byte("{\"a.b\",c=\"d\\n\"} 1e-3 12\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 3\nx_sum 1\nx_count 3\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var page Page
		err := NewParser(nil).Parse(body, &page)
		families, refErr := reference(body)
		if refErr != nil {
			return
		}
		if errors.Is(err, ErrCut) {
			return // expfmt accepts a comment without a newline
		}
		if err != nil {
			if bytes.ContainsRune(body, '\r') || bytes.ContainsAny(body, "iInN_xX") {
				return // expfmt accepts more line ends and spellings of infinity
			}
			t.Fatalf("the reference accepts the page: %v", err)
		}
		for _, family := range families {
			if family.Type == "SUMMARY" || family.Type == "HISTOGRAM" {
				return // expfmt combines their lines by its own rules, which the recordings cover
			}
		}
		want := referenceSamples(families)
		var got []flat
		for _, s := range page.Samples {
			labels := map[string]string{}
			for _, p := range s.Labels.Pairs() {
				labels[p.Name] = p.Value
			}
			got = append(got, flatten(s.Name, labels, fmt.Sprint(s.Value)))
		}
		if diff := cmp.Diff(want, sorted(got)); diff != "" {
			t.Fatalf("samples differ (-want +got):\n%s", diff)
		}
	})
}

// manyEngines repeats an engine's samples for 64 engines: more than 2 MB.
func manyEngines(b *testing.B) []byte {
	page := recordings(b)["serve_default_post.prom"]
	var out bytes.Buffer
	for _, line := range strings.SplitAfter(string(page), "\n") {
		if !strings.Contains(line, `engine="0"`) {
			out.WriteString(line)
			continue
		}
		for e := range 64 {
			out.WriteString(strings.Replace(line, `engine="0"`, fmt.Sprintf(`engine="%d"`, e), 1))
		}
	}
	return out.Bytes()
}

// BenchmarkParse compares this parser with expfmt, the library that a user would choose,
// and with only splitting lines.
func BenchmarkParse(b *testing.B) {
	wanted := map[string]bool{}
	for _, n := range []string{"vllm:kv_cache_usage_perc", "vllm:num_requests_running", "vllm:prompt_tokens_total", "vllm:generation_tokens_total"} {
		wanted[n] = true
	}
	for _, page := range []struct {
		name string
		body []byte
	}{{"1engine", recordings(b)["serve_default_post.prom"]}, {"64engines", manyEngines(b)}} {
		read := func(want func(string) bool) func(b *testing.B) {
			return func(b *testing.B) {
				b.SetBytes(int64(len(page.body)))
				b.ReportAllocs()
				parser, into := NewParser(want), Page{}
				for b.Loop() {
					if err := parser.Parse(page.body, &into); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		b.Run(page.name+"/wanted", read(func(n string) bool { return wanted[n] }))
		b.Run(page.name+"/all", read(nil))
		b.Run(page.name+"/expfmt", func(b *testing.B) {
			b.SetBytes(int64(len(page.body)))
			b.ReportAllocs()
			for b.Loop() {
				parser := expfmt.NewTextParser(model.UTF8Validation)
				if _, err := parser.TextToMetricFamilies(bytes.NewReader(page.body)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(page.name+"/lines", func(b *testing.B) {
			b.SetBytes(int64(len(page.body)))
			for b.Loop() {
				n := 0
				for rest := page.body; len(rest) > 0; n++ {
					rest = rest[bytes.IndexByte(rest, '\n')+1:]
				}
				if n < 100 {
					b.Fatal(n)
				}
			}
		})
	}
}

// Parsing a page again allocates next to nothing.
func TestAllocations(t *testing.T) {
	body := recordings(t)["serve_default_post.prom"]
	parser, page := NewParser(nil), Page{}
	if err := parser.Parse(body, &page); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(5, func() { _ = parser.Parse(body, &page) }); n > 5 {
		t.Errorf("parsing the page again allocates %v times, want at most 5", n)
	}
}

func TestNaN(t *testing.T) {
	var page Page
	if err := NewParser(nil).Parse([]byte("a NaN\n"), &page); err != nil || len(page.Samples) != 1 || !math.IsNaN(page.Samples[0].Value) {
		t.Errorf("NaN is parsed as %v (%v)", page.Samples, err)
	}
}
