package budget

import "time"

// Tick is the period that periodic work aligns to (timer coalescing). Everything that
// wakes up on the same tick shares one wake-up of the Go runtime, whose timers, threads
// and watchdog take 0.1 to 0.3 ms of CPU time for each on an idle virtual machine: more
// than most of what is then done.
const Tick = 250 * time.Millisecond

// AlignToTick lengthens a wait so that it ends on a tick.
func AlignToTick(wait time.Duration) time.Duration {
	into := time.Since(started) + wait
	over := (into%Tick + Tick) % Tick // in a test, the clock may be before the start
	if over < time.Millisecond {
		return wait
	}
	return wait + Tick - over
}

// AlignBack shortens a wait so that it ends on a tick, if one lies in its second half.
func AlignBack(wait time.Duration) time.Duration {
	over := (time.Since(started) + wait) % Tick
	if over = (over + Tick) % Tick; wait-over < wait/2 {
		return wait
	}
	return wait - over
}
