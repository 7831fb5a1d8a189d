package gpu

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/budget"
)

// deviceState is one sampled device and what was read of it beside its memory.
// Identity and handles are fixed at the start; the rest is guarded by Sampler.mu.
type deviceState struct {
	index  int
	id     string // UUID
	name   string
	parent *string // UUID of the GPU that a MIG instance is part of
	dev    device
	whole  device // the GPU itself: of a MIG instance, its parent

	power, utilization, temperature, clocks statAccumulator
	throttled                               int64  // readings in which clocks were held down
	throttle                                uint64 // every reason seen
	energy                                  energy
	errors                                  int64 // failed readings beside those of the memory

	listings  int       // process lists read
	firstList time.Time // when the first one was read
	listErr   error     // the last failure of reading one
	listed    []process // the last list
	firstPIDs []int     // on the device at the first list
	seen      map[int]*seenProcess
	highest   uint64 // highest sum of the processes' memory in a list
	unknown   bool   // some process's memory was not told
	jobPeak   uint64
}

// statAccumulator accumulates a quantity. err is set for good once it is not supported.
type statAccumulator struct {
	n        int64
	sum, max float64
	err      error // why the last reading failed
	off      bool  // not asked again
}

func (m *statAccumulator) add(v float64) {
	if m.n == 0 || v > m.max {
		m.max = v
	}
	m.n++
	m.sum += v
	m.err = nil
}

// fail notes a failure and tells whether it is a passing one.
func (m *statAccumulator) fail(err error) bool {
	m.err = err
	m.off = errors.Is(err, errUnsupported)
	return !m.off
}

// energy holds the counter's first and last reading, in joules.
type energy struct {
	first, last     float64
	firstAt, lastAt time.Time
	err             error
	off             bool
}

// seenProcess is a process that was listed on a device.
type seenProcess struct {
	name  string // "" where it cannot be read
	peak  uint64
	known bool // peak holds at least one reading
}

// pidEvidence is what speaks for or against comparing NVML's process ids with ours.
type pidEvidence struct {
	absent    map[int]bool // in the last list and not in ProcRoot
	unseenPID int          // a process that was so in two lists running; 0: none
}

// The two kinds of slow round.
const (
	boundaryRound = iota // the first and the last: energy, processes that compute
	periodicRound        // what is averaged over the run, all processes
)

// run is the sampler's goroutine.
func (g *Sampler) run() {
	defer close(g.done)
	defer g.recovered()
	err := g.open()
	g.mu.Lock()
	if g.initErr == nil {
		g.initErr = err
	}
	over := g.initErr != nil || len(g.devices) == 0 || g.stopped
	if !over {
		// The memory's first reading is the watcher's first act.
		g.watch, err = g.driver.watch(handles(g.devices), g.firstInterval())
		if err != nil {
			g.initErr, over = fmt.Errorf("reading the GPUs' memory: %w", err), true
		} else if !g.started.IsZero() {
			g.watch.countFrom(g.started)
		}
	}
	close(g.ready)
	g.mu.Unlock()
	if over {
		close(g.sampling)
		return
	}
	g.loop()
}

// recovered keeps an error of this package from costing the command its wrapper:
// what was sampled is kept, and the event tells.
func (g *Sampler) recovered() {
	p := recover()
	if p == nil {
		return
	}
	// The lock is held for moments only, unless the error struck under it.
	locked := g.mu.TryLock()
	for i := 0; !locked && i < 100; i++ {
		time.Sleep(time.Millisecond)
		locked = g.mu.TryLock()
	}
	err := fmt.Errorf("an error in vobs: %v: please report it", p)
	if g.watch == nil {
		g.initErr = err
	}
	g.broken = err.Error()
	g.mu.Unlock()
	if !closed(g.ready) {
		close(g.ready)
	}
	if !closed(g.sampling) {
		close(g.sampling)
	}
}

func handles(devices []*deviceState) []device {
	list := make([]device, len(devices))
	for i, d := range devices {
		list[i] = d.dev
	}
	return list
}

func (g *Sampler) firstInterval() time.Duration {
	if g.cfg.Interval > 0 {
		return g.cfg.Interval
	}
	return fastest
}

// open initialises NVML and finds the devices to sample.
func (g *Sampler) open() error {
	if err := g.driver.start(); err != nil {
		return err
	}
	version, verErr := g.driver.version()
	n, err := g.driver.count()
	if err != nil {
		return fmt.Errorf("counting the GPUs: %w", err)
	}
	inv := make(inventory, n)
	gpus := make([]device, n)
	parts := make([][]instance, n)
	for i := range inv {
		gpus[i], parts[i], inv[i] = g.identify(i)
	}
	v := inv.resolve(g.cfg.Visible, g.cfg.Devices)

	var devices []*deviceState
	for _, p := range v.places {
		d := &deviceState{index: p.gpu, id: inv[p.gpu].uuid, name: inv[p.gpu].name, dev: gpus[p.gpu], whole: gpus[p.gpu], seen: map[int]*seenProcess{}}
		if p.instance >= 0 {
			part := parts[p.gpu][p.instance]
			parent := d.id
			d.parent, d.dev, d.id = &parent, part.device, inv[p.gpu].instances[p.instance].uuid
			if name, err := part.name(); err == nil {
				d.name = name
			}
		}
		devices = append(devices, d)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.version, g.verErr = version, verErr
	g.visible, g.devices = v, devices
	g.unordered = len(g.cfg.Devices) == 0 && inv.orderUnknown(v, g.cfg.Order)
	return nil
}

// identify reads who the GPU with this index is, and its MIG instances.
func (g *Sampler) identify(index int) (device, []instance, gpuEntry) {
	dev, err := g.driver.gpu(index)
	if err != nil {
		return nil, nil, gpuEntry{err: err}
	}
	var e gpuEntry
	if e.uuid, err = dev.uuid(); err != nil {
		return nil, nil, gpuEntry{err: err}
	}
	if e.name, err = dev.name(); err != nil {
		return nil, nil, gpuEntry{err: err}
	}
	parts, on, err := dev.instances()
	e.mig = on
	if err != nil {
		e.err = fmt.Errorf("listing its MIG instances: %w", err)
		return nil, nil, e
	}
	kept := parts[:0]
	for _, p := range parts {
		uuid, err := p.uuid()
		if err != nil {
			continue // it went while it was asked for
		}
		e.instances = append(e.instances, migEntry{uuid, p.number, p.gi, p.ci})
		kept = append(kept, p)
	}
	return dev, kept, e
}

// loop makes the slow rounds and sets the paces until Stop.
func (g *Sampler) loop() {
	gov := Governor{fixed: g.cfg.Interval}
	careful := gov.fixed == 0
	last := time.Now()
	cost := g.measure(boundaryRound)
	close(g.sampling)
	gov.Reserve(cost) // of the last round, which is like the first
	spent := cost
	_, state := g.watch.read()
	if g.cfg.Budget != nil {
		g.cfg.Budget.Reserve(cost + state.cpu)
	}
	memory, slow := gov.Next(Tick{Elapsed: time.Since(last), Rounds: state.rounds, MemoryCPU: state.cpu, Slow: true, SlowCPU: cost, Share: g.share(spent + state.cpu)})
	g.watch.pace(memory, careful)
	last = time.Now()
	round := last

	timer := time.NewTimer(budget.AlignToTick(TickEvery / 2))
	defer timer.Stop()
	for {
		select {
		case <-g.stopping:
			g.measure(boundaryRound)
			return
		case <-timer.C:
		}
		now := time.Now()
		t := Tick{Elapsed: now.Sub(last), Running: g.running()}
		// Half a tick of tolerance: a timer is late, and a round must not wait a whole
		// tick for that.
		first := t.Running && !gov.running && gov.round <= expensiveRound.Seconds()
		if first || now.Sub(round) >= slow-TickEvery/2 {
			round = now
			t.Slow, t.SlowCPU = true, g.measure(periodicRound)
		}
		_, s := g.watch.read()
		t.Rounds, t.MemoryCPU = s.rounds-state.rounds, s.cpu-state.cpu
		state, last = s, now
		spent += t.SlowCPU
		t.Share = g.share(spent + s.cpu)
		memory, slow = gov.Next(t)
		g.watch.pace(memory, careful)
		timer.Reset(budget.AlignToTick(TickEvery / 2)) // a timer is late, the next beat is not
	}
}

// share is what the budget of all vobs leaves to the GPUs, which took spent so far.
func (g *Sampler) share(spent time.Duration) float64 {
	if g.cfg.Budget == nil {
		return gpuShare
	}
	return g.cfg.Budget.GPUShare(spent)
}

// Running tells whether the command has started.
func (g *Sampler) running() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.started.IsZero()
}

// measure makes a slow round and gives the CPU time that it took, of the thread
// that it is bound to meanwhile.
func (g *Sampler) measure(kind int) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := g.driver.threadCPU()
	running := g.running()
	for _, d := range g.devices {
		g.readEnergy(d, running)
		if kind == periodicRound && running {
			g.readGauges(d)
		}
	}
	g.readProcesses(kind)
	return g.driver.threadCPU() - before
}

// readEnergy keeps the last reading, and as the first one the last before the
// command's start. In between the counter is not read for its own sake; but a
// driver that fails at the end leaves what was known.
func (g *Sampler) readEnergy(d *deviceState, running bool) {
	if d.energy.off || (running && !d.energy.firstAt.IsZero() && !closed(g.stopping)) {
		return
	}
	joules, err := d.dev.energy()
	g.mu.Lock()
	defer g.mu.Unlock()
	e := &d.energy
	e.err = err
	if err != nil {
		if e.off = errors.Is(err, errUnsupported); !e.off {
			d.errors++
		}
		return
	}
	now := time.Now()
	if e.firstAt.IsZero() || !running {
		e.first, e.firstAt = joules, now
	}
	e.last, e.lastAt = joules, now
}

// readGauges reads what is averaged over the run.
func (g *Sampler) readGauges(d *deviceState) {
	if !d.power.off {
		watts, err := d.dev.power()
		g.take(d, &d.power, watts, err)
	}
	if !d.utilization.off {
		fraction, err := d.dev.utilization()
		g.take(d, &d.utilization, fraction, err)
	}
	// Heat and clocks are the whole GPU's: an instance has none of its own.
	if !d.temperature.off {
		celsius, err := d.whole.temperature()
		g.take(d, &d.temperature, float64(celsius), err)
	}
	if !d.clocks.off {
		mask, err := d.whole.throttle()
		held := float64(0)
		if mask &= throttleMask; mask != 0 {
			held = 1
		}
		if g.take(d, &d.clocks, held, err) {
			g.mu.Lock()
			d.throttle |= mask
			d.throttled += int64(held)
			g.mu.Unlock()
		}
	}
}

// take adds a reading, or notes why there is none.
func (g *Sampler) take(d *deviceState, m *statAccumulator, v float64, err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		m.add(v)
		return true
	}
	if m.fail(err) {
		d.errors++
	}
	return false
}

// readProcesses lists the processes on every device, then asks which are ours: in
// this order, as what was listed has a parent by then.
func (g *Sampler) readProcesses(kind int) {
	lists := make([][]process, len(g.devices))
	errs := make([]error, len(g.devices))
	for i, d := range g.devices {
		compute, err := d.dev.processes(false)
		var drawing []process
		if err == nil && kind == periodicRound {
			// A failure here is no matter: what computes is what vobs is about.
			drawing, _ = d.dev.processes(true)
		}
		lists[i], errs[i] = mergeProcesses(compute, drawing), err
	}
	var ours map[int]bool
	if g.cfg.Ours != nil {
		ours = g.cfg.Ours()
	}
	if newcomers := g.newDescendants(lists, ours); len(newcomers) > 0 {
		ours = maps.Clone(ours)
		if ours == nil {
			ours = map[int]bool{}
		}
		for _, pid := range newcomers {
			ours[pid] = true
		}
	}
	g.mu.Lock()
	g.markOwned(lists, ours)
	g.mu.Unlock()

	names, absent := g.resolveNames(lists)
	g.mu.Lock()
	defer g.mu.Unlock()
	for pid := range absent {
		if g.pids.absent[pid] {
			g.pids.unseenPID = pid
		}
	}
	g.pids.absent = absent
	for i, d := range g.devices {
		if errs[i] != nil {
			d.listErr = errs[i]
			if !errors.Is(errs[i], errUnsupported) {
				d.errors++
			}
			continue
		}
		d.addList(lists[i], names, g.ours)
	}
}

// newDescendants are listed processes of the command that Ours does not know yet. Each
// is asked about at its first sight alone, for what is another's stays another's.
func (g *Sampler) newDescendants(lists [][]process, ours map[int]bool) (pids []int) {
	if g.cfg.Descends == nil {
		return nil
	}
	var strangers []int
	g.mu.Lock()
	for i, d := range g.devices {
		for _, p := range lists[i] {
			if !ours[p.pid] && d.seen[p.pid] == nil {
				strangers = append(strangers, p.pid)
			}
		}
	}
	g.mu.Unlock()
	for _, pid := range strangers {
		if g.cfg.Descends(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// markOwned notes which processes that a device has listed, now or before, are ours:
// now, or when it was asked before, for one may have ended since it was listed. Of
// the others no id is kept: a command may start processes by the million. The
// caller holds g.mu.
func (g *Sampler) markOwned(lists [][]process, ours map[int]bool) {
	note := func(pid int) {
		if ours[pid] || g.prevOwned[pid] {
			g.ours[pid] = true
		}
	}
	for i, d := range g.devices {
		for _, p := range lists[i] {
			note(p.pid)
		}
		for pid := range d.seen {
			note(pid)
		}
	}
	g.prevOwned = ours
	g.known = g.known || len(ours) > 0
}

// mergeProcesses makes one entry per process of the lists of those that compute
// and those that draw. A process on both lists has the same memory on both.
func mergeProcesses(compute, drawing []process) []process {
	var out []process
	at := map[int]int{}
	for _, p := range compute {
		i, ok := at[p.pid]
		if !ok {
			at[p.pid] = len(out)
			out = append(out, p)
			continue
		}
		out[i].memory += p.memory
		out[i].known = out[i].known && p.known
	}
	for _, p := range drawing {
		i, ok := at[p.pid]
		if !ok {
			at[p.pid] = len(out)
			out = append(out, p)
			continue
		}
		out[i].memory = max(out[i].memory, p.memory)
	}
	for i := range out {
		if !out[i].known {
			out[i].memory = 0
		}
	}
	return out
}

// resolveNames finds the names of listed processes that are not ours and not known
// yet, and which of them procfs does not have.
func (g *Sampler) resolveNames(lists [][]process) (names map[int]string, absent map[int]bool) {
	names, absent = map[int]string{}, map[int]bool{}
	g.mu.Lock()
	asked := map[int]bool{}
	for i, d := range g.devices {
		for _, p := range lists[i] {
			if g.ours[p.pid] {
				continue
			}
			if s := d.seen[p.pid]; s != nil && s.name != "" {
				continue // it was there, so the ids are ours
			}
			asked[p.pid] = true
		}
	}
	g.mu.Unlock()
	for pid := range asked {
		dir := filepath.Join(g.cfg.ProcRoot, strconv.Itoa(pid))
		if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
			absent[pid] = true
			continue
		}
		if comm, err := os.ReadFile(filepath.Join(dir, "comm")); err == nil {
			names[pid] = strings.ToValidUTF8(strings.TrimSuffix(string(comm), "\n"), "\uFFFD")
		}
	}
	return names, absent
}

// addList folds one process list of the device.
func (d *deviceState) addList(list []process, names map[int]string, ours map[int]bool) {
	d.listErr = nil
	d.listed = list
	if d.listings++; d.listings == 1 {
		d.firstList = time.Now()
	}
	var sum, job uint64
	for _, p := range list {
		s := d.seen[p.pid]
		if s == nil {
			s = &seenProcess{}
			d.seen[p.pid] = s
		}
		if name := names[p.pid]; name != "" {
			s.name = name
		}
		if d.listings == 1 {
			d.firstPIDs = append(d.firstPIDs, p.pid)
		}
		if !p.known {
			d.unknown = true
			continue
		}
		s.known = true
		s.peak = max(s.peak, p.memory)
		sum += p.memory
		if ours[p.pid] {
			job += p.memory
		}
	}
	d.highest = max(d.highest, sum)
	d.jobPeak = max(d.jobPeak, job)
}
