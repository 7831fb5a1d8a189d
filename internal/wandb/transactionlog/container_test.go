package transactionlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
)

// frame returns a file with the records.
func frame(t testing.TB, records ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, r := range records {
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// unframe returns the complete records of a file, and the error that ended the reading.
func unframe(file []byte) (records [][]byte, err error) {
	r := NewReader(bytes.NewReader(file))
	for {
		b, err := r.Next()
		if err != nil {
			return records, err
		}
		records = append(records, bytes.Clone(b))
	}
}

func TestBytesOfAFile(t *testing.T) {
	// The header and one complete chunk; the checksum is Python's zlib.crc32(b"\x01abc").
	if got, want := hex.EncodeToString(frame(t, []byte("abc"))), "3a572642e1be00"+"a9209d53"+"0300"+"01"+"616263"; got != want {
		t.Errorf("a file of one record is\n%s, want\n%s", got, want)
	}
}

func TestChecksums(t *testing.T) {
	// Values of Python's zlib.crc32 over the kind and the data.
	for _, c := range []struct {
		kind byte
		data string
		want uint32
	}{{full, "", 0xa505df1b}, {full, "abc", 0x539d20a9}, {first, "123456789", 0xca8295c3}, {last, strings.Repeat("\x00", 32), 0xa1b67941}} {
		if got := checksum(c.kind, []byte(c.data)); got != c.want {
			t.Errorf("checksum(%d, %q) = %08x, want %08x", c.kind, c.data, got, c.want)
		}
	}
}

func TestRecordsOfAnySize(t *testing.T) {
	const room = blockSize - len(fileHeader) - chunkHeader // of the first block's first chunk
	sizes := []int{0, 1, room - 1, room, room + 1, blockSize, blockSize + 1, 3 * blockSize, 1 << 20}
	// The room left in the first block after the first record: 0 to 8 bytes, of which 1 to
	// 6 are padding and 7 hold a chunk without data.
	for left := 0; left <= 8; left++ {
		sizes = append(sizes, room-left)
	}
	for _, size := range sizes {
		want := [][]byte{bytes.Repeat([]byte{'a'}, size), []byte("second"), bytes.Repeat([]byte("0123456789"), 5000), nil, []byte("last")}
		file := frame(t, want...)
		got, err := unframe(file)
		if err != io.EOF {
			t.Errorf("size %d: %v", size, err)
		}
		if len(got) != len(want) {
			t.Errorf("size %d: %d records, want %d", size, len(got), len(want))
			continue
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("size %d: record %d differs", size, i)
			}
		}
	}
}

func TestPaddingAtTheEndOfABlock(t *testing.T) {
	const room = blockSize - len(fileHeader) - chunkHeader
	for left := 0; left <= 7; left++ {
		file := frame(t, make([]byte, room-left), []byte("second"))
		at := blockSize // of the second record's first chunk
		kind := byte(full)
		if left == 7 {
			at, kind = blockSize-7, first
		}
		if got := file[at+6]; got != kind {
			t.Errorf("%d bytes left: the chunk at %d is of kind %d, want %d", left, at, got, kind)
		}
		if left > 0 && left < 7 {
			bad := bytes.Clone(file)
			bad[blockSize-1] = 1
			if got, err := unframe(bad); !errors.Is(err, ErrCorrupt) || len(got) != 1 {
				t.Errorf("%d bytes of padding that is not zero: %d records and %v, want 1 and %v", left, len(got), err, ErrCorrupt)
			}
			if got, err := unframe(file[:blockSize-1]); err != io.EOF || len(got) != 1 {
				t.Errorf("a file that ends in %d bytes of padding: %d records and %v, want 1 and a clean end", left, len(got), err)
			}
		}
	}
}

func TestTruncatedAnywhere(t *testing.T) {
	records := [][]byte{[]byte("one"), []byte("two two"), make([]byte, blockSize), []byte("four")}
	file := frame(t, records...)
	var ends []int // of the records
	for i := range records {
		ends = append(ends, len(frame(t, records[:i+1]...)))
	}
	for n := range len(file) {
		if n > 64 && n < blockSize-20 || n > blockSize+20 && n < ends[2]-20 {
			continue // within a record of zeros
		}
		whole, clean := 0, false
		for _, end := range ends {
			if n >= end {
				whole++
			}
			clean = clean || n == end
		}
		clean = clean || n == len(fileHeader)
		got, err := unframe(file[:n])
		if len(got) != whole {
			t.Errorf("cut at %d: %d records, want %d", n, len(got), whole)
		}
		if clean != (err == io.EOF) || !clean && !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d: %v, want a clean end: %t", n, err, clean)
		}
		if e := (*Error)(nil); !clean && errors.As(err, &e) && whole > 0 && e.Offset != int64(ends[whole-1]) {
			t.Errorf("cut at %d: the error is at byte %d, want %d", n, e.Offset, ends[whole-1])
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	good := frame(t, []byte("one"), []byte("two"))
	second := len(frame(t, []byte("one")))
	change := func(at int, b ...byte) []byte {
		file := bytes.Clone(good)
		copy(file[at:], b)
		return file
	}
	chunk := func(kind byte, data string) []byte {
		var b bytes.Buffer
		w := Writer{w: &b}
		w.chunk(kind, []byte(data))
		return b.Bytes()
	}
	head := fileHeader[:]
	for _, c := range []struct {
		name    string
		file    []byte
		records int
		want    error
	}{
		{"empty", nil, 0, ErrTruncated},
		{"some text", []byte("some text\n"), 0, ErrNotLog},
		{"short text", []byte("text"), 0, ErrNotLog},
		{"LevelDB's log without a header", good[7:], 0, ErrNotLog},
		{"another version", change(6, 1), 0, ErrNotLog},
		{"checksum of the first", change(7, 0), 0, ErrCorrupt},
		{"checksum of the second", change(second, 0), 1, ErrCorrupt},
		{"data of the second", change(second+7, 'x'), 1, ErrCorrupt},
		{"kind 0", change(second+6, 0), 1, ErrCorrupt},
		{"kind 5", change(second+6, 5), 1, ErrCorrupt},
		{"zeros", append(bytes.Clone(good), make([]byte, 100)...), 2, ErrCorrupt},
		{"a length beyond the block", change(second+4, 0xff, 0xff), 1, ErrCorrupt},
		{"a length beyond the file", change(second+4, 0xff, 0x0f), 1, ErrTruncated},
		{"a length too short", change(second+4, 2), 1, ErrCorrupt},
		{"a middle first", append(bytes.Clone(head), chunk(middle, "x")...), 0, ErrCorrupt},
		{"a last first", append(bytes.Clone(head), chunk(last, "x")...), 0, ErrCorrupt},
		{"first and first", bytes.Join([][]byte{head, chunk(first, "x"), chunk(first, "y"), chunk(last, "z")}, nil), 0, ErrCorrupt},
		{"first and full", bytes.Join([][]byte{head, chunk(first, "x"), chunk(full, "y")}, nil), 0, ErrCorrupt},
		{"a kind between first and last", bytes.Join([][]byte{head, chunk(first, "x"), chunk(5, "y"), chunk(last, "z")}, nil), 0, ErrCorrupt},
		{"first alone", bytes.Join([][]byte{head, chunk(first, "x")}, nil), 0, ErrTruncated},
	} {
		got, err := unframe(c.file)
		if len(got) != c.records || !errors.Is(err, c.want) {
			t.Errorf("%s: %d records and %v, want %d and %v", c.name, len(got), err, c.records, c.want)
		}
		if e := (*Error)(nil); !errors.As(err, &e) {
			t.Errorf("%s: %v tells no place", c.name, err)
		}
	}
}

// endless is a file of one record without an end.
type endless struct {
	pending bytes.Buffer
	w       Writer
	began   bool
}

func (e *endless) Read(b []byte) (int, error) {
	for e.pending.Len() < len(b) {
		if !e.began {
			e.w.w = &e.pending
			e.w.write(fileHeader[:])
			e.w.chunk(first, make([]byte, blockSize-len(fileHeader)-chunkHeader))
			e.began = true
		}
		e.w.chunk(middle, make([]byte, blockSize-chunkHeader))
	}
	return e.pending.Read(b)
}

func TestRecordSizeIsBounded(t *testing.T) {
	if _, err := NewReader(&endless{}).Next(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record without end: %v, want %v", err, ErrTooLarge)
	}
}

func TestReaderErrors(t *testing.T) {
	broken := errors.New("input/output error")
	file := frame(t, []byte("one"), []byte("two"))
	for n := range file {
		r := NewReader(io.MultiReader(bytes.NewReader(file[:n]), failing{broken}))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v, want %v", n, err, broken)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// fullDisk is a disk with room for some bytes.
type fullDisk struct{ room int }

func (f *fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	if n < len(b) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func TestWriterErrorsPersist(t *testing.T) {
	whole := len(frame(t, []byte("one")))
	for room := range whole {
		disk := &fullDisk{room}
		w := NewWriter(disk)
		if w.Append([]byte("one")) == nil {
			t.Fatalf("room for %d bytes of %d: no error", room, whole)
		}
		disk.room = 1000
		if w.Append([]byte("two")) == nil || disk.room != 1000 {
			t.Fatalf("room for %d bytes: something was written behind the gap", room)
		}
	}
}
