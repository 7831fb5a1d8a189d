package multiproc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// The layout of a file, from mmap_dict.py, in the machine's byte order: an int32 that says
// how many bytes are used, these included, and four of padding; then entries. An entry is
// an int32 with the key's length, the key, one to eight blanks up to where eight divides
// the offset, the value and its time in Unix seconds, as float64. A file is 64 KiB long at
// first and doubles when it is full.
const (
	headLength  = 8
	valueLength = 16
	// firstRead is how much is read of a file that is new, in bytes: all of an engine's
	// gauges or counters. What follows where it had grown is slack more.
	firstRead = 16 << 10
	slack     = 4 << 10
	// maxFile is the most that may be used of one file, in bytes: of some 250 engines,
	// each of which has 60 KB of histograms. maxAll is the most of all files together.
	maxFile = 16 << 20
	maxAll  = 64 << 20
	// attempts is how often a file is read that cannot be understood.
	attempts = 3
)

// file is one file of the directory, as far as it is known.
type file struct {
	name, id string
	kind     kind
	live     bool
	listed   int // number of the last reading that found it in the directory

	// image is what was used of it when its entries were read, entries what stood there.
	// A key never changes; but the file may be another one by now, so each is compared.
	image   []byte
	entries []entry

	// bornAt is the number of the reading that first found something counted in it; 0
	// before.
	bornAt int
}

// entry is one value's place.
type entry struct {
	start, value int32 // offsets of its length and of its value
	family       *family
	series       *series // nil where nobody wants it
	last         float64 // the value, of a series that is a sum over processes
}

// errNotRegular is returned for what has a file's name and is none: it would block, or
// have no end.
var errNotRegular = errors.New("it is no regular file")

// errRange is what is wrong with a file that says more than it has.
type errRange struct{ used, size int64 }

func (e errRange) Error() string {
	return fmt.Sprintf("it says that %d of its bytes are used, and has %d", e.used, e.size)
}

// openDir opens a directory for reading it and what is in it.
func openDir(path string) (fd int, err error) {
	return again(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
}

// open opens a regular file of a directory, and tells its status.
func open(dir int, name string, st *unix.Stat_t) (fd int, err error) {
	fd, err = again(func() (int, error) {
		// Not to wait for the other end of a FIFO, should it have become one.
		return unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, err
	}
	if err = unix.Fstat(fd, st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNotRegular
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// load reads what is used of a file into buf, which it gives back, larger where need be.
func load(dir int, f *file, buf []byte) (data, room []byte, err error) {
	var st unix.Stat_t
	fd, err := open(dir, f.name, &st)
	if err != nil {
		return nil, buf, err
	}
	defer unix.Close(fd)
	if st.Size == 0 {
		return nil, buf, nil // it has been created this moment
	}
	first := firstRead
	if n := len(f.image); n > 0 {
		first = n + slack
	}
	first = int(min(int64(first), st.Size))
	buf = grow(buf, first)
	n, err := readAt(fd, buf[:first], 0)
	if err != nil {
		return nil, buf, err
	}
	if n < headLength {
		return nil, buf, errRange{headLength, int64(n)}
	}
	used := int(int32(binary.NativeEndian.Uint32(buf)))
	switch {
	case used == 0:
		return nil, buf, nil // nothing has been written yet
	case used < headLength:
		return nil, buf, fmt.Errorf("it says that %d of its bytes are used", used)
	case used <= n:
		return buf[:used], buf, nil
	}
	// It may have grown since it was opened: its length first, then what is used.
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, buf, err
	}
	if int64(used) > st.Size {
		return nil, buf, errRange{int64(used), st.Size}
	}
	if used > maxFile {
		return nil, buf, fmt.Errorf("%d MiB of it are used, more than the %d MiB that are read", used>>20, maxFile>>20)
	}
	buf = grow(buf, used)
	more, err := readAt(fd, buf[n:used], int64(n))
	if err != nil {
		return nil, buf, err
	}
	if n += more; n < used {
		return nil, buf, errRange{int64(used), int64(n)}
	}
	return buf[:used], buf, nil
}

// grow gives room for n bytes and keeps what is there.
func grow(buf []byte, n int) []byte {
	if n <= len(buf) {
		return buf
	}
	size := max(firstRead, len(buf))
	for size < n {
		size *= 2
	}
	return append(buf, make([]byte, size-len(buf))...)
}

func readAt(fd int, into []byte, at int64) (n int, err error) {
	for n < len(into) {
		m, err := again(func() (int, error) { return unix.Pread(fd, into[n:], at+int64(n)) })
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

// again repeats a system call that a signal has interrupted.
func again(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

// errChanged is returned for a file whose keys have changed.
var errChanged = errors.New("its keys are others than before")

// parse brings the entries of f up to date with data, the used part of the file as it is
// now. On an error those in front of the fault stand. That the file is another one by now
// is believed only where sure says that it has been read again.
func (r *Reader) parse(f *file, data []byte, sure bool) error {
	known, pos := 0, min(headLength, len(data))
	for ; known < len(f.entries); known++ {
		e := &f.entries[known]
		if int(e.value)+valueLength > len(data) || !bytes.Equal(data[e.start:e.value], f.image[e.start:e.value]) {
			break
		}
		pos = int(e.value) + valueLength
	}
	if known == len(f.entries) && pos == len(data) {
		return nil
	}
	if known < len(f.entries) {
		if !sure {
			return errChanged
		}
		r.broken(f)
		f.bornAt = 0
	}
	clear(f.entries[known:])
	f.entries = f.entries[:known]
	f.image = f.image[:min(pos, len(f.image))]
	defer func() { f.image = append(f.image, data[len(f.image):pos]...) }()
	for pos < len(data) {
		next, err := nextEntry(data, pos)
		if err != nil {
			return err
		}
		k, err := parseKey(keyAt(data, pos))
		if err != nil {
			return fmt.Errorf("the key at byte %d: %w", pos, err)
		}
		e := entry{start: int32(pos), value: int32(next - valueLength), last: math.Inf(-1)}
		if e.family, e.series, err = r.place(f, k); err != nil {
			return fmt.Errorf("the key at byte %d: %w", pos, err)
		}
		f.entries = append(f.entries, e)
		pos = next
	}
	return nil
}

// nextEntry says where the entry at pos ends. What follows a length is compared with what
// is left, so that no sum can overflow.
func nextEntry(data []byte, pos int) (int, error) {
	left := len(data) - pos - 4
	if left < 0 {
		return 0, fmt.Errorf("the entry at byte %d has no end", pos)
	}
	length := int(int32(binary.NativeEndian.Uint32(data[pos:])))
	if length <= 0 || length > left {
		return 0, fmt.Errorf("the entry at byte %d says that its key is %d bytes long, with %d left", pos, length, left)
	}
	end := pos + 4 + length
	end += 8 - (length+4)%8 + valueLength
	if end > len(data) {
		return 0, fmt.Errorf("the entry at byte %d has no end", pos)
	}
	return end, nil
}

func keyAt(data []byte, pos int) []byte {
	length := int(binary.NativeEndian.Uint32(data[pos:]))
	return data[pos+4 : pos+4+length]
}

func floatAt(data []byte, pos int32) float64 {
	return math.Float64frombits(binary.NativeEndian.Uint64(data[pos:]))
}
