package trace

import (
	"io"

	"github.com/vobs/vobs/internal/render"
)

// Format is a form in which results are written.
type Format string

// The formats.
const (
	Text     Format = "text"
	JSON     Format = "json"
	Markdown Format = "markdown"
)

// ParseFormat returns the format with the given name.
func ParseFormat(name string) (Format, error) {
	return render.FormatNamed(name, Text, JSON, Markdown)
}

// Write writes the result in a format.
func (r *Result) Write(w io.Writer, f Format) error {
	if f == JSON {
		return writeJSON(w, r)
	}
	return writeSections(w, f, r.sections())
}

// Write writes the comparison in a format.
func (c *Comparison) Write(w io.Writer, f Format) error {
	if f == JSON {
		return writeJSON(w, c)
	}
	return writeSections(w, f, c.sections())
}
