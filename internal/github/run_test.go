package github

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/github/gfm"
	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// example returns the event of the documents.
func example(t *testing.T) *schema.GenerationObservability {
	t.Helper()
	var e schema.GenerationObservability
	if err := json.Unmarshal([]byte(read(t, filepath.Join(testkit.Root(t), "testdata/events/example.json"))), &e); err != nil {
		t.Fatal(err)
	}
	return &e
}

// report returns what a run reports.
func report(t *testing.T, e *schema.GenerationObservability, annotate bool) (gfm.Document, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "summary")
	s, stderr := stepAt(file)
	if err := s.ReportRun(e, annotate); err != nil {
		t.Fatal(err)
	}
	return gfm.Parse(read(t, file)), stderr.String()
}

func TestReportRun(t *testing.T) {
	const warm = "the engine had served 512 requests before this run, and 41.8 % of this run's prompt tokens came from its prefix cache"
	doc, annotations := report(t, example(t), true)
	want := gfm.Document{Headings: []string{"vobs run: exit code 0"}, Tables: [][][]string{{
		{"figure", "value"},
		{"command", "python bench_client.py --url http://127.0.0.1:8000 --api-key '<redacted>'"},
		{"ended", "exit code 0"},
		{"duration", "101.43 s"},
		{"peak VRAM", "70.88 GiB"},
		{"tokens generated per second", "3157.9"},
		{"TTFT, mean", "4.61 s"},
		{"KV cache, peak", "97.3 %"},
		{"GPU energy", "51964 J"},
		{"warning", warm},
	}}}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Error(diff)
	}
	if want := "::warning title=vobs run%3A warm_prefix_cache::" + strings.ReplaceAll(warm, "%", "%25") + "\n"; annotations != want {
		t.Errorf("annotations: %q, want %q", annotations, want)
	}
}

// Text that looks like Markdown, and a line break in a command, stay text in their cell.
func TestReportRunEscapes(t *testing.T) {
	e := &schema.GenerationObservability{}
	e.Run.Command = []string{"sh", "-c", "a | b\n<b>*x*</b> `c` _d_ [e](f) # it's"}
	e.Run.ExitCode = schema.Ptr(3)
	e.Validity = []schema.Validity{
		{Code: schema.CodeNonzeroExit, Severity: schema.Warning, Message: "the command failed"},
		{Code: "x", Severity: schema.Warning, Message: "100 % | **bold**\nnext"},
		{Code: "y", Severity: schema.Error, Message: "an error"},
		{Code: "z", Severity: schema.Info, Message: "not shown"},
	}
	doc, annotations := report(t, e, true)
	if len(doc.Tables) != 1 || !slices.Equal(doc.Headings, []string{"vobs run: exit code 3"}) || doc.Markup != nil {
		t.Fatalf("%+v", doc)
	}
	rows := map[string]string{}
	var names []string
	for _, row := range doc.Tables[0] {
		if len(row) != 2 {
			t.Fatalf("row %q", row)
		}
		rows[row[0]] = row[1]
		names = append(names, row[0])
	}
	if got, want := rows["command"], "sh -c 'a | b\n<b>*x*</b> `c` _d_ [e](f) # it'\\''s'"; got != want {
		t.Errorf("command %q, want %q", got, want)
	}
	if got := rows["peak VRAM"]; got != "-" {
		t.Errorf("peak VRAM %q", got)
	}
	if got, want := names[len(names)-3:], []string{"error", "warning", "warning"}; !slices.Equal(got, want) || rows["warning"] != "100 % | **bold**\nnext" {
		t.Errorf("notes %q, %q", got, rows["warning"])
	}
	want := "::error title=vobs run%3A exit code 3::sh -c 'a | b%0A<b>*x*</b> `c` _d_ [e](f) # it'\\''s'\n" +
		"::error title=vobs run%3A y::an error\n" +
		"::warning title=vobs run%3A x::100 %25 | **bold**%0Anext\n"
	if annotations != want {
		t.Errorf("got %s, want %s", annotations, want)
	}
	if _, annotations = report(t, e, false); annotations != "" {
		t.Errorf("annotations of a quiet run: %q", annotations)
	}
}

func TestRunEndings(t *testing.T) {
	for want, r := range map[string]schema.Run{
		"not started":       {StartError: schema.Ptr("x"), ExitCode: schema.Ptr(127)},
		"killed by SIGKILL": {Signal: schema.Ptr("SIGKILL")},
		"exit code 0":       {ExitCode: schema.Ptr(0)},
		"ended":             {},
	} {
		_, annotations := report(t, &schema.GenerationObservability{Run: schema.Run{Command: []string{"x"}, StartError: r.StartError, Signal: r.Signal, ExitCode: r.ExitCode}}, true)
		if got := render.Ending(r); got != want || strings.Contains(annotations, "::error ") != (want != "exit code 0") {
			t.Errorf("%q, want %q; annotations %q", got, want, annotations)
		}
	}
}

// The energy is that of the GPUs that the command used; there is no sum of a part of them.
func TestEnergy(t *testing.T) {
	used, unused := schema.Ptr(true), schema.Ptr(false)
	for _, c := range []struct {
		gpus []schema.GPU
		want *schema.Float
	}{
		{nil, nil},
		{[]schema.GPU{{UsedByJob: used, EnergyJoules: schema.F(2)}, {UsedByJob: unused, EnergyJoules: schema.F(4)}, {EnergyJoules: schema.F(8)}}, schema.F(10)},
		{[]schema.GPU{{UsedByJob: used, EnergyJoules: schema.F(2)}, {UsedByJob: used}}, nil},
		{[]schema.GPU{{UsedByJob: unused, EnergyJoules: schema.F(2)}}, nil},
	} {
		if got := energy(c.gpus); (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
}

// A long command line is cut between characters, and many notes are counted.
func TestRunTableIsShort(t *testing.T) {
	e := &schema.GenerationObservability{}
	e.Run.Command = []string{strings.Repeat("ä", 500)}
	for range 50 {
		e.Validity = append(e.Validity, schema.Validity{Code: "x", Severity: schema.Warning, Message: "m"})
	}
	doc, _ := report(t, e, true)
	rows := doc.Tables[0]
	if got := rows[1][1]; got != strings.Repeat("ä", maxCommand/2)+"…" {
		t.Errorf("command %q", got)
	}
	if got := rows[len(rows)-1]; !slices.Equal(got, []string{"notes", "40 more in the event"}) || len(rows) != 20 {
		t.Errorf("%d rows, the last is %q", len(rows), got)
	}
}
