// Package quantity parses and formats the values of figures with their units, as 70GiB,
// 250ms or 5 %.
package quantity

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/vobs/vobs/schema"
)

// dimension is what units that can be converted into each other measure.
type dimension struct {
	name    string // as in "70GiB is a size"
	example string
	units   []unit // for parsing
}

// unit is a way to write a dimension: one of it is times/over of the dimension's base. Both
// are whole numbers, because dividing by 1000 is exact where multiplying by 0.001 is not.
type unit struct {
	symbols     string // separated by spaces
	times, over float64
}

// The dimensions. They are functions so that nothing is initialized at program start.
func size() *dimension { // of bytes
	return &dimension{"size", "70GiB or 500MB", []unit{
		{"B byte bytes", 1, 1},
		{"KiB Ki kib", 1 << 10, 1}, {"MiB Mi mib", 1 << 20, 1}, {"GiB Gi gib", 1 << 30, 1}, {"TiB Ti tib", 1 << 40, 1},
		{"kB KB kb", 1e3, 1}, {"MB mb", 1e6, 1}, {"GB gb", 1e9, 1}, {"TB tb", 1e12, 1},
	}}
}

func duration() *dimension { // of seconds
	return &dimension{"time", "250ms or 2s", []unit{
		{"s sec second seconds", 1, 1}, {"ms", 1, 1e3}, {"us µs μs", 1, 1e6}, {"ns", 1, 1e9},
		{"m min", 60, 1}, {"h", 3600, 1},
	}}
}

func fraction() *dimension {
	return &dimension{"fraction", "0.9 or 90%", []unit{{"%", 1, 100}}}
}

func energy() *dimension { // of joules
	return &dimension{"energy", "500J or 2kJ", []unit{{"J joule joules", 1, 1}, {"kJ", 1e3, 1}, {"MJ", 1e6, 1}, {"Wh", 3600, 1}, {"kWh", 3.6e6, 1}}}
}

func power() *dimension { // of watts
	return &dimension{"power", "400W", []unit{{"W watt watts", 1, 1}, {"mW", 1, 1e3}, {"kW", 1e3, 1}}}
}

func temperature() *dimension { // of degrees Celsius
	return &dimension{"temperature", "80C", []unit{{"C °C celsius", 1, 1}}}
}

// dimensionOf returns the dimension of an event's unit, and how many of the dimension's base
// one of the unit is, as times/over; nil for a unit that is not converted.
func dimensionOf(u schema.Unit) (d *dimension, times, over float64) {
	switch u {
	case schema.UnitBytes:
		return size(), 1, 1
	case schema.UnitGibibytes:
		return size(), 1 << 30, 1
	case "MiB":
		return size(), 1 << 20, 1
	case "gigabytes":
		return size(), 1e9, 1
	case schema.UnitSeconds:
		return duration(), 1, 1
	case schema.UnitMilliseconds:
		return duration(), 1, 1e3
	case schema.UnitFraction:
		return fraction(), 1, 1
	case schema.UnitJoules:
		return energy(), 1, 1
	case schema.UnitWatts:
		return power(), 1, 1
	case schema.UnitCelsius:
		return temperature(), 1, 1
	}
	return nil, 1, 1
}

// dimensions are all of them, to name what a wrong unit measures.
func dimensions() []*dimension {
	return []*dimension{size(), duration(), fraction(), energy(), power(), temperature()}
}

// withArticle returns the name after "a" or "an".
func (d *dimension) withArticle() string {
	if d.name == "energy" {
		return "an " + d.name
	}
	return "a " + d.name
}

func (d *dimension) find(symbol string) (unit, bool) {
	for _, u := range d.units {
		for s := range strings.FieldsSeq(u.symbols) {
			if s == symbol {
				return u, true
			}
		}
	}
	return unit{}, false
}

// Parse returns the value of a text in an event's unit: "70GiB" is 70 in GiB and
// 75161927680 in bytes. A space before the unit is allowed. Sizes and times need a unit,
// unless they are 0; a fraction is from 0 to 1, or a percentage. Figures in other units, as
// tokens/second, take a number, alone or with that unit.
func Parse(text string, in schema.Unit) (float64, error) {
	text = strings.TrimSpace(text)
	number, symbol := split(text)
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsInf(x, 0) {
		return 0, fmt.Errorf("%q is not a number%s", text, example(in))
	}
	d, times, over := dimensionOf(in)
	switch {
	case d == nil:
		if symbol != "" && normalize(symbol) != normalize(string(in)) {
			return 0, wrongUnit(text, symbol, in)
		}
		return x, nil
	case symbol == "" && in == schema.UnitFraction:
		if x < 0 || x > 1 {
			return 0, fmt.Errorf("%q is not a fraction: use a number from 0 to 1, or a percentage like 90%%", text)
		}
		return x, nil
	case symbol == "" && x != 0 && (d.name == "size" || d.name == "time"):
		return 0, fmt.Errorf("%q needs a unit: use a %s like %s", text, d.name, d.example)
	case symbol == "":
		return x, nil
	}
	if u, ok := d.find(symbol); ok {
		return x * u.times * over / u.over / times, nil
	}
	if t, ok := compound(text); ok && d.name == "time" {
		return float64(t.Nanoseconds()) * over / 1e9 / times, nil
	}
	return 0, wrongUnit(text, symbol, in)
}

// compound parses a time of several parts, as 1m30s or 1m 30s.
func compound(text string) (sum time.Duration, ok bool) {
	for part := range strings.FieldsSeq(text) {
		t, err := time.ParseDuration(part)
		if err != nil {
			return 0, false
		}
		sum += t
	}
	return sum, true
}

// split cuts a text into the number that it begins with and the unit.
func split(text string) (number, symbol string) {
	end := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		isDigit := c >= '0' && c <= '9'
		afterExponent := i > 0 && (text[i-1] == 'e' || text[i-1] == 'E')
		isExponent := (c == 'e' || c == 'E') && end > 0 && strings.ContainsAny(text[i+1:min(i+2, len(text))], "+-0123456789")
		if !isDigit && c != '.' && !isExponent && !((c == '+' || c == '-') && (i == 0 || afterExponent)) {
			break
		}
		end = i + 1
	}
	return text[:end], strings.TrimSpace(text[end:])
}

// wrongUnit returns the error about a unit that does not fit.
func wrongUnit(text, symbol string, in schema.Unit) error {
	for _, d := range dimensions() {
		if _, ok := d.find(symbol); ok {
			return fmt.Errorf("%q is %s%s", text, d.withArticle(), example(in))
		}
	}
	if strings.ContainsAny(symbol, "0123456789") {
		return fmt.Errorf("%q is not a number with a unit%s", text, example(in))
	}
	if d, _, _ := dimensionOf(in); d != nil && d.name == "size" && strings.ContainsAny(symbol, "kKmMgGtT") && len(symbol) == 1 {
		upper := strings.ToUpper(symbol)
		return fmt.Errorf("unit %q of %q can mean %siB or %sB: write one of them", symbol, text, upper, upper)
	}
	return fmt.Errorf("unknown unit %q in %q%s", symbol, text, example(in))
}

// example returns how a value in a unit is written, to be appended to an error.
func example(in schema.Unit) string {
	d, _, _ := dimensionOf(in)
	switch {
	case d != nil:
		return fmt.Sprintf(": use %s like %s", d.withArticle(), d.example)
	case in == "":
		return ": use a plain number"
	}
	return fmt.Sprintf(": use a number, of %s", in)
}

// normalize shortens the words of a composite unit: tokens/second and tokens/s are the same.
func normalize(u string) string {
	parts := strings.Split(strings.ToLower(strings.ReplaceAll(u, " ", "")), "/")
	for i, part := range parts {
		switch part {
		case "s", "sec", "second", "seconds":
			parts[i] = "s"
		case "j", "joule", "joules":
			parts[i] = "j"
		case "gb", "gigabyte", "gigabytes":
			parts[i] = "gb"
		default:
			parts[i] = strings.TrimSuffix(part, "s")
		}
	}
	return strings.Join(parts, "/")
}

// ParsePositive is [Parse] for values that are above 0.
func ParsePositive(text string, in schema.Unit) (float64, error) {
	x, err := Parse(text, in)
	if err == nil && x <= 0 {
		return 0, fmt.Errorf("%q must be above 0", text)
	}
	return x, err
}
