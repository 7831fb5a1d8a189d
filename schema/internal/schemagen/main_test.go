package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The checked-in schema is what the types give.
func TestFresh(t *testing.T) {
	out := filepath.Join(t.TempDir(), "event.schema.json")
	if err := run(out, "../.."); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("event.schema.json is stale: run go generate ./schema")
	}
}
