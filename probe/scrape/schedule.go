package scrape

import (
	"slices"
	"time"
)

const (
	// MinInterval is the shortest time between two requests under `auto`.
	MinInterval = 500 * time.Millisecond
	// costFactor keeps the requests' wall time, which counts as the server's
	// cost, at 1 % of the time.
	costFactor = 100
	// maxCredit is the most wall time that may be saved up: one request that gets
	// no answer in time, so that a single hiccup does not cost minutes of polls.
	maxCredit = requestTimeout
	// FirstCredit is the wall time that may be spent at first: the first page of a
	// fresh server takes about 100 ms (seen with vLLM 0.32.0: everything is cold),
	// and 10 s without polls after it would lose a short run's gauges.
	FirstCredit = 150 * time.Millisecond
	// fullInterval is how often a full page is read between filtered polls, so
	// that a recent one exists if the server goes away; cheap ones are read more
	// often, down to SoonestFull, for half of what requests may take.
	fullInterval = 5 * time.Second
	SoonestFull  = time.Second
	// notVLLMInterval is how often a server is asked again that answers without
	// any vLLM sample.
	notVLLMInterval = 5 * time.Second
	// downInterval is the longest time between two requests to an address that
	// has not answered as an engine yet.
	downInterval = 20 * time.Second
	// keptWalls is the number of request times that medians are taken over.
	keptWalls = 31
	// knownPages is the number of full pages whose median tells what one costs.
	knownPages = 3
	// maxConsecutiveFailures is how often in a row a filtered poll must fail where the full
	// page after it does not, until no more such polls are sent.
	maxConsecutiveFailures = 2
)

// filterState is what is known about filtered polls at an endpoint.
type filterState int

const (
	FilterUntried filterState = iota
	FilterWorks
	FilterRefused
)

// Schedule decides when an endpoint is asked next, and for what. It is given the
// time, and keeps the books of what the polls cost the server: whatever they
// cost, failed ones included, they stay within 1 % of the time since the first.
type Schedule struct {
	// Interval is the user's; 0 is `auto`. The budget is for `auto`.
	Interval            time.Duration
	Filter              filterState
	consecutiveFailures int // filtered polls that failed in a row
	UnfilteredPages     int // and that brought a whole page

	FullLatency, FilteredLatency LatencyRing // of the requests that brought a page
	// Credit is the wall time that may be spent, as of at; below zero it is debt.
	Credit time.Duration
	at     time.Time
	// FullAt is when a full page was asked for last, with or without success.
	FullAt time.Time
	last   struct {
		full, failed bool
		wall         time.Duration
	}
}

// LatencyRing are the wall times of the latest requests of one kind.
type LatencyRing struct {
	kept [keptWalls]time.Duration
	N    int // of all so far
}

func (w *LatencyRing) Add(d time.Duration) {
	w.kept[w.N%keptWalls] = d
	w.N++
}

// List gives them in no order.
func (w *LatencyRing) List() []time.Duration { return w.kept[:min(w.N, keptWalls)] }

func (w *LatencyRing) median() time.Duration {
	var sorted [keptWalls]time.Duration
	return median(sorted[:copy(sorted[:], w.List())])
}

// median sorts what it is given; 0 for nothing.
func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

// Record notes a poll that began at the time began and took wall.
func (p *Schedule) Record(began time.Time, wall time.Duration, full, failed bool) {
	p.accrue(began.Add(wall))
	p.Credit -= wall
	p.last.full, p.last.failed, p.last.wall = full, failed, wall
	if full {
		p.FullAt = began
	}
	switch {
	case full && failed:
		p.consecutiveFailures = 0 // the filter is not to blame
	case full:
		p.FullLatency.Add(wall)
		if p.consecutiveFailures >= maxConsecutiveFailures {
			p.Filter = FilterRefused
		}
	case failed:
		p.consecutiveFailures++
	default:
		p.FilteredLatency.Add(wall)
		p.consecutiveFailures = 0
	}
}

// RecordUnfiltered notes that a whole page came for a filtered poll. asked, which
// follows, finds it good.
func (p *Schedule) RecordUnfiltered() {
	if p.UnfilteredPages++; p.Filter == FilterUntried || p.UnfilteredPages >= maxConsecutiveFailures {
		p.Filter = FilterRefused
	}
}

// Spend notes another request's wall time.
func (p *Schedule) Spend(wall time.Duration) { p.Credit -= wall }

// accrue adds what may be spent for the time that went by.
func (p *Schedule) accrue(now time.Time) {
	if !p.at.IsZero() && now.After(p.at) {
		p.Credit = min(maxCredit, p.Credit+now.Sub(p.at)/costFactor)
	}
	p.at = now
}

// TargetStatus is what an endpoint has shown so far.
type TargetStatus struct {
	Up            bool // has answered as an engine
	NotVLLM       bool // answers, and not as an engine
	IdleSinceFull bool // idle, with tokens counted since the last full page
}

// Next says how long to wait from now on, and whether the next request is for a
// full page.
func (p *Schedule) Next(now time.Time, s TargetStatus) (wait time.Duration, full bool) {
	p.accrue(now)
	full = p.nextFull(now, s)
	switch {
	case s.NotVLLM:
		return notVLLMInterval, true
	case p.Interval > 0:
		return p.Interval, full
	case !s.Up:
		// No engine is known to be there, whose budget it were.
		return min(max(costFactor*p.last.wall, MinInterval), downInterval), true
	}
	wait = MinInterval
	if !full {
		wait = max(wait, costFactor*p.FilteredLatency.median())
	} else if p.Filter == FilterRefused {
		wait = max(wait, costFactor*p.FullLatency.median())
	}
	return max(wait, -p.Credit*costFactor), full
}

func (p *Schedule) nextFull(now time.Time, s TargetStatus) bool {
	switch {
	case !s.Up || p.Filter == FilterRefused:
		return true
	case p.last.failed:
		// The other kind tells whether the engine or the way of asking is at fault.
		return !p.last.full
	case p.Filter == FilterUntried:
		return false
	}
	since, cost := now.Sub(p.FullAt), p.FullLatency.median()
	if since < min(fullInterval, max(SoonestFull, 2*costFactor*cost)) && !s.IdleSinceFull {
		return false
	}
	// When the engine has drained its figures are whole, and a script may end it
	// next; and while few pages are known, the first of them, a cold one, tells
	// nothing of their cost. Else a costly page is read when it is saved up for; at
	// last on debt, which is waited for after it.
	return s.IdleSinceFull || p.FullLatency.N < knownPages || p.Interval > 0 || p.Credit >= cost || since >= 2*costFactor*cost
}
