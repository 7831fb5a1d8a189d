package diagnose

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// Format is a form in which [Reports] are written.
type Format string

// The formats.
const (
	Text     Format = "text"
	JSON     Format = "json"
	Markdown Format = "markdown"
)

// Formats are all formats, the default first.
func Formats() []Format { return []Format{Text, JSON, Markdown} }

// ParseFormat returns the format with the given name.
func ParseFormat(name string) (Format, error) {
	return render.FormatNamed(name, Formats()...)
}

// Report is the diagnosis of one event.
type Report struct {
	// Source is where the event comes from: the name of its file, or the address that was read.
	Source string `json:"source"`
	RunID  string `json:"run_id"`
	// StartedAt and EndedAt are the event's; EndedAt is nil if the event is partial.
	StartedAt string  `json:"started_at"`
	EndedAt   *string `json:"ended_at"`
	// DurationSeconds is the event's, in seconds.
	DurationSeconds schema.Float `json:"duration_seconds"`
	// Preset names the rules.
	Preset Preset `json:"preset"`
	// Validity has the event's notes of severity warning and error: what may be off in the
	// figures that the diagnosis rests on.
	Validity []schema.Validity `json:"validity"`
	*schema.Diagnosis
}

// NewReport returns the report on an event from a source.
func NewReport(source string, e *schema.GenerationObservability, d *schema.Diagnosis, preset Preset) Report {
	r := Report{
		Source: source, RunID: e.Run.ID, StartedAt: e.Run.StartedAt, EndedAt: e.Run.EndedAt, DurationSeconds: e.Run.DurationSeconds,
		Preset: preset, Validity: []schema.Validity{}, Diagnosis: d,
	}
	for _, v := range e.Validity {
		if v.Severity != schema.Info {
			r.Validity = append(r.Validity, v)
		}
	}
	return r
}

// doubts returns the notes of the event for people.
func (r Report) doubts() (texts []string) {
	for _, v := range r.Validity {
		texts = append(texts, render.Printable(v.Message))
	}
	return texts
}

// heading names the event.
func (r Report) heading() string {
	text := render.Printable(r.Source)
	if r.RunID != "" {
		text += ", run " + render.Printable(r.RunID)
	}
	return text
}

// window returns the time that the event covers, or nothing if it is unknown.
func (r Report) window() []string {
	if r.DurationSeconds <= 0 || r.StartedAt == "" {
		return nil
	}
	return []string{fmt.Sprintf("%.3g s from %s", float64(r.DurationSeconds), render.Printable(r.StartedAt))}
}

// Reports are the diagnoses of one event or several.
type Reports []Report

// Critical reports whether one of the events has a critical finding.
func (r Reports) Critical() bool {
	for i := range r {
		for _, f := range r[i].Findings {
			if f.Severity == schema.FindingCritical {
				return true
			}
		}
	}
	return false
}

// Write writes the reports in a format. A width, in characters, is that of the terminal: text is
// wrapped to fit; 0 means that lines may have any length.
func (r Reports) Write(w io.Writer, f Format, width int) error {
	switch f {
	case Text:
		return r.WriteText(w, width)
	case JSON:
		return r.WriteJSON(w)
	case Markdown:
		return r.WriteMarkdown(w)
	}
	return fmt.Errorf("unknown format %q", string(f))
}

// WriteJSON writes the report on one event as a document, the reports on several as an array.
func (r Reports) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if len(r) == 1 {
		return enc.Encode(r[0])
	}
	return enc.Encode(r)
}

// bindingNames are the names of binding resources for people.
var bindingNames = map[schema.BindingCode]string{
	schema.BindingConcurrencyCap: "concurrency cap, max_num_seqs",
	schema.BindingCapOrCompute:   "concurrency cap, max_num_seqs, or compute",
	schema.BindingCompute:        "compute",
	schema.BindingKVCache:        "KV cache",
	schema.BindingTokenBudget:    "token budget, max_num_batched_tokens",
	schema.BindingFrontend:       "API server",
	schema.BindingClient:         "client load",
	schema.BindingOffload:        "KV offloading",
	schema.BindingKVTransfer:     "KV transfers",
	schema.BindingStalled:        "stall: requests wait, and no token counter moves",
	schema.BindingUnknown:        "unknown",
}

// bindingText returns a verdict without its evidence: "KV cache (confidence 90 %)".
func bindingText(b *schema.BindingResource) string {
	name := bindingNames[b.Code]
	if name == "" {
		name = render.Printable(string(b.Code)) // of a newer version
	}
	if b.Code == schema.BindingUnknown {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, confidence(b.Confidence))
}

func confidence(x schema.Float) string { return fmt.Sprintf("confidence %.0f %%", 100*float64(x)) }

// Headline returns a diagnosis in one line: the verdict with its evidence, then the codes of the
// findings that are critical or a warning.
func Headline(d *schema.Diagnosis) string {
	text := bindingText(&d.BindingResource)
	if evidence := evidenceTexts(d.BindingResource.Evidence); len(evidence) > 0 {
		text += ": " + strings.Join(evidence, ", ")
	}
	for _, severity := range []schema.FindingSeverity{schema.FindingCritical, schema.FindingWarning} {
		var codes []string
		for _, f := range d.Findings {
			if f.Severity == severity {
				codes = append(codes, render.Printable(string(f.Code)))
			}
		}
		if len(codes) > 0 {
			text += fmt.Sprintf("; %s: %s", severity, strings.Join(codes, ", "))
		}
	}
	return text
}

// bySeverity returns the findings, the most severe first.
func bySeverity(findings []schema.Finding) (out []schema.Finding) {
	known := []schema.FindingSeverity{schema.FindingCritical, schema.FindingWarning, schema.FindingInfo}
	for _, severity := range known {
		for _, f := range findings {
			if f.Severity == severity {
				out = append(out, f)
			}
		}
	}
	return out
}

// skipped are rules that could not be evaluated for the same reason.
type skipped struct {
	codes  []string
	reason string
}

// byReason groups the rules that could not be evaluated by their reason.
func byReason(rules []schema.NotEvaluated) (out []skipped) {
	at := map[string]int{}
	for _, r := range rules {
		i, ok := at[r.Reason]
		if !ok {
			i = len(out)
			at[r.Reason] = i
			out = append(out, skipped{reason: r.Reason})
		}
		out[i].codes = append(out[i].codes, string(r.Code))
	}
	return out
}
