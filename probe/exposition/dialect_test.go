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

// openMetrics are the recordings in OpenMetrics, as testdata's make.py wrote them.
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

// What is read of a recording in OpenMetrics is what prom2json reads of it in the text
// format: families, types, help texts, values, counts and buckets.
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
		{"a hash in a label", "a{x=\"# {} 1\"} 2\n", []string{`a{"x"="# {} 1",} 2`}},
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

// A whole number behind a value is milliseconds in the text format.
func TestTimestamps(t *testing.T) {
	var page Page
	parser := NewParser(nil)
	for range 2 { // the second page finds the room of the first
		if err := parser.Parse([]byte("a 1\nb 1 1700000000123\nc 1 # a comment? no\n"), &page); err == nil || !strings.Contains(err.Error(), "line 3: behind the value of c") {
			t.Errorf("a comment behind a value: %v", err)
		}
		if err := parser.Parse([]byte("a 1\nb 1 1700000000123\n"), &page); err != nil || page.Samples[0].Timestamp != nil || *page.Samples[1].Timestamp != 1700000000123 {
			t.Errorf("%+v (%v)", page.Samples, err)
		}
	}
	for text, want := range map[string]string{
		"a 1 1.5\n":                  "line 1: timestamp of a: 1.5 is not a whole number",
		"a 1\nb 1 NaN\n# EOF\n":      "line 2: timestamp of b",
		"a 1 1e300\n# EOF\n":         "line 1: timestamp of a: 1e+300 s is beyond all times",
		"a 1 1 1\n# EOF\n":           "line 1: behind the value of a",
		"a 1 # {x=\"1\"}\n# EOF\n":   "line 1: behind the value of a",
		"a 1 # {x=\"1\" 1\n# EOF\n":  "line 1: behind the value of a",
		"a 1 # {} one\n# EOF\n":      "line 1: behind the value of a",
		"a 1 # {} 1 2 3\n# EOF\n":    "line 1: behind the value of a",
		"a 1 # 1\n# EOF\n":           "line 1: behind the value of a",
		"a_total # {} 1\n# EOF\n":    "line 1: value of a_total",
		"a_total1 # {} 1\n# EOF\n":   "line 1: value of a_total1",
		"a{x=\"1\"}# {} 1\n# EOF\n":  "line 1: value of a",
		"a 1 # {x=\"}\"} \n# EOF\n":  "line 1: behind the value of a",
		"a 1 12 # {} 0x1\n# EOF\n":   "line 1: behind the value of a",
		"a 1 12 soon # {}\n# EOF\n":  "line 1: behind the value of a",
		"a 1 +Inf # {} 1\n# EOF\n":   "line 1: timestamp of a",
		"a 1 1e19\n# EOF\n":          "line 1: timestamp of a: 1e+19 s",
		"a 1 99999999999999999999\n": "line 1: timestamp of a",
	} {
		if err := parser.Parse([]byte(text), &page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

// A page ends with `# EOF` if its header says that it is OpenMetrics: without it is
// cut, also at the end of a line, and nothing follows it.
func TestEOF(t *testing.T) {
	for _, c := range []struct {
		text   string
		header string // error with a header that says OpenMetrics
		none   string // and without
		is     bool   // OpenMetrics, without a header
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
		// Two pages one behind the other: the text format has a comment there.
		{"a 1\n# EOF\nb 1\n", "line 3: the page goes on after # EOF", "", false},
		{"a 1\n# EOF\nb 1\n# EOF\n", "line 3: the page goes on after # EOF", "", true},
		{"a 1\n# EOF\n# EOF", "cut off in its last line", "cut off in its last line", false},
		{"a 1\n# EOF\nb 1", "cut off in its last line", "cut off in its last line", false},
	} {
		for how, header := range map[string]bool{"by header": true, "by content": false} {
			want := c.none
			if header {
				want = c.header
			}
			for _, stream := range []bool{false, true} {
				var page Page
				parser := NewParser(nil)
				parser.OpenMetrics = header
				err := parser.Parse([]byte(c.text), &page)
				if stream {
					err = parser.ParseReader(iotest.OneByteReader(strings.NewReader(c.text)), &page)
				}
				if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%q %s: error %v, want %q", c.text, how, err, want)
				}
				if err == nil && page.OpenMetrics != (c.is || header) {
					t.Errorf("%q %s: OpenMetrics %v", c.text, how, page.OpenMetrics)
				}
			}
		}
	}
}

// prometheus_client writes OpenMetrics' own types into the text format as TestTypes's
// second page has them (exposition.py, generate_latest); there they are one's families.
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
		"text/plain; version=1.0.0; charset=utf-8":                   false, // vLLM 0.32.0's, whose page is in the text format
		"text/plain; version=0.0.4":                                  false,
		"":                                                           false,
	} {
		if got := IsOpenMetrics(contentType); got != want {
			t.Errorf("%q: %v", contentType, got)
		}
	}
}

// Labels may carry megabytes, and what nobody wants may be of any length.
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

// FuzzOpenMetrics: never a crash; what is read is the same whole or streamed, and the
// same as without the line that ends it, but for times.
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
		case whole.OpenMetrics && !strings.Contains(err.Error(), "goes on after # EOF"):
			t.Fatalf("OpenMetrics by content, and not by header: %v", err)
		}
		parser.OpenMetrics = false
		if end := bytes.LastIndex(body, []byte("# EOF")); whole.OpenMetrics && len(whole.stamps) == 0 && end >= 0 {
			if err := parser.Parse(body[:end], &bare); err != nil {
				t.Fatalf("without its end: %v", err)
			}
			if diff := cmp.Diff(flats(&whole), flats(&bare)); diff != "" {
				t.Fatalf("without its end:\n%s", diff)
			}
		}
	})
}
