package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/vobs/vobs/internal/render"
)

// Format is a form in which a [Report] is written.
type Format string

// The formats.
const (
	Text Format = "text"
	JSON Format = "json"
)

// ParseFormat returns the format with the given name.
func ParseFormat(name string) (Format, error) {
	return render.FormatNamed(name, Text, JSON)
}

// TextOptions say how a report is laid out as text.
type TextOptions struct {
	// Width is the width of the terminal in characters; 0 if it is none.
	Width int
	// Color colors the statuses.
	Color bool
}

// Write writes the report in a format; text is for [Text] alone.
func (r *Report) Write(w io.Writer, f Format, text TextOptions) error {
	if f == JSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.writeText(w, text)
}

// writeText writes a line for each check, below it what to do, and a line that sums up.
func (r *Report) writeText(w io.Writer, o TextOptions) error {
	table := render.Table{Columns: []render.Column{{Key: "status", MinWidth: len(Problem)}, {Key: "name"}, {Key: "message"}}}
	count := map[Status]int{}
	for _, c := range r.Checks {
		count[c.Status]++
		table.Add(render.String(string(c.Status)), render.String(c.Name), render.String(c.Message))
		if c.Fix != "" {
			table.Add(render.String(""), render.String(""), render.String("→ "+c.Fix))
		}
	}
	var b strings.Builder
	if err := table.WriteText(&b, render.TextOptions{NoTitles: true, Width: o.Width}); err != nil {
		return err
	}
	out := b.String()
	if o.Color {
		out = color(out)
	}
	sum := fmt.Sprintf("%s, %s", render.Count(count[Problem], "problem"), render.Count(count[Note], "note"))
	_, err := fmt.Fprintf(w, "%s\n%s\n", out, sum)
	return err
}

// color colors the statuses at the beginnings of lines: green, yellow, and red in bold.
func color(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		for status, code := range map[Status]string{OK: "32", Note: "33", Problem: "1;31"} {
			if rest, found := strings.CutPrefix(line, string(status)+" "); found {
				line = "\x1b[" + code + "m" + string(status) + "\x1b[0m " + rest
				break
			}
		}
		b.WriteString(line)
	}
	return b.String()
}
