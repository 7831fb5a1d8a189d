package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vobs/vobs/internal/github/gfm"
)

// What subcommands append to a job summary is Markdown as GitHub reads it: one heading each, whole
// tables, and no markup that a name or a value has brought in.
func TestGitHubSummary(t *testing.T) {
	t.Parallel()
	event, runs := "../../testdata/events/example.json", "../../testdata/compare/runs.jsonl"
	summary := filepath.Join(t.TempDir(), "summary")
	for _, args := range [][]string{
		{"check", "--max", "gpus.*.peak_bytes=1GiB", "--max", "ttft=8s", "--max", "engine.kv_connectors.*.bytes=1B", event},
		{"compare", "--by", "ab.side=A,B", "--metric", "ttft<=500ms", "--metric", "peak_vram", runs},
		{"run", "-o", filepath.Join(t.TempDir(), "event.json"), "--", "sh", "-c", "exit 3 # | `*_<b>"},
	} {
		cmd := exec.CommandContext(t.Context(), "vobs", args...)
		cmd.Env = append(os.Environ(), "GITHUB_ACTIONS=true", "GITHUB_STEP_SUMMARY="+summary, "LD_LIBRARY_PATH="+brokenNVML(t))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run()
		t.Logf("%q: %v: %s", args, cmd.ProcessState, stderr.Bytes())
	}
	doc := gfm.Parse(readText(t, summary))
	if want := []string{"vobs check: failed", "vobs compare: equivalent", "vobs run: exit code 3"}; !slices.Equal(doc.Headings, want) {
		t.Errorf("headings %q, want %q", doc.Headings, want)
	}
	titles := []string{}
	for _, table := range doc.Tables {
		titles = append(titles, table[0][0])
		for _, row := range table {
			if len(row) != len(table[0]) {
				t.Errorf("a row has %d cells, its table %d: %q", len(row), len(table[0]), row)
			}
		}
	}
	if want := []string{"verdict", "validity", "metric", "field", "figure"}; !slices.Equal(titles, want) {
		t.Errorf("tables %q, want %q", titles, want)
	}
	for _, cell := range []string{"gpus.0.peak_bytes", "engine.kv_connectors.0.bytes", "ttft<=500ms", "sh -c 'exit 3 # | `*_<b>'"} {
		if !slices.ContainsFunc(slices.Concat(doc.Tables...), func(row []string) bool { return slices.Contains(row, cell) }) {
			t.Errorf("no table has the cell %s", cell)
		}
	}
	if len(doc.Code) != 1 { // the buckets that would decide ttft
		t.Errorf("code blocks: %q", doc.Code)
	}
	for _, kind := range doc.Markup {
		if kind != "Emphasis" && kind != "CodeSpan" { // of the verdict, of an event's name
			t.Errorf("unexpected markup: %s", kind)
		}
	}
}
