package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// releases returns the events in testdata/releases by file name.
func releases(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/releases/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("only %d events of releases: %v", len(files), err)
	}
	events := map[string][]byte{}
	for _, name := range files {
		if events[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

// The events of all releases are valid for our validator and for the JSON Schema, and
// this version's types have all of their keys.
func TestReleases(t *testing.T) {
	plain, closed := reference(t, false), reference(t, true)
	for name, doc := range releases(t) {
		if problems := Validate(doc, Options{Strict: true}); problems != nil {
			t.Errorf("%s:\n%s", name, texts(problems))
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
		if err != nil {
			t.Fatal(err)
		}
		if err := plain.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := closed.Validate(v); err != nil {
			t.Errorf("%s, strict: %v", name, err)
		}
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.DisallowUnknownFields()
		if err := dec.Decode(new(GenerationObservability)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// removeOptional removes the keys that its schema does not require from a decoded
// JSON value, and returns how many there were.
func removeOptional(n *node, v any) (removed int) {
	if n = n.resolve(); n == nil || n.isAny() {
		return 0
	}
	switch v := v.(type) {
	case map[string]any:
		required := map[string]bool{}
		for _, key := range n.Required {
			required[key] = true
		}
		for key, child := range v {
			if n.Properties[key] != nil && !required[key] {
				delete(v, key)
				removed++
				continue
			}
			removed += removeOptional(n.child(key), child)
		}
	case []any:
		for _, child := range v {
			removed += removeOptional(n.Items, child)
		}
	}
	return removed
}

// An event without any of the optional keys is valid: an older version of vobs, which
// does not know them, wrote it. Decoded, these keys are null.
func TestOptionalKeys(t *testing.T) {
	root, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	docs := releases(t)
	docs["the example"] = example(t)
	total := 0
	for name, doc := range docs {
		var v map[string]any
		if err := json.Unmarshal(doc, &v); err != nil {
			t.Fatal(err)
		}
		total += removeOptional(root, v)
		older := marshal(t, v)
		if problems := Validate(older, Options{Strict: true}); problems != nil {
			t.Errorf("%s without optional keys:\n%s", name, texts(problems))
		}
		var e GenerationObservability
		if err := json.Unmarshal(older, &e); err != nil {
			t.Error(err)
		}
		if o := e.Engine.KVOffload; e.Engine.Tokens.Diffusion != nil || o != nil && o.PromotionAllocationFailures != nil {
			t.Errorf("%s: an absent key is not null", name)
		}
	}
	if total < 50 {
		t.Errorf("only %d keys were optional", total)
	}
}

// A reason may be for an optional key that the event lacks.
func TestReasonForAbsentKey(t *testing.T) {
	var v map[string]any
	if err := json.Unmarshal(example(t), &v); err != nil {
		t.Fatal(err)
	}
	engine := v["engine"].(map[string]any)
	delete(engine["tokens"].(map[string]any), "diffusion")
	v["unavailable"] = append(v["unavailable"].([]any), map[string]any{"field": "engine.tokens.diffusion.denoising_steps", "reason": "not exported"})
	if problems := Validate(marshal(t, v), Options{Strict: true}); problems != nil {
		t.Error(texts(problems))
	}
}
