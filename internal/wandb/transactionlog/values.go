package transactionlog

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/wandb/rendered"
)

// maxDepth bounds how deep values nest: what is deeper stays as it is written.
const maxDepth = 64

// object is a tree of values by key, as config and summary are one: a record may
// set or remove what is deep in it. Values keep the text they came as, for Python
// writes tokens that are no JSON (NaN, Infinity, -Infinity).
type object map[string]*node

// node is a value: kids where it is an object, else text.
type node struct {
	text string
	kids object
}

// set puts a value at a path, through whatever is in the way.
func (o object) set(path []string, text string, merge bool) {
	if len(path) == 0 || len(path) > maxDepth {
		return
	}
	for _, key := range path[:len(path)-1] {
		n := o[key]
		if n == nil || n.kids == nil {
			n = &node{kids: object{}}
			o[key] = n
		}
		o = n.kids
	}
	key := path[len(path)-1]
	kids, ok := members(text, maxDepth-len(path))
	switch {
	case !ok:
		o[key] = &node{text: text}
	case merge && o[key] != nil && o[key].kids != nil:
		o[key].kids.merge(kids)
	default:
		o[key] = &node{kids: kids}
	}
}

func (o object) merge(from object) {
	for key, n := range from {
		if old := o[key]; old != nil && old.kids != nil && n.kids != nil {
			old.kids.merge(n.kids)
		} else {
			o[key] = n
		}
	}
}

// remove takes away what is at a path.
func (o object) remove(path []string) {
	for len(path) > 1 {
		n := o[path[0]]
		if n == nil || n.kids == nil {
			return
		}
		o, path = n.kids, path[1:]
	}
	if len(path) == 1 {
		delete(o, path[0])
	}
}

// items gives the top level, sorted by key.
func (o object) items() []rendered.Item {
	out := make([]rendered.Item, 0, len(o))
	for key, n := range o {
		out = append(out, rendered.Item{Key: key, JSON: n.append(nil)})
	}
	slices.SortFunc(out, func(a, b rendered.Item) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func (n *node) append(b []byte) []byte {
	if n.kids == nil {
		return append(b, n.text...)
	}
	b = append(b, '{')
	for i, item := range n.kids.items() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, item.Key), ':')
		b = append(b, item.JSON...)
	}
	return append(b, '}')
}

func appendString(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // there is no string that Marshal refuses
		return append(b, `""`...)
	}
	return append(b, text...)
}

// members takes an object apart, to the given depth; ok is false for all that is
// no object or no JSON, but for Python's tokens.
func members(text string, depth int) (_ object, ok bool) {
	if depth <= 0 || !valid(text) {
		return nil, false
	}
	return split(text, depth)
}

// split is members for a text that is known to be valid.
func split(text string, depth int) (_ object, ok bool) {
	text = strings.TrimLeft(text, " \t\r\n")
	if depth <= 0 || !strings.HasPrefix(text, "{") {
		return nil, false
	}
	out := object{}
	s := scanner{text: text, pos: 1}
	for s.peek() != '}' {
		from := s.pos
		s.value(0)
		var key string
		if json.Unmarshal([]byte(text[from:s.pos]), &key) != nil {
			return nil, false
		}
		s.skip(':')
		s.space()
		from = s.pos
		s.value(0)
		n := &node{text: text[from:s.pos]}
		if kids, ok := split(n.text, depth-1); ok {
			n = &node{kids: kids}
		}
		out[key] = n
		s.skip(',')
	}
	return out, true
}

// valid says whether text is one value of JSON, or of what Python's json writes.
func valid(text string) bool {
	s := scanner{text: text}
	if !s.value(0) {
		return false
	}
	s.space()
	return s.pos == len(text)
}

// scanner walks over JSON.
type scanner struct {
	text string
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.pos]) >= 0 {
		s.pos++
	}
}

// peek gives the next byte that is no space, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.pos == len(s.text) {
		return 0
	}
	return s.text[s.pos]
}

// skip passes c if it is next.
func (s *scanner) skip(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

// deepest is where a value is refused instead of walked: encoding/json's own bound
// is 10000.
const deepest = 1000

// value passes one value.
func (s *scanner) value(depth int) bool {
	if depth > deepest {
		return false
	}
	switch s.peek() {
	case '{':
		return s.list('}', func() bool { return s.peek() == '"' && s.scalar() && s.skip(':') && s.value(depth+1) })
	case '[':
		return s.list(']', func() bool { return s.value(depth + 1) })
	}
	return s.scalar()
}

func (s *scanner) list(end byte, member func() bool) bool {
	s.pos++
	if s.skip(end) {
		return true
	}
	for member() {
		if s.skip(end) {
			return true
		}
		if !s.skip(',') {
			return false
		}
	}
	return false
}

// scalar passes what is neither object nor list.
func (s *scanner) scalar() bool {
	s.space()
	from := s.pos
	if s.pos < len(s.text) && s.text[s.pos] == '"' {
		for s.pos++; s.pos < len(s.text) && s.text[s.pos] != '"'; s.pos++ {
			if s.text[s.pos] == '\\' {
				s.pos++
			}
		}
		if s.pos >= len(s.text) {
			s.pos = len(s.text)
			return false
		}
		s.pos++
	} else {
		for s.pos < len(s.text) && strings.IndexByte(" \t\r\n,:]}[{\"", s.text[s.pos]) < 0 {
			s.pos++
		}
		switch s.text[from:s.pos] {
		case "NaN", "Infinity", "-Infinity":
			return true
		}
	}
	return json.Valid([]byte(s.text[from:s.pos]))
}
