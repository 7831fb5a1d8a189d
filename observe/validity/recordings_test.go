package validity

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// Of the recorded runs of real engines nothing is noted but what is true of them: an engine
// had served before, or came up.
func TestRecordings(t *testing.T) {
	wants := map[string]string{
		"bench_throughput": "engine_warmed_up_inside",
		"serve_default":    "warm_prefix_cache",
		"serve_dp2":        "warm_prefix_cache",
		"serve_ngram":      "", // it had served, too, but no prompt was cached
		"vllm_0.10.2":      "warm_prefix_cache",
		"vllm_0.8.5":       "", // it counts blocks, and no prompt tokens by their source
		"vllm_0.8.5_v0":    "",
	}
	files, err := filepath.Glob("../../probe/testdata/golden/*.json")
	if err != nil || len(files) != len(wants) {
		t.Fatalf("%d recordings, want %d: %v", len(files), len(wants), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var report struct {
			Engine     *schema.Engine `json:"engine"`
			Conditions Engines        `json:"conditions"`
		}
		if err := json.Unmarshal(text, &report); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		in := clean()
		in.Event.Engine, in.Engines = report.Engine, report.Conditions
		var notes schema.Notes
		Check(in, &notes)
		if got := testkit.Codes(notes); got != wants[name] {
			t.Errorf("%s: %s, want %s: %v", name, got, wants[name], notes.Validity)
		}
	}
}
