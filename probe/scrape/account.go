package scrape

import "time"

// account keeps one kind of cost to a share of one core. It may be overdrawn: the deeper
// the debt, the further apart are later requests, up to three times the interval that
// would keep a balance. So no debt causes a time without polls.
type account struct {
	share float64
	// credit is what may be spent as of at. It is never above max.
	credit, max time.Duration
	at          time.Time
}

// accrue adds the credit for the time since the last call.
func (a *account) accrue(now time.Time) {
	if !a.at.IsZero() && now.After(a.at) {
		a.credit = min(a.max, a.credit+time.Duration(a.share*float64(now.Sub(a.at))))
	}
	a.at = now
}

// charge spends cost.
func (a *account) charge(cost time.Duration) { a.credit -= cost }

// chargeUpTo spends cost, but goes no deeper into debt than limit: what is beyond it is
// never repaid.
func (a *account) chargeUpTo(limit, cost time.Duration) {
	a.credit = max(a.credit-cost, min(a.credit, -limit))
}

// limit sets the share and the most credit.
func (a *account) limit(share float64, credit time.Duration) {
	a.share, a.max, a.credit = share, credit, min(a.credit, credit)
}

// balanced returns the interval at which requests of this cost take the share.
func (a *account) balanced(cost time.Duration) time.Duration {
	return time.Duration(float64(cost) / a.share)
}

// interval returns how far apart requests of this cost are now: 0 if there is credit.
func (a *account) interval(cost time.Duration) time.Duration {
	if a.credit >= 0 || cost <= 0 {
		return 0
	}
	// A debt of ten requests doubles the interval.
	least := a.balanced(cost)
	return least + min(2*least, a.balanced(-a.credit)/10)
}
