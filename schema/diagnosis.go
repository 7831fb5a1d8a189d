package schema

// Diagnosis is what the event's own figures show about the engine's limits.
type Diagnosis struct {
	// What limits the engine's throughput: the one resource to change first.
	BindingResource BindingResource `json:"binding_resource"`
	// What is wrong, or could be better, the most severe first.
	Findings []Finding `json:"findings"`
	// The rules that could not be evaluated: what they look for may or may not be the case.
	NotEvaluated []NotEvaluated `json:"not_evaluated"`
}

// BindingResource is the verdict of a [Diagnosis].
type BindingResource struct {
	// `concurrency_cap`, max_num_seqs; `cap_or_compute`, max_num_seqs, or the GPU's compute: which of the two is unknown; `compute`, the GPU's compute; `kv_cache`, the size of the KV cache; `token_budget`, max_num_batched_tokens; `frontend`, the API server; `client`, the load: the engine could take more; `offload`, loads from the KV offload tiers; `kv_transfer`, KV transfers between servers; `stalled`, nothing moved although requests waited; `unknown`.
	Code BindingCode `json:"code" enum:"concurrency_cap,cap_or_compute,compute,kv_cache,token_budget,frontend,client,offload,kv_transfer,stalled,unknown"`
	// How sure the verdict is, from 0 to 1. docs/diagnosis.md says what it rests on.
	Confidence Float `json:"confidence" kind:"coverage" unit:"fraction"`
	// The figures that it rests on.
	Evidence []DiagnosisEvidence `json:"evidence"`
	// What would settle the verdict; empty if nothing more is needed.
	WouldSettle []string `json:"would_settle"`
}

// BindingCode is the code of a [BindingResource].
type BindingCode string

// The values of `diagnosis.binding_resource.code`.
const (
	BindingConcurrencyCap BindingCode = "concurrency_cap"
	BindingCapOrCompute   BindingCode = "cap_or_compute"
	BindingCompute        BindingCode = "compute"
	BindingKVCache        BindingCode = "kv_cache"
	BindingTokenBudget    BindingCode = "token_budget"
	BindingFrontend       BindingCode = "frontend"
	BindingClient         BindingCode = "client"
	BindingOffload        BindingCode = "offload"
	BindingKVTransfer     BindingCode = "kv_transfer"
	BindingStalled        BindingCode = "stalled"
	BindingUnknown        BindingCode = "unknown"
)

// Finding is one finding of a [Diagnosis].
type Finding struct {
	// The rule's code: see docs/diagnosis.md.
	Code FindingCode `json:"code"`
	// `info`, worth knowing; `warning`, it costs latency or throughput; `critical`, requests fail, or the engine does.
	Severity FindingSeverity `json:"severity" enum:"info,warning,critical"`
	// How sure the finding is, from 0 to 1.
	Confidence Float `json:"confidence" kind:"coverage" unit:"fraction"`
	// What was found, as a sentence.
	Message string `json:"message"`
	// The figures that it rests on.
	Evidence []DiagnosisEvidence `json:"evidence"`
	// Likely causes, the likeliest first.
	Causes []string `json:"causes"`
	// What to change.
	Fixes []Fix `json:"fixes"`
	// What would settle a finding that is not sure; empty if nothing more is needed.
	WouldSettle []string `json:"would_settle"`
}

// FindingSeverity is the severity of a [Finding].
type FindingSeverity string

// The values of `diagnosis.findings.*.severity`.
const (
	FindingInfo     FindingSeverity = "info"
	FindingWarning  FindingSeverity = "warning"
	FindingCritical FindingSeverity = "critical"
)

// DiagnosisEvidence is a figure, and what it was compared with.
type DiagnosisEvidence struct {
	// Path of the figure in the event. An expression of several paths, such as `engine.requests.preemptions / engine.requests.finished`, if it is computed from them.
	Field string `json:"field"`
	// The figure's value.
	Value any `json:"value"`
	// How it compares with the threshold.
	Operator string `json:"operator" enum:"<,<=,==,!=,>=,>"`
	// What it was compared with.
	Threshold any `json:"threshold"`
}

// Fix is one change that a [Finding] suggests.
type Fix struct {
	// The flag of `vllm serve`, such as `--max-num-seqs`; empty for a change that is no flag.
	Flag string `json:"flag"`
	// The flag's suggested value; null if there is none.
	Value any `json:"value"`
	// Why, and how the value was computed.
	Reason string `json:"reason"`
	// What is expected to rise and to fall.
	Effect string `json:"effect"`
}

// NotEvaluated is a rule that could not be evaluated.
type NotEvaluated struct {
	// The rule's code.
	Code FindingCode `json:"code"`
	// What is missing, as a sentence.
	Reason string `json:"reason"`
}

// FindingCode names a rule of a [Diagnosis]. Codes are stable.
type FindingCode string

// The rules of the default preset.
const (
	FindingKVCacheThrashing          FindingCode = "kv_cache_thrashing"
	FindingConcurrencyCap            FindingCode = "concurrency_cap"
	FindingTokenBudgetBound          FindingCode = "token_budget_bound"
	FindingPrefillDecodeInterference FindingCode = "prefill_decode_interference"
	FindingAdmissionStalled          FindingCode = "admission_stalled"
	FindingQueueSaturation           FindingCode = "queue_saturation"
	FindingFrontendBound             FindingCode = "frontend_bound"
	FindingClientLimited             FindingCode = "client_limited"
	FindingPrefixCacheIneffective    FindingCode = "prefix_cache_ineffective"
	FindingKVNotReleased             FindingCode = "kv_not_released"
	FindingHostMemoryLeak            FindingCode = "host_memory_leak"
	FindingGPUMemoryGrowth           FindingCode = "gpu_memory_growth"
	FindingOffloadBound              FindingCode = "offload_bound"
	FindingKVTransferFailures        FindingCode = "kv_transfer_failures"
	FindingSpeculativeWaste          FindingCode = "speculative_waste"
	FindingReplicaImbalance          FindingCode = "replica_imbalance"
	FindingEngineErrors              FindingCode = "engine_errors"
	FindingEngineRestarts            FindingCode = "engine_restarts"
	FindingAbortedRequests           FindingCode = "aborted_requests"
	FindingCPUBoundHost              FindingCode = "cpu_bound_host"
	FindingThrottledGPU              FindingCode = "throttled_gpu"
	FindingGPUUnderfed               FindingCode = "gpu_underfed"
	// FindingLongRunningRequests cannot be evaluated from outside the engine; the rule is the
	// production document's check for requests that run for over 300 s.
	FindingLongRunningRequests FindingCode = "long_running_requests"
)

// The rules that only the preset `document` has.
const (
	FindingDocumentPrefillStarvation   FindingCode = "prefill_starvation"
	FindingDocumentGPUUnderutilization FindingCode = "gpu_underutilization"
	FindingDocumentMemoryLeak          FindingCode = "memory_leak"
	FindingDocumentPrefixCacheMisses   FindingCode = "prefix_cache_misses"
)

// FillLists replaces nil lists by empty ones, and numbers without a JSON form by nil.
func (d *Diagnosis) FillLists() {
	evidence := func(list *[]DiagnosisEvidence) {
		fill(list)
		for i := range *list {
			(*list)[i].Value = finite((*list)[i].Value)
			(*list)[i].Threshold = finite((*list)[i].Threshold)
		}
	}
	evidence(&d.BindingResource.Evidence)
	fill(&d.BindingResource.WouldSettle)
	fill(&d.Findings)
	fill(&d.NotEvaluated)
	for i := range d.Findings {
		f := &d.Findings[i]
		evidence(&f.Evidence)
		fill(&f.Causes)
		fill(&f.Fixes)
		fill(&f.WouldSettle)
		for j := range f.Fixes {
			f.Fixes[j].Value = finite(f.Fixes[j].Value)
		}
	}
}
