package pyvalue

import (
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestJSON holds what json.dumps(json.loads(text)) of Python 3.11 returns, but for escapes
// of letters beyond ASCII; "" is an error.
func TestJSON(t *testing.T) {
	for text, want := range map[string]string{
		"null": "null", "true": "true", " -5 ": "-5", "1.0": "1.0", "1e3": "1000.0", "-0": "0", "-0.0": "-0.0", "1E400": "Infinity",
		"9223372036854775808": "9223372036854775808",
		"NaN":                 "NaN", "-Infinity": "-Infinity", "[Infinity, -Infinity]": "[Infinity, -Infinity]", `{"NaN": NaN}`: `{"NaN": NaN}`,
		`"NaN -Infinity"`: `"NaN -Infinity"`, `"\"NaN"`: `"\"NaN"`, `"\ud83d\ude00"`: `"😀"`,
		`{"b":[1,"x",null],"a":{}}`: `{"a": {}, "b": [1, "x", null]}`, `{"a":1,"a":2}`: `{"a": 2}`,
		strings.Repeat("[", MaxNesting) + strings.Repeat("]", MaxNesting): strings.Repeat("[", MaxNesting) + strings.Repeat("]", MaxNesting),
		"": "", "[1,]": "", "1 2": "", "nan": "", "-NaN": "", "01": "", "[": "", `"`: "", "+1": "", ".5": "",
		strings.Repeat("[", MaxNesting+1) + strings.Repeat("]", MaxNesting+1): "",
	} {
		v, err := ParseJSON(text)
		if (err != nil) != (want == "") || err == nil && FormatJSON(v) != want {
			t.Errorf("%.50s: %.50s, %v, want %.50s", text, FormatJSON(v), err, want)
		}
	}
}

func TestMapOutsideStrings(t *testing.T) {
	for text, want := range map[string]string{`a"b"c`: `A"b"C`, `{"a\"b":c,"d\\":e}`: `{"a\"b":C,"d\\":E}`, `a"b`: `A"b`, `a"\`: `A"\`, "": ""} {
		if got := MapOutsideStrings(text, strings.ToUpper); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzJSON checks that a value that was read is written so that it reads as the same.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{`{"a":[1,-2.5e-7,"x\n\u00e9",null,true],"b":{"c":NaN}}`, "[Infinity,-Infinity,-0.0,123456789012345678901234567890]", `"NaN"`, "1e999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseJSON(text)
		if err != nil || strings.Contains(text, `\u0001`) { // a string with this prefix may stand for NaN
			return
		}
		written := FormatJSON(v)
		again, err := ParseJSON(written)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", text, written, err)
		}
		diff := cmp.Diff(v, again, cmp.Comparer(sameFloat), cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }))
		if diff != "" {
			t.Errorf("%q is written as %q:\n%s", text, written, diff)
		}
	})
}
