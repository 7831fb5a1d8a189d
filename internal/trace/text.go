package trace

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/vobs/vobs/internal/render"
)

// A section is a part of a result for people: a heading, lines, a drawing, a table.
type section struct {
	heading string
	lines   []string
	drawing []string // of a fixed width
	table   *render.Table
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeSections writes sections as text or as Markdown.
func writeSections(w io.Writer, f Format, sections []section) error {
	var b strings.Builder
	for i, s := range sections {
		if i > 0 {
			b.WriteByte('\n')
		}
		if s.heading != "" {
			heading := render.Printable(s.heading)
			if f == Markdown {
				heading = "### " + strings.NewReplacer("_", `\_`, "*", `\*`, "<", `\<`).Replace(heading) + "\n"
			}
			b.WriteString(heading + "\n")
		}
		for _, line := range s.lines {
			if f == Markdown {
				line = "- " + strings.TrimSpace(line)
			}
			b.WriteString(render.Printable(line) + "\n")
		}
		if len(s.drawing) > 0 {
			if f == Markdown {
				b.WriteString("\n```\n")
			}
			for _, line := range s.drawing {
				b.WriteString(strings.TrimRight(line, " ") + "\n")
			}
			if f == Markdown {
				b.WriteString("```\n")
			}
		}
		if s.table != nil {
			var err error
			if f == Markdown {
				b.WriteByte('\n')
				err = s.table.WriteMarkdown(&b)
			} else {
				err = s.table.WriteText(&b, render.TextOptions{Indent: 2})
			}
			if err != nil {
				return err
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sections returns the result for people.
func (r *Result) sections() (out []section) {
	for _, d := range r.Devices {
		out = append(out, d.sections()...)
	}
	if len(r.Steps) > 0 {
		out = append(out, section{heading: "Engine steps", table: stepTable(r.Steps, len(r.Devices) > 1)})
	}
	if d := r.Document; d != nil {
		out = append(out, section{
			heading: "The production document's figures (sums of kernel times; overlap counts twice)",
			lines: []string{
				fmt.Sprintf("  attention_fraction %.3f, gemm_fraction %.3f, communication_fraction %.3f", d.AttentionFraction, d.GEMMFraction, d.CommunicationFraction),
				fmt.Sprintf("  gpu_idle_fraction %.3f (other kernels, not idle time), total %s", d.GPUIdleFraction, duration(d.TotalSeconds)),
			},
		})
	}
	return appendNotes(out, r.Notes)
}

// appendNotes appends a section of notes, if there are any.
func appendNotes(out []section, notes []string) []section {
	if len(notes) == 0 {
		return out
	}
	s := section{heading: "Notes"}
	for _, note := range notes {
		s.lines = append(s.lines, "  "+note)
	}
	return append(out, s)
}

// title names a device: "trace.json: GPU 0, NVIDIA H100, rank 0".
func (d *Device) title() string {
	text := fmt.Sprintf("%s: GPU %d", d.File, d.Device)
	if d.Name != "" {
		text += ", " + d.Name
	}
	if d.Rank != nil {
		text += fmt.Sprintf(", rank %d", *d.Rank)
	}
	return text
}

func (d *Device) sections() []section {
	first := section{heading: d.title(), lines: []string{
		fmt.Sprintf("  span %s, %s", duration(d.SpanSeconds), render.Count(d.Streams, "stream")),
		fmt.Sprintf("  busy %s (kernels %s), idle %s in %s", duration(d.BusySeconds), duration(d.KernelBusySeconds), render.Percent(d.IdleFraction), render.Count(int(d.Gaps.Count), "gap")),
	}}
	if d.Classes[Communication.String()].Kernels > 0 {
		first.lines = append(first.lines, fmt.Sprintf("  communication: %s hidden behind computation, %s exposed", duration(d.OverlapSeconds), duration(d.ExposedCommunicationSeconds)))
	}
	first.drawing = d.bars()
	out := []section{first, {heading: fmt.Sprintf("Timeline, %s a column", duration(d.SpanSeconds/columns)), drawing: d.drawTimeline()}}
	if len(d.TopKernels) > 0 {
		out = append(out, section{heading: "Kernels", table: kernelTable(d.TopKernels)})
	}
	if len(d.Gaps.Longest) > 0 {
		out = append(out, d.gapSection())
	}
	return out
}

// barWidth is the width of a bar for the whole span.
const barWidth = 34

// bars draws the share of each class in the span.
func (d *Device) bars() []string {
	lines := []string{fmt.Sprintf("  %-13s %10s %8s %8s", "class", "time", "of span", "kernels")}
	add := func(name string, seconds float64, count int64) {
		share := 0.0
		if d.SpanSeconds > 0 {
			share = seconds / d.SpanSeconds
		}
		lines = append(lines, fmt.Sprintf("  %-13s %10s %8s %8d %s", name, duration(seconds), render.Percent(share), count, bar(share)))
	}
	for _, c := range AllClasses() {
		t := d.Classes[c.String()]
		add(c.String(), t.Seconds, t.Kernels)
	}
	return lines
}

// bar draws a share from 0 to 1.
func bar(share float64) string {
	eighths := int(math.Round(min(max(share, 0), 1) * barWidth * 8))
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	} else if eighths == 0 && share > 0 {
		text = "▏"
	}
	return text
}

// drawTimeline draws how much of each column each class takes. The lines have 80 columns.
func (d *Device) drawTimeline() (lines []string) {
	draw := func(name string, track int) {
		values := make([]float64, columns)
		any := false
		for i, v := range d.timeline[track] {
			values[i] = v
			if v == 0 {
				values[i] = math.NaN() // a space
			} else {
				any = true
			}
		}
		if any {
			lines = append(lines, fmt.Sprintf("%-13s %s", name, render.Sparkline(values, 1, columns)))
		}
	}
	for _, c := range AllClasses() {
		draw(c.String(), int(c))
	}
	draw("busy", anything)
	return lines
}

// namespaces are parts of names that tell little.
var namespaces = strings.NewReplacer("at::native::", "", "(anonymous namespace)::", "", "<unnamed>::", "")

// shorten cuts a kernel's name.
func shorten(name string, most int) string {
	name = namespaces.Replace(strings.TrimPrefix(name, "void "))
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return name
}

// shortenCPU cuts the name of what a CPU did. Of a Python function, as in
// "vllm/v1/core/sched/scheduler.py(300): schedule", the end tells most.
func shortenCPU(name string, most int) string {
	if runes := []rune(name); len(runes) > most && strings.Contains(name, ".py(") {
		return "…" + string(runes[len(runes)-most+1:])
	}
	return shorten(name, most)
}

func kernelTable(kernels []Kernel) *render.Table {
	t := &render.Table{Columns: []render.Column{
		{Key: "seconds", Title: "time", Right: true}, {Key: "count", Right: true}, {Key: "mean_seconds", Title: "mean", Right: true},
		{Key: "class"}, {Key: "name", Title: "kernel"},
	}}
	for _, k := range kernels {
		t.Add(render.String(duration(k.Seconds)), render.String(fmt.Sprint(k.Count)), render.String(duration(k.MeanSeconds)),
			render.String(k.Class.String()), render.String(shorten(k.Name, 36)))
	}
	return t
}

// shownGaps is the number of gaps in text.
const shownGaps = 5

func (d *Device) gapSection() section {
	s := section{heading: "Longest gaps"}
	if c := d.Gaps.Causes; c != nil {
		s.lines = []string{fmt.Sprintf("  the %d longest by cause: late launch %s, queued %s, unknown %s", len(d.Gaps.Longest), duration(c[LateLaunch]), duration(c[Queued]), duration(c[Unknown]))}
	}
	s.table = &render.Table{Columns: []render.Column{
		{Key: "start", Title: "at", Right: true}, {Key: "seconds", Title: "time", Right: true}, {Key: "cause"}, {Key: "cpu", Title: "CPU"}, {Key: "before", Title: "then"},
	}}
	for _, g := range d.Gaps.Longest[:min(shownGaps, len(d.Gaps.Longest))] {
		cpu := ""
		if g.CPU != nil {
			cpu = shortenCPU(g.CPU.Name, 28)
		}
		s.table.Add(render.String(duration(g.StartSeconds)), render.String(duration(g.Seconds)), render.String(causeText(g.Cause)), render.String(cpu), render.String(shorten(g.Before, 18)))
	}
	return s
}

func causeText(c GapCause) string { return strings.ReplaceAll(string(c), "_", " ") }

func stepTable(groups []StepGroup, several bool) *render.Table {
	t := &render.Table{Columns: []render.Column{
		{Key: "kind", Title: "step"}, {Key: "count", Right: true},
		{Key: "p50", Title: "period p50", Right: true}, {Key: "p99", Right: true}, {Key: "seconds", Title: "itself p50", Right: true},
		{Key: "busy", Right: true}, {Key: "requests", Title: "prefill + decode", Right: true}, {Key: "device", Title: "on"},
	}}
	for _, g := range groups {
		p50, p99, busy, on := "-", "-", "-", "CPU"
		if g.PeriodSeconds != nil {
			p50, p99 = duration(g.PeriodSeconds.P50), duration(g.PeriodSeconds.P99)
		}
		if g.BusyFraction != nil {
			busy = render.Percent(*g.BusyFraction)
		}
		if g.Device != nil {
			on = fmt.Sprintf("GPU %d", *g.Device)
		}
		if several {
			on += ", " + g.File
		}
		t.Add(render.String(string(g.Kind)), render.String(fmt.Sprint(g.Count)), render.String(p50), render.String(p99), render.String(duration(g.Seconds.P50)),
			render.String(busy), render.String(fmt.Sprintf("%.1f + %.1f", g.ContextRequests, g.GenerationRequests)), render.String(on))
	}
	return t
}

// duration formats a time with four significant digits: "1.25 s", "12.34 ms", "4.1 µs".
func duration(seconds float64) string {
	switch x := math.Abs(seconds); {
	case x == 0 || x >= 1:
		return fmt.Sprintf("%.4g s", seconds)
	case x >= 1e-3:
		return fmt.Sprintf("%.4g ms", 1e3*seconds)
	}
	return fmt.Sprintf("%.4g µs", 1e6*seconds)
}
