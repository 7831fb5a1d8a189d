package run

import (
	"encoding/json"
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
	if items, err := Members([]byte(`{"a":1,"b":}`)); err == nil || items != nil {
		t.Errorf("%v, %v", items, err)
	}
}

// FuzzMembers checks that Object restores every object that Members splits.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":{"b":[1,2,NaN]},"c":"x"}`, `{"a":-Infinity,"":null}`, `{"\ud800":1}`, `{"a":1e5}`, `{"a":`, "{\"\xff\":1}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		items, err := Members([]byte(s))
		if err != nil {
			return
		}
		joined := Object(items)
		if again, err := Members(joined); err != nil || string(Object(again)) != string(joined) {
			t.Fatalf("%q became %q, which is not read as it was: %v", s, joined, err)
		}
		var before, after map[string]any
		if json.Unmarshal([]byte(s), &before) != nil {
			return // with NaN or an infinity
		}
		if err := json.Unmarshal(joined, &after); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, after); d != "" {
			t.Fatal(d)
		}
	})
}
