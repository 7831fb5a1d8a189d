package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const pythonHead = `# Generated from the JSON Schema of the event by "go generate ./schema". Do not edit.
"""The event as pydantic models: the same keys, types and descriptions as event.schema.json.

Unknown keys are kept in ` + "`model_extra`" + `, because a newer vobs may write more of them; only
` + "`Core`" + ` forbids them. A key that an older vobs did not write is None.
"""

from typing import Any, Literal

from pydantic import Field

from vobs._base import Frozen, Group
`

// The keys that are keywords of Python, and their names there.
var pythonNames = map[string]string{"from": "from_", "async": "async_"}

// pythonModels returns a Python module with a pydantic model for each object of the schema, in
// the order of the Go types. order holds the keys of each definition as they are declared.
func pythonModels(root map[string]any, order map[string][]string) (string, error) {
	p := &pythonWriter{defs: root["$defs"].(map[string]any), order: order, state: map[string]int{}}
	p.b.WriteString(pythonHead)
	p.core(p.defs["Core"].(map[string]any))
	name := root["title"].(string)
	p.class(name, root)
	for _, name := range slices.Sorted(maps.Keys(p.defs)) {
		if p.state[name] == 0 {
			p.problem("nothing refers to the definition %s", name)
		}
	}
	if p.problems != nil {
		return "", fmt.Errorf("the Python models: %s", strings.Join(p.problems, "; "))
	}
	return p.b.String(), nil
}

type pythonWriter struct {
	b        strings.Builder
	defs     map[string]any
	order    map[string][]string
	state    map[string]int // of a definition: 1 while it is being written, 2 afterwards
	problems []string
}

func (p *pythonWriter) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// core writes the frozen core as NeMo Safe Synthesizer declares it: every key has a default,
// and engine_runtime_config takes any settings.
func (p *pythonWriter) core(def map[string]any) {
	p.state["Core"] = 2
	p.open("Core", "Frozen", def)
	properties := def["properties"].(map[string]any)
	for _, key := range p.order["Core"] {
		s := properties[key].(map[string]any)
		switch key {
		case "engine_runtime_config":
			p.b.WriteString("    engine_runtime_config: dict[str, Any] = Field(default_factory=dict)\n")
		case "flag_did_not_engage":
			p.b.WriteString("    flag_did_not_engage: bool = False\n")
		default:
			fmt.Fprintf(&p.b, "    %s: %s = None\n", key, p.typeOf(s))
		}
		p.describe(s)
	}
}

// class writes the models that def refers to, and then that of def.
func (p *pythonWriter) class(name string, def map[string]any) {
	p.state[name] = 1
	properties, _ := def["properties"].(map[string]any)
	keys := p.order[name]
	if len(keys) != len(properties) {
		p.problem("%s has %d keys, and %d in order", name, len(properties), len(keys))
	}
	types := map[string]string{}
	for _, key := range keys {
		types[key] = p.typeOf(properties[key].(map[string]any))
	}
	p.open(name, "Group", def)
	required, _ := def["required"].([]string)
	for _, key := range keys {
		kind, value := types[key], ""
		isRequired := slices.Contains(required, key)
		if !isRequired {
			value = "None"
			if !strings.HasSuffix(kind, " | None") && kind != "Any" {
				kind += " | None"
			}
		}
		field := key
		if renamed := pythonNames[key]; renamed != "" {
			field = renamed
			if isRequired {
				value = fmt.Sprintf("Field(alias=%q)", key)
			} else {
				value = fmt.Sprintf("Field(default=None, alias=%q)", key)
			}
		}
		if value != "" {
			value = " = " + value
		}
		fmt.Fprintf(&p.b, "    %s: %s%s\n", field, kind, value)
		p.describe(properties[key].(map[string]any))
	}
	if len(keys) == 0 {
		p.b.WriteString("    pass\n")
	}
	p.state[name] = 2
}

func (p *pythonWriter) open(name, base string, def map[string]any) {
	fmt.Fprintf(&p.b, "\n\nclass %s(%s):\n", name, base)
	p.describe(def)
	p.b.WriteString("\n")
}

// describe writes the description of a schema as a docstring.
func (p *pythonWriter) describe(s map[string]any) {
	d, _ := s["description"].(string)
	if d == "" {
		return
	}
	d = strings.ReplaceAll(d, `\`, `\\`)
	d = strings.ReplaceAll(d, `"""`, `\"\"\"`)
	if strings.HasSuffix(d, `"`) {
		d = strings.TrimSuffix(d, `"`) + `\"`
	}
	fmt.Fprintf(&p.b, "    \"\"\"%s\"\"\"\n", d)
}

// typeOf returns the annotation of what a schema allows, and writes the models that it needs.
func (p *pythonWriter) typeOf(s map[string]any) string {
	if ref, ok := s["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		switch p.state[name] {
		case 0:
			p.class(name, p.defs[name].(map[string]any))
		case 1:
			p.problem("%s refers to itself", name)
		}
		return name
	}
	if anyOf, ok := s["anyOf"].([]any); ok { // always a schema and null
		return p.typeOf(anyOf[0].(map[string]any)) + " | None"
	}
	kind, orNull := "", ""
	switch t := s["type"].(type) {
	case string:
		kind = t
	case []any:
		kind, orNull = t[0].(string), " | None"
	case nil:
		return "Any"
	}
	if constant, ok := s["const"]; ok {
		return fmt.Sprintf("Literal[%v]", constant)
	}
	switch kind {
	case "boolean":
		return "bool" + orNull
	case "integer":
		return "int" + orNull
	case "number":
		return "float" + orNull
	case "string":
		return enumOf(s) + orNull
	case "array":
		return p.arrayOf(s) + orNull
	case "object":
		values, ok := s["additionalProperties"].(map[string]any)
		if !ok {
			p.problem("an object without keys and without additionalProperties")
		}
		return "dict[str, " + p.typeOf(values) + "]" + orNull
	}
	p.problem("no Python type for %q", kind)
	return "Any"
}

// arrayOf returns the type of an array: a tuple if its length is fixed.
func (p *pythonWriter) arrayOf(s map[string]any) string {
	items, _ := s["items"].(map[string]any)
	item := p.typeOf(items)
	if n, ok := s["minItems"].(int); ok {
		return "tuple[" + strings.Join(slices.Repeat([]string{item}, n), ", ") + "]"
	}
	return "list[" + item + "]"
}

// enumOf returns the type of a string. A newer vobs may write values that this one does not
// know, so that a list of values is documentation for readers and type checkers only.
func enumOf(s map[string]any) string {
	values, _ := s["enum"].([]any)
	var quoted []string
	for _, v := range values {
		if v != nil {
			quoted = append(quoted, fmt.Sprintf("%q", v))
		}
	}
	if quoted == nil {
		return "str"
	}
	return "Literal[" + strings.Join(quoted, ", ") + "] | str"
}
