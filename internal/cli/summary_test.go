package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/schema"
)

// TestSummary compares the summaries of recorded events with testdata/summary.
// go test -update rewrites the files.
func TestSummary(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "events", "*.json*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded events: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".jsonl"), ".json") + ".txt"
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for dec := json.NewDecoder(bytes.NewReader(text)); dec.More(); {
				var e schema.GenerationObservability
				if err := dec.Decode(&e); err != nil {
					t.Fatal(err)
				}
				got.WriteString(summarize(&e))
			}
			path := filepath.Join("testdata", "summary", name)
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got.String()), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("the summary has changed (-want +got); if this is intended, run go test ./internal/cli -run TestSummary -update\n%s", diff)
			}
		})
	}
}
