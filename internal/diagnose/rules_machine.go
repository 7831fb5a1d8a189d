package diagnose

import (
	"fmt"
	"slices"

	"github.com/vobs/vobs/schema"
)

// stalledField is the expression of [figures.stalledSeconds].
const stalledField = "seconds in a row of series " + curveWaiting + " above 0 while " + curveGenerationRate + " and " + curvePromptRate + " are 0"

// stalledSeconds returns the longest time in which requests waited and no token counter moved.
func (f *figures) stalledSeconds() (figure, string) {
	s := f.series
	if name := s.missing(curveWaiting, curveGenerationRate, curvePromptRate); name != "" {
		return figure{}, "the event has no series " + name
	}
	flat := func(slot int) bool {
		return s.isIn(curveWaiting, 0.5, inf)(slot) && s.isIn(curveGenerationRate, 0, 0)(slot) && s.isIn(curvePromptRate, 0, 0)(slot)
	}
	return figure{field: stalledField, x: s.longest(flat), known: true}, ""
}

// admissionStalled looks for requests that wait while nothing moves.
func admissionStalled(f *figures) result {
	if f.duration.known && f.duration.x < stallSeconds {
		return missing("the run is shorter than %d s", stallSeconds)
	}
	stalled, why := f.stalledSeconds()
	switch {
	case why != "":
		return missing("%s", why)
	case stalled.x < stallSeconds:
		return healthy
	}
	return found(schema.FindingCritical, 0.9, fmt.Sprintf("requests waited for %.0f s while no token counter moved", stalled.x), stalled.is(">=", float64(stallSeconds))).
		because("the engine was paused: sleep mode, an update of the weights, a compilation", "the scheduler cannot admit the first request of the queue", "the engine core hangs").
		settledBy("the server's log at that time, and a stack trace of the engine core (py-spy dump)")
}

// speculativeWaste looks for drafted tokens that are rarely accepted.
func speculativeWaste(f *figures) result {
	const (
		rarely    = 0.1 // of the drafts
		minDrafts = 100
	)
	s := f.engine.Speculative
	if s == nil || s.Drafts == nil || *s.Drafts == 0 {
		return healthy // not configured
	}
	if *s.Drafts < minDrafts {
		return missing("fewer than %d drafts", minDrafts)
	}
	if len(s.AcceptedPerPosition) == 0 {
		return missing("%s", unknown(figure{field: "engine.speculative.accepted_per_position"}))
	}
	drafts, useful := float64(*s.Drafts), 0
	for _, n := range s.AcceptedPerPosition {
		if float64(n)/drafts < rarely {
			break
		}
		useful++
	}
	positions := len(s.AcceptedPerPosition)
	if useful == positions {
		return healthy
	}
	last := figure{field: fmt.Sprintf("engine.speculative.accepted_per_position.%d / engine.speculative.drafts", useful), x: float64(s.AcceptedPerPosition[useful]) / drafts, known: true}
	severity := schema.FindingInfo
	step := f.tokensPerStep()
	rate := from("engine.speculative.acceptance_rate", s.AcceptanceRate)
	if useful == 0 || rate.known && rate.x < 2*rarely || step.known && step.x >= weightsBoundTokens {
		severity = schema.FindingWarning
	}
	r := found(severity, 0.8, fmt.Sprintf("the drafted token at position %d is accepted in %.1f %% of the drafts: computing it is wasted", useful+1, 100*last.x), last.is("<", rarely))
	if step.known && step.x >= weightsBoundTokens {
		r.finding.Evidence = append(r.finding.Evidence, step.is(">=", float64(weightsBoundTokens)))
	}
	if useful == 0 {
		return r.because("the draft model or the n-grams do not fit the load").
			fix("--speculative-config", nil, "leave it out", "fewer tokens are computed for each that is returned; tokens per second rise, most of all in large batches")
	}
	return r.because("num_speculative_tokens is higher than the acceptance supports").
		fix("--speculative-config.num_speculative_tokens", int64(useful), fmt.Sprintf("it is %d, and later positions are accepted in under %.0f %% of the drafts", positions, 100*rarely), "fewer tokens are computed for each that is returned; tokens per second rise, most of all in large batches")
}

// cpuBoundHost looks for processes that wait for a CPU.
func cpuBoundHost(f *figures) result {
	const (
		pressure   = 0.25
		minSeconds = 10
	)
	h := f.event.Host
	if f.event.Run.DurationSeconds < minSeconds {
		return missing("the run is shorter than %d s", minSeconds)
	}
	if h == nil || h.PressureSomeSeconds == nil || h.PressureSomeSeconds.CPU == nil {
		return missing("%s", unknown(figure{field: "host.pressure_some_seconds.cpu"}))
	}
	share := from("host.pressure_some_seconds.cpu", h.PressureSomeSeconds.CPU).over(figure{field: "run.duration_seconds", x: float64(f.event.Run.DurationSeconds), known: true})
	if !share.known || share.x < pressure {
		return healthy
	}
	share.x = min(share.x, 1) // it is read a moment before the start, and after the end
	return found(schema.FindingWarning, 0.6, fmt.Sprintf("in %.0f %% of the run processes on this host waited for a CPU: the engine's own may be among them", 100*share.x), share.is(">=", pressure)).
		because("more busy processes than CPUs: data loaders, other jobs, a CPU limit on the container").
		settledBy("whether the engine's processes are on this host, and their own pressure (/sys/fs/cgroup/…/cpu.pressure)")
}

// throttledGPU looks for GPUs whose clocks were reduced by more than the power cap.
func throttledGPU(f *figures) result {
	if len(f.event.GPUs) == 0 {
		return missing("no GPU was sampled")
	}
	i := slices.IndexFunc(f.event.Validity, func(v schema.Validity) bool { return v.Code == schema.CodeThrottled && v.Severity == schema.Warning })
	if i < 0 {
		return healthy
	}
	v := f.event.Validity[i]
	e := noted(v.Code)
	if v.Evidence != nil {
		e = schema.DiagnosisEvidence{Field: v.Evidence.Field, Value: v.Evidence.Value, Operator: ">", Threshold: v.Evidence.Threshold}
	}
	return found(schema.FindingWarning, 0.9, v.Message, e).because("cooling, the power supply, or a power brake of the data center")
}

// gpuUnderfed looks for GPUs that wait for work within a step. NVML's utilization cannot show
// that: it is near 100 % whenever a kernel is resident.
func gpuUnderfed(f *figures) result {
	const smActive, dramActive, tensorActive = 0.5, 0.3, 0.2
	known := false
	for i := range f.event.GPUs {
		g := &f.event.GPUs[i]
		if g.UsedByJob == nil || !*g.UsedByJob || g.SMActive == nil || g.DRAMActive == nil || g.TensorActive == nil {
			continue
		}
		known = true
		at := func(key string, m *schema.MeanMax) figure {
			return from(fmt.Sprintf("gpus.%d.%s.mean", i, key), &m.Mean)
		}
		sm, dram, tensor := at("sm_active", g.SMActive), at("dram_active", g.DRAMActive), at("tensor_active", g.TensorActive)
		if f.binding == schema.BindingClient || sm.x >= smActive || dram.x >= dramActive || tensor.x >= tensorActive {
			continue
		}
		return found(schema.FindingWarning, 0.6, fmt.Sprintf("GPU %d is idle in most of the time although requests run: each step waits for the host", g.Index),
			sm.is("<", smActive), dram.is("<", dramActive), tensor.is("<", tensorActive)).
			because("CUDA graphs are off (--enforce-eager), or batches are larger than those captured", "the engine core's CPU is slow or shared").
			settledBy("a trace of some steps (nsys, or the torch profiler)")
	}
	if !known {
		return missing("no GPU's SM, DRAM and tensor activity are known (NVML's GPM, or a dcgm-exporter as --metrics-url): its utilization says only that a kernel was resident")
	}
	return healthy
}
