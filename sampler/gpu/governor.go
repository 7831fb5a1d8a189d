package gpu

import (
	"time"

	"github.com/vobs/vobs/internal/budget"
)

// The budget for sampling the GPUs, and how it is spent. All of vobs takes less than 1 %
// of one core, of which the GPUs get 0.8 %.
const (
	// gpuShare is the share of one core that sampling the GPUs may take, averaged over
	// the run. It excludes initializing NVML and identifying the devices, which happens
	// once; the budget of the whole process, behind Tick.Share, includes that.
	gpuShare = budget.GPUs
	// slowRoundShare is the part of gpuShare that the slow rounds may take, those that
	// read power, processes and the like.
	slowRoundShare = 0.25
	// plannedPart is the part of the budget that is planned for; the rest covers what
	// past measurements do not predict.
	plannedPart = 0.9
	// minInterval is the shortest interval between readings of the memory under
	// `--interval auto`: four readings in a spike of 20 ms.
	minInterval = 5 * time.Millisecond
	// At an interval up to spikeLikely a spike of 20 ms is likely to be seen, up to
	// spikeSafe even if a timer is late. If a round of memory readings costs spikeCost at
	// most, an interval in this range is kept for about spikeShare of one core; if that
	// much is not left, the other parts have to wait. A round of up to twice that cost, on a
	// slow machine, gets the same share, at intervals that are longer.
	spikeLikely = 15 * time.Millisecond
	spikeSafe   = 12 * time.Millisecond
	spikeShare  = 0.0045
	spikeCost   = 100 * time.Microsecond
	// coldSpikeCost replaces spikeCost for the very first round, which may cost several
	// times as much as the following ones.
	coldSpikeCost = 400 * time.Microsecond
	// maxInterval is the longest interval, whatever a round costs: a run of hours gets
	// some readings even from a driver that takes seconds. Up to about 1.5 ms of CPU time
	// per round the interval stays below 250 ms. For a more expensive driver the budget
	// takes precedence and the interval grows.
	maxInterval = time.Minute
	// TickInterval is how often the governor runs, and the shortest time between two
	// slow rounds.
	TickInterval = 250 * time.Millisecond
	// expensiveRound is the CPU time of the first slow round, which reads a third of what
	// the others do, up to which the next one follows as soon as the command runs:
	// without that a short command would have no power and no processes.
	expensiveRound = 6 * time.Millisecond
	// cheapRound is the CPU time of a slow round up to which the first ones may follow
	// each other faster than slowRoundShare allows; the excess is saved later.
	cheapRound = 1500 * time.Microsecond
	// TickCost is the cost of a tick that is not measured: the Go runtime's timer and
	// the thread switches behind it. Measured as 50 to 100 µs on a virtual machine.
	TickCost = 100 * time.Microsecond
	// repayWithin is the time within which CPU time spent beyond the budget is saved
	// again.
	repayWithin = 5 * time.Second
)

// Governor chooses the interval of the memory readings and the period of the slow
// rounds from their measured CPU time. It has no clock: each Tick has the time that
// passed.
//
// A cost that more than doubles counts immediately, any other change gradually. So a
// driver that becomes expensive is read less often before it has cost much, and one
// expensive round in a thousand does not make the following ones rare for long. Between
// ticks the reading thread itself pauses after an expensive round: see
// watcher.setInterval. The zero Governor is ready to use.
type Governor struct {
	fixed time.Duration // the interval set by the user; 0: auto

	memoryCost float64 // CPU seconds of one round of memory readings, smoothed
	rounds     int64   // rounds of memory readings so far
	slowCost   float64 // CPU seconds of one slow round, smoothed
	spent      float64 // CPU seconds so far
	elapsed    float64 // seconds so far
	startedAt  float64 // elapsed when the command started
	running    bool    // the command has started
}

// Tick is what was measured since the previous tick.
type Tick struct {
	Elapsed   time.Duration // time that passed
	Rounds    int64         // rounds of memory readings
	MemoryCPU time.Duration // CPU time of these rounds, wake-ups included
	Running   bool          // whether the command has started
	Slow      bool          // whether a slow round was made
	SlowCPU   time.Duration // CPU time of the slow round
	Share     float64       // share of one core that the budget of the whole process leaves to the GPUs; 0: no such limit
}

// Reserve sets aside CPU time for the last readings, at the end of the run.
func (g *Governor) Reserve(cpu time.Duration) { g.spent += cpu.Seconds() }

// Next records one tick and returns the interval between memory readings and that
// between slow rounds.
func (g *Governor) Next(t Tick) (memory, slow time.Duration) {
	g.elapsed += t.Elapsed.Seconds()
	g.spent += t.MemoryCPU.Seconds() + t.SlowCPU.Seconds() + TickCost.Seconds()
	if t.Rounds > 0 {
		each := t.MemoryCPU.Seconds() / float64(t.Rounds)
		if g.rounds > 1 {
			g.memoryCost = smooth(g.memoryCost, each)
		} else {
			g.memoryCost = each // the very first round costs more than the following ones
		}
		g.rounds += t.Rounds
	}
	if t.Slow {
		g.slowCost = smooth(g.slowCost, t.SlowCPU.Seconds())
	}

	if t.Running && !g.running {
		g.running, g.startedAt = true, g.elapsed
	}
	share := gpuShare
	if t.Share > 0 {
		share = min(share, t.Share)
	}
	slow = min(maxInterval, seconds(g.slowCost/(share*slowRoundShare)))
	if g.running && g.slowCost <= cheapRound.Seconds() {
		// A short command gets some slow rounds too, each after twice the time that passed.
		slow = min(slow, seconds(2*(g.elapsed-g.startedAt)))
	}
	slow = max(slow, TickInterval)
	if g.fixed > 0 {
		return g.fixed, max(slow, g.fixed)
	}
	rate := gpuShare*plannedPart - TickCost.Seconds()/TickInterval.Seconds()
	if t.Share > 0 {
		rate = min(rate, t.Share) // which has its own reserve and does not include ticks
	}
	rate -= g.slowCost / slow.Seconds()
	if debt := g.spent - gpuShare*g.elapsed; debt > 0 {
		rate -= debt / repayWithin.Seconds()
	}
	// A tenth of the budget is always left to the memory: its peak is in the frozen core.
	rate = max(rate, gpuShare/10)
	longest := maxInterval
	switch atShare := seconds(g.memoryCost / spikeShare); {
	case g.memoryCost <= spikeCost.Seconds() || g.rounds <= 1 && g.memoryCost <= coldSpikeCost.Seconds():
		longest = max(spikeSafe, min(spikeLikely, atShare))
	case g.memoryCost <= 2*spikeCost.Seconds():
		longest = atShare
	}
	return max(minInterval, min(longest, seconds(g.memoryCost/rate))), slow
}

// smooth follows a rise to more than double immediately; any other change may be chance
// and counts by a quarter.
func smooth(old, new float64) float64 {
	if new > 2*old {
		return new
	}
	return old + (new-old)/4
}

// seconds converts to a Duration of at most maxInterval, so that it cannot overflow.
func seconds(s float64) time.Duration {
	if s >= maxInterval.Seconds() {
		return maxInterval
	}
	return time.Duration(s * float64(time.Second))
}
