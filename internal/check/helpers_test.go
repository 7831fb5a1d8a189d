package check

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

// example returns the event of testdata/events/example.json after a change. New nulls get the
// reason "unknown here".
func example(t *testing.T, change func(e *schema.GenerationObservability)) string {
	t.Helper()
	text, err := os.ReadFile("../../testdata/events/example.json")
	if err != nil {
		t.Fatal(err)
	}
	var e schema.GenerationObservability
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&e)
		for _, path := range schema.UnexplainedNulls(&e) {
			e.Unavailable = append(e.Unavailable, schema.Unavailable{Field: path, Reason: "unknown here"})
		}
	}
	line, err := e.Encode(schema.Full)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

// core is an event with the keys of the core only.
const core = `{"peak_vram_gb": 1.5, "kv_cache_usage_perc": null, "prefix_cache_hit_rate": 0.25, "spec_accept_rate": null, "loadavg_pre": [0.5, 0.5, 0.5], "loadavg_post": null, "engine_runtime_config": {}, "flag_did_not_engage": false}`

// run evaluates the text of files, named a, b, ….
func run(t *testing.T, o Options, files ...string) Result {
	t.Helper()
	var names []string
	for i := range files {
		names = append(names, string(rune('a'+i)))
	}
	r, err := Run(o, names, func(name string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(files[name[0]-'a'])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// limits parses limits: <NAME=VALUE is a maximum, >NAME=VALUE a minimum, and anything else an
// SLO.
func limits(t *testing.T, texts ...string) []Limit {
	t.Helper()
	var s Spec
	for _, text := range texts {
		switch text[0] {
		case '<':
			s.Max = append(s.Max, text[1:])
		case '>':
			s.Min = append(s.Min, text[1:])
		default:
			s.SLO = text
		}
	}
	l, err := s.Limits()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// verdicts returns the verdicts of all checks, each after the figure's name.
func verdicts(r Result) string {
	var out []string
	for _, e := range r.Events {
		for _, c := range e.Checks {
			out = append(out, c.Name+" "+c.verdictText())
		}
	}
	return strings.Join(out, ", ")
}

// written returns what a result writes.
func written(t *testing.T, write func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
