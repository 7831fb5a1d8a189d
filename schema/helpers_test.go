package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// example returns the event in testdata/events/example.json.
func example(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/events/example.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func exampleEvent(t testing.TB) *GenerationObservability {
	t.Helper()
	var e GenerationObservability
	dec := json.NewDecoder(bytes.NewReader(example(t)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		t.Fatal(err)
	}
	return &e
}

// edit returns the example with old, which must occur exactly once, replaced by new.
func edit(t testing.TB, old, new string) []byte {
	t.Helper()
	s := string(example(t))
	if n := strings.Count(s, old); n != 1 {
		t.Fatalf("%q occurs %d times in the example, want once", old, n)
	}
	return []byte(strings.Replace(s, old, new, 1))
}

// lineOf returns the line of the first occurrence of text in doc.
func lineOf(t testing.TB, doc []byte, text string) int {
	t.Helper()
	i := bytes.Index(doc, []byte(text))
	if i < 0 {
		t.Fatalf("%q does not occur in the document", text)
	}
	return 1 + bytes.Count(doc[:i], []byte("\n"))
}

// tree returns the example as decoded by encoding/json.
func tree(t testing.TB) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(example(t)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func texts(problems []Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

func parse(t testing.TB, doc []byte) *value {
	t.Helper()
	v, err := newParser(doc, new(arena)).document()
	if err != nil {
		t.Fatalf("line %d: %s", err.line, err.message)
	}
	return v
}
