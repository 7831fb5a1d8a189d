package scrape

import (
	"slices"
	"time"
)

const (
	// MinInterval is the shortest time between two requests under `auto`.
	MinInterval = 500 * time.Millisecond
	// costFactor keeps the latency of the requests, which counts as the server's cost,
	// at 1 % of the time.
	costFactor = 100
	// maxCredit is the most latency that can be saved up: one request that times out, so
	// that a single hiccup does not cost minutes of polls.
	maxCredit = requestTimeout
	// firstCredit is the latency that may be spent at first: the first page of a fresh
	// server takes about 100 ms (seen with vLLM 0.32.0, while everything is cold), and
	// 10 s without polls after it would lose a short run's gauges.
	firstCredit = 150 * time.Millisecond
	// MinFullInterval and maxFullInterval bound the time between two full pages among
	// filtered polls, so that a recent one exists if the server goes away. Cheap pages
	// are read more often, for half of what requests may take.
	MinFullInterval = time.Second
	maxFullInterval = 5 * time.Second

	// notVLLMInterval is the time between two requests to a server that responds without
	// any vLLM sample.
	notVLLMInterval = 5 * time.Second
	// maxDownInterval is the longest time between two requests to an address that has
	// not responded as an engine yet.
	maxDownInterval = 20 * time.Second
	// maxLatencies is the number of latencies that medians are taken over.
	maxLatencies = 31
	// minKnownPages is the number of full pages from which on the median is a usable
	// estimate of a page's cost.
	minKnownPages = 3
	// maxConsecutiveFailures is how many filtered polls in a row must fail, with a good
	// full page after them, before filtered polls end.
	maxConsecutiveFailures = 2
)

// FilterState is what is known about filtered scrapes at an endpoint.
type FilterState int

const (
	// FilterUntried: no filtered scrape has succeeded or been refused yet.
	FilterUntried FilterState = iota
	// FilterWorks: the server filters by name[].
	FilterWorks
	// FilterRefused: the server does not filter, or must not be tried.
	FilterRefused
)

// Schedule decides when an endpoint is scraped next, and whether for the full page. It
// has no clock of its own. It keeps account of what the requests cost the server:
// whatever they cost, failed ones included, they take at most 1 % of the time since
// the first.
type Schedule struct {
	// Interval is the user's; 0 means `auto`. The budget holds under `auto` only.
	Interval time.Duration
	Filter   FilterState
	// FullLatency and FilteredLatency are those of the requests that returned a page.
	FullLatency, FilteredLatency LatencyRing

	consecutiveFailures int // of filtered polls
	unfilteredPages     int // full pages in a row in response to filtered polls
	// credit is the latency that may be spent, as of creditAt; negative, it is debt.
	credit   time.Duration
	creditAt time.Time
	fullAt   time.Time // when a full page was last requested, successfully or not
	last     struct {
		full, failed bool
		latency      time.Duration
	}
}

// NewSchedule returns the schedule of an endpoint that has not been scraped yet.
func NewSchedule(interval time.Duration) Schedule {
	return Schedule{Interval: interval, credit: firstCredit}
}

// LatencyRing holds the latencies of the latest requests of one kind.
type LatencyRing struct {
	ring [maxLatencies]time.Duration
	// Count is the number of all latencies so far, also of those no longer held.
	Count int
}

// Add adds a latency, replacing the oldest if the ring is full.
func (r *LatencyRing) Add(d time.Duration) {
	r.ring[r.Count%maxLatencies] = d
	r.Count++
}

// List returns the latencies held, in no particular order.
func (r *LatencyRing) List() []time.Duration { return r.ring[:min(r.Count, maxLatencies)] }

func (r *LatencyRing) median() time.Duration {
	var sorted [maxLatencies]time.Duration
	return median(sorted[:copy(sorted[:], r.List())])
}

// median sorts d and returns its median, or 0 if it is empty.
func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

// Record accounts for a poll.
func (s *Schedule) Record(began time.Time, latency time.Duration, full, failed bool) {
	s.accrue(began.Add(latency))
	s.credit -= latency
	s.last.full, s.last.failed, s.last.latency = full, failed, latency
	if full {
		s.fullAt = began
	}
	switch {
	case full && failed:
		s.consecutiveFailures = 0 // the filter is not the cause
	case full:
		s.FullLatency.Add(latency)
		if s.consecutiveFailures >= maxConsecutiveFailures {
			s.Filter = FilterRefused
		}
	case failed:
		s.consecutiveFailures++
	default:
		s.FilteredLatency.Add(latency)
		s.consecutiveFailures = 0
	}
}

// RecordFiltered notes that a filtered poll returned a filtered page.
func (s *Schedule) RecordFiltered() { s.Filter, s.unfilteredPages = FilterWorks, 0 }

// RecordUnfiltered notes that a filtered poll returned the full page. The caller then
// records the poll itself as good.
func (s *Schedule) RecordUnfiltered() {
	if s.unfilteredPages++; s.Filter == FilterUntried || s.unfilteredPages >= maxConsecutiveFailures {
		s.Filter = FilterRefused
	}
}

// Spend accounts for the latency of a request other than a poll.
func (s *Schedule) Spend(latency time.Duration) { s.credit -= latency }

// accrue adds the credit for the time since the last call.
func (s *Schedule) accrue(now time.Time) {
	if !s.creditAt.IsZero() && now.After(s.creditAt) {
		s.credit = min(maxCredit, s.credit+now.Sub(s.creditAt)/costFactor)
	}
	s.creditAt = now
}

// TargetStatus is what is known of an endpoint so far.
type TargetStatus struct {
	// Up reports whether it has responded as an engine.
	Up bool
	// NotVLLM reports whether it responds, but not as an engine.
	NotVLLM bool
	// IdleSinceFull reports whether the engine is idle and has counted tokens since
	// the last full page.
	IdleSinceFull bool
}

// Next returns how long to wait from now on, and whether the next request is for the
// full page.
func (s *Schedule) Next(now time.Time, status TargetStatus) (wait time.Duration, full bool) {
	s.accrue(now)
	full = s.nextIsFull(now, status)
	switch {
	case status.NotVLLM:
		return notVLLMInterval, true
	case s.Interval > 0:
		return s.Interval, full
	case !status.Up:
		// No engine responds yet, so there is no budget to protect.
		return min(max(costFactor*s.last.latency, MinInterval), maxDownInterval), true
	}
	wait = MinInterval
	if !full {
		wait = max(wait, costFactor*s.FilteredLatency.median())
	} else if s.Filter == FilterRefused {
		wait = max(wait, costFactor*s.FullLatency.median())
	}
	return max(wait, -s.credit*costFactor), full
}

func (s *Schedule) nextIsFull(now time.Time, status TargetStatus) bool {
	switch {
	case !status.Up || s.Filter == FilterRefused:
		return true
	case s.last.failed:
		// A request of the other kind shows whether the engine or the filter is the cause.
		return !s.last.full
	case s.Filter == FilterUntried:
		return false
	}
	since, cost := now.Sub(s.fullAt), s.FullLatency.median()
	if since < min(maxFullInterval, max(MinFullInterval, 2*costFactor*cost)) && !status.IdleSinceFull {
		return false
	}
	// An idle engine's figures are complete, and a script may end the engine next. While
	// few pages are known, the first of them, a cold one, is no estimate of their cost.
	// Otherwise read an expensive page once the credit covers it, and in any case after
	// 2×costFactor×cost, going into debt that later waits repay.
	return status.IdleSinceFull || s.FullLatency.Count < minKnownPages || s.Interval > 0 || s.credit >= cost || since >= 2*costFactor*cost
}
