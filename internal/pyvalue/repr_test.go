package pyvalue

import (
	"math"
	"math/big"
	"strconv"
	"testing"
)

// TestRepr holds what Python 3.11 writes.
func TestRepr(t *testing.T) {
	for want, v := range map[string]any{
		"None": nil, "True": true, "False": false, "5": int64(5), "0.9": 0.9, "18446744073709551616": new(big.Int).Lsh(big.NewInt(1), 64),
		"''": "", `"it's"`: "it's", `'"'`: `"`, `'\'"'`: `'"`, `'a\\b\n\t\r\x00\x7f\x85\u200b\U000e0001é'`: "a\\b\n\t\r\x00\x7f\u0085\u200b\U000e0001é", `'\udcff'`: "\xff",
		"[1, 'a', [None]]": []any{int64(1), "a", []any{nil}}, "{'a': 1, 'b': {}}": map[string]any{"a": int64(1), "b": map[string]any{}},
	} {
		if got := Repr(v); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestReprFloat(t *testing.T) {
	for want, f := range map[string]float64{
		"0.0": 0, "-0.0": math.Copysign(0, -1), "1.0": 1, "100.0": 100, "0.30000000000000004": 0.30000000000000004,
		"0.0001": 1e-4, "9.999999999999999e-05": math.Nextafter(1e-4, 0), "1e-05": 1e-5, "5e-324": math.SmallestNonzeroFloat64,
		"1000000000000000.0": 1e15, "9999999999999998.0": 9999999999999998, "1e+16": 1e16, "1.2345678901234568e+17": 123456789012345680, "1e+22": 1e22, "1e+100": 1e100,
		"-1.7976931348623157e+308": -math.MaxFloat64, "nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1),
	} {
		if got := ReprFloat(f); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestStr(t *testing.T) {
	for want, v := range map[string]any{"it's": "it's", "": "", "None": nil, "0.5": 0.5, "['a']": []any{"a"}} {
		if got := Str(v); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// FuzzReprFloat checks that every number reads back as itself, here and in Go.
func FuzzReprFloat(f *testing.F) {
	for _, x := range []float64{0, 0.1, 1e-4, 1e16, 1e15, -2.5e-10, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(-1), math.NaN()} {
		f.Add(math.Float64bits(x))
	}
	f.Fuzz(func(t *testing.T, bits uint64) {
		x := math.Float64frombits(bits)
		text := ReprFloat(x)
		if got, err := ParseFloat(text); err != nil || !sameFloat(got, x) {
			t.Errorf("%g: %s is read as %g: %v", x, text, got, err)
		}
		if got, err := strconv.ParseFloat(text, 64); err != nil || !sameFloat(got, x) {
			t.Errorf("%g: strconv reads %s as %g: %v", x, text, got, err)
		}
	})
}

func sameFloat(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
}
