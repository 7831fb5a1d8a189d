package compare

import (
	"testing"
)

func BenchmarkReader(b *testing.B) {
	r := Reader{Metrics: Defaults()}
	e := event(0, 1000, 0.03, 10)
	b.ReportAllocs()
	for b.Loop() {
		r.Run(e, "file")
	}
}

func BenchmarkCompare(b *testing.B) {
	base, new := sides(1, 10, 0.03, 1)
	metrics := Defaults()
	x, y := runsOf(metrics, base), runsOf(metrics, new)
	for b.Loop() {
		Compare(x, y, Options{Metrics: metrics})
	}
}
