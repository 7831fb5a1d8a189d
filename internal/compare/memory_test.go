package compare

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/events"
)

// Little more than its numbers is kept of a run, and nothing of the document that it was read
// from.
func TestMemoryOfRuns(t *testing.T) {
	const few, many = 200, 1400
	runs, err := os.ReadFile("../../testdata/compare/runs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	document, _, _ := strings.Cut(string(runs), "\n")
	document += "\n"
	metrics := Defaults()
	inUse := func(n int) int64 {
		reader := Reader{Metrics: metrics}
		var runs []*Run
		for e, err := range events.Read(&manyEvents{document: document, left: n}) {
			if err != nil {
				t.Fatal(err)
			}
			run, err := reader.Read(e.GenerationObservability, "runs.jsonl")
			if err != nil {
				t.Fatal(err)
			}
			runs = append(runs, run)
		}
		if len(runs) != n {
			t.Fatalf("%d runs, want %d", len(runs), n)
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		runtime.KeepAlive(runs)
		runtime.KeepAlive(&reader)
		return int64(m.HeapAlloc)
	}
	inUse(few) // what is allocated once
	perRun := (inUse(many) - inUse(few)) / (many - few)
	t.Logf("%d bytes per run", perRun)
	// 8 bytes for each metric, 16 for the id, and what refers to them. A document has 8,000.
	if limit := int64(8*len(metrics) + 256); perRun > limit {
		t.Errorf("%d bytes per run are kept, want at most %d", perRun, limit)
	}
}

// manyEvents yields JSON lines of events that differ as those of a vobs ab do.
type manyEvents struct {
	document string
	left     int
	rest     strings.Reader
}

func (m *manyEvents) Read(p []byte) (int, error) {
	if m.rest.Len() == 0 {
		if m.left == 0 {
			return 0, io.EOF
		}
		m.left--
		n := m.left
		m.rest.Reset(strings.NewReplacer(
			`"id":"019a4000-0000-7000-8000-000000000001"`, fmt.Sprintf(`"id":"019a4000-0000-7000-8000-%012x"`, n),
			`"ab.pair":"1"`, fmt.Sprintf(`"ab.pair":"%d"`, n/2),
			`"started_at":"2026-11-02T09:00:45Z"`, fmt.Sprintf(`"started_at":%q`, noon.Add(time.Duration(n)*time.Minute).Format(time.RFC3339)),
			`"duration_seconds":31.506`, fmt.Sprintf(`"duration_seconds":31.%d`, n),
			`"generation_tokens_per_second":`, fmt.Sprintf(`"generation_tokens_per_second":%d`, 1+n),
			`"num_gpu_blocks":1537`, fmt.Sprintf(`"num_gpu_blocks":%d`, 1+n),
			`"reason":"`, fmt.Sprintf(`"reason":"only %d polls: `, n%100),
		).Replace(m.document))
	}
	return m.rest.Read(p)
}
