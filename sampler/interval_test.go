package sampler

import (
	"fmt"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/budget"
)

// simulateGPUs runs the governor on a clock that only it moves: a round of memory
// readings costs memory(t), a slow round slow. It gives the CPU time spent in
// all, the interval at the end, and the longest interval of all.
func simulateGPUs(g *governor, run time.Duration, memory func(t time.Duration) time.Duration, slow time.Duration) (spent, interval, worst time.Duration, slowRounds int) {
	var now, owed, round time.Duration // owed: time since the last memory round
	spent = slow                       // the first slow round
	g.reserve(slow)
	interval, period := g.next(tick{slow: true, slowCPU: slow, rounds: 1, memoryCPU: memory(0)})
	for now < run {
		t := tick{elapsed: tickEvery, running: true}
		for owed += tickEvery; owed >= interval; owed -= interval {
			t.rounds++
			t.memoryCPU += memory(now)
			if memory(now) > time.Millisecond {
				owed = 0 // the watcher holds after a dear round until the next tick
				break
			}
		}
		now += tickEvery
		if now-round >= period {
			round, t.slow, t.slowCPU = now, true, slow
			slowRounds++
		}
		spent += t.memoryCPU + t.slowCPU + tickCost
		interval, period = g.next(t)
		worst = max(worst, interval)
	}
	return spent + slow, interval, worst, slowRounds // the last slow round
}

func always(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

func TestGovernorKeepsTheBudget(t *testing.T) {
	const run = 2 * time.Minute
	for _, c := range []struct {
		memory, slow time.Duration
		atMost       time.Duration // the interval reached
	}{
		{5 * time.Microsecond, 50 * time.Microsecond, fastest},
		{25 * time.Microsecond, 200 * time.Microsecond, fastest},
		{40 * time.Microsecond, time.Millisecond, 10 * time.Millisecond},
		{200 * time.Microsecond, 5 * time.Millisecond, 60 * time.Millisecond},
		{500 * time.Microsecond, 3 * time.Millisecond, 150 * time.Millisecond},
		{4 * time.Millisecond, 28 * time.Millisecond, 1500 * time.Millisecond},
		{20 * time.Millisecond, 100 * time.Millisecond, 20 * time.Second},
	} {
		t.Run(fmt.Sprintf("%v,%v", c.memory, c.slow), func(t *testing.T) {
			g := &governor{}
			spent, interval, _, slow := simulateGPUs(g, run, always(c.memory), c.slow)
			share := spent.Seconds() / run.Seconds()
			t.Logf("%.3f %% of a core, every %v, %d slow rounds", 100*share, interval, slow)
			if share > gpuShare {
				t.Errorf("spent %.3f %% of a core, the budget is %.3f %%", 100*share, 100*gpuShare)
			}
			if interval < fastest || interval > c.atMost {
				t.Errorf("interval %v, want %v to %v", interval, fastest, c.atMost)
			}
			if slow == 0 {
				t.Error("no slow round at all")
			}
		})
	}
}

// A driver that becomes 100 times as expensive in the middle is noticed before
// the budget of the whole run is gone, and its return to normal is too.
func TestGovernorFollowsAChange(t *testing.T) {
	const run = 2 * time.Minute
	memory := func(at time.Duration) time.Duration {
		if at > 30*time.Second && at < 60*time.Second {
			return 3 * time.Millisecond
		}
		return 30 * time.Microsecond
	}
	spent, interval, worst, _ := simulateGPUs(&governor{}, run, memory, 300*time.Microsecond)
	if share := spent.Seconds() / run.Seconds(); share > gpuShare {
		t.Errorf("spent %.3f %% of a core", 100*share)
	}
	if worst < 300*time.Millisecond {
		t.Errorf("the interval never went beyond %v under a driver of 3 ms", worst)
	}
	if interval > 2*fastest {
		t.Errorf("a minute after it became cheap again the interval is %v", interval)
	}
}

// One dear round in many leaves the pace as it was within a second.
func TestGovernorForgetsAnOutlier(t *testing.T) {
	g := &governor{}
	normal := tick{elapsed: tickEvery, running: true, rounds: 50, memoryCPU: 50 * 25 * time.Microsecond}
	for range 40 {
		g.next(normal)
	}
	dear := normal
	dear.memoryCPU += 2 * time.Millisecond
	g.next(dear)
	var interval time.Duration
	for range 4 {
		interval, _ = g.next(normal)
	}
	if interval > 2*fastest {
		t.Errorf("the interval is %v a second after one dear round", interval)
	}
}

func TestGovernorKeepsAGivenInterval(t *testing.T) {
	g := &governor{fixed: 20 * time.Millisecond}
	for range 100 {
		memory, slow := g.next(tick{elapsed: tickEvery, running: true, rounds: 12, memoryCPU: 100 * time.Millisecond, slow: true, slowCPU: 10 * time.Millisecond})
		if memory != g.fixed {
			t.Fatalf("the interval that was asked for became %v", memory)
		}
		if slow < 5*time.Second {
			t.Fatalf("slow rounds of 10 ms every %v", slow)
		}
	}
}

// A command of a second gets its slow rounds in spite of a driver that allows few.
func TestGovernorBeginsWithSlowRounds(t *testing.T) {
	_, _, _, slow := simulateGPUs(&governor{}, time.Second, always(30*time.Microsecond), time.Millisecond)
	if slow < 1 || slow > 3 {
		t.Errorf("%d slow rounds in a second, want 1 to 3", slow)
	}
}

// Ten simulated hours: nothing grows, the budget holds, the pace stays.
func TestGovernorOverTenHours(t *testing.T) {
	const run = 10 * time.Hour
	spent, interval, worst, _ := simulateGPUs(&governor{}, run, always(30*time.Microsecond), time.Millisecond)
	if share := spent.Seconds() / run.Seconds(); share > gpuShare {
		t.Errorf("spent %.3f %% of a core", 100*share)
	}
	if interval > 10*time.Millisecond || worst > 20*time.Millisecond {
		t.Errorf("interval %v, worst %v", interval, worst)
	}
}

// costs are CPU times of what vobs does over and over.
type costs struct {
	start           time.Duration // until the command runs
	memory, slow    time.Duration // the GPUs' rounds
	refresh, search time.Duration // the host's readings and discoveries, without their wake-ups
	poll            time.Duration // of engines, twice a second
}

// simulateAll lets all of vobs live on a clock that only it moves: both governors,
// polls, and the budget above them. look is called at each tick with what
// everything took so far, what the end will take included.
func simulateAll(run time.Duration, c costs, look func(now, spent time.Duration)) (gpu, total, interval time.Duration) {
	const ending = 5 * time.Millisecond
	const begin = 15 * time.Millisecond
	now, cpu := begin, c.start
	b := budget.New(func() (time.Duration, time.Duration) { return now, cpu })
	g, h := &governor{}, newHostGovernor(defaultHostInterval)

	cpu += c.memory + c.slow
	gpu += c.memory + c.slow
	g.reserve(c.slow)
	b.Reserve(c.slow + c.memory)
	interval, period := g.next(tick{slow: true, slowCPU: c.slow, rounds: 1, memoryCPU: c.memory, share: b.GPUShare(gpu)})
	hostAt, search := h.next()
	hostAt = max(hostAt, b.Wait())
	pollAt := now
	round := now
	var owed time.Duration
	for now < run {
		t := tick{elapsed: tickEvery, running: true}
		for owed += tickEvery; owed >= interval; owed -= interval {
			t.rounds++
			t.memoryCPU += c.memory
			if c.memory > time.Millisecond {
				owed = 0 // the watcher holds after a dear round until the next tick
				break
			}
		}
		now += tickEvery
		if now-round >= period {
			round, t.slow, t.slowCPU = now, true, c.slow
		}
		gpu += t.memoryCPU + t.slowCPU
		cpu += t.memoryCPU + t.slowCPU + tickCost
		for hostAt <= now-begin {
			if search {
				cpu += c.search
				h.chargeDiscover(hostAt, c.search)
			}
			cpu += c.refresh + hostWakeCost
			h.chargeRefresh(hostAt, c.refresh)
			hostAt, search = h.next()
			hostAt = max(hostAt, now-begin+b.Wait())
		}
		for pollAt <= now {
			cpu += c.poll
			pollAt = max(pollAt+500*time.Millisecond, now+b.Wait())
		}
		t.share = b.GPUShare(gpu)
		interval, period = g.next(t)
		look(now, cpu+ending+c.slow+c.memory)
	}
	return gpu, cpu + ending + c.slow + c.memory, interval
}

// All of vobs keeps to 1 % of a core: in 5 s, in which the start must be paid, in
// a minute, and in ten hours.
func TestAllOfItKeepsTheBudget(t *testing.T) {
	us, ms := time.Microsecond, time.Millisecond
	for _, c := range []struct {
		name     string
		costs    costs
		from     time.Duration // the budget holds from then on
		interval time.Duration // that is reached in the end, at most
	}{
		{"usual", costs{8 * ms, 40 * us, 150 * us, 100 * us, 500 * us, 250 * us}, 5 * time.Second, 8 * ms},
		{"a slow machine, where spikes come first", costs{16 * ms, 80 * us, 300 * us, 200 * us, ms, 500 * us}, 15 * time.Second, 16 * ms},
		{"a host of thousands of processes", costs{8 * ms, 40 * us, 150 * us, 300 * us, 8 * ms, 250 * us}, 6 * time.Second, 8 * ms},
		{"engines by the dozen", costs{8 * ms, 40 * us, 150 * us, 100 * us, 500 * us, 3 * ms}, 8 * time.Second, 35 * ms},
		{"more engines than can be paid for", costs{8 * ms, 40 * us, 150 * us, 100 * us, 500 * us, 15 * ms}, time.Minute, 60 * ms},
		{"a dear driver", costs{12 * ms, 500 * us, 2500 * us, 100 * us, 500 * us, 250 * us}, 5 * time.Second, 120 * ms},
		{"eight GPUs with a dear driver", costs{28 * ms, 4 * ms, 12 * ms, 100 * us, 500 * us, 250 * us}, time.Minute, 1500 * ms},
		{"a driver that takes a tenth of a second", costs{50 * ms, 100 * ms, 300 * ms, 100 * us, 500 * us, 250 * us}, 5 * time.Minute, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			gpu, total, interval := simulateAll(10*time.Hour, c.costs, func(now, spent time.Duration) {
				// What is due at the same moment is known after it only.
				most := budget.Whole*now.Seconds() + 2*(c.costs.memory+c.costs.slow+c.costs.search+c.costs.poll).Seconds()
				if now >= c.from && spent.Seconds() > most {
					t.Fatalf("after %v all of it took %v: %.3f %% of a core", now, spent, 100*spent.Seconds()/now.Seconds())
				}
			})
			t.Logf("%.3f %% of a core, the GPUs %.3f %%, every %v", total.Seconds()/360, gpu.Seconds()/360, interval)
			if interval > c.interval {
				t.Errorf("the interval is %v, want %v at most", interval, c.interval)
			}
		})
	}
}

// The very first round, in a cold process, tells little of what one costs: neither it
// nor the average with it stretches the pace.
func TestGovernorColdRound(t *testing.T) {
	g := &governor{}
	us := time.Microsecond
	if memory, _ := g.next(tick{elapsed: time.Millisecond, rounds: 1, memoryCPU: 350 * us, slow: true, slowCPU: 50 * us, share: 0.0045}); memory > seldomMissed {
		t.Errorf("after one round of 350 µs the interval is %v", memory)
	}
	if memory, _ := g.next(tick{elapsed: 250 * time.Millisecond, rounds: 16, memoryCPU: 16 * 60 * us, running: true, share: 0.0045}); memory > seldomMissed {
		t.Errorf("after 16 rounds of 60 µs the interval is %v", memory)
	}
	g = &governor{}
	if memory, _ := g.next(tick{elapsed: time.Millisecond, rounds: 1, memoryCPU: 500 * us, slow: true, slowCPU: 50 * us, share: 0.0045}); memory < 50*time.Millisecond {
		t.Errorf("after one round of 500 µs, of a dear driver, the interval is %v", memory)
	}
}
