package gpu

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vobs/vobs/internal/curve"
)

// unexplainedNulls returns the nulls in r without a reason in its notes. A reason for
// "gpus" counts only if the whole group is null.
func unexplainedNulls(r Readings) []string {
	reasons := map[string]bool{}
	for _, u := range r.Notes.Unavailable {
		if u.Reason == "" {
			return []string{u.Field + " with an empty reason"}
		}
		reasons[u.Field] = true
	}
	var problems []string
	check := func(path string) {
		for p := path; ; p = p[:strings.LastIndexByte(p, '.')] {
			if reasons[p] && (p != "gpus" || r.GPUs == nil) {
				return
			}
			if !strings.Contains(p, ".") {
				break
			}
		}
		problems = append(problems, path)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case nil:
			if !strings.HasSuffix(path, ".mig_of") {
				check(path)
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				walk(path+"."+k, v[k])
			}
		case []any:
			for i, e := range v {
				walk(path+"."+strconv.Itoa(i), e)
			}
		}
	}
	text, err := json.Marshal(r.GPUs)
	if err != nil {
		return []string{err.Error()}
	}
	var gpus any
	if err := json.Unmarshal(text, &gpus); err != nil {
		return []string{err.Error()}
	}
	walk("gpus", gpus)
	if r.PeakVRAMGB == nil {
		check("peak_vram_gb")
	}
	return problems
}

// reason returns why a figure is null, or "".
func (r Readings) reason(field string) string {
	for _, u := range r.Notes.Unavailable {
		if u.Field == field {
			return u.Reason
		}
	}
	return ""
}

// doubt returns the message of a validity note, or "".
func (r Readings) doubt(code string) string {
	for _, v := range r.Notes.Validity {
		if string(v.Code) == code {
			return v.Message
		}
	}
	return ""
}

// fakeDriver is a driver on the clock of time.Now, which is synctest's.
type fakeDriver struct {
	initTakes time.Duration
	initErr   error
	hang      chan struct{} // calls hang until it is closed
	hangInit  bool
	gpus      []*fakeGPU
	cost      time.Duration // CPU time of a call
	mu        sync.Mutex
	cpu       time.Duration // spent so far
}

// fakeGPU is a GPU whose readings are functions of time; nil functions have constant
// results.
type fakeGPU struct {
	drv       *fakeDriver
	id        string
	used      func(t time.Time) (uint64, error)
	procs     func(t time.Time) ([]process, error)
	joules    func(t time.Time) (float64, error)
	watts     func(t time.Time) (float64, error)
	profile   profiler // nil: not supported
	hangPower bool
}

func (d *fakeDriver) start() error {
	if d.hangInit {
		<-d.hang
	}
	time.Sleep(d.initTakes)
	return d.initErr
}
func (d *fakeDriver) version() (string, error) { return "1.2.3", nil }
func (d *fakeDriver) count() (int, error)      { return len(d.gpus), nil }
func (d *fakeDriver) gpu(i int) (device, error) {
	d.gpus[i].drv = d
	d.gpus[i].id = fmt.Sprintf("GPU-%d", i)
	return d.gpus[i], nil
}
func (d *fakeDriver) threadCPU() time.Duration { d.mu.Lock(); defer d.mu.Unlock(); return d.cpu }
func (d *fakeDriver) spend()                   { d.mu.Lock(); defer d.mu.Unlock(); d.cpu += d.cost }

func (g *fakeGPU) uuid() (string, error) { return g.id, nil }
func (g *fakeGPU) name() (string, error) { return "Fake", nil }
func (g *fakeGPU) instances() ([]migInstance, bool, error) {
	return nil, false, nil
}
func (g *fakeGPU) power() (float64, error) {
	if g.hangPower {
		<-g.drv.hang
	}
	if g.watts != nil {
		return g.watts(time.Now())
	}
	return 100, nil
}
func (g *fakeGPU) energy() (float64, error) {
	g.drv.spend()
	if g.joules == nil {
		return 0, fmt.Errorf("energy: %w", errUnsupported)
	}
	return g.joules(time.Now())
}
func (g *fakeGPU) inModule() bool { return false }
func (g *fakeGPU) profiler() (profiler, error) {
	if g.profile == nil {
		return nil, &callError{"nvmlGpmQueryDeviceSupport", codeNotSupported}
	}
	return g.profile, nil
}
func (g *fakeGPU) utilization() (float64, error) { return 0.5, nil }
func (g *fakeGPU) temperature() (int, error)     { return 60, nil }
func (g *fakeGPU) throttle() (uint64, error)     { return 0x1 | 0x4, nil }
func (g *fakeGPU) processes(graphics bool) ([]process, error) {
	g.drv.spend()
	if graphics || g.procs == nil {
		return nil, nil
	}
	return g.procs(time.Now())
}

// fakeWatcher does what nvml_watch.c does, with Go's timers.
type fakeWatcher struct {
	d        *fakeDriver
	gpus     []*fakeGPU
	stopping chan struct{}
	ended    chan struct{}
	mu       sync.Mutex
	interval time.Duration
	from     time.Time
	list     []memoryStats
	state    watcherState
	parts    [][]curve.Part
}

func (d *fakeDriver) watch(devices []device, interval time.Duration) (watcher, error) {
	w := &fakeWatcher{d: d, interval: interval, stopping: make(chan struct{}), ended: make(chan struct{}), list: make([]memoryStats, len(devices)), parts: make([][]curve.Part, len(devices))}
	for _, dev := range devices {
		w.gpus = append(w.gpus, dev.(*fakeGPU))
	}
	go func() {
		defer close(w.ended)
		for {
			last := closed(w.stopping)
			w.round()
			if last {
				return
			}
			w.mu.Lock()
			wait := w.interval
			w.mu.Unlock()
			closedWithin(w.stopping, wait)
		}
	}()
	return w, nil
}

// errHang makes a reading of the memory hang.
var errHang = errors.New("hang")

func (w *fakeWatcher) round() {
	for i, g := range w.gpus {
		now := time.Now()
		used, err := g.used(now)
		if err == errHang {
			w.mu.Lock()
			w.state.busySince = now
			w.mu.Unlock()
			<-w.d.hang
		}
		w.mu.Lock()
		m := &w.list[i]
		counts := !w.from.IsZero() && !now.Before(w.from)
		switch {
		case err != nil:
			m.err = err
			if counts {
				m.errors++
			}
		default:
			m.api, m.total, m.reserved = "v2", 80<<30, 1<<29
			if m.firstAt.IsZero() {
				m.first, m.firstAt = used, now
			}
			if counts {
				if m.samples == 0 {
					m.countedFirst = now
				} else {
					m.maxGap = max(m.maxGap, now.Sub(m.countedLast))
				}
				if m.samples == 0 || used > m.peak {
					m.peak, m.peakAt = used, now
				}
				m.samples++
				m.countedLast = now
				seconds := 0.0 // a part of an average is enough here
				if m.samples > 1 {
					seconds = w.interval.Seconds()
				}
				w.parts[i] = append(w.parts[i], curve.Part{
					Slot: int64(now.Sub(w.from) / curve.Shortest), Readings: 1, Max: float64(used), Total: float64(used),
					Seconds: seconds, Area: seconds * float64(used),
				})
			}
		}
		w.state.cpu += w.d.cost
		w.mu.Unlock()
	}
	w.mu.Lock()
	w.state.rounds++
	w.mu.Unlock()
}
func (w *fakeWatcher) read() ([]memoryStats, watcherState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list), w.state
}
func (w *fakeWatcher) take(device int) []curve.Part {
	w.mu.Lock()
	defer w.mu.Unlock()
	parts := w.parts[device]
	w.parts[device] = nil
	return parts
}
func (w *fakeWatcher) countFrom(t time.Time) { w.mu.Lock(); defer w.mu.Unlock(); w.from = t }
func (w *fakeWatcher) setInterval(interval time.Duration, hold bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interval = interval
}
func (w *fakeWatcher) stop(timeout time.Duration) bool {
	close(w.stopping)
	return closedWithin(w.ended, timeout)
}

const gib = 1 << 30

func steady(bytes uint64) func(time.Time) (uint64, error) {
	return func(time.Time) (uint64, error) { return bytes, nil }
}

func listing(list ...process) func(time.Time) ([]process, error) {
	return func(time.Time) ([]process, error) { return list, nil }
}

// procRoot returns a fixture of /proc with these processes.
func procRoot(t *testing.T, pids ...int) string {
	t.Helper()
	root := t.TempDir()
	for _, pid := range pids {
		dir := filepath.Join(root, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "comm"), []byte("proc"+strconv.Itoa(pid)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func pidSet(pids ...int) func() map[int]bool {
	return func() map[int]bool {
		m := map[int]bool{}
		for _, p := range pids {
			m[p] = true
		}
		return m
	}
}

// sample samples for run and returns the readings and how long Stop took. It fails the
// test on a null without a reason, and if Stop takes more than 2 s.
func sample(t *testing.T, d *fakeDriver, cfg Config, run time.Duration) (r Readings, stop time.Duration) {
	t.Helper()
	s := start(cfg, d)
	s.CommandStarted(time.Now())
	time.Sleep(run)
	end := time.Now()
	r = s.Stop(run)
	stop = time.Since(end)
	if problems := unexplainedNulls(r); len(problems) > 0 {
		t.Errorf("nulls without a reason: %s", strings.Join(problems, ", "))
	}
	if stop > stopTimeout {
		t.Errorf("Stop took %v", stop)
	}
	return r, stop
}

// inBubble runs f on synctest's clock. Calls of the fake driver may hang on the channel,
// which is closed after f.
func inBubble(t *testing.T, f func(t *testing.T, hang chan struct{})) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		defer func() {
			close(hang)
			time.Sleep(2 * time.Hour) // abandoned goroutines end: the longest init takes an hour
		}()
		f(t, hang)
	})
}
