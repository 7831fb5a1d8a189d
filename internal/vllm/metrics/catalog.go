package metrics

import (
	"slices"
	"strings"
)

// ID is one metric, whatever name an engine version gives it.
type ID int

// The metrics of a plain engine. Those of KV offloading and KV connectors are in
// kvoffload.go, those of vllm-omni in omni.go, those of the API server in http.go.
const (
	KVCacheUsage ID = iota
	RequestsRunning
	RequestsWaiting
	WaitingByReason
	PromptTokens
	PromptBySource
	PromptCachedBySource
	GenerationTokens
	RequestSuccess
	AdmissionRejections
	Preemptions
	PreemptionsPerRequest
	PrefixQueries
	PrefixHits
	ExternalQueries
	ExternalHits
	MultimodalQueries
	MultimodalHits
	SpecDrafts
	SpecDraftTokens
	SpecAccepted
	SpecAcceptedPerPosition
	TimeToFirstToken
	InterTokenLatency
	TimePerOutputToken
	E2ELatency
	QueueTime
	PrefillTime
	DecodeTime
	InferenceTime
	PromptPerRequest
	GenerationPerRequest
	TokensPerIteration
	CacheConfig
	ProcessStart
	endOfCore
)

// NumMetrics is the number of IDs, from 0.
const NumMetrics = endOfHTTP

// IsCore reports whether the metric is a plain engine's: not one of KV offloading, of a
// KV connector or of a diffusion model, and not vllm-omni's own.
func (m ID) IsCore() bool { return m < endOfCore }

// Kind returns the kind that all names of the metric have.
func (m ID) Kind() Kind { return descs[descsByMetric()[m][0]].Kind }

// CanonicalName returns the metric's newest name in vLLM's own naming, for messages.
func (m ID) CanonicalName() string { return descs[descsByMetric()[m][0]].name }

// IsPolled reports whether filtered scrapes request the metric.
func (m ID) IsPolled() bool {
	for _, i := range descsByMetric()[m] {
		if slices.Contains(PollNames, descs[i].name) || slices.Contains(OmniPollNames, descs[i].name) {
			return true
		}
	}
	return false
}

// IsFraction reports whether the metric is a gauge from 0 to 1.
func (m ID) IsFraction() bool {
	switch m {
	case KVCacheUsage, OffloadCPUPinned, OffloadCPUPinnedWrite, OffloadCPUPinnedRead, TierPinnedWrite, TierPinnedRead:
		return true
	}
	return false
}

// Kind is a metric's Prometheus type. Gauges have two kinds, by how the values of
// several engines combine.
type Kind uint8

// The kinds of a metric.
const (
	KindGauge    Kind = iota // the gauges of several engines add up
	KindGaugeMax             // they do not (fractions, peaks): the highest and the mean count
	KindCounter
	KindHistogram
	KindInfo // read as it stands: vllm:cache_config_info, process_start_time_seconds
)

// IsGauge reports whether the metric is a gauge of either kind.
func (k Kind) IsGauge() bool { return k == KindGauge || k == KindGaugeMax }

// Encoding is how the values under a name relate to the event's units: bytes and
// seconds.
type Encoding uint8

// The encodings of values.
const (
	Unscaled            Encoding = iota // in the event's unit
	Milliseconds                        // values are in ms
	Mebibytes                           // values are in MiB
	SumOnly                             // a histogram whose bucket bounds do not fit its values
	MillisecondsSumOnly                 // Milliseconds and SumOnly
)

// Scale returns the factor that converts values to the event's unit.
func (e Encoding) Scale() float64 {
	switch e {
	case Milliseconds, MillisecondsSumOnly:
		return 1e-3
	case Mebibytes:
		return 1 << 20
	}
	return 1
}

// HasQuantiles reports whether quantiles can be estimated from a histogram's buckets.
func (e Encoding) HasQuantiles() bool { return e != SumOnly && e != MillisecondsSumOnly }

// Desc describes one name of a metric.
type Desc struct {
	Metric ID
	Kind   Kind
	// name is the sample name in vLLM's own naming, for a histogram the family name.
	name string
	// Label is the label that splits the metric in the event; "" if none does.
	Label string
	// versions are the engine versions that export the name.
	versions string
	Encoding Encoding
}

// descs has every name that is read, the newest name of a metric first. An engine may
// export two names of a metric; they are never added up, package window selects one.
var descs = slices.Concat(coreDescs, offloadDescs, omniDescs, httpDescs)

// coreDescs are the names of a plain engine's metrics.
// Source: vllm/v1/metrics/loggers.py and vllm/v1/spec_decode/metrics.py, tags
// v0.8.0 to v0.20.2 and main of August 2026; checked against a running 0.32.0. "V0" is
// the engine before V1 (vllm/engine/metrics.py, 0.8 to 0.10 with VLLM_USE_V1=0): its
// series have no engine label. Its hit rates are gauges, from which no rate over a
// window follows; they are not read.
//
// request_time_per_output_token_seconds, the mean of each request's mean, has no
// older name: decode time divided by tokens is another quantity, which is already the
// mean of inter_token_latency.
var coreDescs = []Desc{
	{KVCacheUsage, KindGaugeMax, "vllm:kv_cache_usage_perc", "", "0.9.2 –", Unscaled},
	{KVCacheUsage, KindGaugeMax, "vllm:gpu_cache_usage_perc", "", "0.8 – 0.11.2 (0.11 hides it by default), V0", Unscaled},
	{RequestsRunning, KindGauge, "vllm:num_requests_running", "", "0.8 –, V0", Unscaled},
	{RequestsWaiting, KindGauge, "vllm:num_requests_waiting", "", "0.8 –, V0", Unscaled},
	{WaitingByReason, KindGauge, "vllm:num_requests_waiting_by_reason", "reason", "0.20 –", Unscaled},
	{PromptTokens, KindCounter, "vllm:prompt_tokens_total", "", "0.8 –, V0", Unscaled},
	{PromptBySource, KindCounter, "vllm:prompt_tokens_by_source_total", "source", "0.16 –", Unscaled},
	{PromptCachedBySource, KindCounter, "vllm:prompt_tokens_cached_by_source_total", "source", "after 0.20, in 0.32", Unscaled},
	{GenerationTokens, KindCounter, "vllm:generation_tokens_total", "", "0.8 –, V0", Unscaled},
	{RequestSuccess, KindCounter, "vllm:request_success_total", "finished_reason", "0.8 –, V0", Unscaled},
	// The front end's: its series have no label of an engine.
	{AdmissionRejections, KindCounter, "vllm:admission_rejections_total", "reason", "after 0.20, in 0.32", Unscaled},
	{Preemptions, KindCounter, "vllm:num_preemptions_total", "", "0.8 –, V0", Unscaled},
	{PreemptionsPerRequest, KindHistogram, "vllm:request_num_preemptions", "", "after 0.20, in 0.32", Unscaled},
	{PrefixQueries, KindCounter, "vllm:prefix_cache_queries_total", "", "0.9.2 –", Unscaled},
	{PrefixQueries, KindCounter, "vllm:gpu_prefix_cache_queries_total", "", "0.8 – 0.11.2 (0.11 hides it by default; blocks in 0.8, tokens since), not V0", Unscaled},
	{PrefixHits, KindCounter, "vllm:prefix_cache_hits_total", "", "0.9.2 –", Unscaled},
	{PrefixHits, KindCounter, "vllm:gpu_prefix_cache_hits_total", "", "0.8 – 0.11.2 (as its queries)", Unscaled},
	{ExternalQueries, KindCounter, "vllm:external_prefix_cache_queries_total", "", "0.11.1 –", Unscaled},
	{ExternalHits, KindCounter, "vllm:external_prefix_cache_hits_total", "", "0.11.1 –", Unscaled},
	{MultimodalQueries, KindCounter, "vllm:mm_cache_queries_total", "", "0.11.1 –", Unscaled},
	{MultimodalHits, KindCounter, "vllm:mm_cache_hits_total", "", "0.11.1 –", Unscaled},
	{SpecDrafts, KindCounter, "vllm:spec_decode_num_drafts_total", "", "0.8.5 –, not V0", Unscaled},
	{SpecDraftTokens, KindCounter, "vllm:spec_decode_num_draft_tokens_total", "", "0.8.3 –, V0", Unscaled},
	{SpecAccepted, KindCounter, "vllm:spec_decode_num_accepted_tokens_total", "", "0.8.3 –, V0", Unscaled},
	{SpecAcceptedPerPosition, KindCounter, "vllm:spec_decode_num_accepted_tokens_per_pos_total", "position", "0.8.5 –, not V0", Unscaled},
	{TimeToFirstToken, KindHistogram, "vllm:time_to_first_token_seconds", "", "0.8 –, V0", Unscaled},
	{InterTokenLatency, KindHistogram, "vllm:inter_token_latency_seconds", "", "0.10.2 –", Unscaled},
	{InterTokenLatency, KindHistogram, "vllm:time_per_output_token_seconds", "", "0.8 – 0.14 (0.12 hides it by default), V0", Unscaled},
	{TimePerOutputToken, KindHistogram, "vllm:request_time_per_output_token_seconds", "", "0.11 –", Unscaled},
	{E2ELatency, KindHistogram, "vllm:e2e_request_latency_seconds", "", "0.8 –, V0", Unscaled},
	{QueueTime, KindHistogram, "vllm:request_queue_time_seconds", "", "0.8 –, V0", Unscaled},
	{PrefillTime, KindHistogram, "vllm:request_prefill_time_seconds", "", "0.8 –, V0", Unscaled},
	{DecodeTime, KindHistogram, "vllm:request_decode_time_seconds", "", "0.8 –, V0", Unscaled},
	{InferenceTime, KindHistogram, "vllm:request_inference_time_seconds", "", "0.8 –, V0", Unscaled},
	{PromptPerRequest, KindHistogram, "vllm:request_prompt_tokens", "", "0.8 –, V0", Unscaled},
	{GenerationPerRequest, KindHistogram, "vllm:request_generation_tokens", "", "0.8 –, V0", Unscaled},
	{TokensPerIteration, KindHistogram, "vllm:iteration_tokens_total", "", "0.8 –, V0", Unscaled},
	{CacheConfig, KindInfo, "vllm:cache_config_info", "", "0.8 –, V0", Unscaled},
	{ProcessStart, KindInfo, ProcessStartName, "", "prometheus_client, not in multiprocess mode", Unscaled},
}

// ProcessStartName is the start of the exporting process, in seconds of Unix time.
const ProcessStartName = "process_start_time_seconds"

// PollNames are the sample names that a filtered scrape requests: what changes while
// the engine works.
var PollNames = []string{
	"vllm:kv_cache_usage_perc",
	"vllm:gpu_cache_usage_perc",
	"vllm:num_requests_running",
	"vllm:num_requests_waiting",
	"vllm:num_requests_waiting_by_reason",
	"vllm:prompt_tokens_total",
	"vllm:generation_tokens_total",
	ProcessStartName,
}

// Part is the role of a sample in its metric family.
type Part uint8

// The roles of a name on a page.
const (
	PartValue Part = iota // the value of a counter or gauge
	PartBucket
	PartSum
	PartCount
	PartFamily // a family name in a TYPE line, not a sample
)

// Match is what a name on a page refers to.
type Match struct {
	Desc DescID
	Part Part
}

// matchTable maps every sample and family name in a naming to its desc in vLLM's own
// naming.
func matchTable(n Naming) map[string]Match {
	table := make(map[string]Match, 3*len(descs))
	add := func(name string, i int, p Part) {
		if _, taken := table[name]; !taken { // an earlier desc is newer
			table[name] = Match{DescID(i), p}
		}
	}
	for i := range descs {
		name := descs[i].nameIn(n)
		if descs[i].Kind != KindHistogram {
			add(name, i, PartValue)
			continue
		}
		add(name+"_bucket", i, PartBucket)
		add(name+"_sum", i, PartSum)
		add(name+"_count", i, PartCount)
	}
	for i := range descs {
		name := descs[i].nameIn(n)
		if descs[i].Kind == KindHistogram {
			add(name, i, PartFamily)
		}
		if family, ok := strings.CutSuffix(name, "_total"); ok && descs[i].Kind == KindCounter {
			add(family, i, PartFamily) // the family name in OpenMetrics
		}
	}
	return table
}

// Values of the label of [PromptBySource] (vllm/v1/metrics/stats.py): where prompt tokens came
// from.
const (
	SourceLocalCompute       = "local_compute"
	SourceLocalCacheHit      = "local_cache_hit"
	SourceExternalKVTransfer = "external_kv_transfer"
)
