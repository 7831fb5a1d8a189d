package cli

import (
	"math"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

const (
	// summaryIndent is the width of a summary line up to its text.
	summaryIndent = 15
	// defaultWidth is the width of what is not a terminal, or does not know its width.
	defaultWidth = 80
	// minSparkline is the width below which no line is drawn.
	minSparkline = 8
)

// sparkline draws the maxima of the named curve on a line of its own, in front of what it shows;
// "" if the event has no such curve or the width has no room. top is the value of a full block;
// 0 means the highest of the curve.
func sparkline(e *schema.GenerationObservability, name string, top float64, label string, width int) string {
	if e.Series == nil {
		return ""
	}
	if width <= 0 {
		width = defaultWidth
	}
	room := width - summaryIndent - 1 - len(label)
	if room < minSparkline {
		return ""
	}
	for _, c := range e.Series.Curves {
		if c.Name != name {
			continue
		}
		values := make([]float64, len(c.Max))
		highest := 0.0
		for i, x := range c.Max {
			v, ok := x.Value()
			if !ok {
				v = math.NaN()
			}
			values[i] = v
			if v > highest {
				highest = v
			}
		}
		if top == 0 {
			top = highest
		}
		return "\n" + render.Sparkline(values, top, room) + " " + label
	}
	return ""
}
