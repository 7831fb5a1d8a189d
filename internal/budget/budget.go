// Package budget is the governor of what vobs itself costs: all of it together
// takes at most 1 % of one core, averaged over the run.
//
// It measures the whole process, so that what no part accounts for counts too: the
// start, the Go runtime, the driver's own threads, the event's writing. The parts
// keep their own shares (the GPUs 0.8 %, the host 0.2 %) by what they measure of
// themselves. Here the sum is kept: the readings of GPU memory, which can be had at
// any pace, get what the others leave of it; and where even that is not enough,
// everything that can wait does.
package budget

import (
	"sync"
	"time"
)

const (
	// Whole is the share of one core that all of vobs may take.
	Whole = 0.01
	// GPUs is the largest share of one core that reading the GPUs may take.
	GPUs = 0.008
	// margin is CPU time that is left out of every plan: costs are known afterwards.
	margin = time.Millisecond
	// leastGPUs is always left to the GPUs: the peak is the core's figure, and a
	// driver so dear that this is too little is read once in a while.
	leastGPUs = GPUs / 10
	// credit is the run's length for which the budget may be spent in advance: the
	// start costs 10 ms, which a command of a second can never earn.
	credit = 5 * time.Second
	// saved is the most that is saved up for later: what a quiet hour left over is
	// not to be spent at once.
	saved = 50 * time.Millisecond
	// repay is the time ahead that is planned for later on: a debt is paid back in it.
	repay = time.Second
	// ending is CPU time that the end of a run takes: the last readings, the event,
	// the exit. Measured as 3 to 5 ms on a virtual machine.
	ending = 5 * time.Millisecond
	// usualStart is CPU time that a start takes at most, NVML's included. What it takes
	// beyond that (a driver that is slow to come up, a slow machine) is spread over
	// startOver: nothing can be saved there, and a short run must not go unobserved
	// for it.
	usualStart = 15 * time.Millisecond
	startOver  = time.Minute
	// firstRest is what all but the GPUs is taken to cost before it is measured.
	firstRest = 0.002
	// remember is the time over which that cost is averaged.
	remember = 5 * time.Second
	// longestWait bounds Wait: a poll of 0.1 ms in 4 s is not what breaks the budget,
	// and gauges that are not polled have no peak.
	longestWait = 4 * time.Second
)

// A Clock tells the time since the start of the process, and the CPU time of
// all its threads since then.
type Clock func() (wall, cpu time.Duration)

// Governor shares the budget out. Its methods may be called from any goroutine.
type Governor struct {
	clock Clock

	mu       sync.Mutex
	reserved time.Duration
	dropped  time.Duration // of the budget: not spent in time
	excess   time.Duration // what the start took beyond the usual
	looked   bool          // Wait was asked
	asked    bool
	wall     time.Duration // of the last question
	others   time.Duration // CPU time beside the GPUs', then
	rest     float64       // smoothed share of one core that all but the GPUs takes
}

// New governs by a clock; nil is the process's own.
func New(clock Clock) *Governor {
	if clock == nil {
		clock = process
	}
	return &Governor{clock: clock, reserved: ending, rest: firstRest}
}

// Reserve keeps CPU time for what is to be done at the end of the run.
func (g *Governor) Reserve(cpu time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved += cpu
}

// GPUShare is the share of one core that reading the GPUs may take from now on,
// when it took spent so far. It is to be asked several times a second.
func (g *Governor) GPUShare(spent time.Duration) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, cpu := g.clock()
	if !g.asked { // the GPUs have just come up
		g.excess = max(0, cpu-usualStart)
	}
	g.drop(wall, cpu)
	others := cpu - spent
	if took := wall - g.wall; g.asked && took > 0 {
		share := max(0, (others-g.others).Seconds()/took.Seconds())
		weight := min(1, took.Seconds()/remember.Seconds())
		g.rest += (share - g.rest) * weight
	}
	g.asked, g.wall, g.others = true, wall, others

	until := max(credit, wall+repay)
	left := Whole*until.Seconds() - (g.counted(until, cpu) + margin).Seconds()
	share := left/(until-wall).Seconds() - g.rest
	return max(leastGPUs, min(GPUs, share))
}

// Wait is the time after which what was spent is covered by the budget: what is
// to be done again and again, and can wait, is not done before. Mostly 0; 10 s at most.
func (g *Governor) Wait() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, cpu := g.clock()
	if !g.asked && !g.looked {
		g.excess, g.looked = max(0, cpu-usualStart), true
	}
	g.drop(wall, cpu)
	covered := time.Duration(g.counted(wall, cpu).Seconds() / Whole * float64(time.Second))
	return max(0, min(longestWait, covered-max(wall, credit)))
}

// counted is what counts against the budget at some time, when cpu was spent.
func (g *Governor) counted(at, cpu time.Duration) time.Duration {
	forgiven := time.Duration(float64(g.excess) * max(0, 1-at.Seconds()/startOver.Seconds()))
	return cpu + g.reserved + g.dropped - forgiven
}

// drop forgets what was saved beyond the most that is.
func (g *Governor) drop(wall, cpu time.Duration) {
	left := time.Duration(Whole*float64(max(wall, credit))) - g.counted(wall, cpu)
	g.dropped += max(0, left-saved)
}
