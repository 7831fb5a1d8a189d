package quantity

import (
	"math"
	"strconv"

	"github.com/vobs/vobs/schema"
)

// Format formats a value in an event's unit for people, with six significant digits:
// "70.875 GiB" for 76101451776 bytes, "500 ms" for 0.5 seconds, "5 %" for a fraction of 0.05.
func Format(x float64, in schema.Unit) string { return format(x, in, 6) }

// FormatApart formats several values as [Format] does, but with enough digits that values
// that differ look different.
func FormatApart(in schema.Unit, values ...float64) []string {
	out := make([]string, len(values))
	for digits := 6; digits <= 17; digits++ {
		apart := true
		seen := map[string]float64{}
		for i, x := range values {
			out[i] = format(x, in, digits)
			if other, ok := seen[out[i]]; ok && other != x {
				apart = false
			}
			seen[out[i]] = x
		}
		if apart {
			break
		}
	}
	return out
}

func format(x float64, in schema.Unit, digits int) string {
	suffix := ""
	switch in {
	case "":
	case schema.UnitBytes:
		switch a := math.Abs(x); {
		case a >= 1<<30:
			x, suffix = x/(1<<30), " GiB"
		case a >= 1<<20:
			x, suffix = x/(1<<20), " MiB"
		case a >= 1<<10:
			x, suffix = x/(1<<10), " KiB"
		default:
			suffix = " B"
		}
	case schema.UnitSeconds:
		switch a := math.Abs(x); {
		case a >= 1 || a == 0:
			suffix = " s"
		case a >= 1e-3:
			x, suffix = 1e3*x, " ms"
		default:
			x, suffix = 1e6*x, " µs"
		}
	case schema.UnitFraction:
		x, suffix = 100*x, " %"
	case schema.UnitJoules:
		suffix = " J"
	case schema.UnitWatts:
		suffix = " W"
	case schema.UnitCelsius:
		suffix = " °C"
	case schema.UnitMilliseconds:
		suffix = " ms"
	default:
		suffix = " " + string(in)
	}
	return number(x, digits) + suffix
}

// number formats whole numbers in full and others with so many significant digits.
func number(x float64, digits int) string {
	x += 0 // -0 becomes 0
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'e', digits-1, 64), 64)
	if err != nil {
		rounded = x
	}
	if a := math.Abs(rounded); a >= 1e-4 && a < 1e15 {
		return strconv.FormatFloat(rounded, 'f', -1, 64)
	}
	return strconv.FormatFloat(rounded, 'g', -1, 64)
}
