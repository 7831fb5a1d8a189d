// Package budget limits what vobs itself costs: all of it together takes at most 1 %
// of one core, averaged over the run.
//
// It measures the whole process, so that it includes what no part accounts for: the
// start, the Go runtime, the driver's own threads, the writing of the event. The parts
// keep to their own shares (the GPUs 0.8 %, the host 0.2 %) by what they measure of
// themselves. This package keeps the total: the readings of GPU memory, which can be
// taken at any rate, get what the others leave; if even that is too much, everything
// that can wait waits.
package budget

import (
	"sync"
	"time"
)

const (
	// Whole is the share of one core that all of vobs may take.
	Whole = 0.01
	// planned is what is planned for after the first seconds: costs vary, and the end of a
	// run may take more than finishCost.
	planned = 0.96 * Whole
	// GPUs is the largest share of one core that reading the GPUs may take.
	GPUs = 0.008
	// margin is CPU time kept out of every plan: costs are known only afterwards.
	margin = time.Millisecond
	// minGPUShare is always left to the GPUs: their peak memory is a key of the event's
	// core, and if a driver is so expensive that this is too little, it is read now and
	// then.
	minGPUShare = GPUs / 10
	// advance is the length of the run whose budget may be spent from the beginning:
	// the start costs 10 ms, which a command of one second can never earn.
	advance = 5 * time.Second
	// maxSavings is the most unspent budget that is kept for later: what a quiet hour
	// left over must not be spent at once.
	maxSavings = 50 * time.Millisecond
	// repayWithin is how far ahead later readings are planned: a debt is repaid within
	// that time.
	repayWithin = time.Second
	// finishCost is the CPU time that the end of a run takes: the last readings, the
	// event, the exit. Measured as 4 to 6 ms on a virtual machine.
	finishCost = 6 * time.Millisecond
	// typicalStartup is the CPU time that a start takes at most, NVML's included. Any
	// excess (a driver that is slow to come up, a slow machine) is spread over
	// startupPaidWithin: it cannot be avoided, and a short run must not go unobserved
	// because of it.
	typicalStartup    = 15 * time.Millisecond
	startupPaidWithin = time.Minute
	// initialOthers is the share of one core that everything but the GPUs is assumed
	// to take before it is measured.
	initialOthers = 0.002
	// smoothing is the time over which that share is averaged.
	smoothing = 5 * time.Second
	// maxWait bounds Wait: a poll of 0.1 ms every 4 s does not break the budget, and
	// gauges that are not polled have no peak.
	maxWait = 4 * time.Second
)

// A Clock returns the time since the start of the process, and the CPU time that all
// its threads have used since then.
type Clock func() (wall, cpu time.Duration)

// Governor divides the budget. Its methods are safe for concurrent use.
type Governor struct {
	clock Clock

	mu            sync.Mutex
	reserved      time.Duration
	expired       time.Duration // budget that was not spent in time
	startupExcess time.Duration // what the start took beyond typicalStartup
	waitCalled    bool
	shareCalled   bool
	lastWall      time.Duration // at the last call of GPUShare
	lastOthers    time.Duration // CPU time of everything but the GPUs, then
	othersShare   float64       // smoothed share of one core that this takes
}

// New returns a governor on a clock; nil is the process's own.
func New(clock Clock) *Governor {
	if clock == nil {
		clock = processClock
	}
	return &Governor{clock: clock, reserved: finishCost, othersShare: initialOthers}
}

// Reserve sets CPU time aside for work at the end of the run.
func (g *Governor) Reserve(cpu time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved += cpu
}

// GPUShare returns the share of one core that reading the GPUs may take from now on;
// spent is the CPU time that it has taken so far. Call it several times a second.
func (g *Governor) GPUShare(spent time.Duration) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, cpu := g.clock()
	if !g.shareCalled { // the GPUs have just come up
		g.startupExcess = max(0, cpu-typicalStartup)
	}
	g.expireSavings(wall, cpu)
	others := cpu - spent
	if took := wall - g.lastWall; g.shareCalled && took > 0 {
		share := max(0, (others-g.lastOthers).Seconds()/took.Seconds())
		weight := min(1, took.Seconds()/smoothing.Seconds())
		g.othersShare += (share - g.othersShare) * weight
	}
	g.shareCalled, g.lastWall, g.lastOthers = true, wall, others

	until := max(advance, wall+repayWithin)
	left := budget(until).Seconds() - (g.charged(until, cpu) + margin).Seconds()
	share := left/(until-wall).Seconds() - g.othersShare
	return max(minGPUShare, min(GPUs, share))
}

// Wait returns how long to pause until the CPU time spent so far fits the budget, for
// periodic work that can wait. Mostly it is 0; it is at most 4 s.
func (g *Governor) Wait() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, cpu := g.clock()
	if !g.shareCalled && !g.waitCalled {
		g.startupExcess, g.waitCalled = max(0, cpu-typicalStartup), true
	}
	g.expireSavings(wall, cpu)
	over := g.charged(wall, cpu) - budget(max(wall, advance))
	return max(0, min(maxWait, time.Duration(float64(over)/planned)))
}

// budget returns what may be spent until some time.
func budget(until time.Duration) time.Duration {
	return time.Duration(Whole*float64(min(until, advance)) + planned*float64(max(0, until-advance)))
}

// charged returns what counts against the budget at some time, if cpu has been spent.
func (g *Governor) charged(at, cpu time.Duration) time.Duration {
	forgiven := time.Duration(float64(g.startupExcess) * max(0, 1-at.Seconds()/startupPaidWithin.Seconds()))
	return cpu + g.reserved + g.expired - forgiven
}

// expireSavings drops unspent budget above maxSavings.
func (g *Governor) expireSavings(wall, cpu time.Duration) {
	left := budget(max(wall, advance)) - g.charged(wall, cpu)
	g.expired += max(0, left-maxSavings)
}
