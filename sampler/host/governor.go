package host

import "time"

const (
	// cpuShare is the share of one core that the host's part may use: 0.2 % of the 1 %
	// that all of vobs may use.
	cpuShare = 0.002
	// startDebt is the CPU time that discoveries may use in advance during startPhase,
	// so that the processes of a short command are seen; it is repaid before more is
	// spent. It allows a full pass over a host of some thousand processes and the quick
	// discoveries after it.
	startDebt  = 30 * time.Millisecond
	startPhase = 5 * time.Second
	// WakeCost is charged for each wake-up in addition to the CPU time of the pass
	// itself: the runtime's timers, scheduler and poller took 0.1 ms per wake-up on the
	// virtual machine where vobs was measured, somewhat more when it was busy.
	WakeCost = 150 * time.Microsecond
	// discoverEvery is the interval between discoveries, which the budget may lengthen.
	discoverEvery = time.Second
	// firstQuick is when the first quick discovery comes, after the command's start.
	// The interval then doubles each time, up to discoverEvery.
	firstQuick = 10 * time.Millisecond
)

// Governor decides when the host is read next, so that the measured CPU time stays
// within the budget. Readings of the known processes get at most half of the budget,
// as a rate. A discovery comes when everything spent so far, including the
// discovery's expected cost, fits into the budget's share of the time that has passed.
// A Governor has no clock: times are since the start of the command.
type Governor struct {
	interval time.Duration // shortest time between readings of the known processes

	spent         time.Duration // CPU time so far
	refreshCost   time.Duration // running mean of readings, wake-ups included
	discoveryCost time.Duration // running mean of discoveries, without wake-ups

	lastRefresh   time.Duration
	lastDiscovery time.Duration
	quickInterval time.Duration // until the next quick discovery; 0: these are over
}

// NewGovernor returns a Governor that reads the known processes once per interval if
// the budget allows.
func NewGovernor(interval time.Duration) *Governor {
	return &Governor{interval: interval, quickInterval: firstQuick / 2} // the discovery at the start doubles it
}

// ChargeRefresh records a reading of the known processes that ended at now.
func (g *Governor) ChargeRefresh(now, cost time.Duration) {
	cost += WakeCost
	g.spent += cost
	g.refreshCost = average(g.refreshCost, cost)
	g.lastRefresh = now
}

// ChargeDiscovery records a discovery that ended at now; a reading follows it in the
// same wake-up.
func (g *Governor) ChargeDiscovery(now, cost time.Duration) {
	g.spent += cost
	g.discoveryCost = average(g.discoveryCost, cost)
	g.lastDiscovery = now
	if g.quickInterval > 0 {
		if g.quickInterval *= 2; g.quickInterval >= discoverEvery {
			g.quickInterval = 0
		}
	}
}

// chargeBoth records a discovery with the reading of the known processes in it, which ended at
// now. What such a reading costs by itself is not learned from it.
func (g *Governor) chargeBoth(now, cost time.Duration) {
	g.ChargeDiscovery(now, cost)
	g.spent += WakeCost
	g.lastRefresh = now
}

// charge records CPU time of another kind.
func (g *Governor) charge(cost time.Duration) { g.spent += cost }

// average returns a running mean in which the latest cost has a weight of a quarter.
func average(mean, cost time.Duration) time.Duration {
	if mean == 0 {
		return cost
	}
	return mean + (cost-mean)/4
}

// Next returns when to wake up, and whether to look for new processes then.
func (g *Governor) Next() (at time.Duration, discover bool) {
	refresh := g.lastRefresh + max(g.interval, wallFor(g.refreshCost, cpuShare/2))
	discovery := g.nextDiscovery()
	// A discovery that is due before a reading replaces it, as it includes one: one
	// wake-up instead of two.
	if discovery <= refresh {
		return discovery, true
	}
	return refresh, false
}

// nextDiscovery returns when the next discovery is due and within the budget.
func (g *Governor) nextDiscovery() time.Duration {
	due := g.lastDiscovery + discoverEvery
	if g.quickInterval > 0 {
		due = g.lastDiscovery + g.quickInterval
	}
	need := g.spent + g.discoveryCost + WakeCost
	if due < startPhase && need <= startDebt {
		return due
	}
	return max(due, wallFor(need, cpuShare))
}

// wallFor returns the time in which a share of one core amounts to cost.
func wallFor(cost time.Duration, share float64) time.Duration {
	return time.Duration(float64(cost) / share)
}
