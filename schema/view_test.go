package schema

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// emptyCore is NeMo Safe Synthesizer's empty event, byte for byte (pydantic's
// model_dump_json).
const emptyCore = `{"peak_vram_gb":null,"kv_cache_usage_perc":null,"prefix_cache_hit_rate":null,"spec_accept_rate":null,` +
	`"loadavg_pre":null,"loadavg_post":null,"engine_runtime_config":{},"flag_did_not_engage":false}`

// populatedCore is the populated event of NeMo Safe Synthesizer's own tests.
const populatedCore = `{"peak_vram_gb":64.5,"kv_cache_usage_perc":0.42,"prefix_cache_hit_rate":0.99,"spec_accept_rate":0.72,` +
	`"loadavg_pre":[2.5,3.0,3.5],"loadavg_post":[4.0,3.5,3.2],` +
	`"engine_runtime_config":{"max_num_seqs":256,"enable_prefix_caching":true},"flag_did_not_engage":true}`

func populated() Core {
	return Core{
		PeakVRAMGB: F(64.5), KVCacheUsagePerc: F(0.42), PrefixCacheHitRate: F(0.99), SpecAcceptRate: F(0.72),
		LoadavgPre: &LoadAvg{2.5, 3, 3.5}, LoadavgPost: &LoadAvg{4, 3.5, 3.2},
		EngineRuntimeConfig: EngineRuntimeConfig{EnablePrefixCaching: Ptr(true), MaxNumSeqs: Ptr[int64](256)},
		FlagDidNotEngage:    true,
	}
}

func encode(t testing.TB, e *GenerationObservability, v View) []byte {
	t.Helper()
	b, err := e.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(b, []byte("\n")) != 1 || b[len(b)-1] != '\n' {
		t.Fatalf("%s is not one line: %q", v, b)
	}
	return b
}

func TestCoreBytes(t *testing.T) {
	for _, c := range []struct {
		core Core
		want string
	}{
		{Core{}, emptyCore},
		{populated(), populatedCore},
		{Core{PeakVRAMGB: F(64)}, strings.Replace(emptyCore, `"peak_vram_gb":null`, `"peak_vram_gb":64.0`, 1)},
	} {
		e := GenerationObservability{Core: c.core, SchemaVersion: Version}
		if got := string(encode(t, &e, CoreOnly)); got != c.want+"\n" {
			t.Errorf("got  %swant %s", got, c.want)
		}
		if problems := Validate([]byte(c.want), Options{Strict: true}); problems != nil {
			t.Errorf("its own core is invalid:\n%s", texts(problems))
		}
		var back Core
		if err := json.Unmarshal([]byte(c.want), &back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.core, back); d != "" {
			t.Errorf("does not round-trip: %s", d)
		}
	}
}

// The full event starts with the core's keys in NeMo Safe Synthesizer's order, and
// has all groups.
func TestKeyOrder(t *testing.T) {
	e := GenerationObservability{Core: populated(), SchemaVersion: Version}
	full := encode(t, &e, Full)
	if want := strings.TrimSuffix(populatedCore, "}") + `,"schema_version":1,`; !strings.HasPrefix(string(full), want) {
		t.Errorf("the event begins %s, want %s", full[:len(want)], want)
	}
	var keys []string
	for _, m := range parse(t, full).members {
		keys = append(keys, m.key)
	}
	want := []string{
		"peak_vram_gb", "kv_cache_usage_perc", "prefix_cache_hit_rate", "spec_accept_rate", "loadavg_pre", "loadavg_post",
		"engine_runtime_config", "flag_did_not_engage",
		"schema_version", "partial", "flag_mismatches", "flags_checked", "flags_unchecked", "run", "overhead", "host", "gpus", "engine",
		"omni", "efficiency", "series", "diagnosis", "client", "validity", "unavailable",
	}
	if d := cmp.Diff(want, keys); d != "" {
		t.Error(d)
	}
	var exampleKeys []string
	for _, m := range parse(t, example(t)).members {
		exampleKeys = append(exampleKeys, m.key)
	}
	if d := cmp.Diff(exampleKeys, keys); d != "" {
		t.Errorf("not the example's order: %s", d)
	}
}

func TestLogView(t *testing.T) {
	e := GenerationObservability{Core: populated(), SchemaVersion: Version}
	before := time.Now().Add(-time.Second)
	b := encode(t, &e, Log)
	var r struct {
		Message, Category, Level string
		Ctx                      json.RawMessage
		Timestamp                time.Time
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.Message != "vLLM generation complete" || r.Category != "runtime" || r.Level != "info" || string(r.Ctx) != populatedCore {
		t.Errorf("got %s", b)
	}
	if r.Timestamp.Before(before) || r.Timestamp.After(time.Now().Add(time.Second)) {
		t.Errorf("timestamp %v", r.Timestamp)
	}
	if problems := Validate(b, Options{Strict: true}); problems != nil {
		t.Errorf("its own log record is invalid:\n%s", texts(problems))
	}
}

// The example has no key that the types lack, and no key is lost in a round trip.
func TestExampleRoundTrip(t *testing.T) {
	e := exampleEvent(t)
	b := encode(t, e, Full)
	var got, want any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(example(t), &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if problems := Validate(b, Options{Strict: true}); problems != nil {
		t.Errorf("invalid after re-encoding:\n%s", texts(problems))
	}
}

func TestEncodeText(t *testing.T) {
	e := exampleEvent(t)
	e.Run.Command = []string{"tool", "--api-key", "<redacted>", "a&b", "bin\xff\xfeary", "tab\there", "two\nlines", "\x00", "€"}
	b := encode(t, e, Full)
	if !utf8.Valid(b) {
		t.Error("the event is not UTF-8")
	}
	for _, want := range []string{`"<redacted>"`, `"a&b"`, `"two\nlines"`, `"€"`} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s is missing from %s", want, b)
		}
	}
	if problems := Validate(b, Options{Strict: true}); problems != nil {
		t.Error(texts(problems))
	}
	var back GenerationObservability
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(e.Run.Command)
	want[4] = "bin��ary"
	if d := cmp.Diff(want, back.Run.Command); d != "" {
		t.Error(d)
	}
}

// populate sets every pointer in v, and every list and map to one element, or to nil
// if empty is true. Floats become x.
func populate(v reflect.Value, x float64, empty bool) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		populate(v.Elem(), x, empty)
	case reflect.Struct:
		for i := range v.NumField() {
			populate(v.Field(i), x, empty)
		}
	case reflect.Float64:
		v.SetFloat(x)
	case reflect.Array:
		for i := range v.Len() {
			populate(v.Index(i), x, empty)
		}
	case reflect.Slice:
		if !empty {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			populate(v.Index(0), x, empty)
		}
	case reflect.Map:
		if !empty {
			e := reflect.New(v.Type().Elem()).Elem()
			populate(e, x, empty)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("key"), e)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(any(map[string]any{"deep": []any{x, float32(x), 1}})))
	}
}

// NaN and the infinities have no JSON form: an event with one anywhere is still
// written, with null in its place.
func TestNoNaN(t *testing.T) {
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		var e GenerationObservability
		populate(reflect.ValueOf(&e).Elem(), x, false)
		for _, v := range []View{Full, CoreOnly, Log} {
			b := encode(t, &e, v)
			if !json.Valid(b) || bytes.Contains(b, []byte("NaN")) || bytes.Contains(b, []byte("Inf")) {
				t.Errorf("%s: %s", v, b)
			}
			if !bytes.Contains(b, []byte(`"loadavg_pre":[null,null,null]`)) {
				t.Errorf("%s lacks the nulls: %s", v, b)
			}
		}
		if b := encode(t, &e, Full); bytes.Count(b, []byte(`{"deep":[null,null,1]}`)) != 9 {
			t.Errorf("NaN or infinities are left in values of any type: %s", b)
		}
	}
	if got := finite(float32(0.9)); got != float32(0.9) {
		t.Errorf("a finite float32 became %v", got)
	}
}

// An event with nil lists has no null where the schema forbids it.
func TestEmptyLists(t *testing.T) {
	check := func(e *GenerationObservability) {
		t.Helper()
		for _, p := range errorsOf(t, parse(t, encode(t, e, Full)), true) {
			if strings.Contains(p.Message, "null") {
				t.Errorf("%v", p)
			}
		}
	}
	check(&GenerationObservability{})
	var e GenerationObservability
	populate(reflect.ValueOf(&e).Elem(), 1, true)
	if e.Engine.Config == nil || e.Engine.Config.Values != nil {
		t.Fatal("populate does not leave maps nil")
	}
	e.Validity = []Validity{{}}
	for _, g := range []*RequestGauge{e.Engine.Requests.Running, e.Engine.Requests.Waiting} {
		g.Method = nil // "" is not one of its values
	}
	e.Engine.KVCache.Usage.Method, e.Engine.Throughput.Over = nil, nil
	e.Client.Tokens.From, e.Client.Warmup.Tokens.From, e.Client.Throughput.Over = nil, nil, nil
	check(&e)
}

func TestParseView(t *testing.T) {
	for _, s := range []string{"full", "core", "log"} {
		if v, err := ParseView(s); err != nil || string(v) != s {
			t.Errorf("%s: %v, %v", s, v, err)
		}
	}
	for _, s := range []string{"", "Full", "cores"} {
		if _, err := ParseView(s); err == nil || !strings.Contains(err.Error(), "use full, core or log") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestNotes(t *testing.T) {
	var n, other Notes
	n.Missing("gpus", "no driver")
	n.Missing("gpus", "a later reason")
	other.Missing("gpus", "another reason")
	other.Missing("omni", "no families")
	other.Doubt("short_window", Warning, "few polls", nil)
	n.Add(other)
	want := Notes{
		Unavailable: []Unavailable{{"gpus", "no driver"}, {"omni", "no families"}},
		Validity:    []Validity{{Code: "short_window", Severity: Warning, Message: "few polls"}},
	}
	if d := cmp.Diff(want, n); d != "" {
		t.Error(d)
	}
}
