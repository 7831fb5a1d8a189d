package probe

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// omniPages returns the pages of one generation of vllm-omni's metrics, from
// testdata/omni/make.py.
func omniPages(t testing.TB, generation string) (pre, mid, post string) {
	t.Helper()
	page := func(when string) string {
		return string(testkit.Testdata(t, "omni/"+generation+"_"+when+".prom"))
	}
	return page("pre"), page("mid"), page("post")
}

// omniExpected is what make.py expects of one generation.
type omniExpected struct {
	Omni   any `json:"omni"`
	Engine struct {
		Stage      *string          `json:"stage"`
		Finished   map[string]int64 `json:"finished"`
		BySource   map[string]int64 `json:"by_source"`
		Prompt     int64            `json:"prompt_tokens"`
		Generation int64            `json:"generation_tokens"`
		Queries    int64            `json:"prefix_cache_queries"`
		Hits       int64            `json:"prefix_cache_hits"`
		TTFT       any              `json:"time_to_first_token"`
		Instances  []map[string]any `json:"instances"`
	} `json:"engine"`
}

func expectedOmni(t *testing.T, generation string) omniExpected {
	t.Helper()
	var all map[string]omniExpected
	if err := json.Unmarshal(testkit.Testdata(t, "omni/expected.json"), &all); err != nil {
		t.Fatal(err)
	}
	return all[generation]
}

// withinBounds returns an estimate by Prometheus's rule, or the nearer one of the bounds
// that the distribution has for it.
func withinBounds(d map[string]any, key string, estimate float64) float64 {
	bounds, _ := d[strings.TrimSuffix(key, "_est")+"_bounds"].([]any)
	if len(bounds) != 2 {
		return estimate
	}
	if low, ok := bounds[0].(float64); ok {
		estimate = max(estimate, low)
	}
	if high, ok := bounds[1].(float64); ok {
		estimate = min(estimate, high)
	}
	return estimate
}

// differences lists where got, decoded JSON, differs from want. Keys that want lacks are
// ignored.
func differences(t *testing.T, path string, want any, got any) (out []string) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, want %v", path, got, want)}
		}
		for key := range want {
			if _, ok := m[key]; !ok {
				out = append(out, path+"."+key+" is missing")
			}
			w := want[key]
			if est, ok := w.(float64); ok && strings.HasSuffix(key, "_est") {
				w = withinBounds(m, key, est)
			}
			out = append(out, differences(t, path+"."+key, w, m[key])...)
		}
		return out
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return []string{fmt.Sprintf("%s is %v, want %v", path, got, want)}
		}
		for i := range want {
			out = append(out, differences(t, fmt.Sprintf("%s.%d", path, i), want[i], list[i])...)
		}
		return out
	case float64:
		x, ok := got.(float64)
		if ok && math.Abs(x-want) <= 1e-9*math.Max(1, math.Abs(want)) {
			return nil
		}
	default:
		if got == want {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s is %v, want %v", path, got, want)}
}

// asTree returns a value as decoded JSON.
func asTree(t *testing.T, v any) (tree any) {
	t.Helper()
	if err := json.Unmarshal([]byte(testkit.JSON(v)), &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// The figures of every generation of the metrics are what make.py expects, and what the
// generation does not export is null.
func TestOmniGenerations(t *testing.T) {
	for _, generation := range []string{"first", "head", "merged", "now"} {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			want := expectedOmni(t, generation)
			pre, mid, post := omniPages(t, generation)
			report := bracket(t, pre, mid, post)
			for _, d := range differences(t, "omni", want.Omni, asTree(t, report.Omni)) {
				t.Error(d)
			}
			g, w := report.Engine, want.Engine
			if testkit.JSON(g.Stage) != testkit.JSON(w.Stage) || *g.Tokens.Prompt != w.Prompt || *g.Tokens.Generation != w.Generation || g.PrefixCache.Local.Queries != w.Queries || g.PrefixCache.Local.Hits != w.Hits {
				t.Errorf("engine of stage %s: %s %s, want %+v", testkit.JSON(g.Stage), testkit.JSON(g.Tokens), testkit.JSON(g.PrefixCache.Local), w)
			}
			for reason, n := range w.Finished {
				if g.Requests.Finished[reason] != n {
					t.Errorf("finished %s: %d, want %d", reason, g.Requests.Finished[reason], n)
				}
			}
			for source, n := range w.BySource {
				if g.Tokens.PromptBySource[source] != n {
					t.Errorf("tokens of %s: %d, want %d", source, g.Tokens.PromptBySource[source], n)
				}
			}
			for _, d := range differences(t, "engine.latency_seconds.time_to_first_token", w.TTFT, asTree(t, g.LatencySeconds.TimeToFirstToken)) {
				t.Error(d)
			}
			if *g.KVCache.NumGPUBlocks != 1000 || *g.KVCache.SizeTokens != 16000 || *g.KVCache.Usage.Peak != 3.0/16 || *g.Requests.Running.Peak != 3 {
				t.Errorf("the first stage's cache: %s, running %s", testkit.JSON(g.KVCache), testkit.JSON(g.Requests.Running))
			}
			if generation == "first" {
				return
			}
			if len(g.Instances) != len(w.Instances) {
				t.Fatalf("instances: %s", testkit.JSON(g.Instances))
			}
			for i, in := range w.Instances {
				if in["stage"] == "2" { // vllm-omni does not record the diffusion stage's
					if !strings.Contains(testkit.Reason(report.Notes, fmt.Sprintf("engine.instances.%d.prompt_tokens", i)), "not autoregressive") {
						t.Errorf("the diffusion stage: %s", testkit.JSON(g.Instances[i]))
					}
					in = map[string]any{"stage": "2", "replica": "0", "requests_finished": nil, "prompt_tokens": nil, "generation_tokens": nil, "requests_running_peak": nil, "kv_cache_usage_peak": nil}
				}
				for _, d := range differences(t, fmt.Sprintf("engine.instances.%d", i), in, asTree(t, g.Instances[i])) {
					t.Error(d)
				}
			}
		})
	}
}
