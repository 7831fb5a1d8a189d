package schema

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// Events are encoded as encoding/json encodes them: every recorded one, and a thousand
// random ones.
func TestEncodeAgrees(t *testing.T) {
	agree := func(what string, doc any) {
		t.Helper()
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		wantErr := enc.Encode(doc)
		got, err := appendJSON(nil, reflect.ValueOf(doc))
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("%s: error %v, encoding/json's %v", what, err, wantErr)
		}
		if err == nil && string(got)+"\n" != want.String() {
			t.Fatalf("%s:\n%s\nencoding/json:\n%s", what, got, want.String())
		}
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no events: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var e GenerationObservability
		if json.Unmarshal(text, &e) == nil {
			agree(name, &e)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		var e GenerationObservability
		scramble(random, reflect.ValueOf(&e).Elem())
		agree("a random event", &e)
		if i%10 == 0 {
			agree("a random core", e.Core)
			agree("a random record", logRecord{Message: "<&>", Ctx: e.Core})
		}
	}
	agree("a value without a JSON form", EngineConfig{Values: map[string]any{"x": math.NaN()}})
}

// scramble sets a value and everything in it to random values. A third of all
// pointers, lists and maps stay nil.
func scramble(r *rand.Rand, v reflect.Value) {
	nothing := r.IntN(3) == 0
	switch v.Kind() {
	case reflect.Pointer:
		if !nothing {
			v.Set(reflect.New(v.Type().Elem()))
			scramble(r, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			scramble(r, v.Field(i))
		}
	case reflect.Slice:
		if !nothing {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			scramble(r, v.Index(i))
		}
	case reflect.Map:
		if nothing {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(5) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			scramble(r, key)
			scramble(r, value)
			v.SetMapIndex(key, value)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf([]any{nil, true, 1.5, 1e300, "a<b", []any{1, "x"}, map[string]any{"b": 1, "a": nil}}[1+r.IntN(6)]))
	case reflect.String:
		v.SetString([]string{"", "plain", "<&>", "a\"b\\c", "tab\t", "\x00\x7f", "grün", "\u2028", "\xff", "🙂", "vllm:x_total"}[r.IntN(11)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1 << 53}[r.IntN(6)])
	case reflect.Float64:
		v.SetFloat([]float64{0, 1, -0.5, 1e-7, 1e21, math.MaxFloat64, math.NaN(), math.Inf(-1), 64}[r.IntN(9)])
	default:
		panic("no rule for " + v.Type().String())
	}
}
