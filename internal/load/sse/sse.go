// Package sse reads server-sent events: the streams of OpenAI's API.
//
// The format is that of the HTML standard, section 9.2, "Server-sent events"
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). The fields id and retry
// are read over: they are for clients that reconnect.
package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// firstBuffer is the size of a reader's buffer at first, in bytes. A chunk of vLLM
	// takes 200 to 400.
	firstBuffer = 4 << 10
	// MaxEvent is the size limit of an event in bytes, with its comments and line ends.
	MaxEvent = 16 << 20
	// maxEmptyReads is how many reads in a row may return nothing, as in package bufio.
	maxEmptyReads = 100
)

// ErrTooLarge is returned for an event of more than [MaxEvent] bytes.
var ErrTooLarge = fmt.Errorf("an event of the stream is larger than %d MiB", MaxEvent>>20)

// Event is one event of a stream.
type Event struct {
	// Type is what the field event names; empty means `message`.
	Type []byte
	// Data is the value of the fields data, joined by newlines.
	Data []byte
}

// Reader reads the events of one stream. It allocates nothing per event, unless an event is
// larger than all before it.
type Reader struct {
	source io.Reader
	buf    []byte
	// buf[start:end] is read and not returned; line is where the current line begins, and
	// searched how far its end was looked for. start <= line <= searched <= end.
	start, line, searched, end int
	begun                      bool // the byte order mark, if any, is behind start
	skipLF                     bool // the last line ended in CR; a LF would belong to it

	// The event so far: its only data field is buf[from:to], or joined has several.
	fields   int
	from, to int
	joined   []byte
	typ      []byte

	err error
}

// NewReader returns a reader of the events in r.
func NewReader(r io.Reader) *Reader { return &Reader{source: r} }

// Reset makes the reader read another stream, in the memory that it has.
func (r *Reader) Reset(source io.Reader) {
	*r = Reader{source: source, buf: r.buf, joined: r.joined[:0], typ: r.typ[:0]}
}

// Next returns the next event. It is valid until the next call. The error is [io.EOF] if the
// stream ends between two events, and [io.ErrUnexpectedEOF] if it ends within one, which is
// dropped as the standard demands.
func (r *Reader) Next() (Event, error) {
	r.fields, r.joined, r.typ = 0, r.joined[:0], r.typ[:0]
	r.start = r.line
	for {
		end, next, ok := r.lineEnd()
		if !ok {
			if err := r.fill(); err != nil {
				return Event{}, err
			}
			continue
		}
		from := r.line
		r.line, r.searched = next, next
		if from < end {
			r.field(from, end)
		} else if r.fields > 0 {
			return r.event(), nil
		} else {
			r.typ = r.typ[:0]
		}
		if r.fields == 0 { // nothing of what is read is needed
			r.start = r.line
		}
	}
}

// event returns the event that is complete.
func (r *Reader) event() Event {
	if r.fields == 1 {
		return Event{Type: r.typ, Data: r.buf[r.from:r.to]}
	}
	return Event{Type: r.typ, Data: r.joined}
}

// lineEnd returns where the current line ends and where the next one begins, if its end is in
// the buffer: CR, LF or both.
func (r *Reader) lineEnd() (end, next int, ok bool) {
	if !r.begun && !r.begin() {
		return 0, 0, false
	}
	if r.skipLF && r.line < r.end {
		if r.skipLF = false; r.buf[r.line] == '\n' {
			r.line++
			r.searched = max(r.searched, r.line)
			if r.fields == 0 {
				r.start = r.line
			}
		}
	}
	rest := r.buf[r.searched:r.end]
	lf := bytes.IndexByte(rest, '\n')
	if lf >= 0 {
		rest = rest[:lf]
	}
	cr := bytes.IndexByte(rest, '\r')
	switch {
	case cr >= 0 && cr+1 == lf:
		return r.searched + cr, r.searched + lf + 1, true
	case cr >= 0:
		r.skipLF = lf < 0 && r.searched+cr+1 == r.end // the LF may be yet to come
		return r.searched + cr, r.searched + cr + 1, true
	case lf >= 0:
		return r.searched + lf, r.searched + lf + 1, true
	}
	r.searched = r.end
	return 0, 0, false
}

// begin skips a byte order mark. It reports false if more bytes are needed to see one.
func (r *Reader) begin() bool {
	const mark = "\xef\xbb\xbf"
	head := r.buf[:r.end]
	if len(head) < len(mark) && string(head) == mark[:len(head)] && r.err == nil {
		return false
	}
	r.begun = true
	if bytes.HasPrefix(head, []byte(mark)) {
		r.start, r.line, r.searched = len(mark), len(mark), len(mark)
	}
	return true
}

// field takes up the line buf[from:end], which is not empty.
func (r *Reader) field(from, end int) {
	text := r.buf[from:end]
	colon := bytes.IndexByte(text, ':')
	name, value := text, end
	if colon >= 0 {
		name, value = text[:colon], from+colon+1
		if value < end && r.buf[value] == ' ' {
			value++
		}
	}
	switch string(name) {
	case "data":
		r.fields++
		if r.fields == 1 {
			r.from, r.to = value, end
			return
		}
		if r.fields == 2 {
			r.joined = append(r.joined, r.buf[r.from:r.to]...)
		}
		r.joined = append(r.joined, '\n')
		r.joined = append(r.joined, r.buf[value:end]...)
	case "event":
		r.typ = append(r.typ[:0], r.buf[value:end]...)
	}
}

// fill reads more of the stream.
func (r *Reader) fill() error {
	if r.err != nil {
		return r.finalError()
	}
	if r.end == len(r.buf) {
		if err := r.makeRoom(); err != nil {
			r.err = err
			return err
		}
	}
	for range maxEmptyReads {
		n, err := r.source.Read(r.buf[r.end:])
		r.end += n
		r.err = err
		if n > 0 {
			return nil // the error is for the next call
		}
		if err != nil {
			if !r.begun { // what looked like a byte order mark is none
				return nil
			}
			return r.finalError()
		}
	}
	r.err = io.ErrNoProgress
	return r.err
}

// finalError returns the error that ends the stream.
func (r *Reader) finalError() error {
	if errors.Is(r.err, io.EOF) && (r.line < r.end || r.fields > 0 || len(r.typ) > 0) {
		r.err = io.ErrUnexpectedEOF
	}
	return r.err
}

// makeRoom moves the event to the start of the buffer, or enlarges the buffer.
func (r *Reader) makeRoom() error {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		by := r.start
		r.start, r.line, r.searched, r.end = 0, r.line-by, r.searched-by, r.end-by
		r.from, r.to = r.from-by, r.to-by
		if r.end <= len(r.buf)/2 {
			return nil
		}
	}
	if len(r.buf) >= MaxEvent {
		if r.end < len(r.buf) {
			return nil
		}
		return ErrTooLarge
	}
	larger := make([]byte, max(firstBuffer, min(2*len(r.buf), MaxEvent)))
	copy(larger, r.buf[:r.end])
	r.buf = larger
	return nil
}
