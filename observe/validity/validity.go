// Package validity decides what casts doubt on a finished event as a whole. Doubts about
// single figures are noted where the figures are made, in sampler and probe.
//
// There is one rule for each code. A rule is a pure function of the event and of the
// few readings that the event has no key for. It notes a doubt only for what was read: a rule
// that cannot be evaluated notes nothing.
package validity

import (
	"time"

	"github.com/vobs/vobs/schema"
)

// Input is what the rules look at.
type Input struct {
	// Event is complete but for its notes. The rules do not change it.
	Event *schema.GenerationObservability
	// Died reports whether an engine core died (validity engine_died).
	Died bool
	// Engines is what the event has no key for about the engines.
	Engines Engines
	// Throttling has an element for each of the event's GPUs. It may be shorter.
	Throttling []Throttling
	// CPU is how the host's CPUs were used; nil if that is unknown.
	CPU *CPU
	// OOM is which processes were killed for lack of memory; nil if that is unknown.
	OOM *OOM
	// ClockJump is by how much the wall clock advanced more than the monotonic one.
	ClockJump time.Duration
	// Profiler is the profiler that the command line starts; "" if it starts none.
	Profiler string
}

// Engines describes the engines behind the event's endpoints.
type Engines struct {
	// WarmCache is about the engines that had served requests before the run; nil if there
	// are none, or if it is unknown what they took from their caches.
	WarmCache *WarmCache
	// CameUp are the addresses whose engine came up during the run and served requests.
	CameUp []string
	// WithoutStats are the addresses where vLLM answers without vLLM's samples.
	WithoutStats []string
	// Profiled are the addresses whose server was asked to start a profiler, during the run
	// or before it, and in the latter case not to stop it.
	Profiled []string
}

// WarmCache counts prompt tokens.
type WarmCache struct {
	// Hits are those that engines which had served requests before the run found in their own
	// prefix caches during the run.
	Hits int64
	// Prompt are those of all engines in the run.
	Prompt int64
}

// Throttling counts readings of why a GPU's clocks were reduced.
type Throttling struct {
	// Readings are all of them.
	Readings int64
	// Hardware are those with a hardware slowdown, heat or a power brake.
	Hardware int64
	// PowerCap are those with the software power cap and none of these.
	PowerCap int64
}

// CPU is how the host's CPUs were used between two readings, in CPU time.
type CPU struct {
	// Count is the number of CPUs, Elapsed the time between the readings.
	Count   int
	Elapsed time.Duration
	// Busy is the time of all processes, Own that of the command's, the engines' and vobs's.
	Busy, Own time.Duration
	// Uncertain is by how much Busy less Own may be too high.
	Uncertain time.Duration
	// Steal is the time that the hypervisor gave to other guests.
	Steal time.Duration
}

// OOM is what the counter of the command's cgroup shows, or the kernel's log.
type OOM struct {
	// Kills are the processes that were killed for lack of memory during the run.
	Kills int64
	// Shared reports whether the cgroup may have had processes that are not the command's.
	Shared bool
	// Logged names the command's processes that were killed by the kernel's log, if the counter
	// shows none.
	Logged []string
}

// rules are all rules, in the order of their notes in the event.
var rules = []struct {
	code  schema.Code
	check func(Input, *schema.Notes)
}{
	{schema.CodeNonzeroExit, nonzeroExit},
	{schema.CodeInterrupted, interrupted},
	{schema.CodeOOMKilled, oomKilled},
	{schema.CodeProfiled, profiled},
	{schema.CodeFlagDidNotEngage, flagDidNotEngage},
	{schema.CodeStatsDisabled, statsDisabled},
	{schema.CodeEngineShared, engineShared},
	{schema.CodeWarmPrefixCache, warmPrefixCache},
	{schema.CodeEngineWarmedUp, engineWarmedUp},
	{schema.CodeForeignProcesses, foreignProcesses},
	{schema.CodeDirtyVRAMBaseline, dirtyVRAMBaseline},
	{schema.CodeThrottled, throttled},
	{schema.CodeBusyHost, busyHost},
	{schema.CodeClockJump, clockJump},
	{schema.CodeSparseSamples, sparseSamples},
}

// Check adds the doubts about an event to its notes.
func Check(in Input, notes *schema.Notes) {
	for _, r := range rules {
		r.check(in, notes)
	}
}
