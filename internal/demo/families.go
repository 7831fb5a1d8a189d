package demo

import (
	"strconv"
	"time"
)

// vLLM's buckets (vllm/v1/metrics/loggers.py; the last list is that of
// prometheus-fastapi-instrumentator).
func ttftBounds() []float64 {
	return []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560}
}

func tokenLatencyBounds() []float64 {
	return []float64{.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
}

func requestLatencyBounds() []float64 {
	return []float64{.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}
}

func iterationBounds() []float64 {
	return []float64{1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}
}

func httpBounds() []float64 {
	return []float64{.01, .025, .05, .075, .1, .25, .5, .75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60}
}

// tokenBounds returns 1, 2, 5, 10, 20, 50, ... up to the context length.
func tokenBounds(maxModelLen int) []float64 {
	var bs []float64
	for unit := 1; ; unit *= 10 {
		for _, m := range []int{1, 2, 5} {
			if m*unit > maxModelLen {
				return bs
			}
			bs = append(bs, float64(m*unit))
		}
	}
}

// engineSeries is one engine's share of the page: the children that its steps change.
type engineSeries struct {
	running, waiting, waitingCapacity, waitingDeferred, usage *child

	queries, hits, deviceHits, preemptions        *child
	extQueries, extHits, externalHits             *child
	externalTransfer                              *child
	prompt, computed, cacheHit, cached, generated *child
	success                                       map[string]*child

	drafts, drafted, accepted *child // nil without speculation
	acceptedAt                []*child

	requestPrompt, requestGeneration, requestMaxGeneration *child
	iteration, paramsN, paramsMaxTokens                    *child
	ttft, itl, tpot, e2e, queue, inference, prefill        *child
	decode, requestPreemptions, prefillComputed            *child

	connectorSeries
	residencySeries
}

// metrics is the page of one server.
type metrics struct {
	reg     registry
	engines []*engineSeries
	process processFamilies
	scale   float64 // wall seconds per simulated second; 1 unless a scenario says otherwise

	httpRequests, httpRequestSize, httpResponseSize, httpByHandler *family
	httpHighr                                                      *child
}

// newMetrics registers everything in the order of a real page. now is the time of every
// _created sample.
func newMetrics(c *Config, now func() time.Time) *metrics {
	m := &metrics{engines: make([]*engineSeries, c.Engines), reg: registry{now: now}, scale: 1}
	set := c.settings()
	ids := make([]string, c.Engines)
	for i := range ids {
		m.engines[i] = &engineSeries{success: make(map[string]*child)}
		ids[i] = strconv.Itoa(i)
	}
	// each gives f one child per engine, with the labels that all engines share. set
	// may be nil: then the child stays 0.
	each := func(f *family, set func(*engineSeries, *child), more ...string) {
		for i, id := range ids {
			ch := f.with(append([]string{"engine", id, "model_name", c.Model}, more...)...)
			if set != nil {
				set(m.engines[i], ch)
			}
		}
	}
	r := &m.reg

	m.process.register(r)
	if set.NumSpeculativeTokens > 0 {
		m.registerSpeculative(set.NumSpeculativeTokens, each)
	}
	m.registerConnector(set, each)
	each(r.add(counter, "vllm:estimated_flops_per_gpu", "Estimated number of floating point operations per GPU (for Model Flops Utilization calculations)."), nil)
	each(r.add(counter, "vllm:estimated_read_bytes_per_gpu", "Estimated number of bytes read from memory per GPU (for Model Flops Utilization calculations)."), nil)
	each(r.add(counter, "vllm:estimated_write_bytes_per_gpu", "Estimated number of bytes written to memory per GPU (for Model Flops Utilization calculations)."), nil)
	m.registerState(set, each)
	m.registerTokens(c, set, each)
	m.registerRequests(c, each)
	m.registerLatencies(c, each)
	if set.KVCacheMetrics {
		m.registerResidency(each)
	}
	m.registerCacheConfig(c, set, ids)

	m.httpRequests = r.add(counter, "http_requests", "Total number of requests by method, status and handler.")
	m.httpRequestSize = r.add(summary, "http_request_size_bytes", "Content length of incoming requests by handler. Only value of header is respected. Otherwise ignored. No percentile calculated. ")
	m.httpResponseSize = r.add(summary, "http_response_size_bytes", "Content length of outgoing responses by handler. Only value of header is respected. Otherwise ignored. No percentile calculated. ")
	m.httpHighr = r.addHistogram("http_request_duration_highr_seconds", "Latency with many buckets but no API specific labels. Made for more accurate percentile calculations. ", httpBounds()).with()
	m.httpByHandler = r.addHistogram("http_request_duration_seconds", "Latency with only few buckets by handler. Made to be only used if aggregation by handler is important. ", []float64{.1, .5, 1})
	return m
}

// perEngine adds a child of f for every engine: see newMetrics.
type perEngine func(f *family, set func(*engineSeries, *child), more ...string)

func (m *metrics) registerSpeculative(n int, each perEngine) {
	r := &m.reg
	each(r.add(counter, "vllm:spec_decode_num_drafts", "Number of spec decoding drafts."),
		func(e *engineSeries, c *child) { e.drafts = c })
	each(r.add(counter, "vllm:spec_decode_num_draft_tokens", "Number of draft tokens."),
		func(e *engineSeries, c *child) { e.drafted = c })
	each(r.add(counter, "vllm:spec_decode_num_accepted_tokens", "Number of accepted tokens."),
		func(e *engineSeries, c *child) { e.accepted = c })
	f := r.add(counter, "vllm:spec_decode_num_accepted_tokens_per_pos", "Accepted tokens per draft position.")
	for i := range n {
		each(f, func(e *engineSeries, c *child) { e.acceptedAt = append(e.acceptedAt, c) }, "position", strconv.Itoa(i))
	}
}

func (m *metrics) registerState(set *Settings, each perEngine) {
	r := &m.reg
	each(r.add(gauge, "vllm:num_requests_running", "Number of requests in model execution batches."),
		func(e *engineSeries, c *child) { e.running = c })
	each(r.add(gauge, "vllm:num_requests_waiting", "Number of requests waiting to be processed."),
		func(e *engineSeries, c *child) { e.waiting = c })
	f := r.add(gauge, "vllm:num_requests_waiting_by_reason", "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals vllm:num_requests_waiting.")
	each(f, func(e *engineSeries, c *child) { e.waitingCapacity = c }, "reason", "capacity")
	each(f, func(e *engineSeries, c *child) { e.waitingDeferred = c }, "reason", "deferred")
	if set.connector() {
		m.registerFetchStages(each)
	}
	f = r.add(gauge, "vllm:engine_sleep_state", "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.")
	each(f, func(_ *engineSeries, c *child) { c.value = 1 }, "sleep_state", "awake")
	each(f, nil, "sleep_state", "weights_offloaded")
	each(f, nil, "sleep_state", "discard_all")
	each(r.add(gauge, "vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage."),
		func(e *engineSeries, c *child) { e.usage = c })
}

func (m *metrics) registerTokens(c *Config, set *Settings, each perEngine) {
	r := &m.reg
	each(r.add(counter, "vllm:prefix_cache_queries", "Prefix cache queries, in terms of number of queried tokens."),
		func(e *engineSeries, c *child) { e.queries = c })
	each(r.add(counter, "vllm:prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens."),
		func(e *engineSeries, c *child) { e.hits = c })
	each(r.add(counter, "vllm:external_prefix_cache_queries", "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried tokens."),
		func(e *engineSeries, c *child) { e.extQueries = c })
	each(r.add(counter, "vllm:external_prefix_cache_hits", "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached tokens."),
		func(e *engineSeries, c *child) { e.extHits = c })
	each(r.add(counter, "vllm:mm_cache_queries", "Multi-modal cache queries, in terms of number of queried items."), nil)
	each(r.add(counter, "vllm:mm_cache_hits", "Multi-modal cache hits, in terms of number of cached items."), nil)
	each(r.add(counter, "vllm:num_preemptions", "Cumulative number of preemption from the engine."),
		func(e *engineSeries, c *child) { e.preemptions = c })
	each(r.add(counter, "vllm:prompt_tokens", "Number of prefill tokens processed."),
		func(e *engineSeries, c *child) { e.prompt = c })
	f := r.add(counter, "vllm:prompt_tokens_by_source", "Number of prompt tokens by source.")
	each(f, func(e *engineSeries, c *child) { e.computed = c }, "source", "local_compute")
	each(f, func(e *engineSeries, c *child) { e.cacheHit = c }, "source", "local_cache_hit")
	each(f, func(e *engineSeries, c *child) { e.externalTransfer = c }, "source", "external_kv_transfer")
	each(r.add(counter, "vllm:prompt_tokens_cached", "Number of cached prompt tokens (local + external)."),
		func(e *engineSeries, c *child) { e.cached = c })
	f = r.add(counter, "vllm:prompt_tokens_cached_by_source", "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to DRAM), disk, p2p (transferred from another vLLM instance) or external_unspecified. Counted at admission; sums to vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.")
	each(f, func(e *engineSeries, c *child) { e.deviceHits = c }, "source", "device")
	external := "host"
	if set.Transfer != nil {
		external = "p2p"
	}
	for _, s := range []string{"host", "p2p", "disk", "external_unspecified"} {
		each(f, func(e *engineSeries, c *child) {
			if s == external {
				e.externalHits = c
			}
		}, "source", s)
	}
	each(r.add(counter, "vllm:generation_tokens", "Number of generation tokens processed."),
		func(e *engineSeries, c *child) { e.generated = c })
	f = r.add(counter, "vllm:request_success", "Count of successfully processed requests.")
	for _, s := range []string{"stop", "length", "abort", "error", "repetition"} {
		each(f, func(e *engineSeries, c *child) { e.success[s] = c }, "finished_reason", s)
	}
	f = r.add(counter, "vllm:admission_rejections", "Number of admission attempts rejected by a queue limit, by reason.")
	for _, s := range []string{"max_num_queued_reqs", "max_num_queued_tokens"} {
		f.with("model_name", c.Model, "reason", s)
	}
}

func (m *metrics) registerRequests(c *Config, each perEngine) {
	r, tokens := &m.reg, tokenBounds(c.maxModelLen())
	each(r.addHistogram("vllm:request_prompt_tokens", "Number of prefill tokens processed.", tokens),
		func(e *engineSeries, c *child) { e.requestPrompt = c })
	each(r.addHistogram("vllm:request_generation_tokens", "Number of generation tokens processed.", tokens),
		func(e *engineSeries, c *child) { e.requestGeneration = c })
	each(r.addHistogram("vllm:iteration_tokens_total", "Histogram of number of tokens per engine_step.", iterationBounds()),
		func(e *engineSeries, c *child) { e.iteration = c })
	each(r.addHistogram("vllm:request_max_num_generation_tokens", "Histogram of maximum number of requested generation tokens.", tokens),
		func(e *engineSeries, c *child) { e.requestMaxGeneration = c })
	each(r.addHistogram("vllm:request_params_n", "Histogram of the n request parameter.", []float64{1, 2, 5, 10, 20}),
		func(e *engineSeries, c *child) { e.paramsN = c })
	each(r.addHistogram("vllm:request_params_max_tokens", "Histogram of the max_tokens request parameter.", tokens),
		func(e *engineSeries, c *child) { e.paramsMaxTokens = c })
}

func (m *metrics) registerLatencies(c *Config, each perEngine) {
	r, tokens := &m.reg, tokenBounds(c.maxModelLen())
	each(r.addHistogram("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.", ttftBounds()),
		func(e *engineSeries, c *child) { e.ttft = c })
	each(r.addHistogram("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", tokenLatencyBounds()),
		func(e *engineSeries, c *child) { e.itl = c })
	each(r.addHistogram("vllm:request_time_per_output_token_seconds", "Histogram of time_per_output_token_seconds per request.", tokenLatencyBounds()),
		func(e *engineSeries, c *child) { e.tpot = c })
	each(r.addHistogram("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", requestLatencyBounds()),
		func(e *engineSeries, c *child) { e.e2e = c })
	each(r.addHistogram("vllm:request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", requestLatencyBounds()),
		func(e *engineSeries, c *child) { e.queue = c })
	each(r.addHistogram("vllm:request_inference_time_seconds", "Histogram of time spent in RUNNING phase for request.", requestLatencyBounds()),
		func(e *engineSeries, c *child) { e.inference = c })
	each(r.addHistogram("vllm:request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", requestLatencyBounds()),
		func(e *engineSeries, c *child) { e.prefill = c })
	each(r.addHistogram("vllm:request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", requestLatencyBounds()),
		func(e *engineSeries, c *child) { e.decode = c })
	each(r.addHistogram("vllm:request_num_preemptions", "Histogram of the number of times a request was preempted.", []float64{1, 2, 3, 4, 5, 10, 20}),
		func(e *engineSeries, c *child) { e.requestPreemptions = c })
	each(r.addHistogram("vllm:request_prefill_kv_computed_tokens", "Histogram of new KV tokens computed during prefill (excluding cached tokens).", tokens),
		func(e *engineSeries, c *child) { e.prefillComputed = c })
}

// registerCacheConfig writes CacheConfig's fields as vLLM prints them: Python strings,
// without model_name. num_gpu_blocks is the sum over the engines, repeated on each;
// kv_cache_size_tokens is that of one engine.
func (m *metrics) registerCacheConfig(c *Config, set *Settings, ids []string) {
	f := m.reg.add(gauge, "vllm:cache_config_info", "Information of the LLMEngine CacheConfig")
	size := c.NumGPUBlocks * c.BlockSize
	block := strconv.Itoa(c.BlockSize)
	offloading := "None"
	if o := set.Offload; o != nil { // in GiB
		offloading = pythonRepr(float64(o.Blocks) * float64(c.BlockSize*bytesPerToken) / (1 << 30))
	}
	for _, id := range ids {
		f.with(
			"_block_size_resolved", "True", "block_size", block, "cache_dtype", "auto", "cache_hit_alignment_tokens", "None",
			"effective_attention_block_size", block, "enable_mamba_shared_prefix_checkpoint", "False", "enable_prefix_caching", pythonBool(!set.NoPrefixCaching),
			"engine", id, "gpu_memory_utilization", "0.92", "hash_block_size", "None", "is_attention_free", "False",
			"kv_cache_dtype_skip_layers", "[]", "kv_cache_layout", "None",
			"kv_cache_max_concurrency", pythonRepr(float64(size)/float64(c.maxModelLen())),
			"kv_cache_memory_bytes", "None", "kv_cache_size_tokens", strconv.Itoa(size),
			"kv_offloading_backend", "native", "kv_offloading_size", offloading, "kv_sharing_fast_prefill", "False",
			"mamba_block_size", "None", "mamba_cache_dtype", "auto", "mamba_cache_mode", "none", "mamba_page_size_padded", "None",
			"mamba_ssm_cache_dtype", "float32", "num_cpu_blocks", "None", "num_gpu_blocks", strconv.Itoa(c.NumGPUBlocks*c.Engines),
			"num_gpu_blocks_override", "None", "prefix_cache_retention_interval", "0", "prefix_caching_hash_algo", "sha256",
			"prefix_match_unit", "None", "replayssm_buffer_len", "16", "skip_page_size_padded", "None", "sliding_window", "None",
			"swa_bounded_replay", "True", "use_kda_recoverssm", "False", "use_replayssm", "False", "user_specified_block_size", "False",
		).value = 1
	}
}
