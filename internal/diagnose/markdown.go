package diagnose

import (
	"fmt"
	"io"
	"strings"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// WriteMarkdown writes the reports as GitHub Flavored Markdown.
func (r Reports) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	for i, report := range r {
		if i > 0 {
			b.WriteString("\n")
		}
		if err := writeMarkdown(&b, report); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeMarkdown(b *strings.Builder, r Report) error {
	d := r.Diagnosis
	verdict := render.Table{Columns: []render.Column{{Key: "event"}, {Key: "limited by"}, {Key: "evidence"}}}
	verdict.Add(lines(append([]string{r.heading()}, r.window()...)), render.String(bindingText(&d.BindingResource)), lines(evidenceTexts(d.BindingResource.Evidence)))
	if settle := d.BindingResource.WouldSettle; len(settle) > 0 {
		verdict.Columns = append(verdict.Columns, render.Column{Key: "to settle"})
		verdict.Rows[0] = append(verdict.Rows[0], lines(settle))
	}
	if doubts := r.doubts(); len(doubts) > 0 {
		verdict.Columns = append(verdict.Columns, render.Column{Key: "in doubt"})
		verdict.Rows[0] = append(verdict.Rows[0], lines(doubts))
	}
	if err := verdict.WriteMarkdown(b); err != nil {
		return err
	}
	if len(d.Findings) > 0 {
		b.WriteString("\n")
		if err := findingsTable(d.Findings).WriteMarkdown(b); err != nil {
			return err
		}
	}
	if len(d.NotEvaluated) > 0 {
		t := render.Table{Columns: []render.Column{{Key: "not evaluated"}, {Key: "reason"}}}
		for _, s := range byReason(d.NotEvaluated) {
			t.Add(render.String(strings.Join(s.codes, ", ")), render.String(s.reason))
		}
		b.WriteString("\n")
		return t.WriteMarkdown(b)
	}
	return nil
}

func findingsTable(findings []schema.Finding) *render.Table {
	t := &render.Table{Columns: []render.Column{{Key: "severity"}, {Key: "finding"}, {Key: "evidence"}, {Key: "causes"}, {Key: "fix"}}}
	for _, f := range bySeverity(findings) {
		var fixes []string
		for _, fix := range f.Fixes {
			fixes = append(fixes, fixText(fix))
		}
		for _, text := range f.WouldSettle {
			fixes = append(fixes, "to settle: "+text)
		}
		t.Add(render.String(string(f.Severity)), render.String(fmt.Sprintf("%s (%s): %s", f.Code, confidence(f.Confidence), f.Message)),
			lines(evidenceTexts(f.Evidence)), lines(f.Causes), lines(fixes))
	}
	return t
}

// lines returns a cell with a line for each text.
func lines(texts []string) render.Cell { return render.String(strings.Join(texts, "\n")) }
