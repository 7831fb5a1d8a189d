package render

import (
	"fmt"
	"math"
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
