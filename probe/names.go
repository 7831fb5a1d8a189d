package probe

import (
	"slices"
	"strings"

	"github.com/vobs/vobs/probe/exposition"
)

// figure is a quantity that vobs reads, whatever name an engine's version gives it.
type figure int

// The figures of a plain engine; those of its KV connectors and of vllm-omni
// follow in the files beside this one.
const (
	kvUsage figure = iota
	running
	waiting
	promptTokens
	promptBySource
	generationTokens
	requestSuccess
	preemptions
	prefixQueries
	prefixHits
	externalQueries
	externalHits
	multimodalQueries
	multimodalHits
	specDrafts
	specDraftTokens
	specAccepted
	specAcceptedPerPosition
	timeToFirstToken
	interTokenLatency
	timePerOutputToken
	e2eLatency
	queueTime
	prefillTime
	decodeTime
	inferenceTime
	promptPerRequest
	generationPerRequest
	tokensPerIteration
	cacheConfig
	processStart
	coreFigures // how many they are
)

// figureCount is how many figures there are in all.
const figureCount = omniFigures

type kind uint8

const (
	gaugeKind    kind = iota // several engines' are added up
	fractionKind             // a gauge that does not add up, as one from 0 to 1: of several engines the highest counts, and the mean
	counterKind
	histogramKind
	infoKind
)

func (k kind) isGauge() bool { return k == gaugeKind || k == fractionKind }

// form says in what form the values under a name are.
type form uint8

const (
	plain           form = iota // in the event's unit
	milliseconds                // to be divided by 1000
	mebibytes                   // to be multiplied by 2^20
	sumOnly                     // a histogram whose buckets were not made for its values
	millisecondsSum             // both
)

// scale is what values under a name are multiplied with.
func (f form) scale() float64 {
	switch f {
	case milliseconds, millisecondsSum:
		return 1e-3
	case mebibytes:
		return 1 << 20
	}
	return 1
}

// quantiles says whether a histogram's buckets tell any.
func (f form) quantiles() bool { return f != sumOnly && f != millisecondsSum }

// row is one name of a figure: a sample name, for a histogram the family name.
type row struct {
	figure figure
	kind   kind
	name   string
	// by is the label that splits the figure, where one does.
	by string
	// versions of the engine that export it.
	versions string
	form     form
}

// rows lists every name that is read, the newer name of a figure first: where an
// engine exports two they are never added up (ledger.rowOf chooses). They are
// spelled as vLLM itself does.
var rows = slices.Concat(coreRows, offloadRows, omniRows)

// coreRows are the names of a plain engine's figures.
// Source: vllm/v1/metrics/loggers.py and vllm/v1/spec_decode/metrics.py, tags
// v0.8.0 to v0.20.2 and main of August 2026; 0.32.0 was seen running. "V0" is the
// engine before V1 (vllm/engine/metrics.py, 0.8 to 0.10 with VLLM_USE_V1=0): its
// series have no engine label, and its hit rates are gauges, which tell nothing of
// a window and are not read.
//
// request_time_per_output_token_seconds, the mean of each request's mean, has no
// older name: decode time by tokens would be another figure, and is what
// inter_token_latency's mean says already.
var coreRows = []row{
	{kvUsage, fractionKind, "vllm:kv_cache_usage_perc", "", "0.9.2 –", plain},
	{kvUsage, fractionKind, "vllm:gpu_cache_usage_perc", "", "0.8 – 0.11.2 (0.11 hides it by default), V0", plain},
	{running, gaugeKind, "vllm:num_requests_running", "", "0.8 –, V0", plain},
	{waiting, gaugeKind, "vllm:num_requests_waiting", "", "0.8 –, V0", plain},
	{promptTokens, counterKind, "vllm:prompt_tokens_total", "", "0.8 –, V0", plain},
	{promptBySource, counterKind, "vllm:prompt_tokens_by_source_total", "source", "0.16 –", plain},
	{generationTokens, counterKind, "vllm:generation_tokens_total", "", "0.8 –, V0", plain},
	{requestSuccess, counterKind, "vllm:request_success_total", "finished_reason", "0.8 –, V0", plain},
	{preemptions, counterKind, "vllm:num_preemptions_total", "", "0.8 –, V0", plain},
	{prefixQueries, counterKind, "vllm:prefix_cache_queries_total", "", "0.9.2 –", plain},
	{prefixQueries, counterKind, "vllm:gpu_prefix_cache_queries_total", "", "0.8 – 0.11.2 (0.11 hides it by default; blocks in 0.8, tokens since), not V0", plain},
	{prefixHits, counterKind, "vllm:prefix_cache_hits_total", "", "0.9.2 –", plain},
	{prefixHits, counterKind, "vllm:gpu_prefix_cache_hits_total", "", "0.8 – 0.11.2 (as its queries)", plain},
	{externalQueries, counterKind, "vllm:external_prefix_cache_queries_total", "", "0.11.1 –", plain},
	{externalHits, counterKind, "vllm:external_prefix_cache_hits_total", "", "0.11.1 –", plain},
	{multimodalQueries, counterKind, "vllm:mm_cache_queries_total", "", "0.11.1 –", plain},
	{multimodalHits, counterKind, "vllm:mm_cache_hits_total", "", "0.11.1 –", plain},
	{specDrafts, counterKind, "vllm:spec_decode_num_drafts_total", "", "0.8.5 –, not V0", plain},
	{specDraftTokens, counterKind, "vllm:spec_decode_num_draft_tokens_total", "", "0.8.3 –, V0", plain},
	{specAccepted, counterKind, "vllm:spec_decode_num_accepted_tokens_total", "", "0.8.3 –, V0", plain},
	{specAcceptedPerPosition, counterKind, "vllm:spec_decode_num_accepted_tokens_per_pos_total", "position", "0.8.5 –, not V0", plain},
	{timeToFirstToken, histogramKind, "vllm:time_to_first_token_seconds", "", "0.8 –, V0", plain},
	{interTokenLatency, histogramKind, "vllm:inter_token_latency_seconds", "", "0.10.2 –", plain},
	{interTokenLatency, histogramKind, "vllm:time_per_output_token_seconds", "", "0.8 – 0.14 (0.12 hides it by default), V0", plain},
	{timePerOutputToken, histogramKind, "vllm:request_time_per_output_token_seconds", "", "0.11 –", plain},
	{e2eLatency, histogramKind, "vllm:e2e_request_latency_seconds", "", "0.8 –, V0", plain},
	{queueTime, histogramKind, "vllm:request_queue_time_seconds", "", "0.8 –, V0", plain},
	{prefillTime, histogramKind, "vllm:request_prefill_time_seconds", "", "0.8 –, V0", plain},
	{decodeTime, histogramKind, "vllm:request_decode_time_seconds", "", "0.8 –, V0", plain},
	{inferenceTime, histogramKind, "vllm:request_inference_time_seconds", "", "0.8 –, V0", plain},
	{promptPerRequest, histogramKind, "vllm:request_prompt_tokens", "", "0.8 –, V0", plain},
	{generationPerRequest, histogramKind, "vllm:request_generation_tokens", "", "0.8 –, V0", plain},
	{tokensPerIteration, histogramKind, "vllm:iteration_tokens_total", "", "0.8 –, V0", plain},
	{cacheConfig, infoKind, "vllm:cache_config_info", "", "0.8 –, V0", plain},
	{processStart, infoKind, processStartName, "", "prometheus_client, not in multiprocess mode", plain},
}

const processStartName = "process_start_time_seconds"

// nameOf gives the newest name of a figure, for reasons that name it.
func nameOf(f figure) string {
	for id := range rowsOf(f) {
		return id.name()
	}
	return ""
}

// pollNames are the samples of a filtered poll: what moves while the engine runs.
var pollNames = []string{
	"vllm:kv_cache_usage_perc",
	"vllm:gpu_cache_usage_perc",
	"vllm:num_requests_running",
	"vllm:num_requests_waiting",
	"vllm:prompt_tokens_total",
	"vllm:generation_tokens_total",
	processStartName,
}

// isPolled says whether filtered polls ask for a figure.
func isPolled(f figure) bool {
	for _, i := range placesOf()[f] {
		if slices.Contains(pollNames, rows[i].name) || slices.Contains(omniPollNames, rows[i].name) {
			return true
		}
	}
	return false
}

// part is what a sample is of its family.
type part uint8

const (
	whole part = iota // a counter's or gauge's value
	bucketPart
	sumPart
	countPart
	declared // the family's own name, in a TYPE line: no sample
)

type wanted struct {
	row  rowID
	part part
}

// wantedNames maps every sample and family name that is read, as spelled so, to its
// row as vLLM itself spells it.
func wantedNames(s spelling) map[string]wanted {
	m := make(map[string]wanted, 3*len(rows))
	put := func(name string, i int, p part) {
		if _, taken := m[name]; !taken { // an earlier row is newer
			m[name] = wanted{rowID(i), p}
		}
	}
	for i := range rows {
		name := spelledIn(s, &rows[i])
		if rows[i].kind != histogramKind {
			put(name, i, whole)
			continue
		}
		put(name+"_bucket", i, bucketPart)
		put(name+"_sum", i, sumPart)
		put(name+"_count", i, countPart)
	}
	for i := range rows {
		name := spelledIn(s, &rows[i])
		if rows[i].kind == histogramKind {
			put(name, i, declared)
		}
		if family, ok := strings.CutSuffix(name, "_total"); ok && rows[i].kind == counterKind {
			put(family, i, declared) // as OpenMetrics declares it
		}
	}
	return m
}

// declares says whether a TYPE line with a wanted name tells that the row is exported.
func (w wanted) declares(t exposition.Type) bool {
	// A gauge of a counter's name without _total is another figure, or Ray's copy.
	return w.part != declared || w.row.row().kind != counterKind || t == exposition.Counter
}
