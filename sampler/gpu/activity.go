package gpu

import (
	"sync"
	"time"
)

// EnginePoll is what one reading of the engines on this host showed of their work.
type EnginePoll struct {
	// At is when it was read, Since when the engine was read before, or the earliest time at
	// which its state may have become that of At.
	Since, At time.Time
	// Busy reports whether requests were running on any of the engines.
	Busy bool
	// Worked reports whether the engine worked between Since and At, although no request ran
	// at either.
	Worked bool
	// Gone reports whether no engine is left.
	Gone bool
}

// EnginePolled tells the sampler what a reading of the engines showed. When they become busy
// or idle, the sampler reads the energy counters at once. EnginePolled does not block and may
// be called under a lock.
func (s *Sampler) EnginePolled(p EnginePoll) { s.engines.polled(p) }

// engineActivity is when the engines worked, as far as is known.
type engineActivity struct {
	changed chan struct{} // has an element if the energy is to be read

	mu        sync.Mutex // innermost
	state     engineState
	wokenAt   time.Time // when changed last got an element
	idleSince time.Time // no engine has worked since then; zero if one may have, or none is there
	firstWork time.Time // the earliest time at which one may have worked; zero for none
}

// engineState is what is known of the engines at one moment.
type engineState struct {
	known bool      // a reading was reported
	busy  bool      // at the latest one
	at    time.Time // of it
	// changedAfter is the earliest time at which the engines may have become busy, or idle,
	// since the energy was last read; zero if they did not.
	changedAfter time.Time
}

func newEngineActivity() engineActivity { return engineActivity{changed: make(chan struct{}, 1)} }

func (a *engineActivity) polled(p EnginePoll) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := &a.state
	changes := p.Busy != st.busy || p.Worked
	if changes && st.changedAfter.IsZero() {
		st.changedAfter = p.Since
	}
	if (p.Busy || p.Worked) && a.firstWork.IsZero() {
		a.firstWork = p.Since
	}
	switch {
	case p.Busy || p.Gone:
		a.idleSince = time.Time{}
	case a.idleSince.IsZero() || p.Worked:
		a.idleSince = p.At
	}
	st.known, st.busy, st.at = true, p.Busy, p.At
	// More frequent changes wait for the next tick: their energy cannot be told apart anyway.
	if changes && p.At.Sub(a.wokenAt) >= TickInterval {
		a.wokenAt = p.At
		select {
		case a.changed <- struct{}{}:
		default:
		}
	}
}

// take returns the state; the energy is read now.
func (a *engineActivity) take() engineState {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := a.state
	a.state.changedAfter = time.Time{}
	return st
}

// waiting reports whether a change waits for a reading of the energy.
func (a *engineActivity) waiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.state.changedAfter.IsZero()
}

// wasIdle reports whether no engine worked from before until at. known is false if later
// polls have to decide that.
func (a *engineActivity) wasIdle(before, at time.Time) (idle, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.idleSince.IsZero() || a.idleSince.After(before) {
		return false, true
	}
	return true, a.state.at.After(at)
}

// workedBefore reports whether an engine may have worked before t.
func (a *engineActivity) workedBefore(t time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.firstWork.IsZero() && a.firstWork.Before(t)
}

// known reports whether a reading of an engine was reported.
func (a *engineActivity) known() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.known
}
