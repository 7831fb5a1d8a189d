// Package events opens and reads files of events.
//
// A file holds one JSON document, indented or not, or several, each beginning on a
// line of its own (JSON lines). A document is a full event, the eight keys of the
// core alone, or a log record that carries the core; log records of other kinds are
// skipped. Files are read as a stream: memory grows with the largest document, not
// with the file.
package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/vobs/vobs/schema"
)

// MaxFile is the most bytes that a command should read of one file whose events it
// keeps in memory; see [Limit].
const MaxFile = 256 << 20

// Open opens a file of events by its name on the command line; - is stdin.
func Open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	if name == "" {
		return nil, errors.New("empty file name")
	}
	return os.Open(name)
}

// Limit returns a reader of r that fails if r holds more than n bytes.
func Limit(r io.Reader, n int64) io.Reader { return &limited{r: r, limit: n, left: n} }

type limited struct {
	r           io.Reader
	limit, left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		return int(l.left), fmt.Errorf("larger than %d MiB", l.limit>>20)
	}
	l.left -= int64(n)
	return n, err
}

// Validate checks a file as [schema.ValidateStream] does, with the same result, and
// passes each problem to report, ordered by line; that the file holds no event comes
// last. It returns the number of events found; err is an error of r.
func Validate(r io.Reader, opt schema.Options, report func(schema.Problem)) (int, error) {
	v := schema.StreamValidator{Options: opt}
	c := newChecker(r, &v)
	for {
		_, problems, err := c.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return v.Events(), err
		}
		for _, p := range problems {
			report(p)
		}
	}
	for _, p := range v.End() {
		report(p)
	}
	return v.Events(), nil
}

// A checker cuts a file into parts and checks each of them.
type checker struct {
	*splitter
	v        *schema.StreamValidator
	problems []schema.Problem
	checked  bool // problems are those of the next part
}

func newChecker(r io.Reader, v *schema.StreamValidator) *checker {
	c := &checker{splitter: &splitter{r: r, chunk: defaultChunk, line: 1}, v: v}
	c.isDocument = func(text []byte, line int) bool {
		c.problems, c.checked = v.Document(text, line)
		return c.checked
	}
	return c
}

// next returns the next part and its problems, ordered by line, or an error of the reader.
func (c *checker) next() (part, []schema.Problem, error) {
	c.checked = false
	part, err := c.splitter.next()
	if err == nil && !c.checked {
		c.problems = c.v.Part(part.text, part.size, part.line)
	}
	return part, c.problems, err
}

// Event is an event read from a file.
type Event struct {
	*schema.GenerationObservability
	// Line is the document as compact JSON and a newline.
	Line []byte
	// CoreOnly reports that only the eight keys of the core were given.
	CoreOnly bool
	// Settings is engine_runtime_config as the document has it, if vobs would not
	// have written it so: other programs put anything in there. It is nil if
	// Core.EngineRuntimeConfig holds all of it, and "{}" if the key is missing.
	Settings json.RawMessage
}

// InvalidError is the error of [Read] for a file that is not valid.
type InvalidError struct{ Problem schema.Problem }

func (e *InvalidError) Error() string { return "line " + e.Problem.String() }

// Read reads the events of a file. It stops at the first error: one of r, or an
// [InvalidError] at a document that is not a valid event, and at the end of a file
// that holds no event.
func Read(r io.Reader) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		// The validator comes first: encoding/json alone would accept a load average
		// of two numbers, and add a third.
		var v schema.StreamValidator
		firstError := func(problems []schema.Problem) error {
			for _, p := range problems {
				if !p.Warning {
					return &InvalidError{p}
				}
			}
			return nil
		}
		c := newChecker(r, &v)
		for {
			before := v.Events()
			part, problems, err := c.next()
			if err == io.EOF {
				break
			}
			if err == nil {
				err = firstError(problems)
			}
			if err == nil && v.Events() == before {
				continue // a log record of another kind
			}
			var e *Event
			if err == nil {
				if e, err = decode(&v, part); err != nil {
					err = fmt.Errorf("line %d: %w", part.line, err)
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := firstError(v.End()); err != nil {
			yield(nil, err)
		}
	}
}

// decode decodes the part that v found to be an event.
func decode(v *schema.StreamValidator, p part) (*Event, error) {
	e, coreOnly, ok := v.Event()
	if !ok || !v.Compact() {
		return parse(p.text[:p.size])
	}
	line := p.text
	if len(line) != p.size+1 || line[p.size] != '\n' {
		line = append(bytes.Clone(line[:p.size]), '\n')
	}
	return &Event{GenerationObservability: e, Line: line, CoreOnly: coreOnly}, nil
}

// parse decodes a document with encoding/json.
func parse(doc []byte) (*Event, error) {
	var line bytes.Buffer
	if err := json.Compact(&line, doc); err != nil {
		return nil, fmt.Errorf("not an event: %w", err)
	}
	line.WriteByte('\n')
	out := &Event{Line: line.Bytes()}
	doc, coreOnly, err := eventIn(line.Bytes())
	if err != nil {
		return nil, err
	}
	out.CoreOnly = coreOnly
	// The field here hides that of the core.
	var event struct {
		schema.GenerationObservability
		EngineRuntimeConfig json.RawMessage `json:"engine_runtime_config"`
	}
	if err := json.Unmarshal(doc, &event); err != nil {
		return nil, fmt.Errorf("not an event: %w", err)
	}
	out.GenerationObservability = &event.GenerationObservability
	out.Settings = event.EngineRuntimeConfig
	if out.Settings == nil {
		out.Settings = json.RawMessage("{}")
		return out, nil
	}
	strict := json.NewDecoder(bytes.NewReader(out.Settings))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&event.Core.EngineRuntimeConfig); err == nil {
		out.Settings = nil
	} else {
		event.Core.EngineRuntimeConfig = schema.EngineRuntimeConfig{} // Decode may have filled a part of it
	}
	return out, nil
}

// eventIn returns the event in a document, which may be a log record, and reports
// whether it is the core alone.
func eventIn(doc []byte) (event []byte, coreOnly bool, err error) {
	var keys struct {
		SchemaVersion json.RawMessage `json:"schema_version"`
		Run           json.RawMessage `json:"run"`
		Message       json.RawMessage `json:"message"`
		Ctx           json.RawMessage `json:"ctx"`
		Extra         json.RawMessage `json:"extra"`
	}
	if err := json.Unmarshal(doc, &keys); err != nil {
		return nil, false, fmt.Errorf("not an event: %w", err)
	}
	switch {
	case keys.SchemaVersion != nil || keys.Run != nil:
		return doc, false, nil
	case keys.Message == nil && keys.Ctx == nil:
		return doc, true, nil
	case keys.Ctx != nil:
		return keys.Ctx, true, nil
	}
	var extra struct {
		Ctx json.RawMessage `json:"ctx"`
	}
	if err := json.Unmarshal(keys.Extra, &extra); err != nil {
		return nil, false, fmt.Errorf("not a log record of an event: %w", err)
	}
	if extra.Ctx == nil {
		return nil, false, errors.New("not a log record of an event: it has no ctx")
	}
	return extra.Ctx, true, nil
}

// Files returns the files of events that a name on the command line stands for: the name
// itself, or, if it is a folder, the regular files in it (or links to them) that end in .json or
// .jsonl, by name. Folders in it are not read, and neither are pipes, sockets and devices.
func Files(name string) ([]string, error) {
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		return []string{name}, nil // Open reports what is wrong with it
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".json" && ext != ".jsonl" {
			continue
		}
		file := filepath.Join(name, e.Name())
		if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
			continue
		}
		files = append(files, file) // Open reports a link to nothing
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("the folder %s has no files that end in .json or .jsonl", name)
	}
	return files, nil
}
