package probe

import (
	"context"
	"testing"
)

// What one reading of an engine's files costs with its books, of the gauges and counters
// that polls want and of all.
func BenchmarkFiles(b *testing.B) {
	for name, full := range map[string]bool{"poll": false, "full": true} {
		b.Run(name, func(b *testing.B) {
			p := New(Config{})
			p.Add(Directory("multiproc/testdata/serve_dp2/db", true))
			e := p.endpoints[0]
			if _, err := e.read(context.Background(), true, during); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.read(context.Background(), full, during); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
