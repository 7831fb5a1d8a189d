package trace

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/vobs/vobs/internal/render"
)

// Comparison is what differs between two traces. Times are sums over all devices of a trace.
type Comparison struct {
	A Side `json:"a"`
	B Side `json:"b"`
	// Classes has all of [AllClasses], with the shares of the devices' spans.
	Classes map[string]ClassChange `json:"classes"`
	// Kernels has the 20 whose share of the span changed most.
	Kernels []KernelChange `json:"kernels"`
	// Steps has the kinds of steps that both traces have.
	Steps []StepChange `json:"steps"`
	Notes []string     `json:"notes"`
}

// Side is one trace of a comparison.
type Side struct {
	File         string  `json:"file"`
	Devices      int     `json:"devices"`
	SpanSeconds  float64 `json:"span_seconds"`
	BusySeconds  float64 `json:"busy_seconds"`
	IdleFraction float64 `json:"idle_fraction"`
	// ExposedCommunicationSeconds is the time of communication without computation.
	ExposedCommunicationSeconds float64 `json:"exposed_communication_seconds"`
}

// Change is a time in both traces. Traces rarely last equally long: the shares of the span can
// be compared, the seconds only if both traced the same work.
type Change struct {
	A             float64 `json:"a_seconds"`
	B             float64 `json:"b_seconds"`
	ChangeSeconds float64 `json:"change_seconds"`
	AShare        float64 `json:"a_share"`
	BShare        float64 `json:"b_share"`
	ChangeShare   float64 `json:"change_share"`
}

// ClassChange is the change of one class.
type ClassChange struct {
	Change
	AKernels int64 `json:"a_kernels"`
	BKernels int64 `json:"b_kernels"`
}

// KernelChange is the change of the kernels of one name. A mean is nil if a trace has none.
type KernelChange struct {
	Name  string `json:"name"`
	Class Class  `json:"class"`
	Change
	ACount int64    `json:"a_count"`
	BCount int64    `json:"b_count"`
	AMean  *float64 `json:"a_mean_seconds"`
	BMean  *float64 `json:"b_mean_seconds"`
}

// StepChange is the change of one kind of step: the median time from a step to the next one.
type StepChange struct {
	Kind     StepKind `json:"kind"`
	ACount   int      `json:"a_count"`
	BCount   int      `json:"b_count"`
	AP50     float64  `json:"a_p50_seconds"`
	BP50     float64  `json:"b_p50_seconds"`
	ChangeBy float64  `json:"change_fraction"`
}

// Compare compares two traces, which are named so.
func Compare(nameA string, a *Result, nameB string, b *Result) *Comparison {
	c := &Comparison{
		A: a.side(nameA), B: b.side(nameB), Classes: map[string]ClassChange{}, Kernels: []KernelChange{}, Steps: []StepChange{},
		Notes: append(slices.Clone(a.Notes), b.Notes...),
	}
	for _, class := range AllClasses() {
		x, y := a.class(class), b.class(class)
		c.Classes[class.String()] = ClassChange{c.change(x.Seconds, y.Seconds), x.Kernels, y.Kernels}
	}
	c.compareKernels(a, b)
	c.compareSteps(a, b)
	if c.A.Devices != c.B.Devices {
		c.Notes = append(c.Notes, fmt.Sprintf("%s has %s, %s has %s", nameA, render.Count(c.A.Devices, "device"), nameB, render.Count(c.B.Devices, "device")))
	}
	return c
}

func (r *Result) side(name string) Side {
	s := Side{File: name, Devices: len(r.Devices)}
	for _, d := range r.Devices {
		s.SpanSeconds += d.SpanSeconds
		s.BusySeconds += d.BusySeconds
		s.ExposedCommunicationSeconds += d.ExposedCommunicationSeconds
	}
	if s.SpanSeconds > 0 {
		s.IdleFraction = 1 - s.BusySeconds/s.SpanSeconds
	}
	return s
}

// class adds up a class over all devices.
func (r *Result) class(c Class) (sum ClassTime) {
	for _, d := range r.Devices {
		t := d.Classes[c.String()]
		sum.Seconds += t.Seconds
		sum.Kernels += t.Kernels
	}
	return sum
}

func (c *Comparison) change(a, b float64) Change {
	share := func(x, span float64) float64 {
		if span == 0 {
			return 0
		}
		return x / span
	}
	out := Change{A: a, B: b, ChangeSeconds: b - a, AShare: share(a, c.A.SpanSeconds), BShare: share(b, c.B.SpanSeconds)}
	out.ChangeShare = out.BShare - out.AShare
	return out
}

func (c *Comparison) compareKernels(a, b *Result) {
	mean := func(k *kernelSum) *float64 {
		if k.count == 0 {
			return nil
		}
		x := seconds(k.duration) / float64(k.count)
		return &x
	}
	add := func(name string, x, y *kernelSum, class Class) {
		c.Kernels = append(c.Kernels, KernelChange{name, class, c.change(seconds(x.duration), seconds(y.duration)), x.count, y.count, mean(x), mean(y)})
	}
	for name, x := range a.kernels {
		y := b.kernels[name]
		if y == nil {
			y = &kernelSum{}
		}
		add(name, x, y, x.class)
	}
	for name, y := range b.kernels {
		if a.kernels[name] == nil {
			add(name, &kernelSum{}, y, y.class)
		}
	}
	slices.SortFunc(c.Kernels, func(x, y KernelChange) int {
		return cmp.Or(cmp.Compare(math.Abs(y.ChangeShare), math.Abs(x.ChangeShare)), cmp.Compare(x.Name, y.Name))
	})
	c.Kernels = c.Kernels[:min(maxKernels, len(c.Kernels))]
}

// compareSteps compares the steps of the first device of each trace, or of the CPU: all ranks of
// an engine step together.
func (c *Comparison) compareSteps(a, b *Result) {
	for _, kind := range []StepKind{Prefill, Mixed, Decode} {
		first := func(r *Result) *StepGroup {
			for i := range r.Steps {
				if g := &r.Steps[i]; g.Kind == kind && g.PeriodSeconds != nil {
					return g
				}
			}
			return nil
		}
		x, y := first(a), first(b)
		if x == nil || y == nil || x.PeriodSeconds.P50 == 0 {
			continue
		}
		c.Steps = append(c.Steps, StepChange{kind, x.Count, y.Count, x.PeriodSeconds.P50, y.PeriodSeconds.P50, y.PeriodSeconds.P50/x.PeriodSeconds.P50 - 1})
	}
}

// sections returns the comparison for people.
func (c *Comparison) sections() []section {
	side := func(letter string, s Side) string {
		return fmt.Sprintf("  %s: %s, %s, span %s, idle %s, exposed comm. %s", letter, s.File, render.Count(s.Devices, "device"), duration(s.SpanSeconds), render.Percent(s.IdleFraction), duration(s.ExposedCommunicationSeconds))
	}
	text := func(s string) render.Cell { return render.String(s) }
	classes := &render.Table{Columns: []render.Column{
		{Key: "class"}, {Key: "a", Title: "A", Right: true}, {Key: "b", Title: "B", Right: true},
		{Key: "a_share", Title: "A of span", Right: true}, {Key: "b_share", Title: "B of span", Right: true}, {Key: "change", Title: "change", Right: true},
	}}
	for _, class := range AllClasses() {
		x := c.Classes[class.String()]
		classes.Add(text(class.String()), text(duration(x.A)), text(duration(x.B)), text(render.Percent(x.AShare)), text(render.Percent(x.BShare)), text(points(x.ChangeShare)))
	}
	kernels := &render.Table{Columns: []render.Column{
		{Key: "change", Right: true}, {Key: "a", Title: "A", Right: true}, {Key: "b", Title: "B", Right: true},
		{Key: "a_mean", Title: "A mean", Right: true}, {Key: "b_mean", Title: "B mean", Right: true}, {Key: "name", Title: "kernel"},
	}}
	mean := func(x *float64) string {
		if x == nil {
			return "-"
		}
		return duration(*x)
	}
	for _, k := range c.Kernels {
		kernels.Add(text(points(k.ChangeShare)), text(duration(k.A)), text(duration(k.B)), text(mean(k.AMean)), text(mean(k.BMean)), text(shorten(k.Name, 32)))
	}
	out := []section{
		{lines: []string{side("A", c.A), side("B", c.B)}},
		{heading: "Classes: time, and its share of the span in percentage points", table: classes},
	}
	if len(c.Kernels) > 0 {
		out = append(out, section{heading: "Kernels whose share of the span changed most", table: kernels})
	}
	if len(c.Steps) > 0 {
		s := section{heading: "Engine steps: median time to the next step"}
		for _, x := range c.Steps {
			s.lines = append(s.lines, fmt.Sprintf("  %-8s %s -> %s (%+.1f %%), %d and %d steps", x.Kind, duration(x.AP50), duration(x.BP50), 100*x.ChangeBy, x.ACount, x.BCount))
		}
		out = append(out, s)
	}
	return appendNotes(out, c.Notes)
}

// points formats a change of a share in percentage points.
func points(x float64) string { return fmt.Sprintf("%+.2f", 100*x) }
