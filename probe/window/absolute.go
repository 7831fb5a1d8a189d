package window

import "github.com/vobs/vobs/internal/vllm/metrics"

// AtBaseline returns the value of a counter on the baseline page, in the metric's own unit:
// what its series have now less what they gained. It is 0 if counters count from zero. ok
// is false if it is unknown: after a restart.
func (c *Counters) AtBaseline(m *Metric) (value float64, ok bool) {
	if c.Resets > 0 || c.LoadBalanced {
		return 0, false
	}
	if !c.hasBaseline {
		return 0, true
	}
	return c.now(m) - m.Total, true
}

// now returns the sum of a counter's series on the last page that had them.
func (c *Counters) now(m *Metric) (sum float64) {
	for _, s := range c.series {
		if s.metric == m && s.total == &m.Total && s.epoch == c.epoch {
			sum += s.value
		}
	}
	return sum
}

// HasServed reports whether the process that answered last has counted tokens.
func (c *Counters) HasServed() bool {
	for _, m := range c.all {
		switch m.Desc.Metric() {
		case metrics.PromptTokens, metrics.GenerationTokens, metrics.OmniPrompt, metrics.OmniGeneration:
			if c.now(m) > 0 {
				return true
			}
		}
	}
	return false
}

// HasRestarted reports whether another process answered last than first.
func (c *Counters) HasRestarted() bool { return c.epoch > 0 }
