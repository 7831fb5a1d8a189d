package proc

import (
	"encoding/binary"
	"slices"
	"testing"
)

// dirent encodes an entry like getdents64.
func dirent(name string) []byte {
	b := make([]byte, (19+len(name)+1+7)&^7)
	binary.NativeEndian.PutUint64(b, uint64(len(name)))
	binary.NativeEndian.PutUint16(b[16:], uint16(len(b)))
	copy(b[19:], name)
	return b
}

func TestParseDirents(t *testing.T) {
	buf := slices.Concat(dirent("."), dirent("12"), dirent("self"), dirent("1234567890"), dirent("7"))
	if got := parseDirents(buf, []dirEntry{{5, 99}}); !slices.Equal(got, []dirEntry{{5, 99}, {12, 2}, {1234567890, 10}, {7, 1}}) {
		t.Errorf("got %v", got)
	}
}

func FuzzParseDirents(f *testing.F) {
	f.Add(slices.Concat(dirent("."), dirent("12"), dirent("self")))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, e := range parseDirents(data, nil) {
			if e.pid <= 0 {
				t.Errorf("%q: %d", data, e.pid)
			}
		}
	})
}
