package scrape

import (
	"slices"
	"time"
)

// WantsRoundTrip reports whether the round trip to the server should be measured now: if
// it would make a difference to the interval, and the server has just responded as fast
// as ever.
func (s *Schedule) WantsRoundTrip(now time.Time) bool {
	full := s.Filter == FilterRefused
	lowest := s.FilteredLatency.lowest()
	if s.last.Full {
		lowest = s.FullLatency.lowest()
	}
	return s.Interval == 0 && !s.seenAt.IsZero() && !s.last.Failed && s.last.Latency <= 2*lowest &&
		s.server.balanced(s.service(full)) > s.baseInterval(now) && s.roundTrips.due(now)
}

// RecordRoundTrip notes the latency of a request that costs the server next to nothing.
func (s *Schedule) RecordRoundTrip(now time.Time, latency time.Duration) {
	s.roundTrips.add(now, latency)
}

// ReturnTrip returns how long before its last byte a page with that latency was rendered,
// as an estimate: half of the lowest latency. A late response waited before it was
// rendered, behind the server's other work.
func (s *Schedule) ReturnTrip(full bool, latency time.Duration) time.Duration {
	latencies := &s.FilteredLatency
	if full {
		latencies = &s.FullLatency
	}
	if latencies.Count > 0 {
		latency = min(latency, latencies.lowest())
	}
	return latency / 2
}

const (
	// firstRoundTrips is how many round trips are measured at first, one after a poll.
	// Later ones follow after nextRoundTrip, then after twice the time, and so on: each is a
	// line in the server's access log.
	firstRoundTrips = 5
	nextRoundTrip   = 30 * time.Second
)

// roundTrips are the latest round trips.
type roundTrips struct {
	latest [firstRoundTrips]time.Duration
	count  int
	dueAt  time.Time
	pause  time.Duration
}

func (r *roundTrips) due(now time.Time) bool {
	return r.count < firstRoundTrips || !now.Before(r.dueAt)
}

func (r *roundTrips) add(now time.Time, latency time.Duration) {
	r.latest[r.count%firstRoundTrips] = latency
	r.count++
	r.pause = max(nextRoundTrip, 2*r.pause)
	r.dueAt = now.Add(r.pause)
}

// lowest returns the lowest of the latest round trips; 0 if there is none.
func (r *roundTrips) lowest() time.Duration {
	if r.count == 0 {
		return 0
	}
	return slices.Min(r.latest[:min(r.count, firstRoundTrips)])
}

// minFloored is the number of polls beyond the server's share from which on its cost is
// noted.
const minFloored = 3

// costRecord is what requests have cost the server since the engine was first read.
type costRecord struct {
	spent   time.Duration
	since   time.Time // zero until then
	until   time.Time // the end of the last one
	floored int       // polls that would have come later but for MaxBusyInterval
}

// Excess returns the share of one core that polls have taken of the server, if that is
// more than [serverShare] because an engine at work is polled all the same; 0 otherwise.
func (s *Schedule) Excess() float64 {
	elapsed := s.cost.until.Sub(s.cost.since)
	if s.cost.floored < minFloored || elapsed <= 0 {
		return 0
	}
	if share := s.cost.spent.Seconds() / elapsed.Seconds(); share > serverShare {
		return share
	}
	return 0
}
