package pyvalue

import (
	"encoding/json"
	"errors"
)

var errNotObject = errors.New("not a JSON object")

// maxObjectNesting is the deepest nesting that SplitObject accepts; encoding/json's own bound
// is 10000.
const maxObjectNesting = 1000

// SplitObject calls member for each member of a JSON object, in order, with the original text
// of the value. Duplicate keys stay duplicate. It accepts what encoding/json accepts and, as
// Python's json module writes them, NaN, Infinity and -Infinity. If text is anything else, it
// returns an error, possibly after calls of member.
func SplitObject(text []byte, member func(key string, value []byte)) error {
	s := scanner{text: text}
	if s.peek() != '{' || !s.object(0, member) || s.peek() != 0 {
		return errNotObject
	}
	return nil
}

// scanner walks over the text of a JSON value.
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
	if depth > maxObjectNesting {
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

// object skips an object. It calls member for each of its members if depth is 0.
func (s *scanner) object(depth int, member func(key string, value []byte)) bool {
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
			member(name, value)
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
