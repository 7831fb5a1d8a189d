package check

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"testing"
)

// The outcome of an event keeps nothing of the document that it was read from.
func TestMemoryOfEvents(t *testing.T) {
	runs, err := os.ReadFile("../../testdata/compare/runs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	limits, err := Spec{Max: []string{"ttft=500ms", "peak_vram=70GiB"}}.Limits()
	if err != nil {
		t.Fatal(err)
	}
	inUse := func(copies int) (bytesInUse int64, events int) {
		r, err := Run(Options{Limits: limits}, []string{"runs.jsonl"}, func(string) (io.ReadCloser, error) {
			var parts []io.Reader
			for range copies {
				parts = append(parts, bytes.NewReader(runs))
			}
			return io.NopCloser(io.MultiReader(parts...)), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		runtime.KeepAlive(r.Events)
		return int64(m.HeapAlloc), len(r.Events)
	}
	inUse(1) // what is allocated once
	few, n := inUse(5)
	many, m := inUse(45)
	perEvent := (many - few) / int64(m-n)
	t.Logf("%d bytes per event", perEvent)
	// Two checks of 200 bytes, the event's 100 and its id, and notes; a document has 8,000.
	if perEvent > 1500 {
		t.Errorf("%d bytes per event are kept, want at most 1500", perEvent)
	}
}
