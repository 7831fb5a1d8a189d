package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// numericLeaves returns the paths of all numbers in a JSON value of type t. It does
// not use the registry that it is to check.
func numericLeaves(path string, t reflect.Type) (out []string) {
	switch t.Kind() {
	case reflect.Pointer:
		return numericLeaves(path, t.Elem())
	case reflect.Slice, reflect.Array, reflect.Map:
		return numericLeaves(path+".*", t.Elem())
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				out = append(out, numericLeaves(strings.TrimPrefix(path+"."+name, "."), f.Type)...)
			}
		}
		return out
	case reflect.String, reflect.Bool, reflect.Interface:
		return nil
	}
	return []string{path}
}

// Every number of the event has an entry, no entry is stale, and all entries are
// complete.
func TestFieldsComplete(t *testing.T) {
	kinds := []Kind{KindCounter, KindRatio, KindMean, KindQuantile, KindPercentile, KindDifference, KindEstimate, KindSampledMean, KindSampledPeak, KindPeak,
		KindReading, KindDuration, KindInstant, KindBound, KindCoverage, KindConfiguration, KindIdentity}
	var paths []string
	for _, f := range Fields() {
		paths = append(paths, f.Path)
		if !slices.Contains(kinds, f.Kind) {
			t.Errorf("%s has the kind %q", f.Path, f.Kind)
		}
		if (f.Unit == "") != (f.Kind == KindIdentity) {
			t.Errorf("%s, of kind %s, has the unit %q", f.Path, f.Kind, f.Unit)
		}
		if f.Better != HigherIsBetter && f.Better != LowerIsBetter && f.Better != NeitherBetter {
			t.Errorf("%s has the direction %q", f.Path, f.Better)
		}
	}
	if d := cmp.Diff(numericLeaves("", reflect.TypeFor[GenerationObservability]()), paths); d != "" {
		t.Errorf("(-the types' numbers +Fields) %s", d)
	}
	if len(paths) < 500 {
		t.Errorf("only %d figures", len(paths))
	}
}

// No tag is where it has no effect, and units are spelled the same everywhere.
func TestFieldTags(t *testing.T) {
	units := map[string]bool{}
	for _, u := range strings.Fields(`allocations blocks bytes calls celsius chunks configuration CPUs descriptors drafts fraction GiB
		gigabytes images intervals items jobs joules keys lookups MiB milliseconds notifications observations pixels positions preemptions
		promotions readings request requests responses restarts samples second seconds step steps stores tasks token tokens transfers various watts GPU`) {
		units[u] = true
	}
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	inspect := func(s reflect.Type, f reflect.StructField) {
		leaves := numericLeaves("x", f.Type)
		kind, unit, better := f.Tag.Get("kind"), f.Tag.Get("unit"), f.Tag.Get("better")
		where := s.Name() + "." + f.Name
		if (kind+unit+better != "") && len(leaves) == 0 {
			t.Errorf("%s has no figure, and a tag of one", where)
		}
		if isFigure := len(leaves) > 0 && structIn(f.Type) == nil; isFigure != (kind != "") {
			t.Errorf("%s has the kind %q", where, kind)
		}
		for _, u := range strings.Split(unit, "/") {
			if u != "" && !units[u] {
				t.Errorf("%s has the unit %q: add it to the list if it is meant", where, unit)
			}
		}
		if !slices.Contains([]string{"", "higher", "lower", "neither"}, better) {
			t.Errorf("%s has the direction %q", where, better)
		}
	}
	walk = func(s reflect.Type) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		for _, f := range reflect.VisibleFields(s) {
			if !f.Anonymous {
				inspect(s, f)
			}
			walk(structIn(f.Type))
		}
	}
	walk(reflect.TypeFor[GenerationObservability]())
	if len(seen) < 40 {
		t.Errorf("only %d types were seen", len(seen))
	}
}

// structIn returns the struct behind pointers, lists and maps, or nil.
func structIn(t reflect.Type) reflect.Type {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return structIn(t.Elem())
	case reflect.Struct:
		return t
	}
	return nil
}

// The unit in a key agrees with the unit of its entry.
func TestFieldsAgreeWithNames(t *testing.T) {
	suffixes := []struct {
		suffix string
		unit   Unit
	}{
		{"_bytes", UnitBytes}, {"_gb", UnitGibibytes}, {"_ms", UnitMilliseconds}, {"_joules", UnitJoules}, {"_watts", UnitWatts},
		{"_fraction", UnitFraction}, {"_perc", UnitFraction}, {"_rate", UnitFraction}, {"_share", UnitFraction}, {"_tokens", "tokens"},
		{"tokens_per_second", "tokens/second"}, {"requests_per_second", "requests/second"}, {"_seconds", UnitSeconds},
	}
	fields := Fields()
	agreed := 0
	for _, f := range fields {
		steps := strings.Split(f.Path, ".")
		for i, step := range steps {
			for _, s := range suffixes {
				observations := i < len(steps)-1 && (steps[len(steps)-1] == "count" || slices.Contains(steps[i+1:], "buckets"))
				if !strings.HasSuffix(step, s.suffix) || observations {
					continue
				}
				agreed++
				if f.Unit != s.unit {
					t.Errorf("%s is in %s", f.Path, f.Unit)
				}
			}
		}
		last := steps[len(steps)-1]
		if strings.HasSuffix(last, "_est") != (f.Kind == KindQuantile || f.Kind == KindEstimate) {
			t.Errorf("%s is a %s", f.Path, f.Kind)
		}
	}
	if agreed < 300 {
		t.Errorf("only %d keys name their unit", agreed)
	}
}

func TestFieldAt(t *testing.T) {
	for path, want := range map[string]Field{
		"peak_vram_gb":                     {"peak_vram_gb", UnitGibibytes, KindSampledPeak, LowerIsBetter},
		"gpus.0.peak_bytes":                {"gpus.*.peak_bytes", UnitBytes, KindSampledPeak, LowerIsBetter},
		"gpus.17.utilization.mean":         {"gpus.*.utilization.mean", UnitFraction, KindSampledMean, NeitherBetter},
		"gpus.*.index":                     {"gpus.*.index", "", KindIdentity, NeitherBetter},
		"loadavg_pre.2":                    {"loadavg_pre.*", "tasks", KindReading, NeitherBetter},
		"engine.requests.finished.stop":    {"engine.requests.finished.*", "requests", KindCounter, NeitherBetter},
		"engine.requests.finished.a.b.c":   {"engine.requests.finished.*", "requests", KindCounter, NeitherBetter},
		"engine.requests.waiting.last":     {"engine.requests.waiting.last", "requests", KindReading, NeitherBetter},
		"engine.requests.waiting.peak":     {"engine.requests.waiting.peak", "requests", KindSampledPeak, LowerIsBetter},
		"host.pressure_some_seconds.cpu":   {"host.pressure_some_seconds.cpu", UnitSeconds, KindCounter, LowerIsBetter},
		"engine.prefix_cache.local.hits":   {"engine.prefix_cache.local.hits", "tokens", KindCounter, NeitherBetter},
		"engine.speculative.draft_tokens":  {"engine.speculative.draft_tokens", "tokens", KindCounter, NeitherBetter},
		"engine.window.active_seconds_est": {"engine.window.active_seconds_est", UnitSeconds, KindEstimate, NeitherBetter},
		"engine.latency_seconds.time_to_first_token.p99_est": {
			"engine.latency_seconds.time_to_first_token.p99_est", UnitSeconds, KindQuantile, LowerIsBetter},
		"engine.latency_seconds.time_to_first_token.count": {
			"engine.latency_seconds.time_to_first_token.count", "observations", KindCounter, NeitherBetter},
		"omni.stages.0.diffusion.exec_seconds.mean": {
			"omni.stages.*.diffusion.exec_seconds.mean", UnitSeconds, KindMean, LowerIsBetter},
	} {
		if got, ok := FieldAt(path); !ok || got != want {
			t.Errorf("%s: %v, %v", path, got, ok)
		}
	}
	for _, path := range []string{"", ".", "gpus", "gpus.0", "gpus.0.uuid", "gpus.0.peak_bytes.x", "peak", "engine.config.values.max_num_seqs",
		"run.labels.x", "engine.requests.finished", "loadavg_pre", "loadavg_pre.0.1", "validity.0.evidence.value"} {
		if got, ok := FieldAt(path); ok {
			t.Errorf("%s is %v", path, got)
		}
	}
	for _, f := range Fields() {
		if got, ok := FieldAt(f.Path); !ok || got != f {
			t.Errorf("%s: %v, %v", f.Path, got, ok)
		}
	}
	Fields()[0].Path = "changed"
	if Fields()[0].Path != "peak_vram_gb" {
		t.Error("the registry can be changed from outside")
	}
}

// isSettingOrEvidence reports whether a number at a path is not a figure.
func isSettingOrEvidence(path string) bool {
	return strings.HasPrefix(path, "engine.config.values.") || strings.HasPrefix(path, "client.settings.") || strings.Contains(path, ".evidence.") || strings.Contains(path, ".fixes.")
}

// Every number in an event is a figure, except in values of any type.
func TestExampleFields(t *testing.T) {
	numbers := 0
	for _, s := range spots("", tree(t), nil, nil, nil) {
		if _, ok := s.value.(json.Number); !ok || isSettingOrEvidence(s.path) {
			continue
		}
		numbers++
		if _, ok := FieldAt(s.path); !ok {
			t.Errorf("%s is no figure", s.path)
		}
	}
	if numbers < 200 {
		t.Errorf("only %d numbers", numbers)
	}
}

// The registry determines which numbers are plausible, in log records too.
func TestPlausible(t *testing.T) {
	e := exampleEvent(t)
	e.GPUs[0].PeakAtSeconds = F(-0.2)
	e.GPUs[0].TemperatureCelsiusMax = Ptr(-1)
	e.GPUs[0].ThrottledFraction = F(1.5)
	e.Engine.Requests.BatchUtilization = F(64)
	e.Engine.Requests.Finished["stop"] = -1
	got := texts(Validate(encode(t, e, Full), Options{}))
	want := "1: warning: gpus.0.throttled_fraction: expected a fraction from 0 to 1, found 1.5\n" +
		"1: warning: engine.requests.finished.stop: expected no negative number, found -1\n" +
		"1: warning: engine.requests.batch_utilization: expected a fraction from 0 to 1, found 64.0\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, at := range []string{`{"ctx":%s,"message":%s}`, `{"extra":{"ctx":%s},"message":%s}`} {
		doc := fmt.Sprintf(at, `{"spec_accept_rate":1.1,"loadavg_pre":[-1,0,0]}`, strconv.Quote(recordMessage))
		got := texts(Validate([]byte(doc), Options{}))
		if strings.Count(got, "\n") != 2 || !strings.Contains(got, "spec_accept_rate: expected a fraction") || !strings.Contains(got, "loadavg_pre.0: expected no negative") {
			t.Errorf("%s:\n%s", doc, got)
		}
	}
}

func BenchmarkFieldAt(b *testing.B) {
	for b.Loop() {
		if _, ok := FieldAt("engine.latency_seconds.time_to_first_token.p99_est"); !ok {
			b.Fatal("not found")
		}
	}
}

func TestImpossible(t *testing.T) {
	for _, c := range []struct {
		path string
		x    float64
		want string
	}{
		{"run.duration_seconds", 0, ""},
		{"run.duration_seconds", -1, "it cannot be negative"},
		{"gpus.0.peak_bytes", -1, "it cannot be negative"},
		{"gpus.0.peak_at_seconds", -1, ""}, // before the command's start
		{"gpus.0.temperature_celsius_max", -1, ""},
		{"prefix_cache_hit_rate", -0.01, "a fraction is from 0 to 1"},
		{"prefix_cache_hit_rate", 0, ""},
		{"prefix_cache_hit_rate", 1, ""},
		{"prefix_cache_hit_rate", 1.01, "a fraction is from 0 to 1"},
		{"loadavg_pre.0", 1.01, ""},
		{"client.engine_difference_seconds.inter_token_latency", -1e-6, ""},
	} {
		f, ok := FieldAt(c.path)
		if got := f.Impossible(c.x); !ok || got != c.want {
			t.Errorf("%s %v: %q, %v, want %q", c.path, c.x, got, ok, c.want)
		}
	}
}
