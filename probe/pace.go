package probe

import (
	"slices"
	"time"
)

const (
	// minInterval is the shortest time between two requests under `auto`.
	minInterval = 500 * time.Millisecond
	// costFactor keeps the requests' wall time, which counts as the server's
	// cost, at 1 % of the time.
	costFactor = 100
	// maxCredit is the most wall time that may be saved up: one request that gets
	// no answer in time, so that a single hiccup does not cost minutes of polls.
	maxCredit = requestTimeout
	// firstCredit is the wall time that may be spent at first: the first page of a
	// fresh server takes about 100 ms (seen with vLLM 0.32.0: everything is cold),
	// and 10 s without polls after it would lose a short run's gauges.
	firstCredit = 150 * time.Millisecond
	// fullInterval is how often a full page is read between filtered polls, so
	// that a recent one exists if the server goes away; cheap ones are read more
	// often, down to soonestFull, for half of what requests may take.
	fullInterval = 5 * time.Second
	soonestFull  = time.Second
	// strangerInterval is how often a server is asked again that answers without
	// any vLLM sample.
	strangerInterval = 5 * time.Second
	// downInterval is the longest time between two requests to an address that
	// has not answered as an engine yet.
	downInterval = 20 * time.Second
	// keptWalls is the number of request times that medians are taken over.
	keptWalls = 31
	// knownPages is the number of full pages whose median tells what one costs.
	knownPages = 3
	// filterStrikes is how often in a row a filtered poll must fail where the full
	// page after it does not, until no more such polls are sent.
	filterStrikes = 2
)

// filterState is what is known about filtered polls at an endpoint.
type filterState int

const (
	filterUntried filterState = iota
	filterWorks
	filterRefused
)

// pace decides when an endpoint is asked next, and for what. It is given the
// time, and keeps the books of what the polls cost the server: whatever they
// cost, failed ones included, they stay within 1 % of the time since the first.
type pace struct {
	// interval is the user's; 0 is `auto`. The budget is for `auto`.
	interval time.Duration
	filter   filterState
	strikes  int // filtered polls that failed in a row
	whole    int // and that brought a whole page

	full, filtered walls // of the requests that brought a page
	// credit is the wall time that may be spent, as of at; below zero it is debt.
	credit time.Duration
	at     time.Time
	// fullAt is when a full page was asked for last, with or without success.
	fullAt time.Time
	last   struct {
		full, failed bool
		wall         time.Duration
	}
}

// walls are the wall times of the latest requests of one kind.
type walls struct {
	kept [keptWalls]time.Duration
	n    int // of all so far
}

func (w *walls) add(d time.Duration) {
	w.kept[w.n%keptWalls] = d
	w.n++
}

// list gives them in no order.
func (w *walls) list() []time.Duration { return w.kept[:min(w.n, keptWalls)] }

func (w *walls) median() time.Duration {
	var sorted [keptWalls]time.Duration
	return median(sorted[:copy(sorted[:], w.list())])
}

// median sorts what it is given; 0 for nothing.
func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

// asked notes a poll that began at the time began and took wall.
func (p *pace) asked(began time.Time, wall time.Duration, full, failed bool) {
	p.accrue(began.Add(wall))
	p.credit -= wall
	p.last.full, p.last.failed, p.last.wall = full, failed, wall
	if full {
		p.fullAt = began
	}
	switch {
	case full && failed:
		p.strikes = 0 // the filter is not to blame
	case full:
		p.full.add(wall)
		if p.strikes >= filterStrikes {
			p.filter = filterRefused
		}
	case failed:
		p.strikes++
	default:
		p.filtered.add(wall)
		p.strikes = 0
	}
}

// unfiltered notes that a whole page came for a filtered poll. asked, which
// follows, finds it good.
func (p *pace) unfiltered() {
	if p.whole++; p.filter == filterUntried || p.whole >= filterStrikes {
		p.filter = filterRefused
	}
}

// charge notes another request's wall time.
func (p *pace) charge(wall time.Duration) { p.credit -= wall }

// accrue adds what may be spent for the time that went by.
func (p *pace) accrue(now time.Time) {
	if !p.at.IsZero() && now.After(p.at) {
		p.credit = min(maxCredit, p.credit+now.Sub(p.at)/costFactor)
	}
	p.at = now
}

// standing is what an endpoint has shown so far.
type standing struct {
	up       bool // has answered as an engine
	stranger bool // answers, and not as an engine
	drained  bool // idle, with tokens counted since the last full page
}

// next says how long to wait from now on, and whether the next request is for a
// full page.
func (p *pace) next(now time.Time, s standing) (wait time.Duration, full bool) {
	p.accrue(now)
	full = p.nextFull(now, s)
	switch {
	case s.stranger:
		return strangerInterval, true
	case p.interval > 0:
		return p.interval, full
	case !s.up:
		// No engine is known to be there, whose budget it were.
		return min(max(costFactor*p.last.wall, minInterval), downInterval), true
	}
	wait = minInterval
	if !full {
		wait = max(wait, costFactor*p.filtered.median())
	} else if p.filter == filterRefused {
		wait = max(wait, costFactor*p.full.median())
	}
	return max(wait, -p.credit*costFactor), full
}

func (p *pace) nextFull(now time.Time, s standing) bool {
	switch {
	case !s.up || p.filter == filterRefused:
		return true
	case p.last.failed:
		// The other kind tells whether the engine or the way of asking is at fault.
		return !p.last.full
	case p.filter == filterUntried:
		return false
	}
	since, cost := now.Sub(p.fullAt), p.full.median()
	if since < min(fullInterval, max(soonestFull, 2*costFactor*cost)) && !s.drained {
		return false
	}
	// When the engine has drained its figures are whole, and a script may end it
	// next; and while few pages are known, the first of them, a cold one, tells
	// nothing of their cost. Else a costly page is read when it is saved up for; at
	// last on debt, which is waited for after it.
	return s.drained || p.full.n < knownPages || p.interval > 0 || p.credit >= cost || since >= 2*costFactor*cost
}
