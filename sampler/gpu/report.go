package gpu

import (
	"cmp"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/vobs/vobs/schema"
)

const (
	// unattributedBytes is how much used memory may belong to no listed process before
	// "none of the command's processes was there" is doubted: a CUDA context takes
	// hundreds of MiB, and under v1 the driver's own reserve is included.
	unattributedBytes = 1 << 30
	// lateTolerance is how long after the command's start the first reading may come
	// without a note.
	lateTolerance = 250 * time.Millisecond
	// minGaugeReadings is how many readings of a gauge an average has to rest on: one or
	// two describe single moments, not the run.
	minGaugeReadings = 3
)

// Reasons for figures that this package does not provide.
const (
	notStarted = "the command did not start"
	noTorch    = "needs --instrument: only the worker itself can read torch's allocator"
)

// report turns what is known into the event's figures. The caller holds s.mu.
func (s *Sampler) report() Readings {
	var r Readings
	err := s.initErr
	if err == nil && !closed(s.initDone) {
		err = errors.New("NVML is still initializing")
	}
	if err != nil {
		r.Notes.Missing("gpus", err.Error())
		r.Notes.Missing("peak_vram_gb", "no GPU was sampled: "+err.Error())
		return r
	}
	r.GPUs = []schema.GPU{}
	for _, reason := range s.visible.unresolved {
		r.Notes.Missing("gpus", reason)
	}
	if s.orderUnknown {
		r.Notes.Doubt(schema.CodeDeviceOrderUnknown, schema.Warning,
			"CUDA_VISIBLE_DEVICES selects GPUs of different models by index, and CUDA numbers the fastest first unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set: the command may use other GPUs than those sampled; set CUDA_DEVICE_ORDER, or select the GPUs by UUID",
			&schema.Evidence{Field: "gpus"})
	}
	if len(s.devices) == 0 {
		reason := s.visible.whyNone
		if reason == "" && len(s.visible.unresolved) > 0 {
			reason = s.visible.unresolved[0]
		}
		r.Notes.Missing("peak_vram_gb", reason)
		return r
	}
	memory, state := s.watcher.read()
	s.takeMemory()
	unmatched := s.whyUnmatched()
	for i, d := range s.devices {
		r.GPUs = append(r.GPUs, s.reportDevice(i, d, memory[i], unmatched, &r.Notes))
		pids := map[int]bool{}
		if unmatched == "" {
			for pid := range d.seen {
				pids[pid] = true
			}
		}
		r.PIDs = append(r.PIDs, pids)
		r.Throttling = append(r.Throttling, d.throttling)
	}
	r.Curves = s.reportCurves(r.GPUs)
	s.reportPeakVRAM(&r)
	s.noteGaps(&r, memory, state)
	return r
}

// reportDevice returns the figures of device i.
func (s *Sampler) reportDevice(i int, d *deviceState, m memoryStats, unmatched string, notes *schema.Notes) schema.GPU {
	miss := func(field, reason string) { notes.Missing(fmt.Sprintf("gpus.%d.%s", i, field), reason) }
	out := schema.GPU{
		Index: d.index, UUID: d.uuid, MIGOf: d.parent, Name: d.name,
		Sampling: &schema.Sampling{Samples: m.samples, Errors: m.errors + d.errors},
	}
	if s.versionErr == nil && s.version != "" {
		out.DriverVersion = schema.Ptr(s.version)
	} else {
		miss("driver_version", fmt.Sprintf("the driver did not report its version: %v", s.versionErr))
	}
	s.reportMemory(&out, d, m, miss)
	if m.samples >= 2 {
		span := m.countedLast.Sub(m.countedFirst).Seconds()
		out.Sampling.PeriodSeconds = schema.F(span / float64(m.samples-1))
		out.Sampling.MaxGapSeconds = schema.F(max(m.maxGap, s.blindTail(m)).Seconds())
	} else {
		reason := fmt.Sprintf("needs at least two readings, there were %d", m.samples)
		miss("sampling.period_seconds", reason)
		miss("sampling.max_gap_seconds", reason)
	}
	s.reportProcesses(&out, d, m, unmatched, miss)
	s.reportGauges(&out, d, miss)
	s.reportProfile(&out, d, miss)
	if d.impossibleWatts > 0 {
		notes.Doubt(schema.CodeInvalidValues, schema.Warning, fmt.Sprintf("the driver reported a power of %.0f W for GPU %d, more than any GPU can draw: such readings were left out", d.impossibleWatts, d.index), nil)
	}
	s.reportEnergy(&out, i, d, miss, notes)
	s.reportIdlePower(&out, d, miss)
	miss("torch", noTorch)
	return out
}

// blindTail returns how long the command went on after the last reading of a device's memory.
func (s *Sampler) blindTail(m memoryStats) time.Duration {
	end := s.ended
	if end.IsZero() {
		end = time.Now() // for a partial event
	}
	if s.started.IsZero() || m.samples == 0 {
		return 0
	}
	return max(0, end.Sub(m.countedLast))
}

// reportMemory fills in the figures of the device's memory.
func (s *Sampler) reportMemory(out *schema.GPU, d *deviceState, m memoryStats, miss func(field, reason string)) {
	if m.firstAt.IsZero() {
		reason := "no reading of its memory succeeded"
		if m.err != nil {
			reason = fmt.Sprintf("no reading of its memory succeeded: %v", m.err)
		}
		for _, f := range []string{"memory_api", "memory_total_bytes", "memory_reserved_bytes", "baseline_bytes", "peak_bytes", "peak_at_seconds"} {
			miss(f, reason)
		}
		return
	}
	out.MemoryAPI = schema.Ptr(m.api)
	out.MemoryTotalBytes = schema.Ptr(int64(m.total))
	if m.api == "v2" {
		out.MemoryReservedBytes = schema.Ptr(int64(m.reserved))
	} else {
		miss("memory_reserved_bytes", "this driver has only the first version of the memory call, which counts reserved memory as used (v2 came with R510)")
	}
	if reason := s.whyNoBaseline(d, m); reason != "" {
		miss("baseline_bytes", reason)
	} else {
		out.BaselineBytes = schema.Ptr(int64(m.first))
	}
	if m.samples == 0 {
		reason := "no reading of its memory succeeded while the command ran"
		switch {
		case s.started.IsZero():
			reason = notStarted
		case m.err != nil:
			reason = fmt.Sprintf("%s: %v", reason, m.err)
		}
		miss("peak_bytes", reason)
		miss("peak_at_seconds", reason)
		return
	}
	out.PeakBytes = schema.Ptr(int64(m.peak))
	out.PeakAtSeconds = schema.F(m.peakAt.Sub(s.started).Seconds())
}

// whyNoBaseline returns why the first reading is not a baseline, or "".
func (s *Sampler) whyNoBaseline(d *deviceState, m memoryStats) string {
	for _, pid := range d.firstPIDs {
		if !s.owned[pid] {
			continue
		}
		if !s.started.IsZero() && d.firstListAt.After(s.started) {
			return "a process of the command or of the engine was on the device when processes were first listed, after the command's start"
		}
		return "a process of the command or of the engine was on the device before the first reading"
	}
	for _, pid := range d.firstPIDs {
		if why := s.undetermined[pid]; why != "" && !s.owned[pid] {
			return "memory was in use at the first reading, and " + why
		}
	}
	late := !s.started.IsZero() && m.firstAt.After(s.started)
	unmatched := d.lists == 0 || s.whyUnmatched() != ""
	unattributed := len(d.firstPIDs) == 0 && m.first > unattributedBytes || unmatched && len(d.firstPIDs) > 0
	switch {
	case late && (unmatched || s.cfg.OwnedPIDs == nil):
		return fmt.Sprintf("the first reading came %.3f s after the command's start, and the processes on the device cannot be matched", m.firstAt.Sub(s.started).Seconds())
	case unattributed:
		return "memory was in use at the first reading, and its owner cannot be determined"
	}
	return ""
}

// reportProcesses fills in which processes the memory belonged to.
func (s *Sampler) reportProcesses(out *schema.GPU, d *deviceState, m memoryStats, unmatched string, miss func(field, reason string)) {
	used, job := false, d.jobPeak
	var foreign []schema.ForeignProcess
	for pid, p := range d.seen {
		if s.owned[pid] {
			used = true
			job = max(job, p.peak) // it may have been marked as owned after it was listed
			continue
		}
		f := schema.ForeignProcess{PID: pid}
		if p.name != "" {
			f.Name = schema.Ptr(p.name)
		}
		if p.memoryKnown && !m.exceeded(p.peak) {
			f.PeakBytes = schema.Ptr(int64(p.peak))
		}
		foreign = append(foreign, f)
	}
	reason := unmatched
	switch {
	case d.lists == 0 && d.listErr != nil:
		reason = fmt.Sprintf("the driver does not list processes: %v", d.listErr)
	case d.lists == 0:
		reason = "the driver did not list processes in time"
	case reason != "":
	case s.started.IsZero():
		reason = notStarted
	case s.cfg.OwnedPIDs == nil || !s.hasOwned:
		reason = "no process of the command is known"
	}
	if reason != "" {
		for _, f := range []string{"used_by_job", "job_peak_bytes", "foreign_processes"} {
			miss(f, reason)
		}
		return
	}
	if why := s.whyUndetermined(d); why != "" {
		if used {
			out.UsedByJob = &used
		} else {
			miss("used_by_job", why)
		}
		miss("job_peak_bytes", why)
		miss("foreign_processes", why)
		return
	}
	if !used && !d.memoryUnknown && m.peak > d.highestSum && m.peak-d.highestSum > unattributedBytes {
		reason = fmt.Sprintf("%d bytes were in use that belonged to no listed process: the driver hides processes here, or one came and went between two lists", m.peak-d.highestSum)
		miss("used_by_job", reason)
		miss("job_peak_bytes", reason)
	} else {
		out.UsedByJob = &used
		switch {
		case s.jobMemoryUnknown(d):
			miss("job_peak_bytes", "the driver does not report the memory of a process of the command (NVML_VALUE_NOT_AVAILABLE)")
		case m.exceeded(job):
			miss("job_peak_bytes", fmt.Sprintf("%v: %d bytes for the command's processes, more than the device has", errImplausible, job))
		default:
			out.JobPeakBytes = schema.Ptr(int64(job))
		}
	}
	sort.Slice(foreign, func(a, b int) bool { return foreign[a].PID < foreign[b].PID })
	out.ForeignProcesses = append([]schema.ForeignProcess{}, foreign...)
	for k, f := range out.ForeignProcesses {
		if f.Name == nil {
			miss(fmt.Sprintf("foreign_processes.%d.name", k), "the process ended before its name could be read, or /proc hides it")
		}
		if f.PeakBytes == nil {
			reason := "the driver does not report the memory of the process (NVML_VALUE_NOT_AVAILABLE)"
			if p := d.seen[f.PID]; p.memoryKnown {
				reason = fmt.Sprintf("%v: %d bytes, more than the device has", errImplausible, p.peak)
			}
			miss(fmt.Sprintf("foreign_processes.%d.peak_bytes", k), reason)
		}
	}
}

// jobMemoryUnknown reports whether the driver never reported the memory of some owned
// process.
func (s *Sampler) jobMemoryUnknown(d *deviceState) bool {
	for pid, p := range d.seen {
		if s.owned[pid] && !p.memoryKnown {
			return true
		}
	}
	return false
}

// reportGauges fills in what is averaged over the periodic slow rounds.
func (s *Sampler) reportGauges(out *schema.GPU, d *deviceState, miss func(field, reason string)) {
	if a := &d.power; a.n >= minGaugeReadings {
		out.PowerWatts = &schema.MeanMax{Mean: schema.Float(a.mean()), Max: schema.Float(a.max)}
	} else {
		miss("power_watts", s.whyNoGauge(d, a, "power", true))
	}
	if a := &d.utilization; a.n >= minGaugeReadings {
		out.Utilization = &schema.MeanMax{Mean: schema.Float(a.mean()), Max: schema.Float(a.max)}
	} else {
		miss("utilization", s.whyNoGauge(d, a, "utilization", true))
	}
	if a := &d.temperature; a.n >= minGaugeReadings {
		out.TemperatureCelsiusMax = schema.Ptr(int(a.max))
	} else {
		miss("temperature_celsius_max", s.whyNoGauge(d, a, "temperature", false))
	}
	if a := &d.clocks; a.n >= minGaugeReadings {
		out.ThrottledFraction = schema.F(float64(d.throttledReadings) / float64(a.n))
		out.ThrottleReasons = []string{}
		for _, t := range throttleNames {
			if d.throttleReasons&t.bit != 0 {
				out.ThrottleReasons = append(out.ThrottleReasons, t.name)
			}
		}
	} else {
		reason := s.whyNoGauge(d, a, "throttle reasons", false)
		miss("throttled_fraction", reason)
		miss("throttle_reasons", reason)
	}
}

// whyNoGauge returns why a has too few readings. hasInstances reports whether a MIG
// instance could have readings of its own.
func (s *Sampler) whyNoGauge(d *deviceState, a *statAccumulator, quantity string, hasInstances bool) string {
	switch {
	case a.unsupported && hasInstances && d.parent != nil:
		return "NVML reports " + quantity + " for the whole GPU, not for a MIG instance"
	case a.err != nil:
		return fmt.Sprintf("the driver returned no %s: %v", quantity, a.err)
	case s.started.IsZero():
		return notStarted
	case a.n == 1:
		return fmt.Sprintf("only 1 reading fell into the run: one moment does not describe the run, at least %d are needed", minGaugeReadings)
	case a.n > 0:
		return fmt.Sprintf("only %d readings fell into the run: at least %d are needed", a.n, minGaugeReadings)
	}
	return fmt.Sprintf("no reading of %s while the command ran: the first one comes %.2f s after the start, later if the driver is slow", quantity, TickInterval.Seconds())
}

// reportPeakVRAM computes peak_vram_gb from the devices' peaks, and notes doubts about it.
func (s *Sampler) reportPeakVRAM(r *Readings) {
	matched := false
	for _, d := range r.GPUs {
		matched = matched || d.UsedByJob != nil && *d.UsedByJob
	}
	best := -1
	for i, d := range r.GPUs {
		if matched && (d.UsedByJob == nil || !*d.UsedByJob) {
			continue
		}
		if d.PeakBytes != nil && (best < 0 || *d.PeakBytes > *r.GPUs[best].PeakBytes) {
			best = i
		}
	}
	if best < 0 {
		reason := "no reading of a GPU's memory succeeded while the command ran"
		if s.started.IsZero() {
			reason = notStarted
		}
		r.Notes.Missing("peak_vram_gb", reason)
		return
	}
	r.PeakVRAMGB = schema.F(float64(*r.GPUs[best].PeakBytes) / (1 << 30))
	undetermined := ""
	for i, d := range s.devices {
		if used := r.GPUs[i].UsedByJob; undetermined == "" && (used == nil || !*used) {
			undetermined = s.whyUndetermined(d)
		}
	}
	var message string
	switch unmatched := s.whyUnmatched(); {
	case matched && undetermined == "":
		return
	case matched:
		message = undetermined + ": peak_vram_gb leaves out GPUs of which it is unknown whether the command used them"
	default:
		why := cmp.Or(unmatched, undetermined, "no process of the command was seen on a sampled GPU")
		message = fmt.Sprintf("%s: peak_vram_gb is the highest peak of all sampled GPUs (%d)", why, len(r.GPUs))
	}
	r.Notes.Doubt(schema.CodeDevicesNotMatched, schema.Warning, message, &schema.Evidence{Field: "peak_vram_gb", Value: *r.PeakVRAMGB})
}

// noteGaps notes parts of the run that were not sampled.
func (s *Sampler) noteGaps(r *Readings, memory []memoryStats, state watcherState) {
	if s.stuckIn != "" {
		message := fmt.Sprintf("the driver did not return from %s within %.0f s after the command's end: only what was read before counts", s.stuckIn, stopTimeout.Seconds())
		if !state.busySince.IsZero() && !s.started.IsZero() {
			message = fmt.Sprintf("the driver did not return from %s, called %.3f s after the command's start: only what was read before counts", s.stuckIn, state.busySince.Sub(s.started).Seconds())
		}
		r.Notes.Doubt(schema.CodeGPUDriverStuck, schema.Warning, message, nil)
	}
	if s.failure != "" {
		r.Notes.Doubt(schema.CodeGPUSamplingBroke, schema.Warning, s.failure, nil)
	}
	for i, m := range memory {
		if m.samples == 0 || s.started.IsZero() {
			continue
		}
		if tail := s.blindTail(m); s.stuckIn == "" && tail > lateTolerance+m.maxGap {
			why := ""
			if m.err != nil {
				why = fmt.Sprintf(" (%v)", m.err)
			}
			r.Notes.Doubt(schema.CodeGPUSamplingBroke, schema.Warning,
				fmt.Sprintf("no reading of GPU %d's memory succeeded in the last %.3f s of the command%s: a later peak is unknown", r.GPUs[i].Index, tail.Seconds(), why),
				&schema.Evidence{Field: fmt.Sprintf("gpus.%d.sampling.max_gap_seconds", i), Value: schema.Float(tail.Seconds()), Threshold: schema.Float(lateTolerance.Seconds())})
		}
		if late := m.countedFirst.Sub(s.started); late > lateTolerance+m.maxGap {
			r.Notes.Doubt(schema.CodeGPUSamplingLate, schema.Warning,
				fmt.Sprintf("the first reading of GPU %d came %.3f s after the command's start: an earlier peak is unknown", r.GPUs[i].Index, late.Seconds()),
				&schema.Evidence{Field: fmt.Sprintf("gpus.%d.sampling", i), Value: schema.Float(late.Seconds()), Threshold: schema.Float(lateTolerance.Seconds())})
		}
	}
}
