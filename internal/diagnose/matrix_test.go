package diagnose_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/demo"
	"github.com/vobs/vobs/internal/diagnose"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/observe"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// eventOf returns the event of a scenario that was recorded in simulated time: its pages go
// through the code that reads live engines.
func eventOf(t *testing.T, s demo.Scenario, r *demo.Recording) *schema.GenerationObservability {
	t.Helper()
	target, err := scrape.ParseTarget("http://127.0.0.1:8000")
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		VLLMConfig struct {
			Scheduler struct {
				Seqs   int `json:"max_num_seqs"`
				Tokens int `json:"max_num_batched_tokens"`
			} `json:"scheduler_config"`
			Cache struct {
				Prefix bool `json:"enable_prefix_caching"`
			} `json:"cache_config"`
		} `json:"vllm_config"`
	}
	if err := json.Unmarshal(r.ServerInfo, &info); err != nil {
		t.Fatal(err)
	}
	target.MaxNumSeqs, target.MaxNumBatchedTokens = info.VLLMConfig.Scheduler.Seqs, info.VLLMConfig.Scheduler.Tokens
	parser := exposition.NewParser(nil)
	recording := probe.Recording{Target: target}
	for _, page := range r.Pages {
		recording.Pages = append(recording.Pages, probe.RecordedPage{At: page.At, Latency: time.Millisecond, Fill: func(p *exposition.Page) {
			if err := parser.ParseReader(bytes.NewReader(page.Text), p); err != nil {
				t.Fatal(err)
			}
		}})
	}
	from, to := r.Pages[0].At, r.Pages[len(r.Pages)-1].At
	out := probe.Replay([]probe.Recording{recording}, from, to, "recorded")
	e := observe.Replayed(schema.Run{ID: s.Name, DurationSeconds: schema.Float(to.Sub(from).Seconds())}, out, "recorded")
	e.EngineRuntimeConfig.EnablePrefixCaching = &info.VLLMConfig.Cache.Prefix
	return e
}

// Each finding on its own scenarios, and on no other: of engines whose trouble comes from a
// scheduler, not from numbers on a page.
func TestMatrix(t *testing.T) {
	seeds := []int64{1}
	if os.Getenv("VOBS_TEST_LONG") != "" {
		seeds = []int64{1, 2, 3, 4, 5, 6}
	}
	for _, s := range demo.Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			for _, seed := range seeds {
				r, err := demo.Record(s, seed, 500*time.Millisecond)
				if err != nil {
					t.Fatal(err)
				}
				e := eventOf(t, s, r)
				d := diagnose.Diagnose(e, diagnose.Options{SharedPrefix: &r.SharedPrefix})
				if got := d.BindingResource.Code; got != s.Truth.Binding && !slices.Contains(s.Truth.AlsoRight, got) {
					t.Errorf("seed %d: %s, want %s, because %s: %s", seed, got, s.Truth.Binding, s.Truth.Why, testkit.JSON(d.BindingResource))
				}
				var codes []schema.FindingCode
				for _, f := range d.Findings {
					codes = append(codes, f.Code)
					if !slices.Contains(s.Truth.Findings, f.Code) && !slices.Contains(s.Truth.Permitted, f.Code) {
						t.Errorf("seed %d: found %s", seed, testkit.JSON(f))
					}
				}
				for _, code := range s.Truth.Findings {
					if !slices.Contains(codes, code) {
						t.Errorf("seed %d: %s was not found; not evaluated: %s", seed, code, testkit.JSON(d.NotEvaluated))
					}
				}
				t.Logf("seed %d: %s %v; %q", seed, d.BindingResource.Code, d.BindingResource.Confidence, codes)
			}
		})
	}
}
