package pyvalue

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// TestParseInt holds what int() of Python 3.11 makes of each text; "" is a ValueError.
func TestParseInt(t *testing.T) {
	for s, want := range map[string]string{
		"5": "5", " 5\n": "5", "+5": "5", "-5": "-5", "-0": "0", "007": "7", "1_000": "1000",
		"9223372036854775807": "9223372036854775807", "9223372036854775808": "9223372036854775808", "-9223372036854775808": "-9223372036854775808",
		strings.Repeat("9", 4300): strings.Repeat("9", 4300), strings.Repeat("9", 4301): "",
		"": "", "-": "", "1__0": "", "_1": "", "1_": "", "0x10": "", "5.0": "", "--5": "", "+-5": "", "- 5": "",
	} {
		got, err := ParseInt(s)
		if (err != nil) != (want == "") || err != nil && !errors.Is(err, ErrNotANumber) || err == nil && Repr(got) != want {
			t.Errorf("%.30q: %v, %v, want %.30q", s, got, err, want)
		}
	}
	if n, _ := ParseInt("9223372036854775807"); n != int64(math.MaxInt64) {
		t.Errorf("%T, want an int64", n)
	}
}

// TestParseFloat holds what float() of Python 3.11 makes of each text; "" is a ValueError.
func TestParseFloat(t *testing.T) {
	for s, want := range map[string]string{
		"1": "1.0", " 1.5\n": "1.5", ".5": "0.5", "5.": "5.0", "1e3": "1000.0", "1E-3": "0.001", "1_0.5": "10.5",
		"inf": "inf", "-Infinity": "-inf", "nan": "nan", "1e999": "inf", "-1e999": "-inf", "1e-999": "0.0",
		"": "", "1__0": "", "1_.5": "", "0x1p3": "", "1f": "", "e5": "", "1e": "", "infinit": "", "+-1": "", "--inf": "",
	} {
		got, err := ParseFloat(s)
		if (err != nil) != (want == "") || err != nil && !errors.Is(err, ErrNotANumber) || err == nil && ReprFloat(got) != want {
			t.Errorf("%q: %v, %v, want %q", s, got, err, want)
		}
	}
}

func TestParseDigits(t *testing.T) {
	for _, c := range []struct {
		digits   string
		base     int
		negative bool
		want     string // "" for an error
	}{
		{"17", 8, false, "15"}, {"17", 8, true, "-15"}, {"ff", 16, false, "255"}, {"101", 2, false, "5"}, {"10000000000000000", 16, true, "-18446744073709551616"},
		{"8", 8, false, ""}, {"", 10, false, ""}, {strings.Repeat("1", 4301), 2, false, ""},
	} {
		got, err := ParseDigits(c.digits, c.base, c.negative)
		if (err != nil) != (c.want == "") || err == nil && Repr(got) != c.want {
			t.Errorf("%.30s in base %d: %v, %v, want %s", c.digits, c.base, got, err, c.want)
		}
	}
}
