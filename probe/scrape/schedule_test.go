package scrape

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// plan follows the polls of an engine over a time on a clock of its own. cost
// gives each request's wall time and whether it fails.
type planned struct {
	spent, elapsed time.Duration
	filtered, full int
	// oldest is the greatest age of the last good full page, longestGap the
	// longest time between two good polls.
	oldest, longestGap time.Duration
	worst              float64 // the greatest share of the time that was spent, the last request left out
}

func simulate(p *Schedule, length time.Duration, drained bool, cost func(at time.Duration, full bool) (wall time.Duration, failed bool)) (r planned) {
	start := time.Unix(1e9, 0)
	now := start
	p.at = start
	full := p.Filter == FilterRefused
	goodFull, good := start, start
	for now.Sub(start) < length {
		if now.After(start) {
			r.worst = max(r.worst, float64(r.spent)/float64(now.Sub(start)))
		}
		wall, failed := cost(now.Sub(start), full)
		if !full && !failed && p.Filter == FilterUntried {
			p.Filter = FilterWorks
		}
		p.Record(now, wall, full, failed)
		r.spent += wall
		now = now.Add(wall)
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
		wait, full = p.Next(now, TargetStatus{Up: true, IdleSinceFull: drained && !full})
		now = now.Add(wait)
		r.oldest = max(r.oldest, now.Sub(goodFull))
	}
	r.elapsed = now.Sub(start)
	return r
}

// What the polls cost the server stays within 1 % of its time, over ten hours,
// whatever a request costs.
func TestPlanKeepsTheBudget(t *testing.T) {
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
		name    string
		filter  filterState
		drained bool
		cost    func(time.Duration, bool) (time.Duration, bool)
		oldest  time.Duration // of the last good full page, at most
		gap     time.Duration // between two good polls, at most
	}{
		{"cheap", FilterUntried, false, steady(1*ms, 9*ms), 7 * time.Second, 2 * time.Second},
		{"cheap, drained time and again", FilterUntried, true, steady(1*ms, 9*ms), 7 * time.Second, 2 * time.Second},
		{"dear filtered polls", FilterUntried, false, steady(10*ms, 50*ms), 20 * time.Second, 8 * time.Second},
		{"dear full pages", FilterUntried, false, steady(1*ms, 800*ms), 4 * time.Minute, 90 * time.Second},
		{"slow", FilterUntried, false, steady(800*ms, 800*ms), 8 * time.Minute, 3 * time.Minute},
		{"full pages alone", FilterRefused, false, steady(0, 9*ms), 2 * time.Second, 2 * time.Second},
		{"slow full pages alone", FilterRefused, false, steady(0, 800*ms), 82 * time.Second, 82 * time.Second},
		{"hiccups", FilterUntried, false, func(_ time.Duration, full bool) (time.Duration, bool) {
			if random.IntN(1000) == 0 {
				return 2 * time.Second, true
			}
			return steady(1*ms, 9*ms)(0, full)
		}, 10 * time.Minute, 10 * time.Minute},
		{"uneven", FilterUntried, false, func(time.Duration, bool) (time.Duration, bool) {
			return time.Duration(random.ExpFloat64() * float64(20*ms)), false
		}, 10 * time.Minute, 10 * time.Minute},
		{"hangs", FilterUntried, false, func(time.Duration, bool) (time.Duration, bool) { return 2 * time.Second, true }, 11 * time.Hour, 11 * time.Hour},
		{"grows slow", FilterUntried, false, func(at time.Duration, full bool) (time.Duration, bool) {
			return steady(1*ms+at/10000, 9*ms+at/10000)(at, full)
		}, time.Hour, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &Schedule{Filter: c.filter}
			length := 10 * time.Hour
			if testkit.RaceEnabled {
				length /= 4
			}
			r := simulate(p, length, c.drained, c.cost)
			t.Logf("%d filtered, %d full; spent %.3f %%, at worst %.3f %%; the last page at most %v old, polls at most %v apart", r.filtered, r.full, 100*float64(r.spent)/float64(r.elapsed), 100*r.worst, r.oldest, r.longestGap)
			// The first request is there before there was time to spend anything of.
			if share := float64(r.spent) / float64(r.elapsed); share > 0.01 || r.worst > 0.0101 {
				t.Errorf("%.3f %% of the server's time, at worst %.3f %%", 100*share, 100*r.worst)
			}
			if r.oldest > c.oldest || r.longestGap > c.gap {
				t.Errorf("the last good page is up to %v old, the polls %v apart", r.oldest, r.longestGap)
			}
			if r.filtered+r.full < 40 {
				t.Errorf("%d polls in all that time", r.filtered+r.full)
			}
		})
	}
}

func TestPlanOfTheUnproven(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := &Schedule{}
	if wait, full := p.Next(now, TargetStatus{NotVLLM: true}); wait != notVLLMInterval || !full {
		t.Errorf("a stranger: %v %v", wait, full)
	}
	p.Record(now, 100*time.Microsecond, true, true)
	if wait, full := p.Next(now, TargetStatus{}); wait != MinInterval || !full {
		t.Errorf("nobody listens: %v %v", wait, full)
	}
	p.Record(now, 2*time.Second, true, true)
	if wait, full := p.Next(now, TargetStatus{}); wait != downInterval || !full {
		t.Errorf("it hangs: %v %v", wait, full)
	}
	p.Interval = 100 * time.Millisecond
	if wait, _ := p.Next(now, TargetStatus{Up: true}); wait != p.Interval {
		t.Errorf("the user's interval: %v", wait)
	}
}

// Seen with a real vLLM: the first page of a fresh server takes 100 ms and more,
// everything being cold, and a script ends the server soon after its last request.
// The page that has the whole figures must be read before.
func TestDrainedAfterAColdStart(t *testing.T) {
	p := Schedule{Credit: FirstCredit}
	now := time.Unix(1000, 0)
	p.Record(now, 120*time.Millisecond, true, false)
	now = now.Add(120 * time.Millisecond)
	p.Filter = FilterWorks
	for load := now.Add(10 * time.Second); now.Before(load); { // under load a filtered poll takes 5 ms
		wait, full := p.Next(now, TargetStatus{Up: true})
		now = now.Add(wait)
		wall := 5 * time.Millisecond
		if full {
			wall = 12 * time.Millisecond
		}
		p.Record(now, wall, full, false)
		now = now.Add(wall)
	}
	if wait, full := p.Next(now, TargetStatus{Up: true, IdleSinceFull: true}); !full || wait > 2*time.Second {
		t.Errorf("drained: full page %v after %v", full, wait)
	}
	if p.FullLatency.N < 2 {
		t.Errorf("%d full pages in 10 s of load: a last good one would be old", p.FullLatency.N)
	}
}

// Cheap full pages come often, so that a recent one exists if the server goes away;
// dear ones every five seconds at most.
func TestFullPagesByCost(t *testing.T) {
	for cost, want := range map[time.Duration]time.Duration{
		time.Millisecond:       time.Second,
		5 * time.Millisecond:   time.Second,
		10 * time.Millisecond:  2 * time.Second,
		20 * time.Millisecond:  4 * time.Second,
		100 * time.Millisecond: 5 * time.Second,
	} {
		began := time.Unix(1e9, 0)
		p := Schedule{Filter: FilterWorks, Credit: maxCredit, at: began, FullAt: began}
		for range knownPages {
			p.FullLatency.Add(cost)
		}
		if p.nextFull(began.Add(want-time.Millisecond), TargetStatus{Up: true}) || !p.nextFull(began.Add(want), TargetStatus{Up: true}) {
			t.Errorf("a page of %v is not read every %v", cost, want)
		}
	}
}
