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
	readme := filepath.Join(t.TempDir(), "README.md")
	checkedIn, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(readme, checkedIn, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(out, "../..", readme); err != nil {
		t.Fatal(err)
	}
	if made, err := os.ReadFile(readme); err != nil || !bytes.Equal(made, checkedIn) {
		t.Errorf("README.md's table of keys is stale: run go generate ./schema (%v)", err)
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
