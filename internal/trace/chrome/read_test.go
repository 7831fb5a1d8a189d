package chrome_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/vobs/vobs/internal/trace"
	"github.com/vobs/vobs/internal/trace/chrome"
)

// read analyses the text of a trace, in two passes.
func read(t testing.TB, text []byte) (*trace.Result, error) {
	t.Helper()
	c := trace.NewCollector("trace.json", trace.DefaultClasses())
	in, err := chrome.Decompress(bytes.NewReader(text))
	if err == nil {
		err = chrome.Read(in, c)
	}
	if err != nil {
		return nil, err
	}
	r := trace.NewResult()
	if gaps := trace.NewGapFinder(r.Add(c)); gaps != nil {
		in, err := chrome.Decompress(bytes.NewReader(text))
		if err == nil {
			err = chrome.ReadCPU(in, gaps)
		}
		if err != nil {
			return nil, err
		}
		gaps.Finish()
	}
	return r, nil
}

func near(t testing.TB, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// The figures of real traces. Those of mi250 and a100_event_sync were added up by hand from
// the events; TestSharedHolisticTraceAnalysis has the whole traces.
func TestFiles(t *testing.T) {
	r := analyze(t, "../../../testdata/traces/torch/mi250.json.gz")
	d := r.Devices[0]
	if d.Device != 2 || d.Name != "AMD Radeon Graphics" || d.Classes["memory"].Kernels != 2 || d.Classes["gemm"].Kernels == 0 || len(r.Steps) != 0 {
		t.Errorf("mi250: %+v", d)
	}
	near(t, "mi250: copies", d.Classes["memory"].Seconds, 38.161e-6)
	near(t, "mi250: kernels", d.KernelBusySeconds, 110.881e-6)

	d = analyze(t, "../../../testdata/traces/torch/a100_event_sync.json.gz").Devices[0]
	near(t, "a100: gemm", d.Classes["gemm"].Seconds, 369e-6)
	near(t, "a100: busy", d.BusySeconds, 372e-6)
	near(t, "a100: idle", d.IdleFraction, 19134./19506)
	if d.Rank == nil || *d.Rank != 0 || d.Name != "NVIDIA A100-PG509-200" {
		t.Errorf("a100: %v", d.Name)
	}
	if g := d.Gaps.Longest[0]; g.Cause != trace.LateLaunch || g.CPU == nil || g.After != "ampere_sgemm_128x64_nn" {
		t.Errorf("a100: longest gap %+v, CPU %+v", g, g.CPU)
	}

	r = analyze(t, "../../../testdata/traces/torch/cpu_only.json.gz")
	if len(r.Devices) != 0 || r.Document != nil || len(r.Notes) != 1 || r.Notes[0] != "cpu_only.json.gz: no kernels: the trace has 60 events of the CPU alone" {
		t.Errorf("cpu_only: %+v", r)
	}
}

// event returns a kernel in JSON.
func event(name string, start, duration float64) string {
	return fmt.Sprintf(`{"ph": "X", "cat": "kernel", "name": "%s", "pid": 0, "tid": 7, "ts": %.3f, "dur": %.3f, "args": {"device": 0, "stream": 7, "correlation": %d}}`, name, start, duration, int(start))
}

// What stricter readers refuse is read.
func TestTolerance(t *testing.T) {
	one, two := event("sgemm_1", 1000, 10), event("sgemm_2", 2000, 20)
	whole := `{"schemaVersion": 1, "traceEvents": [` + one + ", " + two + `]}`
	for name, c := range map[string]struct {
		text    string
		kernels int64
		note    string
	}{
		"object":                {whole, 2, ""},
		"array":                 {"[" + one + "," + two + "]", 2, ""},
		"array without its end": {"[" + one + "," + two, 2, "cut"},
		"white space":           {"\n\t " + whole + "\n\x00\x00", 2, ""},
		"control characters":    {strings.Replace(whole, "sgemm_1", "sg\x00em\nm\x1b\t", 1), 2, ""},
		"duplicate keys":        {strings.Replace(whole, `"pid": 0,`, `"pid": 0, "pid": 0, "name": "sgemm_3",`, 1), 2, ""},
		"not UTF-8":             {strings.Replace(whole, "sgemm_1", "sgemm\xff\xfe", 1), 2, ""},
		"a lone surrogate":      {strings.Replace(whole, "sgemm_1", `sgemm\ud800`, 1), 2, ""},
		"cut amid an event":     {whole[:len(whole)-30], 1, "the file is cut: it ends after"},
		"cut before an event":   {whole[:strings.Index(whole, two)], 1, "the file is cut"},
		"a bad escape":          {strings.Replace(whole, "sgemm_1", `sgemm\x41`, 1), 1, "1 parts of the trace are not JSON"},
		"a bad number":          {strings.Replace(whole, `10.000`, `-inf`, 1), 1, "1 parts of the trace are not JSON"},
		"a bad last event":      {strings.Replace(whole, `20.000`, `nan`, 1), 1, "1 parts of the trace are not JSON"},
		"text after the end":    {whole + "}}}]", 2, ""},
		"args first":            {`[{"args": {"device": 0, "stream": 7}, "ts": 1, "dur": 2, "cat": "kernel", "name": "x", "ph": "X"}]`, 1, ""},
		"quoted times":          {`[{"ph": "X", "cat": "kernel", "name": "x", "ts": "1.5", "dur": "2", "args": {"device": 0}}]`, 1, ""},
		"odd events":            {`[1, null, [], {"ph": 1, "args": 3, "name": {}}, ` + one + "]", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := read(t, []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			kernels := int64(0)
			for _, d := range r.Devices {
				for _, k := range d.Classes {
					kernels += k.Kernels
				}
			}
			notes := strings.Join(r.Notes, "; ")
			if kernels != c.kernels || !strings.Contains(notes, c.note) || (c.note == "") != (notes == "") {
				t.Errorf("%d kernels, want %d; notes %q, want %q", kernels, c.kernels, notes, c.note)
			}
		})
	}
}

func TestNoTrace(t *testing.T) {
	for text, want := range map[string]string{
		"": "the file is empty", "  \n": "not a trace", "hello": "not a trace", "7": "not a trace", "{}": "not a trace",
		`{"a": 1`: "not a trace", `{"traceEvents": 3}`: "not a trace", `{"a": tru, "traceEvents": []}`: "not a trace",
	} {
		if _, err := read(t, []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// Compressed traces are read, also when they are cut or damaged.
func TestCompressed(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"traceEvents": [` + event("sgemm", 1, 0.5))
	for i := range 50_000 {
		b.WriteString(",\n" + event("sgemm", float64(i+2), 0.25))
	}
	text := b.String() + "]}"
	var zip, zst bytes.Buffer
	g := gzip.NewWriter(&zip)
	_, _ = g.Write([]byte(text))
	_ = g.Close()
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	for name, data := range map[string][]byte{"gzip": zip.Bytes(), "zstd": zst.Bytes()} {
		r, err := read(t, data)
		if err != nil || r.Devices[0].Classes["gemm"].Kernels != 50_001 || len(r.Notes) != 0 {
			t.Errorf("%s: %v, %q", name, err, r.Notes)
			continue
		}
		near(t, name, r.Devices[0].BusySeconds, (0.5+50_000*0.25)*1e-6)
		damaged := bytes.Clone(data[:len(data)*3/4])
		r, err = read(t, damaged)
		if err != nil || len(r.Devices) != 1 || len(r.Notes) != 1 {
			t.Errorf("%s, cut: %v, %+v", name, err, r)
		}
	}
}

// Times are exact to the nanosecond, as large as they are.
func TestTimes(t *testing.T) {
	r, err := read(t, []byte(`[`+strings.Join([]string{
		`{"ph": "X", "cat": "kernel", "name": "a", "ts": 1735632360000000.123, "dur": 0.0015, "args": {"device": 0}}`,
		`{"ph": "X", "cat": "kernel", "name": "a", "ts": 1735632360000002.1236, "dur": 1e3, "args": {"device": 0}}`,
		`{"ph": "X", "cat": "kernel", "name": "a", "ts": 99999999999999999999, "dur": 1, "args": {"device": 0}}`,
		`{"ph": "X", "cat": "kernel", "name": "a", "ts": 1e300, "dur": 1, "args": {"device": 0}}`,
		`{"ph": "X", "cat": "kernel", "name": "a", "ts": "now", "dur": 1, "args": {"device": 0}}`,
		`{"ph": "X", "cat": "kernel", "name": "a", "ts": -5.5, "dur": 1, "args": {"device": 1}}`,
	}, ",")+`]`))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "span", r.Devices[0].SpanSeconds, 1002.001e-6)
	near(t, "busy", r.Devices[0].BusySeconds, 1000.002e-6)
	if len(r.Devices) != 2 || r.Devices[0].Classes["other"].Kernels != 2 {
		t.Errorf("%+v", r.Devices)
	}
}
