// Schemagen writes event.schema.json, and the README's table of keys, from the Go
// types of package schema: run `go generate ./schema`. Doc comments become descriptions, pointers and fields
// tagged `schema:"nullable"` allow null, those tagged `schema:"added"` may be
// absent, `enum` tags list the allowed values.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

func main() {
	out := flag.String("o", "event.schema.json", "file to write")
	dir := flag.String("dir", ".", "folder of package schema")
	readme := flag.String("readme", "", "README to put the table of keys into; none without it")
	flag.Parse()
	if err := run(*out, *dir, *readme); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run(out, dir, readme string) error {
	docs, err := readDocs(dir)
	if err != nil {
		return err
	}
	if readme != "" {
		if err := writeTable(readme, docs); err != nil {
			return err
		}
	}
	g := generator{docs: docs, defs: map[string]any{}}
	g.object(reflect.TypeFor[schema.Core](), true)
	root := g.body(reflect.TypeFor[schema.GenerationObservability](), false)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = fmt.Sprintf("https://github.com/vobs/vobs/schema/v%d/event.schema.json", schema.Version)
	root["title"] = "GenerationObservability"
	root["$defs"] = g.defs
	root["properties"].(map[string]any)["schema_version"].(map[string]any)["const"] = schema.Version
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return fmt.Errorf("encoding the schema: %w", err)
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}

type generator struct {
	docs map[string]string // "Type" or "Type.Field" -> comment
	defs map[string]any
}

// object makes sure that t, a struct, has a definition, and returns a reference.
func (g *generator) object(t reflect.Type, closed bool) map[string]any {
	if _, ok := g.defs[t.Name()]; !ok {
		g.defs[t.Name()] = nil // breaks recursion
		g.defs[t.Name()] = g.body(t, closed)
	}
	return map[string]any{"$ref": "#/$defs/" + t.Name()}
}

func (g *generator) body(t reflect.Type, closed bool) map[string]any {
	properties := map[string]any{}
	required := []string{}
	g.fields(t, properties, &required)
	body := map[string]any{"type": "object"}
	if len(properties) > 0 {
		body["properties"] = properties
	}
	if len(required) > 0 {
		body["required"] = required
	}
	if closed || t == reflect.TypeFor[schema.EngineRuntimeConfig]() {
		body["additionalProperties"] = false
	}
	if d := g.docs[t.Name()]; d != "" {
		body["description"] = d
	}
	return body
}

func (g *generator) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			g.fields(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		// An omitted key is absent, never null.
		omitted := options == "omitempty"
		s := g.value(f.Type, f.Tag, !omitted)
		if d := g.docs[t.Name()+"."+f.Name]; d != "" {
			s["description"] = d
		}
		properties[name] = s
		// An added key is in every new event; events of earlier versions lack it.
		if !omitted && !tagged(f.Tag, "added") {
			*required = append(*required, name)
		}
	}
}

func (g *generator) value(t reflect.Type, tag reflect.StructTag, nullable bool) map[string]any {
	if t.Kind() == reflect.Pointer {
		s := g.value(t.Elem(), tag, false)
		if !nullable {
			return s
		}
		return orNull(s)
	}
	var s map[string]any
	switch t.Kind() {
	case reflect.Bool:
		s = map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		s = map[string]any{"type": "integer"}
	case reflect.Float64:
		s = map[string]any{"type": "number"}
	case reflect.String:
		s = map[string]any{"type": "string"}
		if e := tag.Get("enum"); e != "" {
			values := []any{}
			for _, v := range strings.Split(e, ",") {
				values = append(values, v)
			}
			s["enum"] = values
		}
	case reflect.Array:
		s = map[string]any{"type": "array", "items": g.value(t.Elem(), "", false), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Slice:
		s = map[string]any{"type": "array", "items": g.value(t.Elem(), "", false)}
	case reflect.Map:
		s = map[string]any{"type": "object", "additionalProperties": g.value(t.Elem(), "", false)}
	case reflect.Struct:
		s = g.object(t, false)
	case reflect.Interface:
		s = map[string]any{}
	default:
		panic("schemagen: no JSON form for " + t.String())
	}
	if tagged(tag, "nullable") {
		return orNull(s)
	}
	return s
}

// tagged says whether a field's schema tag has a word: nullable for a list or map
// that may be null, added for a key that came after the first events of its
// schema_version.
func tagged(tag reflect.StructTag, word string) bool {
	return slices.Contains(strings.Split(tag.Get("schema"), ","), word)
}

func orNull(s map[string]any) map[string]any {
	if kind, ok := s["type"].(string); ok {
		s["type"] = []any{kind, "null"}
		if e, ok := s["enum"].([]any); ok {
			s["enum"] = append(e, nil)
		}
		return s
	}
	return map[string]any{"anyOf": []any{s, map[string]any{"type": "null"}}}
}

// readDocs collects the comments of the exported types and their fields.
func readDocs(dir string) (map[string]string, error) {
	docs := map[string]string{}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the types: %w", err)
	}
	for _, entry := range files {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), dir+"/"+entry.Name(), nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("reading the types: %w", err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				return true
			}
			for _, spec := range decl.Specs {
				ts := spec.(*ast.TypeSpec)
				docs[ts.Name.Name] = text(decl.Doc)
				st, ok := ts.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, field := range st.Fields.List {
					for _, name := range field.Names {
						docs[ts.Name.Name+"."+name.Name] = text(field.Doc)
					}
				}
			}
			return true
		})
	}
	return docs, nil
}

// docLink is a Go doc link, as [Version].
var docLink = regexp.MustCompile(`\[([A-Z]\w*)\]`)

// text joins a comment into one line and turns doc links into plain names.
func text(c *ast.CommentGroup) string {
	return docLink.ReplaceAllString(strings.Join(strings.Fields(c.Text()), " "), "$1")
}
