package gpu

import (
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/vobs/vobs/schema"
)

// throttleNames are the reasons that hold clocks down by power, heat or a brake,
// by the names that nvidia-smi gives them (nvml.h, nvmlClocksEventReasons). Not
// among them: gpu_idle, applications_clocks_setting, sync_boost and
// display_clock_setting, which are settings or no burden.
var throttleNames = [...]struct {
	bit  uint64
	name string
}{
	{0x04, "sw_power_cap"},
	{0x08, "hw_slowdown"},
	{0x20, "sw_thermal_slowdown"},
	{0x40, "hw_thermal_slowdown"},
	{0x80, "hw_power_brake_slowdown"},
}

// throttleMask is the mask of all throttleNames.
const throttleMask = 0x04 | 0x08 | 0x20 | 0x40 | 0x80

// Limits of what is taken as seen.
const (
	// unattributedBytes is how much used memory may have no listed process behind it
	// before "no process of ours was there" is doubted: a CUDA context takes
	// hundreds of MiB, and under v1 the driver's own reserve is in the figure.
	unattributedBytes = 1 << 30
	// lateTolerance is the time at either end of the run without a reading that is not
	// worth a note.
	lateTolerance = 250 * time.Millisecond
	// shortEnergy is the window below which the energy is noted as rough: the
	// counter is updated about every 100 ms (seen by the Zeus project: zeus-ml's skills/measuring-energy).
	shortEnergy = 2 * time.Second
)

// What is not told here.
const (
	noActiveEnergy = "not built yet: the engine's active time is not joined with the energy"
	noTorch        = "needs --instrument: torch's allocator is known inside the worker alone"
)

// report makes the event's figures of what is known. The caller holds g.mu.
func (g *Sampler) report() Readings {
	var r Readings
	err := g.initErr
	if err == nil && !closed(g.ready) {
		err = errors.New("NVML is still initialising")
	}
	if err != nil {
		r.Notes.Missing("gpus", err.Error())
		r.Notes.Missing("peak_vram_gb", "no GPU was sampled: "+err.Error())
		return r
	}
	r.GPUs = []schema.GPU{}
	for _, m := range g.visible.missing {
		r.Notes.Missing("gpus", m)
	}
	if g.unordered {
		r.Notes.Doubt(schema.CodeDeviceOrderUnknown, schema.Warning,
			"CUDA_VISIBLE_DEVICES chooses GPUs of different models by index, and CUDA counts the fastest first unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set: other GPUs than the sampled ones may be the command's; set it, or name the GPUs by UUID",
			&schema.Evidence{Field: "gpus"})
	}
	if len(g.devices) == 0 {
		reason := g.visible.none
		if reason == "" && len(g.visible.missing) > 0 {
			reason = g.visible.missing[0]
		}
		r.Notes.Missing("peak_vram_gb", reason)
		return r
	}
	list, state := g.watch.read()
	unmatched := g.unmatchable()
	for i, d := range g.devices {
		r.GPUs = append(r.GPUs, g.gpu(i, d, list[i], unmatched, &r.Notes))
		pids := map[int]bool{}
		if unmatched == "" {
			for pid := range d.seen {
				pids[pid] = true
			}
		}
		r.PIDs = append(r.PIDs, pids)
	}
	g.core(&r)
	g.window(&r, list, state)
	return r
}

// gpu makes the figures of one device.
func (g *Sampler) gpu(i int, d *deviceState, m memory, unmatched string, notes *schema.Notes) schema.GPU {
	miss := func(field, reason string) { notes.Missing(fmt.Sprintf("gpus.%d.%s", i, field), reason) }
	out := schema.GPU{
		Index: d.index, UUID: d.id, MIGOf: d.parent, Name: d.name,
		Sampling: &schema.Sampling{Samples: m.samples, Errors: m.errors + d.errors},
	}
	if g.verErr == nil && g.version != "" {
		out.DriverVersion = schema.Ptr(g.version)
	} else {
		miss("driver_version", fmt.Sprintf("the driver did not tell it: %v", g.verErr))
	}
	g.memory(&out, d, m, miss)
	if m.samples >= 2 {
		span := m.countedLast.Sub(m.countedFirst).Seconds()
		out.Sampling.PeriodSeconds = schema.F(span / float64(m.samples-1))
		out.Sampling.MaxGapSeconds = schema.F(m.maxGap.Seconds())
	} else {
		reason := fmt.Sprintf("it needs two readings, there were %d", m.samples)
		miss("sampling.period_seconds", reason)
		miss("sampling.max_gap_seconds", reason)
	}
	g.processes(&out, d, m, unmatched, miss)
	g.gauges(&out, d, miss)
	g.energyOf(&out, i, d, miss, notes)
	miss("energy_active_joules", noActiveEnergy)
	miss("torch", noTorch)
	return out
}

// memory fills the figures of the device's memory.
func (g *Sampler) memory(out *schema.GPU, d *deviceState, m memory, miss func(field, reason string)) {
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
		miss("memory_reserved_bytes", "this driver has the first version of the memory call only, which counts reserved memory as used (v2 came with R510)")
	}
	if reason := g.noBaseline(d, m); reason != "" {
		miss("baseline_bytes", reason)
	} else {
		out.BaselineBytes = schema.Ptr(int64(m.first))
	}
	if m.samples == 0 {
		reason := "no reading of its memory succeeded while the command ran"
		switch {
		case g.started.IsZero():
			reason = "the command did not start"
		case m.err != nil:
			reason = fmt.Sprintf("%s: %v", reason, m.err)
		}
		miss("peak_bytes", reason)
		miss("peak_at_seconds", reason)
		return
	}
	out.PeakBytes = schema.Ptr(int64(m.peak))
	out.PeakAtSeconds = schema.F(m.peakAt.Sub(g.started).Seconds())
}

// noBaseline tells why the first reading is no baseline, or "".
func (g *Sampler) noBaseline(d *deviceState, m memory) string {
	for _, pid := range d.firstPIDs {
		if !g.ours[pid] {
			continue
		}
		if !g.started.IsZero() && d.firstList.After(g.started) {
			return "a process of the command, or the engine's, was on the device when processes were listed first, after the command's start"
		}
		return "a process of the command, or the engine's, was on the device before the first reading"
	}
	late := !g.started.IsZero() && m.firstAt.After(g.started)
	blind := d.listings == 0 || g.unmatchable() != ""
	hidden := len(d.firstPIDs) == 0 && m.first > unattributedBytes || blind && len(d.firstPIDs) > 0
	switch {
	case late && (blind || g.cfg.Ours == nil):
		return fmt.Sprintf("the first reading came %.3f s after the command's start, and the processes on the device cannot be matched", m.firstAt.Sub(g.started).Seconds())
	case hidden:
		return "memory was in use at the first reading, and whose it is cannot be told"
	}
	return ""
}

// unmatchable tells why NVML's process ids cannot be compared with ours, or "".
// The caller holds g.mu.
func (g *Sampler) unmatchable() string {
	if g.cfg.PIDsMatch != nil {
		if g.cfg.PIDsMatch() {
			return ""
		}
		return "the driver's process ids cannot be compared with the command's: they are of another pid namespace (a container: --pid=host), or the command runs its work elsewhere"
	}
	for _, d := range g.devices {
		for pid := range d.seen {
			if g.ours[pid] {
				return ""
			}
		}
	}
	ghost := g.pids.unseenPID
	for pid := range g.pids.absent {
		if ghost == 0 || pid < ghost {
			ghost = pid
		}
	}
	if ghost != 0 {
		return fmt.Sprintf("the driver lists process %d, which %s does not have: its ids are of another pid namespace (a container: --pid=host), or /proc hides other users' processes", ghost, g.cfg.ProcRoot)
	}
	return ""
}

// processes fills whose memory it was.
func (g *Sampler) processes(out *schema.GPU, d *deviceState, m memory, unmatched string, miss func(field, reason string)) {
	used, job := false, d.jobPeak
	var foreign []schema.ForeignProcess
	for pid, s := range d.seen {
		if g.ours[pid] {
			used = true
			job = max(job, s.peak) // it may have become ours after it was seen
			continue
		}
		f := schema.ForeignProcess{PID: pid}
		if s.name != "" {
			f.Name = schema.Ptr(s.name)
		}
		if s.known && !m.exceeds(s.peak) {
			f.PeakBytes = schema.Ptr(int64(s.peak))
		}
		foreign = append(foreign, f)
	}
	reason := unmatched
	switch {
	case d.listings == 0 && d.listErr != nil:
		reason = fmt.Sprintf("the driver does not list processes: %v", d.listErr)
	case d.listings == 0:
		reason = "the driver did not list processes in time"
	case reason != "":
	case g.cfg.Ours == nil || !g.known:
		reason = "no process of the command is known"
	}
	if reason != "" {
		for _, f := range []string{"used_by_job", "job_peak_bytes", "foreign_processes"} {
			miss(f, reason)
		}
		return
	}
	if !used && !d.unknown && m.peak > d.highest && m.peak-d.highest > unattributedBytes {
		reason = fmt.Sprintf("%d bytes were in use that no listed process had: the driver hides processes here, or one was there between two lists", m.peak-d.highest)
		miss("used_by_job", reason)
		miss("job_peak_bytes", reason)
	} else {
		out.UsedByJob = &used
		switch {
		case g.unknownOf(d):
			miss("job_peak_bytes", "the driver does not tell the memory of a process of the command (NVML_VALUE_NOT_AVAILABLE)")
		case m.exceeds(job):
			miss("job_peak_bytes", fmt.Sprintf("the driver gave no plausible value: %d bytes of the command's processes, more than the device has", job))
		default:
			out.JobPeakBytes = schema.Ptr(int64(job))
		}
	}
	sort.Slice(foreign, func(a, b int) bool { return foreign[a].PID < foreign[b].PID })
	out.ForeignProcesses = append([]schema.ForeignProcess{}, foreign...)
	for k, f := range out.ForeignProcesses {
		if f.Name == nil {
			miss(fmt.Sprintf("foreign_processes.%d.name", k), "it ended before its name could be read, or it is hidden")
		}
		if f.PeakBytes == nil {
			reason := "the driver does not tell its memory (NVML_VALUE_NOT_AVAILABLE)"
			if s := d.seen[f.PID]; s.known {
				reason = fmt.Sprintf("the driver gave no plausible value: %d bytes, more than the device has", s.peak)
			}
			miss(fmt.Sprintf("foreign_processes.%d.peak_bytes", k), reason)
		}
	}
}

// unknownOf tells whether the memory of a process of ours was never told.
func (g *Sampler) unknownOf(d *deviceState) bool {
	for pid, s := range d.seen {
		if g.ours[pid] && !s.known {
			return true
		}
	}
	return false
}

// gauges fills what is averaged over the slow rounds.
func (g *Sampler) gauges(out *schema.GPU, d *deviceState, miss func(field, reason string)) {
	none := func(m *statAccumulator, what string, part bool) string {
		switch {
		case m.off && part && d.parent != nil:
			return "NVML has " + what + " of the whole GPU, not of a MIG instance"
		case m.err != nil:
			return fmt.Sprintf("the driver gave no %s: %v", what, m.err)
		default:
			return fmt.Sprintf("there was no reading of %s while the command ran: the first one comes %.2f s after its start, later where the driver is slow", what, TickEvery.Seconds())
		}
	}
	if m := &d.power; m.n > 0 {
		out.PowerWatts = &schema.MeanMax{Mean: schema.Float(m.sum / float64(m.n)), Max: schema.Float(m.max)}
	} else {
		miss("power_watts", none(m, "power", true))
	}
	if m := &d.utilization; m.n > 0 {
		out.Utilization = &schema.MeanMax{Mean: schema.Float(m.sum / float64(m.n)), Max: schema.Float(m.max)}
	} else {
		miss("utilization", none(m, "utilization", true))
	}
	if m := &d.temperature; m.n > 0 {
		out.TemperatureCelsiusMax = schema.Ptr(int(m.max))
	} else {
		miss("temperature_celsius_max", none(m, "temperature", false))
	}
	if m := &d.clocks; m.n > 0 {
		out.ThrottledFraction = schema.F(float64(d.throttled) / float64(m.n))
		out.ThrottleReasons = []string{}
		for _, t := range throttleNames {
			if d.throttle&t.bit != 0 {
				out.ThrottleReasons = append(out.ThrottleReasons, t.name)
			}
		}
	} else {
		reason := none(m, "throttle reasons", false)
		miss("throttled_fraction", reason)
		miss("throttle_reasons", reason)
	}
}

// energyOf fills the energy: the difference of the counter, where that means
// something.
func (g *Sampler) energyOf(out *schema.GPU, i int, d *deviceState, miss func(field, reason string), notes *schema.Notes) {
	e := &d.energy
	window := e.lastAt.Sub(e.firstAt)
	reason := ""
	switch {
	case e.off && d.parent != nil:
		reason = "NVML counts the energy of the whole GPU, not of a MIG instance"
	case e.err != nil:
		reason = fmt.Sprintf("the driver gave no energy: %v", e.err)
	case g.stopped && !closed(g.done):
		reason = "the driver did not return from reading power, energy or processes: the counter was not read at the end"
	case e.firstAt.IsZero() || window <= 0:
		reason = "the counter was not read twice"
		if !g.stopped {
			reason = "the counter is read again when the command has ended"
		}
	case e.last < e.first:
		reason = fmt.Sprintf("the device's counter went back from %.3f to %.3f J: the driver was reloaded, or the device reset", e.first, e.last)
	case e.last == e.first:
		reason = fmt.Sprintf("the device's counter did not move in %.2f s", window.Seconds())
	}
	if reason != "" {
		miss("energy_joules", reason)
		return
	}
	out.EnergyJoules = schema.F(e.last - e.first)
	if window < shortEnergy {
		notes.Doubt(schema.CodeShortEnergyWindow, schema.Info,
			fmt.Sprintf("the energy of GPU %d is of %.2f s only, and the counter moves about every 0.1 s", d.index, window.Seconds()),
			&schema.Evidence{Field: fmt.Sprintf("gpus.%d.energy_joules", i), Value: *out.EnergyJoules, Threshold: schema.Float(shortEnergy.Seconds())})
	}
}

// core makes peak_vram_gb of the devices' peaks, and tells of doubts about it.
func (g *Sampler) core(r *Readings) {
	matched := false
	for _, d := range r.GPUs {
		matched = matched || d.UsedByJob != nil && *d.UsedByJob
	}
	best := -1
	for i, d := range r.GPUs {
		if matched && (d.UsedByJob == nil || !*d.UsedByJob) {
			continue
		}
		if len(d.ForeignProcesses) > 0 && (matched || len(r.GPUs) == 1) {
			r.Notes.Doubt(schema.CodeForeignProcesses, schema.Warning,
				fmt.Sprintf("processes that are not the command's had memory on GPU %d, %d in all: its peak, power and energy are theirs too", d.Index, len(d.ForeignProcesses)),
				&schema.Evidence{Field: fmt.Sprintf("gpus.%d.foreign_processes", i), Value: len(d.ForeignProcesses), Threshold: 0})
		}
		if d.PeakBytes != nil && (best < 0 || *d.PeakBytes > *r.GPUs[best].PeakBytes) {
			best = i
		}
	}
	if best < 0 {
		r.Notes.Missing("peak_vram_gb", "no reading of a GPU's memory succeeded while the command ran")
		return
	}
	r.PeakVRAMGB = schema.F(float64(*r.GPUs[best].PeakBytes) / (1 << 30))
	if !matched {
		why := "no process of the command was seen on a sampled GPU"
		if u := g.unmatchable(); u != "" {
			why = u
		}
		r.Notes.Doubt(schema.CodeDevicesNotMatched, schema.Warning,
			fmt.Sprintf("%s: peak_vram_gb is the highest peak of all %d sampled", why, len(r.GPUs)),
			&schema.Evidence{Field: "peak_vram_gb", Value: *r.PeakVRAMGB})
	}
}

// window tells of parts of the run that were not sampled.
func (g *Sampler) window(r *Readings, list []memory, state watchState) {
	if g.stuck != "" {
		message := fmt.Sprintf("the driver did not return from %s within %.0f s after the command's end: what it told before counts", g.stuck, stopWithin.Seconds())
		if !state.busySince.IsZero() && !g.started.IsZero() {
			message = fmt.Sprintf("the driver did not return from %s, asked %.3f s after the command's start: what it told before counts", g.stuck, state.busySince.Sub(g.started).Seconds())
		}
		r.Notes.Doubt(schema.CodeGPUDriverStuck, schema.Warning, message, nil)
	}
	if g.broken != "" {
		r.Notes.Doubt(schema.CodeGPUSamplingBroke, schema.Warning, g.broken, nil)
	}
	for i, m := range list {
		if m.samples == 0 || g.started.IsZero() {
			continue
		}
		if late := m.countedFirst.Sub(g.started); late > lateTolerance+m.maxGap {
			r.Notes.Doubt(schema.CodeGPUSamplingLate, schema.Warning,
				fmt.Sprintf("the first reading of GPU %d came %.3f s after the command's start: a peak before it is not known", r.GPUs[i].Index, late.Seconds()),
				&schema.Evidence{Field: fmt.Sprintf("gpus.%d.sampling", i), Value: schema.Float(late.Seconds()), Threshold: schema.Float(lateTolerance.Seconds())})
		}
	}
}
