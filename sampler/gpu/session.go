package gpu

import (
	"fmt"
	"time"

	"github.com/vobs/vobs/internal/budget"
)

// run is the sampler's goroutine.
func (s *Sampler) run() {
	defer close(s.done)
	defer s.recoverPanic()
	err := s.open()
	s.mu.Lock()
	if s.initErr == nil {
		s.initErr = err
	}
	sample := s.initErr == nil && len(s.devices) > 0 && !s.stopped
	if sample {
		// The watcher starts with the first reading of the memory.
		s.watcher, err = s.driver.watch(handles(s.devices), s.firstInterval())
		if err != nil {
			s.initErr, sample = fmt.Errorf("reading the GPUs' memory: %w", err), false
		} else if !s.started.IsZero() {
			s.watcher.countFrom(s.started)
		}
	}
	close(s.initDone)
	s.mu.Unlock()
	if !sample {
		close(s.firstDone)
		return
	}
	s.loop()
}

// recoverPanic keeps a bug in this package from affecting the command: what was sampled
// is kept, and the event notes the failure.
func (s *Sampler) recoverPanic() {
	p := recover()
	if p == nil {
		return
	}
	// The lock is held briefly, unless the panic happened under it.
	locked := s.mu.TryLock()
	for i := 0; !locked && i < 100; i++ {
		time.Sleep(time.Millisecond)
		locked = s.mu.TryLock()
	}
	err := fmt.Errorf("an error in vobs: %v: please report it", p)
	if s.watcher == nil {
		s.initErr = err
	}
	s.failure = err.Error()
	s.mu.Unlock()
	if !closed(s.initDone) {
		close(s.initDone)
	}
	if !closed(s.firstDone) {
		close(s.firstDone)
	}
}

func handles(devices []*deviceState) []device {
	list := make([]device, len(devices))
	for i, d := range devices {
		list[i] = d.dev
	}
	return list
}

func (s *Sampler) firstInterval() time.Duration {
	if s.cfg.Interval > 0 {
		return s.cfg.Interval
	}
	return minInterval
}

// open initializes NVML and determines the devices to sample.
func (s *Sampler) open() error {
	if err := s.driver.start(); err != nil {
		return err
	}
	version, versionErr := s.driver.version()
	n, err := s.driver.count()
	if err != nil {
		return fmt.Errorf("counting the GPUs: %w", err)
	}
	inv := make(inventory, n)
	gpus := make([]device, n)
	instances := make([][]migInstance, n)
	for i := range inv {
		gpus[i], instances[i], inv[i] = s.identify(i)
	}
	v := inv.resolve(s.cfg.Visible, s.cfg.Devices)

	var devices []*deviceState
	for _, ref := range v.devices {
		entry := inv[ref.gpu]
		d := &deviceState{
			index: ref.gpu, uuid: entry.uuid, name: entry.name, dev: gpus[ref.gpu], gpu: gpus[ref.gpu],
			deviceProcesses: deviceProcesses{seen: map[int]*seenProcess{}},
		}
		if ref.instance >= 0 {
			instance := instances[ref.gpu][ref.instance]
			parent := d.uuid
			d.parent, d.dev, d.uuid = &parent, instance.device, entry.instances[ref.instance].uuid
			if name, err := instance.name(); err == nil {
				d.name = name
			}
		}
		devices = append(devices, d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version, s.versionErr = version, versionErr
	s.visible, s.devices = v, devices
	s.orderUnknown = len(s.cfg.Devices) == 0 && inv.orderUnknown(v, s.cfg.Order)
	return nil
}

// identify reads the identity of the GPU with this index, and its MIG instances.
func (s *Sampler) identify(index int) (device, []migInstance, gpuEntry) {
	dev, err := s.driver.gpu(index)
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
	instances, enabled, err := dev.instances()
	e.mig = enabled
	if err != nil {
		e.err = fmt.Errorf("listing its MIG instances: %w", err)
		return nil, nil, e
	}
	kept := instances[:0]
	for _, p := range instances {
		uuid, err := p.uuid()
		if err != nil {
			continue // it was removed in the meantime
		}
		e.instances = append(e.instances, migEntry{uuid, p.number, p.gi, p.ci})
		kept = append(kept, p)
	}
	return dev, kept, e
}

// loop makes the slow rounds and sets the intervals until Stop.
func (s *Sampler) loop() {
	governor := Governor{fixed: s.cfg.Interval}
	hold := governor.fixed == 0
	last := time.Now()
	cost := s.slowRound(boundaryRound)
	close(s.firstDone)
	governor.Reserve(cost) // for the last round, which is like the first
	spent := cost
	_, state := s.watcher.read()
	if s.cfg.Budget != nil {
		s.cfg.Budget.Reserve(cost + state.cpu)
	}
	memory, slow := governor.Next(Tick{Elapsed: time.Since(last), Rounds: state.rounds, MemoryCPU: state.cpu, Slow: true, SlowCPU: cost, Share: s.share(spent + state.cpu)})
	s.watcher.setInterval(memory, hold)
	last = time.Now()
	lastSlow := last
	profiles := last // when the performance counters are due

	timer := time.NewTimer(budget.AlignToTick(TickInterval / 2))
	defer timer.Stop()
	for {
		select {
		case <-s.stopping:
			s.slowRound(boundaryRound)
			s.profileRound()
			return
		case <-s.engines.changed:
			cost := s.changeRound()
			governor.Reserve(cost)
			spent += cost
			continue
		case <-timer.C:
		}
		if cost := s.changeRound(); cost > 0 {
			governor.Reserve(cost)
			spent += cost
		}
		now := time.Now()
		t := Tick{Elapsed: now.Sub(last), Running: s.running()}
		// Half a tick of tolerance: a timer fires late, and a slow round must not wait for
		// another tick because of that.
		first := t.Running && !governor.running && governor.slowCost <= expensiveRound.Seconds()
		if first || now.Sub(lastSlow) >= slow-TickInterval/2 {
			lastSlow = now
			t.Slow, t.SlowCPU = true, s.slowRound(periodicRound)
			if t.Running && !now.Before(profiles) {
				cost := s.profileRound()
				governor.Reserve(cost)
				spent += cost
				profiles = now.Add(seconds(cost.Seconds() / profileShare))
			}
		}
		_, current := s.watcher.read()
		t.Rounds, t.MemoryCPU = current.rounds-state.rounds, current.cpu-state.cpu
		state, last = current, now
		spent += t.SlowCPU
		s.mu.Lock()
		s.takeMemory()
		s.mu.Unlock()
		t.Share = s.share(spent + current.cpu)
		memory, slow = governor.Next(t)
		s.watcher.setInterval(memory, hold)
		timer.Reset(budget.AlignToTick(TickInterval / 2)) // aligned again, however late the timer was
	}
}

// share returns the share of one core that the budget of the whole process leaves to the
// GPUs, which took spent so far.
func (s *Sampler) share(spent time.Duration) float64 {
	if s.cfg.Budget == nil {
		return gpuShare
	}
	return s.cfg.Budget.GPUShare(spent)
}

// running reports whether the command has started.
func (s *Sampler) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.started.IsZero()
}
