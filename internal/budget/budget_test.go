package budget

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// world is a process on a clock that the test advances.
type world struct {
	wall, cpu, gpu time.Duration
}

func (w *world) clock() (wall, cpu time.Duration) { return w.wall, w.cpu }

const step = 250 * time.Millisecond

func of(share float64, d time.Duration) time.Duration { return time.Duration(share * float64(d)) }

// run advances the clock: the GPUs use what they are given, with noise; others returns
// what everything else uses in each step in which it does not have to wait.
func (w *world) run(g *Governor, length time.Duration, others func() time.Duration, each func(share float64)) {
	random := rand.New(rand.NewPCG(7, 7))
	for end := w.wall + length; w.wall < end; {
		share := g.GPUShare(w.gpu)
		each(share)
		gpu := of(share*(0.9+0.2*random.Float64()), step)
		w.gpu += gpu
		w.cpu += gpu
		if g.Wait() == 0 {
			w.cpu += others()
		}
		w.wall += step
	}
}

func TestTotalStaysWithinBudget(t *testing.T) {
	for _, c := range []struct {
		start  time.Duration
		others float64
		from   time.Duration // from when on it must be kept
		least  float64       // what the GPUs get on average, at least
	}{
		{8 * time.Millisecond, 0.001, advance, 0.0075},
		{8 * time.Millisecond, 0.002, advance, 0.0075},
		{25 * time.Millisecond, 0.004, startupPaidWithin, 0.0055},
		{8 * time.Millisecond, 0.009, advance + time.Second, minGPUShare},
		{40 * time.Millisecond, 0.03, startupPaidWithin, minGPUShare}, // more than the whole budget: it has to wait
	} {
		t.Run(fmt.Sprintf("%v,%v", c.start, c.others), func(t *testing.T) {
			w := &world{wall: 10 * time.Millisecond, cpu: c.start}
			g := New(w.clock)
			g.Reserve(time.Millisecond)
			w.run(g, 10*time.Hour, func() time.Duration { return of(c.others, step) }, func(float64) {
				// The reservation counts too: a run may end at any moment.
				cost := w.cpu + finishCost + time.Millisecond
				if w.wall >= c.from && cost > of(Whole, w.wall)+of(c.others+minGPUShare, step) {
					t.Fatalf("after %v it cost %v, which is %.3f %% of a core", w.wall, cost, 100*cost.Seconds()/w.wall.Seconds())
				}
			})
			if got := w.gpu.Seconds() / w.wall.Seconds(); got < c.least {
				t.Errorf("the GPUs got %.3f %% of a core, want %.3f %% at least", 100*got, 100*c.least)
			}
		})
	}
}

// An unexpected burst is repaid, and then everything is as before.
func TestBurstIsRepaid(t *testing.T) {
	w := &world{wall: 10 * time.Millisecond, cpu: 8 * time.Millisecond}
	g := New(w.clock)
	others := func() time.Duration { return of(0.001, step) }
	last := 0.0
	keep := func(share float64) { last = share }
	w.run(g, time.Minute, others, keep)
	before := last
	w.cpu += 100 * time.Millisecond
	if wait := g.Wait(); wait < 3*time.Second {
		t.Errorf("after a burst of 100 ms the wait is %v", wait)
	}
	w.run(g, time.Second, others, keep)
	if last > minGPUShare {
		t.Errorf("a second after the burst the GPUs get %.3f %% of a core", 100*last)
	}
	w.run(g, 30*time.Second, others, keep)
	if cost := w.cpu + finishCost; cost > of(Whole, w.wall) {
		t.Errorf("half a minute after it %.3f %% of a core was spent", 100*cost.Seconds()/w.wall.Seconds())
	}
	if last < 0.9*before {
		t.Errorf("half a minute after the burst the GPUs get %.3f %% of a core, before it %.3f %%", 100*last, 100*before)
	}
	if wait := g.Wait(); wait > 0 {
		t.Errorf("half a minute after the burst there is a wait of %v", wait)
	}
}

// What quiet hours left over is not spent at once when something becomes expensive.
func TestSavingsAreBounded(t *testing.T) {
	w := &world{wall: 10 * time.Millisecond, cpu: 8 * time.Millisecond}
	g := New(w.clock)
	for range 40000 {
		g.GPUShare(w.gpu)
		w.wall += step
		w.cpu += of(0.001, step)
	}
	before, at := w.cpu, w.wall
	w.run(g, time.Minute, func() time.Duration { return of(0.03, step) }, func(float64) {})
	if cost := w.cpu - before; cost > of(Whole, w.wall-at)+maxSavings+of(0.03, step) {
		t.Errorf("after hours of quiet a minute cost %.2f %% of a core", 100*cost.Seconds()/(w.wall-at).Seconds())
	}
}

// An expensive start leaves less for the first seconds, not nothing: a spike of 20 ms
// must be seen in them.
func TestStartIsPaidInTheFirstSeconds(t *testing.T) {
	w := &world{wall: 10 * time.Millisecond, cpu: 9 * time.Millisecond}
	g := New(w.clock)
	w.run(g, advance, func() time.Duration { return of(0.0015, step) }, func(share float64) {
		if share < 0.004 {
			t.Errorf("after %v the GPUs get %.3f %% of a core", w.wall, 100*share)
		}
	})
	if cost := w.cpu + finishCost; cost > of(Whole, advance) {
		t.Errorf("%v after %v", cost, w.wall)
	}
}

// A driver that takes 80 ms to come up leaves the readings of the first seconds
// as they are, and is paid for in the first minute.
func TestExpensiveStartIsSpread(t *testing.T) {
	w := &world{wall: 10 * time.Millisecond, cpu: 80 * time.Millisecond}
	g := New(w.clock)
	others := func() time.Duration { return of(0.0015, step) }
	w.run(g, advance, others, func(share float64) {
		if share < 0.0025 {
			t.Errorf("after %v the GPUs get %.3f %% of a core", w.wall, 100*share)
		}
	})
	if wait := g.Wait(); wait > 100*time.Millisecond {
		t.Errorf("the wait is %v", wait)
	}
	w.run(g, startupPaidWithin-advance, others, func(float64) {})
	if cost := w.cpu + finishCost; cost > of(Whole, w.wall) {
		t.Errorf("%v after %v", cost, w.wall)
	}
}

func TestAlignToTick(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, Tick, time.Second, 1234567 * time.Microsecond} {
		before := time.Since(started)
		got := AlignToTick(wait)
		after := time.Since(started)
		if got < wait || got >= wait+Tick {
			t.Errorf("%v became %v", wait, got)
		}
		// Time passed between the two: the end may be off by that much.
		if early, late := (before+got)%Tick, (after+got)%Tick; min(Tick-early, early) > after-before+time.Millisecond && min(Tick-late, late) > after-before+time.Millisecond {
			t.Errorf("a wait of %v ends %v after a tick", wait, early)
		}
	}
}

// A shortened wait ends on a tick, and keeps at least its half.
func TestAlignBack(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, Tick, 2 * Tick, time.Second, 1234567 * time.Microsecond} {
		before := time.Since(started)
		got := AlignBack(wait)
		after := time.Since(started)
		if got > wait || got < wait/2 || got <= wait-Tick {
			t.Errorf("%v became %v", wait, got)
		}
		if wait < 2*Tick {
			continue // there may be no tick in its second half
		}
		if early, late := (before+got)%Tick, (after+got)%Tick; min(Tick-early, early) > after-before+time.Millisecond && min(Tick-late, late) > after-before+time.Millisecond {
			t.Errorf("a wait of %v ends %v after a tick", wait, early)
		}
	}
}

func TestProcessClock(t *testing.T) {
	wall, cpu := processClock()
	for sum := 0; ; sum++ {
		if w, c := processClock(); w > wall && c > cpu {
			return
		}
	}
}
