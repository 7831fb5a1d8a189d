package truth

import (
	"time"

	"github.com/vobs/vobs/internal/curve"
)

// curves compares the tokens under each curve of a rate with those of the run. Between two
// readings a rate is constant, so the tokens near the run's ends may lie on either side of them.
func (c *comparer) curves() {
	if c.restarted() || c.scenario.coldStart > 0 {
		return // no rate is known until the first page of a process
	}
	seconds, _ := c.number("engine.scrapes.max_gap_seconds")
	gap := time.Duration(seconds * float64(time.Second))
	for _, f := range []struct {
		name string
		pick func(*engineFacts) []observation
	}{
		{"engine.throughput.prompt_tokens_per_second", prompted},
		{"engine.throughput.generation_tokens_per_second", generated},
	} {
		x := comparison{kind: aRate, path: "series: " + f.name}
		for i := range c.output.Curves {
			if figure := &c.output.Curves[i]; figure.Name == f.name {
				x = near(aRate, x.path, c.area(figure), c.observed(f.pick, c.started+gap, c.ended-gap), c.observed(f.pick, c.started-gap, c.ended+gap), 1)
			}
		}
		x.due = c.promptly()
		c.add(x)
	}
}

// area returns the integral of a curve from the command's start to its end.
func (c *comparer) area(f *curve.Figure) (sum float64) {
	width, ran := f.Width(), c.ended-c.started
	for i, s := range f.Slots(width, curve.Count(ran, width)) {
		from := time.Duration(i) * width
		sum += s.Mean * (min(from+width, ran) - from).Seconds()
	}
	return sum
}

// observed returns the sum of the values that were observed in a time.
func (c *comparer) observed(pick func(*engineFacts) []observation, from, to time.Duration) (sum float64) {
	for _, e := range c.facts.engines() {
		for _, o := range pick(e.facts) {
			if o.at > from && o.at <= to {
				sum += o.value
			}
		}
	}
	return sum
}
