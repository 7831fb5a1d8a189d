package stats

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func BenchmarkMannWhitney(b *testing.B) {
	rng := rand.New(rand.NewPCG(15, 15))
	for _, c := range []struct{ n, digits int }{{10, 1}, {25, 1}, {50, 15}, {1000, 15}, {100_000, 15}} {
		x, y := sample(rng, c.n, 0, c.digits), sample(rng, c.n, 0.1, c.digits)
		b.Run(fmt.Sprintf("%d+%d,digits=%d", c.n, c.n, c.digits), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				MannWhitney(x, y)
			}
		})
	}
}

func BenchmarkShift(b *testing.B) {
	rng := rand.New(rand.NewPCG(16, 16))
	for _, c := range []struct{ n, digits int }{{10, 1}, {25, 1}, {50, 15}, {1000, 15}, {100_000, 15}} {
		x, y := sample(rng, c.n, 0, c.digits), sample(rng, c.n, 0.1, c.digits)
		b.Run(fmt.Sprintf("%d+%d,digits=%d", c.n, c.n, c.digits), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Shift(x, y, 0.05)
			}
		})
	}
}

func BenchmarkPaired(b *testing.B) {
	rng := rand.New(rand.NewPCG(17, 17))
	for _, n := range []int{10, 50, 1000, 100_000} {
		d := sample(rng, n, 0.1, 1)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				SignedRank(d)
				PairedShift(d, 0.05)
			}
		})
	}
}

func BenchmarkChangePoints(b *testing.B) {
	rng := rand.New(rand.NewPCG(18, 18))
	for _, n := range []int{20, 100, 1000} {
		values := series(rng, 1, n/2, 0, 3)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ChangePoints(values, 0.01, 3, 1)
			}
		})
	}
}
