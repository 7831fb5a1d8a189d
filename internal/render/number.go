package render

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes formats a number of bytes in GiB, or in MiB below 1 GiB: "1.50 GiB".
func Bytes(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}

// Percent formats a fraction as a percentage, with two significant digits below 1 %:
// "12.5 %", "0.031 %".
func Percent(fraction float64) string {
	if x := 100 * fraction; x != 0 && math.Abs(x) < 1 {
		return fmt.Sprintf("%.2g %%", x)
	}
	return fmt.Sprintf("%.1f %%", 100*fraction)
}

// Seconds formats a time in seconds, or in milliseconds below 1 s: "1.25 s".
func Seconds(x float64) string {
	if x < 1 {
		return fmt.Sprintf("%.1f ms", 1000*x)
	}
	return fmt.Sprintf("%.2f s", x)
}

// SecondsAtMost formats an upper bound of a time in seconds, rounded up: to 10 ms from
// 1 s on, to 1 ms from 1 ms on, and to 0.1 ms below: "2 ms" for 0.0017.
func SecondsAtMost(x float64) string {
	digits, unit, scale := 0, " ms", 1e3
	switch {
	case x > 0.999:
		digits, unit, scale = 2, " s", 1
	case x <= 1e-3:
		digits = 1
	}
	steps := math.Pow10(digits)
	// 0.29 s is 290.00000000000006 steps of 1 ms: not everything above is more.
	up := math.Ceil(x*scale*steps*(1-1e-12)) / steps
	text := strconv.FormatFloat(up, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text + unit
}

// Count returns a number of things, as "1 run" and "3 runs". The plural of a noun that ends in
// s ends in es.
func Count(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "s"):
		noun += "es"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
