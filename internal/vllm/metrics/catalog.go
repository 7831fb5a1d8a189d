package metrics

import (
	"slices"
	"strings"

	"github.com/vobs/vobs/probe/exposition"
)

// ID is a quantity that vobs reads, whatever name an engine's version gives it.
type ID int

// The figures of a plain engine; those of its KV connectors and of vllm-omni
// follow in the files beside this one.
const (
	KVCacheUsage ID = iota
	RequestsRunning
	RequestsWaiting
	PromptTokens
	PromptBySource
	GenerationTokens
	RequestSuccess
	Preemptions
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
	EndOfCore // how many they are
)

// NumMetrics is how many figures there are in all.
const NumMetrics = EndOfOmni

type Kind uint8

const (
	KindGauge    Kind = iota // several engines' are added up
	KindFraction             // a gauge that does not add up, as one from 0 to 1: of several engines the highest counts, and the mean
	KindCounter
	KindHistogram
	KindInfo
)

func (k Kind) IsGauge() bool { return k == KindGauge || k == KindFraction }

// Encoding says in what form the values under a name are.
type Encoding uint8

const (
	Unscaled        Encoding = iota // in the event's unit
	Milliseconds                    // to be divided by 1000
	Mebibytes                       // to be multiplied by 2^20
	SumOnly                         // a histogram whose buckets were not made for its values
	MillisecondsSum                 // both
)

// Scale is what values under a name are multiplied with.
func (f Encoding) Scale() float64 {
	switch f {
	case Milliseconds, MillisecondsSum:
		return 1e-3
	case Mebibytes:
		return 1 << 20
	}
	return 1
}

// HasQuantiles says whether a histogram's buckets tell any.
func (f Encoding) HasQuantiles() bool { return f != SumOnly && f != MillisecondsSum }

// Desc is one name of a figure: a sample name, for a histogram the family name.
type Desc struct {
	Metric ID
	Kind   Kind
	name   string
	// By is the label that splits the figure, where one does.
	By string
	// versions of the engine that export it.
	versions string
	Encoding Encoding
}

// Descs lists every name that is read, the newer name of a figure first: where an
// engine exports two they are never added up (ledger.SelectDesc chooses). They are
// spelled as vLLM itself does.
var Descs = slices.Concat(coreDescs, offloadDescs, omniDescs)

// coreDescs are the names of a plain engine's figures.
// Source: vllm/v1/metrics/loggers.py and vllm/v1/spec_decode/metrics.py, tags
// v0.8.0 to v0.20.2 and main of August 2026; 0.32.0 was seen running. "V0" is the
// engine before V1 (vllm/engine/metrics.py, 0.8 to 0.10 with VLLM_USE_V1=0): its
// series have no engine label, and its hit rates are gauges, which tell nothing of
// a window and are not read.
//
// request_time_per_output_token_seconds, the mean of each request's mean, has no
// older name: decode time by tokens would be another figure, and is what
// inter_token_latency's mean says already.
var coreDescs = []Desc{
	{KVCacheUsage, KindFraction, "vllm:kv_cache_usage_perc", "", "0.9.2 –", Unscaled},
	{KVCacheUsage, KindFraction, "vllm:gpu_cache_usage_perc", "", "0.8 – 0.11.2 (0.11 hides it by default), V0", Unscaled},
	{RequestsRunning, KindGauge, "vllm:num_requests_running", "", "0.8 –, V0", Unscaled},
	{RequestsWaiting, KindGauge, "vllm:num_requests_waiting", "", "0.8 –, V0", Unscaled},
	{PromptTokens, KindCounter, "vllm:prompt_tokens_total", "", "0.8 –, V0", Unscaled},
	{PromptBySource, KindCounter, "vllm:prompt_tokens_by_source_total", "source", "0.16 –", Unscaled},
	{GenerationTokens, KindCounter, "vllm:generation_tokens_total", "", "0.8 –, V0", Unscaled},
	{RequestSuccess, KindCounter, "vllm:request_success_total", "finished_reason", "0.8 –, V0", Unscaled},
	{Preemptions, KindCounter, "vllm:num_preemptions_total", "", "0.8 –, V0", Unscaled},
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

const ProcessStartName = "process_start_time_seconds"

// CanonicalName gives the newest name of a figure, for reasons that name it.
func CanonicalName(f ID) string {
	for id := range DescsOf(f) {
		return id.Name()
	}
	return ""
}

// PollNames are the samples of a filtered poll: what moves while the engine runs.
var PollNames = []string{
	"vllm:kv_cache_usage_perc",
	"vllm:gpu_cache_usage_perc",
	"vllm:num_requests_running",
	"vllm:num_requests_waiting",
	"vllm:prompt_tokens_total",
	"vllm:generation_tokens_total",
	ProcessStartName,
}

// IsPolled says whether filtered polls ask for a figure.
func IsPolled(f ID) bool {
	for _, i := range DescsByMetric()[f] {
		if slices.Contains(PollNames, Descs[i].name) || slices.Contains(OmniPollNames, Descs[i].name) {
			return true
		}
	}
	return false
}

// Part is what a sample is of its family.
type Part uint8

const (
	PartValue Part = iota // a counter's or gauge's value
	PartBucket
	PartSum
	PartCount
	PartType // the family's own name, in a TYPE line: no sample
)

type Match struct {
	Desc DescID
	Part Part
}

// matchTable maps every sample and family name that is read, as spelled so, to its
// row as vLLM itself spells it.
func matchTable(s Naming) map[string]Match {
	m := make(map[string]Match, 3*len(Descs))
	put := func(name string, i int, p Part) {
		if _, taken := m[name]; !taken { // an earlier row is newer
			m[name] = Match{DescID(i), p}
		}
	}
	for i := range Descs {
		name := nameIn(s, &Descs[i])
		if Descs[i].Kind != KindHistogram {
			put(name, i, PartValue)
			continue
		}
		put(name+"_bucket", i, PartBucket)
		put(name+"_sum", i, PartSum)
		put(name+"_count", i, PartCount)
	}
	for i := range Descs {
		name := nameIn(s, &Descs[i])
		if Descs[i].Kind == KindHistogram {
			put(name, i, PartType)
		}
		if family, ok := strings.CutSuffix(name, "_total"); ok && Descs[i].Kind == KindCounter {
			put(family, i, PartType) // as OpenMetrics declares it
		}
	}
	return m
}

// Declares says whether a TYPE line with a wanted name tells that the row is exported.
func (w Match) Declares(t exposition.Type) bool {
	// A gauge of a counter's name without _total is another figure, or Ray's copy.
	return w.Part != PartType || w.Desc.Desc().Kind != KindCounter || t == exposition.Counter
}
