package multiproc

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"testing"
)

// dbFile is a file in the layout of mmap_dict.py.
type dbFile struct {
	data []byte
	// size is the file's length, if that is more than the used bytes.
	size int
}

func newDB() *dbFile {
	f := &dbFile{data: make([]byte, 8), size: 1 << 16}
	return f.use(8)
}

// use sets the number of used bytes in the file's header.
func (f *dbFile) use(n int) *dbFile {
	binary.NativeEndian.PutUint32(f.data, uint32(int32(n)))
	return f
}

// entry adds a value; labels are in JSON, without braces.
func (f *dbFile) entry(family, sample, labels string, value float64) *dbFile {
	return f.raw(fmt.Sprintf(`["%s", "%s", {%s}, "help"]`, family, sample, labels), value, 0)
}

// raw adds a value under any key.
func (f *dbFile) raw(key string, value, stamp float64) *dbFile {
	f.data = binary.NativeEndian.AppendUint32(f.data, uint32(len(key)))
	f.data = append(f.data, key...)
	for range 8 - (len(key)+4)%8 {
		f.data = append(f.data, ' ')
	}
	f.data = binary.NativeEndian.AppendUint64(f.data, math.Float64bits(value))
	f.data = binary.NativeEndian.AppendUint64(f.data, math.Float64bits(stamp))
	return f.use(len(f.data))
}

// bytes returns the whole file.
func (f *dbFile) bytes() []byte {
	out := append([]byte(nil), f.data...)
	if n := f.size - len(out); n > 0 {
		out = append(out, make([]byte, n)...)
	}
	return out
}

func (f *dbFile) write(tb testing.TB, path string) {
	tb.Helper()
	if err := os.WriteFile(path, f.bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
}
