package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// reference compiles the schema with an independent implementation, which also
// checks it against the meta-schema of draft 2020-12.
func reference(t testing.TB, strict bool) *jsonschema.Schema {
	t.Helper()
	b, err := JSON(strict)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if d := doc.(map[string]any)["$schema"]; d != "https://json-schema.org/draft/2020-12/schema" {
		t.Fatalf("$schema is %v", d)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("event.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("event.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// errorsOf returns the errors that JSON Schema defines, without our warnings.
func errorsOf(t testing.TB, v *value, strict bool) []Problem {
	t.Helper()
	root, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	c := checker{strict: strict}
	c.check(root, v)
	return slices.DeleteFunc(c.problems, func(p Problem) bool { return p.Warning })
}

// spot is a place in a decoded document: a value, and how to replace or remove it.
type spot struct {
	path   string
	value  any
	set    func(any)
	remove func() // nil for the root
}

// spots lists every value below v.
func spots(path string, v any, set func(any), remove func(), out []spot) []spot {
	out = append(out, spot{path, v, set, remove})
	join := func(step string) string {
		if path == "" {
			return step
		}
		return path + "." + step
	}
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			child := v[k]
			out = spots(join(k), child, func(x any) { v[k] = x }, func() { delete(v, k) }, out)
		}
	case []any:
		for i, child := range v {
			out = spots(join(strconv.Itoa(i)), child, func(x any) { v[i] = x }, nil, out)
		}
	}
	return out
}

// Our validator and the reference reach the same verdict on the example and on every
// mutation of it, under both schemas.
func TestAgreesWithReference(t *testing.T) {
	plain, closed := reference(t, false), reference(t, true)
	root := tree(t)
	accepted, rejected := 0, 0
	// The two schemas differ only in unknown keys, so the strict one is used only
	// where keys change.
	compare := func(what string, keys bool) {
		t.Helper()
		doc := marshal(t, root)
		v := parse(t, doc)
		for _, s := range []struct {
			strict bool
			schema *jsonschema.Schema
		}{{false, plain}, {true, closed}} {
			if s.strict && !keys {
				continue
			}
			ours, theirs := errorsOf(t, v, s.strict), s.schema.Validate(root)
			if (len(ours) == 0) != (theirs == nil) {
				t.Errorf("%s (strict %v): ours %v, the reference's %v", what, s.strict, ours, theirs)
			}
			if theirs == nil {
				accepted++
			} else {
				rejected++
			}
		}
	}
	compare("the example", true)
	if accepted != 2 {
		t.Fatal("the example is not valid")
	}
	values := []any{nil, true, json.Number("1.5"), json.Number("2.0"), json.Number("-1e3"), "http", "v2",
		[]any{}, map[string]any{}, []any{json.Number("1"), "x"}}
	seen := map[string]int{}
	most, wantAccepted, wantRejected := 2, 300, 1500
	// As testkit.Long, which imports schema.
	if os.Getenv("VOBS_TEST_LONG") == "" || raceEnabled { // the detector has nothing to find here, and slows this down tenfold
		most, wantAccepted, wantRejected = 1, 100, 600
		values = values[:4]
	}
	all := spots("", root, func(x any) { root = x }, nil, nil)
	for i, s := range all {
		// Most leaves are those of distributions: each key is tried at a few places.
		name := s.path[strings.LastIndexByte(s.path, '.')+1:]
		if seen[name]++; seen[name] > most {
			continue
		}
		for _, v := range values {
			s.set(v)
			compare(fmt.Sprintf("%s = %v", s.path, v), false)
		}
		s.set(s.value)
		if s.remove != nil {
			s.remove()
			compare("without "+s.path, true)
			s.set(s.value)
		}
		switch v := s.value.(type) {
		case map[string]any:
			v["unheard_of"] = json.Number("1")
			compare(s.path+" with another key", true)
			delete(v, "unheard_of")
		case []any:
			if len(v) > 0 {
				s.set(append(slices.Clone(v), v[0]))
				compare(s.path+" with another element", false)
				s.set(v[1:])
				compare(s.path+" without its first element", false)
				s.set(v)
			}
		}
		if i%50 == 0 {
			compare("the example, restored after "+s.path, true)
		}
	}
	if accepted < wantAccepted || rejected < wantRejected {
		t.Errorf("%d accepted and %d rejected: too few for a useful comparison", accepted, rejected)
	}
	t.Logf("%d values, %d verdicts: %d accepted, %d rejected", len(all), accepted+rejected, accepted, rejected)
}

// The schema uses only keywords that our validator supports. A schema with any other
// keyword is rejected.
func TestVocabulary(t *testing.T) {
	if _, err := parsed(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		`{"$defs": {"Core": {}}, "pattern": "x"}`,
		`{"$defs": {"Core": {"additionalProperties": {"format": "uri"}}}}`,
		`{"$defs": {"Core": {"anyOf": [{"type": "string"}, {"type": "number"}]}}}`,
		`{"$defs": {"Core": {"$ref": "#/$defs/Nothing"}}}`,
		`{}`,
	} {
		if _, err := parseSchema([]byte(s)); err == nil {
			t.Errorf("%s was accepted", s)
		}
	}
	if _, err := parseSchema([]byte(`{"$defs": {"Core": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}`)); err != nil {
		t.Error(err)
	}
}

func TestStrictSchema(t *testing.T) {
	b, err := JSON(true)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		ID         string `json:"$id"`
		Additional any    `json:"additionalProperties"`
		Defs       map[string]struct {
			Additional any `json:"additionalProperties"`
			Properties map[string]struct {
				Additional any `json:"additionalProperties"`
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Additional != false {
		t.Error("the event itself is open")
	}
	if len(doc.Defs) < 30 {
		t.Errorf("only %d definitions", len(doc.Defs))
	}
	for name, d := range doc.Defs {
		if d.Additional != false {
			t.Errorf("%s is open", name)
		}
	}
	if a := doc.Defs["Run"].Properties["labels"].Additional; a == nil || a == false {
		t.Errorf("run.labels allows no labels: %v", a)
	}
	if want := fmt.Sprintf("https://github.com/vobs/vobs/schema/v%d/event.strict.schema.json", Version); doc.ID != want {
		t.Errorf("$id is %s, want %s", doc.ID, want)
	}
}
