package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
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

// A table that grew by a row must not run over what stands behind it.
func TestTableKeepsTheRest(t *testing.T) {
	readme := filepath.Join(t.TempDir(), "README.md")
	after := "\n" + strings.Repeat("What stands behind the table of keys.\n", 50)
	text := "before\n" + tableBegin + tableEnd + after
	for range 2 {
		if err := os.WriteFile(readme, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := writeTable(readme, nil); err != nil {
			t.Fatal(err)
		}
		made, err := os.ReadFile(readme)
		if err != nil {
			t.Fatal(err)
		}
		text = string(made)
		if !strings.HasPrefix(text, "before\n"+tableBegin) || !strings.HasSuffix(text, "\n"+tableEnd+after) {
			t.Fatalf("the table was put into %.40q … %q", text, text[max(0, len(text)-len(after)-60):])
		}
		row := strings.Index(text, "| `run.id`")
		if row < 0 {
			t.Fatal("the table has no row for run.id")
		}
		_, rest, _ := strings.Cut(text[row:], "\n")
		text = text[:row] + rest
	}
}
