package schema

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// The expected forms are those of model_dump_json in pydantic 2.12.5. Versions 2.13
// and 2.14 differ only in the sign of the exponent from 1e16 on.
func TestFloat(t *testing.T) {
	for _, c := range []struct {
		x    float64
		want string
	}{
		{64, "64.0"},
		{0, "0.0"},
		{math.Copysign(0, -1), "-0.0"},
		{1, "1.0"},
		{-64.5, "-64.5"},
		{0.1, "0.1"},
		{0.3, "0.3"},
		{1.0 / 3, "0.3333333333333333"},
		{70.875, "70.875"},
		{123456789.125, "123456789.125"},
		{1e-5, "0.00001"},
		{1.5e-5, "0.000015"},
		{-1e-5, "-0.00001"},
		{9.999e-6, "9.999e-6"},
		{1e-6, "1e-6"},
		{-1e-6, "-1e-6"},
		{1.25e-10, "1.25e-10"},
		{1e-100, "1e-100"},
		{1e15, "1000000000000000.0"},
		{9007199254740993, "9007199254740992.0"},
		{9999999999999998, "9999999999999998.0"},
		{1e16, "1e16"},
		{-1e16, "-1e16"},
		{1.5e16, "1.5e16"},
		{1e20, "1e20"},
		{1e100, "1e100"},
		{5e-324, "5e-324"},
		{2.2250738585072014e-308, "2.2250738585072014e-308"},
		{math.MaxFloat64, "1.7976931348623157e308"},
		{math.NaN(), "null"},
		{math.Inf(1), "null"},
		{math.Inf(-1), "null"},
	} {
		b, err := json.Marshal(Float(c.x))
		if err != nil || string(b) != c.want {
			t.Errorf("%v is written as %s, want %s (%v)", c.x, b, c.want, err)
		}
	}
}

// checkFloat checks that x is encoded so that readers get the same float back.
func checkFloat(t *testing.T, x float64) {
	t.Helper()
	b, err := Float(x).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	s := string(b)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		if s != "null" {
			t.Errorf("%v is written as %s", x, s)
		}
		return
	}
	back, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Float64bits(back) != math.Float64bits(x) {
		t.Errorf("%v is written as %s, which reads as %v (%v)", x, s, back, err)
	}
	if !json.Valid(b) {
		t.Errorf("%v is written as %s, which is not JSON", x, s)
	}
	if !strings.ContainsAny(s, ".e") {
		t.Errorf("%v is written as %s: a consumer reads an integer", x, s)
	}
	var f Float
	if err := json.Unmarshal(b, &f); err != nil || float64(f) != x {
		t.Errorf("%s is decoded as %v (%v)", s, f, err)
	}
	if digits := strings.TrimLeft(strings.Split(s, "e")[0], "-0."); len(digits) > 18 {
		t.Errorf("%s has more digits than needed", s)
	}
}

func TestFloatRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		checkFloat(t, math.Float64frombits(r.Uint64()))
		checkFloat(t, (r.Float64()-0.5)*math.Pow10(r.IntN(40)-20))
		checkFloat(t, math.Pow10(r.IntN(40)-20))
	}
}

func FuzzFloat(f *testing.F) {
	for _, x := range []float64{0, 64, 1e-5, 9.999e-6, 1e16, 5e-324, math.MaxFloat64, math.NaN()} {
		f.Add(math.Float64bits(x))
	}
	f.Fuzz(func(t *testing.T, bits uint64) { checkFloat(t, math.Float64frombits(bits)) })
}

func TestF(t *testing.T) {
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if f := F(x); f != nil {
			t.Errorf("F(%v) is %v, want nil", x, *f)
		}
	}
	if x, ok := F(0).Value(); !ok || x != 0 {
		t.Errorf("F(0) has value %v, %v", x, ok)
	}
	if _, ok := (*Float)(nil).Value(); ok {
		t.Error("nil has a value")
	}
}
