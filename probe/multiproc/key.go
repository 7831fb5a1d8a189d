package multiproc

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/vobs/vobs/internal/pyvalue"
	"github.com/vobs/vobs/probe/exposition"
)

// key is what an entry says of itself: mmap_key in mmap_dict.py writes
// json.dumps([family, sample, {label: value}, help], sort_keys=True).
type key struct {
	family, sample string
	labels         []exposition.Label
	// lone says that a string has half of a surrogate pair, as Python writes bytes that
	// are no text: no page can have it.
	lone bool
}

// parseKey reads a key. It takes that one form alone: nothing in it nests deeper.
func parseKey(raw []byte) (key, error) {
	if !utf8.Valid(raw) {
		return key{}, errors.New("it is not UTF-8")
	}
	p := keyParser{rest: raw}
	var k key
	p.token('[')
	k.family = p.text()
	p.token(',')
	k.sample = p.text()
	p.token(',')
	p.token('{')
	if p.next() == '}' {
		p.token('}')
	} else {
		for more := true; more && p.err == nil; {
			var l exposition.Label
			l.Name = p.text()
			p.token(':')
			l.Value = p.text()
			k.labels = append(k.labels, l)
			if more = p.next() == ','; more {
				p.token(',')
			}
		}
		p.token('}')
	}
	k.lone = p.lone
	p.token(',')
	p.text() // the help, which no sample needs
	p.token(']')
	if p.next(); p.err == nil && len(p.rest) > 0 {
		p.fail("something follows")
	}
	if p.err == nil && (k.family == "" || k.sample == "") {
		p.fail("a name is empty")
	}
	if p.err != nil {
		return key{}, p.err
	}
	return k, nil
}

// keyParser goes through a key; after its first error it stands still.
type keyParser struct {
	rest []byte
	lone bool
	err  error
}

func (p *keyParser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s at %.40q", what, p.rest)
	}
}

// next gives the next byte that is no blank, 0 at the end.
func (p *keyParser) next() byte {
	for len(p.rest) > 0 && strings.IndexByte(" \t\n\r", p.rest[0]) >= 0 {
		p.rest = p.rest[1:]
	}
	if p.err != nil || len(p.rest) == 0 {
		return 0
	}
	return p.rest[0]
}

func (p *keyParser) token(c byte) {
	if p.next() != c {
		p.fail(fmt.Sprintf("there is no %c", c))
		return
	}
	p.rest = p.rest[1:]
}

// text reads a string.
func (p *keyParser) text() string {
	if p.next() != '"' {
		p.fail("there is no string")
		return ""
	}
	for i, c := range p.rest[1:] {
		switch {
		case c == '"':
			s := string(p.rest[1 : i+1])
			p.rest = p.rest[i+2:]
			return s
		case c == '\\':
			return p.escaped(i + 1)
		case c < ' ':
			p.fail("there is a control character in a string")
			return ""
		}
	}
	p.fail("a string has no end")
	return ""
}

// escaped reads a string whose first escape is at i.
func (p *keyParser) escaped(i int) string {
	out := append([]byte(nil), p.rest[1:i]...)
	for ; i < len(p.rest); i++ {
		c := p.rest[i]
		switch {
		case c == '"':
			p.rest = p.rest[i+1:]
			return string(out)
		case c < ' ':
			p.fail("there is a control character in a string")
			return ""
		case c != '\\':
			out = append(out, c)
			continue
		}
		if i++; i == len(p.rest) {
			break
		}
		const letters, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
		if at := strings.IndexByte(letters, p.rest[i]); at >= 0 {
			out = append(out, meant[at])
			continue
		}
		r, ok := unit(p.rest[i:])
		if !ok {
			p.fail("there is an unknown escape in a string")
			return ""
		}
		i += 4
		if utf16.IsSurrogate(r) {
			var low rune
			if i+1 < len(p.rest) && p.rest[i+1] == '\\' {
				low, _ = unit(p.rest[i+2:])
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 6
			} else {
				p.lone = true
			}
		}
		out = utf8.AppendRune(out, r)
	}
	p.fail("a string has no end")
	return ""
}

// unit reads what follows the backslash of a UTF-16 unit: u and four hexadecimal digits.
func unit(b []byte) (rune, bool) {
	if len(b) < 5 || b[0] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[1:5] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r |= rune(c|0x20-'a') + 10
		default:
			return 0, false
		}
	}
	return r, true
}

// parseBound reads a bucket's bound, the label le.
func parseBound(le string) (float64, bool) {
	if strings.ContainsAny(le, "xXpP_") { // Go's own forms
		return 0, false
	}
	x, err := strconv.ParseFloat(le, 64)
	if err != nil || math.IsNaN(x) {
		return 0, false
	}
	if x == 0 {
		x = 0 // of either sign
	}
	return x, true
}

// formatBound writes a bound as a page has it: floatToGoString in prometheus_client's
// utils.py, over Python's repr.
func formatBound(x float64) string {
	switch {
	case math.IsInf(x, 1):
		return "+Inf"
	case math.IsInf(x, -1):
		return "-Inf"
	}
	s := pyvalue.ReprFloat(x)
	if dot := strings.IndexByte(s, '.'); x > 0 && dot > 6 {
		mantissa := strings.TrimRight(s[:1]+"."+s[1:dot]+s[dot+1:], "0.")
		return fmt.Sprintf("%se+%02d", mantissa, dot-1)
	}
	return s
}
