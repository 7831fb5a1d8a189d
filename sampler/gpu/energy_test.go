package gpu

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const (
	idleWatts   = 100.0
	activeWatts = 500.0
)

// stretch is a time in which an engine works, in seconds.
type stretch struct{ from, to float64 }

// timeline is when an engine works, in order.
type timeline []stretch

func (l timeline) busy(t float64) bool {
	for _, s := range l {
		if t >= s.from && t < s.to {
			return true
		}
	}
	return false
}

// active returns for how long the engine worked up to t.
func (l timeline) active(t float64) (sum float64) {
	for _, s := range l {
		sum += max(0, min(t, s.to)-s.from)
	}
	return sum
}

func (l timeline) joules(t float64) float64 {
	return 1000 + idleWatts*t + (activeWatts-idleWatts)*l.active(t)
}

// counter is what the device's counter shows: it is updated every counterStep.
func (l timeline) counter(t float64) float64 {
	step := counterStep.Seconds()
	return l.joules(math.Floor(t/step) * step)
}

// poll returns what a poll at t shows, after one at since.
func (l timeline) poll(start time.Time, since, t float64) EnginePoll {
	at := func(t float64) time.Time { return start.Add(time.Duration(t * 1e9)) }
	before, now := l.busy(since), l.busy(t)
	return EnginePoll{Since: at(since), At: at(t), Busy: now, Worked: !before && !now && l.active(t) > l.active(since)}
}

// An active energy is never more than a tenth off, however the engine works and is polled.
func TestActiveEnergyError(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	at := func(t float64) time.Time { return start.Add(time.Duration(t * 1e9)) }
	known := 0
	const runs = 3000
	for run := range runs {
		var line timeline
		end := 1 + 120*random.Float64()*random.Float64()
		longest := end * random.Float64()
		for from := random.Float64() * longest; from < end; {
			to := from + random.Float64()*longest
			line = append(line, stretch{from, min(to, end)})
			from = to + random.Float64()*longest
		}
		gap := 0.02 + 0.5*random.Float64()
		s := &Sampler{engines: newEngineActivity(), started: start}
		d := &deviceState{}
		d.power.add(activeWatts)
		e := &d.energy
		read := func(t float64, last bool) {
			e.addActive(line.counter(t), at(t), s.engines.take(), last)
			e.last, e.lastAt = line.counter(t), at(t)
		}
		e.first, e.firstAt = line.counter(0), start
		e.last, e.lastAt = e.first, start
		s.engines.polled(line.poll(start, 0, 0))
		e.active = activeEnergy{busy: line.busy(0), worked: line.busy(0)}
		s.engines.take()
		for before, now := 0.0, gap*random.Float64(); now < end; before, now = now, now+gap*(0.5+random.Float64()) {
			s.engines.polled(line.poll(start, before, now))
			// A reading comes at once, or at the next tick.
			if delay := 0.3 * random.Float64(); s.engines.waiting() && delay < gap/2 && now+delay < end {
				read(now+delay, false)
			}
		}
		read(end, true)
		if why := s.whyNoActiveEnergy(d); why != "" {
			continue
		}
		known++
		// The work after the last poll may be missed, if the engine was idle then.
		truth := line.active(end) * activeWatts
		if last := line[len(line)-1]; !e.active.busy && last.from > s.engines.state.at.Sub(start).Seconds() {
			truth -= (last.to - last.from) * activeWatts
		}
		if off := math.Abs(e.active.joules-truth) / e.active.joules; off > mostUnknown+0.005 {
			t.Errorf("run %d: %.0f J counted, %.0f J is true, %.1f %% off: missing %v, surplus %v, polls every %.2f s, %v", run, e.active.joules, truth, 100*off, e.active.missing, e.active.surplus, gap, line)
		}
	}
	t.Logf("%d of %d are known", known, runs)
	if known < runs/10 {
		t.Errorf("only %d of %d are known", known, runs)
	}
}

// energyRun samples a GPU whose engine works and is polled over 60 s.
type energyRun struct {
	line   timeline
	gap    time.Duration // between polls; 0: none
	early  bool          // the engine is polled before the command starts, too
	before time.Duration // before the command starts
	joules func(t float64) (float64, error)
}

func (c energyRun) run(t *testing.T, hang chan struct{}) Readings {
	t.Helper()
	begin := time.Now()
	elapsed := func(at time.Time) float64 { return at.Sub(begin).Seconds() - c.before.Seconds() }
	gpu := &fakeGPU{
		used: steady(gib),
		watts: func(at time.Time) (float64, error) {
			if c.line.busy(elapsed(at)) {
				return activeWatts, nil
			}
			return idleWatts, nil
		},
		joules: func(at time.Time) (float64, error) {
			if c.joules != nil {
				return c.joules(elapsed(at))
			}
			return c.line.counter(elapsed(at)), nil
		},
	}
	s := start(Config{}, &fakeDriver{hang: hang, gpus: []*fakeGPU{gpu}})
	poll := func(since, now float64) {
		s.EnginePolled(c.line.poll(begin.Add(c.before), since, now))
	}
	if c.early {
		poll(-c.before.Seconds(), -c.before.Seconds())
	}
	time.Sleep(c.before)
	s.CommandStarted(time.Now())
	const length = 60 * time.Second
	if c.gap == 0 {
		time.Sleep(length)
		return s.Stop(length)
	}
	since := 0.0
	if !c.early {
		poll(0, 0)
	}
	for elapsed(time.Now()) < length.Seconds() {
		time.Sleep(c.gap)
		now := elapsed(time.Now())
		poll(since, now)
		since = now
	}
	return s.Stop(length)
}

func TestActiveEnergy(t *testing.T) {
	const step = 100 * time.Millisecond
	flapping := timeline{}
	for from := 1.0; from < 55; from += 0.5 {
		flapping = append(flapping, stretch{from, from + 0.25})
	}
	for name, c := range map[string]struct {
		run    energyRun
		joules float64 // of the active time; 0: unknown
		reason string
		idle   float64 // watts; 0: unknown
	}{
		"one stretch":      {energyRun{line: timeline{{10, 40}}, gap: step}, 15000, "", idleWatts},
		"two stretches":    {energyRun{line: timeline{{5, 20}, {30, 50}}, gap: step}, 17500, "", idleWatts},
		"to the end":       {energyRun{line: timeline{{30, 100}}, gap: step}, 15000, "", idleWatts},
		"from the start":   {energyRun{line: timeline{{-100, 30}}, gap: step, early: true, before: time.Second}, 15000, "", idleWatts},
		"all the time":     {energyRun{line: timeline{{-100, 100}}, gap: step, early: true, before: time.Second}, 30000, "", 0},
		"polled rarely":    {energyRun{line: timeline{{10, 20}}, gap: 2 * time.Second}, 0, "a longer run is needed", idleWatts},
		"short":            {energyRun{line: timeline{{10, 10.8}}, gap: step}, 0, "a longer run is needed", idleWatts},
		"between polls":    {energyRun{line: timeline{{10.02, 10.08}}, gap: step}, 0, "found it at work", idleWatts},
		"many changes":     {energyRun{line: flapping, gap: 250 * time.Millisecond}, 0, "a longer run is needed", idleWatts},
		"idle":             {energyRun{gap: step}, 0, "found it at work", idleWatts},
		"no engine":        {energyRun{line: timeline{{10, 40}}}, 0, "no engine on this host", 0},
		"before the start": {energyRun{line: timeline{{1, 100}}, gap: step, early: true, before: 4 * time.Second}, 29500, "", idleWatts},
		"fails at a change": {energyRun{line: timeline{{10, 40}}, gap: step, joules: func(now float64) (float64, error) {
			if now > 39 && now < 41 {
				return 0, errors.New("lost")
			}
			return 100 * now, nil
		}}, 0, "lost", idleWatts},
		"stands still": {energyRun{line: timeline{{10, 40}}, gap: step, joules: func(now float64) (float64, error) {
			return min(now, 5), nil
		}}, 0, "did not move while the engine was active", idleWatts},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, hang chan struct{}) {
				r := c.run.run(t, hang)
				if problems := unexplainedNulls(r); len(problems) > 0 {
					t.Errorf("nulls without a reason: %s", strings.Join(problems, ", "))
				}
				g := r.GPUs[0]
				got, ok := g.EnergyActiveJoules.Value()
				if ok != (c.joules > 0) || ok && math.Abs(got-c.joules) > 0.02*c.joules {
					t.Errorf("active energy %v, want %v: %s", got, c.joules, r.reason("gpus.0.energy_active_joules"))
				}
				if reason := r.reason("gpus.0.energy_active_joules"); !strings.Contains(reason, c.reason) {
					t.Errorf("reason %q, want %q", reason, c.reason)
				}
				if got, _ := g.IdleWatts.Value(); got != c.idle {
					t.Errorf("idle power %v, want %v: %s", got, c.idle, r.reason("gpus.0.idle_watts"))
				}
			})
		})
	}
}
