package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// show returns figures as path=value, separated by spaces.
func show(figures []Figure) string {
	var out []string
	for _, f := range figures {
		if f.Value == nil {
			out = append(out, f.Path+"=null")
		} else {
			out = append(out, fmt.Sprintf("%s=%v", f.Path, *f.Value))
		}
	}
	return strings.Join(out, " ")
}

func TestFigures(t *testing.T) {
	e := exampleEvent(t)
	e.GPUs = append(e.GPUs, GPU{})
	for _, c := range []struct{ path, want string }{
		{"peak_vram_gb", "peak_vram_gb=70.875"},
		{"loadavg_post.1", "loadavg_post.1=1.24"},
		{"loadavg_pre.*", "loadavg_pre.0=0.52 loadavg_pre.1=0.58 loadavg_pre.2=0.59"},
		{"loadavg_pre.3", "loadavg_pre.3=null"},
		{"run.exit_code", "run.exit_code=0"},
		{"gpus.0.peak_bytes", "gpus.0.peak_bytes=7.6101451776e+10"},
		{"gpus.*.peak_bytes", "gpus.0.peak_bytes=7.6101451776e+10 gpus.1.peak_bytes=null"},
		{"gpus.2.peak_bytes", "gpus.2.peak_bytes=null"},
		{"gpus.*.torch.*.rank", "gpus.0.torch.0.rank=0 gpus.1.torch.*.rank=null"},
		{"engine.requests.finished.stop", "engine.requests.finished.stop=12"},
		{"engine.requests.finished.other", "engine.requests.finished.other=null"},
		{"engine.requests.finished.*", "engine.requests.finished.abort=0 engine.requests.finished.error=0 engine.requests.finished.length=988 engine.requests.finished.stop=12"},
		{"engine.roles.*.prompt_tokens", ""},
		{"engine.latency_seconds.time_to_first_token.p95_bounds.0", "engine.latency_seconds.time_to_first_token.p95_bounds.0=7.5"},
		{"engine.latency_seconds.request_queue_time.mean", "engine.latency_seconds.request_queue_time.mean=null"},
		{"omni.pipeline.images", "omni.pipeline.images=null"},
	} {
		if _, ok := FieldAt(c.path); !ok {
			t.Errorf("%s is not a figure", c.path)
		}
		if got := show(e.Figures(c.path)); got != c.want {
			t.Errorf("Figures(%s) = %s, want %s", c.path, got, c.want)
		}
	}
	if got := show(e.Figures("peak_vram_gb.x")); got != "peak_vram_gb.x=null" {
		t.Errorf("below a number: %s", got)
	}
}

// Figures agrees with the JSON text of the event, for every figure of the schema.
func TestFiguresAgreeWithJSON(t *testing.T) {
	e := exampleEvent(t)
	text, err := e.Encode(Full)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	numbers("", doc, want)
	got := map[string]float64{}
	for _, f := range Fields() {
		for _, g := range e.Figures(f.Path) {
			if g.Value != nil {
				got[g.Path] = *g.Value
			}
		}
	}
	for path := range want { // numbers of settings and of evidence are not figures
		if isSettingOrEvidence(path) {
			delete(want, path)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-JSON +Figures) %s", d)
	}
	if len(got) < 300 {
		t.Errorf("only %d figures", len(got))
	}
}

// numbers adds the numbers in a JSON value to out, by their paths.
func numbers(path string, v any, out map[string]float64) {
	switch x := v.(type) {
	case float64:
		out[strings.TrimPrefix(path, ".")] = x
	case []any:
		for i, v := range x {
			numbers(fmt.Sprintf("%s.%d", path, i), v, out)
		}
	case map[string]any:
		for key, v := range x {
			numbers(path+"."+key, v, out)
		}
	}
}

func TestDistributions(t *testing.T) {
	e := exampleEvent(t)
	const ttft = "engine.latency_seconds.time_to_first_token"
	got := e.Distributions(ttft)
	if len(got) != 1 || got[0].Path != ttft || got[0].Distribution == nil || got[0].Count != 1000 {
		t.Fatalf("%+v", got)
	}
	for percentile, low := range map[int]float64{50: 2.5, 90: 7.5, 95: 7.5, 99: 10} {
		if x, ok := got[0].Bounds(percentile).Low(); !ok || x != low {
			t.Errorf("p%d is at least %v, %v, want %v", percentile, x, ok, low)
		}
	}
	if got[0].Bounds(42) != nil {
		t.Error("the event has bounds of the 42nd percentile")
	}
	got = e.Distributions("engine.kv_connectors.*.transfers")
	if len(got) != 1 || got[0].Path != "engine.kv_connectors.0.transfers" || got[0].Distribution == nil {
		t.Errorf("%+v", got)
	}
	got = e.Distributions("omni.pipeline.e2e_request_latency_seconds")
	if len(got) != 1 || got[0].Distribution != nil {
		t.Errorf("%+v", got)
	}
	for path, want := range map[string]bool{ttft: true, "engine.kv_connectors.*.transfers": true, ttft + ".mean": false, "engine.latency_seconds": false, "peak_vram_gb": false} {
		if got := IsDistribution(path); got != want {
			t.Errorf("IsDistribution(%s) = %v", path, got)
		}
	}
}

func TestReason(t *testing.T) {
	e := &GenerationObservability{Unavailable: []Unavailable{{"engine", "no engine"}, {"gpus.0.torch", "needs --instrument"}, {"engine.kv_cache.usage", "too few polls"}}}
	for path, want := range map[string]string{
		"engine":                     "no engine",
		"engine.tokens.prompt":       "no engine",
		"engine.kv_cache.usage.peak": "too few polls",
		"gpus.0.torch.0.rank":        "needs --instrument",
		"gpus.0.peak_bytes":          "",
		"omni":                       "",
	} {
		if got := e.Reason(path); got != want {
			t.Errorf("Reason(%s) = %q, want %q", path, got, want)
		}
	}
}

func TestInCore(t *testing.T) {
	for path, want := range map[string]bool{"peak_vram_gb": true, "loadavg_pre.0": true, "engine_runtime_config.max_num_seqs": true, "run.duration_seconds": false, "engine": false, "": false} {
		if got := InCore(path); got != want {
			t.Errorf("InCore(%q) = %v", path, got)
		}
	}
}

// Each short name stands for one figure, or for one distribution.
func TestShortNames(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range ShortNames() {
		if seen[n.Name] || strings.Contains(n.Name, ".") {
			t.Errorf("%s occurs twice or has a dot", n.Name)
		}
		seen[n.Name] = true
		if _, ok := FieldAt(n.Path); !ok && !IsDistribution(n.Path) {
			t.Errorf("%s stands for %s, which is neither a figure nor a distribution", n.Name, n.Path)
		}
		if f := n.Field(); f.Path == "" || f.Unit == "" {
			t.Errorf("%s: %+v", n.Name, f)
		}
		if _, ok := jsonField(reflect.TypeFor[GenerationObservability](), n.Name); ok && n.Path != n.Name {
			t.Errorf("%s is also a key of the event", n.Name)
		}
		if got := ExpandShortName(n.Name + ".x.y"); got != n.Path+".x.y" {
			t.Errorf("%s.x.y stands for %s", n.Name, got)
		}
	}
	for _, path := range []string{"ttftx", "engine.ttft", "gpus.0.peak_bytes", ""} {
		if got := ExpandShortName(path); got != path {
			t.Errorf("%s became %s", path, got)
		}
	}
}

// An index is a number: gpus.first.peak_bytes is a mistake.
func TestFieldAtWantsAnIndex(t *testing.T) {
	for path, want := range map[string]bool{
		"gpus.0.peak_bytes": true, "gpus.*.peak_bytes": true, "gpus.first.peak_bytes": false, "gpus.-1.peak_bytes": false,
		"engine.requests.finished.stop": true, "engine.requests.finished.a.b": true,
	} {
		if _, ok := FieldAt(path); ok != want {
			t.Errorf("FieldAt(%s): %v", path, ok)
		}
	}
}
