package schema

import (
	"bytes"
	_ "embed" // for event.schema.json
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed event.schema.json
var eventSchema string

// JSON returns the event's JSON Schema (draft 2020-12). The plain schema allows
// unknown keys outside the core, as consumers must. The strict one allows unknown
// keys only in maps, and has an $id of its own.
func JSON(strict bool) ([]byte, error) {
	if !strict {
		return []byte(eventSchema), nil
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(eventSchema), &doc); err != nil {
		return nil, fmt.Errorf("reading the embedded schema: %w", err)
	}
	closeObjects(doc)
	if id, ok := doc["$id"].(string); ok {
		doc["$id"] = strings.TrimSuffix(id, ".schema.json") + ".strict.schema.json"
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("encoding the strict schema: %w", err)
	}
	return b.Bytes(), nil
}

// closeObjects forbids unknown keys in every object whose schema does not mention
// them.
func closeObjects(n any) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			closeObjects(e)
		}
	case map[string]any:
		for _, e := range n {
			closeObjects(e)
		}
		isObject := n["type"] == "object"
		if list, ok := n["type"].([]any); ok {
			isObject = slices.Contains(list, any("object"))
		}
		if _, ok := n["additionalProperties"]; isObject && !ok {
			n["additionalProperties"] = false
		}
	}
}

// node is a schema in the vocabulary that schemagen writes. Any other keyword makes
// parseSchema, and so a test, fail.
type node struct {
	ID          string `json:"$id"`
	Dialect     string `json:"$schema"`
	Title       string `json:"title"`
	Description string `json:"description"`

	Defs       map[string]*node `json:"$defs"`
	Ref        string           `json:"$ref"`
	AnyOf      []*node          `json:"anyOf"` // always a schema and {"type": "null"}
	Type       typeNames        `json:"type"`
	Enum       []*string        `json:"enum"` // nil means null
	Const      *int             `json:"const"`
	Properties map[string]*node `json:"properties"`
	Required   []string         `json:"required"`
	Additional *additional      `json:"additionalProperties"`
	Items      *node            `json:"items"`
	MinItems   int              `json:"minItems"`
	MaxItems   *int             `json:"maxItems"`

	target     *node                // the definition that Ref refers to
	name       string               // the name of a definition; "" for other schemas
	kinds      [kindObject + 1]bool // those of Type; numbers that are not integers count for "number" only
	isInteger  bool                 // Type has "integer"
	isNullable bool                 // see nullable
}

// typeNames is the value of the keyword type: one name or several.
type typeNames []string

func (t *typeNames) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(t))
	}
	*t = make(typeNames, 1)
	return json.Unmarshal(b, &(*t)[0])
}

// additional is the value of the keyword additionalProperties: false or a schema.
type additional struct {
	schema *node // nil for false
}

func (a *additional) UnmarshalJSON(b []byte) error {
	if string(b) == "false" {
		return nil
	}
	a.schema = new(node)
	return strictUnmarshal(b, a.schema)
}

func strictUnmarshal(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

// parsed returns the schema that documents are checked against. It is parsed at
// first use, because most runs of vobs validate nothing.
var parsed = sync.OnceValues(func() (*node, error) { return parseSchema([]byte(eventSchema)) })

func parseSchema(b []byte) (*node, error) {
	root := new(node)
	if err := strictUnmarshal(b, root); err != nil {
		return nil, fmt.Errorf("reading the embedded schema: %w", err)
	}
	for name, def := range root.Defs {
		def.name = name
	}
	if err := root.link(root.Defs); err != nil {
		return nil, fmt.Errorf("reading the embedded schema: %w", err)
	}
	if root.Defs["Core"] == nil {
		return nil, errors.New("reading the embedded schema: it does not define Core")
	}
	return root, nil
}

// link resolves references, and returns an error for what check does not support.
func (n *node) link(defs map[string]*node) error {
	if n.Ref != "" {
		if n.target = defs[strings.TrimPrefix(n.Ref, "#/$defs/")]; n.target == nil {
			return fmt.Errorf("no definition for %s", n.Ref)
		}
	}
	for k := range n.kinds {
		n.kinds[k] = slices.Contains(n.Type, kind(k).String())
	}
	n.isInteger = slices.Contains(n.Type, "integer")
	n.isNullable = len(n.AnyOf) > 0 || n.kinds[kindNull]
	if len(n.AnyOf) > 0 && (len(n.AnyOf) != 2 || !slices.Equal(n.AnyOf[1].Type, typeNames{"null"})) {
		return errors.New("anyOf is supported only for a schema or null")
	}
	children := slices.Clone(n.AnyOf)
	for _, group := range []map[string]*node{n.Defs, n.Properties} {
		for _, c := range group {
			children = append(children, c)
		}
	}
	if n.Items != nil {
		children = append(children, n.Items)
	}
	if n.Additional != nil && n.Additional.schema != nil {
		children = append(children, n.Additional.schema)
	}
	for _, c := range children {
		if err := c.link(defs); err != nil {
			return err
		}
	}
	return nil
}

// resolve follows references and drops "or null". It returns the schema for a value
// that is not null, or nil if n is nil.
func (n *node) resolve() *node {
	for n != nil {
		switch {
		case n.target != nil:
			n = n.target
		case len(n.AnyOf) > 0:
			n = n.AnyOf[0]
		default:
			return n
		}
	}
	return nil
}

// nullable reports whether the schema itself allows null. It does not follow
// references.
func (n *node) nullable() bool { return n.isNullable }

// isAny reports whether the schema allows any value.
func (n *node) isAny() bool { return n.Ref == "" && len(n.AnyOf) == 0 && len(n.Type) == 0 }

// child returns the schema for an object's key, or nil if there is none.
func (n *node) child(key string) *node {
	if n == nil {
		return nil
	}
	if c := n.Properties[key]; c != nil {
		return c
	}
	if n.Additional != nil {
		return n.Additional.schema
	}
	return nil
}
