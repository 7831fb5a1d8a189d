package multiproc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// The layout of a file, from mmap_dict.py, in the machine's byte order: an int32 with the
// number of used bytes, itself included, and four bytes of padding; then entries. An entry
// is an int32 with the key's length, the key, one to eight blanks up to an offset that is
// a multiple of eight, then the value and its time in Unix seconds, as float64. A file is
// 64 KiB long at first and doubles when it is full.
const (
	headLength  = 8
	valueLength = 16
	// initialRead is how many bytes of a new file are read at first: all of an engine's
	// gauges or counters. For a known file it is the last size plus slack.
	initialRead = 16 << 10
	slack       = 4 << 10
	// maxFile is the limit of used bytes of one file: about 250 engines, each of which has
	// 60 KB of histograms. maxAll is the limit of all files together.
	maxFile = 16 << 20
	maxAll  = 64 << 20
	// attempts is how often an invalid file is read before it counts as one.
	attempts = 3
)

// file is one file of the directory and what is known of it.
type file struct {
	name, id string
	kind     kind
	live     bool
	noFollow bool   // it must not be a link
	skipped  bool   // by the last reading, see [Reader.OnlyGaugesOf]
	engine   string // that writes it; "" if it is unknown or does not matter
	listed   int    // number of the last reading that found it in the directory

	// image has the used bytes from which entries were parsed. A key never changes, but
	// the file may have been replaced, so each reading compares the keys with it.
	image   []byte
	entries []entry

	// countsSince is the number of the reading that first found a nonzero count in it; 0
	// before that.
	countsSince int
}

// entry is the position of one value.
type entry struct {
	start, value int32 // offsets of the key's length and of the value
	family       *family
	series       *series // nil if it is not wanted
	last         float64 // the last value, if the series is a sum over processes
}

// errNotRegular is returned for something that is not a regular file: reading it could
// block, or have no end.
var errNotRegular = errors.New("not a regular file")

// rangeError is returned for a file whose header claims more bytes than it has.
type rangeError struct{ used, size int64 }

func (e rangeError) Error() string {
	return fmt.Sprintf("its header says that %d bytes are used, but it has %d", e.used, e.size)
}

// openDir opens a directory for listing it and for opening its files.
func openDir(path string) (fd int, err error) {
	return retryEINTR(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
}

// open opens a regular file of a directory and returns its status in st.
func open(dir int, f *file, st *unix.Stat_t) (fd int, err error) {
	// O_NONBLOCK: if it has become a FIFO, do not wait for its other end.
	flags := unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	if f.noFollow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err = retryEINTR(func() (int, error) { return unix.Openat(dir, f.name, flags, 0) })
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

// load reads the used part of a file. It returns it in data, and as room the buffer buf,
// enlarged if necessary.
func load(dir int, f *file, buf []byte) (data, room []byte, err error) {
	var st unix.Stat_t
	fd, err := open(dir, f, &st)
	if err != nil {
		return nil, buf, err
	}
	defer unix.Close(fd)
	if st.Size == 0 {
		return nil, buf, nil // it has just been created
	}
	first := initialRead
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
		return nil, buf, rangeError{headLength, int64(n)}
	}
	used := int(int32(binary.NativeEndian.Uint32(buf)))
	switch {
	case used == 0:
		return nil, buf, nil // nothing has been written yet
	case used < headLength:
		return nil, buf, fmt.Errorf("its header says that %d bytes are used", used)
	case used <= n:
		return buf[:used], buf, nil
	}
	// It may have grown since it was opened: check its size again.
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, buf, err
	}
	if int64(used) > st.Size {
		return nil, buf, rangeError{int64(used), st.Size}
	}
	if used > maxFile {
		return nil, buf, fmt.Errorf("%d MiB of it are used, more than the limit of %d MiB", used>>20, maxFile>>20)
	}
	buf = grow(buf, used)
	more, err := readAt(fd, buf[n:used], int64(n))
	if err != nil {
		return nil, buf, err
	}
	if n += more; n < used {
		return nil, buf, rangeError{int64(used), int64(n)}
	}
	return buf[:used], buf, nil
}

// grow returns buf with room for at least n bytes.
func grow(buf []byte, n int) []byte {
	if n <= len(buf) {
		return buf
	}
	size := max(initialRead, len(buf))
	for size < n {
		size *= 2
	}
	return append(buf, make([]byte, size-len(buf))...)
}

// readAt reads into a buffer until it is full or the file ends.
func readAt(fd int, into []byte, at int64) (n int, err error) {
	for n < len(into) {
		m, err := retryEINTR(func() (int, error) { return unix.Pread(fd, into[n:], at+int64(n)) })
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

// retryEINTR repeats a system call that a signal interrupts.
func retryEINTR(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

var (
	// errChanged is returned for a file whose known keys have changed.
	errChanged = errors.New("its keys have changed")
	// errEmptied is returned for a file that had entries and is empty. prometheus_client never
	// truncates one: a program like cp is about to write it again.
	errEmptied = errors.New("it is empty, and was not before: it is being rewritten")
)

// parse brings the entries of f up to date with data, the current used part of the file.
// After an error the entries before the fault remain. confirmed reports whether the file
// has been read again: only then changed keys mean that the file has been replaced.
func (r *Reader) parse(f *file, data []byte, confirmed bool) error {
	if len(data) == 0 && len(f.entries) > 0 {
		return errEmptied
	}
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
		if !confirmed {
			return errChanged
		}
		r.noteLost(f)
		f.countsSince = 0
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
		if e.family, e.series, err = r.resolve(f, k); err != nil {
			return fmt.Errorf("the key at byte %d: %w", pos, err)
		}
		f.entries = append(f.entries, e)
		pos = next
	}
	return nil
}

// nextEntry returns where the entry at pos ends. It compares lengths with what is left, so
// that no sum can overflow.
func nextEntry(data []byte, pos int) (int, error) {
	left := len(data) - pos - 4
	if left < 0 {
		return 0, fmt.Errorf("the entry at byte %d has no end", pos)
	}
	length := int(int32(binary.NativeEndian.Uint32(data[pos:])))
	if length <= 0 || length > left {
		return 0, fmt.Errorf("the entry at byte %d claims a key of %d bytes, with %d left", pos, length, left)
	}
	end := pos + 4 + length
	end += 8 - (length+4)%8 + valueLength
	if end > len(data) {
		return 0, fmt.Errorf("the entry at byte %d has no end", pos)
	}
	return end, nil
}

// keyAt returns the key of the entry at pos.
func keyAt(data []byte, pos int) []byte {
	length := int(binary.NativeEndian.Uint32(data[pos:]))
	return data[pos+4 : pos+4+length]
}

func floatAt(data []byte, pos int32) float64 {
	return math.Float64frombits(binary.NativeEndian.Uint64(data[pos:]))
}
