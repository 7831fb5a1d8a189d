package args

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/vobs/vobs/internal/pyvalue"
)

// maxYAMLNodes bounds the size to which aliases can expand a small file.
const maxYAMLNodes = 1 << 16

// entry is one key of a YAML mapping.
type entry struct {
	key   string
	value any
}

// object is a YAML mapping in its order, which matters on a command line.
type object []entry

func (o object) toMap() map[string]any {
	out := make(map[string]any, len(o))
	for _, e := range o {
		out[e.key] = toMaps(e.value)
	}
	return out
}

// toMaps returns v with maps in place of objects.
func toMaps(v any) any {
	switch v := v.(type) {
	case object:
		return v.toMap()
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = toMaps(v[i])
		}
		return out
	}
	return v
}

// ParseYAML reads one YAML document as PyYAML's safe_load does, by the rules of YAML 1.1:
// yes is true, 010 is eight, 1e3 is text. It returns a value of package pyvalue.
func ParseYAML(text []byte) (any, error) {
	v, err := parseOrderedYAML(text)
	return toMaps(v), err
}

// yamlTimeout bounds the parsing of a file, because the command waits for it to start.
const yamlTimeout = time.Second

// parseOrderedYAML is ParseYAML with objects in place of maps.
func parseOrderedYAML(text []byte) (any, error) {
	type result struct {
		v   any
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := decodeYAML(text)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-time.After(yamlTimeout):
		return nil, fmt.Errorf("parsing the YAML takes longer than %v", yamlTimeout)
	}
}

func decodeYAML(text []byte) (v any, err error) {
	defer func() {
		if p := recover(); p != nil { // a bug in the parser must not end vobs
			v, err = nil, fmt.Errorf("parsing the YAML: %v", p)
		}
	}()
	if err := pyvalue.CheckNesting(string(text)); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, errors.New(firstLine(err.Error()))
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, errors.New("more than one YAML document")
		}
		body = doc.Body
	}
	d := yamlDecoder{anchors: map[string]any{}}
	return d.value(body, 0)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return clip(line)
}

// yamlDecoder converts the nodes of a document to values.
type yamlDecoder struct {
	anchors map[string]any
	nodes   int // that were converted so far, aliased ones included
}

func (d *yamlDecoder) value(n ast.Node, depth int) (any, error) {
	if d.nodes++; d.nodes > maxYAMLNodes || depth > pyvalue.MaxNesting {
		return nil, errors.New("nested too deeply, or too many aliases")
	}
	switch n := n.(type) {
	case nil:
		return nil, nil
	case *ast.AnchorNode:
		v, err := d.value(n.Value, depth+1)
		d.anchors[n.Name.GetToken().Value] = v
		return v, err
	case *ast.AliasNode:
		v, ok := d.anchors[n.Value.GetToken().Value]
		if !ok {
			return nil, fmt.Errorf("unknown alias %s", clip(n.Value.GetToken().Value))
		}
		d.nodes += size(v)
		return v, nil
	case *ast.TagNode:
		if n.Start.Value == "!!str" {
			return n.Value.GetToken().Value, nil
		}
		return nil, fmt.Errorf("unsupported tag %s", clip(n.Start.Value))
	case *ast.MappingValueNode:
		return d.mapping([]*ast.MappingValueNode{n}, depth)
	case *ast.MappingNode:
		return d.mapping(n.Values, depth)
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for _, e := range n.Values {
			v, err := d.value(e, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.StringNode:
		if t := n.Token.Type; t == token.SingleQuoteType || t == token.DoubleQuoteType {
			return n.Value, nil
		}
		return resolveScalar(n.Value)
	}
	return resolveScalar(strings.TrimSpace(n.GetToken().Value))
}

// size returns the number of values in v.
func size(v any) int {
	n := 1
	switch v := v.(type) {
	case object:
		for _, e := range v {
			n += size(e.value)
		}
	case []any:
		for _, e := range v {
			n += size(e)
		}
	}
	return n
}

func (d *yamlDecoder) mapping(values []*ast.MappingValueNode, depth int) (any, error) {
	var own, merged object
	for _, pair := range values {
		v, err := d.value(pair.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if _, merge := pair.Key.(*ast.MergeKeyNode); merge {
			parts, isList := v.([]any)
			if !isList {
				parts = []any{v}
			}
			for _, part := range parts {
				from, ok := part.(object)
				if !ok {
					return nil, errors.New("<< needs a mapping")
				}
				merged = append(merged, from...)
			}
			continue
		}
		k, err := d.value(pair.Key, depth+1)
		if err != nil {
			return nil, err
		}
		key, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("the key %s is not a string", clip(pyvalue.Str(k)))
		}
		own = append(own, entry{key, v})
	}
	// Merged keys come first and do not override; of two equal keys the last one counts.
	var out object
	at := map[string]int{}
	for _, e := range append(merged, own...) {
		if i, twice := at[e.key]; twice {
			out[i].value = e.value
			continue
		}
		at[e.key] = len(out)
		out = append(out, e)
	}
	return out, nil
}

// The patterns of PyYAML's resolver (yaml/resolver.py).
const (
	yamlFloat = `^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$`
	yamlInt   = `^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`
)

// resolveScalar reads a scalar without quotes.
func resolveScalar(s string) (any, error) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return nil, nil
	case "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return true, nil
	case "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return false, nil
	case ".nan", ".NaN", ".NAN":
		return math.NaN(), nil
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF":
		return math.Inf(1), nil
	case "-.inf", "-.Inf", "-.INF":
		return math.Inf(-1), nil
	case "=":
		return nil, errors.New("PyYAML refuses the value =")
	}
	if !strings.ContainsRune("+-.0123456789", rune(s[0])) {
		return s, nil
	}
	number := strings.ReplaceAll(s, "_", "")
	digits := strings.TrimLeft(number, "+-")
	negative := strings.HasPrefix(number, "-")
	switch {
	case regexp.MustCompile(yamlInt).MatchString(s):
		base := 10
		switch {
		case strings.Contains(digits, ":"):
			v, err := sexagesimal(digits)
			if negative {
				v = -v
			}
			return int64(v), err
		case strings.HasPrefix(digits, "0b"):
			base, digits = 2, digits[2:]
		case strings.HasPrefix(digits, "0x"):
			base, digits = 16, digits[2:]
		case len(digits) > 1 && digits[0] == '0':
			base, digits = 8, digits[1:]
		}
		return pyvalue.ParseDigits(digits, base, negative)
	case regexp.MustCompile(yamlFloat).MatchString(s):
		if strings.Contains(digits, ":") {
			v, err := sexagesimal(digits)
			if negative {
				v = -v
			}
			return v, err
		}
		return pyvalue.ParseFloat(number)
	}
	return s, nil
}

// sexagesimal reads a number in base 60: 1:30 is 90.
func sexagesimal(s string) (float64, error) {
	total := 0.0
	for _, part := range strings.Split(s, ":") {
		f, err := pyvalue.ParseFloat(part)
		if err != nil {
			return 0, err
		}
		total = total*60 + f
	}
	return total, nil
}
