package gpu

import (
	"time"

	"github.com/vobs/vobs/internal/budget"
)

// The budget of the GPU half, and the paces that it is spent at (the README promises:
// all of vobs takes below 1 % of one core; of it the GPUs 0.8 %).
const (
	// gpuShare is the share of one core that sampling the GPUs may take, averaged
	// over the run. Initialising NVML and naming the devices is not part of it, for
	// it happens once; the whole's budget, which tick.share stands for, counts it.
	gpuShare = budget.GPUs
	// slowRoundShare is the part of the share that the slow rounds may take, those that
	// read power, processes and the like.
	slowRoundShare = 0.25
	// aim is how much of the budget is planned for; the rest covers what the
	// measured past does not tell.
	aim = 0.9
	// fastest is the shortest interval between readings of the memory under
	// `--interval auto`: four readings in a spike of 20 ms.
	fastest = 5 * time.Millisecond
	// At intervals from unmissed to spikeLikely a spike of 20 ms is not missed, the
	// more surely the shorter: what a timer is late comes on top. Where a round is as
	// cheap as spikeCost one of them is kept, for spikeShare of one core or a little
	// more: where that is not left, the others have to wait.
	spikeLikely = 15 * time.Millisecond
	spikeSafe   = 12 * time.Millisecond
	spikeShare  = 0.0055
	spikeCost   = 100 * time.Microsecond
	// coldCost is the same for the very first round alone, before it is known what one
	// costs: it may take several times as long as those that follow.
	coldCost = 400 * time.Microsecond
	// longest is the interval that no cost exceeds: a run of hours gets some
	// readings even from a driver that takes seconds. Up to a round of about 1.5 ms
	// of CPU time the interval stays below 250 ms; for a dearer driver the budget
	// is the promise, and the interval follows.
	longest = time.Minute
	// TickEvery is how often the governor looks, and the shortest time between
	// two slow rounds.
	TickEvery = 250 * time.Millisecond
	// expensiveRound is the CPU time of the first slow round, which reads a third of what
	// the others do, up to which the next one is made as soon as the command runs:
	// without it a short command has no power, and no process of its own.
	expensiveRound = 6 * time.Millisecond
	// cheapRound is the CPU time of a slow round up to which the first ones may
	// follow each other faster than slowRoundShare allows; it is saved later.
	cheapRound = 1500 * time.Microsecond
	// TickCost is what a tick costs outside of what is measured: the Go runtime's
	// timer and the switches of threads behind it. Measured as 50 to 100 µs on a
	// virtual machine.
	TickCost = 100 * time.Microsecond
	// repayWithin is the time in which CPU time that was spent beyond the budget
	// is saved again.
	repayWithin = 5 * time.Second
)

// Governor chooses the interval of the memory readings, and the period of the
// slow rounds, from the CPU time that they were measured to take. It has no
// clock of its own: each tick tells how much time went by.
//
// A cost that rises much counts at once, one that falls counts slowly; so a driver
// that becomes expensive is read less often before it has cost much, and one
// dear round in a thousand does not make the next ones rare for long. Between
// ticks the reading thread itself waits after a dear round: see watcher.pace.
type Governor struct {
	fixed time.Duration // the interval that the user asked for; 0: auto

	memory  float64 // CPU seconds of one round of memory readings, smoothed
	rounds  int64   // of them so far
	round   float64 // CPU seconds of one slow round, smoothed
	spent   float64 // CPU seconds since the beginning
	elapsed float64 // seconds since the beginning
	started float64 // of elapsed, seconds when the command started
	running bool
}

// Tick is what was measured since the previous tick.
type Tick struct {
	Elapsed   time.Duration // time gone by
	Rounds    int64         // Rounds of memory readings
	MemoryCPU time.Duration // CPU time of these rounds, their wake-ups included
	Running   bool          // whether the command has started
	Slow      bool          // whether a slow round was made
	SlowCPU   time.Duration // its CPU time
	Share     float64       // of one core: what the budget of all vobs leaves to the GPUs; 0: gpuShare
}

// Reserve counts CPU time that will be spent at the end of the run: that of the
// last readings. Known early, it is saved up.
func (g *Governor) Reserve(cpu time.Duration) { g.spent += cpu.Seconds() }

// Next takes one tick's measurements and gives the interval of the memory
// readings and the time from one slow round to the next.
func (g *Governor) Next(t Tick) (memory, slow time.Duration) {
	g.elapsed += t.Elapsed.Seconds()
	g.spent += t.MemoryCPU.Seconds() + t.SlowCPU.Seconds() + TickCost.Seconds()
	if t.Rounds > 0 {
		each := t.MemoryCPU.Seconds() / float64(t.Rounds)
		if g.rounds > 1 {
			g.memory = smooth(g.memory, each)
		} else {
			g.memory = each // the very first round is dearer than those that follow
		}
		g.rounds += t.Rounds
	}
	if t.Slow {
		g.round = smooth(g.round, t.SlowCPU.Seconds())
	}

	if t.Running && !g.running {
		g.running, g.started = true, g.elapsed
	}
	share := gpuShare
	if t.Share > 0 {
		share = min(share, t.Share)
	}
	slow = min(longest, seconds(g.round/(share*slowRoundShare)))
	if g.running && g.round <= cheapRound.Seconds() {
		// A short command gets some slow rounds too, each after twice the time that went by.
		slow = min(slow, seconds(2*(g.elapsed-g.started)))
	}
	slow = max(slow, TickEvery)
	if g.fixed > 0 {
		return g.fixed, max(slow, g.fixed)
	}
	rate := gpuShare*aim - TickCost.Seconds()/TickEvery.Seconds()
	if t.Share > 0 {
		rate = min(rate, t.Share) // which is planned with a reserve, and counts ticks among the rest
	}
	rate -= g.round / slow.Seconds()
	if debt := g.spent - gpuShare*g.elapsed; debt > 0 {
		rate -= debt / repayWithin.Seconds()
	}
	// A tenth of the budget is always left to the memory: the peak is the core's figure.
	rate = max(rate, gpuShare/10)
	most := longest
	if g.memory <= spikeCost.Seconds() || g.rounds <= 1 && g.memory <= coldCost.Seconds() {
		most = max(spikeSafe, min(spikeLikely, seconds(g.memory/spikeShare)))
	}
	return max(fastest, min(most, seconds(g.memory/rate))), slow
}

// smooth follows a rise to more than the double at once, and what is less, which
// may be chance, by a quarter at a time.
func smooth(old, new float64) float64 {
	if new > 2*old {
		return new
	}
	return old + (new-old)/4
}

// seconds converts, and keeps what no Duration can hold from overflowing.
func seconds(s float64) time.Duration {
	if s >= longest.Seconds() {
		return longest
	}
	return time.Duration(s * float64(time.Second))
}
