package intent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
)

var errNumber = errors.New("no number")

// wholeNumber reads what Python's int() does of ASCII: blanks around it, a sign,
// single underscores between digits.
func wholeNumber(s string) (any, error) {
	s = strings.TrimSpace(s)
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || !joinedDigits(digits) {
		return nil, errNumber
	}
	return integer(strings.ReplaceAll(strings.TrimPrefix(s, "+"), "_", ""))
}

// integer reads decimal digits, as an int64 where it fits.
func integer(s string) (any, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if len(s) > 4300 { // Python's own limit
		return nil, errNumber
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, errNumber
	}
	return n, nil
}

// joinedDigits says whether s is digits with single underscores between them.
func joinedDigits(s string) bool {
	last := byte('_')
	for i := range len(s) {
		if s[i] == '_' && last == '_' || s[i] != '_' && (s[i] < '0' || s[i] > '9') {
			return false
		}
		last = s[i]
	}
	return last != '_'
}

// humanNumber is human_readable_int of vllm/utils/argparse_utils.py: 8k is 8 000,
// 8K is 8 192, 25.6k is 25 600; no fraction before a capital.
func humanNumber(s string) (any, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, errNumber
	}
	number, suffix := s[:len(s)-1], s[len(s)-1]
	power := strings.IndexByte("kmgt", suffix|0x20)
	whole, fraction, isFraction := strings.Cut(number, ".")
	if power < 0 || !plainDigits(whole) || isFraction && !plainDigits(fraction) {
		return wholeNumber(s)
	}
	if suffix < 'a' {
		if isFraction {
			return nil, fmt.Errorf("vLLM takes no fraction before %c: write %s%c", suffix, number, suffix|0x20)
		}
		n, ok := new(big.Int).SetString(whole, 10)
		if !ok || len(whole) > 4300 {
			return nil, errNumber
		}
		return small(n.Lsh(n, uint(10*(power+1)))), nil
	}
	// As there: a product of floats, cut to a whole number.
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return nil, errNumber
	}
	f *= math.Pow10(3 * (power + 1))
	if math.IsInf(f, 0) {
		return nil, errNumber
	}
	n, _ := new(big.Float).SetFloat64(f).Int(nil)
	return small(n), nil
}

func small(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func plainDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// fraction reads what Python's float() does of ASCII.
func fraction(s string) (float64, error) {
	s = strings.TrimSpace(s)
	switch strings.ToLower(strings.TrimLeft(s, "+-")) {
	case "inf", "infinity", "nan":
	default:
		for i := range len(s) {
			switch c := s[i]; {
			case c >= '0' && c <= '9', strings.IndexByte("+-.eE", c) >= 0:
			case c == '_' && i > 0 && i+1 < len(s) && isDigit(s[i-1]) && isDigit(s[i+1]):
			default:
				return 0, errNumber
			}
		}
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errNumber
	}
	return f, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// maxDepth bounds how deep JSON and YAML may be nested; Python gives up at some 1 000.
const maxDepth = 200

// readJSON reads what Python's json.loads does: NaN and the infinities too.
func readJSON(s string) (any, error) {
	if err := shallow(s); err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(outsideStrings(s, nameConstants)))
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

func shallow(s string) error {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '[', '{':
			if depth++; depth > maxDepth {
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

// outsideStrings changes a JSON text where it is in no string.
func outsideStrings(s string, change func(string) string) string {
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
			return fraction(string(v))
		}
		return integer(string(v))
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

// expandNumbers is _expand_json_human_readable_numbers of vllm/engine/arg_utils.py:
// 80m in the JSON of a config class is 80000000.
func expandNumbers(s string) (string, error) {
	var failed error
	out := outsideStrings(s, func(part string) string {
		var b strings.Builder
		for i := 0; i < len(part); {
			if !isWord(part[i]) {
				b.WriteByte(part[i])
				i++
				continue
			}
			end := i
			for end < len(part) && (isWord(part[end]) || part[end] == '.' && isDigit(part[end-1]) && end+1 < len(part) && isDigit(part[end+1])) {
				end++
			}
			token := part[i:end]
			if last := token[len(token)-1]; isDigit(token[0]) && strings.IndexByte("kKmMgGtT", last) >= 0 && !strings.Contains(token, "_") {
				n, err := humanNumber(token)
				switch {
				case err == nil:
					token = fmt.Sprint(n)
				case !errors.Is(err, errNumber):
					failed = err
				}
			}
			b.WriteString(token)
			i = end
		}
		return b.String()
	})
	return out, failed
}

func isWord(c byte) bool {
	return isDigit(c) || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// pythonJSON writes a value as json.dumps does, but for the order of keys.
func pythonJSON(v any) string {
	var b bytes.Buffer
	writeJSON(&b, v)
	return b.String()
}

func writeJSON(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		b.WriteByte('{')
		for i, k := range sortedKeys(v) {
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

func inBase(digits string, base int, negative bool) (any, error) {
	n, ok := new(big.Int).SetString(digits, base)
	if !ok || len(digits) > 4300 {
		return nil, errNumber
	}
	if negative {
		n.Neg(n)
	}
	return small(n), nil
}
