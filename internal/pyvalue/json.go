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

// MaxNesting bounds the nesting of JSON and YAML. Python's own limit is about 1,000.
const MaxNesting = 200

// ParseJSON reads JSON as Python's json.loads does, NaN and the infinities included.
func ParseJSON(s string) (any, error) {
	if err := CheckNesting(s); err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(MapOutsideStrings(s, quoteConstants)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return fromDecoder(v)
}

// CheckNesting returns an error if the brackets in s are nested deeper than MaxNesting.
func CheckNesting(s string) error {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '[', '{':
			if depth++; depth > MaxNesting {
				return errors.New("nested too deeply")
			}
		case ']', '}':
			depth--
		}
	}
	return nil
}

// constants are the numbers that encoding/json refuses. ParseJSON replaces each by a string
// that begins with a control character, which no real text is likely to hold.
var constants = [...]struct {
	name, quoted string
	value        float64
}{
	{"-Infinity", `"\u0001-Infinity"`, math.Inf(-1)},
	{"Infinity", `"\u0001Infinity"`, math.Inf(1)},
	{"NaN", `"\u0001NaN"`, math.NaN()},
}

func quoteConstants(s string) string {
	for _, c := range constants {
		if c.name == "Infinity" { // leave alone the "Infinity" within the string for -Infinity
			s = strings.ReplaceAll(s, `\u0001-Infinity`, "\x00")
		}
		s = strings.ReplaceAll(s, c.name, c.quoted)
		s = strings.ReplaceAll(s, "\x00", `\u0001-Infinity`)
	}
	return s
}

// MapOutsideStrings applies mapping to the parts of a JSON text that lie outside its strings.
func MapOutsideStrings(s string, mapping func(string) string) string {
	var out strings.Builder
	for s != "" {
		open := strings.IndexByte(s, '"')
		if open < 0 {
			out.WriteString(mapping(s))
			break
		}
		out.WriteString(mapping(s[:open]))
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

// fromDecoder turns what encoding/json decodes into Python's values, in place.
func fromDecoder(v any) (any, error) {
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
			e, err := fromDecoder(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = e
		}
	case map[string]any:
		for k := range v {
			e, err := fromDecoder(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = e
		}
	}
	return v, nil
}

// FormatJSON formats a value as Python's json.dumps does, NaN and the infinities included,
// but with sorted keys and with strings escaped as encoding/json escapes them.
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
			b.WriteString(ReprFloat(v))
		}
	default:
		fmt.Fprint(b, v)
	}
}
