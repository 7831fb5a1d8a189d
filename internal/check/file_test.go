package check

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compileSchema compiles the schema with an independent implementation, which also checks it
// against the meta-schema.
func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(FileSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("limits.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("limits.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// valid reports whether a text is valid by the schema.
func valid(t *testing.T, s *jsonschema.Schema, text string) bool {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	return err == nil && s.Validate(doc) == nil
}

func TestParseFile(t *testing.T) {
	s := compileSchema(t)
	for _, c := range []struct{ text, want string }{
		{`{}`, ""},
		{`{"$schema": "limits.schema.json", "max": {}, "min": {}}`, ""},
		{`{"max": {"ttft": "500ms", "preemptions": 0, "kv_cache_peak": 0.95}, "min": {"requests_per_second": 1e1}}`,
			"ttft.p95 at most 500 ms, preemptions at most 0 preemptions, kv_cache_peak at most 95 %, requests_per_second at least 10 requests/second"},
	} {
		f, err := ParseFile([]byte(c.text))
		if err != nil || texts(f.Limits) != c.want {
			t.Errorf("%s: %s, %v", c.text, texts(f.Limits), err)
		}
		if !valid(t, s, c.text) {
			t.Errorf("%s is not valid by the schema", c.text)
		}
	}
	f, err := ParseFile([]byte(`{"allow_undecided": true, "allow_missing": false, "strict_validity": true, "slo": "chat@p99"}`))
	if err != nil || !f.AllowUndecided || f.AllowMissing || !f.StrictValidity || len(f.SLO) != 3 || f.SLO[0].Percentile != 99 {
		t.Errorf("%+v, %v", f, err)
	}
}

// A fault has its line. What the schema can express, it refuses too.
func TestParseFileErrors(t *testing.T) {
	s := compileSchema(t)
	for _, c := range []struct {
		text, want string
		bySchema   bool
	}{
		{"", "line 1: not JSON: ", true},
		{"{\n  \"max\": {\n    \"ttft\": 1s\n  }\n}\n", "line 3: not JSON: invalid character 's'", true},
		{"{\n  \"max\": {\n", "line 2: not JSON: unexpected end", true},
		{"{}\n\n{}", "line 3: not JSON: invalid character '{' after top-level value", true},
		{"[]", "line 1: expected an object for a limits file, found a list", true},
		{"null", "line 1: expected an object for a limits file, found null", true},
		{"{\n\"maxx\": {}}", `line 2: unknown key "maxx": did you mean max?`, true},
		{"{\n\"x\": {}}", `line 2: unknown key "x": use slo, max, min, allow_undecided, allow_missing, strict_validity`, true},
		{"{\"max\":\n[]}", `line 2: expected an object for "max", found a list`, true},
		{"{\"max\": {\n\n\"ttft\": true}}", `line 3: ttft: expected a number, or a text like "70GiB", found true`, true},
		{"{\"max\": {\n\n\"ttft\": {}}}", `line 3: ttft: expected a number, or a text like "70GiB", found an object`, true},
		{"{\"max\": {\n\"ttft\": \"500ms\",\n\"tfft\": \"1s\"}}", `line 3: tfft: unknown figure tfft: did you mean ttft`, false},
		{"{\"max\": {\n\"ttft\": \"5GiB\"}}", `line 2: ttft: "5GiB" is a size: use a time like 250ms or 2s`, false},
		{"{\"max\": {\n\"ttft\": 5}}", `line 2: ttft: "5" needs a unit: use a time like 250ms or 2s`, false},
		{"{\"max\": {\n\"ttft\": \"1s\",\n\"ttft\": \"2s\"}}", `line 3: key "ttft" occurs twice`, false},
		{"{\"max\": {\n\"ttft\": \"1s\",\n\"ttft.p95\": \"2s\"}}", `line 3: ttft.p95: ttft.p95 is the same figure`, false},
		{"{\"max\": {},\n\"max\": {}}", `line 2: key "max" occurs twice`, false},
		{"{\"slo\":\n\"chta\"}", `line 2: SLO "chta" (did you mean chat?)`, false},
		{"{\"slo\":\n7}", `line 2: expected a text for "slo", found 7`, true},
		{"{\"$schema\":\n7}", `line 2: expected a text for "$schema", found 7`, true},
		{"{\"allow_missing\":\n\"yes\"}", `line 2: expected true or false for "allow_missing", found "yes"`, true},
	} {
		_, err := ParseFile([]byte(c.text))
		var located *FileError
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.As(err, &located) {
			t.Errorf("%q: %v\nwant %s", c.text, err, c.want)
		}
		if valid(t, s, c.text) == c.bySchema {
			t.Errorf("%q: valid by the schema: %v", c.text, !c.bySchema)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte(`{"slo": "chat", "max": {"ttft.p95": "400ms", "preemptions": 0}, "min": {}, "allow_missing": true}`))
	f.Add([]byte("{\"max\": {\n\"ttft\": 5}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := ParseFile(text)
		var located *FileError
		if err != nil && (!errors.As(err, &located) || located.Line < 1 || located.Line > 1+bytes.Count(text, []byte("\n"))) {
			t.Errorf("%v", err)
		}
	})
}
