package stats

import (
	"math"
	"slices"
	"testing"
)

// FuzzSymmetry reads two sides from bytes, with many ties. Swapped sides have the same p
// value and the opposite shift; the order of values does not matter; nor does a transform
// that keeps their order, to the test.
func FuzzSymmetry(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{2, 3, 4})
	f.Add([]byte{7}, []byte{7, 7, 7, 7})
	f.Add([]byte{1, 200, 3, 77, 3, 9, 12, 55}, []byte{2, 3, 9, 8, 77, 31})
	f.Add([]byte{}, []byte{1})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) > 60 || len(b) > 60 {
			return
		}
		x, y := fromBytes(a), fromBytes(b)
		const alpha = 0.05

		test, swapped := MannWhitney(x, y), MannWhitney(y, x)
		pairs := float64(len(x) * len(y))
		if !near(swapped.P, test.P) || swapped.Statistic != pairs-test.Statistic || swapped.Exact != test.Exact {
			t.Errorf("MannWhitney: %+v, swapped %+v", test, swapped)
		}
		if !(test.P > 0 && test.P <= 1) || test.Statistic < 0 || test.Statistic > pairs {
			t.Errorf("MannWhitney: %+v", test)
		}
		if shift, swapped := Shift(x, y, alpha), Shift(y, x, alpha); !opposite(shift, swapped) {
			t.Errorf("Shift: %+v, swapped %+v", shift, swapped)
		}
		if shift, turned := Shift(x, y, alpha), Shift(reversed(x), reversed(y), alpha); len(x) > 0 && len(y) > 0 && shift != turned {
			t.Errorf("Shift: %+v, in another order %+v", shift, turned)
		}
		if got := MannWhitney(reversed(transformed(x)), reversed(transformed(y))); got != test {
			t.Errorf("MannWhitney: %+v, transformed %+v", test, got)
		}

		signed, negated := SignedRank(x), SignedRank(negative(x))
		if !near(negated.P, signed.P) || negated.Exact != signed.Exact || !(signed.P > 0 && signed.P <= 1) {
			t.Errorf("SignedRank: %+v, negated %+v", signed, negated)
		}
		if got := SignedRank(reversed(x)); got != signed {
			t.Errorf("SignedRank: %+v, in another order %+v", signed, got)
		}
		if shift, negated := PairedShift(x, alpha), PairedShift(negative(x), alpha); !opposite(shift, negated) {
			t.Errorf("PairedShift: %+v, negated %+v", shift, negated)
		}
	})
}

func fromBytes(b []byte) []float64 {
	values := make([]float64, len(b))
	for i, v := range b {
		values[i] = float64(int8(v)) / 8
	}
	return values
}

func opposite(a, b Interval) bool {
	return (a.Estimate == -b.Estimate || math.IsNaN(a.Estimate) && math.IsNaN(b.Estimate)) && a.Low == -b.High && a.High == -b.Low
}

func negative(values []float64) []float64 {
	values = slices.Clone(values)
	for i := range values {
		values[i] = -values[i]
	}
	return values
}

func reversed(values []float64) []float64 {
	values = slices.Clone(values)
	slices.Reverse(values)
	return values
}

func transformed(values []float64) []float64 {
	values = slices.Clone(values)
	for i := range values {
		values[i] = math.Exp(values[i]) * 100
	}
	return values
}
