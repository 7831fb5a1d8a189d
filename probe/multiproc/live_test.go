package multiproc

import (
	"encoding/binary"
	"math"
	"os"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/probe/exposition"
)

// Files are read while a process writes them like mmap_dict.py: through a shared mapping, an
// entry before the number of used bytes, doubling the file when it is full. No reading fails,
// every value is one that was written, and no counter decreases.
func TestLive(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/counter_1.db"
	newDB().entry("c", "c_total", "", 0).write(t, path)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() { done <- writeOn(file, &stop) }()
	defer func() {
		stop.Store(true)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	r, page := New(dir, nil), exposition.Page{}
	last, most, seen := 0.0, 0, map[float64]bool{}
	for n := 0; n < 400 || most < 1200 || len(seen) < 3; n++ {
		if err := r.Read(&page, n%2 == 0); err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Samples {
			switch s.Name {
			case "c_total":
				if s.Value < last {
					t.Fatalf("%v after %v", s.Value, last)
				}
				last = s.Value
				seen[last] = true
			case "many_total":
				if bits := math.Float64bits(s.Value); bits != 0 && bits != evenBits && bits != oddBits {
					t.Fatalf("a torn value: %x", bits)
				}
			default:
				t.Fatalf("%q", s.Name)
			}
		}
		if len(page.Samples) < most {
			t.Fatalf("%d samples after %d", len(page.Samples), most)
		}
		most = len(page.Samples)
	}
}

// Values that differ in every byte.
const evenBits, oddBits = 0x3ff0123456789abc, 0x40fedcba98765432

// writeOn increases the first entry and adds others, at most 1400, which take more than 64 KiB.
func writeOn(file *os.File, stop *atomic.Bool) error {
	st, err := file.Stat()
	if err != nil {
		return err
	}
	size := int(st.Size())
	data, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(data) }()
	word := func(at int) *uint64 { return (*uint64)(unsafe.Pointer(&data[at])) }
	used := int(binary.NativeEndian.Uint32(data))
	first, positions := used-16, []int{}
	for i := 0; !stop.Load(); i++ {
		atomic.StoreUint64(word(first), math.Float64bits(float64(i)))
		if len(positions) < 1400 && i%4 == 0 {
			fresh := newDB().entry("many", "many_total", `"n": "`+string(rune(0x4e00+len(positions)))+`"`, 0).data[8:]
			if used+len(fresh) > size {
				if err := file.Truncate(int64(2 * size)); err != nil {
					return err
				}
				if err := unix.Munmap(data); err != nil {
					return err
				}
				size *= 2
				if data, err = unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
					return err
				}
			}
			copy(data[used:], fresh)
			used += len(fresh)
			positions = append(positions, used-16)
			atomic.StoreUint32((*uint32)(unsafe.Pointer(&data[0])), uint32(used))
		}
		bits := uint64(evenBits)
		if i%2 == 1 {
			bits = oddBits
		}
		for _, at := range positions[max(0, len(positions)-50):] {
			atomic.StoreUint64(word(at), bits)
		}
	}
	return nil
}
