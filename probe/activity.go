package probe

import "time"

// Activity is what a reading of an engine shows of the work of all engines on this host.
type Activity struct {
	// At is when the engine was read, Since the earliest time at which its state may have
	// become that of At: when it was read before, or when it came up.
	Since, At time.Time
	// Busy reports whether requests were running on any of the engines.
	Busy bool
	// Worked reports whether the engine worked between Since and At, although no request ran
	// on it at either.
	Worked bool
	// Gone reports whether no engine is left: connections are refused.
	Gone bool
}

// reportActivity reports a reading of the endpoint that counts. The Prober's lock is held.
func (e *endpoint) reportActivity(since, at time.Time, busy, worked bool) {
	if e.p.cfg.Activity == nil {
		return
	}
	e.busy = busy
	if e.showsActivity() {
		e.p.cfg.Activity(Activity{Since: since, At: at, Busy: e.p.anyBusy(), Worked: worked})
	}
}

// reportGone reports that the endpoint's engine has ended. The Prober's lock is held.
func (e *endpoint) reportGone(at time.Time) {
	if e.p.cfg.Activity == nil || !e.up {
		return
	}
	e.busy = false
	if e.showsActivity() {
		busy := e.p.anyBusy()
		e.p.cfg.Activity(Activity{Since: e.lastAt, At: at, Busy: busy, Gone: !busy})
	}
}

// showsActivity reports whether the endpoint's figures count, and its engine runs on this host.
func (e *endpoint) showsActivity() bool {
	return e.up && e.duplicateOf == nil && e.target.Origin == e.p.best && (e.files != nil || e.isLocal())
}

// anyBusy reports whether requests were running on any engine of this host that counts.
func (p *Prober) anyBusy() bool {
	for _, e := range p.endpoints {
		if e.busy && e.showsActivity() {
			return true
		}
	}
	return false
}
