package host

import "time"

const (
	// cpuShare is the share of one core that the host's part may use: 0.2 % of the
	// 1 % that all of vobs has.
	cpuShare = 0.002
	// startDebt is CPU time that discoveries may use in advance in the first
	// startPhase, so that the processes of a short command are seen; it is paid
	// back before any more is spent. It allows a full pass over a host of some
	// thousand processes and the quick ones after it.
	startDebt  = 30 * time.Millisecond
	startPhase = 5 * time.Second
	// WakeCost is charged for each wake-up beside what the pass itself uses: the
	// runtime's timers, scheduler and poller took 0.1 ms of CPU for one on the
	// virtual machine where vobs was measured, somewhat more when it was busy.
	WakeCost = 150 * time.Microsecond
	// discoverEvery is the pace of discoveries that the budget may stretch.
	discoverEvery = time.Second
	// firstQuick is the first quick discovery's distance from the command's
	// start; the following ones come after twice the time each, up to
	// discoverEvery.
	firstQuick = 10 * time.Millisecond
)

// Governor decides when the host is read next, so that the CPU time measured
// stays within the budget: a reading of the known processes gets at most half of
// it, by its rate; a discovery comes when all that was spent, with what it is
// expected to cost, fits into the share of the time that has passed. It knows no
// clock: times are since the start of the command.
type Governor struct {
	interval time.Duration // between readings of the known processes, at least

	spent        time.Duration // CPU so far
	refreshCost  time.Duration // mean of late readings, the wake-up with it
	discoverCost time.Duration // mean of late discoveries, without a wake-up

	lastRefresh  time.Duration
	lastDiscover time.Duration
	quick        time.Duration // distance of the next quick discovery; 0: past
}

func NewGovernor(interval time.Duration) *Governor {
	return &Governor{interval: interval, quick: firstQuick / 2} // doubled by the one at the start
}

// ChargeRefresh records a reading of the known processes that ended at now.
func (g *Governor) ChargeRefresh(now, cost time.Duration) {
	cost += WakeCost
	g.spent += cost
	g.refreshCost = mixCost(g.refreshCost, cost)
	g.lastRefresh = now
}

// ChargeDiscover records a discovery that ended at now; a reading follows it in
// the same wake-up.
func (g *Governor) ChargeDiscover(now, cost time.Duration) {
	g.spent += cost
	g.discoverCost = mixCost(g.discoverCost, cost)
	g.lastDiscover = now
	if g.quick > 0 {
		if g.quick *= 2; g.quick >= discoverEvery {
			g.quick = 0
		}
	}
}

// charge records CPU time of another kind.
func (g *Governor) charge(cost time.Duration) { g.spent += cost }

// mixCost is a running mean in which the latest cost weighs a quarter.
func mixCost(mean, cost time.Duration) time.Duration {
	if mean == 0 {
		return cost
	}
	return mean + (cost-mean)/4
}

// Next says when to wake up, and whether to discover then.
func (g *Governor) Next() (at time.Duration, discover bool) {
	refresh := g.lastRefresh + max(g.interval, perShare(g.refreshCost, cpuShare/2))
	d := g.nextDiscover()
	// A discovery due soon after a reading replaces it: one wake-up instead of two.
	if d <= refresh {
		return d, true
	}
	return refresh, false
}

// nextDiscover says when a discovery is due and paid for.
func (g *Governor) nextDiscover() time.Duration {
	due := g.lastDiscover + discoverEvery
	if g.quick > 0 {
		due = g.lastDiscover + g.quick
	}
	need := g.spent + g.discoverCost + WakeCost
	if due < startPhase && need <= startDebt {
		return due
	}
	return max(due, perShare(need, cpuShare))
}

// perShare is the time in which a share of one core amounts to cost.
func perShare(cost time.Duration, share float64) time.Duration {
	return time.Duration(float64(cost) / share)
}
