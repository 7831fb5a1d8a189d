package diagnose

import (
	"fmt"
	"io"
	"strings"

	"github.com/vobs/vobs/internal/render"
)

// WriteText writes the reports for a terminal of a width in characters: the verdict first, then
// the findings, then the rules that could not be evaluated. A width of 0 does not wrap lines.
func (r Reports) WriteText(w io.Writer, width int) error {
	var b strings.Builder
	for i, report := range r {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(report.heading() + "\n")
		writeText(&b, report, width)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeText(b *strings.Builder, r Report, width int) {
	d := r.Diagnosis
	verdict := rows{width: width, indent: 2}
	verdict.add("limited by", bindingText(&d.BindingResource))
	verdict.add("evidence", evidenceTexts(d.BindingResource.Evidence)...)
	verdict.add("to settle", d.BindingResource.WouldSettle...)
	verdict.add("over", r.window()...)
	verdict.add("in doubt", r.doubts()...)
	verdict.write(b)
	for _, f := range bySeverity(d.Findings) {
		b.WriteString("\n")
		head := rows{width: width, indent: 2}
		head.add(string(f.Severity), fmt.Sprintf("%s (%s): %s", f.Code, confidence(f.Confidence), f.Message))
		head.write(b)
		about := rows{width: width, indent: 4}
		about.add("evidence", evidenceTexts(f.Evidence)...)
		about.add("causes", f.Causes...)
		var fixes []string
		for _, fix := range f.Fixes {
			fixes = append(fixes, fixText(fix))
		}
		about.add("fix", fixes...)
		about.add("to settle", f.WouldSettle...)
		about.write(b)
	}
	if len(d.NotEvaluated) > 0 {
		b.WriteString("\n  not evaluated\n")
		list := render.Table{Columns: []render.Column{{Key: "text"}}}
		for _, s := range byReason(d.NotEvaluated) {
			list.Add(render.String(strings.Join(s.codes, ", ") + ": " + s.reason))
		}
		_ = list.WriteText(b, render.TextOptions{Indent: 4, NoTitles: true, Width: width}) // a strings.Builder has no errors
	}
}

// rows are lines that begin with a label.
type rows struct {
	table         render.Table
	width, indent int
}

// add appends a row for each text; the first has the label.
func (r *rows) add(label string, texts ...string) {
	for _, text := range texts {
		r.table.Add(render.String(label), render.String(text))
		label = ""
	}
}

func (r *rows) write(b *strings.Builder) {
	r.table.Columns = []render.Column{{Key: "label", MinWidth: 10}, {Key: "text"}}
	_ = r.table.WriteText(b, render.TextOptions{Indent: r.indent, NoTitles: true, Width: r.width}) // a strings.Builder has no errors
}
