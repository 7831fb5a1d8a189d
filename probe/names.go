package probe

// figure is a quantity that vobs reads, whatever name an engine's version gives it.
type figure int

const (
	kvUsage figure = iota
	running
	waiting
	gaugeFigures // how many of them are gauges
)

const (
	promptTokens figure = gaugeFigures + iota
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
	figureCount
)

type kind uint8

const (
	gaugeKind kind = iota
	counterKind
	histogramKind
	infoKind
)

// row is one name of a figure: a sample name, for a histogram the family name.
type row struct {
	figure figure
	kind   kind
	name   string
	// by is the label that splits the figure, where one does.
	by string
	// versions of vLLM that export it.
	versions string
}

// rows lists every name that is read, the newer name of a figure first: where an
// engine exports two, the first is taken and they are never added up.
// Source: vllm/v1/metrics/loggers.py and vllm/v1/spec_decode/metrics.py, tags
// v0.8.0 to v0.20.2 and main of August 2026; 0.32.0 was seen running.
var rows = [...]row{
	{kvUsage, gaugeKind, "vllm:kv_cache_usage_perc", "", "0.9.2 –"},
	{kvUsage, gaugeKind, "vllm:gpu_cache_usage_perc", "", "0.8 – 0.11"},
	{running, gaugeKind, "vllm:num_requests_running", "", "0.8 –"},
	{waiting, gaugeKind, "vllm:num_requests_waiting", "", "0.8 –"},
	{promptTokens, counterKind, "vllm:prompt_tokens_total", "", "0.8 –"},
	{promptBySource, counterKind, "vllm:prompt_tokens_by_source_total", "source", "0.16 –"},
	{generationTokens, counterKind, "vllm:generation_tokens_total", "", "0.8 –"},
	{requestSuccess, counterKind, "vllm:request_success_total", "finished_reason", "0.8 –"},
	{preemptions, counterKind, "vllm:num_preemptions_total", "", "0.8 –"},
	{prefixQueries, counterKind, "vllm:prefix_cache_queries_total", "", "0.9.2 –"},
	{prefixQueries, counterKind, "vllm:gpu_prefix_cache_queries_total", "", "0.8 – 0.11"},
	{prefixHits, counterKind, "vllm:prefix_cache_hits_total", "", "0.9.2 –"},
	{prefixHits, counterKind, "vllm:gpu_prefix_cache_hits_total", "", "0.8 – 0.11"},
	{externalQueries, counterKind, "vllm:external_prefix_cache_queries_total", "", "0.11.1 –"},
	{externalHits, counterKind, "vllm:external_prefix_cache_hits_total", "", "0.11.1 –"},
	{multimodalQueries, counterKind, "vllm:mm_cache_queries_total", "", "0.11.1 –"},
	{multimodalHits, counterKind, "vllm:mm_cache_hits_total", "", "0.11.1 –"},
	{specDrafts, counterKind, "vllm:spec_decode_num_drafts_total", "", "0.8.5 –"},
	{specDraftTokens, counterKind, "vllm:spec_decode_num_draft_tokens_total", "", "0.8.3 –"},
	{specAccepted, counterKind, "vllm:spec_decode_num_accepted_tokens_total", "", "0.8.3 –"},
	{specAcceptedPerPosition, counterKind, "vllm:spec_decode_num_accepted_tokens_per_pos_total", "position", "0.8.5 –"},
	{timeToFirstToken, histogramKind, "vllm:time_to_first_token_seconds", "", "0.8 –"},
	{interTokenLatency, histogramKind, "vllm:inter_token_latency_seconds", "", "0.10.2 –"},
	{interTokenLatency, histogramKind, "vllm:time_per_output_token_seconds", "", "0.8 – 0.14"},
	{timePerOutputToken, histogramKind, "vllm:request_time_per_output_token_seconds", "", "0.11 –"},
	{e2eLatency, histogramKind, "vllm:e2e_request_latency_seconds", "", "0.8 –"},
	{queueTime, histogramKind, "vllm:request_queue_time_seconds", "", "0.8 –"},
	{prefillTime, histogramKind, "vllm:request_prefill_time_seconds", "", "0.8 –"},
	{decodeTime, histogramKind, "vllm:request_decode_time_seconds", "", "0.8 –"},
	{inferenceTime, histogramKind, "vllm:request_inference_time_seconds", "", "0.8 –"},
	{promptPerRequest, histogramKind, "vllm:request_prompt_tokens", "", "0.8 –"},
	{generationPerRequest, histogramKind, "vllm:request_generation_tokens", "", "0.8 –"},
	{tokensPerIteration, histogramKind, "vllm:iteration_tokens_total", "", "0.8 –"},
	{cacheConfig, infoKind, "vllm:cache_config_info", "", "0.8 –"},
	{processStart, infoKind, processStartName, "", "prometheus_client, not in multiprocess mode"},
}

const processStartName = "process_start_time_seconds"

// nameOf gives the newest name of a figure, for reasons that name it.
func nameOf(f figure) string {
	for i := range rows {
		if rows[i].figure == f {
			return rows[i].name
		}
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

// part is what a sample is of its family.
type part uint8

const (
	whole part = iota // a counter's or gauge's value
	bucketPart
	sumPart
	countPart
	declared // the family's own name, in a TYPE line
)

type wanted struct {
	row  int
	part part
}

// wantedNames maps every sample and family name that is read to its row.
func wantedNames() map[string]wanted {
	m := make(map[string]wanted, 2*len(rows))
	for i, r := range rows {
		if r.kind != histogramKind {
			m[r.name] = wanted{i, whole}
			continue
		}
		m[r.name] = wanted{i, declared}
		m[r.name+"_bucket"] = wanted{i, bucketPart}
		m[r.name+"_sum"] = wanted{i, sumPart}
		m[r.name+"_count"] = wanted{i, countPart}
	}
	return m
}
