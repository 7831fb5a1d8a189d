package github

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

const (
	// maxCommand bounds the command line in a summary, in bytes.
	maxCommand = 200
	// maxNotes is how many validity notes a summary has at most.
	maxNotes = 10
)

// ReportRun reports the event of a run: its main figures and its validity notes of severity
// warning and error. Those are annotations too, if annotate is set, and so is a command that
// failed. The command line is the event's, without secrets.
func (s *Step) ReportRun(e *schema.GenerationObservability, annotate bool) error {
	if s == nil {
		return nil
	}
	if annotate {
		s.Annotate(runAnnotations(e)...)
	}
	return s.Summarize("vobs run: "+render.Ending(e.Run), func(w io.Writer) error { return runTable(e).WriteMarkdown(w) })
}

// runTable returns the main figures of a run. What was not measured is a dash.
func runTable(e *schema.GenerationObservability) *render.Table {
	t := &render.Table{Columns: []render.Column{{Key: "figure"}, {Key: "value"}}}
	line := func(name, text string) {
		if text == "" {
			text = "-"
		}
		t.Add(render.String(name), render.String(text))
	}
	figure := func(name string, x *schema.Float, format func(float64) string) {
		text := ""
		if v, ok := x.Value(); ok {
			text = format(v)
		}
		line(name, text)
	}
	line("command", commandText(e.Run))
	line("ended", render.Ending(e.Run))
	line("duration", fmt.Sprintf("%.2f s", float64(e.Run.DurationSeconds)))
	figure("peak VRAM", e.PeakVRAMGB, func(x float64) string { return render.Bytes(int64(x * (1 << 30))) })
	var rate, ttft, kvCache *schema.Float
	if g := e.Engine; g != nil {
		if g.Throughput != nil {
			rate = g.Throughput.GenerationTokensPerSecond
		}
		if g.LatencySeconds != nil && g.LatencySeconds.TimeToFirstToken != nil {
			ttft = g.LatencySeconds.TimeToFirstToken.Mean
		}
		if g.KVCache != nil && g.KVCache.Usage != nil {
			kvCache = g.KVCache.Usage.Peak
		}
	}
	figure("tokens generated per second", rate, func(x float64) string { return fmt.Sprintf("%.1f", x) })
	figure("TTFT, mean", ttft, render.Seconds)
	figure("KV cache, peak", kvCache, render.Percent)
	figure("GPU energy", energy(e.GPUs), func(x float64) string { return fmt.Sprintf("%.0f J", x) })
	notes := doubts(e)
	for i, v := range notes {
		if i == maxNotes {
			line("notes", fmt.Sprintf("%d more in the event", len(notes)-maxNotes))
			break
		}
		line(string(v.Severity), v.Message)
	}
	return t
}

// energy returns the energy of the GPUs that the command used, or of all if that is unknown. It
// is nil if it is unknown for one of them.
func energy(gpus []schema.GPU) *schema.Float {
	sum, found := 0.0, false
	for _, g := range gpus {
		if g.UsedByJob != nil && !*g.UsedByJob {
			continue
		}
		x, ok := g.EnergyJoules.Value()
		if !ok {
			return nil
		}
		sum, found = sum+x, true
	}
	if !found {
		return nil
	}
	return schema.F(sum)
}

// doubts returns the notes of severity warning and error, errors first.
func doubts(e *schema.GenerationObservability) []schema.Validity {
	var out []schema.Validity
	for _, severity := range []schema.Severity{schema.Error, schema.Warning} {
		for _, v := range e.Validity {
			if v.Severity == severity {
				out = append(out, v)
			}
		}
	}
	return out
}

// runAnnotations returns the annotations of a run. A command that failed is an error of its own,
// instead of the note about it.
func runAnnotations(e *schema.GenerationObservability) []Annotation {
	var out []Annotation
	if r := e.Run; r.ExitCode == nil || *r.ExitCode != 0 {
		out = append(out, Annotation{Error, "vobs run: " + render.Ending(r), commandText(r)})
	}
	for _, v := range doubts(e) {
		severity := Warning
		if v.Severity == schema.Error {
			severity = Error
		}
		if v.Code != schema.CodeNonzeroExit {
			out = append(out, Annotation{severity, "vobs run: " + string(v.Code), v.Message})
		}
	}
	return out
}

// commandText returns the command line for people to read, quoted like in a shell.
func commandText(r schema.Run) string {
	words := slices.Clone(r.Command)
	for i, word := range words {
		if word == "" || strings.ContainsAny(word, " \t\r\n'\"\\$`&|;<>()*?[]#~") {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	text := strings.Join(words, " ")
	if len(text) > maxCommand {
		end := maxCommand
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	return text
}
