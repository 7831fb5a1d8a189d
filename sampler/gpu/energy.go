package gpu

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/vobs/vobs/schema"
)

const (
	// counterStep is the time between two updates of the energy counter (about 100 ms, seen
	// by the Zeus project: zeus-ml's skills/measuring-energy).
	counterStep = 100 * time.Millisecond
	// shortEnergy is the window below which the steps of the counter are noted.
	shortEnergy = 2 * time.Second
	// mostUnknown is the largest error of the active energy, as a part of it.
	mostUnknown = 0.1
	// idleSettle is how long the engines must have been idle before a reading of the power
	// counts as idle: most drivers average it over a second (nvmlDeviceGetPowerUsage).
	idleSettle = 2 * time.Second
)

// energyCounter holds what was read of the energy counter, in joules. Sampler.mu guards it.
type energyCounter struct {
	first, last     float64
	firstAt, lastAt time.Time
	err             error // why the last reading failed
	unsupported     bool  // it is not read again
	active          activeEnergy
}

// activeEnergy is the energy of the time in which the engines were busy.
type activeEnergy struct {
	joules float64
	busy   bool // the engines were, at the last reading of the counter
	worked bool // they were at some time
	// missing and surplus are for how long joules may lack energy of active time, and may
	// include energy of idle time. What is missing at one change cannot make up for what is
	// missing at another one, but surplus can: the error is at most the larger of the two.
	missing, surplus time.Duration
	highest          float64 // highest mean power between two readings, watts
	err              error   // why a change has no reading
}

// changeRound reads the energy counters if the engines have become busy or idle, and returns
// the CPU time that it took. Before the command starts, the slow rounds do that.
func (s *Sampler) changeRound() time.Duration {
	if !s.engines.waiting() || !s.running() {
		return 0
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := s.driver.threadCPU()
	engines := s.engines.take()
	for _, d := range s.devices {
		s.readEnergy(d, true, engines)
	}
	return s.driver.threadCPU() - before
}

// readEnergy reads the energy counter before the command's start, where each reading
// replaces the first one, and at the end. While the command runs, it reads the counter
// only if there is no reading yet, or if the engines have become busy or idle.
func (s *Sampler) readEnergy(d *deviceState, running bool, engines engineState) {
	last := closed(s.stopping)
	changed := !engines.changedAfter.IsZero()
	if d.energy.unsupported || (running && !d.energy.firstAt.IsZero() && !last && !changed) {
		return
	}
	joules, err := d.dev.energy()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &d.energy
	e.err = err
	if err != nil {
		if e.unsupported = errors.Is(err, errUnsupported); !e.unsupported {
			d.errors++
		}
		if running && changed {
			e.active.err = err
		}
		return
	}
	now := time.Now()
	if e.firstAt.IsZero() || !running {
		e.first, e.firstAt = joules, now
		e.active = activeEnergy{busy: engines.busy, worked: engines.busy}
	} else {
		e.addActive(joules, now, engines, last)
	}
	e.last, e.lastAt = joules, now
}

// addActive adds the energy since the last reading. last reports whether this is the last
// reading.
func (e *energyCounter) addActive(joules float64, now time.Time, engines engineState, last bool) {
	a := &e.active
	if a.busy {
		a.joules += joules - e.last
	}
	if span := now.Sub(e.lastAt); span >= 10*counterStep {
		a.highest = max(a.highest, (joules-e.last)/span.Seconds())
	}
	from := engines.changedAfter
	if from.IsZero() && last && engines.busy {
		from = engines.at // what the engines did after the last poll is not known
	}
	if !from.IsZero() {
		if from.Before(e.firstAt) {
			from = e.firstAt
		}
		open := max(0, now.Sub(from))
		switch {
		case !a.busy && engines.busy: // became active after from; the counter may lag behind
			a.missing += open
			a.surplus += counterStep
		case a.busy && (last || !engines.busy): // became idle after from
			a.surplus += open
			a.missing += counterStep
		default: // changed and changed back
			a.missing += open + counterStep
			a.surplus += open + counterStep
		}
	}
	a.busy = engines.busy
	a.worked = a.worked || engines.busy
}

// identifyModule finds out, once the command has ended, what the energy is of.
func (s *Sampler) identifyModule(d *deviceState) {
	if d.energy.firstAt.IsZero() {
		return
	}
	module := d.gpu.inModule()
	s.mu.Lock()
	defer s.mu.Unlock()
	d.module = module
}

// reportEnergy fills in the energy, the difference of two readings of the counter, if
// that is meaningful.
func (s *Sampler) reportEnergy(out *schema.GPU, i int, d *deviceState, miss func(field, reason string), notes *schema.Notes) {
	e := &d.energy
	window := e.lastAt.Sub(e.firstAt)
	reason := ""
	switch {
	case e.unsupported && d.parent != nil:
		reason = "NVML counts the energy of the whole GPU, not of a MIG instance"
	case e.err != nil:
		reason = fmt.Sprintf("the driver returned no energy: %v", e.err)
	case s.started.IsZero():
		reason = notStarted
	case s.stopped && !closed(s.done):
		reason = "the driver did not return from reading power, energy or processes: the counter was not read at the end"
	case !s.stopped:
		reason = "the counter is read again when the command has ended"
	case e.firstAt.IsZero() || window <= 0:
		reason = "the counter was not read twice"
	case e.last < e.first:
		reason = fmt.Sprintf("the device's counter decreased from %.3f to %.3f J: the driver was reloaded, or the device reset", e.first, e.last)
	case e.last-e.first > maxWatts*(window+shortEnergy).Seconds():
		reason = fmt.Sprintf("the device's counter rose by %.0f J in %.2f s, which is more than any GPU can draw", e.last-e.first, window.Seconds())
		notes.Doubt(schema.CodeInvalidValues, schema.Warning, fmt.Sprintf("GPU %d: %s", d.index, reason), nil)
	case e.last == e.first:
		reason = fmt.Sprintf("the device's counter did not move in %.2f s", window.Seconds())
	}
	if reason != "" {
		miss("energy_joules", reason)
		miss("energy_active_joules", reason)
		return
	}
	out.EnergyJoules = schema.F(e.last - e.first)
	if window < shortEnergy {
		notes.Doubt(schema.CodeShortEnergyWindow, schema.Info,
			fmt.Sprintf("the energy of GPU %d covers only %.2f s, and the counter is updated about every 0.1 s", d.index, window.Seconds()),
			&schema.Evidence{Field: fmt.Sprintf("gpus.%d.energy_joules", i), Value: *out.EnergyJoules, Threshold: schema.Float(shortEnergy.Seconds())})
	}
	if d.module {
		notes.Doubt(schema.CodeModuleEnergy, schema.Info,
			fmt.Sprintf("GPU %d is part of a Grace module: its energy counter covers the whole module, with the CPU and its memory, and so does every figure of its energy", d.index),
			&schema.Evidence{Field: fmt.Sprintf("gpus.%d.energy_joules", i), Value: *out.EnergyJoules})
	}
	if reason := s.whyNoActiveEnergy(d); reason != "" {
		miss("energy_active_joules", reason)
		return
	}
	out.EnergyActiveJoules = schema.F(e.active.joules)
}

// whyNoActiveEnergy returns why the active energy is not known to a tenth, or "".
func (s *Sampler) whyNoActiveEnergy(d *deviceState) string {
	a := &d.energy.active
	watts := max(a.highest, d.power.max)
	open := max(a.missing, a.surplus).Seconds()
	switch {
	case !s.engines.known():
		return "no engine on this host was read"
	case a.err != nil:
		return fmt.Sprintf("the counter could not be read when the engine became active or idle: %v", a.err)
	case !a.worked:
		return "no reading of the engine found it at work"
	case a.joules <= 0:
		return "the device's counter did not move while the engine was active"
	case open > 0 && watts == 0:
		return "the power of the device is unknown, and so is the error at the changes between active and idle"
	case watts*open > mostUnknown*a.joules:
		return fmt.Sprintf("the polls and the steps of the counter leave %.2f s open in which the engine became active or idle, which at %.0f W is more than a tenth of the %.0f J counted: a longer run is needed, or a shorter --scrape-interval", open, watts, a.joules)
	}
	return ""
}

// idlePower accumulates the readings of the power while no engine worked.
type idlePower struct {
	before statAccumulator // before the command started
	during statAccumulator // while it ran
	// A reading counts once a poll after it has found the engines idle.
	pending   float64
	pendingAt time.Time // zero if there is none
}

// readPowerBefore reads the power before the command starts.
func (s *Sampler) readPowerBefore(d *deviceState) {
	if d.power.unsupported || d.idle.before.unsupported {
		return
	}
	watts, err := d.dev.power()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		d.idle.before.fail(err)
	case watts <= maxWatts:
		d.idle.before.add(watts)
	}
}

// recordIdlePower records a reading of the power while the command runs.
func (s *Sampler) recordIdlePower(d *deviceState, watts float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.settleIdlePower(d)
	if idle, _ := s.engines.wasIdle(now.Add(-idleSettle), now); idle {
		d.idle.pending, d.idle.pendingAt = watts, now
	}
}

// settleIdlePower decides whether the pending reading counts, if that is known.
func (s *Sampler) settleIdlePower(d *deviceState) {
	p := &d.idle
	if p.pendingAt.IsZero() {
		return
	}
	idle, known := s.engines.wasIdle(p.pendingAt.Add(-idleSettle), p.pendingAt)
	if !known {
		return
	}
	if idle {
		p.during.add(p.pending)
	}
	p.pendingAt = time.Time{}
}

// reportIdlePower fills in the power while no engine worked.
func (s *Sampler) reportIdlePower(out *schema.GPU, d *deviceState, miss func(field, reason string)) {
	s.settleIdlePower(d)
	n, sum := d.idle.during.n, d.idle.during.sum
	if before := &d.idle.before; !s.engines.workedBefore(s.started) {
		n += before.n
		sum += before.sum
	}
	switch {
	case n >= minGaugeReadings:
		out.IdleWatts = schema.F(sum / float64(n))
	case d.power.n == 0:
		miss("idle_watts", s.whyNoGauge(d, &d.power, "power", true))
	default:
		miss("idle_watts", fmt.Sprintf("%d readings of the power came before the command, or after an engine on this host had been idle for %.0f s: at least %d are needed", n, idleSettle.Seconds(), minGaugeReadings))
	}
}
