package exposition

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// openMetrics returns the recordings in OpenMetrics, which testdata's make.py wrote.
func openMetrics(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../../testdata/expositions/openmetrics/*.om")
	if err != nil || len(paths) < 10 {
		t.Fatalf("expositions in OpenMetrics: found %d, want at least 10 (%v)", len(paths), err)
	}
	out := map[string][]byte{}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".om")+".prom"] = body
	}
	return out
}

// A recording in OpenMetrics yields what prom2json reads from it in the text format:
// families, types, help texts, values, counts and buckets.
func TestOpenMetricsEqualsTextFormat(t *testing.T) {
	text := recordings(t)
	parser := NewParser(nil)
	for name, body := range openMetrics(t) {
		want, err := prom2JSON(text[name]) // TestFamiliesEqualProm2JSON has it equal to prom2json's
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range want {
			f.Help = strings.TrimRight(f.Help, " ") // as prometheus_client's parser, which make.py uses
		}
		got, err := prom2JSON(body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); diff != "" {
			t.Errorf("%s: families (-text +OpenMetrics):\n%s", name, diff)
		}
		families, err := reference(text[name])
		if err != nil {
			t.Fatal(err)
		}
		whole, streamed := Page{}, Page{}
		parser.OpenMetrics = true
		if err := parser.Parse(body, &whole); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(referenceSamples(families), ourSamples(&whole)); diff != "" {
			t.Errorf("%s: samples differ from prom2json's (-want +got):\n%s", name, diff)
		}
		parser.OpenMetrics = false // by content alone
		if err := parser.ParseReader(iotest.HalfReader(bytes.NewReader(body)), &streamed); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(flats(&whole), flats(&streamed)); diff != "" || !maps.Equal(whole.Types, streamed.Types) {
			t.Errorf("%s: whole and streamed differ:\n%s", name, diff)
		}
		if !whole.OpenMetrics || !streamed.OpenMetrics {
			t.Errorf("%s is not taken for OpenMetrics", name)
		}
		if err := parser.Parse(text[name], &whole); err != nil || whole.OpenMetrics {
			t.Errorf("%s in the text format is taken for OpenMetrics (%v)", name, err)
		}
	}
}

func TestOpenMetricsFormat(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string // name{labels} value, then @ and the timestamp in ms
	}{
		{"exemplars", "a_total 2 # {id=\"1\"} 1\nb_bucket{le=\"1\"} 3 1.5 # {x=\" } # {\",y=\"\\\"\"} 0.5 1600000000.125\nc_total 1 # {} 1.0\n",
			[]string{"a_total{} 2", `b_bucket{"le"="1",} 3 @1500`, "c_total{} 1"}},
		{"a # in a label", "a{x=\"# {} 1\"} 2\n", []string{`a{"x"="# {} 1",} 2`}},
		{"timestamps are seconds", "a 1 1700000000\nb 1 1700000000.5\nc 2 1e3\nd 1 -1.5\n",
			[]string{"a{} 1 @1700000000000", "b{} 1 @1700000000500", "c{} 2 @1000000", "d{} 1 @-1500"}},
		{"quoted names", "# TYPE \"my.counter\" counter\n{\"my.counter_total\",\"a b\"=\"1\"} 4 # {t=\"x\"} 1\n", []string{`my.counter_total{"a b"="1",} 4`}},
		{"special values", "a NaN\nb +Inf\nc -Inf\n", []string{"a{} NaN", "b{} +Inf", "c{} -Inf"}},
		{"created", "# TYPE a counter\n# UNIT a seconds\n# HELP a \\\"quoted\\\"\na_total 1\na_created 1.6e+09\n", []string{"a_total{} 1", "a_created{} 1.6e+09"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, end := range []string{"# EOF\n", "# EOF", "# EOF\r\n"} {
				var page Page
				if err := NewParser(nil).Parse([]byte(c.text+end), &page); err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, s := range page.Samples {
					text := fmt.Sprintf("%s{%s} %v", s.Name, s.Labels.Key(), s.Value)
					if s.Timestamp != nil {
						text += fmt.Sprintf(" @%d", *s.Timestamp)
					}
					got = append(got, text)
				}
				if diff := cmp.Diff(c.want, got); diff != "" || !page.OpenMetrics {
					t.Errorf("with %q at its end, OpenMetrics %v (-want +got):\n%s", end, page.OpenMetrics, diff)
				}
			}
		})
	}
}

// A timestamp is in milliseconds in the text format, and must be an integer.
func TestTimestamps(t *testing.T) {
	var page Page
	parser := NewParser(nil)
	for range 2 { // the second page reuses the memory of the first
		if err := parser.Parse([]byte("a 1\nb 1 1700000000123\nc 1 # a comment? no\n"), &page); err == nil || !strings.Contains(err.Error(), "line 3: unexpected text after the value of c") {
			t.Errorf("a comment after a value: %v", err)
		}
		if err := parser.Parse([]byte("a 1\nb 1 1700000000123\n"), &page); err != nil || page.Samples[0].Timestamp != nil || *page.Samples[1].Timestamp != 1700000000123 {
			t.Errorf("%+v (%v)", page.Samples, err)
		}
	}
	for text, want := range map[string]string{
		"a 1 1.5\n":                  "line 1: timestamp of a: 1.5 is not a whole number",
		"a 1\nb 1 NaN\n# EOF\n":      "line 2: timestamp of b",
		"a 1 1e300\n# EOF\n":         "line 1: timestamp of a: 1e+300 s is out of range",
		"a 1 1 1\n# EOF\n":           "line 1: unexpected text after the value of a",
		"a 1 # {x=\"1\"}\n# EOF\n":   "line 1: unexpected text after the value of a",
		"a 1 # {x=\"1\" 1\n# EOF\n":  "line 1: unexpected text after the value of a",
		"a 1 # {} one\n# EOF\n":      "line 1: unexpected text after the value of a",
		"a 1 # {} 1 2 3\n# EOF\n":    "line 1: unexpected text after the value of a",
		"a 1 # 1\n# EOF\n":           "line 1: unexpected text after the value of a",
		"a_total # {} 1\n# EOF\n":    "line 1: value of a_total",
		"a_total1 # {} 1\n# EOF\n":   "line 1: value of a_total1",
		"a{x=\"1\"}# {} 1\n# EOF\n":  "line 1: value of a",
		"a 1 # {x=\"}\"} \n# EOF\n":  "line 1: unexpected text after the value of a",
		"a 1 12 # {} 0x1\n# EOF\n":   "line 1: unexpected text after the value of a",
		"a 1 12 soon # {}\n# EOF\n":  "line 1: unexpected text after the value of a",
		"a 1 +Inf # {} 1\n# EOF\n":   "line 1: timestamp of a",
		"a 1 1e19\n# EOF\n":          "line 1: timestamp of a: 1e+19 s",
		"a 1 99999999999999999999\n": "line 1: timestamp of a",
	} {
		if err := parser.Parse([]byte(text), &page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

// A page that is OpenMetrics by its Content-Type ends with `# EOF`. Without that it is cut
// off, even at the end of a line, and nothing may follow it.
func TestEOF(t *testing.T) {
	for _, c := range []struct {
		text     string
		marked   string // error if the Content-Type is OpenMetrics
		unmarked string // error otherwise
		is       bool   // OpenMetrics by content
	}{
		{"a 1\n# EOF\n", "", "", true},
		{"a 1\n# EOF", "", "", true},
		{"a 1\n# EOF\n\n", "", "", true},
		{"# EOF\n", "", "", true},
		{"", "", "", false},
		{"a 1\n", "does not end with # EOF", "", false},
		{"a 1\n# EO", "cut off in its last line", "cut off in its last line", false},
		{"a 1\n# EO\n", "does not end with # EOF", "", false},
		{"a 1\n# EOF2\n", "does not end with # EOF", "", false},
		{"a 1\n# TYPE b counter\n", "does not end with # EOF", "", false},
		// Two pages in a row. In the text format # EOF is a comment.
		{"a 1\n# EOF\nb 1\n", "line 3: the page continues after # EOF", "", false},
		{"a 1\n# EOF\nb 1\n# EOF\n", "line 3: the page continues after # EOF", "", true},
		{"a 1\n# EOF\n# EOF", "cut off in its last line", "cut off in its last line", false},
		{"a 1\n# EOF\nb 1", "cut off in its last line", "cut off in its last line", false},
	} {
		for how, marked := range map[string]bool{"marked": true, "unmarked": false} {
			want := c.unmarked
			if marked {
				want = c.marked
			}
			for _, stream := range []bool{false, true} {
				var page Page
				parser := NewParser(nil)
				parser.OpenMetrics = marked
				err := parser.Parse([]byte(c.text), &page)
				if stream {
					err = parser.ParseReader(iotest.OneByteReader(strings.NewReader(c.text)), &page)
				}
				if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%q %s: error %v, want %q", c.text, how, err, want)
				}
				if err == nil && page.OpenMetrics != (c.is || marked) {
					t.Errorf("%q %s: OpenMetrics %v", c.text, how, page.OpenMetrics)
				}
			}
		}
	}
}

// OpenMetrics' own types become the families that prometheus_client writes for them in the
// text format (exposition.py, generate_latest), as on the second page.
func TestTypes(t *testing.T) {
	const om = "# TYPE a info\n# HELP a told\na_info{x=\"1\"} 1\n# TYPE b stateset\nb{b=\"on\"} 1\n# TYPE c unknown\nc 3\n" +
		"# TYPE d gaugehistogram\nd_bucket{le=\"+Inf\"} 2\nd_gcount 2\nd_gsum 5\n# TYPE e summary\n# UNIT e_x x\ne{quantile=\"0.5\"} 2\ne_count 1\ne_sum 2\ne_created 5\n" +
		"# TYPE iteration_tokens_total histogram\niteration_tokens_total_bucket{le=\"+Inf\"} 1\niteration_tokens_total_count 1\niteration_tokens_total_sum 7\n" +
		"# TYPE total_bytes counter\ntotal_bytes_total 4\n# TYPE f_info gauge\nf_info 1\n# EOF\n"
	const text = "# TYPE a_info gauge\n# HELP a_info told\na_info{x=\"1\"} 1\n# TYPE b gauge\nb{b=\"on\"} 1\n# TYPE c untyped\nc 3\n" +
		"# TYPE d histogram\nd_bucket{le=\"+Inf\"} 2\n# TYPE d_gcount gauge\nd_gcount 2\n# TYPE d_gsum gauge\nd_gsum 5\n# TYPE e summary\ne{quantile=\"0.5\"} 2\ne_count 1\ne_sum 2\n# TYPE e_created gauge\ne_created 5\n" +
		"# TYPE iteration_tokens_total histogram\niteration_tokens_total_bucket{le=\"+Inf\"} 1\niteration_tokens_total_count 1\niteration_tokens_total_sum 7\n" +
		"# TYPE total_bytes_total counter\ntotal_bytes_total 4\n# TYPE f_info gauge\nf_info 1\n"
	got, err := prom2JSON([]byte(om))
	if err != nil {
		t.Fatal(err)
	}
	want, err := prom2JSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); diff != "" {
		t.Errorf("(-text +OpenMetrics):\n%s", diff)
	}
	var page Page
	if err := NewParser(nil).Parse([]byte(om), &page); err != nil {
		t.Fatal(err)
	}
	if want := map[string]Type{"a": Info, "b": StateSet, "c": Untyped, "d": GaugeHistogram, "e": Summary, "iteration_tokens_total": Histogram, "total_bytes": Counter, "f_info": Gauge}; !maps.Equal(page.Types, want) {
		t.Errorf("types %v, want %v", page.Types, want)
	}
}

func TestIsOpenMetrics(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/openmetrics-text; version=1.0.0; charset=utf-8": true,
		"application/openmetrics-text":                               true,
		" Application/OpenMetrics-Text;version=0.0.1":                true,
		"application/openmetrics-text-not":                           false,
		"text/plain; version=1.0.0; charset=utf-8":                   false, // vLLM 0.32.0's, with a page in the text format
		"text/plain; version=0.0.4":                                  false,
		"":                                                           false,
	} {
		if got := IsOpenMetrics(contentType); got != want {
			t.Errorf("%q: %v", contentType, got)
		}
	}
}

// Labels may have megabytes, and lines that are not wanted any length.
func TestLongLines(t *testing.T) {
	payload := strings.Repeat("payload ", 5<<16) // 2.5 MiB
	page := "# HELP x " + payload + "\n" +
		"other{x=\"" + payload + "\"} 1\n" +
		"x{x=\"" + payload + "\"} 2 # {y=\"" + payload[:2*chunk] + "\"} 1\n" +
		"other 1\n# " + payload + payload + "\nx 3\n"
	parser := NewParser(func(name string) bool { return name == "x" })
	var got Page
	if err := parser.ParseReader(iotest.HalfReader(strings.NewReader(page+"# EOF\n")), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Samples) != 2 || got.Samples[0].Value != 2 || got.Samples[0].Labels.Get("x") != payload || got.Samples[1].Value != 3 || !got.OpenMetrics {
		t.Errorf("%d samples, OpenMetrics %v", len(got.Samples), got.OpenMetrics)
	}
	payload = payload[:5*chunk]
	for text, want := range map[string]string{
		"# " + payload + "\nx one\n": "line 2: value of x",
		"x 1\n# " + payload:          "cut off in its last line",
		"# EOF\n# " + payload + "\n": "",
		"other{" + payload:           "cut off in its last line",
		"x{y=\"" + payload + "\"}":   "cut off in its last line",
	} {
		var got Page
		err := parser.ParseReader(strings.NewReader(text), &got)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("…%.20q: error %v, want %q", text[len(text)-20:], err, want)
		}
	}
}

// FuzzOpenMetrics checks that any page is parsed without a crash, whole and streamed to the
// same samples, and, timestamps apart, to those of the page without # EOF.
func FuzzOpenMetrics(f *testing.F) {
	for _, body := range openMetrics(f) {
		f.Add(body[:4096])
		f.Add(body[len(body)-4096:])
		i := bytes.Index(body, []byte(" # {"))
		f.Add(body[max(0, i-2048) : i+512])
	}
	f.Add([]byte("# TYPE a counter\na_total 1 1.5 # {x=\"}\"} 1 2\n{\"a.b\"} 1\n# EOF"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var whole, streamed, bare Page
		parser := NewParser(nil)
		err := parser.Parse(body, &whole)
		streamErr := parser.ParseReader(iotest.OneByteReader(bytes.NewReader(body)), &streamed)
		if (err == nil) != (streamErr == nil) {
			t.Fatalf("whole: %v, streamed: %v", err, streamErr)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(flats(&whole), flats(&streamed)); diff != "" || whole.OpenMetrics != streamed.OpenMetrics {
			t.Fatalf("whole and streamed differ:\n%s", diff)
		}
		if _, err := Families(body); err != nil && !strings.Contains(err.Error(), "not a number") {
			t.Fatalf("samples, and no families: %v", err)
		}
		parser.OpenMetrics = true
		switch err := parser.Parse(body, &bare); {
		case err == nil && bare.OpenMetrics:
		case whole.OpenMetrics && !strings.Contains(err.Error(), "continues after # EOF"):
			t.Fatalf("OpenMetrics by content, but an error if marked: %v", err)
		}
		parser.OpenMetrics = false
		if end := bytes.LastIndex(body, []byte("# EOF")); whole.OpenMetrics && len(whole.timestamps) == 0 && end >= 0 {
			if err := parser.Parse(body[:end], &bare); err != nil {
				t.Fatalf("without # EOF: %v", err)
			}
			if diff := cmp.Diff(flats(&whole), flats(&bare)); diff != "" {
				t.Fatalf("without # EOF:\n%s", diff)
			}
		}
	})
}
