package main

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

// The table of keys stands in the README between these lines.
const (
	tableBegin = "<!-- keys: made by go generate ./schema -->\n"
	tableEnd   = "<!-- end of keys -->\n"
)

// writeTable puts the table of the event's keys into a README.
func writeTable(file string, docs map[string]string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the README: %w", err)
	}
	before, rest, ok := bytes.Cut(text, []byte(tableBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table of keys: a line %q, later a line %q", file, tableBegin, tableEnd)
	}
	t := table{docs: docs}
	t.b.WriteString(tableBegin + "\n| key | type | meaning |\n|---|---|---|\n")
	t.fields(reflect.TypeFor[schema.GenerationObservability](), "")
	t.b.WriteString("\n" + tableEnd)
	out := slices.Concat(before, t.b.Bytes(), after) // both are parts of text
	if bytes.Equal(out, text) {
		return nil
	}
	return os.WriteFile(file, out, 0o644)
}

// markdown keeps a table's cell and what looks like HTML as they are meant.
var markdown = strings.NewReplacer("|", "\\|", "<", "&lt;")

type table struct {
	docs map[string]string
	b    bytes.Buffer
	told map[reflect.Type]string // where a type's fields were listed first
}

func (t *table) fields(s reflect.Type, prefix string) {
	for i := range s.NumField() {
		f := s.Field(i)
		if f.Anonymous {
			t.fields(f.Type, prefix)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		key := prefix + name
		inner, kind, mark := describe(f)
		meaning := t.docs[s.Name()+"."+f.Name]
		if at, ok := t.told[inner]; ok {
			meaning += " As in `" + at + "`."
		}
		fmt.Fprintf(&t.b, "| `%s` | %s | %s |\n", key, kind, markdown.Replace(meaning))
		if inner == nil {
			continue
		}
		if _, ok := t.told[inner]; ok {
			continue
		}
		if t.told == nil {
			t.told = map[reflect.Type]string{}
		}
		t.told[inner] = key
		t.fields(inner, key+mark+".")
	}
}

// describe names a field's type for a reader; inner is the struct behind it, if
// any, and mark what a path into it adds to the key.
func describe(f reflect.StructField) (inner reflect.Type, kind, mark string) {
	t := f.Type
	nullable := tagged(f.Tag, "nullable")
	if t.Kind() == reflect.Pointer {
		t, nullable = t.Elem(), true
		if strings.Contains(f.Tag.Get("json"), "omitempty") {
			nullable = false
		}
	}
	switch t.Kind() {
	case reflect.Struct:
		inner, kind = t, "object"
	case reflect.Slice:
		kind, mark = "list of "+scalar(t.Elem()), "[]"
		if t.Elem().Kind() == reflect.Struct {
			inner, kind = t.Elem(), "list"
		}
	case reflect.Array:
		kind = fmt.Sprintf("%d numbers", t.Len())
	case reflect.Map:
		kind = "object of " + scalar(t.Elem())
	default:
		kind = scalar(t)
	}
	if e := f.Tag.Get("enum"); e != "" {
		kind = strings.ReplaceAll(e, ",", ", ")
	}
	if nullable {
		kind += " or null"
	}
	return inner, kind, mark
}

func scalar(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Interface:
		return "any value"
	}
	return "string"
}
