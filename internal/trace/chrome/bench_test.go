package chrome_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/vobs/vobs/internal/trace"
	"github.com/vobs/vobs/internal/trace/chrome"
)

// BenchmarkRead reads a real trace without its compression: the first pass.
func BenchmarkRead(b *testing.B) {
	text := uncompressed(b, "../../../testdata/traces/torch/a100_nccl.json.gz")
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		c := trace.NewCollector("", trace.DefaultClasses())
		if err := chrome.Read(bytes.NewReader(text), c); err != nil {
			b.Fatal(err)
		}
	}
}

func uncompressed(t testing.TB, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := chrome.Decompress(f)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(in); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
