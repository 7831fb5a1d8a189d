package compare

import (
	"slices"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

func TestComparability(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*schema.GenerationObservability)
		field    string
		severity Severity // "" for no difference
	}{
		{"nothing", func(*schema.GenerationObservability) {}, "", ""},
		{"another GPU", func(e *schema.GenerationObservability) { e.GPUs[0].Name = "NVIDIA A10G" }, "gpus", Matters},
		{"more GPUs", func(e *schema.GenerationObservability) { e.GPUs = append(e.GPUs, e.GPUs[0]) }, "gpus", Matters},
		{"a GPU that the command did not use", func(e *schema.GenerationObservability) {
			e.GPUs = append(e.GPUs, schema.GPU{Name: "NVIDIA T4", UsedByJob: schema.Ptr(false)})
		}, "", ""},
		{"the driver", func(e *schema.GenerationObservability) { e.GPUs[0].DriverVersion = schema.Ptr("560") }, "gpus.driver_version", Matters},
		{"vLLM's version", func(e *schema.GenerationObservability) { e.Engine.Endpoints[0].Version = schema.Ptr("0.33.0") }, "engine.version", Matters},
		{"the version unknown", func(e *schema.GenerationObservability) { e.Engine.Endpoints[0].Version = nil }, "engine.version", Noted},
		{"the model", func(e *schema.GenerationObservability) { e.Engine.Models = []string{"n"} }, "engine.models", Matters},
		{"the host", func(e *schema.GenerationObservability) { e.Run.Hostname = "other" }, "host.hostname", Noted},
		{"a setting", func(e *schema.GenerationObservability) { e.Engine.Config.Values["max_num_seqs"] = int64(2) }, "engine.config.values.max_num_seqs", Matters},
		{"a setting in the command line", func(e *schema.GenerationObservability) {
			e.Engine.Config.Values["max_num_seqs"] = int64(2)
			e.FlagsChecked = []string{"max_num_seqs"}
		}, "engine.config.values.max_num_seqs", Treatment},
		{"longer prompts", func(e *schema.GenerationObservability) { e.Engine.Tokens.PromptPerRequest.Mean = schema.F(400) }, "engine.tokens.prompt_per_request.mean", Matters},
		{"a warm cache", func(e *schema.GenerationObservability) {
			e.Validity = []schema.Validity{{Code: schema.CodeWarmPrefixCache}}
		}, "validity.warm_prefix_cache", Matters},
		{"a busy host", func(e *schema.GenerationObservability) { e.Validity = []schema.Validity{{Code: schema.CodeBusyHost}} }, "validity.busy_host", Noted},
		{"profiled", func(e *schema.GenerationObservability) { e.Validity = []schema.Validity{{Code: schema.CodeProfiled}} }, "validity.profiled", Matters},
		{"a partial event", func(e *schema.GenerationObservability) { e.Partial = true }, "validity.partial", Matters},
		{"the command", func(e *schema.GenerationObservability) { e.Run.Command = []string{"other"} }, "run.command", Treatment},
	} {
		base, new := sides(7, 10, 0.003, 1)
		for _, e := range new {
			c.change(e)
		}
		r := compareEvents(t, base, new)
		i := slices.IndexFunc(r.Comparability, func(d Difference) bool { return d.Field == c.field })
		switch {
		case c.severity == "":
			if slices.ContainsFunc(r.Comparability, func(d Difference) bool { return d.Field != "engine.config.values.num_gpu_blocks" }) {
				t.Errorf("%s: %+v", c.name, r.Comparability)
			}
		case i < 0 || r.Comparability[i].Severity != c.severity:
			t.Errorf("%s: %+v, want %s of %s", c.name, r.Comparability, c.severity, c.field)
		case (r.Verdict == Incomparable) != (c.severity == Matters):
			t.Errorf("%s: %s", c.name, r.Verdict)
		}
		if c.severity != Matters {
			continue
		}
		metrics := Defaults()
		r = Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, Ignore: []string{c.field}})
		if r.Verdict == Incomparable {
			t.Errorf("%s is not ignored: %s", c.name, r.Reasons)
		}
	}
}

// In vobs ab, the settings of different servers are what is compared.
func TestServersAsTreatment(t *testing.T) {
	base, new := sides(7, 10, 0.003, 1)
	for _, e := range new {
		e.Engine.Endpoints[0].URL = "http://b"
		e.Engine.Config.Values["max_num_seqs"] = int64(2)
	}
	metrics := Defaults()
	for treatment, want := range map[bool]Verdict{true: Equivalent, false: Incomparable} {
		r := Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, Treatment: treatment})
		if r.Verdict != want {
			t.Errorf("treatment %v: %s %s", treatment, r.Verdict, r.Reasons)
		}
	}
}

// Runs that differ in what users may not have noticed.
func TestOutcomesAndMixtures(t *testing.T) {
	find := func(r *Result, field string) Severity {
		for _, d := range r.Comparability {
			if d.Field == field {
				return d.Severity
			}
		}
		return ""
	}
	finished := func(counts map[string]int64) func(*schema.GenerationObservability) {
		return func(e *schema.GenerationObservability) { e.Engine.Requests = &schema.Requests{Finished: counts} }
	}
	for _, c := range []struct {
		name      string
		base, new func(*schema.GenerationObservability)
		field     string
		severity  Severity
	}{
		{"aborted requests", finished(map[string]int64{"length": 100}), finished(map[string]int64{"abort": 50, "error": 60}), "engine.requests.failed", Matters},
		{"failed responses", finished(map[string]int64{"length": 100}), func(e *schema.GenerationObservability) { e.Engine.HTTP = map[string]int64{"2xx": 50, "5xx": 50} }, "", ""},
		{"fewer requests", finished(map[string]int64{"length": 100}), finished(map[string]int64{"length": 50}), "engine.requests.finished", Noted},
		{"a label", func(e *schema.GenerationObservability) { e.Run.Labels["case"] = "chat" }, func(e *schema.GenerationObservability) { e.Run.Labels["case"] = "code" }, "run.labels.case", Noted},
		{"processes left behind", func(e *schema.GenerationObservability) { e.Run.Leftovers = []schema.Leftover{{PID: 1}} }, func(*schema.GenerationObservability) {}, "run.leftovers", Noted},
	} {
		base, new := sides(7, 10, 0.003, 1)
		for i := range base {
			c.base(base[i])
			c.new(new[i])
		}
		if got := find(compareEvents(t, base, new), c.field); got != c.severity {
			t.Errorf("%s: %q, want %q", c.name, got, c.severity)
		}
	}
	// Two sessions of vobs ab with the sides swapped.
	base, new := sides(7, 10, 0.003, 1)
	for i := range base {
		commands := []string{"x", "y"}
		base[i].Run.Command, new[i].Run.Command = []string{commands[i%2]}, []string{commands[1-i%2]}
	}
	metrics := Defaults()
	r := Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, Treatment: true})
	if r.Verdict != Incomparable || find(r, "run.command") != Matters {
		t.Errorf("%s %+v", r.Verdict, r.Comparability)
	}
}

func TestDiffering(t *testing.T) {
	for _, c := range [][4]string{
		{"bench --port 1", "bench --port 2", "bench --port 1", "bench --port 2"},
		{"v a b c --port 1 x y z", "v a b c --port 2 x y z", "v … 1 …", "v … 2 …"},
		{"v a b c d", "v a b c d e", "v …", "v … e"},
		{"v", "w", "v", "w"},
		{"", "v a b c", "", "v a b c"},
		{"v a b c d", "w a b c d", "v …", "w …"},
	} {
		if a, b := differing(c[0], c[1]); a != c[2] || b != c[3] {
			t.Errorf("%q, %q: %q, %q; want %q, %q", c[0], c[1], a, b, c[2], c[3])
		}
	}
}

func TestCheckIgnore(t *testing.T) {
	if err := CheckIgnore([]string{"engine.models", "validity.busy_host", "engine.config", "engine.config.values.seed", "run.leftovers"}); err != nil {
		t.Error(err)
	}
	if err := CheckIgnore([]string{"engine.modelz"}); err == nil || !strings.Contains(err.Error(), "engine.models") {
		t.Error(err)
	}
}
