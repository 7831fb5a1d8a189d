// Package render turns results into what people and programs read: one [Table] as
// aligned text, Markdown, CSV or JSON, and numbers with their units.
//
// It is pure: no files, no clock, no network.
package render

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Format is a form that a [Table] can be written in.
type Format string

// The formats.
const (
	Text     Format = "text"
	Markdown Format = "markdown"
	CSV      Format = "csv"
	JSON     Format = "json"
)

// Formats are all formats, the default first.
var Formats = []Format{Text, Markdown, CSV, JSON}

// ParseFormat reads the name of a format.
func ParseFormat(name string) (Format, error) {
	return FormatNamed(name, Formats...)
}

// FormatNamed returns the one of several formats that has a name.
func FormatNamed[F ~string](name string, formats ...F) (F, error) {
	var use strings.Builder
	for i, f := range formats {
		switch {
		case name == string(f):
			return f, nil
		case i > 0 && i == len(formats)-1:
			use.WriteString(" or ")
		case i > 0:
			use.WriteString(", ")
		}
		use.WriteString(string(f))
	}
	return "", fmt.Errorf("format %q: use %s", name, &use)
}

// Table is a result in rows and columns.
type Table struct {
	Columns []Column
	// Rows have one cell for each column.
	Rows [][]Cell
}

// Column describes the cells of one column.
type Column struct {
	// Key names the column for programs: in CSV and JSON.
	Key string
	// Title names it for people: in text and Markdown. Key if empty.
	Title string
	// Right aligns the cells to the right, as numbers are.
	Right bool
	// MinWidth is the least width in text, in characters.
	MinWidth int
}

func (c Column) title() string {
	if c.Title != "" {
		return c.Title
	}
	return c.Key
}

// Cell is one value.
type Cell struct {
	// Text is the value for people: in text and Markdown.
	Text string
	// Value is the value for programs: in CSV and JSON. It is nil, a string, a bool,
	// an integer or a float; nil is null, or an empty field.
	Value any
}

// String returns the cell of a string.
func String(s string) Cell { return Cell{s, s} }

// Add appends a row.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// Write writes the table in a format; text is for [Text] alone.
func (t *Table) Write(w io.Writer, f Format, text TextOptions) error {
	switch f {
	case Text:
		return t.WriteText(w, text)
	case Markdown:
		return t.WriteMarkdown(w)
	case CSV:
		return t.WriteCSV(w)
	case JSON:
		return t.WriteJSON(w)
	}
	return fmt.Errorf("unknown format %q", string(f))
}

// WriteMarkdown writes a table of GitHub Flavored Markdown
// (https://github.github.com/gfm/#tables-extension-).
func (t *Table) WriteMarkdown(w io.Writer) error {
	if len(t.Columns) == 0 {
		return nil
	}
	var b strings.Builder
	line := func(cells func(i int) string) {
		for i := range t.Columns {
			b.WriteString("| " + cells(i) + " ")
		}
		b.WriteString("|\n")
	}
	line(func(i int) string { return escapeMarkdown(t.Columns[i].title()) })
	line(func(i int) string {
		if t.Columns[i].Right {
			return "---:"
		}
		return "---"
	})
	for _, row := range t.Rows {
		line(func(i int) string { return escapeMarkdown(row[i].Text) })
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// escapeMarkdown keeps a text from being markup. An underscore inside a word is
// none, and names like kv_cache_usage stay readable. A newline becomes a line break;
// other control characters are escaped as by [Printable].
func escapeMarkdown(s string) string {
	s = printableLines(s)
	var b strings.Builder
	previous := ' '
	for i, r := range s {
		switch {
		case r == '\n':
			b.WriteString("<br>")
			previous = r
			continue
		case r == '_':
			next, _ := utf8.DecodeRuneInString(s[i+1:])
			if !isWord(previous) || !isWord(next) {
				b.WriteByte('\\')
			}
		case strings.ContainsRune("\\`*[]<&~|", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		previous = r
	}
	return b.String()
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

// WriteCSV writes comma-separated values (RFC 4180, with a newline alone at the end
// of a line), the columns' keys first.
func (t *Table) WriteCSV(w io.Writer) error {
	if len(t.Columns) == 0 {
		return nil
	}
	out := csv.NewWriter(w)
	fields := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		fields[i] = c.Key
	}
	if err := out.Write(fields); err != nil {
		return err
	}
	for _, row := range t.Rows {
		for i := range fields {
			fields[i] = csvField(row[i].Value)
		}
		if err := out.Write(fields); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func csvField(v any) string {
	switch x := finite(v).(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	default:
		return fmt.Sprint(x)
	}
}

// WriteJSON writes an array with an object for each row, its keys in the order of
// the columns, one row on a line.
func (t *Table) WriteJSON(w io.Writer) error {
	b := []byte{'['}
	for n, row := range t.Rows {
		if n > 0 {
			b = append(b, ",\n"...)
		}
		b = append(b, '{')
		for i, c := range t.Columns {
			if i > 0 {
				b = append(b, ',')
			}
			key, err := encodeJSON(c.Key)
			if err != nil {
				return err
			}
			value, err := encodeJSON(finite(row[i].Value))
			if err != nil {
				return fmt.Errorf("column %s: %w", c.Key, err)
			}
			b = append(append(append(b, key...), ':'), value...)
		}
		b = append(b, '}')
	}
	_, err := w.Write(append(b, "]\n"...))
	return err
}

func encodeJSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// finite replaces NaN and the infinities, which JSON does not have, by nil.
func finite(v any) any {
	if x, ok := v.(float64); ok && (math.IsNaN(x) || math.IsInf(x, 0)) {
		return nil
	}
	return v
}
