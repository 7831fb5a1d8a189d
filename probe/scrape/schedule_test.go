package scrape

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

const ms = time.Millisecond

// response is what one request to a simulated server meets.
type response struct {
	service time.Duration // what it costs the server
	waits   time.Duration // behind other work, and on the network
	self    time.Duration // vobs's own CPU time
	failed  bool          // after the time above
}

// simulation is what the polls of an engine amounted to over a simulated time.
type simulation struct {
	spent, self, elapsed time.Duration
	filtered, full       int
	roundTrips           int
	// oldest is the greatest age of the last good full page, longestGap the longest
	// time between the beginnings of two good polls.
	oldest, longestGap time.Duration
	// longestIdle is the longest time in which no request was in progress.
	longestIdle time.Duration
	// debt is the most that was ever spent beyond 1 % of the time.
	debt time.Duration
}

// server is a simulated one: what requests cost, and what the engine does.
type server struct {
	status    TargetStatus // IdleSinceFull applies to filtered polls
	roundTrip time.Duration
	respond   func(at time.Duration, full bool) response
}

// steady returns a server's costs that never change.
func steady(filtered, full time.Duration) func(time.Duration, bool) response {
	return func(_ time.Duration, isFull bool) response {
		if isFull {
			return response{service: full}
		}
		return response{service: filtered}
	}
}

// simulate polls a server over length.
func simulate(s *Schedule, length time.Duration, server server) (r simulation) {
	start := time.Unix(1e9, 0)
	now := start
	s.server.at, s.self.at = start, start
	full := s.Filter == FilterRefused
	goodFull, good := start, start
	for now.Sub(start) < length {
		began, got := now, server.respond(now.Sub(start), full)
		latency := got.service + got.waits
		if latency >= requestTimeout {
			latency, got.failed = requestTimeout, true
		}
		if !full && !got.failed && s.Filter == FilterUntried {
			s.Filter = FilterWorks
		}
		s.Record(Poll{Began: now, Latency: latency, Self: got.self, Full: full, Failed: got.failed, TimedOut: latency == requestTimeout})
		r.spent += got.service
		r.self += got.self
		now = now.Add(latency)
		r.debt = max(r.debt, r.spent-time.Duration(serverShare*float64(now.Sub(start))))
		if !got.failed {
			r.longestGap, good = max(r.longestGap, began.Sub(good)), began
			if s.seenAt.IsZero() {
				s.RecordSeen(began)
			}
		}
		if full {
			r.full++
			if !got.failed {
				goodFull = now
			}
		} else {
			r.filtered++
		}
		if server.roundTrip > 0 && s.WantsRoundTrip(now) {
			r.roundTrips++
			now = now.Add(server.roundTrip)
			s.RecordRoundTrip(now, server.roundTrip)
		}
		status := server.status
		status.Up, status.IdleSinceFull = true, status.IdleSinceFull && !full
		var wait time.Duration
		wait, full = s.Next(now, status)
		r.longestIdle = max(r.longestIdle, wait)
		now = now.Add(wait)
		r.oldest = max(r.oldest, now.Sub(goodFull))
	}
	r.elapsed = now.Sub(start)
	return r
}

// withoutCredit returns a schedule that may not spend anything in advance.
func withoutCredit(filter FilterState) *Schedule {
	s := NewSchedule(0)
	s.Filter, s.server.credit, s.self.credit = filter, 0, 0
	return &s
}

// Polls take at most 1 % of a core of the server of an idle engine over ten hours, whatever
// a request costs and however long it waits.
func TestScheduleKeepsBudget(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name      string
		filter    FilterState
		idle      bool
		respond   func(time.Duration, bool) response
		maxOldest time.Duration // age of the last good full page
		maxGap    time.Duration // between two good polls
	}{
		{"cheap", FilterUntried, false, steady(1*ms, 9*ms), 3 * time.Second, 600 * ms},
		{"cheap, often idle", FilterUntried, true, steady(1*ms, 9*ms), 3 * time.Second, 600 * ms},
		{"expensive filtered polls", FilterUntried, false, steady(10*ms, 50*ms), 20 * time.Second, 3 * time.Second},
		{"expensive full pages", FilterUntried, false, steady(1*ms, 800*ms), 4 * time.Minute, 2 * time.Second},
		{"slow", FilterUntried, false, steady(800*ms, 800*ms), 8 * time.Minute, 3 * time.Minute},
		{"full pages only", FilterRefused, false, steady(0, 9*ms), 2 * time.Second, 2 * time.Second},
		{"slow full pages only", FilterRefused, false, steady(0, 800*ms), 3 * time.Minute, 3 * time.Minute},
		{"hiccups", FilterUntried, false, func(_ time.Duration, full bool) response {
			r := steady(1*ms, 9*ms)(0, full)
			if random.IntN(1000) == 0 {
				r.waits = requestTimeout
			}
			return r
		}, 10 * time.Second, 7 * time.Second},
		{"uneven", FilterUntried, false, func(_ time.Duration, full bool) response {
			r := steady(1*ms, 9*ms)(0, full)
			r.waits = time.Duration(random.ExpFloat64() * float64(20*ms))
			return r
		}, 8 * time.Second, maxIdleInterval + 500*ms}, // and a late answer
		{"gets slower", FilterUntried, false, func(at time.Duration, full bool) response {
			return steady(1*ms+at/1e6, 9*ms+at/1e6)(at, full)
		}, time.Minute, 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := withoutCredit(c.filter)
			length := 10 * time.Hour
			if testkit.RaceEnabled {
				length /= 4
			}
			r := simulate(s, length, server{status: TargetStatus{IdleSinceFull: c.idle}, respond: c.respond})
			t.Logf("%d filtered polls, %d full; spent %.3f %%, %v too early; last full page at most %v old, polls at most %v apart", r.filtered, r.full, 100*float64(r.spent)/float64(r.elapsed), r.debt, r.oldest, r.longestGap)
			// What is spent too early is paid back: at most a reserve and one more page, and the
			// first filtered polls, whose cost is not known yet.
			page := c.respond(length, true).service
			early := maxDebt + page + minKnownPages*c.respond(0, false).service
			if share := float64(r.spent-maxDebt-page) / float64(r.elapsed); share > 0.01 || r.debt > early {
				t.Errorf("polls took %.3f %% of a core of the server, want at most 1 %%; %v too early, want %v", 100*share, r.debt, early)
			}
			if r.oldest > c.maxOldest || r.longestGap > c.maxGap {
				t.Errorf("the last good full page is up to %v old, want %v; polls are up to %v apart, want %v", r.oldest, c.maxOldest, r.longestGap, c.maxGap)
			}
			if r.filtered+r.full < 40 {
				t.Errorf("%d polls, want at least 40", r.filtered+r.full)
			}
			if s.Excess() != 0 {
				t.Errorf("an idle engine is polled beyond the budget: %v", s.Excess())
			}
		})
	}
}

// A server that never answers again is requested every few seconds.
func TestEveryRequestTimesOut(t *testing.T) {
	s := withoutCredit(FilterUntried)
	r := simulate(s, time.Hour, server{status: TargetStatus{Working: true}, respond: func(time.Duration, bool) response { return response{waits: requestTimeout} }})
	if n := r.filtered + r.full; n < 500 || n > 530 || r.longestIdle > maxPause {
		t.Errorf("%d requests, at most %v apart", n, r.longestIdle)
	}
}

// Of an engine at work polls are dense at first, and less so later; full pages come in
// between.
func TestPollsAreDenseAtFirst(t *testing.T) {
	for _, c := range []struct {
		length   time.Duration
		min, max int
	}{{10 * time.Second, 70, 101}, {30 * time.Second, 150, 181}, {time.Minute, 210, 241}, {11 * time.Minute, 1340, 1441}} {
		s := NewSchedule(0)
		r := simulate(&s, c.length, server{status: TargetStatus{Working: true}, respond: steady(1*ms, 9*ms)})
		if n := r.filtered + r.full; n < c.min || n > c.max {
			t.Errorf("%d polls in %v, want %d to %d", n, c.length, c.min, c.max)
		}
		if r.longestGap > 550*ms || r.oldest > 3*time.Second {
			t.Errorf("polls up to %v apart, full pages up to %v old", r.longestGap, r.oldest)
		}
		if share := float64(r.spent) / float64(r.elapsed); share > serverShare+float64(serverCredit)/float64(r.elapsed) {
			t.Errorf("polls took %.3f %% of the server", 100*share)
		}
		if s.Excess() != 0 {
			t.Errorf("cheap polls took %v", s.Excess())
		}
	}
}

// An engine at work is polled each second even if that costs its server more than 1 %,
// which is noted. Full pages instead of filtered ones take at most a tenth.
func TestBusyEngineIsPolledEachSecond(t *testing.T) {
	for _, c := range []struct {
		name     string
		filter   FilterState
		respond  func(time.Duration, bool) response
		maxGap   time.Duration
		min, max float64 // excess share
	}{
		{"5 ms", FilterUntried, steady(5*ms, 20*ms), time.Second, 0, 0},
		{"20 ms", FilterUntried, steady(20*ms, 50*ms), time.Second, 0.019, 0.035},
		{"100 ms", FilterUntried, steady(100*ms, 100*ms), time.Second, 0.09, 0.12},
		{"full pages of 9 ms", FilterRefused, steady(0, 9*ms), time.Second, 0, 0},
		{"full pages of 50 ms", FilterRefused, steady(0, 50*ms), time.Second, 0.045, 0.06},
		{"full pages of 500 ms", FilterRefused, steady(0, 500*ms), 5 * time.Second, 0.09, 0.11},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSchedule(0)
			s.Filter = c.filter
			r := simulate(&s, 10*time.Minute, server{status: TargetStatus{Working: true}, respond: c.respond})
			t.Logf("%d filtered polls, %d full, up to %v apart; share %.4f, excess %.4f", r.filtered, r.full, r.longestGap, float64(r.spent)/float64(r.elapsed), s.Excess())
			if r.longestGap > c.maxGap {
				t.Errorf("polls up to %v apart, want %v", r.longestGap, c.maxGap)
			}
			if e := s.Excess(); e < c.min || e > c.max {
				t.Errorf("excess share %.4f, want %.4f to %.4f", e, c.min, c.max)
			}
		})
	}
}

// Lateness is no cost to the server: one late response, a busy event loop, a tunnel.
func TestLateResponses(t *testing.T) {
	late := func(service func(time.Duration, bool) response, waits func(at time.Duration) time.Duration) func(time.Duration, bool) response {
		return func(at time.Duration, full bool) response {
			r := service(at, full)
			r.waits = waits(at)
			return r
		}
	}
	window := func(from, to time.Duration) func(time.Duration) time.Duration { // an event loop that is busy from then to then
		return func(at time.Duration) time.Duration {
			if at >= from && at < to {
				return to - at
			}
			return 0
		}
	}
	for _, c := range []struct {
		name              string
		working           bool
		waits             func(time.Duration) time.Duration
		roundTrip         time.Duration
		maxGap, maxIdle   time.Duration
		minPolls, maxPing int
	}{
		{"none", false, window(0, 0), 0, 250 * ms, 250 * ms, 130, 0},
		{"one of 0.4 s", false, window(2*time.Second, 2400*ms), 0, 500 * ms, 250 * ms, 120, 5},
		{"one of 0.4 s, at work", true, window(2*time.Second, 2400*ms), 0, 500 * ms, 250 * ms, 120, 5},
		{"busy for 11.8 s", true, window(1*time.Second, 12800*ms), 0, 14 * time.Second, time.Second, 20, 5},
		{"a tunnel of 50 ms", false, func(time.Duration) time.Duration { return 50 * ms }, 50 * ms, 250 * ms, 250 * ms, 120, 6},
		{"a tunnel of 300 ms", true, func(time.Duration) time.Duration { return 300 * ms }, 300 * ms, 650 * ms, 250 * ms, 45, 6},
		{"a tunnel of 300 ms without the measurement", true, func(time.Duration) time.Duration { return 300 * ms }, 0, time.Second, time.Second, 20, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSchedule(0)
			r := simulate(&s, 20*time.Second, server{status: TargetStatus{Working: c.working}, roundTrip: c.roundTrip, respond: late(steady(1*ms, 9*ms), c.waits)})
			t.Logf("%d filtered polls, %d full, up to %v apart, %v without a request; %d round trips", r.filtered, r.full, r.longestGap, r.longestIdle, r.roundTrips)
			if r.longestGap > c.maxGap || r.longestIdle > c.maxIdle {
				t.Errorf("polls up to %v apart, want %v; up to %v without a request, want %v", r.longestGap, c.maxGap, r.longestIdle, c.maxIdle)
			}
			if n := r.filtered + r.full; n < c.minPolls {
				t.Errorf("%d polls, want %d", n, c.minPolls)
			}
			if r.roundTrips > c.maxPing {
				t.Errorf("%d round trips, want %d at most", r.roundTrips, c.maxPing)
			}
			if s.Filter != FilterWorks {
				t.Errorf("filtered polls ended: %v", s.Filter)
			}
		})
	}
}

// The round trip is measured a handful of times, even in a day.
func TestRoundTripsAreFew(t *testing.T) {
	s := NewSchedule(0)
	r := simulate(&s, 24*time.Hour, server{status: TargetStatus{}, roundTrip: 50 * ms, respond: func(_ time.Duration, full bool) response {
		r := steady(1*ms, 9*ms)(0, full)
		r.service *= 8 // so that it makes a difference at any time
		r.waits = 50 * ms
		return r
	}})
	if r.roundTrips < firstRoundTrips || r.roundTrips > firstRoundTrips+12 {
		t.Errorf("%d round trips in a day", r.roundTrips)
	}
}

// All polls take at most 0.3 % of a core of vobs's own CPU time, several servers together,
// but each engine at work is polled each second.
func TestScheduleKeepsOwnShare(t *testing.T) {
	own := func(filtered, full time.Duration) func(time.Duration, bool) response {
		return func(_ time.Duration, isFull bool) response {
			r := response{service: 100 * time.Microsecond, self: filtered}
			if isFull {
				r.self = full
			}
			return r
		}
	}
	for _, c := range []struct {
		name    string
		servers int
		working bool
		respond func(time.Duration, bool) response
		max     float64 // of a core, all servers together
		maxGap  time.Duration
	}{
		{"usual", 1, true, own(250*time.Microsecond, 2*ms), 0.003, 600 * ms},
		{"expensive", 1, false, own(3*ms, 10*ms), 0.003, 3 * time.Second},
		{"expensive, at work", 1, true, own(3*ms, 10*ms), 0.006, time.Second},
		{"eight servers", 8, false, own(250*time.Microsecond, 2*ms), 0.003, 3 * time.Second},
		{"eight servers at work", 8, true, own(250*time.Microsecond, 2*ms), 0.0045, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSchedule(0)
			r := simulate(&s, time.Hour, server{status: TargetStatus{Working: c.working, Servers: c.servers}, respond: c.respond})
			// What is spent early: the credit, and a debt of a page and of the 20 polls that triple
			// the interval.
			early := selfCredit/time.Duration(c.servers) + c.respond(0, true).self + 20*c.respond(0, false).self
			share := float64(c.servers) * (r.self - early).Seconds() / r.elapsed.Seconds()
			t.Logf("%d filtered polls, %d full, up to %v apart; %.4f %%", r.filtered, r.full, r.longestGap, 100*share)
			if share > c.max || r.longestGap > c.maxGap {
				t.Errorf("polls took %.4f %% of a core, want %.4f %%; they are up to %v apart, want %v", 100*share, 100*c.max, r.longestGap, c.maxGap)
			}
			if s.Excess() != 0 {
				t.Errorf("the server's share: %v", s.Excess())
			}
		})
	}
	s := NewSchedule(0)
	s.Filter = FilterRefused
	r := simulate(&s, 10*time.Minute, server{status: TargetStatus{Working: true}, respond: own(0, 50*ms)})
	if share := r.self.Seconds() / r.elapsed.Seconds(); share > 0.0105 || r.longestGap > 5*time.Second {
		t.Errorf("large pages took %.4f %% of a core, up to %v apart", 100*share, r.longestGap)
	}
}

// If all of vobs is above its budget, polls wait, but not for longer than their own cost
// justifies, not for longer than two seconds, and one while the engine works.
func TestOverdrawnBudgetDelaysPolls(t *testing.T) {
	for _, c := range []struct {
		self    time.Duration
		working bool
		want    time.Duration
	}{
		{0, false, MinInterval},
		{200 * time.Microsecond, false, MinInterval},
		{6 * ms, false, 2 * time.Second},
		{time.Second, false, 2 * time.Second},
		{6 * ms, true, time.Second},
		{time.Second, true, time.Second},
	} {
		now := time.Unix(1e9, 0)
		s := NewSchedule(0)
		s.RecordSeen(now.Add(-time.Hour))
		s.self.credit, s.Filter = time.Hour, FilterWorks
		s.self.max = time.Hour
		s.Record(Poll{Began: now, Latency: ms, Full: true})
		for range minKnownPages {
			s.Record(Poll{Began: now, Self: c.self})
		}
		if wait, _ := s.Next(now, TargetStatus{Up: true, Working: c.working, Overdrawn: 4 * time.Second}); wait != c.want {
			t.Errorf("polls that take %v, engine working %v: the next one waits %v, want %v", c.self, c.working, wait, c.want)
		}
	}
}

func TestScheduleBeforeEngineIsUp(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := NewSchedule(0)
	if wait, full := s.Next(now, TargetStatus{NotVLLM: true}); wait != notVLLMInterval || !full {
		t.Errorf("not vLLM: wait %v, full %v", wait, full)
	}
	s.Record(Poll{Began: now, Latency: 100 * time.Microsecond, Full: true, Failed: true, Refused: true})
	if wait, full := s.Next(now, TargetStatus{}); wait != MinInterval || !full {
		t.Errorf("nothing listens: wait %v, full %v", wait, full)
	}
	s.Record(Poll{Began: now, Latency: 2 * time.Second, Full: true, Failed: true, TimedOut: true})
	if wait, full := s.Next(now, TargetStatus{}); wait != maxDownInterval || !full {
		t.Errorf("request timed out: wait %v, full %v", wait, full)
	}
	s.Interval = 100 * time.Millisecond
	if wait, _ := s.Next(now, TargetStatus{Up: true}); wait != s.Interval {
		t.Errorf("the user's interval: wait %v", wait)
	}
	if s.Excess() != 0 {
		t.Errorf("excess %v", s.Excess())
	}
}

// The first page of a fresh vLLM takes 100 ms and more, while everything is cold, and a
// script ends the server soon after its last request. The page with the complete
// figures must be read before that: as soon as a poll sees the engine idle, even if the
// budget is spent.
func TestIdleAfterColdStart(t *testing.T) {
	s := NewSchedule(0)
	now := time.Unix(1000, 0)
	s.RecordSeen(now)
	s.Record(Poll{Began: now, Latency: 120 * ms, Full: true})
	now = now.Add(120 * ms)
	s.Filter = FilterWorks
	for load := now.Add(10 * time.Second); now.Before(load); { // under load a filtered poll takes 5 ms
		wait, full := s.Next(now, TargetStatus{Up: true, Working: true})
		now = now.Add(wait)
		latency := 5 * ms
		if full {
			latency = 12 * ms
		}
		s.Record(Poll{Began: now, Latency: latency, Full: full})
		now = now.Add(latency)
	}
	if s.server.credit >= 0 {
		t.Errorf("credit %v, want the budget spent", s.server.credit)
	}
	if wait, full := s.Next(now, TargetStatus{Up: true, IdleSinceFull: true}); !full || wait != 0 {
		t.Errorf("idle: next page full %v, after %v", full, wait)
	}
	if s.FullLatency.Count < 2 {
		t.Errorf("%d full pages in 10 s of load, want at least 2", s.FullLatency.Count)
	}
}

// Under the user's interval the page comes at once, too. After a failure it does not: a
// server that fails is not requested without a pause.
func TestDrainedPage(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, interval := range []time.Duration{0, time.Second} {
		s := NewSchedule(interval)
		s.Filter = FilterWorks
		s.RecordSeen(now)
		s.Record(Poll{Began: now, Latency: 9 * ms, Full: true})
		s.Record(Poll{Began: now.Add(100 * ms), Latency: ms})
		if wait, full := s.Next(now.Add(101*ms), TargetStatus{Up: true, IdleSinceFull: true}); wait != 0 || !full {
			t.Errorf("interval %v: wait %v, full %v", interval, wait, full)
		}
		s.Record(Poll{Began: now.Add(101 * ms), Latency: ms, Full: true})
		if wait, _ := s.Next(now.Add(102*ms), TargetStatus{Up: true, IdleSinceFull: true}); wait < 90*ms {
			t.Errorf("interval %v, after a full page: wait %v", interval, wait)
		}
		s.Record(Poll{Began: now.Add(101 * ms), Latency: ms, Full: true, Failed: true})
		if wait, full := s.Next(now.Add(102*ms), TargetStatus{Up: true, IdleSinceFull: true}); wait < 90*ms || full {
			t.Errorf("interval %v, after a failure: wait %v, full %v", interval, wait, full)
		}
	}
}

// An engine that is idle at every poll, after work each time, does not have full pages
// beyond the budget for long.
func TestDrainedPagesAreBounded(t *testing.T) {
	s := NewSchedule(0)
	length := 10 * time.Minute
	r := simulate(&s, length, server{status: TargetStatus{IdleSinceFull: true, Working: true}, respond: steady(1*ms, 9*ms)})
	if share := (r.spent - serverCredit - maxDebt - 9*ms).Seconds() / length.Seconds(); share > serverShare {
		t.Errorf("polls took %.4f %% of the server", 100*share)
	}
	if r.oldest > 3*time.Second {
		t.Errorf("the last full page is up to %v old", r.oldest)
	}
}

// Cheap full pages are read often, so that a recent one exists if the server goes away;
// expensive ones every five seconds at most.
func TestFullPageIntervalByCost(t *testing.T) {
	for cost, want := range map[time.Duration]time.Duration{
		time.Millisecond:       time.Second,
		5 * time.Millisecond:   time.Second,
		10 * time.Millisecond:  2 * time.Second,
		20 * time.Millisecond:  4 * time.Second,
		100 * time.Millisecond: 5 * time.Second,
	} {
		began := time.Unix(1e9, 0)
		s := NewSchedule(0)
		s.Filter, s.server.at, s.fullAt = FilterWorks, began, began
		for range minKnownPages {
			s.FullLatency.Add(cost)
		}
		if s.nextIsFull(began.Add(want-time.Millisecond), TargetStatus{Up: true}) || !s.nextIsFull(began.Add(want), TargetStatus{Up: true}) {
			t.Errorf("a page of %v is not read every %v", cost, want)
		}
	}
}

// Addresses that do not respond wait for the budget too; one where nothing listens costs
// nothing and is tried again soon.
func TestOverdrawnBudgetDelaysSilentAddresses(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		poll Poll
		want time.Duration
	}{
		{Poll{Began: now, Latency: 2 * time.Second, Full: true, Failed: true, TimedOut: true}, maxDownInterval + 3*time.Second},
		{Poll{Began: now, Latency: ms, Full: true, Failed: true, Refused: true}, MinInterval},
	} {
		s := NewSchedule(0)
		s.Record(c.poll)
		if wait, _ := s.Next(now, TargetStatus{Overdrawn: 3 * time.Second}); wait != c.want {
			t.Errorf("%+v: the wait is %v, want %v", c.poll, wait, c.want)
		}
	}
}

// The polls of several servers coincide.
func TestAlignTo(t *testing.T) {
	origin := time.Unix(1e9, 0)
	at := func(seconds float64) time.Time { return origin.Add(time.Duration(seconds * 1e9)) }
	s := NewSchedule(0)
	s.RecordSeen(origin)
	for _, c := range []struct{ now, wait, want float64 }{
		{0, 0.1, 0.1},
		{1.03, 0.1, 0.07}, // at 1.1
		{1.03, 0.05, 0.07},
		{1.03, 0.02, 0.07},
		{1.03, 0, 0},
		{1.03, 0.4, 0.37}, // a stretched wait
		{20.03, 0.25, 0.22},
		{20.2, 0.25, 0.3},
		{100.2, 0.5, 0.3},
	} {
		if got := s.AlignTo(origin, at(c.now), time.Duration(c.wait*1e9)).Seconds(); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("at %v s, a wait of %v s becomes %v, want %v", c.now, c.wait, got, c.want)
		}
	}
	if got := s.AlignTo(time.Time{}, at(1.03), time.Second); got != time.Second {
		t.Errorf("without an origin: %v", got)
	}
}
