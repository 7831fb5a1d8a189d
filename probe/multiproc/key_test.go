package multiproc

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/probe/exposition"
)

func TestParseKey(t *testing.T) {
	for raw, want := range map[string]key{
		`["a", "b", {}, "c"]`:                       {family: "a", sample: "b"},
		" [ \"a\" ,\n\t\"b\",{ } ,\"c\\n\\\"\" ]\r": {family: "a", sample: "b"},
		`["a", "b", {"x": "", "y": "\"\\\/\b\f\n\r\t"}, ""]`: {
			family: "a", sample: "b", labels: []exposition.Label{{Name: "x"}, {Name: "y", Value: "\"\\/\b\f\n\r\t"}}},
		`["a", "b", {"x": "\u00e9é\uD83C\udf21 \u0000"}, ""]`: {
			family: "a", sample: "b", labels: []exposition.Label{{Name: "x", Value: "éé🌡 \x00"}}},
		`["a", "b", {"x": "\ud83c\u0041"}, ""]`: {
			family: "a", sample: "b", labels: []exposition.Label{{Name: "x", Value: "\ufffdA"}}, loneSurrogate: true},
		`["a", "b", {"x": "\udc80"}, ""]`: {
			family: "a", sample: "b", labels: []exposition.Label{{Name: "x", Value: "\ufffd"}}, loneSurrogate: true},
		`["a", "b", {}, "\udc80"]`: {family: "a", sample: "b"}, // samples do not have the help text
	} {
		got, err := parseKey([]byte(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(key{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
}

// The expected values are those of floatToGoString in prometheus_client 0.26.0.
func TestFormatBound(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0.0", 1: "1.0", -1: "-1.0", 0.5: "0.5", 0.0001: "0.0001", 0.00001: "1e-05", 2.5e-7: "2.5e-07",
		99999: "99999.0", 100000: "100000.0", 999999.5: "999999.5", 1e6: "1e+06", 1234567: "1.234567e+06", 12345678.5: "1.23456785e+07",
		1e9: "1e+09", 1e10: "1e+10", 123456789012345: "1.23456789012345e+14", 1e15: "1e+15", 1e16: "1e+16", 1e21: "1e+21", 1e300: "1e+300",
		-1e6: "-1000000.0", -1e16: "-1e+16", 5e-324: "5e-324", math.Inf(1): "+Inf", math.Inf(-1): "-Inf",
	} {
		if got := formatBound(x); got != want {
			t.Errorf("%g: %s, want %s", x, got, want)
		}
	}
}

func TestFileKind(t *testing.T) {
	for name, want := range map[string]string{
		"counter_1.db":               "0 1 false",
		"summary_1.db":               "1 1 false",
		"histogram_12345.db":         "2 12345 false",
		"gauge_all_1.db":             "3 1 false",
		"gauge_liveall_1.db":         "3 1 true",
		"gauge_livemin_1.db":         "4 1 true",
		"gauge_max_host_1.db":        "5 host_1 false",
		"gauge_livesum_1.db":         "6 1 true",
		"gauge_mostrecent_1.db":      "7 1 false",
		"gauge_livemostrecent_1.db":  "7 1 true",
		"gauge_livelivesum_1.db":     "",
		"gauge_1.db":                 "",
		"gauge_all.db":               "",
		"livecounter_1.db":           "",
		"all_1.db":                   "",
		"counter_1.dbx":              "",
		"xcounter_1.db":              "",
		"counter.db":                 "",
		"gauge_most_recent_1.db":     "",
		"gaugehistogram_1.db":        "",
		"counter_1.db.db":            "0 1.db false",
		"gauge_mostrecentest_17.db":  "",
		"counter_gauge_all_liveX.db": "0 gauge_all_liveX false",
	} {
		got := ""
		if k, id, live, ok := fileKind(name); ok {
			got = fmt.Sprint(k, " ", id, " ", live)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// FuzzKey checks that a key is either invalid or what encoding/json reads from it.
func FuzzKey(f *testing.F) {
	f.Add([]byte(`["a", "b_total", {"x": "1", "y": "\u00e9\ud83c\udf21"}, "help\n"]`))
	f.Add([]byte(`["a", "b", {}, ""]`))
	f.Add([]byte(`["a", "b", {"x": "\ud83c"}, ""] `))
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := parseKey(raw)
		if err != nil {
			return
		}
		var list []json.RawMessage
		var family, sample, help string
		labels := map[string]string{}
		if err := json.Unmarshal(raw, &list); err != nil || len(list) != 4 {
			t.Fatalf("%q: %d items, %v", raw, len(list), err)
		}
		for i, into := range []any{&family, &sample, &labels, &help} {
			if err := json.Unmarshal(list[i], into); err != nil {
				t.Fatal(err)
			}
		}
		if family != k.family || sample != k.sample {
			t.Errorf("%q: %q %q", raw, k.family, k.sample)
		}
		if len(labels) > len(k.labels) {
			t.Errorf("%q: %q", raw, k.labels)
		}
		for i, l := range k.labels {
			later := false // NewLabels rejects a duplicate name later
			for _, other := range k.labels[i+1:] {
				later = later || other.Name == l.Name
			}
			if !later && labels[l.Name] != l.Value {
				t.Errorf("%q: %q", raw, l)
			}
		}
	})
}

// FuzzBound checks that a formatted bound is parsed as the same value.
func FuzzBound(f *testing.F) {
	for _, x := range []float64{0.1, 1e6, 1e16, 12345678.5, 5e-324} {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, x float64) {
		if math.IsNaN(x) {
			return
		}
		if got, ok := parseBound(formatBound(x)); !ok || got != x {
			t.Errorf("%g: %s is parsed as %g", x, formatBound(x), got)
		}
	})
}
