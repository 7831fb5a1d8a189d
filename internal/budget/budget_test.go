package budget

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// world is a process on a clock that the test moves.
type world struct {
	wall, cpu, gpu time.Duration
}

func (w *world) clock() (wall, cpu time.Duration) { return w.wall, w.cpu }

const step = 250 * time.Millisecond

func of(share float64, d time.Duration) time.Duration { return time.Duration(share * float64(d)) }

// run lets vobs live: the GPUs take what they are given, with noise; others says
// what everything else takes, in each step, where it does not have to wait.
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

func TestTheWholeKeepsTheBudget(t *testing.T) {
	for _, c := range []struct {
		start  time.Duration
		others float64
		from   time.Duration // when it must be kept
		least  float64       // what the GPUs get on average, at least
	}{
		{8 * time.Millisecond, 0.001, credit, 0.0075},
		{8 * time.Millisecond, 0.002, credit, 0.0075},
		{25 * time.Millisecond, 0.004, startOver, 0.0055},
		{8 * time.Millisecond, 0.009, credit + time.Second, leastGPUs},
		{40 * time.Millisecond, 0.03, startOver, leastGPUs}, // more than all of it: it has to wait
	} {
		t.Run(fmt.Sprintf("%v,%v", c.start, c.others), func(t *testing.T) {
			w := &world{wall: 10 * time.Millisecond, cpu: c.start}
			g := New(w.clock)
			g.Reserve(time.Millisecond)
			w.run(g, 10*time.Hour, func() time.Duration { return of(c.others, step) }, func(float64) {
				// The last reservation counts: a run may end at any moment.
				cost := w.cpu + ending + time.Millisecond
				if w.wall >= c.from && cost > of(Whole, w.wall)+of(c.others+leastGPUs, step) {
					t.Fatalf("after %v it cost %v, which is %.3f %% of a core", w.wall, cost, 100*cost.Seconds()/w.wall.Seconds())
				}
			})
			if got := w.gpu.Seconds() / w.wall.Seconds(); got < c.least {
				t.Errorf("the GPUs got %.3f %% of a core, want %.3f %% at least", 100*got, 100*c.least)
			}
		})
	}
}

// A burst that nobody foresaw is paid back, and then everything is as before.
func TestABurstIsPaidBack(t *testing.T) {
	w := &world{wall: 10 * time.Millisecond, cpu: 8 * time.Millisecond}
	g := New(w.clock)
	others := func() time.Duration { return of(0.001, step) }
	last := 0.0
	keep := func(share float64) { last = share }
	w.run(g, time.Minute, others, keep)
	before := last
	w.cpu += 100 * time.Millisecond
	if wait := g.Wait(); wait < 3*time.Second {
		t.Errorf("after a burst of 100 ms what can wait waits %v", wait)
	}
	w.run(g, time.Second, others, keep)
	if last > leastGPUs {
		t.Errorf("a second after the burst the GPUs get %.3f %% of a core", 100*last)
	}
	w.run(g, 30*time.Second, others, keep)
	if cost := w.cpu + ending; cost > of(Whole, w.wall) {
		t.Errorf("half a minute after it %.3f %% of a core was spent", 100*cost.Seconds()/w.wall.Seconds())
	}
	if last < 0.9*before {
		t.Errorf("half a minute after the burst the GPUs get %.3f %% of a core, before it %.3f %%", 100*last, 100*before)
	}
	if wait := g.Wait(); wait > 0 {
		t.Errorf("half a minute after the burst there is a wait of %v", wait)
	}
}

// What hours left over is not spent at once when something becomes dear.
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
	if cost := w.cpu - before; cost > of(Whole, w.wall-at)+saved+of(0.03, step) {
		t.Errorf("after hours of quiet a minute cost %.2f %% of a core", 100*cost.Seconds()/(w.wall-at).Seconds())
	}
}

// What is dear at the start leaves less for the first seconds, not nothing: a
// spike of 20 ms must be seen in them.
func TestTheStartIsPaidInTheFirstSeconds(t *testing.T) {
	w := &world{wall: 10 * time.Millisecond, cpu: 9 * time.Millisecond}
	g := New(w.clock)
	w.run(g, credit, func() time.Duration { return of(0.0015, step) }, func(share float64) {
		if share < 0.004 {
			t.Errorf("after %v the GPUs get %.3f %% of a core", w.wall, 100*share)
		}
	})
	if cost := w.cpu + ending; cost > of(Whole, credit) {
		t.Errorf("%v after %v", cost, w.wall)
	}
}

// A driver that takes 80 ms to come up leaves the readings of the first seconds
// as they are, and is paid for in the first minute.
func TestADearStartIsSpread(t *testing.T) {
	w := &world{wall: 10 * time.Millisecond, cpu: 80 * time.Millisecond}
	g := New(w.clock)
	others := func() time.Duration { return of(0.0015, step) }
	w.run(g, credit, others, func(share float64) {
		if share < 0.0025 {
			t.Errorf("after %v the GPUs get %.3f %% of a core", w.wall, 100*share)
		}
	})
	if wait := g.Wait(); wait > 100*time.Millisecond {
		t.Errorf("what can wait waits %v", wait)
	}
	w.run(g, startOver-credit, others, func(float64) {})
	if cost := w.cpu + ending; cost > of(Whole, w.wall) {
		t.Errorf("%v after %v", cost, w.wall)
	}
}

func TestOnBeat(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, Beat, time.Second, 1234567 * time.Microsecond} {
		before := time.Since(started)
		got := OnBeat(wait)
		after := time.Since(started)
		if got < wait || got >= wait+Beat {
			t.Errorf("%v became %v", wait, got)
		}
		// The clock went on between the two: the end lies up to that before or after a beat.
		if early, late := (before+got)%Beat, (after+got)%Beat; min(Beat-early, early) > after-before+time.Millisecond && min(Beat-late, late) > after-before+time.Millisecond {
			t.Errorf("a wait of %v ends %v after a beat", wait, early)
		}
	}
}

func TestTheRealClock(t *testing.T) {
	wall, cpu := process()
	for sum := 0; ; sum++ {
		if w, c := process(); w > wall && c > cpu {
			return
		}
	}
}
