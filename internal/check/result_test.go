package check

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// everything is a result with every verdict, doubts, several events and awkward names.
func everything(t *testing.T) Result {
	t.Helper()
	second := example(t, func(e *schema.GenerationObservability) {
		e.Run.ID = "019aa8f2-0000-7b6a-9d0e-3f6f1d2a9c11"
		e.Run.ExitCode = schema.Ptr(3)
		e.GPUs = append(e.GPUs, e.GPUs[0])
		e.GPUs[1].PeakBytes = schema.Ptr(*e.GPUs[0].PeakBytes + 1)
	})
	return run(t, Options{Limits: limits(t, "chat", "<gpu_memory=70.875GiB", "<e2e.p99=25s", "<queue_time=1s", ">generation_tokens_per_second=3000",
		"<engine.kv_offload.load.size_bytes.p99=1GB")}, example(t, nil)+second, core)
}

// The result in every format; go test -update rewrites the files.
func TestGolden(t *testing.T) {
	r := everything(t)
	for _, f := range Formats() {
		t.Run(string(f), func(t *testing.T) {
			testkit.Golden(t, "testdata/golden/"+string(f), written(t, func(w io.Writer) error { return r.Write(w, f) }))
		})
	}
}

func TestFormats(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(string(f)); got != f || err != nil {
			t.Errorf("%s: %s, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("csv"); err == nil || err.Error() != `format "csv": use text, json, markdown or junit` {
		t.Error(err)
	}
}

func TestHeadline(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      Options
		limits []string
		want   string
	}{
		{"passed", Options{}, []string{"<peak_vram=80GiB"}, "passed: 1 check in 1 event"},
		{"failed", Options{}, []string{"<peak_vram=7GiB", "<e2e=18s", "<queue_time=1s"}, "failed: 3 checks in 1 event: 1 failed, 1 undecided, 1 missing"},
		{"allowed", Options{AllowUndecided: true, AllowMissing: true}, []string{"<e2e=18s", "<queue_time=1s"}, "passed: 2 checks in 1 event: 1 undecided (allowed), 1 missing (allowed)"},
		{"one is allowed", Options{AllowUndecided: true}, []string{"<e2e=18s", "<queue_time=1s"}, "failed: 2 checks in 1 event: 1 undecided (allowed), 1 missing"},
		{"validity", Options{StrictValidity: true}, nil, "failed: 0 checks in 1 event: 1 doubt about validity"},
	} {
		c.o.Limits = limits(t, c.limits...)
		if got := run(t, c.o, example(t, nil)).Headline(); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestMeasuredText(t *testing.T) {
	x := schema.Ptr[float64]
	for _, c := range []struct {
		check                Check
		wantMeasured, wanted string
	}{
		{Check{Unit: schema.UnitSeconds, Low: x(0.25), High: x(0.5), Limit: 0.3, Bound: Max}, "250 ms to 500 ms", "at most 300 ms"},
		{Check{Unit: schema.UnitSeconds, Low: x(0), High: x(0.5), Limit: 0.3, Bound: Max}, "up to 500 ms", "at most 300 ms"},
		{Check{Unit: schema.UnitSeconds, High: x(0.5), Limit: 0.3, Bound: Min}, "up to 500 ms", "at least 300 ms"},
		{Check{Unit: schema.UnitSeconds, Low: x(20), Limit: 0.3, Bound: Max}, "above 20 s", "at most 300 ms"},
		{Check{Unit: schema.UnitSeconds, Low: x(0), Limit: 0.3, Bound: Max}, "unknown", "at most 300 ms"},
		{Check{Unit: schema.UnitSeconds, Limit: 0.3, Bound: Max, Verdict: Missing}, "-", "at most 300 ms"},
		{Check{Unit: schema.UnitGibibytes, Value: x(70.00000001), Limit: 70, Bound: Max}, "70.00000001 GiB", "at most 70 GiB"},
	} {
		measured, limit := c.check.texts()
		if measured != c.wantMeasured || limit != c.wanted {
			t.Errorf("%+v: %q, %q", c.check, measured, limit)
		}
	}
}

// The JSON form reads back, and its lists are never null.
func TestJSON(t *testing.T) {
	text := written(t, everything(t).WriteJSON)
	var back Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Events) != 3 || back.Verdict != Failed || back.Cure == nil {
		t.Errorf("%+v", back)
	}
	text = written(t, run(t, Options{}, core).WriteJSON)
	if !bytes.Contains(text, []byte(`"checks": []`)) || !bytes.Contains(text, []byte(`"notes": []`)) {
		t.Errorf("%s", text)
	}
}

// The JUnit form is well-formed, and its numbers are those of its elements.
func TestJUnit(t *testing.T) {
	for name, r := range map[string]Result{
		"everything": everything(t),
		"allowed":    run(t, Options{Limits: limits(t, "<e2e=18s", "<queue_time=1s", "<peak_vram=1GiB"), AllowMissing: true, AllowUndecided: true}, example(t, nil)),
		"strict":     run(t, Options{Limits: limits(t, "<peak_vram=80GiB"), StrictValidity: true}, example(t, nil)),
		"clean":      run(t, Options{StrictValidity: true}, example(t, func(e *schema.GenerationObservability) { e.Validity = []schema.Validity{} })),
		"core":       run(t, Options{StrictValidity: true}, core),
	} {
		text := written(t, r.WriteJUnit)
		var report struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Skipped  int `xml:"skipped,attr"`
			Suites   []struct {
				Cases []struct {
					Name    string    `xml:"name,attr"`
					Failure *struct{} `xml:"failure"`
					Skipped *struct{} `xml:"skipped"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(text, &report); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tests, failures, skipped := 0, 0, 0
		for _, s := range report.Suites {
			for _, c := range s.Cases {
				tests++
				if c.Failure != nil {
					failures++
				}
				if c.Skipped != nil {
					skipped++
				}
			}
		}
		if tests != report.Tests || failures != report.Failures || skipped != report.Skipped || tests == 0 || (failures > 0) != (r.Verdict == Failed) {
			t.Errorf("%s: %d tests, %d failures, %d skipped\n%s", name, tests, failures, skipped, text)
		}
	}
}

// Nothing of an event can write to the terminal, or begin a line of its own.
func TestControlCharacters(t *testing.T) {
	const awkward = "x\npassed: \x1b[2J"
	text := example(t, func(e *schema.GenerationObservability) {
		e.Run.ID = awkward
		e.Validity = append(e.Validity, schema.Validity{Code: schema.Code(awkward), Severity: schema.Warning, Message: awkward})
		e.Unavailable = append(e.Unavailable, schema.Unavailable{Field: "engine.latency_seconds.request_queue_time", Reason: awkward})
		e.Engine.LatencySeconds.RequestQueueTime = nil
	})
	r := run(t, Options{Limits: limits(t, "<queue_time=1s")}, text)
	for _, f := range []Format{Text, Markdown} {
		for line := range strings.Lines(string(written(t, func(w io.Writer) error { return r.Write(w, f) }))) {
			if strings.Contains(line, "\x1b") || strings.HasPrefix(line, "passed") {
				t.Errorf("%s: %q", f, line)
			}
		}
	}
}

// A label cannot break out of the code span of Markdown.
func TestMarkdownCode(t *testing.T) {
	for text, want := range map[string]string{"a.json": "`a.json`", "a`b": "``a`b``", "`a": "`` `a ``", "a\nb": "`a b`", "a\x1b": "`a\\x1b`"} {
		if got := code(text); got != want {
			t.Errorf("code(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestWriteShortNames(t *testing.T) {
	for _, f := range []Format{Text, JSON, Markdown} {
		text := string(written(t, func(w io.Writer) error { return WriteShortNames(w, f) }))
		for _, n := range schema.ShortNames() {
			if !strings.Contains(text, n.Name) {
				t.Errorf("%s: no %s", f, n.Name)
			}
		}
	}
	if err := WriteShortNames(io.Discard, JUnit); err == nil {
		t.Error("JUnit lists names")
	}
}
