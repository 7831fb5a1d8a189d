package gpu

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/schema"
)

// Processes that do not descend from the command are owned if Workers says so, and nothing is
// claimed about a device while that is unknown.
func TestWorkers(t *testing.T) {
	yes, no := schema.Ptr(true), schema.Ptr(false)
	const why = "process 9 is a worker of Ray, and its job is unknown"
	list := func(list ...process) *fakeGPU {
		sum := uint64(0)
		for _, p := range list {
			sum += p.memory
		}
		return &fakeGPU{used: steady(sum), procs: listing(list...)}
	}
	for name, c := range map[string]struct {
		gpus    []*fakeGPU
		owned   []int
		unknown map[int]string
		used    []*bool
		job     []int64 // -1: null
		foreign []int   // their number; -1: null
		doubt   string
	}{
		"none": {
			gpus: []*fakeGPU{list(process{7, gib, true}, process{8, gib, true}), list(process{8, gib, true})},
			used: []*bool{yes, no}, job: []int64{gib, 0}, foreign: []int{1, 1},
		},
		"the command's": {
			gpus: []*fakeGPU{list(process{8, 2 * gib, true}, process{9, gib, true}), list(process{8, 3 * gib, true})}, owned: []int{8},
			used: []*bool{yes, yes}, job: []int64{2 * gib, 3 * gib}, foreign: []int{1, 0},
		},
		"unknown": {
			gpus: []*fakeGPU{list(process{7, 2 * gib, true}), list(process{9, 3 * gib, true})}, unknown: map[int]string{9: why},
			used: []*bool{yes, nil}, job: []int64{2 * gib, -1}, foreign: []int{0, -1}, doubt: why + ": peak_vram_gb leaves out GPUs",
		},
		"unknown beside the command's": {
			gpus: []*fakeGPU{list(process{7, 2 * gib, true}, process{9, 3 * gib, true}), list(process{8, gib, true})}, unknown: map[int]string{9: why},
			used: []*bool{yes, no}, job: []int64{-1, 0}, foreign: []int{-1, 1},
		},
		"unknown alone": {
			gpus: []*fakeGPU{list(process{9, 3 * gib, true}), list()}, unknown: map[int]string{9: why},
			used: []*bool{nil, no}, job: []int64{-1, 0}, foreign: []int{-1, 0}, doubt: why + ": peak_vram_gb is the highest peak of all sampled GPUs (2)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := procRoot(t, 7, 8, 9)
			inBubble(t, func(t *testing.T, _ chan struct{}) {
				var calls [][]int
				workers := func(pids []int) ([]int, map[int]string) {
					calls = append(calls, pids)
					var owned []int
					for _, pid := range c.owned {
						if slices.Contains(pids, pid) {
							owned = append(owned, pid)
						}
					}
					return owned, c.unknown
				}
				r, _ := sample(t, &fakeDriver{gpus: c.gpus}, Config{OwnedPIDs: pidSet(7), Workers: workers, ProcRoot: root}, 3*time.Second)
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
					for field, null := range map[string]bool{"job_peak_bytes": c.job[i] < 0 && c.unknown != nil && c.foreign[i] < 0, "foreign_processes": c.foreign[i] < 0} {
						if got := r.reason(fmt.Sprintf("gpus.%d.%s", i, field)); null && got != why {
							t.Errorf("GPU %d: %s: %q, want %q", i, field, got, why)
						}
					}
				}
				if got := r.doubt("devices_not_matched"); !strings.HasPrefix(got, c.doubt) || (got == "") != (c.doubt == "") {
					t.Errorf("doubt %q, want %q", got, c.doubt)
				}
				for n, pids := range calls {
					if len(pids) == 0 || slices.Contains(pids, 7) || n > 0 && slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(c.owned, pid) }) {
						t.Errorf("call %d of Workers: %v", n, pids)
					}
				}
			})
		})
	}
}

// A worker that was on the device before the command has part of the first reading, and so may
// one of which it is unknown whether it is the command's. What was unknown may become known.
func TestWorkersBaseline(t *testing.T) {
	for name, c := range map[string]struct {
		until  time.Duration // when it becomes known
		owned  bool
		used   *bool
		reason string
	}{
		"owned":          {0, true, schema.Ptr(true), "before the first reading"},
		"foreign":        {0, false, schema.Ptr(false), ""},
		"unknown":        {time.Hour, false, nil, "in use at the first reading, and process 8"},
		"owned later":    {2 * time.Second, true, schema.Ptr(true), "before the first reading"},
		"foreign, later": {2 * time.Second, false, schema.Ptr(false), ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := procRoot(t, 7, 8)
			inBubble(t, func(t *testing.T, _ chan struct{}) {
				begin := time.Now()
				workers := func(pids []int) (owned []int, unknown map[int]string) {
					switch {
					case time.Since(begin) < c.until:
						unknown = map[int]string{8: "process 8 may work for the command"}
					case c.owned:
						owned = pids
					}
					return owned, unknown
				}
				gpu := &fakeGPU{used: steady(3 * gib), procs: listing(process{8, 2 * gib, true})}
				s := start(Config{OwnedPIDs: pidSet(7), Workers: workers, ProcRoot: root}, &fakeDriver{gpus: []*fakeGPU{gpu}})
				time.Sleep(time.Second)
				s.CommandStarted(time.Now())
				time.Sleep(3 * time.Second)
				r := s.Stop(3 * time.Second)
				d := r.GPUs[0]
				if (d.UsedByJob == nil) != (c.used == nil) || d.UsedByJob != nil && *d.UsedByJob != *c.used {
					t.Errorf("used_by_job %v, want %v", d.UsedByJob, c.used)
				}
				if c.used != nil && *c.used && (d.JobPeakBytes == nil || *d.JobPeakBytes != 2*gib) {
					t.Errorf("job peak %v", d.JobPeakBytes)
				}
				if got := r.reason("gpus.0.baseline_bytes"); (got == "") != (c.reason == "") || !strings.Contains(got, c.reason) {
					t.Errorf("baseline %v: %q, want %q", d.BaselineBytes, got, c.reason)
				}
				if problems := unexplainedNulls(r); len(problems) > 0 {
					t.Errorf("nulls without a reason: %v", problems)
				}
			})
		})
	}
}
