package events

import (
	"bytes"
	"os"
	"testing"
)

func BenchmarkRead(b *testing.B) {
	text, err := os.ReadFile("../../testdata/compare/runs.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	n := 0
	for b.Loop() {
		for e, err := range Read(bytes.NewReader(text)) {
			if err != nil {
				b.Fatal(err)
			}
			_ = e
			n++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/event")
}
