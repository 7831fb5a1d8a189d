package gpu

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/vobs/vobs/schema"
)

// profiler reads the performance counters of a device (NVML's GPM).
type profiler interface {
	// sample reads the counters and returns the profile of the time since the sample before;
	// nil at the first one.
	sample() (*profile, error)
}

// numProfiled is the number of figures in a profile.
const numProfiled = 4

// profile has the mean of each figure over a time, in the order of profiled.
type profile [numProfiled]struct {
	fraction float64
	err      error
}

// profiled are the figures of a profile.
var profiled = [numProfiled]struct {
	field, name string
	of          func(*schema.GPU) **schema.MeanMax
}{
	{"sm_active", "activity of the SMs", func(g *schema.GPU) **schema.MeanMax { return &g.SMActive }},
	{"sm_occupancy", "occupancy of the SMs", func(g *schema.GPU) **schema.MeanMax { return &g.SMOccupancy }},
	{"tensor_active", "activity of the tensor cores", func(g *schema.GPU) **schema.MeanMax { return &g.TensorActive }},
	{"dram_active", "activity of the memory", func(g *schema.GPU) **schema.MeanMax { return &g.DRAMActive }},
}

// minProfiled is the shortest time that a profile may cover: it should be more than 100 ms,
// after which the counters are refreshed (nvml.h, nvmlGpmMetricsGet).
const minProfiled = 125 * time.Millisecond

// profileShare is the share of one core that reading performance counters may take. Their means
// are exact however rarely they are read, so they must not delay the readings of the power and
// the processes.
const profileShare = 0.001

// profileRound reads the performance counters of all devices and returns the CPU time that it
// took.
func (s *Sampler) profileRound() time.Duration {
	if !s.running() {
		return 0
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := s.driver.threadCPU()
	for _, d := range s.devices {
		s.readProfile(d)
	}
	return s.driver.threadCPU() - before
}

// minCovered is the part of the run that the readings must cover: a mean over less of it need not
// be that of the run.
const minCovered = 0.5

// deviceProfile is what was read of a device's performance counters. Sampler.mu guards it,
// except the profiler, which is for the sampler's goroutine.
type deviceProfile struct {
	tried    bool
	profiler profiler
	err      error     // why there is none, or why the last sample failed
	sampled  time.Time // the last sample; zero before the first
	figures  [numProfiled]profileAccumulator
}

// profileAccumulator accumulates one figure, weighted by time.
type profileAccumulator struct {
	seconds  float64
	sum, max float64
	err      error // why the last value is not known
}

func (a *profileAccumulator) add(fraction float64, span time.Duration) {
	a.seconds += span.Seconds()
	a.sum += fraction * span.Seconds()
	a.max = max(a.max, fraction)
	a.err = nil
}

// readProfile reads the performance counters of a device, if it has some. A MIG instance's
// would need other calls.
func (s *Sampler) readProfile(d *deviceState) {
	p := &d.profile
	if d.parent != nil || p.tried && p.profiler == nil {
		return
	}
	if !p.tried {
		reader, err := d.dev.profiler()
		s.mu.Lock()
		p.tried, p.profiler, p.err = true, reader, err
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
	began := time.Now()
	if began.Sub(p.sampled) < minProfiled {
		return
	}
	values, err := p.profiler.sample()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		p.err = err
		if errors.Is(err, errUnsupported) {
			p.profiler = nil
		} else {
			d.errors++
		}
		return
	}
	span := began.Sub(p.sampled)
	p.sampled, p.err = began, nil
	if values == nil {
		return
	}
	for i, v := range values {
		a := &p.figures[i]
		switch {
		case v.err != nil:
			a.err = v.err
		case v.fraction >= 0 && v.fraction < 1.01: // rounded by the driver
			a.add(min(v.fraction, 1), span)
		default: // or not a number
			a.err = fmt.Errorf("%w: %v %%", errImplausible, 100*v.fraction)
		}
	}
}

// reportProfile fills in the figures of the performance counters.
func (s *Sampler) reportProfile(out *schema.GPU, d *deviceState, miss func(field, reason string)) {
	p := &d.profile
	end := s.ended
	if end.IsZero() {
		end = time.Now() // for a partial event
	}
	run := end.Sub(s.started).Seconds()
	why := "" // the first figure is missing
	for i, f := range profiled {
		a := &p.figures[i]
		if !s.started.IsZero() && a.seconds > 0 && a.seconds >= minCovered*run {
			*f.of(out) = &schema.MeanMax{Mean: schema.Float(a.sum / a.seconds), Max: schema.Float(a.max)}
			out.ActivitySource = schema.Ptr("nvml_gpm")
			continue
		}
		reason := ""
		switch {
		case d.parent != nil:
			reason = "the performance counters of a MIG instance are not read"
		case errors.Is(p.err, errUnsupported):
			reason = fmt.Sprintf("performance counters (NVML's GPM) exist on Hopper and later GPUs only, with a driver from 525 on: %v", p.err)
		case p.err != nil:
			reason = fmt.Sprintf("the performance counters could not be read: %v", p.err)
		case a.err != nil:
			reason = fmt.Sprintf("the driver returned no %s: %v", f.name, a.err)
		case s.started.IsZero():
			reason = notStarted
		default:
			reason = fmt.Sprintf("the readings of the performance counters cover %.2f of the run's %.2f s, and half of them is needed", a.seconds, run)
		}
		miss(f.field, reason)
		why = cmp.Or(why, reason)
	}
	if out.ActivitySource == nil {
		miss("activity_source", why)
	}
}
