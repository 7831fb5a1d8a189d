package run

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMembers(t *testing.T) {
	for text, joined := range map[string]string{
		`{}`: `{}`,
		` { "a" : NaN , "b/c":[1, -Infinity,{"d":"}\""}],"é\u00e9":1.50e+09 } `: `{"a":NaN,"b/c":[1, -Infinity,{"d":"}\""}],"éé":1.50e+09}`,
		`{"a":1,"a":2}`:              `{"a":1,"a":2}`,
		`{"<&>":"<&>"}`:              `{"<&>":"<&>"}`,
		`{"n":12345678901234567890}`: `{"n":12345678901234567890}`,
	} {
		items, err := Members([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if d := cmp.Diff(joined, string(Object(items))); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	for _, text := range []string{
		"", "null", "1", "[]", "{", "}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1}x`, `{"a":1} {}`, `{"a":NaNx}`, `{"a":nan}`, `{"a":"\x"}`,
		`{"a":[1}`, `{"a":[1 2]}`, `{"a":01}`, "{\"a\":1}\x00", `{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}",
	} {
		if items, err := Members([]byte(text)); err == nil {
			t.Errorf("%.40q was accepted as %v", text, items)
		}
	}
}

// Members accepts every object that encoding/json accepts, and Object restores it. Without
// Python's tokens, it accepts nothing else.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":{"b":[1,2,NaN]},"c":"x"}`, `{"a":-Infinity,"":null}`, `{"\ud800":1}`, `{"a":1e5}`, `{"a":`, "{\"\xff\":1}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		items, err := Members([]byte(s))
		var object_ map[string]any
		valid := json.Unmarshal([]byte(s), &object_) == nil && object_ != nil
		if valid && err != nil && strings.Count(s, "[")+strings.Count(s, "{") < maxNesting {
			t.Fatalf("refused %q", s)
		}
		if err != nil {
			return
		}
		joined := Object(items)
		if again, err := Members(joined); err != nil || string(Object(again)) != string(joined) {
			t.Fatalf("%q became %q, which is not read as it was: %v", s, joined, err)
		}
		if plain := !strings.Contains(s, "NaN") && !strings.Contains(s, "Infinity"); plain != valid && plain {
			t.Fatalf("accepted %q, which is not JSON", s)
		}
		if valid {
			var other map[string]any
			if err := json.Unmarshal(joined, &other); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(object_, other); d != "" {
				t.Fatal(d)
			}
		}
	})
}
