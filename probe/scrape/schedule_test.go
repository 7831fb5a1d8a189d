package scrape

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// simulation is what the polls of an engine amounted to over a simulated time.
type simulation struct {
	spent, elapsed time.Duration
	filtered, full int
	// oldest is the greatest age of the last good full page, longestGap the longest
	// time between two good polls.
	oldest, longestGap time.Duration
	// worst is the greatest share of the time that was spent, without the last request.
	worst float64
}

// simulate polls an engine over length. cost returns each request's latency and whether
// it fails.
func simulate(s *Schedule, length time.Duration, idle bool, cost func(at time.Duration, full bool) (latency time.Duration, failed bool)) (r simulation) {
	start := time.Unix(1e9, 0)
	now := start
	s.creditAt = start
	full := s.Filter == FilterRefused
	goodFull, good := start, start
	for now.Sub(start) < length {
		if now.After(start) {
			r.worst = max(r.worst, float64(r.spent)/float64(now.Sub(start)))
		}
		latency, failed := cost(now.Sub(start), full)
		if !full && !failed && s.Filter == FilterUntried {
			s.Filter = FilterWorks
		}
		s.Record(now, latency, full, failed)
		r.spent += latency
		now = now.Add(latency)
		if !failed {
			r.longestGap, good = max(r.longestGap, now.Sub(good)), now
		}
		if full {
			r.full++
			if !failed {
				goodFull = now
			}
		} else {
			r.filtered++
		}
		var wait time.Duration
		wait, full = s.Next(now, TargetStatus{Up: true, IdleSinceFull: idle && !full})
		now = now.Add(wait)
		r.oldest = max(r.oldest, now.Sub(goodFull))
	}
	r.elapsed = now.Sub(start)
	return r
}

// Polls take at most 1 % of the server's time over ten hours, whatever a request costs.
func TestScheduleKeepsBudget(t *testing.T) {
	const ms = time.Millisecond
	steady := func(filtered, full time.Duration) func(time.Duration, bool) (time.Duration, bool) {
		return func(_ time.Duration, isFull bool) (time.Duration, bool) {
			if isFull {
				return full, false
			}
			return filtered, false
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name      string
		filter    FilterState
		idle      bool
		cost      func(time.Duration, bool) (time.Duration, bool)
		maxOldest time.Duration // age of the last good full page
		maxGap    time.Duration // between two good polls
	}{
		{"cheap", FilterUntried, false, steady(1*ms, 9*ms), 7 * time.Second, 2 * time.Second},
		{"cheap, often idle", FilterUntried, true, steady(1*ms, 9*ms), 7 * time.Second, 2 * time.Second},
		{"expensive filtered polls", FilterUntried, false, steady(10*ms, 50*ms), 20 * time.Second, 8 * time.Second},
		{"expensive full pages", FilterUntried, false, steady(1*ms, 800*ms), 4 * time.Minute, 90 * time.Second},
		{"slow", FilterUntried, false, steady(800*ms, 800*ms), 8 * time.Minute, 3 * time.Minute},
		{"full pages only", FilterRefused, false, steady(0, 9*ms), 2 * time.Second, 2 * time.Second},
		{"slow full pages only", FilterRefused, false, steady(0, 800*ms), 82 * time.Second, 82 * time.Second},
		{"hiccups", FilterUntried, false, func(_ time.Duration, full bool) (time.Duration, bool) {
			if random.IntN(1000) == 0 {
				return 2 * time.Second, true
			}
			return steady(1*ms, 9*ms)(0, full)
		}, 10 * time.Minute, 10 * time.Minute},
		{"uneven", FilterUntried, false, func(time.Duration, bool) (time.Duration, bool) {
			return time.Duration(random.ExpFloat64() * float64(20*ms)), false
		}, 10 * time.Minute, 10 * time.Minute},
		{"every request times out", FilterUntried, false, func(time.Duration, bool) (time.Duration, bool) { return 2 * time.Second, true }, 11 * time.Hour, 11 * time.Hour},
		{"gets slower", FilterUntried, false, func(at time.Duration, full bool) (time.Duration, bool) {
			return steady(1*ms+at/10000, 9*ms+at/10000)(at, full)
		}, time.Hour, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Schedule{Filter: c.filter}
			length := 10 * time.Hour
			if testkit.RaceEnabled {
				length /= 4
			}
			r := simulate(s, length, c.idle, c.cost)
			t.Logf("%d filtered polls, %d full; spent %.3f %%, at worst %.3f %%; last full page at most %v old, polls at most %v apart", r.filtered, r.full, 100*float64(r.spent)/float64(r.elapsed), 100*r.worst, r.oldest, r.longestGap)
			// The first request comes before any time has passed.
			if share := float64(r.spent) / float64(r.elapsed); share > 0.01 || r.worst > 0.0101 {
				t.Errorf("polls took %.3f %% of the server's time, at worst %.3f %%, want at most 1 %%", 100*share, 100*r.worst)
			}
			if r.oldest > c.maxOldest || r.longestGap > c.maxGap {
				t.Errorf("the last good full page is up to %v old, want %v; polls are up to %v apart, want %v", r.oldest, c.maxOldest, r.longestGap, c.maxGap)
			}
			if r.filtered+r.full < 40 {
				t.Errorf("%d polls, want at least 40", r.filtered+r.full)
			}
		})
	}
}

func TestScheduleBeforeEngineIsUp(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := &Schedule{}
	if wait, full := s.Next(now, TargetStatus{NotVLLM: true}); wait != notVLLMInterval || !full {
		t.Errorf("not vLLM: wait %v, full %v", wait, full)
	}
	s.Record(now, 100*time.Microsecond, true, true)
	if wait, full := s.Next(now, TargetStatus{}); wait != MinInterval || !full {
		t.Errorf("nothing listens: wait %v, full %v", wait, full)
	}
	s.Record(now, 2*time.Second, true, true)
	if wait, full := s.Next(now, TargetStatus{}); wait != maxDownInterval || !full {
		t.Errorf("request timed out: wait %v, full %v", wait, full)
	}
	s.Interval = 100 * time.Millisecond
	if wait, _ := s.Next(now, TargetStatus{Up: true}); wait != s.Interval {
		t.Errorf("the user's interval: wait %v", wait)
	}
}

// The first page of a fresh vLLM takes 100 ms and more, while everything is cold, and a
// script ends the server soon after its last request. The page with the complete
// figures must be read before that.
func TestIdleAfterColdStart(t *testing.T) {
	s := NewSchedule(0)
	now := time.Unix(1000, 0)
	s.Record(now, 120*time.Millisecond, true, false)
	now = now.Add(120 * time.Millisecond)
	s.Filter = FilterWorks
	for load := now.Add(10 * time.Second); now.Before(load); { // under load a filtered poll takes 5 ms
		wait, full := s.Next(now, TargetStatus{Up: true})
		now = now.Add(wait)
		latency := 5 * time.Millisecond
		if full {
			latency = 12 * time.Millisecond
		}
		s.Record(now, latency, full, false)
		now = now.Add(latency)
	}
	if wait, full := s.Next(now, TargetStatus{Up: true, IdleSinceFull: true}); !full || wait > 2*time.Second {
		t.Errorf("idle: next page full %v, after %v", full, wait)
	}
	if s.FullLatency.Count < 2 {
		t.Errorf("%d full pages in 10 s of load, want at least 2", s.FullLatency.Count)
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
		s := Schedule{Filter: FilterWorks, credit: maxCredit, creditAt: began, fullAt: began}
		for range minKnownPages {
			s.FullLatency.Add(cost)
		}
		if s.nextIsFull(began.Add(want-time.Millisecond), TargetStatus{Up: true}) || !s.nextIsFull(began.Add(want), TargetStatus{Up: true}) {
			t.Errorf("a page of %v is not read every %v", cost, want)
		}
	}
}
