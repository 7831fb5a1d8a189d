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

// updatePage replaces the generated parts of a Markdown page.
func updatePage(file string, comments map[string]string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	out := page
	for _, part := range []struct {
		name string
		text []byte
	}{{"keys", keyTables(comments)}, {"codes", codeTables()}} {
		if out, err = replacePart(out, part.name, part.text); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	if bytes.Equal(out, page) {
		return nil
	}
	return os.WriteFile(file, out, 0o644)
}

// replacePart puts text between the two lines of page that mark a part.
func replacePart(page []byte, name string, text []byte) ([]byte, error) {
	begin := "<!-- " + name + ": generated, run go generate ./schema -->\n"
	end := "<!-- end of " + name + " -->\n"
	before, rest, ok := bytes.Cut(page, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, fmt.Errorf("no place for the %s: expected a line %q and later a line %q", name, begin, end)
	}
	return slices.Concat(before, []byte(begin+"\n"), text, []byte("\n"+end), after), nil
}

// codeTables returns one table for each subject of validity codes.
func codeTables() []byte {
	var b bytes.Buffer
	for i, g := range schema.Codes() {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "### %s\n\n| code | severity | what is in doubt |\n|---|---|---|\n", g.Subject)
		for _, c := range g.Codes {
			var severities []string
			for _, s := range c.Severities {
				severities = append(severities, string(s))
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.Code, strings.Join(severities, ", "), cell(c.Meaning))
		}
	}
	return b.Bytes()
}

// keyTables returns the tables of the event's keys: the core, the keys beside
// it, each large group, and the objects that occur in several places.
func keyTables(comments map[string]string) []byte {
	p := &pageWriter{comments: comments, headings: map[reflect.Type]string{}}
	event, core := reflect.TypeFor[schema.GenerationObservability](), reflect.TypeFor[schema.Core]()
	shared := sharedObjects(event)
	for _, t := range shared {
		p.headings[t] = t.Name()
	}
	var groups []reflect.StructField
	for _, f := range reflect.VisibleFields(event) {
		if t := structIn(f.Type); !f.Anonymous && f.Index[0] > 0 && t != nil && t.NumField() > 2 {
			groups = append(groups, f)
			p.headings[t] = jsonName(f)
		}
	}
	p.heading("The core")
	p.table(core, "", "")
	p.heading("Beside the core")
	p.table(event, "", "")
	for _, f := range groups {
		p.heading("`" + jsonName(f) + "`")
		fmt.Fprintf(&p.b, "%s\n\n", p.meaning(event, f))
		p.table(structIn(f.Type), jsonName(f)+star(f.Type)+".", "")
	}
	for _, t := range shared {
		p.heading(t.Name())
		fmt.Fprintf(&p.b, "%s\n\n", comments[t.Name()])
		p.table(t, "", "that of the object")
	}
	return p.b.Bytes()
}

// sharedObjects returns the structs that occur in several places below t, in the
// order in which they are met.
func sharedObjects(t reflect.Type) (shared []reflect.Type) {
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			inner := structIn(t.Field(i).Type)
			switch {
			case inner == nil:
			case !seen[inner]:
				seen[inner] = true
				walk(inner)
			case !slices.Contains(shared, inner):
				shared = append(shared, inner)
			}
		}
	}
	walk(t)
	return shared
}

type pageWriter struct {
	comments map[string]string
	headings map[reflect.Type]string // of structs with a table of their own
	b        bytes.Buffer
}

func (p *pageWriter) heading(s string) {
	if p.b.Len() > 0 {
		p.b.WriteByte('\n')
	}
	fmt.Fprintf(&p.b, "### %s\n\n", s)
}

func (p *pageWriter) table(t reflect.Type, prefix, unit string) {
	p.b.WriteString("| key | type | unit | kind | meaning |\n|---|---|---|---|---|\n")
	p.rows(t, prefix, unit)
}

// rows writes the rows of a struct's keys, and below each object without a table
// of its own the rows of that object's keys. Figures without a unit tag have
// the unit of the group.
func (p *pageWriter) rows(t reflect.Type, prefix, group string) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Type == reflect.TypeFor[schema.Core]():
			continue // it has a table of its own
		case f.Anonymous:
			p.rows(f.Type, prefix, group)
			continue
		}
		inner, kind := structIn(f.Type), f.Tag.Get("kind")
		unit, ok := f.Tag.Lookup("unit")
		if !ok {
			unit = group
		}
		shown := unit
		if !ok && kind == "" && p.headings[inner] == "" {
			shown = ""
		}
		fmt.Fprintf(&p.b, "| `%s` | %s | %s | %s | %s |\n", prefix+jsonName(f), p.typeOf(f), shown, kind, cell(p.meaning(t, f)))
		if inner != nil && p.headings[inner] == "" {
			p.rows(inner, prefix+jsonName(f)+star(f.Type)+".", unit)
		}
	}
}

func (p *pageWriter) meaning(t reflect.Type, f reflect.StructField) string {
	return p.comments[t.Name()+"."+f.Name]
}

// typeOf describes a field's JSON type for a reader.
func (p *pageWriter) typeOf(f reflect.StructField) string {
	t, canBeNull := f.Type, canBeNull(f)
	omitted := strings.Contains(f.Tag.Get("json"), ",omitempty")
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var kind string
	switch t.Kind() {
	case reflect.Struct:
		kind = p.link(t, "object")
	case reflect.Slice:
		kind = "list of " + plural(t.Elem())
		if t.Elem().Kind() == reflect.Struct {
			kind = "list of " + p.link(t.Elem(), "objects")
		}
	case reflect.Array:
		kind = fmt.Sprintf("%d numbers", t.Len())
	case reflect.Map:
		kind = "map to " + plural(t.Elem())
		if t.Elem().Kind() == reflect.Struct {
			kind = "map to " + p.link(t.Elem(), "objects")
		}
	case reflect.Interface:
		return "any"
	default:
		kind = scalar(t)
	}
	if e := f.Tag.Get("enum"); e != "" {
		kind = "`" + strings.ReplaceAll(e, ",", "`, `") + "`"
	}
	switch {
	case omitted:
		kind += " or absent"
	case canBeNull:
		kind += " or null"
	}
	return kind
}

// link names a struct, and links to its table if it has one. A group's table has
// the group's key as its heading.
func (p *pageWriter) link(t reflect.Type, noun string) string {
	switch heading := p.headings[t]; heading {
	case "":
		return noun
	case t.Name():
		return "[" + heading + "](#" + strings.ToLower(heading) + ")"
	default:
		return "[" + noun + "](#" + heading + ")"
	}
}

func plural(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Interface:
		return "any values"
	case reflect.Array:
		return fmt.Sprintf("lists of %d numbers", t.Len())
	}
	return scalar(t) + "s"
}

func scalar(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Float64:
		return "number"
	}
	return "string"
}

// structIn returns the struct behind pointers, lists and maps, or nil.
func structIn(t reflect.Type) reflect.Type {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return structIn(t.Elem())
	case reflect.Struct:
		return t
	}
	return nil
}

// star returns what a path needs after the key of a list or a map: the place of an index or a key.
func star(t reflect.Type) string {
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		return ".*"
	}
	return ""
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// cell escapes what would end a cell of a table or start a tag. Code spans keep
// both as they are, but for |.
func cell(s string) string {
	parts := strings.Split(strings.ReplaceAll(s, "|", "\\|"), "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.ReplaceAll(parts[i], "<", "&lt;")
	}
	return strings.Join(parts, "`")
}
