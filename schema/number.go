package schema

import (
	"encoding/json"
	"math"
	"strconv"
)

// Float is a number that always has a fraction in JSON (64 is written as 64.0), as
// pydantic writes floats. A Python consumer that reads an event and writes it
// again therefore produces the same bytes. NaN and the infinities have no JSON
// form and are written as null, but producers should catch them earlier: see [F].
type Float float64

// F returns a pointer to x for a nullable field, or nil if x is NaN or infinite.
func F(x float64) *Float {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	f := Float(x)
	return &f
}

// Bounds is an interval that a figure lies in, both ends included: the lower end and
// the upper one, which is nil if nothing bounds the figure from above.
type Bounds [2]*Float

// High returns the upper end, and whether there is one.
func (b *Bounds) High() (float64, bool) {
	if b == nil {
		return 0, false
	}
	return b[1].Value()
}

// Low returns the lower end, and whether there is one.
func (b *Bounds) Low() (float64, bool) {
	if b == nil {
		return 0, false
	}
	return b[0].Value()
}

// Bucket is one bucket of a histogram: its upper bound, nil for +Inf, and the number of
// observations up to that bound.
type Bucket [2]*float64

// MarshalJSON writes both numbers in their shortest form, as [0.02,40]: an event may
// have hundreds of buckets.
func (b Bucket) MarshalJSON() ([]byte, error) {
	text := []byte{'['}
	for i, x := range b {
		if i > 0 {
			text = append(text, ',')
		}
		if x == nil || math.IsNaN(*x) || math.IsInf(*x, 0) {
			text = append(text, "null"...)
			continue
		}
		number, err := json.Marshal(*x)
		if err != nil {
			return nil, err
		}
		text = append(text, number...)
	}
	return append(text, ']'), nil
}

// Ptr returns a pointer to v, for nullable fields.
func Ptr[T any](v T) *T { return &v }

// Value returns the value of a nullable number, and whether it has one.
func (f *Float) Value() (float64, bool) {
	if f == nil {
		return 0, false
	}
	return float64(*f), true
}

// MarshalJSON writes the shortest digits that read back as the same number. The
// format is that of Rust's ryu, which pydantic's serialiser uses: decimal notation
// with a fraction from 1e-5 to below 1e16, and an exponent otherwise. (From 1e16 on,
// which no figure of the core reaches, pydantic 2.12 writes 1e16 and 2.13 1e+16.)
func (f Float) MarshalJSON() ([]byte, error) {
	x := float64(f)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return []byte("null"), nil
	}
	if x == 0 {
		if math.Signbit(x) {
			return []byte("-0.0"), nil
		}
		return []byte("0.0"), nil
	}
	if a := math.Abs(x); a >= 1e-5 && a < 1e16 {
		b := strconv.AppendFloat(nil, x, 'f', -1, 64)
		for _, c := range b {
			if c == '.' {
				return b, nil
			}
		}
		return append(b, '.', '0'), nil
	}
	// strconv writes 1e-06 and 1e+16, ryu 1e-6 and 1e16.
	b := strconv.AppendFloat(nil, x, 'e', -1, 64)
	out := b[:0]
	for i := 0; i < len(b); i++ {
		out = append(out, b[i])
		if b[i] == 'e' {
			i++
			if b[i] == '-' {
				out = append(out, '-')
			}
			i++
			for i < len(b)-1 && b[i] == '0' {
				i++
			}
			out = append(out, b[i:]...)
			break
		}
	}
	return out, nil
}
