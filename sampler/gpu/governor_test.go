package gpu

import (
	"fmt"
	"testing"
	"time"
)

// simulate runs the governor on a simulated clock: a round of memory readings costs
// memory(t), a slow round costs slow. It returns the CPU time spent, the interval at the
// end, the longest interval, and the number of slow rounds.
func simulate(g *Governor, run time.Duration, memory func(t time.Duration) time.Duration, slow time.Duration) (spent, interval, worst time.Duration, slowRounds int) {
	var now, owed, round time.Duration // owed: time since the last memory round
	spent = slow                       // the first slow round
	g.Reserve(slow)
	interval, period := g.Next(Tick{Slow: true, SlowCPU: slow, Rounds: 1, MemoryCPU: memory(0)})
	for now < run {
		t := Tick{Elapsed: TickInterval, Running: true}
		for owed += TickInterval; owed >= interval; owed -= interval {
			t.Rounds++
			t.MemoryCPU += memory(now)
			if memory(now) > time.Millisecond {
				owed = 0 // the watcher pauses after an expensive round until the next tick
				break
			}
		}
		now += TickInterval
		if now-round >= period {
			round, t.Slow, t.SlowCPU = now, true, slow
			slowRounds++
		}
		spent += t.MemoryCPU + t.SlowCPU + TickCost
		interval, period = g.Next(t)
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
		atMost       time.Duration // of the interval reached
	}{
		{5 * time.Microsecond, 50 * time.Microsecond, minInterval},
		{25 * time.Microsecond, 200 * time.Microsecond, minInterval},
		{40 * time.Microsecond, time.Millisecond, 10 * time.Millisecond},
		{200 * time.Microsecond, 5 * time.Millisecond, 60 * time.Millisecond},
		{500 * time.Microsecond, 3 * time.Millisecond, 150 * time.Millisecond},
		{4 * time.Millisecond, 28 * time.Millisecond, 1500 * time.Millisecond},
		{20 * time.Millisecond, 100 * time.Millisecond, 20 * time.Second},
	} {
		t.Run(fmt.Sprintf("%v,%v", c.memory, c.slow), func(t *testing.T) {
			g := &Governor{}
			spent, interval, _, slow := simulate(g, run, always(c.memory), c.slow)
			share := spent.Seconds() / run.Seconds()
			t.Logf("%.3f %% of a core, every %v, %d slow rounds", 100*share, interval, slow)
			if share > gpuShare {
				t.Errorf("spent %.3f %% of a core, the budget is %.3f %%", 100*share, 100*gpuShare)
			}
			if interval < minInterval || interval > c.atMost {
				t.Errorf("interval %v, want %v to %v", interval, minInterval, c.atMost)
			}
			if slow == 0 {
				t.Error("no slow round")
			}
		})
	}
}

// The governor notices a driver that becomes 100 times as expensive before the budget of
// the whole run is spent, and its return to normal too.
func TestGovernorFollowsCost(t *testing.T) {
	const run = 2 * time.Minute
	memory := func(at time.Duration) time.Duration {
		if at > 30*time.Second && at < 60*time.Second {
			return 3 * time.Millisecond
		}
		return 30 * time.Microsecond
	}
	spent, interval, worst, _ := simulate(&Governor{}, run, memory, 300*time.Microsecond)
	if share := spent.Seconds() / run.Seconds(); share > gpuShare {
		t.Errorf("spent %.3f %% of a core", 100*share)
	}
	if worst < 300*time.Millisecond {
		t.Errorf("the longest interval with a driver of 3 ms is %v", worst)
	}
	if interval > 2*minInterval {
		t.Errorf("the interval a minute after the driver became cheap again is %v", interval)
	}
}

// A second after one expensive round, the interval is as before.
func TestGovernorForgetsAnOutlier(t *testing.T) {
	g := &Governor{}
	normal := Tick{Elapsed: TickInterval, Running: true, Rounds: 50, MemoryCPU: 50 * 25 * time.Microsecond}
	for range 40 {
		g.Next(normal)
	}
	expensive := normal
	expensive.MemoryCPU += 2 * time.Millisecond
	g.Next(expensive)
	var interval time.Duration
	for range 4 {
		interval, _ = g.Next(normal)
	}
	if interval > 2*minInterval {
		t.Errorf("the interval is %v a second after one expensive round", interval)
	}
}

func TestGovernorKeepsAFixedInterval(t *testing.T) {
	g := &Governor{fixed: 20 * time.Millisecond}
	for range 100 {
		memory, slow := g.Next(Tick{Elapsed: TickInterval, Running: true, Rounds: 12, MemoryCPU: 100 * time.Millisecond, Slow: true, SlowCPU: 10 * time.Millisecond})
		if memory != g.fixed {
			t.Fatalf("the fixed interval became %v", memory)
		}
		if slow < 5*time.Second {
			t.Fatalf("slow rounds of 10 ms every %v", slow)
		}
	}
}

// A command of a second gets slow rounds although the driver's cost allows few.
func TestGovernorBeginsWithSlowRounds(t *testing.T) {
	_, _, _, slow := simulate(&Governor{}, time.Second, always(30*time.Microsecond), time.Millisecond)
	if slow < 1 || slow > 3 {
		t.Errorf("%d slow rounds in a second, want 1 to 3", slow)
	}
}

// Over ten simulated hours, the budget holds and the interval stays short.
func TestGovernorOverTenHours(t *testing.T) {
	const run = 10 * time.Hour
	spent, interval, worst, _ := simulate(&Governor{}, run, always(30*time.Microsecond), time.Millisecond)
	if share := spent.Seconds() / run.Seconds(); share > gpuShare {
		t.Errorf("spent %.3f %% of a core", 100*share)
	}
	if interval > 10*time.Millisecond || worst > 20*time.Millisecond {
		t.Errorf("interval %v, worst %v", interval, worst)
	}
}

// The very first round, in a cold process, predicts the cost poorly: neither it nor the
// average including it lengthens the interval.
func TestGovernorColdRound(t *testing.T) {
	g := &Governor{}
	us := time.Microsecond
	if memory, _ := g.Next(Tick{Elapsed: time.Millisecond, Rounds: 1, MemoryCPU: 350 * us, Slow: true, SlowCPU: 50 * us, Share: 0.0045}); memory > spikeLikely {
		t.Errorf("after one round of 350 µs the interval is %v", memory)
	}
	if memory, _ := g.Next(Tick{Elapsed: 250 * time.Millisecond, Rounds: 16, MemoryCPU: 16 * 60 * us, Running: true, Share: 0.0045}); memory > spikeLikely {
		t.Errorf("after 16 rounds of 60 µs the interval is %v", memory)
	}
	g = &Governor{}
	if memory, _ := g.Next(Tick{Elapsed: time.Millisecond, Rounds: 1, MemoryCPU: 500 * us, Slow: true, SlowCPU: 50 * us, Share: 0.0045}); memory < 50*time.Millisecond {
		t.Errorf("after one round of 500 µs, of an expensive driver, the interval is %v", memory)
	}
}

// A round that costs a little more than usual, on a slow machine, is made less often in
// proportion: readings do not become rare all at once when nothing else of the budget is left.
func TestGovernorOnASlowMachine(t *testing.T) {
	previous := time.Duration(0)
	for _, cost := range []time.Duration{60, 90, 110, 150, 190} {
		var g Governor
		var memory time.Duration
		for range 100 {
			memory, _ = g.Next(Tick{Elapsed: TickInterval, Rounds: 10, MemoryCPU: 10 * cost * time.Microsecond, Running: true, Share: 0.0008})
		}
		if memory < previous || memory > 45*time.Millisecond {
			t.Errorf("at %d µs a round the interval is %v, and it was %v at a lower cost", cost, memory, previous)
		}
		previous = memory
	}
}
