package sampler

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/schema"
)

// HostConfig says how the host is read. The zero value is the real host.
type HostConfig struct {
	// ProcRoot is the path of the process file system; "" is /proc.
	ProcRoot string
	// CgroupRoot is put before the mount points of the cgroup hierarchies, which
	// are read from ProcRoot/self/mountinfo, unless they lie below it already; "" is
	// none. It is for fixture trees.
	CgroupRoot string
	// RootPID is the process whose descendants are the command's tree: vobs itself,
	// which 0 stands for.
	RootPID int
	// Interval is the time between two readings of the known processes; 0 is 250 ms.
	// It is lengthened where the budget asks for it.
	Interval time.Duration
	// Wait, where set, tells for how long what was spent by the whole process is
	// not covered by its budget: the next reading waits for that.
	Wait func() time.Duration
}

// defaultHostInterval is the seed's sampling interval.
const defaultHostInterval = 250 * time.Millisecond

// Host samples the host and the command's process tree while the command runs.
type Host struct {
	cfg      HostConfig
	tree     *Tree
	haveProc bool

	started     chan struct{} // closed by CommandStarted
	stop        chan struct{} // closed by Stop
	done        chan struct{} // closed when the goroutine has ended
	startedOnce sync.Once
	stopOnce    sync.Once
	stoppedHost schema.Host
	stoppedNote schema.Notes

	pressure pressureReading // at the start

	mu      sync.Mutex // guards what the goroutine writes and Readings reads
	static  hostStatic
	samples hostSamples

	gov *hostGovernor // the goroutine's
}

// hostStatic is what is read once.
type hostStatic struct {
	cpus    int
	cpusErr error
	memory  int64
	memErr  error
	limits  cgroupLimits
}

// hostSamples are the readings of the tree so far.
type hostSamples struct {
	peak        int64
	count       int64
	errors      int64
	lastErr     error
	first, last time.Time
	maxGap      time.Duration
}

// StartHost begins to sample the host. The pressure's first reading is taken
// before it returns (some 50 µs in all), everything else in a goroutine that ends with
// [Host.Stop]: a first pass over the processes, so that those which are there
// before the command are known to be none of its, then what does not change (the
// CPUs, the memory and the cgroup's limits: read at the start, as the limits that
// the command starts under, and because at the end a scope of its own can be gone).
// Readings of the tree begin with [Host.CommandStarted].
func StartHost(cfg HostConfig) *Host {
	if cfg.ProcRoot == "" {
		cfg.ProcRoot = "/proc"
	}
	if cfg.RootPID == 0 {
		cfg.RootPID = os.Getpid()
	}
	if cfg.Interval <= 0 {
		cfg.Interval = defaultHostInterval
	}
	h := &Host{
		cfg:     cfg,
		tree:    NewTree(cfg.ProcRoot, cfg.RootPID),
		started: make(chan struct{}),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		gov:     newHostGovernor(cfg.Interval),
	}
	_, err := os.Stat(filepath.Join(cfg.ProcRoot, "stat"))
	h.haveProc = err == nil
	if !h.haveProc {
		close(h.done)
		return h
	}
	h.pressure = readPressure(cfg.ProcRoot)
	go h.run()
	return h
}

// Tree returns the command's process tree. It may be used by other goroutines
// while the host is sampled, and after [Host.Stop].
func (h *Host) Tree() *Tree { return h.tree }

// CommandStarted says that the command runs: its processes are looked for at
// once, and readings begin. Further calls do nothing.
func (h *Host) CommandStarted() { h.startedOnce.Do(func() { close(h.started) }) }

// run is the goroutine: it sleeps until the governor's next time, and reads.
func (h *Host) run() {
	defer close(h.done)
	defer func() {
		// An error of this package must not cost the command its wrapper.
		if p := recover(); p != nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.samples.errors++
			h.samples.lastErr = fmt.Errorf("an error in vobs: %v: please report it", p)
		}
	}()
	h.measured(func() { h.tree.Discover() }, h.gov.charge)
	select {
	case <-h.started: // first things first: the command may be short
	default:
		h.measured(h.readStatic, h.gov.charge)
	}
	select {
	case <-h.stop:
		h.readStatic()
		select {
		case <-h.started: // and ended at once
			h.pass(time.Now(), true)
		default:
		}
		return
	case <-h.started:
	}
	begin := time.Now()
	h.pass(begin, true)
	h.measured(h.readStatic, h.gov.charge)

	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		at, discover := h.gov.next()
		wait := time.Until(begin.Add(at))
		if h.cfg.Wait != nil {
			wait = max(wait, h.cfg.Wait())
		}
		if wait >= budget.Tick/2 { // the first looks are in a hurry
			wait = budget.AlignToTick(wait)
		}
		timer.Reset(wait)
		select {
		case <-h.stop:
			h.pass(begin, true) // what started last may have been missed so far
			return
		case <-timer.C:
			h.pass(begin, discover)
		}
	}
}

// pass discovers, if told so, and takes one reading.
func (h *Host) pass(begin time.Time, discover bool) {
	var discoverErr error
	if discover {
		h.measured(func() { discoverErr = h.tree.Discover() }, func(cost time.Duration) {
			h.gov.chargeDiscover(time.Since(begin), cost)
		})
	}
	var rss int64
	var err error
	h.measured(func() { rss, err = h.tree.Refresh() }, func(cost time.Duration) {
		h.gov.chargeRefresh(time.Since(begin), cost)
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples.add(time.Now(), rss, errors.Join(discoverErr, err))
}

// add takes in one reading. One with an error counts as such, but what it could
// read is as good a lower bound as any.
func (s *hostSamples) add(now time.Time, rss int64, err error) {
	s.peak = max(s.peak, rss)
	if err != nil {
		s.errors++
		s.lastErr = err
		return
	}
	if s.count == 0 {
		s.first = now
	} else {
		s.maxGap = max(s.maxGap, now.Sub(s.last))
	}
	s.count++
	s.last = now
}

// measured runs f on one thread and hands on the CPU time that it used.
func (h *Host) measured(f func(), charge func(time.Duration)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadCPU()
	f()
	charge(threadCPU() - before)
}

// readStatic reads, the first time it is called, what does not change.
func (h *Host) readStatic() {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &h.static
	if s.cpus != 0 || s.cpusErr != nil {
		return
	}
	statPath := filepath.Join(h.cfg.ProcRoot, "stat")
	data, err := readLimited(statPath, maxTableFile)
	if err == nil {
		s.cpus, err = parseOnlineCPUs(data)
	}
	if err != nil {
		s.cpusErr = fmt.Errorf("count the CPUs in %s: %w", statPath, err)
	}
	memPath := filepath.Join(h.cfg.ProcRoot, "meminfo")
	data, err = readLimited(memPath, maxSmallFile)
	if err == nil {
		s.memory, err = parseMemTotal(data)
	}
	if err != nil {
		s.memErr = fmt.Errorf("read the memory's size in %s: %w", memPath, err)
	}
	s.limits = readCgroupLimits(h.cfg.ProcRoot, h.cfg.CgroupRoot, s.cpus)
}

// Stop takes the last reading and returns the host's figures, with the reasons
// for those that are missing. treeCPU is the CPU time that the waits reported for
// the command and its reaped descendants (rusage); what descendants that are still
// alive used is added. A negative treeCPU means that it is not known. Further
// calls return what the first one did.
//
// A process whose parent ignores SIGCHLD leaves its CPU time to nobody: then the
// sum is too low, and nothing tells.
func (h *Host) Stop(treeCPU time.Duration) (schema.Host, schema.Notes) {
	h.stopOnce.Do(func() {
		close(h.stop)
		<-h.done
		h.stoppedHost, h.stoppedNote = h.Readings(treeCPU)
		h.tree.Close()
	})
	return h.stoppedHost, schema.Notes{
		Unavailable: slices.Clone(h.stoppedNote.Unavailable),
		Validity:    slices.Clone(h.stoppedNote.Validity),
	}
}

// Readings gives what is known so far, for a preliminary event; treeCPU is as for
// [Host.Stop].
func (h *Host) Readings(treeCPU time.Duration) (schema.Host, schema.Notes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var notes schema.Notes
	return h.figures(treeCPU, &notes), notes
}

// figures makes the group host of what was read. The lock is held.
func (h *Host) figures(treeCPU time.Duration, notes *schema.Notes) schema.Host {
	var host schema.Host
	host.TreeCPUSeconds = h.treeCPU(treeCPU, notes)
	if !h.haveProc {
		reason := fmt.Sprintf("read from %s, which this system does not have; only Linux has it", h.cfg.ProcRoot)
		for _, field := range []string{"cpu_count", "cpu_limit", "memory_total_bytes", "memory_limit_bytes",
			"tree_peak_rss_bytes", "pressure_some_seconds", "sampling"} {
			notes.Missing("host."+field, reason)
		}
		return host
	}
	s := &h.static
	if s.cpus == 0 && s.cpusErr == nil { // a preliminary event, very early
		for _, field := range []string{"cpu_count", "cpu_limit", "memory_total_bytes", "memory_limit_bytes"} {
			notes.Missing("host."+field, "not read yet")
		}
		host.PressureSomeSeconds = pressureDelta(h.pressure, readPressure(h.cfg.ProcRoot), notes)
		h.samples.figures(&host, notes)
		return host
	}
	if s.cpusErr == nil {
		host.CPUCount = schema.Ptr(s.cpus)
	} else {
		notes.Missing("host.cpu_count", s.cpusErr.Error())
	}
	if s.memErr == nil {
		host.MemoryTotalBytes = schema.Ptr(s.memory)
	} else {
		notes.Missing("host.memory_total_bytes", s.memErr.Error())
	}
	const noLimit = "the cgroup sets no limit"
	switch l := s.limits; {
	case l.cpuErr != nil:
		notes.Missing("host.cpu_limit", l.cpuErr.Error())
	case math.IsInf(l.cpus, 1):
		notes.Missing("host.cpu_limit", noLimit)
	default:
		host.CPULimit = schema.F(l.cpus)
	}
	switch l := s.limits; {
	case l.bytesErr != nil:
		notes.Missing("host.memory_limit_bytes", l.bytesErr.Error())
	case l.bytes == math.MaxInt64:
		notes.Missing("host.memory_limit_bytes", noLimit)
	default:
		host.MemoryLimitBytes = schema.Ptr(l.bytes)
	}
	host.PressureSomeSeconds = pressureDelta(h.pressure, readPressure(h.cfg.ProcRoot), notes)
	h.samples.figures(&host, notes)
	return host
}

// treeCPU adds what living descendants used to what the waits reported.
func (h *Host) treeCPU(waited time.Duration, notes *schema.Notes) *schema.Float {
	const field = "host.tree_cpu_seconds"
	if waited < 0 {
		notes.Missing(field, "the command's CPU time was not reported: it was not started, or not waited for")
		return nil
	}
	var live time.Duration
	err := errNoProc
	if h.haveProc {
		live, err = h.tree.liveCPU()
	}
	if err != nil {
		notes.Doubt("tree_cpu_incomplete", schema.Info, "host.tree_cpu_seconds lacks what descendants that outlived the command used: "+err.Error(), nil)
	}
	return schema.F((waited + live).Seconds())
}

// figures fills in the tree's peak and how it was sampled.
func (s *hostSamples) figures(host *schema.Host, notes *schema.Notes) {
	sampling := &schema.Sampling{Samples: s.count, Errors: s.errors}
	if s.count >= 2 {
		sampling.PeriodSeconds = schema.F(s.last.Sub(s.first).Seconds() / float64(s.count-1))
		sampling.MaxGapSeconds = schema.F(s.maxGap.Seconds())
	} else {
		const reason = "fewer than two readings of the process tree"
		notes.Missing("host.sampling.period_seconds", reason)
		notes.Missing("host.sampling.max_gap_seconds", reason)
	}
	host.Sampling = sampling
	switch {
	case s.peak > 0:
		host.TreePeakRSSBytes = schema.Ptr(s.peak)
	case s.lastErr != nil:
		notes.Missing("host.tree_peak_rss_bytes", "the process tree could not be read: "+s.lastErr.Error())
	case s.count == 0:
		notes.Missing("host.tree_peak_rss_bytes", "the command was not started")
	default:
		notes.Missing("host.tree_peak_rss_bytes", "the command ended before its processes could be read")
	}
}
