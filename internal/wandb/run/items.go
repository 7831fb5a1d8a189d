package run

import (
	"bytes"
	"encoding/json"
	"errors"
)

// A server's JSON was written by Python or by the SDK's core: it may contain NaN, Infinity
// and -Infinity, which encoding/json refuses. Objects of other programs are split and put
// together again, and every value keeps its original text.

var errNotObject = errors.New("not a JSON object")

// maxNesting is the deepest nesting accepted; encoding/json's own bound is 10000.
const maxNesting = 1000

// Members splits an object into its keys and values, in their order; duplicate keys stay
// duplicate. It returns an error if text is not an object, in JSON or as Python's json
// module writes it.
func Members(text []byte) (items []Item, err error) {
	s := scanner{text: text}
	if s.peek() != '{' || !s.object(0, func(key string, value []byte) {
		items = append(items, Item{Key: key, JSON: value})
	}) || s.peek() != 0 {
		return nil, errNotObject
	}
	return items, nil
}

// Object is the inverse of Members. Like the SDK it does not escape for HTML.
func Object(items []Item) []byte {
	b := []byte{'{'}
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, Encode(item.Key)...), ':'), item.JSON...)
	}
	return append(b, '}')
}

// Merge returns the items of all lists. Of a duplicate key the later value counts, in the
// position of the earlier one.
func Merge(lists ...[]Item) []Item {
	var out []Item
	at := map[string]int{}
	for _, list := range lists {
		for _, item := range list {
			if i, ok := at[item.Key]; ok {
				out[i].JSON = item.JSON
				continue
			}
			at[item.Key] = len(out)
			out = append(out, item)
		}
	}
	return out
}

// Encode writes a value as JSON, on one line. It panics if JSON cannot express the value.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("wandb: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// scanner walks over JSON.
type scanner struct {
	text []byte
	pos  int
}

// peek returns the next byte that is not white space, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		case 0:
			return 1 // which no JSON begins with
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) skip(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

// value skips one value.
func (s *scanner) value(depth int) bool {
	if depth > maxNesting {
		return false
	}
	switch s.peek() {
	case '{':
		return s.object(depth, func(string, []byte) {})
	case '[':
		s.pos++
		if s.skip(']') {
			return true
		}
		for s.value(depth + 1) {
			if s.skip(']') {
				return true
			}
			if !s.skip(',') {
				return false
			}
		}
		return false
	case '"':
		return s.str()
	}
	return s.word()
}

func (s *scanner) object(depth int, each func(key string, value []byte)) bool {
	if !s.skip('{') {
		return false
	}
	if s.skip('}') {
		return true
	}
	for s.peek() == '"' {
		from := s.pos
		if !s.str() {
			return false
		}
		key := s.text[from:s.pos]
		if !s.skip(':') {
			return false
		}
		s.peek()
		from = s.pos
		if !s.value(depth + 1) {
			return false
		}
		value := s.text[from:s.pos]
		if depth == 0 {
			var name string
			if json.Unmarshal(key, &name) != nil {
				return false
			}
			each(name, value)
		}
		if s.skip('}') {
			return true
		}
		if !s.skip(',') {
			return false
		}
	}
	return false
}

// str skips a string.
func (s *scanner) str() bool {
	from := s.pos
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '\\':
			s.pos++
		case '"':
			s.pos++
			return json.Valid(s.text[from:s.pos])
		}
	}
	return false
}

// word skips a number, a literal, or one of Python's tokens.
func (s *scanner) word() bool {
	from := s.pos
	for s.pos < len(s.text) && ('a' <= s.text[s.pos]|0x20 && s.text[s.pos]|0x20 <= 'z' ||
		'0' <= s.text[s.pos] && s.text[s.pos] <= '9' || s.text[s.pos] == '-' || s.text[s.pos] == '+' || s.text[s.pos] == '.') {
		s.pos++
	}
	switch word := string(s.text[from:s.pos]); word {
	case "NaN", "Infinity", "-Infinity":
		return true
	default:
		return json.Valid([]byte(word))
	}
}
