package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// kind is the type of a JSON value.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

func (k kind) String() string {
	return [...]string{"null", "boolean", "number", "string", "array", "object"}[k]
}

// value is a JSON value with its line number, which encoding/json does not provide.
type value struct {
	kind     kind
	isParsed bool // number and isFloat are set
	isFloat  bool // the number fits a 64-bit float
	line     int
	number   float64
	text     string // a string decoded; the literal of a number or boolean
	members  []member
	elems    []*value
}

type member struct {
	key    string
	line   int
	value  *value
	hidden bool // by a later member with the same key
}

// get returns the value of a key as most consumers see it: if the key is duplicated,
// the last one. It returns nil if there is none, or if v is not an object.
func (v *value) get(key string) *value {
	if v == nil || v.kind != kindObject {
		return nil
	}
	if i := lastMember(v.members, key, nil); i >= 0 {
		return v.members[i].value
	}
	return nil
}

// manyMembers is the number of members from which on a map finds a key faster than a search.
const manyMembers = 64

// lastMember returns the index of the last member with a key, or -1. If index is not nil, it
// holds the indexes of all keys.
func lastMember(members []member, key string, index map[string]int) int {
	if index != nil {
		if i, ok := index[key]; ok {
			return i
		}
		return -1
	}
	for i := len(members) - 1; i >= 0; i-- {
		if members[i].key == key {
			return i
		}
	}
	return -1
}

// float returns the value of a number, and whether v is a number that fits a 64-bit
// float.
func (v *value) float() (float64, bool) {
	if v == nil || v.kind != kindNumber {
		return 0, false
	}
	if !v.isParsed {
		x, err := strconv.ParseFloat(v.text, 64)
		v.isParsed, v.isFloat, v.number = true, err == nil, x
	}
	return v.number, v.isFloat
}

// given reports whether v is present and not null.
func (v *value) given() bool { return v != nil && v.kind != kindNull }

// describe returns a description of the value for a message.
func (v *value) describe() string {
	switch v.kind {
	case kindNull:
		return "null"
	case kindBool, kindNumber:
		return clip(v.text)
	case kindString:
		return "the string " + strconv.Quote(clip(v.text))
	case kindArray:
		return "an array"
	}
	return "an object"
}

// clip shortens a string to what fits a one-line message.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	for i := range s {
		if i > most {
			return s[:i] + "…"
		}
	}
	return s
}

// maxDepth is how deep values may be nested: the limit of encoding/json.
const maxDepth = 10000

// syntaxError is the place where a text stops being JSON.
type syntaxError struct {
	line    int
	message string
}

// parser reads JSON texts from data, one after the other. It accepts the syntax of
// RFC 8259, as encoding/json does. It also reports duplicate keys and text that is
// not UTF-8 as problems, because consumers treat them differently.
type parser struct {
	data     []byte
	text     string // data; the texts of values are parts of it
	pos      int
	line     int
	depth    int
	spaced   bool // there was white space
	path     []string
	problems []Problem
	tree     *arena
}

func newParser(data []byte, t *arena) *parser {
	t.reset()
	return &parser{data: data, text: string(data), line: 1, tree: t}
}

// An arena holds the values of parsed documents. It allocates many at a time, and can be used again
// once they are not needed any more.
type arena struct {
	values  []value
	members []member
	// The members of objects and the elements of arrays that are not closed yet.
	openMembers []member
	openElems   []*value
}

// reset makes the arena empty. What was in it must not be used any more.
func (t *arena) reset() {
	clear(t.values)
	clear(t.members)
	t.values, t.members = t.values[:0], t.members[:0]
}

// add returns a new value.
func (t *arena) add(line int) *value {
	n := len(t.values)
	if n == cap(t.values) {
		t.values, n = make([]value, 0, min(2*n+64, maxBlock)), 0 // the old ones stay where they are
	}
	t.values = t.values[:n+1]
	t.values[n].line = line
	return &t.values[n]
}

// maxBlock is how many values or members are allocated at a time at most.
const maxBlock = 4096

// close returns the members of an object: the open ones from an index on.
func (t *arena) close(from int) []member {
	open, n := t.openMembers[from:], len(t.members)
	if n+len(open) > cap(t.members) {
		t.members, n = make([]member, 0, max(len(open), min(2*n+64, maxBlock))), 0
	}
	t.members = append(t.members, open...)
	t.openMembers = t.openMembers[:from]
	return t.members[n:len(t.members):len(t.members)]
}

func (p *parser) end() bool { return p.pos >= len(p.data) }

// fail panics with a syntax error, which document recovers.
func (p *parser) fail(format string, args ...any) {
	panic(syntaxError{p.line, fmt.Sprintf(format, args...)})
}

// expected fails with a message about what should be at the current position.
func (p *parser) expected(what string) { p.fail("expected %s, found %s", what, p.found()) }

// found describes what is at the current position.
func (p *parser) found() string {
	if p.end() {
		return "the end of the input"
	}
	if rest := p.data[p.pos:]; bytes.HasPrefix(rest, []byte("\xef\xbb\xbf")) {
		return "a byte order mark (save the file without one)"
	}
	r, size := utf8.DecodeRune(p.data[p.pos:])
	if r == utf8.RuneError && size <= 1 {
		return fmt.Sprintf("the byte 0x%02x, which is not UTF-8", p.data[p.pos])
	}
	return strconv.QuoteRune(r)
}

// skipSpace moves to the next character that is not white space.
func (p *parser) skipSpace() {
	for !p.end() {
		switch p.data[p.pos] {
		case '\n':
			p.line++
		case ' ', '\t', '\r':
		default:
			return
		}
		p.spaced = true
		p.pos++
	}
}

// skipBlank moves to the next character of this line that is not white space, or to
// the end of the line.
func (p *parser) skipBlank() {
	for !p.end() && (p.data[p.pos] == ' ' || p.data[p.pos] == '\t' || p.data[p.pos] == '\r') {
		p.pos++
	}
}

// nextLineWith moves to the first line behind the offset from that starts with c, and
// reports whether there is one. line is the line number at from.
func (p *parser) nextLineWith(c byte, from, line int) bool {
	i := bytes.Index(p.data[from:], []byte{'\n', c})
	if i < 0 {
		p.pos = len(p.data)
		return false
	}
	p.pos = from + i + 1
	p.line = line + bytes.Count(p.data[from:p.pos], []byte{'\n'})
	return true
}

// document reads one value, and skips white space before it.
func (p *parser) document() (v *value, err *syntaxError) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(syntaxError)
			if !ok {
				panic(r)
			}
			v, err = nil, &e
		}
	}()
	p.depth, p.path = 0, p.path[:0]
	p.tree.openMembers, p.tree.openElems = p.tree.openMembers[:0], p.tree.openElems[:0]
	p.skipSpace()
	return p.value("a JSON value", ""), nil
}

// value reads a value. what and key describe it in messages; key is quoted.
func (p *parser) value(what, key string) *value {
	if p.end() {
		p.expected(naming(what, key))
	}
	v := p.tree.add(p.line)
	switch c := p.data[p.pos]; {
	case c == '{':
		p.object(v)
	case c == '[':
		p.array(v)
	case c == '"':
		v.kind, v.text = kindString, p.str()
	case c == '-' || c >= '0' && c <= '9':
		v.kind, v.text = kindNumber, p.number()
	default:
		p.literal(v, what, key)
	}
	return v
}

func naming(what, key string) string {
	if key == "" {
		return what
	}
	return what + strconv.Quote(clip(key))
}

func (p *parser) literal(v *value, what, key string) {
	rest := p.data[p.pos:]
	n := 0
	for n < len(rest) && (rest[n] >= 'a' && rest[n] <= 'z' || rest[n] >= 'A' && rest[n] <= 'Z') {
		n++
	}
	switch word := string(rest[:n]); word {
	case "null":
		v.kind = kindNull
	case "true", "false":
		v.kind, v.text = kindBool, word
	case "NaN", "Infinity", "None":
		p.fail("%s is not JSON: write null", word)
	case "True", "False":
		p.fail("%s is not JSON: write %s", word, strings.ToLower(word))
	default:
		p.expected(naming(what, key))
	}
	p.pos += n
}

func (p *parser) enter() {
	if p.depth++; p.depth > maxDepth {
		p.fail("nested deeper than %d levels", maxDepth)
	}
	p.pos++
	p.skipSpace()
}

func (p *parser) leave() {
	p.depth--
	p.pos++
}

func (p *parser) object(v *value) {
	v.kind = kindObject
	p.enter()
	if !p.end() && p.data[p.pos] == '}' {
		p.leave()
		return
	}
	from := len(p.tree.openMembers)
	var index map[string]int // of many members
	for {
		if p.end() || p.data[p.pos] != '"' {
			what := "a key in double quotes"
			if len(p.tree.openMembers) == from {
				what += " or '}'"
			}
			p.expected(what)
		}
		m := member{line: p.line}
		m.key = p.str()
		p.path = append(p.path, m.key)
		if members := p.tree.openMembers[from:]; len(members) == manyMembers {
			index = make(map[string]int, 2*manyMembers)
			for i := range members {
				index[members[i].key] = i
			}
		}
		if first := lastMember(p.tree.openMembers[from:], m.key, index); first >= 0 {
			first := &p.tree.openMembers[from+first]
			p.report("duplicate key: it is already on line %d, and consumers disagree on which one counts", first.line)
			first.hidden = true
		}
		if index != nil {
			index[m.key] = len(p.tree.openMembers) - from
		}
		p.skipSpace()
		if p.end() || p.data[p.pos] != ':' {
			p.expected(naming("':' after the key ", m.key))
		}
		p.pos++
		p.skipSpace()
		m.value = p.value("a value for the key ", m.key)
		p.path = p.path[:len(p.path)-1]
		p.tree.openMembers = append(p.tree.openMembers, m)
		p.skipSpace()
		if !p.end() && p.data[p.pos] == ',' {
			p.pos++
			p.skipSpace()
			continue
		}
		if !p.end() && p.data[p.pos] == '}' {
			p.leave()
			v.members = p.tree.close(from)
			return
		}
		p.expected(naming("',' or '}' after the value of ", m.key))
	}
}

func (p *parser) array(v *value) {
	v.kind = kindArray
	p.enter()
	if !p.end() && p.data[p.pos] == ']' {
		p.leave()
		return
	}
	from := len(p.tree.openElems)
	for {
		p.path = append(p.path, strconv.Itoa(len(p.tree.openElems)-from))
		p.tree.openElems = append(p.tree.openElems, p.value("a value in the array", ""))
		p.path = p.path[:len(p.path)-1]
		p.skipSpace()
		if !p.end() && p.data[p.pos] == ',' {
			p.pos++
			p.skipSpace()
			continue
		}
		if !p.end() && p.data[p.pos] == ']' {
			p.leave()
			v.elems = slices.Clone(p.tree.openElems[from:])
			p.tree.openElems = p.tree.openElems[:from]
			return
		}
		p.expected("',' or ']' in the array")
	}
}

func (p *parser) str() string {
	start := p.pos
	escaped := false
	for p.pos++; ; p.pos++ {
		for !p.end() && isPlainByte[p.data[p.pos]] {
			p.pos++
		}
		if p.end() {
			p.fail("expected the closing '\"' of a string, found the end of the input")
		}
		switch c := p.data[p.pos]; {
		case c == '"':
			p.pos++
			return p.decode(start, escaped)
		case c == '\n':
			p.fail("expected the closing '\"' of a string, found the end of the line")
		case c < ' ':
			p.fail(`control character 0x%02x in a string: write it as \u%04x`, c, c)
		case c == '\\':
			escaped = true
			p.escape()
		}
	}
}

// isPlainByte reports which bytes stand for themselves in a string.
var isPlainByte = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return plain
}()

// escape checks an escape sequence, and leaves the position at its last character.
func (p *parser) escape() {
	p.pos++
	if p.end() {
		p.expected("a character after the backslash")
	}
	if strings.IndexByte(`"\/bfnrt`, p.data[p.pos]) >= 0 {
		return
	}
	if p.data[p.pos] != 'u' {
		p.expected(`one of "\/bfnrtu after the backslash`)
	}
	for range 4 {
		p.pos++
		if p.end() || !isHex(p.data[p.pos]) {
			p.expected(`four hexadecimal digits after \u`)
		}
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// decode returns the text of the string literal from start to the current position.
func (p *parser) decode(start int, escaped bool) string {
	literal := p.data[start:p.pos]
	if !utf8.Valid(literal) {
		p.report("the string is not UTF-8")
	} else if !escaped {
		return p.text[start+1 : p.pos-1]
	}
	var s string
	if err := json.Unmarshal(literal, &s); err != nil {
		p.fail("%v", err) // unreachable: the literal was checked
	}
	return s
}

func (p *parser) number() string {
	start := p.pos
	if p.data[p.pos] == '-' {
		p.pos++
	}
	if bytes.HasPrefix(p.data[p.pos:], []byte("Infinity")) {
		p.fail("-Infinity is not JSON: write null")
	}
	if !p.end() && p.data[p.pos] == '0' {
		p.pos++
		if !p.end() && p.data[p.pos] >= '0' && p.data[p.pos] <= '9' {
			p.fail("a number must not have leading zeros")
		}
	} else {
		p.digits("a digit")
	}
	if !p.end() && p.data[p.pos] == '.' {
		p.pos++
		p.digits("a digit after the decimal point")
	}
	if !p.end() && (p.data[p.pos] == 'e' || p.data[p.pos] == 'E') {
		p.pos++
		if !p.end() && (p.data[p.pos] == '+' || p.data[p.pos] == '-') {
			p.pos++
		}
		p.digits("a digit in the exponent")
	}
	return p.text[start:p.pos]
}

func (p *parser) digits(what string) {
	start := p.pos
	for !p.end() && p.data[p.pos] >= '0' && p.data[p.pos] <= '9' {
		p.pos++
	}
	if p.pos == start {
		p.expected(what)
	}
}

// report adds a problem that does not stop parsing.
func (p *parser) report(format string, args ...any) {
	p.problems = append(p.problems, Problem{
		Line:    p.line,
		Path:    strings.Join(p.path, "."),
		Message: fmt.Sprintf(format, args...),
	})
}

// isInteger reports whether the value of a number literal is an integer. For JSON
// Schema 1.0 and 1e3 are integers.
func isInteger(literal string) bool {
	if strings.IndexByte(literal, '.') < 0 && strings.IndexByte(literal, 'e') < 0 && strings.IndexByte(literal, 'E') < 0 {
		return true
	}
	mantissa, exponent := literal, ""
	if i := strings.IndexAny(literal, "eE"); i >= 0 {
		mantissa, exponent = literal[:i], literal[i+1:]
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	digits := strings.TrimRight(whole+fraction, "0")
	if digits == "" {
		return true // zero
	}
	// The value is digits · 10^shift: an integer if shift is not negative.
	shift := len(whole) - len(digits)
	if exponent != "" {
		e, err := strconv.Atoi(exponent)
		if err != nil { // too large for an int: its sign decides
			return exponent[0] != '-'
		}
		shift += e
	}
	return shift >= 0
}
