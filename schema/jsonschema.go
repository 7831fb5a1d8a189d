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

// JSON gives the event's JSON Schema (draft 2020-12). The plain one allows
// unknown keys outside the core, as consumers must; the strict one allows none,
// but in maps, and bears an $id of its own.
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

// closeObjects forbids unknown keys in every object that says nothing of them.
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
		if _, told := n["additionalProperties"]; isObject && !told {
			n["additionalProperties"] = false
		}
	}
}

// node is a schema in the vocabulary that schemagen writes, and no other: a
// keyword beyond it makes parseSchema fail, and a test with it.
type node struct {
	ID          string `json:"$id"`
	Dialect     string `json:"$schema"`
	Title       string `json:"title"`
	Description string `json:"description"`

	Defs       map[string]*node `json:"$defs"`
	Ref        string           `json:"$ref"`
	AnyOf      []*node          `json:"anyOf"` // always a schema and {"type": "null"}
	Type       typeNames        `json:"type"`
	Enum       []*string        `json:"enum"` // nil stands for null
	Const      *int             `json:"const"`
	Properties map[string]*node `json:"properties"`
	Required   []string         `json:"required"`
	Additional *additional      `json:"additionalProperties"`
	Items      *node            `json:"items"`
	MinItems   int              `json:"minItems"`
	MaxItems   *int             `json:"maxItems"`

	target *node  // what Ref names
	name   string // of a definition: its name, "" else
}

// typeNames is the keyword type: one name or several.
type typeNames []string

func (t *typeNames) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(t))
	}
	*t = make(typeNames, 1)
	return json.Unmarshal(b, &(*t)[0])
}

// additional is the keyword additionalProperties: false, or a schema.
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

// parsed holds the schema that documents are held against, read at first use:
// vobs starts with every command, and most runs validate nothing.
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

// link resolves the references and refuses what the interpreter does not know.
func (n *node) link(defs map[string]*node) error {
	if n.Ref != "" {
		if n.target = defs[strings.TrimPrefix(n.Ref, "#/$defs/")]; n.target == nil {
			return fmt.Errorf("%s names no definition", n.Ref)
		}
	}
	if len(n.AnyOf) > 0 && (len(n.AnyOf) != 2 || !slices.Equal(n.AnyOf[1].Type, typeNames{"null"})) {
		return errors.New("anyOf is understood only as a schema or null")
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

// resolve follows references and leaves "or null" aside: what a value that is
// not null is held against. It gives nil for nil.
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

// nullable tells whether the schema names null as a value.
func (n *node) nullable() bool {
	return len(n.AnyOf) > 0 || slices.Contains(n.Type, "null")
}

// free tells whether the schema takes any value.
func (n *node) free() bool { return n.Ref == "" && len(n.AnyOf) == 0 && len(n.Type) == 0 }

// child gives the schema of an object's key, nil where the schema says nothing of it.
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
