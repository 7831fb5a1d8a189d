package gpu

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/schema"
)

// fakeProfiler has a profile that is a function of time.
type fakeProfiler struct {
	last    time.Time
	at      func(t time.Time) float64 // of every figure
	failing func(t time.Time) error
	spend   func()
}

func (p *fakeProfiler) sample() (*profile, error) {
	now := time.Now()
	p.spend()
	if p.failing != nil {
		if err := p.failing(now); err != nil {
			return nil, err
		}
	}
	last := p.last
	p.last = now
	if last.IsZero() {
		return nil, nil
	}
	sum, n := 0.0, 0
	for t := last; t.Before(now); t = t.Add(time.Millisecond) {
		sum += p.at(t)
		n++
	}
	var out profile
	for i := range out {
		out[i].fraction = sum / float64(n)
	}
	return &out, nil
}

// The mean of a profile is that over the run's time, however unevenly it was read.
func TestProfile(t *testing.T) {
	for name, c := range map[string]struct {
		// at is every figure, by the seconds since the start.
		at      func(t float64) float64
		failing func(t float64) error
		length  time.Duration
		cost    time.Duration // of a call
		mean    float64
		max     float64
		reason  string
		errors  int64
	}{
		"steady":     {at: func(float64) float64 { return 0.4 }, length: 10 * time.Second, mean: 0.4, max: 0.4},
		"half":       {at: func(t float64) float64 { return math.Floor(math.Min(t/10, 1)) }, length: 20 * time.Second, mean: 0.5, max: 1},
		"slow calls": {at: func(t float64) float64 { return math.Floor(math.Min(t/30, 1)) }, length: time.Minute, cost: 2 * time.Millisecond, mean: 0.5, max: 1},
		"rounded":    {at: func(float64) float64 { return 1.002 }, length: 10 * time.Second, mean: 1, max: 1},
		"too high":   {at: func(float64) float64 { return 1.2 }, length: 10 * time.Second, reason: "no plausible value"},
		"no number":  {at: func(float64) float64 { return math.NaN() }, length: 10 * time.Second, reason: "no plausible value"},
		"lost early": {at: func(float64) float64 { return 1 }, failing: func(t float64) error {
			if t > 2 {
				return &callError{"nvmlGpmSampleGet", codeGPULost}
			}
			return nil
		}, length: 10 * time.Second, reason: "the GPU is lost", errors: 33},
		"fails for a while": {at: func(float64) float64 { return 0.4 }, failing: func(t float64) error {
			if t > 2 && t < 4 {
				return errors.New("busy")
			}
			return nil
		}, length: 10 * time.Second, mean: 0.4, max: 0.4, errors: 8},
		"no permission": {at: func(float64) float64 { return 0.4 }, failing: func(float64) error {
			return &callError{"nvmlGpmSampleGet", codeNoPermission}
		}, length: 10 * time.Second, reason: "nvmlGpmSampleGet: no permission"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, hang chan struct{}) {
				begin := time.Now()
				p := &fakeProfiler{at: func(at time.Time) float64 { return c.at(at.Sub(begin).Seconds()) }}
				if c.failing != nil {
					p.failing = func(at time.Time) error { return c.failing(at.Sub(begin).Seconds()) }
				}
				d := &fakeDriver{hang: hang, cost: c.cost, gpus: []*fakeGPU{{used: steady(gib), profile: p}}}
				p.spend = d.spend
				r, _ := sample(t, d, Config{}, c.length)
				g := r.GPUs[0]
				for field, got := range map[string]*schema.MeanMax{"sm_active": g.SMActive, "sm_occupancy": g.SMOccupancy, "tensor_active": g.TensorActive, "dram_active": g.DRAMActive} {
					if c.reason != "" {
						if reason := r.reason("gpus.0." + field); got != nil || !strings.Contains(reason, c.reason) {
							t.Errorf("%s is %+v, %q, want %q", field, got, reason, c.reason)
						}
						continue
					}
					if got == nil || math.Abs(float64(got.Mean)-c.mean) > 0.02 || float64(got.Max) != c.max && math.Abs(float64(got.Max)-c.max) > 1e-9 {
						t.Errorf("%s is %+v, want %v, %v: %s", field, got, c.mean, c.max, r.reason("gpus.0."+field))
					}
				}
				if g.Sampling.Errors != c.errors {
					t.Errorf("%d errors, want %d", g.Sampling.Errors, c.errors)
				}
			})
		})
	}
}

// Readings that cover less than half of the run are no figure.
func TestProfileOfPartOfTheRun(t *testing.T) {
	began := time.Now()
	s := &Sampler{started: began, ended: began.Add(10 * time.Second)}
	d := &deviceState{}
	for i := range d.profile.figures {
		d.profile.figures[i].add(1, 4*time.Second)
	}
	var out schema.GPU
	reasons := map[string]string{}
	s.reportProfile(&out, d, func(field, reason string) { reasons[field] = reason })
	if reason := reasons["sm_active"]; out.SMActive != nil || !strings.Contains(reason, "cover 4.00 of the run's 10.00 s") {
		t.Errorf("%+v, %q", out.SMActive, reason)
	}
}
