package main

import (
	_ "embed" // for required.txt
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

//go:embed required.txt
var requiredKeys string

// eventSchema returns the JSON Schema of the event, and the keys of each object in it as the
// types declare them.
func eventSchema(comments map[string]string) (root map[string]any, order map[string][]string, err error) {
	g := newGenerator(comments, requiredKeys)
	g.object(reflect.TypeFor[schema.Core](), true)
	root = g.body(reflect.TypeFor[schema.GenerationObservability](), false)
	if err := g.check(); err != nil {
		return nil, nil, err
	}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = fmt.Sprintf("https://github.com/vobs/vobs/schema/v%d/event.schema.json", schema.Version)
	root["title"] = "GenerationObservability"
	root["$defs"] = g.defs
	root["properties"].(map[string]any)["schema_version"].(map[string]any)["const"] = schema.Version
	return root, g.order, nil
}

type generator struct {
	comments map[string]string
	defs     map[string]any
	order    map[string][]string // keys of a type as it declares them
	required map[string]bool     // "Type.key" of required.txt; true once a field has it
	old      map[string]bool     // the types that required.txt names
	problems []string
}

// newGenerator returns a generator for the keys listed in required, the text of
// required.txt.
func newGenerator(comments map[string]string, required string) *generator {
	g := &generator{comments: comments, defs: map[string]any{}, order: map[string][]string{}, required: map[string]bool{}, old: map[string]bool{}}
	for line := range strings.Lines(required) {
		key := strings.TrimSpace(line)
		if key == "" || key[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(key, ".")
		g.required[key], g.old[name] = false, true
	}
	return g
}

// check returns an error if the types break a promise to consumers or to older
// events.
func (g *generator) check() error {
	for _, key := range slices.Sorted(maps.Keys(g.required)) {
		if !g.required[key] {
			g.problems = append(g.problems, key+" is in required.txt and is no key of the types: within a schema_version no key may go, or be left out of an event")
		}
	}
	if len(g.problems) > 0 {
		return fmt.Errorf("%s", strings.Join(g.problems, "\n"))
	}
	return nil
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
	g.order[t.Name()] = keys(t)
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
	if d := g.comments[t.Name()]; d != "" {
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
		// A key that may be omitted is absent, never null.
		omitted := options == "omitempty"
		s := g.value(f.Type, f.Tag, !omitted)
		if d := g.comments[t.Name()+"."+f.Name]; d != "" {
			s["description"] = d
		}
		properties[name] = s
		key := t.Name() + "." + name
		switch _, listed := g.required[key]; {
		case omitted:
		case listed:
			g.required[key] = true
			*required = append(*required, name)
		case g.old[t.Name()] && !canBeNull(f):
			// Decoded from an older event, it would be zero: a wrong value.
			g.problems = append(g.problems, key+" came after the first events of its schema_version, which lack it: it must be nullable, so that readers see that it is unknown")
		}
	}
}

// keys returns the keys of a struct in the order of its fields.
func keys(t reflect.Type) (out []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			out = append(out, keys(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, name)
	}
	return out
}

// canBeNull reports whether a field can be null, and so is null after an event
// without it was decoded.
func canBeNull(f reflect.StructField) bool {
	return f.Type.Kind() == reflect.Pointer || f.Type.Kind() == reflect.Interface || nullable(f.Tag)
}

func (g *generator) value(t reflect.Type, tag reflect.StructTag, pointerIsNull bool) map[string]any {
	if t.Kind() == reflect.Pointer {
		s := g.value(t.Elem(), tag, false)
		if !pointerIsNull {
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
		s = map[string]any{"type": "array", "items": g.value(t.Elem(), "", true), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Slice:
		s = map[string]any{"type": "array", "items": g.value(t.Elem(), "", true)}
	case reflect.Map:
		s = map[string]any{"type": "object", "additionalProperties": g.value(t.Elem(), "", false)}
	case reflect.Struct:
		s = g.object(t, false)
	case reflect.Interface:
		s = map[string]any{}
	default:
		panic("schemagen: no JSON form for " + t.String())
	}
	if nullable(tag) {
		return orNull(s)
	}
	return s
}

// nullable reports whether a field's tag allows a list or map to be null.
func nullable(tag reflect.StructTag) bool { return tag.Get("schema") == "nullable" }

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
