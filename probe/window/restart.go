package window

import "github.com/vobs/vobs/internal/vllm/metrics"

// findRestart reports whether another process answers than before: the process start time
// changed, or at least half of the counts decreased. (Not all do: a young process may have
// counted more than the one before it.) It marks the metrics whose counts decreased.
func (c *Counters) findRestart() (restarted bool) {
	var start *pageSample
	starts, decreased, others := 0, 0, 0
	for i := range c.samples {
		sample := &c.samples[i]
		s := sample.series
		if s == nil || s.scrape != c.scrape || s.invalid {
			continue
		}
		if sample.match.Desc.Metric() == metrics.ProcessStart {
			start = sample
			starts++
			continue
		}
		if s.metric == nil || s.fresh || s.epoch != c.epoch {
			continue
		}
		switch count := sample.match.Part == metrics.PartValue || sample.match.Part == metrics.PartCount; {
		case sample.match.Part == metrics.PartSum: // no evidence of a restart: see accumulate
		case s.pending < s.value:
			s.metric.resetAt = c.scrape
			if count {
				decreased++
			}
		case count && s.value > 0:
			others++
		}
	}
	restarted = decreased > 0 && decreased >= others
	c.sameProcess = starts == 1 && start.series.value != 0 && start.series.value == start.series.pending
	if starts == 1 { // with several processes on the page, start times prove nothing
		s := start.series
		if s.value != 0 && s.value != s.pending {
			restarted = true
			c.LoadBalanced = c.LoadBalanced || s.pending < s.value
		}
		s.value = s.pending
	}
	if restarted && starts == 0 {
		for key, s := range c.series {
			if key.name == metrics.ProcessStartName {
				s.value = 0 // it was the previous process's
			}
		}
	}
	return restarted
}

// ProcessStart returns process_start_time_seconds, in Unix time; ok is false unless exactly
// one process behind the endpoint exports it.
func (c *Counters) ProcessStart() (seconds float64, ok bool) {
	found := 0
	for key, s := range c.series {
		if key.name == metrics.ProcessStartName && s.value > 0 {
			seconds = s.value
			found++
		}
	}
	return seconds, found == 1
}
