package gpu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/schema"
)

func TestSlowInit(t *testing.T) {
	for _, c := range []struct {
		init, run time.Duration
		stop      time.Duration // upper bound
		sampled   bool
	}{
		{300 * time.Millisecond, 200 * time.Millisecond, 150 * time.Millisecond, true},
		{300 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, false}, // waited for as long as the command ran
		{3 * time.Second, time.Second, 1100 * time.Millisecond, false},
		{3 * time.Second, 1600 * time.Millisecond, 1500 * time.Millisecond, true},
		{3 * time.Second, 10 * time.Second, 100 * time.Millisecond, true},
		{time.Hour, 10 * time.Second, 2 * time.Second, false},
	} {
		t.Run(fmt.Sprintf("%v,%v", c.init, c.run), func(t *testing.T) {
			inBubble(t, func(t *testing.T, hang chan struct{}) {
				r, stop := sample(t, &fakeDriver{initTakes: c.init, gpus: []*fakeGPU{{used: steady(gib)}}}, Config{}, c.run)
				if stop > c.stop {
					t.Errorf("Stop took %v, want %v at most", stop, c.stop)
				}
				if (r.GPUs != nil) != c.sampled {
					t.Errorf("sampled %v, want %v: %+v", r.GPUs != nil, c.sampled, r.Notes)
				}
				if !c.sampled && !strings.Contains(r.reason("gpus"), "still initializing") {
					t.Errorf("reason %q", r.reason("gpus"))
				}
				if c.sampled && c.init > 2*time.Second && r.doubt("gpu_sampling_late") == "" {
					t.Error("no note about the late start")
				}
			})
		})
	}
}

func TestHangingInit(t *testing.T) {
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		s := start(Config{}, &fakeDriver{hang: hang, hangInit: true})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "NVML") {
			t.Errorf("Ready: %v", err)
		}
		if r := s.Readings(); !strings.Contains(r.reason("gpus"), "still initializing") {
			t.Errorf("before the end: %+v", r.Notes)
		}
		begin := time.Now()
		r := s.Stop(time.Hour)
		if took := time.Since(begin); took > stopTimeout {
			t.Errorf("Stop took %v", took)
		}
		if r.GPUs != nil || len(unexplainedNulls(r)) > 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestHangWhileSampling(t *testing.T) {
	for _, where := range []string{"memory", "power"} {
		t.Run(where, func(t *testing.T) {
			inBubble(t, func(t *testing.T, hang chan struct{}) {
				begin := time.Now()
				gpu := &fakeGPU{used: func(at time.Time) (uint64, error) {
					switch since := at.Sub(begin); {
					case where == "memory" && since > time.Second:
						return 0, errHang
					case since > 500*time.Millisecond:
						return 5 * gib, nil
					}
					return gib, nil
				}, hangPower: where == "power"}
				r, stop := sample(t, &fakeDriver{hang: hang, gpus: []*fakeGPU{gpu}}, Config{}, 3*time.Second)
				if stop < time.Second {
					t.Errorf("Stop waited only %v for the driver", stop)
				}
				if len(r.GPUs) != 1 || r.GPUs[0].PeakBytes == nil || *r.GPUs[0].PeakBytes != 5*gib {
					t.Errorf("what was sampled is lost: %+v", r)
				}
				if r.doubt("gpu_driver_stuck") == "" {
					t.Errorf("no note about it: %+v", r.Notes)
				}
			})
		})
	}
}

// More power than any GPU can draw is left out, and so is such an energy.
func TestImpossiblePower(t *testing.T) {
	for _, c := range []struct {
		name                string
		from                float64 // seconds from which on the power is 3.7 MW
		watts, joulesPerSec float64
		power, energy       bool
		doubts              int
	}{
		{"sound", 1e9, 700, 700, true, true, 0},
		{"one reading", 9, 700, 700, true, true, 1},
		{"always", 0, 700, 700, false, true, 1},
		{"energy", 1e9, 700, 3.7e6, true, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ chan struct{}) {
				begin := time.Now()
				gpu := &fakeGPU{
					used:   func(time.Time) (uint64, error) { return gib, nil },
					joules: func(at time.Time) (float64, error) { return c.joulesPerSec * at.Sub(begin).Seconds(), nil },
					watts: func(at time.Time) (float64, error) {
						if at.Sub(begin).Seconds() >= c.from {
							return 3.7e6, nil
						}
						return c.watts, nil
					},
					procs: listing(process{7, gib, true}),
				}
				s := start(Config{OwnedPIDs: pidSet(7), ProcRoot: procRoot(t, 7)}, &fakeDriver{gpus: []*fakeGPU{gpu}})
				s.CommandStarted(time.Now())
				time.Sleep(10 * time.Second)
				r := s.Stop(10 * time.Second)
				d := r.GPUs[0]
				if (d.PowerWatts != nil) != c.power || c.power && float64(d.PowerWatts.Max) != c.watts || !c.power && !strings.Contains(r.reason("gpus.0.power_watts"), "impossible") {
					t.Errorf("power %+v: %q", d.PowerWatts, r.reason("gpus.0.power_watts"))
				}
				if (d.EnergyJoules != nil) != c.energy || !c.energy && !strings.Contains(r.reason("gpus.0.energy_joules"), "more than any GPU can draw") {
					t.Errorf("energy %v: %q", d.EnergyJoules, r.reason("gpus.0.energy_joules"))
				}
				doubts := 0
				for _, v := range r.Notes.Validity {
					if v.Code == schema.CodeInvalidValues {
						doubts++
					}
				}
				if doubts != c.doubts || len(unexplainedNulls(r)) > 0 {
					t.Errorf("%d doubts, want %d; %v", doubts, c.doubts, unexplainedNulls(r))
				}
			})
		})
	}
}

func TestPeakAndGauges(t *testing.T) {
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		begin := time.Now()
		since := func(at time.Time) float64 { return at.Sub(begin).Seconds() }
		gpu := &fakeGPU{
			used: func(at time.Time) (uint64, error) {
				switch s := since(at); {
				case s < 1: // before the command: only for the baseline
					return 20 * gib, nil
				case s > 4 && s < 4.02:
					return 11 * gib, nil
				}
				return 2 * gib, nil
			},
			joules: func(at time.Time) (float64, error) { return 1000 + 250*since(at), nil },
			watts:  func(at time.Time) (float64, error) { return 100 * since(at), nil },
			procs:  listing(process{7, 2 * gib, true}),
		}
		s := start(Config{OwnedPIDs: pidSet(7), ProcRoot: procRoot(t, 7)}, &fakeDriver{gpus: []*fakeGPU{gpu}})
		time.Sleep(2 * time.Second)
		s.CommandStarted(time.Now())
		time.Sleep(8 * time.Second)
		if r := s.Readings(); len(r.GPUs) != 1 || *r.GPUs[0].PeakBytes != 11*gib || len(unexplainedNulls(r)) > 0 {
			t.Errorf("before the end: %+v", r)
		}
		r := s.Stop(8 * time.Second)
		d := r.GPUs[0]
		if *d.PeakBytes != 11*gib || *d.PeakAtSeconds < 2 || *d.PeakAtSeconds > 2.02 {
			t.Errorf("peak %d at %v s, want 11 GiB at 2.0", *d.PeakBytes, *d.PeakAtSeconds)
		}
		if *r.PeakVRAMGB != 11 {
			t.Errorf("peak_vram_gb %v", *r.PeakVRAMGB)
		}
		if joules := float64(*d.EnergyJoules); joules < 8*250 || joules > 8.3*250 {
			t.Errorf("%v J, want 2000 and at most 0.3 s more", joules)
		}
		if d.PowerWatts.Max < 950 || d.PowerWatts.Mean < 500 || d.PowerWatts.Mean > 700 {
			t.Errorf("power %+v, want the mean over 2 to 10 s", *d.PowerWatts)
		}
		if x := r.Throttling[0]; x.Readings < minGaugeReadings || x != (Throttling{Readings: x.Readings, PowerCap: x.Readings}) {
			t.Errorf("throttling %+v", x)
		}
		if *d.ThrottledFraction != 1 || !slices.Equal(d.ThrottleReasons, []string{"sw_power_cap"}) {
			t.Errorf("throttled %v by %v", *d.ThrottledFraction, d.ThrottleReasons)
		}
		if d.Utilization.Mean != 0.5 || *d.TemperatureCelsiusMax != 60 {
			t.Errorf("utilization %v, temperature %v", *d.Utilization, *d.TemperatureCelsiusMax)
		}
		if d.BaselineBytes != nil || !strings.Contains(r.reason("gpus.0.baseline_bytes"), "before the first reading") {
			t.Errorf("baseline %v, want none: the server was there before", d.BaselineBytes)
		}
		if again := s.Stop(0); again.PeakVRAMGB == nil || *again.PeakVRAMGB != 11 {
			t.Error("a second Stop returns something else")
		}
	})
}

func TestEnergy(t *testing.T) {
	at := func(f func(s float64) (float64, error)) *fakeGPU {
		begin := time.Now()
		return &fakeGPU{used: steady(gib), joules: func(t time.Time) (float64, error) { return f(t.Sub(begin).Seconds()) }}
	}
	for name, c := range map[string]struct {
		joules func(s float64) (float64, error)
		want   float64 // 0: null
		reason string
	}{
		"rises":       {func(s float64) (float64, error) { return 5 + 10*s, nil }, 30, ""},
		"decreases":   {func(s float64) (float64, error) { return 500 - s, nil }, 0, "decreased"},
		"constant":    {func(s float64) (float64, error) { return 500, nil }, 0, "did not move"},
		"unsupported": {func(s float64) (float64, error) { return 0, &callError{"e", codeNotSupported} }, 0, "does not support"},
		"lost at the end": {func(s float64) (float64, error) {
			if s > 2 {
				return 0, &callError{"e", codeGPULost}
			}
			return s, nil
		}, 0, "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, hang chan struct{}) {
				r, _ := sample(t, &fakeDriver{gpus: []*fakeGPU{at(c.joules)}}, Config{}, 3*time.Second)
				got, ok := r.GPUs[0].EnergyJoules.Value()
				if ok != (c.want > 0) || ok && (got < c.want-0.5 || got > c.want+0.5) {
					t.Errorf("%v J (%v), want %v", got, ok, c.want)
				}
				if !strings.Contains(r.reason("gpus.0.energy_joules"), c.reason) {
					t.Errorf("reason %q, want %q", r.reason("gpus.0.energy_joules"), c.reason)
				}
			})
		})
	}
}

func TestProcesses(t *testing.T) {
	yes, no := schema.Ptr(true), schema.Ptr(false)
	for name, c := range map[string]struct {
		gpus    []*fakeGPU
		cfg     Config
		proc    []int // processes in our procfs
		used    []*bool
		job     []int64 // -1: null
		foreign []int   // their number; -1: null
		listed  int     // length of Readings.PIDs[0]
		peak    float64 // GiB
		doubts  []string
		reason  [2]string // field, part of the reason
	}{
		"the command's alone": {
			gpus: []*fakeGPU{{used: steady(4 * gib), procs: listing(process{7, 3 * gib, true})}, {used: steady(9 * gib), procs: listing(process{8, 9 * gib, true})}},
			cfg:  Config{OwnedPIDs: pidSet(7)}, proc: []int{7, 8},
			listed: 1, used: []*bool{yes, no}, job: []int64{3 * gib, 0}, foreign: []int{0, 1}, peak: 4,
		},
		"two of the command's": {
			gpus: []*fakeGPU{{used: steady(4 * gib), procs: listing(process{7, gib, true}, process{9, 2 * gib, true})}},
			cfg:  Config{OwnedPIDs: pidSet(7, 9)}, proc: []int{7, 9},
			listed: 2, used: []*bool{yes}, job: []int64{3 * gib}, foreign: []int{0}, peak: 4,
		},
		"the command's and a foreign one": {
			gpus: []*fakeGPU{{used: steady(4 * gib), procs: listing(process{7, gib, true}, process{8, 2 * gib, true})}},
			cfg:  Config{OwnedPIDs: pidSet(7)}, proc: []int{7, 8},
			listed: 2, used: []*bool{yes}, job: []int64{gib}, foreign: []int{1}, peak: 4,
		},
		"unknown memory": {
			gpus: []*fakeGPU{{used: steady(4 * gib), procs: listing(process{7, 0, false})}},
			cfg:  Config{OwnedPIDs: pidSet(7)}, proc: []int{7},
			listed: 1, used: []*bool{yes}, job: []int64{-1}, foreign: []int{0}, peak: 4, reason: [2]string{"gpus.0.job_peak_bytes", "NOT_AVAILABLE"},
		},
		"another pid namespace": {
			gpus: []*fakeGPU{{used: steady(4 * gib), procs: listing(process{70001, 3 * gib, true})}, {used: steady(gib)}},
			cfg:  Config{OwnedPIDs: pidSet(7)}, proc: []int{7},
			used: []*bool{nil, nil}, job: []int64{-1, -1}, foreign: []int{-1, -1}, peak: 4, doubts: []string{"devices_not_matched"},
			reason: [2]string{"gpus.0.used_by_job", "pid namespace"},
		},
		"PIDsMatch returns false": {
			gpus: []*fakeGPU{{used: steady(4 * gib), procs: listing(process{7, 3 * gib, true})}},
			cfg:  Config{OwnedPIDs: pidSet(7), PIDsMatch: func() bool { return false }}, proc: []int{7},
			used: []*bool{nil}, job: []int64{-1}, foreign: []int{-1}, peak: 4, doubts: []string{"devices_not_matched"},
		},
		"hidden processes": {
			gpus: []*fakeGPU{{used: steady(30 * gib)}},
			cfg:  Config{OwnedPIDs: pidSet(7)}, proc: []int{7},
			used: []*bool{nil}, job: []int64{-1}, foreign: []int{0}, peak: 30, doubts: []string{"devices_not_matched"},
			reason: [2]string{"gpus.0.used_by_job", "hides processes"},
		},
		"idle": {
			gpus: []*fakeGPU{{used: steady(1 << 20)}, {used: steady(3 << 20)}},
			cfg:  Config{OwnedPIDs: pidSet(7)}, proc: []int{7},
			used: []*bool{no, no}, job: []int64{0, 0}, foreign: []int{0, 0}, peak: 3.0 / 1024, doubts: []string{"devices_not_matched"},
		},
		"no OwnedPIDs": {
			gpus: []*fakeGPU{{used: steady(gib), procs: listing(process{8, gib, true})}}, proc: []int{8},
			listed: 1, used: []*bool{nil}, job: []int64{-1}, foreign: []int{-1}, peak: 1, doubts: []string{"devices_not_matched"},
		},
		"no lists": {
			gpus: []*fakeGPU{{used: steady(gib), procs: func(time.Time) ([]process, error) { return nil, &callError{"p", codeFunctionNotFound} }}},
			cfg:  Config{OwnedPIDs: pidSet(7)}, proc: []int{7},
			used: []*bool{nil}, job: []int64{-1}, foreign: []int{-1}, peak: 1, doubts: []string{"devices_not_matched"},
			reason: [2]string{"gpus.0.used_by_job", "does not list"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.ProcRoot = procRoot(t, c.proc...)
			inBubble(t, func(t *testing.T, hang chan struct{}) {
				r, _ := sample(t, &fakeDriver{gpus: c.gpus}, c.cfg, 3*time.Second)
				for i, d := range r.GPUs {
					if (d.UsedByJob == nil) != (c.used[i] == nil) || d.UsedByJob != nil && *d.UsedByJob != *c.used[i] {
						t.Errorf("GPU %d: used_by_job %v, want %v", i, d.UsedByJob, c.used[i])
					}
					if (d.JobPeakBytes == nil) != (c.job[i] < 0) || d.JobPeakBytes != nil && *d.JobPeakBytes != c.job[i] {
						t.Errorf("GPU %d: job peak %v, want %d", i, d.JobPeakBytes, c.job[i])
					}
					if (d.ForeignProcesses == nil) != (c.foreign[i] < 0) || d.ForeignProcesses != nil && len(d.ForeignProcesses) != c.foreign[i] {
						t.Errorf("GPU %d: foreign %v, want %d", i, d.ForeignProcesses, c.foreign[i])
					}
				}
				// Pids that cannot be matched are not reported.
				if len(r.PIDs) != len(r.GPUs) || len(r.PIDs[0]) != c.listed {
					t.Errorf("processes on GPU 0: %v, want %d", r.PIDs, c.listed)
				}
				if float64(*r.PeakVRAMGB) != c.peak {
					t.Errorf("peak_vram_gb %v, want %v", *r.PeakVRAMGB, c.peak)
				}
				var codes []string
				for _, v := range r.Notes.Validity {
					codes = append(codes, string(v.Code))
				}
				if !slices.Equal(codes, c.doubts) {
					t.Errorf("validity %v, want %v", codes, c.doubts)
				}
				if c.reason[0] != "" && !strings.Contains(r.reason(c.reason[0]), c.reason[1]) {
					t.Errorf("%s: %q, want %q", c.reason[0], r.reason(c.reason[0]), c.reason[1])
				}
			})
		})
	}
}

// A process that is listed once and missing in procfs is no evidence about pid
// namespaces: it may have ended in between.
func TestProcessEnds(t *testing.T) {
	root := procRoot(t, 7)
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		calls := 0
		gpu := &fakeGPU{used: steady(1 << 20), procs: func(time.Time) ([]process, error) {
			if calls++; calls == 2 {
				return []process{{99, 1 << 20, true}}, nil
			}
			return nil, nil
		}}
		r, _ := sample(t, &fakeDriver{gpus: []*fakeGPU{gpu}}, Config{OwnedPIDs: pidSet(7), ProcRoot: root}, 3*time.Second)
		if d := r.GPUs[0]; d.UsedByJob == nil || *d.UsedByJob || len(d.ForeignProcesses) != 1 || d.ForeignProcesses[0].Name != nil {
			t.Errorf("%+v", d)
		}
	})
}

// A process that OwnedPIDs includes only later counts as owned from the beginning.
func TestProcessOwnedLater(t *testing.T) {
	root := procRoot(t, 7)
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		begin := time.Now()
		gpu := &fakeGPU{used: steady(4 * gib), procs: func(at time.Time) ([]process, error) {
			if at.Sub(begin) > 2*time.Second {
				return []process{{7, gib, true}}, nil
			}
			return []process{{7, 3 * gib, true}}, nil
		}}
		late := func() map[int]bool { return map[int]bool{7: time.Since(begin) > 2*time.Second} }
		r, _ := sample(t, &fakeDriver{gpus: []*fakeGPU{gpu}}, Config{OwnedPIDs: late, ProcRoot: root}, 4*time.Second)
		if d := r.GPUs[0]; len(d.ForeignProcesses) != 0 || d.JobPeakBytes == nil || *d.JobPeakBytes != 3*gib {
			t.Errorf("%+v", d)
		}
	})
}

// A process that OwnedPIDs never includes is owned if it descends from the command when
// it is first listed. Descends is called once per process.
func TestProcessOwnedByDescent(t *testing.T) {
	root := procRoot(t, 7, 8)
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		gpu := &fakeGPU{used: steady(5 * gib), procs: listing(process{7, 3 * gib, true}, process{8, gib, true})}
		calls := map[int]int{}
		descends := func(pid int) bool {
			calls[pid]++
			return pid == 7
		}
		r, _ := sample(t, &fakeDriver{gpus: []*fakeGPU{gpu}}, Config{OwnedPIDs: pidSet(), Descends: descends, ProcRoot: root}, 4*time.Second)
		if d := r.GPUs[0]; len(d.ForeignProcesses) != 1 || d.ForeignProcesses[0].PID != 8 || d.JobPeakBytes == nil || *d.JobPeakBytes != 3*gib {
			t.Errorf("%+v", d)
		}
		if calls[7] != 1 || calls[8] != 1 {
			t.Errorf("calls of Descends: %v, want one per process", calls)
		}
	})
}

func TestMemoryOf(t *testing.T) {
	root := procRoot(t, 7, 8)
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		d := &fakeDriver{gpus: []*fakeGPU{
			{used: steady(gib), procs: listing(process{7, 100, true}, process{8, 0, false})},
			{used: steady(gib), procs: listing(process{7, 20, true})},
		}}
		s := start(Config{OwnedPIDs: pidSet(7, 8), ProcRoot: root}, d)
		s.CommandStarted(time.Now())
		time.Sleep(time.Second)
		s.Stop(time.Second)
		if got, want := s.MemoryOf(map[int]bool{7: true, 8: true, 9: true}), (map[int]int64{7: 120, 9: 0}); !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		none := start(Config{}, &fakeDriver{initErr: errors.New("no NVML")})
		none.Stop(time.Second)
		if got := none.MemoryOf(map[int]bool{7: true}); got != nil {
			t.Errorf("%v without NVML", got)
		}
	})
}

// Transient errors are counted, and sampling continues.
func TestTransientErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		n, p := 0, 0
		gpu := &fakeGPU{used: func(time.Time) (uint64, error) {
			if n++; n%10 == 0 {
				return 0, &callError{"m", codeTimeout}
			}
			return gib, nil
		}, watts: func(time.Time) (float64, error) {
			if p++; p == 1 {
				return 0, &callError{"p", codeTimeout}
			}
			return 70, nil
		}}
		r, _ := sample(t, &fakeDriver{gpus: []*fakeGPU{gpu}}, Config{Interval: 10 * time.Millisecond}, 5*time.Second)
		s := r.GPUs[0].Sampling
		if s.Errors < 49 || s.Errors > 53 || s.Samples < 400 {
			t.Errorf("%+v", *s)
		}
		if w := r.GPUs[0].PowerWatts; w == nil || w.Mean != 70 {
			t.Errorf("power %v", w)
		}
	})
}

// An average of one or two readings describes moments, not the run. Energy is a difference
// and needs no more than two.
func TestFewGaugeReadings(t *testing.T) {
	// Rounds are aligned to the process's ticks, so a run may have one reading more or less.
	const none, one, two, averages = "no reading of", "only 1 reading fell into the run: ", "only 2 readings fell into the run: ", ""
	for _, c := range []struct {
		run  time.Duration
		want [2]string // one of these begins the reason; averages: there is none
	}{
		{200 * time.Millisecond, [2]string{none, one}},
		{400 * time.Millisecond, [2]string{one, two}},
		{700 * time.Millisecond, [2]string{two, averages}},
		{1200 * time.Millisecond, [2]string{averages, averages}},
	} {
		t.Run(c.run.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, hang chan struct{}) {
				begin := time.Now()
				joules := func(at time.Time) (float64, error) { return 100 * at.Sub(begin).Seconds(), nil }
				gpu := &fakeGPU{used: steady(gib), joules: joules}
				r, _ := sample(t, &fakeDriver{gpus: []*fakeGPU{gpu}}, Config{}, c.run)
				d := r.GPUs[0]
				if d.EnergyJoules == nil {
					t.Errorf("no energy: %s", r.reason("gpus.0.energy_joules"))
				}
				for field, missing := range map[string]bool{
					"power_watts": d.PowerWatts == nil, "utilization": d.Utilization == nil, "temperature_celsius_max": d.TemperatureCelsiusMax == nil,
					"throttled_fraction": d.ThrottledFraction == nil, "throttle_reasons": d.ThrottleReasons == nil,
				} {
					reason := r.reason("gpus.0." + field)
					is := func(want string) bool { return reason == want || want != averages && strings.HasPrefix(reason, want) }
					if missing != (reason != "") || !is(c.want[0]) && !is(c.want[1]) {
						t.Errorf("%s: null %v, reason %q, want one of %q", field, missing, reason, c.want)
					}
				}
			})
		})
	}
}

func TestStopWithoutCommand(t *testing.T) {
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		s := start(Config{}, &fakeDriver{gpus: []*fakeGPU{{used: steady(gib), joules: func(time.Time) (float64, error) { return 100, nil }}}})
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := s.Stop(0)
		if problems := unexplainedNulls(r); len(problems) > 0 {
			t.Errorf("%v", problems)
		}
		if len(r.GPUs) != 1 || r.GPUs[0].PeakBytes != nil {
			t.Errorf("%+v", r)
		}
		for _, field := range []string{"peak_vram_gb", "gpus.0.peak_bytes", "gpus.0.power_watts", "gpus.0.utilization", "gpus.0.energy_joules", "gpus.0.throttle_reasons"} {
			if reason := r.reason(field); !strings.Contains(reason, "did not start") {
				t.Errorf("%s: %q", field, reason)
			}
		}
	})
}

// With a driver of 500 µs per call, the sampler's loop keeps within the budget.
func TestExpensiveDriver(t *testing.T) {
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		var gpus []*fakeGPU
		for range 8 {
			gpus = append(gpus, &fakeGPU{used: steady(gib)})
		}
		d := &fakeDriver{gpus: gpus, cost: 500 * time.Microsecond}
		const run = time.Minute
		s := start(Config{}, d)
		s.CommandStarted(time.Now())
		time.Sleep(run)
		r := s.Stop(run)
		_, state := s.watcher.read()
		share := (state.cpu + d.threadCPU()).Seconds() / run.Seconds()
		t.Logf("%.3f %% of a core, period %v s", 100*share, *r.GPUs[0].Sampling.PeriodSeconds)
		if share > gpuShare {
			t.Errorf("%.3f %% of a core", 100*share)
		}
	})
}

// What reduces the clocks is counted by whether it is the software power cap alone.
func TestThrottlingAdd(t *testing.T) {
	for _, c := range []struct {
		reasons uint64
		want    Throttling
	}{
		{0, Throttling{Readings: 1}},
		{0x04, Throttling{Readings: 1, PowerCap: 1}},
		{0x08, Throttling{Readings: 1, Hardware: 1}},
		{0x20 | 0x04, Throttling{Readings: 1, Hardware: 1}},
		{0x40, Throttling{Readings: 1, Hardware: 1}},
		{0x80 | 0x04, Throttling{Readings: 1, Hardware: 1}},
	} {
		var got Throttling
		if got.add(c.reasons); got != c.want {
			t.Errorf("%#x: %+v, want %+v", c.reasons, got, c.want)
		}
	}
	if hardwareMask|0x04 != throttleMask {
		t.Errorf("masks: %#x and sw_power_cap are not all of %#x", hardwareMask, throttleMask)
	}
}
