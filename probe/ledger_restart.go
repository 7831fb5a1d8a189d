package probe

// findRestart notices that another process answers than before: it tells another
// start, or most of what it has counted has gone back. (Not every counter goes
// back: a young process may have done more than the one before had.) Counters of
// single groups that went back are marked.
func (l *ledger) findRestart() (restarted bool) {
	var start *line
	starts, back, forth := 0, 0, 0
	for i := range l.lines {
		ln := &l.lines[i]
		s := ln.series
		if s == nil || s.reading != l.reading || s.broken {
			continue
		}
		if ln.wanted.row.figure() == processStart {
			start = ln
			starts++
			continue
		}
		if s.group == nil || s.fresh || s.epoch != l.epoch {
			continue
		}
		// A sum may go back by rounding or with negative observations; counts may not.
		switch counts := ln.wanted.part == whole || ln.wanted.part == countPart; {
		case ln.wanted.part == sumPart:
		case s.pending < s.value:
			s.group.resetAt = l.reading
			if counts {
				back++
			}
		case counts && s.value > 0:
			forth++
		}
	}
	restarted = back > 0 && back >= forth
	l.same = starts == 1 && start.series.value != 0 && start.series.value == start.series.pending
	if starts == 1 { // a page of several processes tells nothing by their starts
		s := start.series
		if s.value != 0 && s.value != s.pending {
			restarted = true
			l.mixed = l.mixed || s.pending < s.value
		}
		s.value = s.pending
	}
	if restarted && starts == 0 {
		for key, s := range l.series {
			if key.name == processStartName {
				s.value = 0 // of the process before
			}
		}
	}
	return restarted
}

// start is process_start_time_seconds of the one process behind the endpoint.
func (l *ledger) start() (seconds float64, ok bool) {
	found := 0
	for key, s := range l.series {
		if key.name == processStartName && s.value > 0 {
			seconds = s.value
			found++
		}
	}
	return seconds, found == 1
}
