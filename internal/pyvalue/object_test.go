package pyvalue

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSplitObject(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "",
		` { "a" : NaN , "b/c":[1, -Infinity,{"d":"}\""}],"\u00e9":1.50e+09 } `: "a=NaN;b/c=[1, -Infinity,{\"d\":\"}\\\"\"}];é=1.50e+09;",
		`{"a":1,"a":{"a":2}}`: `a=1;a={"a":2};`,
	} {
		var got strings.Builder
		err := SplitObject([]byte(text), func(key string, value []byte) { got.WriteString(key + "=" + string(value) + ";") })
		if err != nil || got.String() != want {
			t.Errorf("%s: %s, %v, want %s", text, &got, err, want)
		}
	}
	for _, text := range []string{
		"", "null", "1", "[]", "{", "}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1}x`, `{"a":1} {}`, `{"a":NaNx}`, `{"a":nan}`, `{"a":"\x"}`,
		`{"a":[1}`, `{"a":[1 2]}`, `{"a":01}`, "{\"a\":1}\x00", `{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}",
	} {
		if err := SplitObject([]byte(text), func(string, []byte) {}); err == nil {
			t.Errorf("%.40q was accepted", text)
		}
	}
}

// FuzzSplitObject checks that SplitObject accepts every object that encoding/json accepts
// and, without Python's constants, nothing else.
func FuzzSplitObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":{"b":[1,2,NaN]},"c":"x"}`, `{"a":-Infinity,"":null}`, `{"\ud800":1}`, `{"a":1e5}`, `{"a":`, "{\"\xff\":1}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := SplitObject([]byte(s), func(string, []byte) {})
		var object map[string]any
		valid := json.Unmarshal([]byte(s), &object) == nil && object != nil
		if valid && err != nil && strings.Count(s, "[")+strings.Count(s, "{") < maxObjectNesting {
			t.Fatalf("refused %q", s)
		}
		if err == nil && !valid && !strings.Contains(s, "NaN") && !strings.Contains(s, "Infinity") {
			t.Fatalf("accepted %q, which is not JSON", s)
		}
	})
}
