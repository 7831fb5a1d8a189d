// Package gpu samples NVIDIA GPUs through NVML: memory on a fast clock, energy,
// power, utilization, temperature, throttle reasons and processes on a slow one.
package gpu

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vobs/vobs/schema"
)

// stopWithin is the longest that Stop takes: for an init that is still pending,
// for a last round, for a driver call that does not return.
const stopWithin = 2 * time.Second

// Config says what to sample.
type Config struct {
	// Visible is CUDA_VISIBLE_DEVICES as the command gets it; nil when unset:
	// then all GPUs are sampled, those in MIG mode by their instances.
	Visible *string
	// Order is CUDA_DEVICE_ORDER as the command gets it.
	Order string
	// Devices overrides Visible (--device): indices as nvidia-smi counts, GPU- and
	// MIG- UUIDs or their beginnings, 0:1 for MIG device 1 of GPU 0.
	Devices []string
	// Interval between two readings of the memory; 0 for auto: as short as the
	// budget allows, see governor. One that is given is kept, whatever it costs.
	Interval time.Duration
	// Ours gives the ids of the command's processes, those of the engine's server
	// included. It is called from the sampler's own goroutine, after the driver
	// listed its processes, and may be asked a few times a second. Ids that were
	// ours once stay ours. The map is kept until the next call. nil: nothing is known
	// to be ours.
	Ours func() map[int]bool
	// Descends says whether a process that the driver lists for the first time, and
	// Ours does not name, is the command's nevertheless: Ours tells what was found,
	// and a process that started a moment ago may not have been. nil: it is not.
	Descends func(pid int) bool
	// PIDsMatch says whether ids of Ours and NVML's are of the same pid namespace.
	// nil: decided by what is seen; ids that NVML lists twice while ProcRoot does
	// not have them show that they are not. It must not call methods of Sampler.
	PIDsMatch func() bool
	// ProcRoot is where procfs is; "" for /proc.
	ProcRoot string
	// Budget, where set, is that of the whole process: with Interval 0 the GPUs
	// take no more than it leaves them.
	Budget Budget
}

// Budget is what all of vobs may cost; *budget.Governor is one.
type Budget interface {
	// Reserve keeps CPU time for the end of the run.
	Reserve(cpu time.Duration)
	// GPUShare is the share of one core that reading the GPUs may take from now on,
	// when it took spent so far.
	GPUShare(spent time.Duration) float64
}

// Readings is the result of sampling the GPUs.
type Readings struct {
	// GPUs is the event's group: empty when none is visible, nil when NVML is unavailable.
	GPUs []schema.GPU
	// PeakVRAMGB is the core's figure, in GiB: the highest device's peak among
	// those that our processes used, among all where none can be matched.
	PeakVRAMGB *schema.Float
	// PIDs are, of each of GPUs, the processes that the driver listed there; none where
	// its ids cannot be compared with the command's.
	PIDs []map[int]bool
	// Notes tells of all nulls above, and of doubts, with paths as in the event.
	Notes schema.Notes
}

// Sampler samples GPUs from Start until Stop. Its methods may be called from
// several goroutines.
type Sampler struct {
	cfg    Config
	driver driver

	ready    chan struct{} // closed when the init ended, either way
	sampling chan struct{} // closed when the first readings are made, or will not be
	stopping chan struct{} // closed by Stop
	done     chan struct{} // closed when the sampler's goroutine ended
	stop     sync.Mutex    // held through Stop

	mu        sync.Mutex // guards what follows; never held during a driver call
	stopped   bool
	initErr   error     // why there is no sampling; of a closed ready
	started   time.Time // of the command; zero before
	watch     watcher   // nil without devices
	devices   []*deviceState
	visible   visible
	unordered bool   // CUDA may count the devices in another order
	version   string // of the driver
	verErr    error
	ours      map[int]bool // every listed id that was ours
	prevOwned map[int]bool // Ours's last answer
	known     bool         // some process was ours at some time
	pids      pidEvidence
	stuck     string // what did not return when Stop gave up
	broken    string // what ended the sampler's goroutine early
	final     *Readings
}

// Start begins to sample, and returns at once: NVML is initialised in a
// goroutine of its own, which may take seconds, and is not waited for.
//
// NVML is not shut down at the end: the call may hang as any other, and the
// process ends anyway.
func Start(cfg Config) *Sampler { return start(cfg, newDriver()) }

func start(cfg Config, d driver) *Sampler {
	if cfg.ProcRoot == "" {
		cfg.ProcRoot = "/proc"
	}
	g := &Sampler{
		cfg: cfg, driver: d,
		ready: make(chan struct{}), sampling: make(chan struct{}), stopping: make(chan struct{}), done: make(chan struct{}),
		ours: map[int]bool{},
	}
	go g.run()
	return g
}

// Ready waits until the GPUs are being sampled; --strict starts the command only
// then. The error tells why they are not, or that ctx ended first.
func (g *Sampler) Ready(ctx context.Context) error {
	select {
	case <-g.sampling:
	case <-ctx.Done():
		return notReady(ctx)
	}
	g.mu.Lock()
	watch, err := g.watch, g.initErr
	if err == nil && len(g.visible.missing) > 0 {
		err = fmt.Errorf("resolving the GPUs to sample: %s", g.visible.missing[0])
	}
	g.mu.Unlock()
	if err != nil || watch == nil {
		return err
	}
	// The watcher's thread may not have come to its first round yet.
	for {
		if _, s := watch.read(); s.rounds > 0 {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return notReady(ctx)
		}
	}
}

func notReady(ctx context.Context) error {
	return fmt.Errorf("waiting for NVML and the first readings of the GPUs: %w", context.Cause(ctx))
}

// CommandStarted tells when the command started: the zero of peak_at_seconds.
// Readings before count for the baseline alone.
func (g *Sampler) CommandStarted(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.started = t
	if g.watch != nil {
		g.watch.countFrom(t)
	}
}

// Readings gives what is known so far, for a preliminary event; after Stop, what
// Stop gave.
func (g *Sampler) Readings() Readings {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.final != nil {
		return *g.final
	}
	return g.report()
}

// Stop takes the last readings, ends the sampling and reports. commandRan is how
// long the command ran: an init that is still pending is waited for that long,
// so that a short command has at least the readings after it; everything
// together takes 2 s at most. Where a driver call does not return, the thread in
// it is left behind, and what was sampled before is reported.
func (g *Sampler) Stop(commandRan time.Duration) Readings {
	g.stop.Lock()
	defer g.stop.Unlock()
	if closed(g.stopping) {
		return g.Readings()
	}
	deadline := time.Now().Add(stopWithin)
	if !within(g.ready, min(commandRan, stopWithin)) {
		g.mu.Lock()
		if !closed(g.ready) {
			// run sees it, and will not begin to sample.
			g.initErr = fmt.Errorf("NVML was still initialising when the command had ended, after %.1f s: a GPU without persistence mode takes seconds; nvidia-smi -pm 1, or --strict, which waits for it", commandRan.Seconds())
		}
		g.mu.Unlock()
	}
	g.mu.Lock()
	g.stopped = true
	watch := g.watch
	g.mu.Unlock()
	close(g.stopping)

	stuck := ""
	if watch != nil {
		if !watch.stop(time.Until(deadline)) {
			stuck = "reading the memory"
		}
		if !within(g.done, time.Until(deadline)) && stuck == "" {
			stuck = "reading power, energy or processes"
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stuck = stuck
	r := g.report()
	g.final = &r
	return r
}

// within waits for a channel to be closed, for d at most.
func within(c <-chan struct{}, d time.Duration) bool {
	if closed(c) { // also where no time is left
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// MemoryOf gives the memory in bytes that processes had on the sampled GPUs when
// the driver last listed them, 0 for one that it did not list. A process whose
// memory the driver does not tell is left out. nil when nothing is known, or ids
// cannot be matched.
func (g *Sampler) MemoryOf(pids map[int]bool) map[int]int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.devices) == 0 || g.watch == nil || g.unmatchable() != "" {
		return nil
	}
	sum, unknown := map[int]int64{}, map[int]bool{}
	memory, _ := g.watch.read()
	for i, d := range g.devices {
		if d.listings == 0 {
			return nil
		}
		for _, p := range d.listed {
			sum[p.pid] += int64(p.memory)
			unknown[p.pid] = unknown[p.pid] || !p.known || memory[i].exceeds(p.memory)
		}
	}
	out := map[int]int64{}
	for pid := range pids {
		if pids[pid] && !unknown[pid] {
			out[pid] = sum[pid]
		}
	}
	return out
}
