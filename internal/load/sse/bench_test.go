package sse

import (
	"bufio"
	"bytes"
	"testing"

	gosse "github.com/tmaxmax/go-sse"
)

// BenchmarkReader compares with a bufio.Scanner, which only reads lines, and with another
// library, on a stream of 10 000 chunks as vLLM writes them.
func BenchmarkReader(b *testing.B) {
	const n = 10_000
	text := stream(n)
	run := func(name string, read func() (events int)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if got := read(); got != n+1 {
					b.Fatalf("%d events", got)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/chunk")
		})
	}
	r, source := NewReader(nil), bytes.NewReader(nil)
	run("vobs", func() (events int) {
		source.Reset(text)
		r.Reset(source)
		for {
			if _, err := r.Next(); err != nil {
				return events
			}
			events++
		}
	})
	run("bufio.Scanner", func() (events int) {
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			if bytes.HasPrefix(lines.Bytes(), []byte("data: ")) {
				events++
			}
		}
		return events
	})
	run("tmaxmax/go-sse", func() (events int) {
		for _, err := range gosse.Read(bytes.NewReader(text), nil) {
			if err != nil {
				b.Fatal(err)
			}
			events++
		}
		return events
	})
}
