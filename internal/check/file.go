package check

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vobs/vobs/internal/slo"
	"github.com/vobs/vobs/internal/spelling"
)

//go:embed limits.schema.json
var fileSchema []byte

// FileSchema returns the JSON Schema of a limits file (draft 2020-12).
func FileSchema() []byte { return bytes.Clone(fileSchema) }

// File is the content of a limits file.
type File struct {
	SLO    []slo.Objective
	Limits []Limit

	AllowUndecided, AllowMissing, StrictValidity bool
}

// fileKeys are the keys of a limits file.
var fileKeys = []string{"$schema", "slo", "max", "min", "allow_undecided", "allow_missing", "strict_validity"}

// FileError is a fault in a limits file.
type FileError struct {
	Line int // from 1
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

func (e *FileError) Unwrap() error { return e.Err }

// ParseFile reads a limits file, a JSON object: see limits.schema.json. An error is a
// [FileError].
func ParseFile(text []byte) (File, error) {
	p := &fileParser{text: text, dec: json.NewDecoder(bytes.NewReader(text))}
	p.dec.UseNumber()
	var any json.RawMessage
	if err := json.Unmarshal(text, &any); err != nil {
		at := len(bytes.TrimRight(text, " \t\r\n"))
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) && int(syntax.Offset) < at {
			at = int(syntax.Offset) - 1
		}
		return File{}, &FileError{lineAt(text, at), fmt.Errorf("not JSON: %w", err)}
	}
	var f File
	err := p.object("a limits file", func(key string) error { return p.member(&f, key) })
	if err != nil {
		var located *FileError
		if !errors.As(err, &located) {
			err = p.fault(err)
		}
		return File{}, err
	}
	return f, nil
}

// lineAt returns the line of the byte at an offset.
func lineAt(text []byte, offset int) int {
	return 1 + bytes.Count(text[:max(0, min(offset, len(text)))], []byte("\n"))
}

// fileParser reads a limits file that is valid JSON, token by token, so that faults have a
// line.
type fileParser struct {
	text []byte
	dec  *json.Decoder
}

// fault locates an error at the token that was read last.
func (p *fileParser) fault(err error) error {
	return &FileError{lineAt(p.text, int(p.dec.InputOffset())-1), err}
}

// next returns the next token. The text is valid JSON, so there is one.
func (p *fileParser) next() (json.Token, error) {
	t, err := p.dec.Token()
	if err != nil {
		return nil, p.fault(err)
	}
	return t, nil
}

// object reads an object and calls member for each key, which reads the value.
func (p *fileParser) object(what string, member func(key string) error) error {
	t, err := p.next()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return p.fault(fmt.Errorf("expected an object for %s, found %s", what, found(t)))
	}
	seen := map[string]bool{}
	for p.dec.More() {
		t, err := p.next()
		if err != nil {
			return err
		}
		key := t.(string) // JSON has no other keys
		if seen[key] {
			return p.fault(fmt.Errorf("key %q occurs twice", key))
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
	_, err = p.next()
	return err
}

// member reads the value of a key of the file.
func (p *fileParser) member(f *File, key string) error {
	switch key {
	case "$schema":
		_, err := p.string(key)
		return err
	case "slo":
		text, err := p.string(key)
		if err != nil {
			return err
		}
		if f.SLO, err = slo.Parse(text); err != nil {
			return p.fault(err)
		}
		return nil
	case "max", "min":
		return p.object(fmt.Sprintf("%q", key), func(name string) error { return p.limit(f, Bound(key), name) })
	case "allow_undecided":
		return p.bool(key, &f.AllowUndecided)
	case "allow_missing":
		return p.bool(key, &f.AllowMissing)
	case "strict_validity":
		return p.bool(key, &f.StrictValidity)
	}
	hint := "use " + strings.Join(fileKeys[1:], ", ")
	if near := spelling.Nearest(key, fileKeys, 1); len(near) > 0 {
		hint = "did you mean " + near[0] + "?"
	}
	return p.fault(fmt.Errorf("unknown key %q: %s", key, hint))
}

// limit reads the value of one limit.
func (p *fileParser) limit(f *File, bound Bound, name string) error {
	t, err := p.next()
	if err != nil {
		return err
	}
	value, isString := t.(string)
	if number, isNumber := t.(json.Number); isNumber {
		value = number.String()
	} else if !isString {
		return p.fault(fmt.Errorf("%s: expected a number, or a text like \"70GiB\", found %s", name, found(t)))
	}
	l, err := newLimit(bound, name, value)
	if err != nil {
		return p.fault(fmt.Errorf("%s: %w", name, err))
	}
	for _, other := range f.Limits {
		if other.same(l) {
			return p.fault(fmt.Errorf("%s: %s is the same figure", name, other.name))
		}
	}
	f.Limits = append(f.Limits, l)
	return nil
}

func (p *fileParser) string(key string) (string, error) {
	t, err := p.next()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", p.fault(fmt.Errorf("expected a text for %q, found %s", key, found(t)))
	}
	return s, nil
}

func (p *fileParser) bool(key string, into *bool) error {
	t, err := p.next()
	if err != nil {
		return err
	}
	b, ok := t.(bool)
	if !ok {
		return p.fault(fmt.Errorf("expected true or false for %q, found %s", key, found(t)))
	}
	*into = b
	return nil
}

// found describes a token that was not expected.
func found(t json.Token) string {
	switch t := t.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("%q", t)
	case json.Delim:
		if t == '[' {
			return "a list"
		}
		return "an object"
	}
	return fmt.Sprint(t)
}
