package pyvalue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// MaxDepth bounds how deep JSON and YAML may be nested; Python gives up at some 1 000.
const MaxDepth = 200

// ParseJSON reads what Python's json.loads does: NaN and the infinities too.
func ParseJSON(s string) (any, error) {
	if err := CheckDepth(s); err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(ReplaceOutsideStrings(s, nameConstants)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the JSON")
	}
	return plainJSON(v)
}

func CheckDepth(s string) error {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '[', '{':
			if depth++; depth > MaxDepth {
				return errors.New("nested too deeply")
			}
		case ']', '}':
			depth--
		}
	}
	return nil
}

// constants stand for what Go's JSON does not know, as strings that no JSON text
// can hold by chance: a control character is not allowed in it unescaped.
var constants = [...]struct {
	name, text string
	value      float64
}{
	{"-Infinity", `"\u0001-Infinity"`, math.Inf(-1)},
	{"Infinity", `"\u0001Infinity"`, math.Inf(1)},
	{"NaN", `"\u0001NaN"`, math.NaN()},
}

func nameConstants(s string) string {
	for _, c := range constants {
		if c.name == "Infinity" { // not the one that has become a string already
			s = strings.ReplaceAll(s, `\u0001-Infinity`, "\x00")
		}
		s = strings.ReplaceAll(s, c.name, c.text)
		s = strings.ReplaceAll(s, "\x00", `\u0001-Infinity`)
	}
	return s
}

// ReplaceOutsideStrings changes a JSON text where it is in no string.
func ReplaceOutsideStrings(s string, change func(string) string) string {
	var out strings.Builder
	for s != "" {
		open := strings.IndexByte(s, '"')
		if open < 0 {
			out.WriteString(change(s))
			break
		}
		out.WriteString(change(s[:open]))
		end := open + 1
		for end < len(s) && s[end] != '"' {
			if s[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end+1, len(s))
		out.WriteString(s[open:end])
		s = s[end:]
	}
	return out.String()
}

func plainJSON(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			return ParseFloat(string(v))
		}
		return ParseDecimal(string(v))
	case string:
		for _, c := range constants {
			if v == "\x01"+c.name {
				return c.value, nil
			}
		}
	case []any:
		for i := range v {
			e, err := plainJSON(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = e
		}
	case map[string]any:
		for k := range v {
			e, err := plainJSON(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = e
		}
	}
	return v, nil
}

// FormatJSON writes a value as json.dumps does, but for the order of keys.
func FormatJSON(v any) string {
	var b bytes.Buffer
	writeJSON(&b, v)
	return b.String()
}

func writeJSON(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		b.WriteByte('{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteString(", ")
			}
			writeJSON(b, k)
			b.WriteString(": ")
			writeJSON(b, v[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writeJSON(b, e)
		}
		b.WriteByte(']')
	case string:
		text, err := json.Marshal(v)
		if err == nil {
			b.Write(text)
		}
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case float64:
		switch {
		case math.IsNaN(v):
			b.WriteString("NaN")
		case math.IsInf(v, 0):
			b.WriteString(map[bool]string{true: "Infinity", false: "-Infinity"}[v > 0])
		default:
			b.WriteString(Repr(v))
		}
	default:
		fmt.Fprint(b, v)
	}
}
