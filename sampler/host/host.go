package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/threads"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// Config configures a Sampler. The zero value reads the real host.
type Config struct {
	// ProcRoot is the path of the process file system; "" means /proc.
	ProcRoot string
	// CgroupRoot is prefixed to the mount points of the cgroup hierarchies, which are
	// read from ProcRoot/self/mountinfo, unless they already lie below it; "" means no
	// prefix. It is for fixture trees.
	CgroupRoot string
	// SysRoot is the path of sysfs; "" means /sys.
	SysRoot string
	// KernelLog is the path of a regular file to read instead of /dev/kmsg.
	KernelLog string
	// RootPID is the process whose descendants are the command's tree; 0 means vobs
	// itself.
	RootPID int
	// Interval is the time between two readings of the known processes; 0 means
	// DefaultInterval. The budget may require longer intervals.
	Interval time.Duration
	// Wait, if not nil, returns how long to pause until the CPU time that the whole
	// process has spent fits its budget. The next reading waits at least that long.
	Wait func() time.Duration
	// WaitedCPU, if not nil, returns the CPU time (rusage) that waiting for the command and
	// its reaped descendants has reported so far. Without it the tree's CPU time is not
	// followed.
	WaitedCPU func() time.Duration
	// Record, if not nil, gets the CPU time of the tree between two readings, in cores. It
	// must not block.
	Record func(curve.Reading)
}

// DefaultInterval is that of NeMo Safe Synthesizer's NvmlPeakSampler.
const DefaultInterval = 250 * time.Millisecond

// Sampler samples the host and the command's process tree while the command runs.
type Sampler struct {
	cfg       Config
	tree      *proc.Tree
	hasProcFS bool
	governor  *Governor       // used by run alone
	pressure  pressureReading // at the start
	energy    *energyCounters

	started     chan struct{} // closed by CommandStarted
	stop        chan struct{} // closed by Stop
	done        chan struct{} // closed when run has returned
	staticDone  chan struct{} // closed when static is complete
	startedOnce sync.Once
	stopOnce    sync.Once
	ended       atomic.Bool // set by CommandEnded
	finalHost   schema.Host // what Stop returns
	finalNotes  schema.Notes

	mu      sync.Mutex // guards the following; not held while reading files
	static  staticInfo
	samples treeSamples
	cpu     cpuCurve
}

// staticInfo is what is read once.
type staticInfo struct {
	cpus    int
	cpusErr error
	memory  int64 // bytes
	memErr  error
	cgroupReading

	// cpuTimes are read again at the end.
	cpuTimes    cpuTimes
	cpuTimesErr error

	// kernelLog is read at the end.
	kernelLog    kernelLog
	kernelLogErr error
}

// errNotRead is the error of what has not been read yet.
var errNotRead = errors.New("not read yet")

func newStaticInfo() staticInfo {
	return staticInfo{
		cpusErr: errNotRead, memErr: errNotRead, cpuTimesErr: errNotRead, kernelLogErr: errNotRead,
		cgroupReading: cgroupReading{limits: cgroupLimits{cpuErr: errNotRead, bytesErr: errNotRead}, oomErr: errNotRead},
	}
}

// giveUp sets the error of what has not been read.
func (s *staticInfo) giveUp(err error) {
	for _, e := range []*error{&s.cpusErr, &s.memErr, &s.limits.cpuErr, &s.limits.bytesErr, &s.cpuTimesErr, &s.oomErr, &s.kernelLogErr} {
		if *e == errNotRead {
			*e = err
		}
	}
}

// treeSamples summarizes the readings of the process tree so far.
type treeSamples struct {
	peak        int64 // highest resident memory, bytes
	count       int64 // readings without an error
	errors      int64 // readings with an error
	lastErr     error
	first, last time.Time // of the readings without an error
	maxGap      time.Duration
}

const (
	// readTimeout is the longest that the start, or the end, waits for a file.
	readTimeout = 500 * time.Millisecond
	// stopTimeout is the longest that Stop waits for the goroutines.
	stopTimeout = time.Second
	// lastReadTimeout is how long Stop then waits for what it reads itself.
	lastReadTimeout = 300 * time.Millisecond
)

// Start starts to sample the host. It takes the first reading of the pressure before
// it returns (some 100 µs in all; half a second if a file does not respond). Two goroutines, which
// end with [Sampler.Stop], read everything else. One reads the energy counters for the first
// time, and what does not change: the CPUs, the memory and the cgroup's limits. They are read at the start because these are the
// limits that the command starts under, and because its scope may be gone at the end. The
// other one reads
//
//   - the processes, so that those that exist before the command are known to be
//     unrelated to it;
//   - the process tree, periodically after [Sampler.CommandStarted].
func Start(cfg Config) *Sampler {
	if cfg.ProcRoot == "" {
		cfg.ProcRoot = "/proc"
	}
	if cfg.RootPID == 0 {
		cfg.RootPID = os.Getpid()
	}
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	s := &Sampler{
		cfg:        cfg,
		governor:   NewGovernor(cfg.Interval),
		started:    make(chan struct{}),
		stop:       make(chan struct{}),
		done:       make(chan struct{}),
		staticDone: make(chan struct{}),
		static:     newStaticInfo(),
		energy:     newEnergyCounters(cfg.SysRoot),
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.tree = proc.NewTree(cfg.ProcRoot, cfg.RootPID) })
	wg.Go(func() { s.pressure = readPressure(cfg.ProcRoot, readTimeout) })
	s.hasProcFS = exists(filepath.Join(cfg.ProcRoot, "stat"))
	wg.Wait()
	if !s.hasProcFS {
		close(s.done)
		close(s.staticDone)
		return s
	}
	go s.readStatic()
	go s.run()
	return s
}

// exists reports whether there is a file. One that does not respond exists.
func exists(path string) bool {
	yes, err := bounded.Call("the status of "+path, readTimeout, func() (bool, error) { return proc.Exists(path), nil })
	return yes || errors.Is(err, bounded.ErrHangs)
}

// Tree returns the command's process tree. Other goroutines may use it while the host
// is sampled, and after [Sampler.Stop].
func (s *Sampler) Tree() *proc.Tree { return s.tree }

// CommandStarted tells the sampler that the command has started: it looks for the
// command's processes immediately and starts to read them. Further calls do nothing.
func (s *Sampler) CommandStarted() { s.startedOnce.Do(func() { close(s.started) }) }

// CommandEnded tells the sampler that the command has ended: the CPU time of its tree is no longer
// followed, and the energy counters are read for the last time. It takes half a second at most.
// Without it, [Sampler.Stop] does that.
func (s *Sampler) CommandEnded() {
	s.ended.Store(true)
	if s.hasProcFS {
		s.energy.end(readTimeout)
	}
}

// Stop takes the last reading and returns the event's group host, with a reason for
// each missing figure. treeCPU is the CPU time (rusage) that waiting for the command
// and its reaped descendants reported; Stop adds what descendants that are still alive
// have used. A negative treeCPU means that it is unknown. Further calls return the
// same as the first. If a file does not respond, Stop returns after 1.3 s what is known, and
// leaves behind the goroutine that reads it.
//
// The CPU time of a descendant whose parent ignores SIGCHLD is not reported to any
// process: the sum is then too low, and nothing shows that.
func (s *Sampler) Stop(treeCPU time.Duration) (schema.Host, schema.Notes) {
	s.stopOnce.Do(func() {
		close(s.stop)
		s.await()
		s.finalHost, s.finalNotes = s.readings(treeCPU, lastReadTimeout, true)
		s.tree.Close()
	})
	return s.finalHost, schema.Notes{
		Unavailable: slices.Clone(s.finalNotes.Unavailable),
		Validity:    slices.Clone(s.finalNotes.Validity),
	}
}

// await waits for the goroutines. If one hangs, await records why its figures are missing.
func (s *Sampler) await() {
	end := time.Now().Add(stopTimeout)
	if s.tree.Hangs() {
		end = time.Now()
	}
	tree, static := bounded.Wait(s.done, time.Until(end)), bounded.Wait(s.staticDone, time.Until(end))
	err := fmt.Errorf("a file in %s: %w", s.cfg.ProcRoot, bounded.ErrHangs)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !tree {
		s.samples.giveUp(time.Now(), err)
	}
	if !static {
		s.static.giveUp(err)
	}
}

// run is the goroutine for the process tree: it sleeps until the governor's next time, and
// reads.
func (s *Sampler) run() {
	defer close(s.done)
	defer func() {
		// A bug in vobs must not affect the command.
		if p := recover(); p != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.samples.errors++
			s.samples.lastErr = fmt.Errorf("an error in vobs: %v: please report it", p)
		}
	}()
	s.measure(func() { s.tree.Discover() }, s.governor.charge)
	select {
	case <-s.stop:
		select {
		case <-s.started: // both at once: the command has already ended
			s.pass(time.Now(), true)
		default:
		}
		return
	case <-s.started:
	}
	begin := time.Now()
	s.pass(begin, true)

	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		at, discover := s.governor.Next()
		wait := time.Until(begin.Add(at))
		if s.cfg.Wait != nil {
			wait = max(wait, s.cfg.Wait())
		}
		if wait >= budget.Tick/2 { // the first discoveries come in quick succession
			wait = budget.AlignToTick(wait)
		}
		timer.Reset(wait)
		select {
		case <-s.stop:
			s.pass(begin, true) // the processes started last may still be unknown
			return
		case <-timer.C:
			s.pass(begin, discover)
		}
	}
}

// pass takes one reading of the process tree, after looking for new processes if
// discover is set.
func (s *Sampler) pass(begin time.Time, discover bool) {
	read, charge := s.tree.Refresh, s.governor.ChargeRefresh
	if discover {
		read, charge = s.tree.DiscoverAndRefresh, s.governor.chargeBoth
		s.readCPU(begin)
	}
	var rss int64
	var err error
	s.measure(func() { rss, err = read() }, func(cost time.Duration) { charge(time.Since(begin), cost) })
	now := time.Now()
	s.energy.readIfDue(now) // not within measure: it may have to wait for a thread itself
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples.add(now, rss, err)
}

// add adds one reading. A reading with an error counts as an error, but the memory it
// could read is still a valid lower bound.
func (t *treeSamples) add(now time.Time, rss int64, err error) {
	t.peak = max(t.peak, rss)
	if err != nil {
		t.errors++
		t.lastErr = err
		return
	}
	if t.count == 0 {
		t.first = now
	} else {
		t.maxGap = max(t.maxGap, now.Sub(t.last))
	}
	t.count++
	t.last = now
}

// giveUp records that a reading hangs: since the last one, nothing is known.
func (t *treeSamples) giveUp(now time.Time, err error) {
	t.errors++
	t.lastErr = err
	if t.count > 0 {
		t.maxGap = max(t.maxGap, now.Sub(t.last))
	}
}

// measure runs f, which reads files, on one thread and passes the CPU time that it used to
// charge.
func (s *Sampler) measure(f func(), charge func(time.Duration)) {
	threads.Enter()
	defer threads.Leave()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadCPU()
	f()
	charge(threadCPU() - before)
}

// readStatic reads what does not change: each part by itself, so that a file that does not
// respond costs only its own figures.
func (s *Sampler) readStatic() {
	defer close(s.staticDone)
	_, _ = bounded.Call(s.energy.dir, readTimeout, func() (struct{}, error) {
		s.energy.open()
		return struct{}{}, nil
	})
	root := s.cfg.ProcRoot
	// The CPU times first: those of the command are to be among them.
	times, timesErr := bounded.Call(filepath.Join(root, "stat"), readTimeout, func() (cpuTimes, error) { return readCPUTimes(root) })
	cpus, err := times.cpus, timesErr
	if timesErr != nil && !errors.Is(timesErr, bounded.ErrHangs) {
		cpus, err = bounded.Call(filepath.Join(root, "stat"), readTimeout, func() (int, error) { return readCPUs(root) })
	}
	s.mu.Lock()
	s.static.cpus, s.static.cpusErr = cpus, err
	s.static.cpuTimes, s.static.cpuTimesErr = times, timesErr
	s.mu.Unlock()
	memory, err := bounded.Call(filepath.Join(root, "meminfo"), readTimeout, func() (int64, error) { return readMemory(root) })
	s.mu.Lock()
	s.static.memory, s.static.memErr = memory, err
	s.mu.Unlock()
	group, err := bounded.Call("the files of the cgroup", readTimeout, func() (cgroupReading, error) {
		return readCgroup(root, s.cfg.CgroupRoot, cpus), nil
	})
	if err != nil {
		group = cgroupReading{limits: cgroupLimits{cpuErr: err, bytesErr: err}, oomErr: err}
	}
	s.mu.Lock()
	s.static.cgroupReading = group
	s.mu.Unlock()
	log, err := bounded.Call(kernelLogPath, readTimeout, func() (kernelLog, error) { return openKernelLog(root, s.cfg.KernelLog) })
	s.mu.Lock()
	s.static.kernelLog, s.static.kernelLogErr = log, err
	s.mu.Unlock()
}

// readCPUs returns the number of the host's CPUs.
func readCPUs(procRoot string) (int, error) {
	path := filepath.Join(procRoot, "stat")
	if proc.Overlaid(procRoot, "stat") {
		if n, ok := hostCPUs(); ok {
			return n, nil
		}
		return 0, fmt.Errorf("count the CPUs in %s: another file is mounted there (LXCFS?), which describes a container, not the host", path)
	}
	data, err := proc.ReadFile(path, proc.MaxTableFile)
	n := 0
	if err == nil {
		n, err = parseOnlineCPUs(data)
	}
	if err != nil {
		return 0, fmt.Errorf("count the CPUs in %s: %w", path, err)
	}
	return n, nil
}

// readMemory returns the size of the host's memory in bytes.
func readMemory(procRoot string) (int64, error) {
	if proc.Overlaid(procRoot, "meminfo") {
		if total, ok := hostMemory(); ok {
			return total, nil
		}
	}
	path := filepath.Join(procRoot, "meminfo")
	data, err := proc.ReadFile(path, proc.MaxSmallFile)
	var total int64
	if err == nil {
		total, err = parseMemTotal(data)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the size of the memory in %s: %w", path, err)
	}
	return total, nil
}
