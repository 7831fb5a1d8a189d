package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Options controls how documents are checked.
type Options struct {
	// Strict turns unknown keys of a full event from warnings into errors.
	Strict bool
}

// Problem is one finding in a checked file.
type Problem struct {
	// Line of the offending value, or of the object that lacks a key; the first line is 1.
	Line int
	// Path of the value, such as gpus.0.uuid; "" for the whole document.
	Path string
	// What is wrong, and what was expected.
	Message string
	// Warning is true if the document is a valid event nevertheless.
	Warning bool
}

// String returns the problem as one line: the line number, the path if there is
// one, and the message.
func (p Problem) String() string {
	s := strconv.Itoa(p.Line) + ": "
	if p.Warning {
		s += "warning: "
	}
	if p.Path != "" {
		s += p.Path + ": "
	}
	return s + p.Message
}

// Validate checks one JSON document and returns all problems, ordered by line. It
// returns none if the document is a valid and plausible event. The document may be
// a full event, recognised by its schema_version; the core alone, which is checked
// by NeMo Safe Synthesizer's rules (no key is required, no other key is allowed); or
// the core in a log record.
//
// Optional keys, which are newer than the first events of the schema_version, may be
// absent from a full event: they count as null, and need no reason.
func Validate(doc []byte, opt Options) []Problem {
	f := newFile(doc, opt, 1, new(arena))
	if f.p.end() {
		return f.empty()
	}
	v, err := f.p.document()
	if err != nil {
		f.syntax(err, 0)
		return f.sorted()
	}
	f.document(v)
	if f.p.skipSpace(); !f.p.end() {
		f.add(f.p.line, "expected nothing after the event, found %s", f.p.found())
	}
	return f.sorted()
}

// UnexplainedNulls returns the paths of nulls in e that no entry of `unavailable`
// explains, either for themselves or for a group above them. Nulls that mean "does
// not apply" are left out. A finished event has none.
func UnexplainedNulls(e *GenerationObservability) []string {
	b, err := e.Encode(Full)
	if err != nil {
		return []string{err.Error()}
	}
	root, err := parsed()
	if err != nil {
		return []string{err.Error()}
	}
	v, syntax := newParser(b, new(arena)).document()
	if syntax != nil {
		return []string{syntax.message}
	}
	c := checker{}
	c.check(root, v)
	// A null that the schema forbids cannot be explained, so it is listed too.
	return paths(unexplained(v, append(c.nulls, c.forbidden...)))
}

// file is the state of checking one file.
type file struct {
	p        *parser
	opt      Options
	events   int
	problems []Problem
	last     *value // the document, if the file has one and it is not a log record
}

// newFile starts the check of data, which begins on the given line.
func newFile(data []byte, opt Options, line int, t *arena) *file {
	f := &file{p: newParser(data, t), opt: opt}
	f.p.line = line
	f.p.skipSpace()
	return f
}

func (f *file) add(line int, format string, args ...any) {
	f.problems = append(f.problems, Problem{Line: line, Message: fmt.Sprintf(format, args...)})
}

func (f *file) syntax(err *syntaxError, began int) {
	if began > 0 && began != err.line {
		f.add(err.line, "%s (in the document that begins on line %d)", err.message, began)
		return
	}
	f.add(err.line, "%s", err.message)
}

const emptyMessage = "empty: expected an event, a JSON object"

func (f *file) empty() []Problem { return []Problem{{Line: 1, Message: emptyMessage}} }

func (f *file) sorted() []Problem {
	all := append(slices.Clone(f.p.problems), f.problems...)
	sortByLine(all)
	return all
}

func sortByLine(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
}

// document checks one parsed document as the kind of document that it looks like.
func (f *file) document(v *value) {
	root, err := parsed()
	if err != nil {
		f.add(v.line, "%v", err)
		return
	}
	c := &checker{strict: f.opt.Strict}
	f.last = nil
	switch {
	case v.kind != kindObject:
		f.events++
		c.add(v.line, "expected an event, a JSON object, found %s", v.describe())
	case v.get("schema_version") != nil || v.get("run") != nil:
		f.last = v
		f.events++
		c.full(root, v)
	case v.get("message") != nil || v.get("ctx") != nil:
		if c.record(root, v) {
			f.events++
		}
	default:
		f.last = v
		f.events++
		c.core(root, v)
	}
	f.problems = append(f.problems, c.problems...)
}

// full checks a full event.
func (c *checker) full(root *node, v *value) {
	version := v.get("schema_version")
	if x, ok := version.float(); ok && x > Version && isInteger(version.text) {
		c.path = []string{"schema_version"}
		c.add(version.line, "written by a newer vobs, which is needed to check it: expected schema_version %d, found %s", Version, version.text)
		return
	}
	c.at = &registry().root
	c.check(root, v)
	for _, n := range unexplained(v, c.nulls) {
		c.problems = append(c.problems, Problem{
			Line: n.line, Path: strings.Join(n.path, "."),
			Message: "null without a reason: expected an entry in unavailable for it or for a group above it",
		})
	}
	c.notes(root, v)
	c.crossChecks(v)
}

// core checks the core alone as NeMo Safe Synthesizer's model does: every key may be
// absent, no key may be added, and engine_runtime_config may hold anything. What
// vobs would not write there is a warning.
func (c *checker) core(root *node, v *value) {
	def := *root.Defs["Core"]
	def.Required = nil
	c.at = &registry().root
	c.check(&def, v)
	prefix := strings.Join(append(slices.Clone(c.path), "engine_runtime_config."), ".")
	for i, p := range c.problems {
		if strings.HasPrefix(p.Path, prefix) && !c.strict {
			c.problems[i].Warning = true
		}
	}
}

// record checks the core in a log record of NeMo Safe Synthesizer, which has it in
// ctx or, if the logger was made by structlog, in extra.ctx. It reports whether the
// record is that of a generation.
func (c *checker) record(root *node, v *value) bool {
	message := v.get("message")
	at := []string{"ctx"}
	ctx := v.get("ctx")
	if ctx == nil {
		at = []string{"extra", "ctx"}
		ctx = v.get("extra").get("ctx")
	}
	switch {
	case message == nil:
		c.path = []string{"message"}
		c.add(v.line, "the key is missing: a log record has a message and a ctx")
	case message.kind != kindString:
		c.path = []string{"message"}
		c.add(message.line, "expected string, found %s", message.describe())
	case !slices.Contains(recordMessages[:], message.text):
		c.path = []string{"message"}
		c.warn(message.line, "not the log record of a generation, skipped: %q", clip(message.text))
		return false
	}
	c.path = at
	switch {
	case ctx == nil:
		c.path = []string{"ctx"}
		c.add(v.line, "the key is missing: a log record has the event there or in extra.ctx")
	case ctx.kind != kindObject:
		c.add(ctx.line, "expected object, found %s", ctx.describe())
	default:
		c.core(root, ctx)
	}
	return true
}

// recordMessages are the messages of NeMo Safe Synthesizer's log record in its
// several versions, the newest first (vllm_backend.py,
// `_emit_generation_observability`).
var recordMessages = [...]string{recordMessage, "vllm.generation.complete", "vllm.cell.complete"}
