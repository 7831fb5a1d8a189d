package window

import "github.com/vobs/vobs/internal/vllm/metrics"

// findRestart notices that another process answers than before: it tells another
// start, or most of what it has counted has gone back. (Not every counter goes
// back: a young process may have done more than the one before had.) Counters of
// single groups that went back are marked.
func (l *Counters) findRestart() (restarted bool) {
	var start *pageSample
	starts, back, forth := 0, 0, 0
	for i := range l.samples {
		ln := &l.samples[i]
		s := ln.series
		if s == nil || s.scrape != l.scrape || s.invalid {
			continue
		}
		if ln.match.Desc.Metric() == metrics.ProcessStart {
			start = ln
			starts++
			continue
		}
		if s.group == nil || s.fresh || s.epoch != l.epoch {
			continue
		}
		// A sum may go back by rounding or with negative observations; counts may not.
		switch counts := ln.match.Part == metrics.PartValue || ln.match.Part == metrics.PartCount; {
		case ln.match.Part == metrics.PartSum:
		case s.pending < s.value:
			s.group.resetAt = l.scrape
			if counts {
				back++
			}
		case counts && s.value > 0:
			forth++
		}
	}
	restarted = back > 0 && back >= forth
	l.sameProcess = starts == 1 && start.series.value != 0 && start.series.value == start.series.pending
	if starts == 1 { // a page of several processes tells nothing by their starts
		s := start.series
		if s.value != 0 && s.value != s.pending {
			restarted = true
			l.LoadBalanced = l.LoadBalanced || s.pending < s.value
		}
		s.value = s.pending
	}
	if restarted && starts == 0 {
		for key, s := range l.series {
			if key.name == metrics.ProcessStartName {
				s.value = 0 // of the process before
			}
		}
	}
	return restarted
}

// ProcessStart is process_start_time_seconds of the one process behind the endpoint.
func (l *Counters) ProcessStart() (seconds float64, ok bool) {
	found := 0
	for key, s := range l.series {
		if key.name == metrics.ProcessStartName && s.value > 0 {
			seconds = s.value
			found++
		}
	}
	return seconds, found == 1
}
