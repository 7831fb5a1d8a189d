package check

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/vobs/vobs/internal/quantity"
	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// Verdict is the outcome of a limit, of an event or of all events. Events pass or fail.
type Verdict string

// The verdicts.
const (
	Passed    Verdict = "passed"
	Failed    Verdict = "failed"
	Undecided Verdict = "undecided" // the bounds of a percentile do not decide
	Missing   Verdict = "missing"   // the event does not have the figure
)

// Result is the outcome of all events.
type Result struct {
	Verdict Verdict `json:"verdict"`
	Events  []Event `json:"events"`
	// Cure is what would decide the limits that are undecided, if something would.
	Cure *Cure `json:"cure"`

	texts map[string]string // that the events share; nil once all are read
}

// Event is the outcome of one event.
type Event struct {
	File string `json:"file"`
	// Number of the event in its file, from 1.
	Number int `json:"number"`
	// RunID is nil if the event has the keys of the core only.
	RunID   *string `json:"run_id"`
	Verdict Verdict `json:"verdict"`
	Checks  []Check `json:"checks"`
	Notes   []Note  `json:"notes"`

	strict   bool // doubts make it fail
	numbered bool // the file has several events
}

// Check is the outcome of one limit on one figure.
type Check struct {
	Name string `json:"name"`
	// Path of the figure in the event, followed by the percentile if it is one.
	Path  string      `json:"path"`
	Bound Bound       `json:"bound"`
	Limit float64     `json:"limit"`
	Unit  schema.Unit `json:"unit"`
	// Value is nil if it is unknown, or known by its bounds only.
	Value *float64 `json:"value"`
	// Low and High are the bounds of a percentile; nil for other figures, and if nothing
	// bounds it.
	Low     *float64 `json:"low"`
	High    *float64 `json:"high"`
	Verdict Verdict  `json:"verdict"`
	// Fails reports that the event fails for it.
	Fails  bool   `json:"fails"`
	Reason string `json:"reason"`

	figure  string    // path of the figure or of its distribution, with its *
	buckets []float64 // the finite bounds above 0 of an undecided percentile's buckets
}

// Codes of a [Note] that are not in `validity`. Other notes have the codes of package schema.
const (
	CodePartial    schema.Code = "partial"     // the event is preliminary
	CodeNoValidity schema.Code = "no_validity" // the event has no `validity`; with StrictValidity only
)

// Note is a doubt about an event.
type Note struct {
	Code     schema.Code     `json:"code"`
	Severity schema.Severity `json:"severity"`
	Message  string          `json:"message"`
	// Fails reports that the event fails for it.
	Fails bool `json:"fails"`
}

// finish sets what depends on all events.
func (r *Result) finish() {
	r.Verdict = Passed
	for _, e := range r.Events {
		if e.Verdict == Failed {
			r.Verdict = Failed
		}
	}
	r.Cure = cure(r.Events)
}

// Headline returns the verdict and its reasons in one line.
func (r Result) Headline() string {
	counts := map[string]int{}
	checks, doubts := 0, 0
	for _, e := range r.Events {
		checks += len(e.Checks)
		for _, c := range e.Checks {
			counts[c.verdictText()]++
		}
		for _, n := range e.Notes {
			if n.Fails {
				doubts++
			}
		}
	}
	var parts []string
	for _, v := range []Verdict{Failed, Undecided, Missing} {
		for _, text := range []string{string(v), string(v) + allowed} {
			if n := counts[text]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, text))
			}
		}
	}
	if doubts > 0 {
		parts = append(parts, render.Count(doubts, "doubt")+" about validity")
	}
	text := fmt.Sprintf("%s: %s in %s", r.Verdict, render.Count(checks, "check"), render.Count(len(r.Events), "event"))
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text
}

// label names an event: by its file, by its number if the file has several, and by its run.
func (r Result) label(e Event) string {
	text := e.File
	if e.numbered {
		text += fmt.Sprintf(", event %d", e.Number)
	}
	if e.RunID != nil {
		text += ", run " + *e.RunID
	}
	return text
}

// atUpperBound reports whether a percentile is at most the limit that it is to reach.
func (c Check) atUpperBound() bool { return c.Bound == Min && c.High != nil && *c.High == c.Limit }

// texts returns what was measured and the limit, as people read them.
func (c Check) texts() (measured, limit string) {
	limit = c.Bound.words() + " "
	switch {
	case c.Verdict == Missing:
		return "-", limit + quantity.Format(c.Limit, c.Unit)
	case c.Value != nil:
		texts := quantity.FormatApart(c.Unit, *c.Value, c.Limit)
		return texts[0], limit + texts[1]
	case c.High == nil && (c.Low == nil || *c.Low == 0):
		return "unknown", limit + quantity.Format(c.Limit, c.Unit)
	case c.High == nil:
		texts := quantity.FormatApart(c.Unit, *c.Low, c.Limit)
		return "above " + texts[0], limit + texts[1]
	case c.Low == nil || *c.Low == 0:
		texts := quantity.FormatApart(c.Unit, *c.High, c.Limit)
		return "up to " + texts[0], limit + texts[1]
	}
	texts := quantity.FormatApart(c.Unit, *c.Low, *c.High, c.Limit)
	return texts[0] + " to " + texts[1], limit + texts[2]
}

// table returns the checks of an event as a table. The reasons are its last column.
func (e Event) table(withReasons bool) *render.Table {
	t := &render.Table{Columns: []render.Column{{Key: "verdict", MinWidth: 9}, {Key: "figure"}, {Key: "measured"}, {Key: "limit"}}}
	if withReasons {
		t.Columns = append(t.Columns, render.Column{Key: "reason"})
	}
	for _, c := range e.Checks {
		measured, limit := c.texts()
		row := []render.Cell{render.String(c.verdictText()), render.String(c.Name), render.String(measured), render.String(limit)}
		if withReasons {
			row = append(row, render.String(c.Reason))
		}
		t.Add(row...)
	}
	return t
}

// allowed follows a verdict that is not a pass, but that the options let pass.
const allowed = " (allowed)"

// verdictText returns the verdict, and that it is allowed if it is.
func (c Check) verdictText() string {
	if c.Verdict != Passed && !c.Fails {
		return string(c.Verdict) + allowed
	}
	return string(c.Verdict)
}

// WriteText writes the result for a terminal.
func (r Result) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	b.WriteString(r.Headline() + "\n")
	for _, e := range r.Events {
		fmt.Fprintf(b, "\n%s: %s\n", render.Printable(r.label(e)), e.Verdict)
		if len(e.Checks) > 0 {
			if err := e.table(false).WriteText(b, render.TextOptions{Indent: 2}); err != nil {
				return err
			}
		}
		for _, line := range e.reasons() {
			fmt.Fprintf(b, "  %s\n", render.Printable(line))
		}
		for _, n := range e.Notes {
			fmt.Fprintf(b, "  %s\n", render.Printable(fmt.Sprintf("%s %s: %s", n.Severity, n.Code, n.Message)))
		}
	}
	if r.Cure != nil {
		b.WriteString("\n" + r.Cure.text() + "\n")
	}
	return b.Flush()
}

// reasons returns the reasons of the checks, each once, behind the names of the figures.
func (e Event) reasons() []string {
	var reasons []string
	names := map[string][]string{}
	for _, c := range e.Checks {
		if c.Reason == "" {
			continue
		}
		if names[c.Reason] == nil {
			reasons = append(reasons, c.Reason)
		}
		names[c.Reason] = append(names[c.Reason], c.Name)
	}
	for i, reason := range reasons {
		reasons[i] = strings.Join(names[reason], ", ") + ": " + reason
	}
	return reasons
}

// WriteMarkdown writes the result as GitHub Flavored Markdown.
func (r Result) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n", r.Headline())
	for _, e := range r.Events {
		fmt.Fprintf(&b, "\n%s: %s\n", code(r.label(e)), e.Verdict)
		if len(e.Checks) > 0 {
			b.WriteString("\n")
			if err := e.table(true).WriteMarkdown(&b); err != nil {
				return err
			}
		}
		if len(e.Notes) > 0 {
			t := &render.Table{Columns: []render.Column{{Key: "validity"}, {Key: "code"}, {Key: "message"}}}
			for _, n := range e.Notes {
				t.Add(render.String(string(n.Severity)), render.String(string(n.Code)), render.String(n.Message))
			}
			b.WriteString("\n")
			if err := t.WriteMarkdown(&b); err != nil {
				return err
			}
		}
	}
	if c := r.Cure; c != nil {
		fmt.Fprintf(&b, "\nTo decide the limits that are undecided, give vLLM (%s or newer) buckets that end at them:\n\n```\n%s '%s'\n```\n", c.Since, c.Option, c.Value)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// code returns a text as a code span of Markdown, which ends at as many backquotes as it
// begins with.
func code(text string) string {
	text = render.Printable(strings.ReplaceAll(text, "\n", " "))
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return fence + text + fence
}

// WriteJSON writes the result as one indented JSON document.
func (r Result) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
