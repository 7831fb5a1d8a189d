package check

import (
	"fmt"
	"io"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// Format is a form in which a [Result] is written.
type Format string

// The formats.
const (
	Text     Format = "text"
	JSON     Format = "json"
	Markdown Format = "markdown"
	JUnit    Format = "junit"
)

// Formats are all formats, the default first.
func Formats() []Format { return []Format{Text, JSON, Markdown, JUnit} }

// ParseFormat reads the name of a format.
func ParseFormat(name string) (Format, error) {
	return render.FormatNamed(name, Formats()...)
}

// Write writes the result in a format.
func (r Result) Write(w io.Writer, f Format) error {
	switch f {
	case Text:
		return r.WriteText(w)
	case JSON:
		return r.WriteJSON(w)
	case Markdown:
		return r.WriteMarkdown(w)
	case JUnit:
		return r.WriteJUnit(w)
	}
	return fmt.Errorf("unknown format %q", string(f))
}

// WriteShortNames writes the table of the short names that limits can use.
func WriteShortNames(w io.Writer, f Format) error {
	formats := map[Format]render.Format{Text: render.Text, JSON: render.JSON, Markdown: render.Markdown}
	format, ok := formats[f]
	if !ok {
		return fmt.Errorf("the list of names has no format %s: use text, json or markdown", f)
	}
	t := render.Table{Columns: []render.Column{{Key: "name"}, {Key: "unit"}, {Key: "better"}, {Key: "path"}}}
	for _, n := range schema.ShortNames() {
		field := n.Field()
		path := n.Path
		name := n.Name
		if schema.IsDistribution(path) {
			name += ".p95"
			path += ".p95"
		}
		t.Add(render.String(name), render.String(string(field.Unit)), render.String(string(field.Better)), render.String(path))
	}
	return t.Write(w, format, render.TextOptions{})
}
