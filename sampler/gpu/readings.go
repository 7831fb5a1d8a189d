package gpu

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// deviceState is one sampled device and everything read of it but its memory. Identity
// and handles are set once; Sampler.mu guards the rest.
type deviceState struct {
	index  int
	uuid   string
	name   string
	parent *string // UUID of the GPU that a MIG instance is part of
	dev    device
	gpu    device // the GPU itself; of a MIG instance, its parent

	power, utilization, temperature, clocks statAccumulator
	impossibleWatts                         float64 // the last reading above maxWatts; 0 if there was none
	throttledReadings                       int64   // readings with a throttle reason
	throttleReasons                         uint64  // every throttle reason seen
	throttling                              Throttling
	energy                                  energyCounter
	idle                                    idlePower
	profile                                 deviceProfile
	module                                  bool  // the GPU is part of a Grace module
	errors                                  int64 // failed readings of anything but the memory

	curves deviceCurves

	deviceProcesses
}

// maxWatts is more power than any GPU can draw: a GB300 is specified for 1400 W.
const maxWatts = 2000

// statAccumulator accumulates the readings of one quantity.
type statAccumulator struct {
	n           int64
	sum, max    float64
	err         error // why the last reading failed
	unsupported bool  // it is not read again
}

func (a *statAccumulator) add(v float64) {
	if a.n == 0 || v > a.max {
		a.max = v
	}
	a.n++
	a.sum += v
	a.err = nil
}

// fail records a failure and reports whether a later reading may succeed.
func (a *statAccumulator) fail(err error) bool {
	a.err = err
	a.unsupported = errors.Is(err, errUnsupported)
	return !a.unsupported
}

func (a *statAccumulator) mean() float64 { return a.sum / float64(a.n) }

// roundKind is the kind of a slow round.
type roundKind int

const (
	boundaryRound roundKind = iota // the first and the last: energy, compute processes
	periodicRound                  // also what is averaged over the run, and graphics processes
)

// slowRound makes a slow round and returns the CPU time that it took on the thread to
// which it is locked meanwhile.
func (s *Sampler) slowRound(kind roundKind) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := s.driver.threadCPU()
	running := s.running()
	engines := s.engines.take()
	for _, d := range s.devices {
		s.readEnergy(d, running, engines)
		switch {
		case closed(s.stopping):
			s.identifyModule(d)
		case kind != periodicRound:
		case running:
			s.readGauges(d)
		default:
			s.readPowerBefore(d)
		}
	}
	s.readProcesses(kind)
	return s.driver.threadCPU() - before
}

// readGauges reads what is averaged over the run.
func (s *Sampler) readGauges(d *deviceState) {
	if !d.power.unsupported {
		watts, err := d.dev.power()
		if err == nil && watts > maxWatts {
			s.mu.Lock()
			d.impossibleWatts = watts
			s.mu.Unlock()
			err = fmt.Errorf("a power of %.0f W is impossible", watts)
		}
		if s.record(d, &d.power, watts, err) {
			s.addPower(d, watts)
			s.recordIdlePower(d, watts)
		}
	}
	if !d.utilization.unsupported {
		fraction, err := d.dev.utilization()
		s.record(d, &d.utilization, fraction, err)
	}
	// Temperature and clocks are those of the whole GPU: a MIG instance has none of its own.
	if !d.temperature.unsupported {
		celsius, err := d.gpu.temperature()
		s.record(d, &d.temperature, float64(celsius), err)
	}
	if !d.clocks.unsupported {
		reasons, err := d.gpu.throttle()
		throttled := float64(0)
		if reasons &= throttleMask; reasons != 0 {
			throttled = 1
		}
		if s.record(d, &d.clocks, throttled, err) {
			s.mu.Lock()
			d.throttleReasons |= reasons
			d.throttledReadings += int64(throttled)
			d.throttling.add(reasons)
			s.mu.Unlock()
		}
	}
}

// record adds a reading to a, or records why there is none. It reports whether there is
// one.
func (s *Sampler) record(d *deviceState, a *statAccumulator, v float64, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		a.add(v)
		return true
	}
	if a.fail(err) {
		d.errors++
	}
	return false
}

// throttleNames are the throttle reasons for power, heat or a brake, by the names that
// nvidia-smi uses (nvml.h, nvmlClocksEventReasons). Missing are gpu_idle,
// applications_clocks_setting, sync_boost and display_clock_setting, which are settings
// or harmless.
var throttleNames = [...]struct {
	bit  uint64
	name string
}{
	{0x04, "sw_power_cap"},
	{0x08, "hw_slowdown"},
	{0x20, "sw_thermal_slowdown"},
	{0x40, "hw_thermal_slowdown"},
	{0x80, "hw_power_brake_slowdown"},
}

// Throttling counts readings of why the clocks of a device were reduced.
type Throttling struct {
	// Readings are all of them.
	Readings int64
	// Hardware are those with a hardware slowdown, heat or a power brake.
	Hardware int64
	// PowerCap are those with the software power cap and none of these.
	PowerCap int64
}

// hardwareMask is the mask of the throttle reasons but sw_power_cap, in which a GPU under
// full load may be all the time.
const hardwareMask = 0x08 | 0x20 | 0x40 | 0x80

// add counts a reading with these throttle reasons.
func (t *Throttling) add(reasons uint64) {
	t.Readings++
	switch {
	case reasons&hardwareMask != 0:
		t.Hardware++
	case reasons != 0:
		t.PowerCap++
	}
}

// throttleMask is the mask of all throttleNames.
var throttleMask = func() (mask uint64) {
	for _, t := range throttleNames {
		mask |= t.bit
	}
	return mask
}()
