// Package schema defines the event: the JSON document that vobs writes about one
// generation run.
//
// The types here are the contract with every consumer. The first eight keys of
// [GenerationObservability] are the frozen core: they have the names, types and
// order of NeMo Safe Synthesizer's GenerationObservability. All other keys are
// additive. Within one [Version] a key is never renamed, retyped, removed or
// given another meaning. New keys may appear, so consumers must ignore keys that
// they do not know, except in the core.
//
// An event stays valid for ever. A key that is newer than the first events of its
// [Version] is therefore optional in the JSON Schema, and nullable here: absent
// from an older event, it reads as null, which means that the vobs that wrote the
// event did not measure it. Keys are optional unless
// internal/schemagen/required.txt lists them.
//
// Sizes are bytes, times are seconds, fractions are from 0 to 1; only the core
// keeps NeMo Safe Synthesizer's `_gb` (GiB) and `_perc` (a fraction). A figure
// that could not be measured is null, and an entry of `unavailable` gives the
// reason, for the figure or for a group above it.
//
// The types are the single source: event.schema.json and the tables of
// docs/event.md are generated from them and their comments. [Fields] describes
// every figure, [Codes] every validity code.
package schema

//go:generate go run ./internal/schemagen -o event.schema.json -doc ../docs/event.md -python ../python/vobs/models.py

// Version is the schema_version that this package writes.
const Version = 1

// GenerationObservability is one event: the record of one run of one command.
type GenerationObservability struct {
	Core

	// Version of the schema that this event follows.
	SchemaVersion int `json:"schema_version" kind:"identity"`
	// True in a preliminary event, written while the command is still running.
	Partial bool `json:"partial"`
	// Intended engine settings that did not take effect, as `name: intended=… actual=…`; null if none could be compared.
	FlagMismatches []string `json:"flag_mismatches" schema:"nullable"`
	// Intended settings that were compared, by value, with what the engine reports; null if no comparison was made.
	FlagsChecked []string `json:"flags_checked" schema:"nullable"`
	// Intended settings that could not be compared, with the reason; null if no comparison was made.
	FlagsUnchecked []FlagUnchecked `json:"flags_unchecked" schema:"nullable"`
	// The command and how it ended.
	Run Run `json:"run"`
	// What vobs itself cost.
	Overhead *Overhead `json:"overhead"`
	// The host and the command's process tree.
	Host *Host `json:"host"`
	// The GPUs visible to the command: [] if there are none, null if NVML is unavailable.
	GPUs []GPU `json:"gpus" schema:"nullable"`
	// Metrics of the inference engine over the run's window.
	Engine *Engine `json:"engine"`
	// Metrics of a vllm-omni pipeline.
	Omni *Omni `json:"omni"`
	// Figures that combine GPU and engine readings.
	Efficiency *Efficiency `json:"efficiency"`
	// How figures went over the run.
	Series *Series `json:"series"`
	// What limits the engine, and what to change. Null if no engine was read.
	Diagnosis *Diagnosis `json:"diagnosis"`
	// What a load generator measured of its requests. Null if none reported to this run.
	Client *Client `json:"client"`
	// What casts doubt on figures of this event.
	Validity []Validity `json:"validity"`
	// Which figures are null, and why.
	Unavailable []Unavailable `json:"unavailable"`
}

// Core is the frozen part of the event, as NeMo Safe Synthesizer defines it
// (nemo_safe_synthesizer/generation/vllm_observability.py, a pydantic model
// with extra="forbid"): a strict consumer accepts these eight keys and no
// others.
type Core struct {
	// Peak device-wide memory in GiB: the highest peak of any single GPU that the command used, or of any sampled GPU if none can be matched with the command.
	PeakVRAMGB *Float `json:"peak_vram_gb" kind:"sampled peak" unit:"GiB" better:"lower"`
	// Last reading of KV-cache usage as a fraction from 0 to 1, the highest over all engines. For the true peak see `engine.kv_cache.usage.peak`.
	KVCacheUsagePerc *Float `json:"kv_cache_usage_perc" kind:"reading" unit:"fraction"`
	// Prefix-cache hits divided by queries over the run's window, both in tokens and summed over all engines.
	PrefixCacheHitRate *Float `json:"prefix_cache_hit_rate" kind:"ratio" unit:"fraction" better:"higher"`
	// Accepted divided by drafted speculative tokens over the run's window, summed over all engines.
	SpecAcceptRate *Float `json:"spec_accept_rate" kind:"ratio" unit:"fraction" better:"higher"`
	// Load averages of the host over 1, 5 and 15 minutes, read before the command started.
	LoadavgPre *LoadAvg `json:"loadavg_pre" kind:"reading" unit:"tasks"`
	// Load averages of the host over 1, 5 and 15 minutes, read after the command ended.
	LoadavgPost *LoadAvg `json:"loadavg_post" kind:"reading" unit:"tasks"`
	// The engine's effective settings: those of NeMo Safe Synthesizer's six keys that could be read.
	EngineRuntimeConfig EngineRuntimeConfig `json:"engine_runtime_config"`
	// True if an intended setting differs from the effective one, among the five that NeMo Safe Synthesizer compares: max_num_seqs, max_num_batched_tokens, enable_chunked_prefill, enable_prefix_caching, kv_cache_dtype. `flag_mismatches` covers all settings. False also if nothing was compared: see `flags_checked`.
	FlagDidNotEngage bool `json:"flag_did_not_engage"`
}

// LoadAvg holds the load averages of /proc/loadavg over 1, 5 and 15 minutes:
// the mean number of runnable and uninterruptible tasks on the whole host.
type LoadAvg [3]Float

// EngineRuntimeConfig has NeMo Safe Synthesizer's keys only. A setting that is
// not known is absent, never null (as in nemo_safe_synthesizer's
// probe_engine_runtime_config).
type EngineRuntimeConfig struct {
	// Maximum number of sequences per scheduler step.
	MaxNumSeqs *int64 `json:"max_num_seqs,omitempty" kind:"configuration" unit:"requests"`
	// Maximum number of tokens per scheduler step.
	MaxNumBatchedTokens *int64 `json:"max_num_batched_tokens,omitempty" kind:"configuration" unit:"tokens"`
	// Whether chunked prefill is enabled.
	EnableChunkedPrefill *bool `json:"enable_chunked_prefill,omitempty"`
	// Whether prefix caching is enabled.
	EnablePrefixCaching *bool `json:"enable_prefix_caching,omitempty"`
	// Data type of the KV cache, as the engine spells it.
	KVCacheDtype *string `json:"kv_cache_dtype,omitempty"`
	// Method of speculative decoding.
	SpeculativeMethod *string `json:"speculative_method,omitempty"`
}

// CheckedFields are the settings that flag_did_not_engage covers, in the order of
// NeMo Safe Synthesizer (ENGINE_CONFIG_CHECKED_FIELDS of nemo_safe_synthesizer's
// generation/vllm_observability.py). speculative_method is not among them.
var CheckedFields = [...]string{"max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "enable_prefix_caching", "kv_cache_dtype"}

// FlagUnchecked is an intended setting that could not be compared.
type FlagUnchecked struct {
	// Name of the setting.
	Flag string `json:"flag"`
	// Why it could not be compared.
	Reason string `json:"reason"`
}

// Run identifies the run and describes how the command ended.
type Run struct {
	// Identity of this run: a version 7 UUID, which sorts by time.
	ID string `json:"id"`
	// The command's arguments, with secrets replaced by `<redacted>`; at most 64 KiB in all. With `--command names` the program and the names of its flags; with `--command none` one text, `sha256:` and the SHA-256 of the redacted arguments, each followed by a NUL.
	Command []string `json:"command"`
	// Labels given with `--label`.
	Labels map[string]string `json:"labels"`
	// When the command was started (UTC, RFC 3339).
	StartedAt string `json:"started_at"`
	// When the command ended (UTC, RFC 3339); null in a partial event.
	EndedAt *string `json:"ended_at"`
	// How long the command ran, by the monotonic clock.
	DurationSeconds Float `json:"duration_seconds" kind:"duration" unit:"seconds" better:"lower"`
	// The command's exit code; null if a signal killed it, if it never started, or if it is still running.
	ExitCode *int `json:"exit_code" kind:"identity"`
	// Name of the signal that killed the command, such as SIGTERM; null if it exited.
	Signal *string `json:"signal"`
	// Whether the command left a core dump.
	CoreDumped bool `json:"core_dumped"`
	// Whether a shutdown signal reached vobs or its terminal while the command ran.
	Interrupted bool `json:"interrupted"`
	// Why the command could not be started; null if it was.
	StartError *string `json:"start_error"`
	// Descendants of the command that outlived it.
	Leftovers []Leftover `json:"leftovers"`
	// Name of the host.
	Hostname string `json:"hostname"`
	// Version of vobs that wrote this event.
	VobsVersion string `json:"vobs_version"`
}

// Leftover is a descendant of the command that outlived it.
type Leftover struct {
	// Process id.
	PID int `json:"pid" kind:"identity"`
	// Its command line, or its name if it has none, with secrets redacted; shown as `run.command` is.
	Command string `json:"command"`
	// Resident memory; null if it could not be read.
	RSSBytes *int64 `json:"rss_bytes" kind:"reading" unit:"bytes"`
	// Memory it holds on the sampled GPUs; null if unknown.
	GPUMemoryBytes *int64 `json:"gpu_memory_bytes" kind:"reading" unit:"bytes"`
}

// Overhead is what vobs itself cost.
type Overhead struct {
	// User and system CPU time of the vobs process, from its start until this event was assembled.
	CPUSeconds Float `json:"cpu_seconds" kind:"counter" unit:"seconds" better:"lower"`
	// Peak resident memory of the vobs process.
	MaxRSSBytes *int64 `json:"max_rss_bytes" kind:"peak" unit:"bytes" better:"lower"`
}

// Host describes the host and the command's process tree.
type Host struct {
	// CPUs of the host (load averages are host-wide).
	CPUCount *int `json:"cpu_count" kind:"configuration" unit:"CPUs"`
	// CPU limit of the cgroup; null if it sets none.
	CPULimit *Float `json:"cpu_limit" kind:"configuration" unit:"CPUs"`
	// Memory of the host.
	MemoryTotalBytes *int64 `json:"memory_total_bytes" kind:"configuration" unit:"bytes"`
	// Memory limit of the cgroup; null if it sets none.
	MemoryLimitBytes *int64 `json:"memory_limit_bytes" kind:"configuration" unit:"bytes"`
	// User and system CPU time of the command and its descendants.
	TreeCPUSeconds *Float `json:"tree_cpu_seconds" kind:"counter" unit:"seconds" better:"lower"`
	// Highest sampled sum of the resident memory of the command and its descendants. Shared pages count once per process. A lower bound.
	TreePeakRSSBytes *int64 `json:"tree_peak_rss_bytes" kind:"sampled peak" unit:"bytes" better:"lower"`
	// Time during the run in which at least one task on the host was stalled on a resource (the `some` lines of /proc/pressure).
	PressureSomeSeconds *Pressure `json:"pressure_some_seconds" unit:"seconds" better:"lower"`
	// Energy of the host's CPU packages and, where the CPU counts it, their memory, for all processes, from RAPL. Mostly only root may read it.
	EnergyJoules *Float `json:"energy_joules" kind:"counter" unit:"joules" better:"lower"`
	// How the process tree was sampled.
	Sampling *Sampling `json:"sampling"`
}

// Pressure is the time in which at least one task was stalled on a resource, in
// seconds.
type Pressure struct {
	// Stalled on a CPU.
	CPU *Float `json:"cpu" kind:"counter"`
	// Stalled on memory.
	Memory *Float `json:"memory" kind:"counter"`
	// Stalled on I/O.
	IO *Float `json:"io" kind:"counter"`
}

// Sampling describes how often something was read. A peak that lasted less than
// the longest gap may have been missed.
type Sampling struct {
	// Mean time between two readings; null with fewer than two.
	PeriodSeconds *Float `json:"period_seconds" kind:"coverage" unit:"seconds"`
	// Readings taken.
	Samples int64 `json:"samples" kind:"coverage" unit:"readings"`
	// Readings that failed.
	Errors int64 `json:"errors" kind:"coverage" unit:"readings"`
	// Longest time between two readings; null with fewer than two.
	MaxGapSeconds *Float `json:"max_gap_seconds" kind:"coverage" unit:"seconds"`
}

// Efficiency combines readings of the GPUs and the engine. Energy is the sum of
// `energy_active_joules` over the GPUs with `used_by_job`; that of the rest of the
// host is not included.
type Efficiency struct {
	// Active energy of the command's GPUs per generated token.
	JoulesPerGenerationToken *Float `json:"joules_per_generation_token" kind:"ratio" unit:"joules/token" better:"lower"`
	// Active energy of the command's GPUs per token that the engine computed: generated tokens, and prompt tokens that came from no cache.
	JoulesPerComputedToken *Float `json:"joules_per_computed_token" kind:"ratio" unit:"joules/token" better:"lower"`
	// Active energy of the command's GPUs per finished request.
	JoulesPerRequest *Float `json:"joules_per_request" kind:"ratio" unit:"joules/request" better:"lower"`
	// `engine.throughput.generation_tokens_per_second`, divided by the number of GPUs that the command used.
	GenerationTokensPerSecondPerGPU *Float `json:"generation_tokens_per_second_per_gpu" kind:"ratio" unit:"tokens/second/GPU" better:"higher"`
}

// Severity is how much a validity note matters.
type Severity string

// The severities of a [Validity] note.
const (
	Info    Severity = "info"
	Warning Severity = "warning"
	Error   Severity = "error"
)

// Validity is a doubt about figures of this event.
type Validity struct {
	// Stable name of the kind of doubt, such as `short_window`.
	Code Code `json:"code"`
	// How much it matters.
	Severity Severity `json:"severity" enum:"info,warning,error"`
	// What was observed and what it means for the figures.
	Message string `json:"message"`
	// The figure behind the note; null if it rests on no single one.
	Evidence *Evidence `json:"evidence"`
}

// Evidence is the figure behind a validity note.
type Evidence struct {
	// Path of the figure in this event.
	Field string `json:"field"`
	// Its value.
	Value any `json:"value"`
	// The limit that it was compared with.
	Threshold any `json:"threshold"`
}

// Unavailable explains why a figure or a group of figures is null.
type Unavailable struct {
	// Path of the figure in this event, such as `gpus.0.baseline_bytes`.
	Field string `json:"field"`
	// Why it is null and, if possible, how to get it.
	Reason string `json:"reason"`
}

// Notes collects reasons for missing figures and doubts about present ones. The
// zero value is ready to use.
type Notes struct {
	Unavailable []Unavailable
	Validity    []Validity
}

// Missing records why the figure at the path field is null. Only the first reason
// for a field is kept: it is the cause, later ones are consequences.
func (n *Notes) Missing(field, reason string) {
	for _, u := range n.Unavailable {
		if u.Field == field {
			return
		}
	}
	n.Unavailable = append(n.Unavailable, Unavailable{Field: field, Reason: reason})
}

// Doubt records a validity note. Evidence may be nil.
func (n *Notes) Doubt(code Code, severity Severity, message string, evidence *Evidence) {
	n.Validity = append(n.Validity, Validity{Code: code, Severity: severity, Message: message, Evidence: evidence})
}

// Add appends the entries of other.
func (n *Notes) Add(other Notes) {
	for _, u := range other.Unavailable {
		n.Missing(u.Field, u.Reason)
	}
	n.Validity = append(n.Validity, other.Validity...)
}
