package scrape

import "time"

const (
	// firstInterval, laterInterval and MinInterval are the times between two polls under
	// `auto` in the first firstPhase after the engine is first read, until laterPhase, and
	// from then on. Many benchmarks are over within seconds.
	firstInterval = 100 * time.Millisecond
	laterInterval = 250 * time.Millisecond
	MinInterval   = 500 * time.Millisecond
	firstPhase    = 10 * time.Second
	laterPhase    = 30 * time.Second
	// MaxBusyInterval is the longest time between two polls of an engine at work, even if
	// they then take more than their share.
	MaxBusyInterval = time.Second

	// maxIdleInterval is the longest time between two cheap polls of an idle engine, which may
	// be given work at any time.
	maxIdleInterval = 2 * time.Second

	// serverShare is the share of one core that requests may take of the server.
	serverShare = 0.01
	// requestCost is what the server spends on any request, which the service time does not
	// include: GET /health takes 0.25 ms of its CPU time (vLLM 0.32.0).
	requestCost = 250 * time.Microsecond
	// selfShare is the share of one core that all polls may take of vobs's own CPU time:
	// GPU memory is to be read every few milliseconds from the rest of its 1 %.
	selfShare = 0.003
	// serverCredit is the service time that may be spent at first, and the most that is
	// saved up. The first page of a fresh server takes about 100 ms (seen with vLLM
	// 0.32.0, while everything is cold).
	serverCredit = 150 * time.Millisecond
	// selfCredit is the same for vobs's own CPU time: what its share is in five seconds. The
	// first coldPolls are part of the start of vobs.
	selfCredit = 15 * time.Millisecond
	coldPolls  = 2
	// maxDebt is the debt down to which the full page of a drained engine is read at once,
	// and the first few pages, which show what one costs.
	// Polls that MaxBusyInterval makes too frequent go into debt for half of it at most.
	maxDebt = 150 * time.Millisecond

	// Where only full pages can be read, they are no light polls: of an engine at work they
	// take at most a tenth of the server's core, and 1 % of vobs's.
	maxFullFactor, maxFullSelfFactor = 10, 100
	// maxLightFactor keeps even a filtered poll from taking more than half of the server.
	maxLightFactor = 2

	// MinFullInterval and maxFullInterval bound the time between two full pages among
	// filtered polls, so that a recent one exists if the server goes away. Cheap pages
	// are read more often, for half of what requests may take.
	MinFullInterval = time.Second
	maxFullInterval = 5 * time.Second
	// minKnownPages is the number of full pages from which on their lowest latency is a
	// usable estimate of a page's cost: the first one is cold. Until then, pages are read
	// at firstFactor times the latency of those known, and so are filtered ones.
	minKnownPages = 3
	firstFactor   = 20

	// notVLLMInterval is the time between two requests to a server that responds without
	// any vLLM sample.
	notVLLMInterval = 5 * time.Second
	// exporterInterval is the least time between two pages of a dcgm-exporter, which has new
	// values every second at most (by default every 30 s). maxExporterInterval bounds the
	// time for which they wait until vobs is within its budget.
	exporterInterval    = time.Second
	maxExporterInterval = 5 * time.Second
	// An address that has not responded as an engine yet is requested at MinInterval; if it
	// responds slowly, at downFactor times its latency, at most maxDownInterval.
	maxDownInterval = 5 * time.Second
	downFactor      = 10
	// maxConsecutiveFailures is how many filtered polls in a row must fail, with a good
	// full page after them, before filtered polls end. A busy server may leave a few more
	// without any response.
	maxConsecutiveFailures = 2
	maxConsecutiveTimeouts = 4
	// patientTimeouts is the number of requests in a row without any response after which
	// requests pause, longer each time: the server will find them all once it goes on.
	patientTimeouts = 10
	maxPause        = 5 * time.Second
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
// has no clock of its own.
//
// It keeps two accounts: of the server's service time, and of vobs's own CPU time. The
// service time of a request is the lowest latency of the latest requests of its kind,
// less the round trip: that of a request that costs the server next to nothing, on the
// same connection. So time that a request waits, behind the engine's work or on the
// network, is no cost.
type Schedule struct {
	// Interval is the user's; 0 means `auto`. The shares are kept under `auto` only.
	Interval time.Duration
	Filter   FilterState
	// FullLatency and FilteredLatency are those of the requests that returned a page.
	FullLatency, FilteredLatency LatencyRing

	fullSelf, filteredSelf LatencyRing // vobs's own CPU time for these requests
	roundTrips             roundTrips
	server, self           account
	cost                   costRecord

	consecutiveFailures int       // of filtered polls
	filterTimedOut      bool      // the latest of them did
	consecutiveTimeouts int       // of all requests
	unfilteredPages     int       // full pages in a row in response to filtered polls
	seenAt              time.Time // when the engine first responded; zero before that
	fullAt              time.Time // when a full page was last requested, successfully or not
	last                Poll
	// floored and flooredSelf report whether the cost to the server, and to vobs, would
	// have put off the poll that Next returned last, if the engine were not at work.
	floored, flooredSelf bool
}

// NewSchedule returns the schedule of an endpoint that has not been scraped yet.
func NewSchedule(interval time.Duration) Schedule {
	return Schedule{
		Interval: interval,
		server:   account{share: serverShare, credit: serverCredit, max: serverCredit},
		self:     account{share: selfShare, credit: selfCredit, max: selfCredit},
	}
}

// Poll is one request for a page.
type Poll struct {
	Began time.Time
	// Latency is the time until the last byte.
	Latency time.Duration
	// Self is the CPU time that vobs took for it; 0 if unknown.
	Self time.Duration
	// Full reports whether it was for the full page, Failed whether it returned none.
	Full, Failed bool
	// Refused reports whether nothing listened, so that it cost nothing; TimedOut whether
	// it failed for lack of a response in time.
	Refused, TimedOut bool
}

// Record accounts for a poll.
func (s *Schedule) Record(p Poll) {
	s.accrue(p.Began.Add(p.Latency))
	s.last = p
	if p.Full {
		s.fullAt = p.Began
	}
	if p.TimedOut {
		s.consecutiveTimeouts++
	} else {
		s.consecutiveTimeouts = 0
	}
	switch {
	case p.Full && p.Failed:
		s.consecutiveFailures = 0 // the filter is not the cause
	case p.Full:
		s.FullLatency.Add(p.Latency)
		s.fullSelf.Add(p.Self)
		if s.consecutiveFailures >= maxConsecutiveTimeouts || s.consecutiveFailures >= maxConsecutiveFailures && !s.filterTimedOut {
			s.Filter = FilterRefused
		}
	case p.Failed:
		s.consecutiveFailures++
		s.filterTimedOut = p.TimedOut
	default:
		s.FilteredLatency.Add(p.Latency)
		s.filteredSelf.Add(p.Self)
		s.consecutiveFailures = 0
	}
	s.charge(p)
}

// charge books what a poll cost.
func (s *Schedule) charge(p Poll) {
	if p.Refused {
		return
	}
	cost := s.service(p.Full)
	if p.Failed {
		// At most what a page takes, whatever it waited for.
		if other := s.service(!p.Full); cost == 0 {
			cost = other
		}
		if cost == 0 {
			cost = p.Latency
		}
		cost = min(cost, p.Latency)
	}
	cost += requestCost
	if s.floored {
		s.server.chargeUpTo(maxDebt/2, cost)
	} else {
		s.server.charge(cost)
	}
	// What vobs starts meanwhile, and whatever the first requests find cold, is no cost of polls.
	self := min(p.Self, s.selfCost(p.Full))
	if s.fullSelf.Count+s.filteredSelf.Count <= coldPolls {
		self = 0
	}
	if s.flooredSelf {
		s.self.chargeUpTo(selfCredit, self)
	} else {
		s.self.charge(self)
	}
	if !s.cost.since.IsZero() {
		s.cost.spent += cost
		s.cost.until = p.Began.Add(p.Latency)
		if s.floored {
			s.cost.floored++
		}
	}
	s.floored, s.flooredSelf = false, false
}

// service returns the service time of a request of one kind; 0 if unknown.
func (s *Schedule) service(full bool) time.Duration {
	latencies := &s.FilteredLatency
	if full {
		latencies = &s.FullLatency
	}
	return max(0, latencies.lowest()-s.roundTrips.lowest())
}

// selfCost returns the CPU time that vobs takes for a request of one kind; 0 if unknown.
func (s *Schedule) selfCost(full bool) time.Duration {
	if full {
		return s.fullSelf.median()
	}
	return s.filteredSelf.median()
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

// RecordSeen notes that an engine responds for the first time, or for the first time
// after a restart.
func (s *Schedule) RecordSeen(at time.Time) {
	s.seenAt = at
	if s.cost.since.IsZero() {
		s.cost.since = at
	}
}

// Spend accounts for the latency of a request other than a poll.
func (s *Schedule) Spend(latency time.Duration) {
	s.server.charge(max(0, latency-s.roundTrips.lowest()))
}

// accrue adds the credit for the time since the last call.
func (s *Schedule) accrue(now time.Time) {
	s.server.accrue(now)
	s.self.accrue(now)
}

// TargetStatus is what is known of an endpoint so far.
type TargetStatus struct {
	// Up reports whether it has responded as an engine.
	Up bool
	// NotVLLM reports whether it responds, but not as an engine.
	NotVLLM bool
	// Exporter reports whether it responds as a dcgm-exporter.
	Exporter bool
	// Working reports whether requests ran or waited at the last poll, or tokens were
	// counted since the poll before.
	Working bool
	// IdleSinceFull reports whether the engine is idle and has counted tokens since
	// the last full page.
	IdleSinceFull bool
	// Servers is the number of servers that are polled; 0 counts as 1.
	Servers int
	// Overdrawn is how long all of vobs would have to pause until its CPU time is within
	// its budget.
	Overdrawn time.Duration
}

// Next returns how long to wait from now on, and whether the next request is for the
// full page.
func (s *Schedule) Next(now time.Time, status TargetStatus) (wait time.Duration, full bool) {
	servers := max(1, status.Servers)
	s.accrue(now)
	s.self.limit(selfShare/float64(servers), selfCredit/time.Duration(servers))
	if status.Up && s.seenAt.IsZero() {
		s.RecordSeen(now)
	}
	full = s.nextIsFull(now, status)
	s.floored, s.flooredSelf = false, false
	switch {
	case status.NotVLLM:
		return notVLLMInterval, true
	case status.Exporter:
		return s.exporterWait(now, status.Overdrawn), true
	case status.Up && full && status.IdleSinceFull && !s.last.Failed && !s.last.Full && s.hasReserve():
		// The engine's figures are complete, and a script may end it next.
		return 0, true
	case s.Interval > 0:
		return s.Interval, full
	case !status.Up:
		// No engine responds yet, so there is no budget of its server to keep.
		wait = min(max(downFactor*s.last.Latency, MinInterval), maxDownInterval)
		if s.last.TimedOut {
			// Connections to hundreds of addresses that do not respond add up.
			wait += status.Overdrawn
		}
		return wait, true
	}
	fullOnly := s.Filter == FilterRefused
	service, self := s.service(fullOnly), s.selfCost(fullOnly)
	byServer, bySelf := s.server.interval(service), s.self.interval(self)
	// If all of vobs is above its budget, polls spend no savings. They wait for no longer than
	// that: the engine may end at any time, and what was not read by then is lost.
	byAll := min(status.Overdrawn, s.self.balanced(self), maxIdleInterval)
	interval := max(s.baseInterval(now), byServer, bySelf, byAll)
	// Debts delay the polls of an idle engine by little, and the first ones, which are cold, by
	// nothing: what one costs is not known yet.
	limit := max(maxIdleInterval, s.server.balanced(service)*3/2, bySelf)
	if !fullOnly && s.FilteredLatency.Count < minKnownPages {
		limit = max(MaxBusyInterval, firstFactor*service)
	}
	if status.Working {
		limit = max(MaxBusyInterval, maxLightFactor*service)
		if fullOnly {
			limit = max(MaxBusyInterval, maxFullFactor*service, time.Duration(maxFullSelfFactor*servers)*self)
		}
		s.floored, s.flooredSelf = byServer > limit, bySelf > limit
	}
	interval = min(interval, limit)
	// A response that is late has used up the time until the next request.
	wait = max(0, s.last.Began.Add(interval).Sub(now))
	if late := s.consecutiveTimeouts - patientTimeouts; late >= 0 {
		wait = max(wait, min(maxPause, time.Duration(late+1)*time.Second))
	}
	return wait, full
}

// exporterWait returns how long to wait until the next page of a dcgm-exporter is due.
func (s *Schedule) exporterWait(now time.Time, overdrawn time.Duration) time.Duration {
	interval := max(exporterInterval, s.Interval)
	if s.Interval == 0 {
		interval = max(interval, s.server.balanced(s.service(true)), s.self.balanced(s.selfCost(true)), min(overdrawn, maxExporterInterval))
	}
	if s.last.Failed {
		interval = max(interval, min(downFactor*s.last.Latency, maxDownInterval))
	}
	return max(0, s.last.Began.Add(interval).Sub(now))
}

// AlignTo changes a wait that Next returned so that the polls of several servers coincide: what
// they show together is then of one moment. They are multiples of the interval between cheap
// polls away from origin. A wait becomes shorter, or if it would nearly vanish, a little longer.
func (s *Schedule) AlignTo(origin, now time.Time, wait time.Duration) time.Duration {
	grid := s.baseInterval(now)
	if wait <= 0 || origin.IsZero() {
		return wait
	}
	over := now.Add(wait).Sub(origin) % grid
	if over = (over + grid) % grid; over < wait*3/4 {
		return wait - over
	}
	return wait + grid - over
}

// baseInterval returns the time between two polls that cost next to nothing.
func (s *Schedule) baseInterval(now time.Time) time.Duration {
	switch age := now.Sub(s.seenAt); {
	case age < firstPhase:
		return firstInterval
	case age < laterPhase:
		return laterInterval
	}
	return MinInterval
}

// hasReserve reports whether a full page may be read although the budget may be spent.
func (s *Schedule) hasReserve() bool { return s.Interval > 0 || s.server.credit > -maxDebt }

func (s *Schedule) nextIsFull(now time.Time, status TargetStatus) bool {
	switch {
	case !status.Up || s.Filter == FilterRefused:
		return true
	case s.last.Failed:
		// A request of the other kind shows whether the engine or the filter is the cause.
		return !s.last.Full
	case s.Filter == FilterUntried:
		return false
	case status.IdleSinceFull && s.hasReserve():
		return true
	}
	since, service := now.Sub(s.fullAt), s.service(true)
	// Full pages get half of what requests may take. Read an expensive one earlier if there
	// is credit for it.
	half := max(s.server.balanced(2*service), s.self.balanced(2*s.selfCost(true)))
	if s.FullLatency.Count < minKnownPages && s.hasReserve() {
		return since >= min(maxFullInterval, max(MinFullInterval, firstFactor*service))
	}
	if since < min(maxFullInterval, max(MinFullInterval, half)) {
		return false
	}
	return s.Interval > 0 || s.server.credit >= service || since >= half
}
