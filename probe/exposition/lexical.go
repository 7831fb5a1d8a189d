package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// closingBrace returns the index of the brace that ends the label set at the start of rest,
// or -1.
func closingBrace(rest []byte) int {
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '}':
			return i
		case '"':
			for i++; i < len(rest) && rest[i] != '"'; i++ {
				if rest[i] == '\\' {
					i++
				}
			}
		}
	}
	return -1
}

// parseLabels parses the inside of the braces: name="value" pairs and, in the UTF-8 form of
// the format, the metric's own name as a string without a value.
func parseLabels(raw []byte) (metric string, _ *Labels, err error) {
	var pairs []Label
	for {
		raw = bytes.TrimLeft(raw, " \t")
		if len(raw) == 0 {
			break
		}
		var name string
		quoted := raw[0] == '"'
		if quoted {
			if name, raw, err = unquote(raw[1:]); err != nil {
				return "", nil, err
			}
		} else {
			n := labelNameLength(raw)
			if n == 0 {
				return "", nil, fmt.Errorf("no label name at %.40q", raw)
			}
			name, raw = string(raw[:n]), raw[n:]
		}
		raw = bytes.TrimLeft(raw, " \t")
		if quoted && (len(raw) == 0 || raw[0] == ',') {
			if metric != "" || name == "" {
				return "", nil, fmt.Errorf("label %q has no value", name)
			}
			metric = name
		} else {
			if len(raw) == 0 || raw[0] != '=' {
				return "", nil, fmt.Errorf("label %s has no value", name)
			}
			raw = bytes.TrimLeft(raw[1:], " \t")
			if len(raw) == 0 || raw[0] != '"' {
				return "", nil, fmt.Errorf("value of label %s is not quoted", name)
			}
			var value string
			if value, raw, err = unquote(raw[1:]); err != nil {
				return "", nil, fmt.Errorf("value of label %s: %w", name, err)
			}
			pairs = append(pairs, Label{name, value})
			raw = bytes.TrimLeft(raw, " \t")
		}
		if len(raw) > 0 {
			if raw[0] != ',' {
				return "", nil, fmt.Errorf("no comma between labels at %.40q", raw)
			}
			raw = raw[1:]
		}
	}
	labels, err := NewLabels(pairs)
	return metric, labels, err
}

// unquote reads a string up to its closing quote, after the opening one. The format
// escapes the backslash, the quote and the newline only. It returns what follows.
func unquote(raw []byte) (string, []byte, error) {
	end := 0
	escaped := false
	for ; end < len(raw) && raw[end] != '"'; end++ {
		if raw[end] == '\\' {
			escaped = true
			end++
		}
	}
	if end >= len(raw) {
		return "", nil, errors.New("the quotes are not closed")
	}
	text := raw[:end]
	if escaped {
		out := make([]byte, 0, len(text))
		for i := 0; i < len(text); i++ {
			c := text[i]
			if c == '\\' {
				i++
				switch text[i] {
				case '\\', '"':
					c = text[i]
				case 'n':
					c = '\n'
				default:
					return "", nil, fmt.Errorf("unknown escape \\%c", text[i])
				}
			}
			out = append(out, c)
		}
		text = out
	}
	if !utf8.Valid(text) {
		return "", nil, errors.New("not valid UTF-8")
	}
	return string(text), raw[end+1:], nil
}

// parseValue parses a number like Go's strconv, but without hexadecimal and underscore
// forms. Most lines have whole numbers such as `14518.0`, which it parses itself.
func parseValue(b []byte) (float64, bool) {
	var n uint64
	i := 0
	for ; i < len(b) && i < 15 && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + uint64(b[i]-'0')
	}
	if i > 0 && (i == len(b) || i == len(b)-2 && b[i] == '.' && b[i+1] == '0') {
		return float64(n), true
	}
	if len(b) == 0 || bytes.ContainsAny(b, "pP_xX") {
		return 0, false
	}
	// ParseFloat does not keep the string.
	x, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(b), len(b)), 64)
	return x, err == nil
}

// nameLength returns the length of the metric name at the start of b.
func nameLength(b []byte) int {
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':' || i > 0 && c >= '0' && c <= '9') {
			return i
		}
	}
	return len(b)
}

// labelNameLength returns the length of the label name at the start of b.
func labelNameLength(b []byte) int {
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || i > 0 && c >= '0' && c <= '9') {
			return i
		}
	}
	return len(b)
}

// endsName reports whether c may follow a metric name.
func endsName(c byte) bool { return c == '{' || isBlank(c) }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// skipBlanks is bytes.TrimLeft, but faster for the single blank of most lines.
func skipBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}
