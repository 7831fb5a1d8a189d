package quantity

import (
	"math"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		in   schema.Unit
		want float64
	}{
		{"70GiB", schema.UnitBytes, 70 << 30},
		{"70 GiB", schema.UnitBytes, 70 << 30},
		{"70Gi", schema.UnitBytes, 70 << 30},
		{"1.5GB", schema.UnitBytes, 1.5e9},
		{"512MiB", schema.UnitGibibytes, 0.5},
		{"70GiB", schema.UnitGibibytes, 70},
		{"1024B", schema.UnitBytes, 1024},
		{"12kB", schema.UnitBytes, 12000},
		{"2TiB", schema.UnitGibibytes, 2048},
		{"1GB", "gigabytes", 1},
		{"0", schema.UnitBytes, 0},
		{"500ms", schema.UnitSeconds, 0.5},
		{"30ms", schema.UnitSeconds, 0.03},
		{"2.3s", schema.UnitSeconds, 2.3},
		{"250us", schema.UnitSeconds, 0.00025},
		{"250µs", schema.UnitSeconds, 0.00025},
		{"2m", schema.UnitSeconds, 120},
		{"1h", schema.UnitSeconds, 3600},
		{"1m30s", schema.UnitSeconds, 90},
		{"1m 30s", schema.UnitSeconds, 90},
		{"5e-1s", schema.UnitSeconds, 0.5},
		{"2s", schema.UnitMilliseconds, 2000},
		{"-1s", schema.UnitSeconds, -1},
		{"0", schema.UnitSeconds, 0},
		{"0.9", schema.UnitFraction, 0.9},
		{"90%", schema.UnitFraction, 0.9},
		{"7 %", schema.UnitFraction, 0.07},
		{"1", schema.UnitFraction, 1},
		{"150%", schema.UnitFraction, 1.5},
		{"2kJ", schema.UnitJoules, 2000},
		{"1Wh", schema.UnitJoules, 3600},
		{"400W", schema.UnitWatts, 400},
		{"400", schema.UnitWatts, 400},
		{"80C", schema.UnitCelsius, 80},
		{"80 °C", schema.UnitCelsius, 80},
		{"3000", "tokens/second", 3000},
		{"3000tokens/s", "tokens/second", 3000},
		{"3e3 tokens/second", "tokens/second", 3000},
		{"3000 tokens/s/GPU", "tokens/second/GPU", 3000},
		{"0.2 J/token", "joules/token", 0.2},
		{"10 requests", "requests", 10},
		{"10 request", "requests", 10},
		{"3", "", 3},
		{" 3 ", "", 3},
	} {
		got, err := Parse(c.text, c.in)
		if err != nil || got != c.want {
			t.Errorf("Parse(%q, %s) = %v, %v, want %v", c.text, c.in, got, err, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		in   schema.Unit
		want string
	}{
		{"70GiB", schema.UnitSeconds, `"70GiB" is a size: use a time like 250ms or 2s`},
		{"500ms", schema.UnitBytes, `"500ms" is a time: use a size like 70GiB or 500MB`},
		{"5%", schema.UnitBytes, `"5%" is a fraction: use a size like 70GiB or 500MB`},
		{"400W", schema.UnitJoules, `"400W" is a power: use an energy like 500J or 2kJ`},
		{"500", schema.UnitSeconds, `"500" needs a unit: use a time like 250ms or 2s`},
		{"70", schema.UnitGibibytes, `"70" needs a unit: use a size like 70GiB or 500MB`},
		{"70G", schema.UnitBytes, `unit "G" of "70G" can mean GiB or GB: write one of them`},
		{"90", schema.UnitFraction, `"90" is not a fraction: use a number from 0 to 1, or a percentage like 90%`},
		{"5ms", "tokens", `"5ms" is a time: use a number, of tokens`},
		{"5x", schema.UnitBytes, `unknown unit "x" in "5x": use a size like 70GiB or 500MB`},
		{"5 apples", "tokens", `unknown unit "apples" in "5 apples": use a number, of tokens`},
		{"5s", "", `"5s" is a time: use a plain number`},
		{"GiB", schema.UnitBytes, `"GiB" is not a number: use a size like 70GiB or 500MB`},
		{"", schema.UnitSeconds, `"" is not a number: use a time like 250ms or 2s`},
		{"1..5s", schema.UnitSeconds, `"1..5s" is not a number: use a time like 250ms or 2s`},
		{"nan", schema.UnitFraction, `"nan" is not a number: use a fraction like 0.9 or 90%`},
		{"1e999", "tokens", `"1e999" is not a number: use a number, of tokens`},
		{"5 5 s", schema.UnitSeconds, `"5 5 s" is not a number with a unit: use a time like 250ms or 2s`},
	} {
		_, err := Parse(c.text, c.in)
		if err == nil || err.Error() != c.want {
			t.Errorf("Parse(%q, %s): %v, want %s", c.text, c.in, err, c.want)
		}
	}
	for _, text := range []string{"0", "-5ms"} {
		if _, err := ParsePositive(text, schema.UnitSeconds); err == nil || !strings.HasSuffix(err.Error(), "must be above 0") {
			t.Errorf("ParsePositive(%q): %v", text, err)
		}
	}
}

// Every unit of the event can be parsed, and what is formatted in it can be read again.
func TestAllUnits(t *testing.T) {
	units := map[schema.Unit]bool{}
	for _, f := range schema.Fields() {
		units[f.Unit] = true
	}
	for u := range units {
		text := Format(0.25, u)
		got, err := Parse(text, u)
		if err != nil || got != 0.25 {
			t.Errorf("in %q: Parse(%q) = %v, %v, want 0.25", u, text, got, err)
		}
	}
	if len(units) < 30 {
		t.Errorf("only %d units", len(units))
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		x    float64
		in   schema.Unit
		want string
	}{
		{76101451776, schema.UnitBytes, "70.875 GiB"},
		{512 << 20, schema.UnitBytes, "512 MiB"},
		{2048, schema.UnitBytes, "2 KiB"},
		{17, schema.UnitBytes, "17 B"},
		{70.875, schema.UnitGibibytes, "70.875 GiB"},
		{0.5, schema.UnitSeconds, "500 ms"},
		{12, schema.UnitSeconds, "12 s"},
		{0, schema.UnitSeconds, "0 s"},
		{math.Copysign(0, -1), schema.UnitSeconds, "0 s"},
		{math.Copysign(0, -1), schema.UnitFraction, "0 %"},
		{0.00025, schema.UnitSeconds, "250 µs"},
		{0.07, schema.UnitFraction, "7 %"},
		{1.0 / 3, schema.UnitFraction, "33.3333 %"},
		{3157.9, "tokens/second", "3157.9 tokens/second"},
		{1234567, "tokens", "1234567 tokens"},
		{1234567.8, "tokens", "1234570 tokens"},
		{1e-7, "tokens", "1e-07 tokens"},
		{3, "", "3"},
		{67, schema.UnitCelsius, "67 °C"},
		{400.5, schema.UnitWatts, "400.5 W"},
	} {
		if got := Format(c.x, c.in); got != c.want {
			t.Errorf("Format(%v, %s) = %q, want %q", c.x, c.in, got, c.want)
		}
	}
}

// Two values that differ look different.
func TestFormatApart(t *testing.T) {
	got := FormatApart(schema.UnitGibibytes, 70, math.Nextafter(70, 71), 70)
	if got[0] == got[1] || got[0] != got[2] {
		t.Errorf("%q", got)
	}
	if got := FormatApart(schema.UnitSeconds, 0.5, 0.25); got[0] != "500 ms" || got[1] != "250 ms" {
		t.Errorf("%q", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"70GiB", "250ms", "5 %", "1m30s", "3000 tokens/s", "1e", "-", "5e+"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, u := range []schema.Unit{schema.UnitBytes, schema.UnitSeconds, schema.UnitFraction, "tokens/second", ""} {
			if x, err := Parse(text, u); err == nil && math.IsNaN(x) {
				t.Errorf("Parse(%q, %s) is NaN", text, u)
			}
		}
	})
}
