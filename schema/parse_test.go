package schema

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func nan() float64 { return math.NaN() }

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

var syntaxCases = []struct {
	doc  string
	line int
	want string // "" for valid JSON
}{
	{`{"a":[1,-0,2.5e+3,"x\u00e9\n",true,false,null,{}],"b":[]}`, 0, ""},
	{" \t\r\n[]\n", 0, ""},
	{`"\ud800"`, 0, ""},
	{"\"\xff\"", 0, ""},
	{`{"a":1,"a":2}`, 0, ""},
	{`{`, 1, `expected a key in double quotes or '}', found the end of the input`},
	{"{\n\"a\":1,\n}", 3, `expected a key in double quotes, found '}'`},
	{`{a:1}`, 1, `expected a key in double quotes or '}', found 'a'`},
	{`{'a':1}`, 1, `expected a key in double quotes or '}', found '\''`},
	{`{"a" 1}`, 1, `expected ':' after the key "a", found '1'`},
	{"{\"a\":\n\n}", 3, `expected a value for the key "a", found '}'`},
	{`{"a":1 "b":2}`, 1, `expected ',' or '}' after the value of "a", found '"'`},
	{`[1,]`, 1, `expected a value in the array, found ']'`},
	{`[1 2]`, 1, `expected ',' or ']' in the array, found '2'`},
	{`[1`, 1, `expected ',' or ']' in the array, found the end of the input`},
	{`[NaN]`, 1, `NaN is not JSON: write null`},
	{`[Infinity]`, 1, `Infinity is not JSON: write null`},
	{`[-Infinity]`, 1, `-Infinity is not JSON: write null`},
	{`[None]`, 1, `None is not JSON: write null`},
	{`[True]`, 1, `True is not JSON: write true`},
	{`[truely]`, 1, `expected a value in the array, found 't'`},
	{`[01]`, 1, `a number must not have leading zeros`},
	{`[-]`, 1, `expected a digit, found ']'`},
	{`-`, 1, `expected a digit, found the end of the input`},
	{`[+1]`, 1, `expected a value in the array, found '+'`},
	{`[.5]`, 1, `expected a value in the array, found '.'`},
	{`[1.]`, 1, `expected a digit after the decimal point, found ']'`},
	{`[1e]`, 1, `expected a digit in the exponent, found ']'`},
	{`["a`, 1, `expected the closing '"' of a string, found the end of the input`},
	{"[\n\"a\nb\"]", 2, `expected the closing '"' of a string, found the end of the line`},
	{"[\"a\tb\"]", 1, `control character 0x09 in a string: write it as \u0009`},
	{`["\x41"]`, 1, `expected one of "\/bfnrtu after the backslash, found 'x'`},
	{`["\u12g4"]`, 1, `expected four hexadecimal digits after \u, found 'g'`},
	{`["\`, 1, `expected a character after the backslash, found the end of the input`},
	{"\xef\xbb\xbf{}", 1, `expected a JSON value, found a byte order mark (save the file without one)`},
	{"[\x00]", 1, `expected a value in the array, found '\x00'`},
	{``, 1, `expected a JSON value, found the end of the input`},
}

func TestSyntax(t *testing.T) {
	for _, c := range syntaxCases {
		_, err := newParser([]byte(c.doc), new(arena)).document()
		switch {
		case err == nil && c.want != "":
			t.Errorf("%q was accepted", c.doc)
		case err != nil && (err.message != c.want || err.line != c.line):
			t.Errorf("%q:\ngot  line %d: %s\nwant line %d: %s", c.doc, err.line, err.message, c.line, c.want)
		}
		sameSyntax(t, []byte(c.doc))
	}
	for _, depth := range []int{maxDepth - 1, maxDepth, maxDepth + 1} {
		sameSyntax(t, []byte(strings.Repeat("[", depth)+strings.Repeat("]", depth)))
		sameSyntax(t, []byte(strings.Repeat(`{"":`, depth)+"1"+strings.Repeat("}", depth)))
	}
}

// sameSyntax checks that our parser and encoding/json accept the same texts and read
// the same values from them.
func sameSyntax(t *testing.T, doc []byte) {
	t.Helper()
	p := newParser(doc, new(arena))
	v, err := p.document()
	ok := err == nil
	if ok {
		p.skipSpace()
		ok = p.end()
	}
	if ok != json.Valid(doc) {
		t.Fatalf("%.200q: valid %v, encoding/json says %v", doc, ok, !ok)
	}
	if !ok {
		return
	}
	dec := json.NewDecoder(strings.NewReader(string(doc)))
	dec.UseNumber()
	var want any
	if err := dec.Decode(&want); err != nil {
		t.Fatalf("%.200q: %v", doc, err)
	}
	if got := plain(v); !reflect.DeepEqual(want, got) {
		t.Fatalf("%.200q: got %.200v, encoding/json says %.200v", doc, got, want)
	}
}

// plain returns a value as encoding/json decodes it.
func plain(v *value) any {
	switch v.kind {
	case kindNull:
		return nil
	case kindBool:
		return v.text == "true"
	case kindNumber:
		return json.Number(v.text)
	case kindString:
		return v.text
	case kindArray:
		out := []any{}
		for _, e := range v.elems {
			out = append(out, plain(e))
		}
		return out
	}
	out := map[string]any{}
	for _, m := range v.members {
		out[m.key] = plain(m.value)
	}
	return out
}

func TestIsInteger(t *testing.T) {
	for s, want := range map[string]bool{
		"0": true, "-0": true, "0.0": true, "0e-5": true, "-7": true, "64.0": true, "64.50": false, "6.45e1": false, "6.45e2": true,
		"1e3": true, "1E+3": true, "1000e-3": true, "1000e-4": false, "0.001e3": true, "0.0010e3": true, "0.001e2": false,
		"1e400": true, "1e-400": false, "1e99999999999999999999": true, "1e-99999999999999999999": false,
		"123456789012345678901234567890": true, "123456789012345678901234567890.5": false,
	} {
		if got := isInteger(s); got != want {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}
