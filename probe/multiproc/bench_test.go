package multiproc

import (
	"testing"

	"github.com/vobs/vobs/probe/exposition"
)

// BenchmarkRead measures reading a directory that has been read before: of one front-end
// process with one engine, and of two with two engines.
func BenchmarkRead(b *testing.B) {
	for _, dir := range directories[:2] {
		for name, full := range map[string]bool{"full": true, "poll": false} {
			b.Run(dir+"/"+name, func(b *testing.B) {
				r, page := New(dbOf(dir), nil), exposition.Page{}
				read := func() {
					if err := r.Read(&page, full); err != nil {
						b.Fatal(err)
					}
				}
				read()
				read()
				b.ReportAllocs()
				for b.Loop() {
					read()
				}
			})
		}
	}
}

// BenchmarkFirst measures the first reading of a directory, which parses all keys.
func BenchmarkFirst(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var page exposition.Page
		if err := New(dbOf("serve_dp2"), nil).Read(&page, true); err != nil {
			b.Fatal(err)
		}
	}
}
