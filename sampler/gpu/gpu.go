package gpu

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/schema"
)

// stopTimeout is the longest that Stop takes: for an init that is still pending, for a
// last round, for a driver call that does not return.
const stopTimeout = 2 * time.Second

// Config configures a Sampler.
type Config struct {
	// Visible is CUDA_VISIBLE_DEVICES in the command's environment. If it is nil (unset),
	// all GPUs are sampled, those in MIG mode by their instances.
	Visible *string
	// Order is CUDA_DEVICE_ORDER in the command's environment.
	Order string
	// Devices overrides Visible (--device): indices as in nvidia-smi, GPU- and MIG- UUIDs
	// or their prefixes, 0:1 for MIG device 1 of GPU 0.
	Devices []string
	// Interval is the time between two readings of the memory. 0 means auto: as short as
	// the budget allows, see Governor. An interval set here is kept, whatever it costs.
	Interval time.Duration
	// OwnedPIDs returns the pids of the command's processes, including those of the
	// engine's server. The sampler calls it from its own goroutine, after the driver
	// listed its processes, up to a few times a second, and keeps the map until the next
	// call. A pid that was owned once stays owned. If OwnedPIDs is nil, no process is
	// known to be owned.
	OwnedPIDs func() map[int]bool
	// Descends reports whether a process is the command's, although OwnedPIDs does not
	// include it: OwnedPIDs has what was found so far, and a process that started a moment
	// ago may be missing. It is called when the driver first lists a process. nil means
	// that no such process is the command's.
	Descends func(pid int) bool
	// Workers determines which of the listed processes that are not owned work for the command
	// all the same: those of a service, such as Ray. It returns those that do, which are owned
	// from then on, and for each process of which that is unknown, why. It is called whenever
	// there are such processes, also for those that it was called for before. nil means that
	// there are no workers.
	Workers func(pids []int) (owned []int, unknown map[int]string)
	// PIDsMatch reports whether the pids of OwnedPIDs and those of NVML are from the same
	// pid namespace. It must not call methods of Sampler. If it is nil, the sampler decides
	// from what it sees: pids that NVML lists twice but that ProcRoot lacks show that
	// they are not.
	PIDsMatch func() bool
	// ProcRoot is the path of the process file system; "" means /proc.
	ProcRoot string
	// Budget, if not nil, is the budget of the whole process: with Interval 0 the GPUs
	// take no more than it leaves them.
	Budget Budget
	// Record, if not nil, gets every reading of the power, and of the memory the highest one
	// since the last. It must not block.
	Record func(curve.Reading)
}

// Budget is what all of vobs may cost; *budget.Governor implements it.
type Budget interface {
	// Reserve sets aside CPU time for the end of the run.
	Reserve(cpu time.Duration)
	// GPUShare returns the share of one core that reading the GPUs may take from now on,
	// if it has taken spent so far.
	GPUShare(spent time.Duration) float64
}

// Readings is the result of sampling the GPUs.
type Readings struct {
	// GPUs is the event's group: empty if no GPU is visible, nil if NVML is unavailable.
	GPUs []schema.GPU
	// PeakVRAMGB is the frozen core's figure, in GiB: the highest peak of a single device
	// among those that the command's processes used, or among all if none can be matched.
	PeakVRAMGB *schema.Float
	// PIDs holds, for each of GPUs, the processes that the driver listed there. A set is
	// empty if the driver's pids cannot be matched with the command's.
	PIDs []map[int]bool
	// Curves are the devices' figures over the run.
	Curves []curve.Figure
	// Throttling has, for each of GPUs, the readings of why its clocks were reduced.
	Throttling []Throttling
	// Notes has the reasons for all nulls above, and doubts, with paths as in the event.
	Notes schema.Notes
}

// Sampler samples GPUs from Start until Stop. Its methods may be called from several
// goroutines.
type Sampler struct {
	cfg    Config
	driver driver

	initDone  chan struct{} // closed when the init ended, successfully or not
	firstDone chan struct{} // closed when the first readings are made, or will not be
	stopping  chan struct{} // closed by Stop
	done      chan struct{} // closed when run has returned
	stopMu    sync.Mutex    // held during Stop
	engines   engineActivity

	mu           sync.Mutex // guards the following; never held during a driver call
	stopped      bool
	initErr      error     // why no GPU is sampled; valid once initDone is closed
	started      time.Time // when the command started; zero before
	ended        time.Time // when it ended; zero before Stop
	watcher      watcher   // nil without devices
	devices      []*deviceState
	visible      visible
	orderUnknown bool   // CUDA may number the devices in another order
	version      string // of the driver
	versionErr   error
	owned        map[int]bool   // every listed pid that was owned at some time
	prevOwned    map[int]bool   // the last result of OwnedPIDs, and of Descends
	hasOwned     bool           // OwnedPIDs returned some process at some time
	undetermined map[int]string // listed pids of which it is unknown whether they are owned, and why
	pids         pidEvidence
	stuckIn      string // the call that did not return before Stop gave up; "" for none
	failure      string // why run ended early; "" if it did not
	final        *Readings
}

// Start starts to sample and returns immediately: a goroutine initializes NVML, which
// may take seconds.
//
// NVML is not shut down at the end: that call may hang like any other, and the process
// ends anyway.
func Start(cfg Config) *Sampler { return start(cfg, newDriver()) }

func start(cfg Config, d driver) *Sampler {
	if cfg.ProcRoot == "" {
		cfg.ProcRoot = "/proc"
	}
	s := &Sampler{
		cfg: cfg, driver: d,
		initDone: make(chan struct{}), firstDone: make(chan struct{}), stopping: make(chan struct{}), done: make(chan struct{}),
		owned: map[int]bool{}, undetermined: map[int]string{}, engines: newEngineActivity(),
	}
	go s.run()
	return s
}

// Ready blocks until the GPUs are being sampled; with --strict the command starts only
// then. It returns why they are not, or that ctx ended first.
func (s *Sampler) Ready(ctx context.Context) error {
	select {
	case <-s.firstDone:
	case <-ctx.Done():
		return notReady(ctx)
	}
	s.mu.Lock()
	watcher, err := s.watcher, s.initErr
	if err == nil && len(s.visible.unresolved) > 0 {
		err = fmt.Errorf("resolving the GPUs to sample: %s", s.visible.unresolved[0])
	}
	s.mu.Unlock()
	if err != nil || watcher == nil {
		return err
	}
	// The watcher's thread may not have made its first round yet.
	for {
		if _, state := watcher.read(); state.rounds > 0 {
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

// CommandStarted sets when the command started, the zero of peak_at_seconds. Earlier
// readings count for the baseline only.
func (s *Sampler) CommandStarted(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = t
	if s.watcher != nil {
		s.watcher.countFrom(t)
	}
}

// Readings returns what is known so far, for a partial event; after Stop, it returns
// the same as Stop.
func (s *Sampler) Readings() Readings {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final != nil {
		return *s.final
	}
	return s.report()
}

// Stop takes the last readings, ends the sampling and returns the result. commandRan is
// how long the command ran: Stop waits for a pending init for that long, so that a short
// command has at least the readings after it. In all it takes at most 2 s. If a driver
// call does not return, its thread is abandoned, and what was sampled before is returned.
func (s *Sampler) Stop(commandRan time.Duration) Readings {
	s.stopMu.Lock()
	defer s.stopMu.Unlock()
	if closed(s.stopping) {
		return s.Readings()
	}
	deadline := time.Now().Add(stopTimeout)
	if !closedWithin(s.initDone, min(commandRan, stopTimeout)) {
		s.mu.Lock()
		if !closed(s.initDone) {
			// run checks this and does not start to sample.
			s.initErr = errors.New("NVML was still initializing, and the command did not start")
			if !s.started.IsZero() {
				s.initErr = fmt.Errorf("NVML was still initializing when the command ended after %.1f s: without persistence mode a GPU takes seconds to initialize; enable it with nvidia-smi -pm 1, or use --strict, which waits", commandRan.Seconds())
			}
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.stopped = true
	if !s.started.IsZero() {
		s.ended = s.started.Add(commandRan)
	}
	watcher := s.watcher
	s.mu.Unlock()
	close(s.stopping)

	stuckIn := ""
	if watcher != nil {
		if !watcher.stop(time.Until(deadline)) {
			stuckIn = "reading the memory"
		}
		if !closedWithin(s.done, time.Until(deadline)) && stuckIn == "" {
			stuckIn = "reading power, energy or processes"
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuckIn = stuckIn
	r := s.report()
	s.final = &r
	return r
}

// closedWithin reports whether c is closed within d.
func closedWithin(c <-chan struct{}, d time.Duration) bool {
	if closed(c) { // even if d is not positive
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
