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

// key is the key of an entry: mmap_key in mmap_dict.py writes
// json.dumps([family, sample, {label: value}, help], sort_keys=True).
type key struct {
	family, sample string
	labels         []exposition.Label
	// loneSurrogate reports whether a string has half of a surrogate pair, as Python writes
	// bytes that are not text: no page can have it.
	loneSurrogate bool
}

// parseKey parses a key. It accepts exactly that form, so nothing nests deeper.
func parseKey(raw []byte) (key, error) {
	if !utf8.Valid(raw) {
		return key{}, errors.New("not valid UTF-8")
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
	k.loneSurrogate = p.loneSurrogate
	p.token(',')
	p.text() // the help text, which samples do not need
	p.token(']')
	if p.next(); p.err == nil && len(p.rest) > 0 {
		p.fail("unexpected text")
	}
	if p.err == nil && (k.family == "" || k.sample == "") {
		p.fail("empty name")
	}
	if p.err != nil {
		return key{}, p.err
	}
	return k, nil
}

// keyParser parses a key. After its first error it does not advance.
type keyParser struct {
	rest          []byte
	loneSurrogate bool
	err           error
}

func (p *keyParser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s at %.40q", what, p.rest)
	}
}

// next returns the next byte that is not a blank; 0 at the end.
func (p *keyParser) next() byte {
	for len(p.rest) > 0 && strings.IndexByte(" \t\n\r", p.rest[0]) >= 0 {
		p.rest = p.rest[1:]
	}
	if p.err != nil || len(p.rest) == 0 {
		return 0
	}
	return p.rest[0]
}

// token consumes c.
func (p *keyParser) token(c byte) {
	if p.next() != c {
		p.fail(fmt.Sprintf("missing %c", c))
		return
	}
	p.rest = p.rest[1:]
}

// text consumes a string.
func (p *keyParser) text() string {
	if p.next() != '"' {
		p.fail("missing string")
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
			p.fail("control character in a string")
			return ""
		}
	}
	p.fail("unterminated string")
	return ""
}

// escaped consumes a string whose first escape is at i.
func (p *keyParser) escaped(i int) string {
	out := append([]byte(nil), p.rest[1:i]...)
	for ; i < len(p.rest); i++ {
		c := p.rest[i]
		switch {
		case c == '"':
			p.rest = p.rest[i+1:]
			return string(out)
		case c < ' ':
			p.fail("control character in a string")
			return ""
		case c != '\\':
			out = append(out, c)
			continue
		}
		if i++; i == len(p.rest) {
			break
		}
		const letters, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
		if at := strings.IndexByte(letters, p.rest[i]); at >= 0 {
			out = append(out, meanings[at])
			continue
		}
		r, ok := utf16Unit(p.rest[i:])
		if !ok {
			p.fail("unknown escape in a string")
			return ""
		}
		i += 4
		if utf16.IsSurrogate(r) {
			var low rune
			if i+1 < len(p.rest) && p.rest[i+1] == '\\' {
				low, _ = utf16Unit(p.rest[i+2:])
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 6
			} else {
				p.loneSurrogate = true
			}
		}
		out = utf8.AppendRune(out, r)
	}
	p.fail("unterminated string")
	return ""
}

// utf16Unit parses a UTF-16 unit after the backslash: u and four hexadecimal digits.
func utf16Unit(b []byte) (rune, bool) {
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

// parseBound parses a bucket's upper bound, the label le.
func parseBound(le string) (float64, bool) {
	if strings.ContainsAny(le, "xXpP_") { // forms that only Go accepts
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

// formatBound formats a bound as pages have it: floatToGoString in prometheus_client's
// utils.py, based on Python's repr.
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
