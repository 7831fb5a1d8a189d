package schema

import (
	"fmt"
	"io"
	"slices"
)

// ValidateStream checks a whole file, which holds one JSON document, indented or
// not, or several, each beginning on a line of its own (JSON lines). It returns the
// number of events found and all problems, ordered by line; err is an error of r.
// A broken line does not keep the others from being checked. In a log, records of
// other kinds are skipped with a warning; a file that holds no event at all is an
// error. It holds the file in memory: see [StreamValidator] for large ones.
func ValidateStream(r io.Reader, opt Options) (events int, problems []Problem, err error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the events: %w", err)
	}
	v := StreamValidator{Options: opt}
	problems = append(v.Part(data, len(data), 1), v.End()...)
	sortByLine(problems)
	return v.Events(), problems, nil
}

// StreamValidator checks a file that comes in parts, as [ValidateStream] checks a
// whole one.
type StreamValidator struct {
	Options Options

	events int
	parts  bool // some part was not empty
	failed bool // some problem was not a warning
	// last is the event that was found last; nil if there was none, or one in a log record. It
	// is in tree.
	last   *value
	spaced bool // there is white space in it or after it
	tree   arena
}

// Part checks the documents that begin in text[:size], the next part of the file;
// line is the number of its first line, counted from 1. What follows in text belongs
// to later parts: it matters only for the message about a broken document. A part
// begins where ValidateStream would begin to read a document. Part returns the
// problems found, ordered by line.
func (v *StreamValidator) Part(text []byte, size, line int) []Problem {
	f := v.newFile(text, line)
	if f.p.pos >= size {
		return nil
	}
	f.documents(size)
	return v.add(f)
}

// Document checks a part that is one document, as Part does. ok is false, and nothing was
// checked, if it is not one.
func (v *StreamValidator) Document(text []byte, line int) (problems []Problem, ok bool) {
	f := v.newFile(text, line)
	if f.p.end() {
		return nil, false
	}
	doc, err := f.p.document()
	if err != nil {
		return nil, false
	}
	if f.p.skipSpace(); !f.p.end() {
		return nil, false
	}
	f.document(doc)
	return v.add(f), true
}

// newFile starts the check of a part.
func (v *StreamValidator) newFile(text []byte, line int) *file {
	v.last = nil
	f := newFile(text, v.Options, line, &v.tree)
	f.p.spaced = false // the white space before the document does not count
	return f
}

// add adds the result of a part, and returns its problems.
func (v *StreamValidator) add(f *file) []Problem {
	v.parts = true
	v.last, v.spaced = f.last, f.p.spaced
	v.events += f.events
	problems := f.sorted()
	v.failed = v.failed || slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
	return problems
}

// Events returns the number of events so far, valid or not.
func (v *StreamValidator) Events() int { return v.events }

// Compact reports whether the part that was checked last is an event without white space around
// its tokens.
func (v *StreamValidator) Compact() bool { return v.last != nil && !v.spaced }

// End returns what is wrong with the file as a whole: that it holds no event.
func (v *StreamValidator) End() []Problem {
	switch {
	case !v.parts:
		return []Problem{{Line: 1, Message: emptyMessage}}
	case v.events == 0 && !v.failed:
		return []Problem{{Line: 1, Message: "no event: none of the log records is that of a generation"}}
	}
	return nil
}

// documents checks the documents that begin in the first size bytes.
func (f *file) documents(size int) {
	p := f.p
	for ; p.pos < size; p.skipSpace() {
		from, line := p.pos, p.line
		v, err := p.document()
		if err != nil {
			f.syntax(err, line)
			p.nextLineWith('{', from, line)
			continue
		}
		f.document(v)
		p.skipBlank()
		switch {
		case p.end() || p.data[p.pos] == '\n':
		case p.data[p.pos] == '{':
			f.add(p.line, "another event on the same line: expected a newline between them")
		default:
			f.add(p.line, "expected a newline after the event, found %s", p.found())
			p.nextLineWith('{', p.pos, p.line)
		}
	}
}
