// Package transactionlog is the format of W&B's run-<id>.wandb files, which the SDK writes
// for every run, and which are all that `wandb sync` reads.
//
// A file is a 7-byte header followed by the framing of LevelDB's log: blocks of 32768
// bytes, counted from the file's first byte, that hold chunks of a 7-byte header and data;
// each complete record is one serialized wandb_internal.Record
// (wandb/proto/wandb_internal.proto). Unlike LevelDB's, the checksum is a plain IEEE
// CRC-32. Sources: core/pkg/leveldb and core/internal/transactionlog of
// github.com/wandb/wandb; files of the SDK 0.31.0 in testdata.
package transactionlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	blockSize = 32768
	// chunkHeader is a CRC-32 (little endian), a length of 16 bits and a kind.
	chunkHeader = 7
	// maxRecord bounds the size of a record that is read, in bytes. The SDK keeps a
	// history row below 10 MiB (core/internal/filestream).
	maxRecord = 64 << 20
)

// The kinds of chunks: a complete record, or a piece of one.
const (
	full = iota + 1
	first
	middle
	last
)

// fileHeader is ":W&B", 0xBEE1 in little endian and the version 0, which has not changed
// since 2020.
var fileHeader = [7]byte{':', 'W', '&', 'B', 0xE1, 0xBE, 0}

// Reasons why a file could not be read to its end; an [*Error] wraps one of them.
var (
	// ErrNotLog means that the file does not begin as a .wandb file does.
	ErrNotLog = errors.New("not a .wandb file")
	// ErrTruncated means that the file ends within a record: it is still being written,
	// or its writer was killed.
	ErrTruncated = errors.New("the file ends within a record")
	// ErrCorrupt means that no writer wrote these bytes.
	ErrCorrupt = errors.New("damaged")
	// ErrTooLarge means a record of more than 64 MiB.
	ErrTooLarge = errors.New("a record is larger than 64 MiB")
)

// Error is where the reading of a file ended, and why.
type Error struct {
	// Offset of the chunk, or the record's first one, in bytes from the file's start.
	Offset int64
	// Err is one of this package's errors, with details.
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("at byte %d: %v", e.Offset, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Writer writes records of any size. It does not buffer: it writes a record chunk by chunk.
type Writer struct {
	w      io.Writer
	offset int64
	err    error
}

// NewWriter begins a new file on w; the header is written with the first record.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Append writes one record. After an error nothing more is written.
func (w *Writer) Append(record []byte) error {
	if w.offset == 0 {
		w.write(fileHeader[:])
	}
	for piece := 0; ; piece++ {
		left := blockSize - int(w.offset%blockSize)
		if left < chunkHeader {
			// There is no room for a chunk's header: readers skip the rest of the block.
			w.write(make([]byte, left))
			left = blockSize
		}
		n := min(len(record), left-chunkHeader)
		kind := byte(middle)
		switch {
		case piece == 0 && n == len(record):
			kind = full
		case piece == 0:
			kind = first
		case n == len(record):
			kind = last
		}
		w.chunk(kind, record[:n])
		record = record[n:]
		if w.err != nil || kind == full || kind == last {
			return w.err
		}
	}
}

func (w *Writer) chunk(kind byte, data []byte) {
	var h [chunkHeader]byte
	binary.LittleEndian.PutUint32(h[:], checksum(kind, data))
	binary.LittleEndian.PutUint16(h[4:], uint16(len(data)))
	h[6] = kind
	w.write(h[:])
	w.write(data)
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	w.offset += int64(n)
	w.err = err
}

// checksum covers the kind and the data, but not the length.
func checksum(kind byte, data []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte{kind}), crc32.IEEETable, data)
}

// Reader reads the records of a file. It is strict: it stops at anything that a writer would
// not have written, since nothing after it can be trusted.
type Reader struct {
	r           io.Reader
	offset      int64 // of the next byte of r
	recordStart int64 // position of the record's first chunk, -1 before that
	record      []byte
	err         error
}

// NewReader returns a reader of a file, from its beginning.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next record, valid until the next call. The error is io.EOF at a clean
// end, an [*Error] for a fault of the file, or the underlying reader's.
func (r *Reader) Next() ([]byte, error) {
	if r.err == nil {
		r.err = r.next()
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.record, nil
}

func (r *Reader) next() error {
	if r.offset == 0 {
		var h [len(fileHeader)]byte
		n, err := r.read(h[:])
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF && string(h[:n]) == string(fileHeader[:n]):
			return &Error{0, fmt.Errorf("%w: the file's header is incomplete", ErrTruncated)}
		case err == io.ErrUnexpectedEOF, err == nil && h != fileHeader:
			return &Error{0, fmt.Errorf("%w: it begins with %x instead of %x", ErrNotLog, h[:n], fileHeader)}
		case err != nil:
			return err
		}
	}
	r.record, r.recordStart = r.record[:0], -1
	for pieces := 0; ; pieces++ {
		kind, err := r.chunk()
		if err == io.EOF && pieces > 0 {
			return &Error{r.recordStart, ErrTruncated}
		}
		if err != nil {
			return err
		}
		if begins := kind == full || kind == first; begins && pieces > 0 {
			return r.corrupt("a record begins before the previous one has ended")
		} else if !begins && pieces == 0 {
			return r.corrupt("a record without its first chunk")
		}
		if kind == full || kind == last {
			return nil
		}
	}
}

// chunk appends the data of one chunk to the record.
func (r *Reader) chunk() (kind byte, err error) {
	if left := blockSize - int(r.offset%blockSize); left < chunkHeader {
		var pad [chunkHeader]byte
		n, err := r.read(pad[:left])
		for _, c := range pad[:n] {
			if c != 0 {
				return 0, r.corrupt("the padding of a block is not zero")
			}
		}
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		if err != nil {
			return 0, err
		}
	}
	at := r.offset
	if r.recordStart < 0 {
		r.recordStart = at
	}
	var h [chunkHeader]byte
	switch _, err := r.read(h[:]); {
	case err == io.ErrUnexpectedEOF:
		return 0, &Error{r.recordStart, ErrTruncated}
	case err != nil:
		return 0, err
	}
	length := int(binary.LittleEndian.Uint16(h[4:]))
	kind = h[6]
	if kind < full || kind > last {
		return 0, &Error{at, fmt.Errorf("%w: unknown kind of chunk %d", ErrCorrupt, kind)}
	}
	if int(at%blockSize)+chunkHeader+length > blockSize {
		return 0, &Error{at, fmt.Errorf("%w: a chunk of %d bytes extends beyond its block", ErrCorrupt, length)}
	}
	from := len(r.record)
	if from+length > maxRecord {
		return 0, &Error{r.recordStart, ErrTooLarge}
	}
	r.record = append(r.record, make([]byte, length)...)
	data := r.record[from:]
	switch _, err := r.read(data); {
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return 0, &Error{r.recordStart, ErrTruncated}
	case err != nil:
		return 0, err
	}
	if sum := binary.LittleEndian.Uint32(h[:]); sum != checksum(kind, data) {
		return 0, &Error{at, fmt.Errorf("%w: a chunk's checksum is %08x, that of its data %08x", ErrCorrupt, sum, checksum(kind, data))}
	}
	return kind, nil
}

func (r *Reader) read(b []byte) (int, error) {
	n, err := io.ReadFull(r.r, b)
	r.offset += int64(n)
	return n, err
}

func (r *Reader) corrupt(format string, args ...any) error {
	return &Error{r.offset, fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)}
}
