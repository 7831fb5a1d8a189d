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

// maxYAMLNodes bounds what aliases can make of a small file.
const maxYAMLNodes = 1 << 16

// entry is one key of a YAML mapping; their order counts on a command line.
type entry struct {
	key   string
	value any
}

// object is a YAML mapping in its order.
type object []entry

func (o object) plain() map[string]any {
	out := make(map[string]any, len(o))
	for _, e := range o {
		out[e.key] = PlainYAML(e.value)
	}
	return out
}

func PlainYAML(v any) any {
	switch v := v.(type) {
	case object:
		return v.plain()
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = PlainYAML(v[i])
		}
		return out
	}
	return v
}

// yamlTime bounds the reading of a file: the command is waiting for its start.
const yamlTime = time.Second

// ReadYAML reads one YAML document as PyYAML's safe_load does, by the rules of
// YAML 1.1: `yes` is true, 010 is eight, 1e3 is text.
func ReadYAML(text []byte) (any, error) {
	type result struct {
		v   any
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := parseYAML(text)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-time.After(yamlTime):
		return nil, fmt.Errorf("it could not be read as YAML within %v", yamlTime)
	}
}

func parseYAML(text []byte) (v any, err error) {
	defer func() {
		if p := recover(); p != nil { // the parser's fault: the file is refused, vobs goes on
			v, err = nil, fmt.Errorf("it cannot be read as YAML: %v", p)
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
			return nil, errors.New("it holds several documents")
		}
		body = doc.Body
	}
	y := yamlReader{anchors: map[string]any{}}
	return y.value(body, 0)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return Clip(line)
}

type yamlReader struct {
	anchors map[string]any
	nodes   int
}

func (y *yamlReader) value(n ast.Node, depth int) (any, error) {
	if y.nodes++; y.nodes > maxYAMLNodes || depth > pyvalue.MaxNesting {
		return nil, errors.New("it is nested too deeply or refers to itself too often")
	}
	switch n := n.(type) {
	case nil:
		return nil, nil
	case *ast.AnchorNode:
		v, err := y.value(n.Value, depth+1)
		y.anchors[n.Name.GetToken().Value] = v
		return v, err
	case *ast.AliasNode:
		v, ok := y.anchors[n.Value.GetToken().Value]
		if !ok {
			return nil, fmt.Errorf("nothing is called %s", Clip(n.Value.GetToken().Value))
		}
		y.nodes += size(v)
		return v, nil
	case *ast.TagNode:
		if n.Start.Value == "!!str" {
			return n.Value.GetToken().Value, nil
		}
		return nil, fmt.Errorf("vobs does not read the tag %s", Clip(n.Start.Value))
	case *ast.MappingValueNode:
		return y.mapping([]*ast.MappingValueNode{n}, depth)
	case *ast.MappingNode:
		return y.mapping(n.Values, depth)
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for _, e := range n.Values {
			v, err := y.value(e, depth+1)
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
		return plainScalar(n.Value)
	}
	return plainScalar(strings.TrimSpace(n.GetToken().Value))
}

// size is how many values an alias brings in.
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

func (y *yamlReader) mapping(values []*ast.MappingValueNode, depth int) (any, error) {
	var own, merged object
	for _, pair := range values {
		v, err := y.value(pair.Value, depth+1)
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
					return nil, errors.New("<< takes a mapping")
				}
				merged = append(merged, from...)
			}
			continue
		}
		k, err := y.value(pair.Key, depth+1)
		if err != nil {
			return nil, err
		}
		key, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("%s is no name", Clip(pyvalue.Str(k)))
		}
		own = append(own, entry{key, v})
	}
	// What is merged in comes first and counts for less; of two keys the last.
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

// The forms of PyYAML's resolver (yaml/resolver.py).
const (
	yamlFloat = `^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$`
	yamlInt   = `^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`
)

// plainScalar reads a scalar without quotes.
func plainScalar(s string) (any, error) {
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
		return nil, errors.New("a value of = alone is nothing to PyYAML")
	}
	if !strings.ContainsRune("+-.0123456789", rune(s[0])) {
		return s, nil
	}
	bare := strings.ReplaceAll(s, "_", "")
	digits := strings.TrimLeft(bare, "+-")
	negative := strings.HasPrefix(bare, "-")
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
		return fractionValue(bare)
	}
	return s, nil
}

// sexagesimal reads 1:30 as ninety.
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
