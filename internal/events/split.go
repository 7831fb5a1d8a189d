package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// defaultChunk is how many bytes are read at a time.
const defaultChunk = 64 << 10

// beyondFault is how many bytes after a fault its message can depend on: an unknown word,
// or a character.
const beyondFault = 64

// longLine bounds the search for the end of a line, in bytes.
const longLine = 1 << 20

// part is a piece of a file that can be checked without the rest: one document, or if that
// is broken, the text up to where [schema.ValidateStream] continues.
type part struct {
	text []byte
	size int // the part is text[:size]; a message about it may need the text after it
	line int // of its first byte, from 1
}

// splitter cuts a stream into parts, so that checking the parts finds the same problems as
// checking the whole file.
type splitter struct {
	r     io.Reader
	chunk int    // how many bytes to read at a time
	buf   []byte // read, but not returned yet
	line  int    // of buf[0]
	err   error  // of r, io.EOF included
	// isDocument reports whether a text is one document, which begins on the given line of the
	// stream. It may check the document then: next returns it as the next part.
	isDocument func(text []byte, line int) bool
}

// next returns the next part, io.EOF at the end.
func (s *splitter) next() (part, error) {
	if err := s.skipSpace(); err != nil {
		return part{}, err
	}
	if end, ok := s.lineDocument(); ok {
		return s.cut(end, end+1)
	}
	end, fault, err := s.document()
	switch {
	case err != nil:
		return part{}, err
	case fault >= 0:
		return s.broken(0, fault)
	}
	for s.has(end) && isBlank(s.buf[end]) {
		end++
	}
	if s.has(end) && s.buf[end] != '\n' && s.buf[end] != '{' {
		return s.broken(end, end)
	}
	return s.cut(end, end+1)
}

// lineDocument returns the end of the buffer's first line, and reports whether the line is a
// complete document. It makes JSON lines fast: it takes one scan.
func (s *splitter) lineDocument() (end int, ok bool) {
	for from := 0; ; {
		if i := bytes.IndexByte(s.buf[from:], '\n'); i >= 0 {
			end = from + i
			return end, s.isDocument(s.buf[:end], s.line)
		}
		from = len(s.buf)
		if from > longLine || !s.fill() {
			return 0, false
		}
	}
}

// document looks at the value that the buffer begins with. It returns where the value
// ends and a fault of -1, or the position of the first byte that JSON does not allow,
// which is the end of the input for a value that is not closed.
func (s *splitter) document() (end, fault int, err error) {
	dec := json.NewDecoder(&lookahead{s, 0})
	var ignored ignore
	err = dec.Decode(&ignored)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return int(dec.InputOffset()), -1, nil
	case errors.As(err, &syntax):
		return 0, int(syntax.Offset) - 1, nil
	case s.err == io.EOF:
		return 0, len(s.buf), nil
	}
	return 0, 0, err
}

// ignore takes any JSON value and keeps nothing.
type ignore struct{}

func (*ignore) UnmarshalJSON([]byte) error { return nil }

// lookahead reads the stream and leaves it in the buffer.
type lookahead struct {
	s   *splitter
	pos int
}

func (l *lookahead) Read(p []byte) (int, error) {
	if !l.s.has(l.pos) {
		return 0, l.s.err
	}
	n := copy(p, l.s.buf[l.pos:])
	l.pos += n
	return n, nil
}

// broken returns a part with a fault. As ValidateStream does, it looks for the next line that
// begins with {, from the given position on.
func (s *splitter) broken(from, fault int) (part, error) {
	ahead := fault + beyondFault
	for {
		if i := bytes.Index(s.buf[from:], []byte("\n{")); i >= 0 {
			size := from + i + 1
			return s.cut(size, max(size, ahead))
		}
		from = max(from, len(s.buf)-1) // the last byte may be the newline before a {
		if len(s.buf) > ahead+s.chunk {
			break
		}
		if !s.fill() {
			return s.cut(len(s.buf), len(s.buf))
		}
	}
	// The long text after the fault is of no use.
	p := part{slices.Clone(s.buf[:ahead]), ahead, s.line}
	s.drop(ahead)
	for {
		if i := bytes.Index(s.buf, []byte("\n{")); i >= 0 {
			s.drop(i + 1)
			break
		}
		s.drop(len(s.buf) - 1)
		if !s.fill() {
			s.drop(1)
			break
		}
	}
	return p, s.readError()
}

// cut takes a part of the given size from the buffer. Its text extends to the position
// ahead, as far as that is in the buffer.
func (s *splitter) cut(size, ahead int) (part, error) {
	ahead = min(ahead, len(s.buf))
	p := part{s.buf[:ahead:ahead], size, s.line}
	s.drop(size)
	return p, s.readError()
}

// drop removes n bytes from the buffer.
func (s *splitter) drop(n int) {
	s.line += bytes.Count(s.buf[:n], []byte("\n"))
	s.buf = s.buf[n:]
}

// readError returns the error of the reader, if it had one.
func (s *splitter) readError() error {
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

// skipSpace drops the white space that the buffer begins with.
func (s *splitter) skipSpace() error {
	for s.has(0) {
		n := len(s.buf) - len(bytes.TrimLeft(s.buf, " \t\r\n"))
		if n == 0 {
			return nil
		}
		s.drop(n)
	}
	return s.err
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// has reads until the buffer has a byte at pos, and reports whether there is one.
func (s *splitter) has(pos int) bool {
	for pos >= len(s.buf) {
		if !s.fill() {
			return false
		}
	}
	return true
}

// fill reads more into the buffer and reports whether it got anything.
func (s *splitter) fill() bool {
	for s.err == nil {
		s.buf = slices.Grow(s.buf, s.chunk)
		n, err := s.r.Read(s.buf[len(s.buf) : len(s.buf)+s.chunk])
		s.buf, s.err = s.buf[:len(s.buf)+n], err
		if n > 0 {
			return true
		}
	}
	return false
}
