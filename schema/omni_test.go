package schema

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The example of the group decodes with no key too many or too few, and encodes to
// what it was.
func TestOmniExample(t *testing.T) {
	body, err := os.ReadFile("testdata/omni.example.json")
	if err != nil {
		t.Fatal(err)
	}
	e := exampleEvent(t)
	if err := json.Unmarshal(body, e); err != nil {
		t.Fatal(err)
	}
	doc := encode(t, e, Full)
	if problems := Validate(doc, Options{Strict: true}); problems != nil {
		t.Error(texts(problems))
	}
	var want, got map[string]any
	for from, into := range map[string]*map[string]any{string(body): &want, string(doc): &got} {
		if err := json.Unmarshal([]byte(from), into); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(want["omni"], got["omni"]); d != "" {
		t.Errorf("(-example +written) %s", d)
	}
	// A pipeline without stages has an empty list of stages, not null.
	e.Omni = &Omni{Stages: []OmniStage{{Stage: "0"}}}
	if err := json.Unmarshal(encode(t, e, Full), &got); err != nil {
		t.Fatal(err)
	}
	if o := got["omni"].(map[string]any); o["models"] == nil || o["transfers"] != nil || o["stages"].([]any)[0].(map[string]any)["replicas"] == nil {
		t.Errorf("%v", o)
	}
}
