package schema

// Engine holds the engine's own metrics over the run's window.
type Engine struct {
	// Where the figures come from: `http`, metrics endpoints; `multiprocess`, prometheus_client's files in PROMETHEUS_MULTIPROC_DIR. `none` and `mixed` are reserved.
	Source string `json:"source" enum:"http,multiprocess,none,mixed"`
	// The endpoints that were read.
	Endpoints []Endpoint `json:"endpoints"`
	// Names of the served models.
	Models []string `json:"models"`
	// The pipeline stage that these figures belong to; null for an engine without stages.
	Stage *string `json:"stage"`
	// Each server in its role, if some of them prefill prompts and others decode; empty if they do not. A request passes a server of each role, so roles are never added up: the groups of `engine` are those of the decoding servers, except `endpoints`, `window`, `scrapes`, `kv_connectors` and `instances`. Null if the roles are unknown.
	Roles []Role `json:"roles" schema:"nullable"`
	// The time that the figures cover.
	Window *Window `json:"window"`
	// How often the engine was read.
	Scrapes *Scrapes `json:"scrapes"`
	// Requests within the window.
	Requests *Requests `json:"requests"`
	// The API server's responses to generation requests by class of status, as `2xx`, refused ones included: those to the paths under /v1 and /inference, except the list of models, and to paths that it does not have. A stream counts by the status with which it began, once it has ended.
	HTTP map[string]int64 `json:"http" schema:"nullable" kind:"counter" unit:"responses"`
	// Tokens within the window.
	Tokens *Tokens `json:"tokens"`
	// Rates.
	Throughput *Throughput `json:"throughput"`
	// Latencies measured by the engine.
	LatencySeconds *Latency `json:"latency_seconds" unit:"seconds" better:"lower"`
	// The KV cache.
	KVCache *KVCache `json:"kv_cache"`
	// The prefix caches.
	PrefixCache *PrefixCache `json:"prefix_cache"`
	// Speculative decoding.
	Speculative *Speculative `json:"speculative"`
	// vLLM's own KV offloading.
	KVOffload *KVOffload `json:"kv_offload"`
	// Other KV connectors.
	KVConnectors []KVConnector `json:"kv_connectors" schema:"nullable"`
	// The effective configuration.
	Config *EngineConfig `json:"config"`
	// The figures of each engine.
	Instances []Instance `json:"instances"`
}

// Endpoint is one address, or one directory of metrics files, that was read.
type Endpoint struct {
	// The address, without user info.
	URL string `json:"url"`
	// Version of the engine.
	Version *string `json:"version"`
	// How it was read: `http`, or `multiprocess` for metrics files.
	Source string `json:"source" enum:"http,multiprocess"`
	// Where the polled gauges (running and waiting requests, KV cache usage) were read: `http`, on the page; `multiprocess`, 20 times a second in files. For a server on this host these are the files in its PROMETHEUS_MULTIPROC_DIR.
	GaugesFrom *string `json:"gauges_from" enum:"http,multiprocess"`
	// Start of the process behind it (UTC, RFC 3339).
	ProcessStartTime *string `json:"process_start_time"`
	// CPU time that this process, which is the API server, used within the window. Engine cores and workers are processes of their own, and not included.
	CPUSeconds *Float `json:"cpu_seconds" kind:"counter" unit:"seconds"`
}

// Role holds the figures of one server in its role.
type Role struct {
	// `prefill`, `decode`, or `both` for a server that does both for its requests.
	Role string `json:"role" enum:"prefill,decode,both"`
	// Index into `engine.endpoints`.
	Endpoint int `json:"endpoint" kind:"identity"`
	// Requests that finished within the window. A prefilling server finishes a request with its first token.
	RequestsFinished *int64 `json:"requests_finished" kind:"counter" unit:"requests"`
	// Prompt tokens within the window, including those received from another server.
	PromptTokens *int64 `json:"prompt_tokens" kind:"counter" unit:"tokens"`
	// Tokens generated within the window.
	GenerationTokens *int64 `json:"generation_tokens" kind:"counter" unit:"tokens"`
}

// Window is the time between the two readings from which the counters' figures are
// computed.
type Window struct {
	// What counters are counted from: `scraped`, a reading of an engine that was already up; `zero`, nothing, because the engine started during the run; `files`, metrics files.
	Base string `json:"base" enum:"scraped,zero,files"`
	// What the last reading is: `settled`, taken after the command's end once the counters had come to rest; `unsettled`, taken while they still moved; `files`, metrics files read after the end; `before_signal`, taken before a shutdown signal was forwarded; `last_good`, the last reading that succeeded.
	Final string `json:"final" enum:"settled,unsettled,before_signal,last_good,files"`
	// How long before the command's end the last reading was taken; 0 if it was taken afterwards.
	FinalAgeSeconds Float `json:"final_age_seconds" kind:"coverage" unit:"seconds"`
	// Length of the window.
	DurationSeconds Float `json:"duration_seconds" kind:"duration" unit:"seconds"`
	// Estimated time in which the engine worked: the intervals between polls in which a token counter rose, or at either end of which requests were running. Null with fewer than three such intervals, or if those with running requests at only one end, or at neither, make up more than a tenth of it.
	ActiveSecondsEst *Float `json:"active_seconds_est" kind:"estimate" unit:"seconds"`
	// The number of these intervals.
	ActiveIntervals *int64 `json:"active_intervals" kind:"coverage" unit:"intervals"`
	// How long after the command's end the last reading was taken, waiting for the counters to come to rest.
	SettleSeconds Float `json:"settle_seconds" kind:"coverage" unit:"seconds"`
	// How often the engine's counters restarted within the window.
	Resets int64 `json:"resets" kind:"counter" unit:"restarts" better:"lower"`
}

// Scrapes describes how often the engine was read.
type Scrapes struct {
	// Readings that succeeded.
	Count int64 `json:"count" kind:"coverage" unit:"readings"`
	// Readings that failed while the engine was known to be up.
	Errors int64 `json:"errors" kind:"coverage" unit:"readings"`
	// Mean time between two readings; null with fewer than two.
	PeriodSeconds *Float `json:"period_seconds" kind:"coverage" unit:"seconds"`
	// Median wall time of a reading.
	MedianSeconds *Float `json:"median_seconds" kind:"coverage" unit:"seconds"`
	// Longest time between two readings; null with fewer than two.
	MaxGapSeconds *Float `json:"max_gap_seconds" kind:"coverage" unit:"seconds"`
}

// Gauge summarises a polled gauge.
type Gauge struct {
	// The last reading.
	Last *Float `json:"last" kind:"reading" better:"neither"`
	// Time-weighted mean.
	Mean *Float `json:"mean" kind:"sampled mean"`
	// Highest reading. A lower bound: see `engine.scrapes`.
	Peak *Float `json:"peak" kind:"sampled peak"`
}

// RequestGauge summarises a gauge of requests, whose mean the engine's own
// counters may prove.
type RequestGauge struct {
	Gauge
	// How the mean was obtained: `littles_law`, the time that the engine's requests spent running (or waiting), by its histograms, divided by the length of the window; `littles_law_with_polls`, that, and readings of the gauge for what the histograms leave open (with preemptions, how many of the requests were running; with a restart, what the process that ended had not reported); `polled`, from the readings alone. Null without a mean.
	Method *string `json:"method" enum:"littles_law,littles_law_with_polls,polled"`
	// The interval that the counters prove for the mean if it cannot be computed from them; null without one.
	MeanBounds *Bounds `json:"mean_bounds" kind:"bound" better:"neither"`
}

// KVUsage summarises the usage of the KV cache.
type KVUsage struct {
	Gauge
	// How the mean was obtained: `per_running_request`, the usage per running request, from the readings, times `engine.requests.running.mean`, which counters prove; `polled`, from the readings alone. Null without a mean.
	Method *string `json:"method" enum:"per_running_request,polled"`
}

// Requests counts the requests within the window.
type Requests struct {
	// Finished requests by vLLM's finished_reason.
	Finished map[string]int64 `json:"finished" schema:"nullable" kind:"counter" unit:"requests"`
	// Requests that a limit of the queue refused, by the limit: max_num_queued_reqs or max_num_queued_tokens.
	Rejected map[string]int64 `json:"rejected" schema:"nullable" kind:"counter" unit:"requests" better:"lower"`
	// Preemptions (events, not requests).
	Preemptions *int64 `json:"preemptions" kind:"counter" unit:"preemptions" better:"lower"`
	// Preemptions per finished request.
	PreemptionsPerRequest *Distribution `json:"preemptions_per_request" unit:"preemptions" better:"lower"`
	// Requests in execution batches.
	Running *RequestGauge `json:"running" unit:"requests"`
	// Requests waiting to be processed.
	Waiting *RequestGauge `json:"waiting" unit:"requests" better:"lower"`
	// Waiting requests by why they wait: `capacity`, until the scheduler has room for them; `deferred`, because of a passing constraint, such as the LoRA budget or a transfer of their KV.
	WaitingByReason map[string]Gauge `json:"waiting_by_reason" schema:"nullable" unit:"requests" better:"lower"`
	// Requests that left without being counted as finished, at least: those with a first token less those that finished. vLLM counts aborted requests nowhere. Null unless the engine was idle at both ends of the window.
	UnaccountedMin *int64 `json:"unaccounted_min" kind:"counter" unit:"requests" better:"lower"`
	// How many requests the engines may run at once: max_num_seqs each, by what the engines report, or by the servers' command lines.
	RunningLimit *int64 `json:"running_limit" kind:"configuration" unit:"requests"`
	// Mean number of running requests over the window's active time, divided by `running_limit`.
	BatchUtilization *Float `json:"batch_utilization" kind:"sampled mean" unit:"fraction"`
}

// Tokens counts the tokens within the window.
type Tokens struct {
	// Prompt tokens of requests whose prefill finished, including cached ones.
	Prompt *int64 `json:"prompt" kind:"counter" unit:"tokens"`
	// Prompt tokens by where their KV came from.
	PromptBySource map[string]int64 `json:"prompt_by_source" schema:"nullable" kind:"counter" unit:"tokens"`
	// Prompt tokens found in a cache, by the cache's tier: device, host, disk, p2p (another engine) or external_unspecified. Counted when a request is first scheduled.
	PromptCachedBySource map[string]int64 `json:"prompt_cached_by_source" schema:"nullable" kind:"counter" unit:"tokens"`
	// Generated tokens.
	Generation *int64 `json:"generation" kind:"counter" unit:"tokens"`
	// Prompt tokens per finished request.
	PromptPerRequest *Distribution `json:"prompt_per_request" unit:"tokens"`
	// Generated tokens per finished request.
	GenerationPerRequest *Distribution `json:"generation_per_request" unit:"tokens"`
	// Tokens per engine step.
	PerIteration *Distribution `json:"per_iteration" unit:"tokens"`
	// How many tokens an engine may compute in one step: max_num_batched_tokens, by what the engines report, or by the servers' command lines. Null if engines differ.
	PerIterationLimit *int64 `json:"per_iteration_limit" kind:"configuration" unit:"tokens"`
	// Decoding by a diffusion language model.
	Diffusion *DiffusionDecoding `json:"diffusion"`
}

// DiffusionDecoding describes the decoding of a diffusion language model, which
// fills a canvas of positions step by step and commits the tokens that it is
// sure of.
type DiffusionDecoding struct {
	// Denoising steps.
	DenoisingSteps *int64 `json:"denoising_steps" kind:"counter" unit:"steps"`
	// Canvas positions evaluated in them.
	CanvasPositions *int64 `json:"canvas_positions" kind:"counter" unit:"positions"`
	// Tokens committed.
	CommittedTokens *int64 `json:"committed_tokens" kind:"counter" unit:"tokens"`
	// Committed tokens divided by denoising steps.
	CommittedTokensPerStep *Float `json:"committed_tokens_per_step" kind:"ratio" unit:"tokens/step" better:"higher"`
}

// Throughput holds rates over the active time of the window, or over the whole
// window.
type Throughput struct {
	// Finished requests per second.
	RequestsPerSecond *Float `json:"requests_per_second" kind:"ratio" unit:"requests/second" better:"higher"`
	// Prompt tokens per second, including cached ones.
	PromptTokensPerSecond *Float `json:"prompt_tokens_per_second" kind:"ratio" unit:"tokens/second" better:"higher"`
	// Generated tokens per second.
	GenerationTokensPerSecond *Float `json:"generation_tokens_per_second" kind:"ratio" unit:"tokens/second" better:"higher"`
	// What the rates are over: `active`, `engine.window.active_seconds_est`; `window`, `engine.window.duration_seconds`, idle time included, if the active time is unknown.
	Over *string `json:"over" enum:"active,window"`
}

// Distribution is a histogram's increase over the window. Quantiles are
// estimated as Prometheus does, by linear interpolation within a bucket. An
// estimate that the sum refutes is the nearer one of its bounds.
type Distribution struct {
	// Number of observations.
	Count int64 `json:"count" kind:"counter" unit:"observations" better:"neither"`
	// Sum of the observations.
	Sum Float `json:"sum" kind:"counter" better:"neither"`
	// Exact mean: sum divided by count.
	Mean *Float `json:"mean" kind:"mean"`
	// Estimated median.
	P50Est *Float `json:"p50_est" kind:"quantile"`
	// Estimated 90th percentile.
	P90Est *Float `json:"p90_est" kind:"quantile"`
	// Estimated 95th percentile.
	P95Est *Float `json:"p95_est" kind:"quantile"`
	// Estimated 99th percentile.
	P99Est *Float `json:"p99_est" kind:"quantile"`
	// The highest finite bucket bound; set if an estimate is null because it lies beyond that bound.
	Above *Float `json:"above" kind:"bound" better:"neither"`
	// What buckets, count and sum prove of the median: it is at least the first number and at most the second; null instead of the second if nothing bounds it.
	P50Bounds *Bounds `json:"p50_bounds" kind:"bound" better:"neither"`
	// The same of the 90th percentile.
	P90Bounds *Bounds `json:"p90_bounds" kind:"bound" better:"neither"`
	// The same of the 95th percentile.
	P95Bounds *Bounds `json:"p95_bounds" kind:"bound" better:"neither"`
	// The same of the 99th percentile.
	P99Bounds *Bounds `json:"p99_bounds" kind:"bound" better:"neither"`
	// The buckets that observations fell into: the bucket's upper bound, null for +Inf, and the number of observations up to it.
	Buckets []Bucket `json:"buckets" schema:"nullable" kind:"counter" unit:"observations" better:"neither"`
}

// Latency holds the latency distributions that the engine exports, under vLLM's
// metric names.
type Latency struct {
	// From the request's arrival in the front-end to the first token.
	TimeToFirstToken *Distribution `json:"time_to_first_token"`
	// Between two output events of a request.
	InterTokenLatency *Distribution `json:"inter_token_latency"`
	// Mean time per output token of each request.
	TimePerOutputToken *Distribution `json:"time_per_output_token"`
	// From the request's arrival to the last token.
	E2ERequestLatency *Distribution `json:"e2e_request_latency"`
	// From being queued to being scheduled for the first time.
	RequestQueueTime *Distribution `json:"request_queue_time"`
	// From being scheduled to the first token.
	RequestPrefillTime *Distribution `json:"request_prefill_time"`
	// From the first to the last token.
	RequestDecodeTime *Distribution `json:"request_decode_time"`
	// From being scheduled to the last token.
	RequestInferenceTime *Distribution `json:"request_inference_time"`
}

// KVCache describes how full the KV cache was.
type KVCache struct {
	// Fraction of KV blocks in use, from 0 to 1: `last` and `peak` are those of the fullest engine, `mean` is the average over the engines.
	Usage *KVUsage `json:"usage" unit:"fraction"`
	// KV blocks of all engines together.
	NumGPUBlocks *int64 `json:"num_gpu_blocks" kind:"configuration" unit:"blocks"`
	// Tokens per block.
	BlockSize *int64 `json:"block_size" kind:"configuration" unit:"tokens"`
	// Capacity of one engine's cache in tokens; null if engines differ.
	SizeTokens *int64 `json:"size_tokens" kind:"configuration" unit:"tokens"`
	// Peak usage times capacity: tokens in the cache of the fullest engine.
	PeakTokens *int64 `json:"peak_tokens" kind:"sampled peak" unit:"tokens"`
	// How long blocks stayed in the cache and when they were used. Covers a sample of the blocks, and only with vLLM's `--kv-cache-metrics`.
	Residency *KVResidency `json:"residency" unit:"seconds"`
}

// KVResidency describes KV blocks that were evicted within the window.
type KVResidency struct {
	// From a block's allocation to its eviction.
	LifetimeSeconds *Distribution `json:"lifetime_seconds"`
	// From its last use to its eviction.
	IdleBeforeEvictSeconds *Distribution `json:"idle_before_evict_seconds"`
	// Between two uses.
	ReuseGapSeconds *Distribution `json:"reuse_gap_seconds"`
}

// PrefixCache holds the three caches that a prompt can hit.
type PrefixCache struct {
	// The engine's own cache, in tokens (vLLM 0.8: in blocks).
	Local *CacheHits `json:"local" unit:"tokens"`
	// A KV connector's cache, in tokens.
	External *CacheHits `json:"external" unit:"tokens"`
	// The multimodal cache, in items.
	Multimodal *CacheHits `json:"multimodal" unit:"items"`
}

// CacheHits counts the queries of a cache over the window.
type CacheHits struct {
	// Queries, in the cache's unit.
	Queries int64 `json:"queries" kind:"counter"`
	// Hits, in the same unit.
	Hits int64 `json:"hits" kind:"counter"`
	// Hits divided by queries.
	HitRate *Float `json:"hit_rate" kind:"ratio" unit:"fraction" better:"higher"`
}

// Speculative describes speculative decoding.
type Speculative struct {
	// The method, such as ngram or eagle3.
	Method *string `json:"method"`
	// Drafts proposed.
	Drafts *int64 `json:"drafts" kind:"counter" unit:"drafts"`
	// Tokens proposed.
	DraftTokens *int64 `json:"draft_tokens" kind:"counter" unit:"tokens"`
	// Tokens accepted.
	AcceptedTokens *int64 `json:"accepted_tokens" kind:"counter" unit:"tokens"`
	// Accepted divided by drafted tokens.
	AcceptanceRate *Float `json:"acceptance_rate" kind:"ratio" unit:"fraction" better:"higher"`
	// Mean tokens per step: 1 + accepted tokens / drafts.
	AcceptanceLength *Float `json:"acceptance_length" kind:"ratio" unit:"tokens/step" better:"higher"`
	// Accepted tokens by position in the draft.
	AcceptedPerPosition []int64 `json:"accepted_per_position" schema:"nullable" kind:"counter" unit:"tokens"`
}

// KVOffload describes vLLM's own KV offloading: between the GPU and the offload
// tier, which is CPU memory or a primary tier within it, and between that tier
// and secondary tiers. In a vllm-omni pipeline totals may be too low (validity
// code kv_offload_undercounted).
type KVOffload struct {
	// From the offload tier to the GPU.
	Load *KVTransfer `json:"load"`
	// From the GPU to the offload tier.
	Store *KVTransfer `json:"store"`
	// How long look-ups delayed requests.
	LookupDelaySeconds *LookupDelay `json:"lookup_delay_seconds" unit:"seconds" better:"lower"`
	// Failed allocations in the offload tier.
	AllocationFailures *int64 `json:"allocation_failures" kind:"counter" unit:"allocations" better:"lower"`
	// Stores skipped because of the store threshold.
	StoresSkipped *int64 `json:"stores_skipped" kind:"counter" unit:"stores"`
	// Fractions of the CPU tier pinned by transfers; not its occupancy.
	CPUPinned *CPUPinned `json:"cpu_pinned" unit:"fraction"`
	// The figures of each tier, in the order in which vLLM queries them.
	Tiers []KVTier `json:"tiers" schema:"nullable"`
	// Chunks (blocks in earlier versions) per allocation in the CPU tier.
	CPUAllocationChunks *Distribution `json:"cpu_allocation_chunks" unit:"chunks"`
	// Promotions from a secondary tier that failed for lack of room in the primary one.
	PromotionAllocationFailures *int64 `json:"promotion_allocation_failures" kind:"counter" unit:"promotions" better:"lower"`
}

// KVTransfer describes the transfers in one direction. Each rank (GPU) of an
// engine counts its own, so that one job of four ranks is four operations.
type KVTransfer struct {
	// Bytes moved, summed over ranks.
	Bytes *int64 `json:"bytes" kind:"counter" unit:"bytes"`
	// Time spent moving them, summed over ranks and jobs: it may exceed the window.
	Seconds *Float `json:"seconds" kind:"counter" unit:"seconds"`
	// Transfers, counted once per rank.
	Operations *int64 `json:"operations" kind:"counter" unit:"transfers"`
	// 10^9 bytes per second of transfer time: the mean speed of one rank while copying.
	GigabytesPerSecondBusy *Float `json:"gigabytes_per_second_busy" kind:"ratio" unit:"gigabytes/second" better:"higher"`
	// 10^9 bytes per second of the window's active time.
	GigabytesPerSecondWall *Float `json:"gigabytes_per_second_wall" kind:"ratio" unit:"gigabytes/second"`
	// Bytes per transfer.
	SizeBytes *Distribution `json:"size_bytes" unit:"bytes"`
}

// LookupDelay holds the delays of look-ups in the offload tiers, in seconds.
type LookupDelay struct {
	// Look-ups answered at once.
	Sync *Distribution `json:"sync"`
	// Look-ups answered later.
	Async *Distribution `json:"async"`
}

// CPUPinned holds the fractions of the CPU tier, from 0 to 1, that transfers in
// flight have pinned: a full cache at rest has 0. They are read only with full
// scrapes, every few seconds.
type CPUPinned struct {
	// Pinned by any transfer.
	Usage *Gauge `json:"usage"`
	// Pinned by writes.
	Write *Gauge `json:"write"`
	// Pinned by reads.
	Read *Gauge `json:"read"`
}

// KVTier describes one offload tier.
type KVTier struct {
	// The tier's label, its index and type, such as 0:primary or 1:fs.
	Tier string `json:"tier"`
	// Chunks (blocks in earlier versions) looked up. A chunk that one tier lacks is looked up in the next.
	Queries *int64 `json:"queries" kind:"counter" unit:"chunks"`
	// Chunks found.
	Hits *int64 `json:"hits" kind:"counter" unit:"chunks"`
	// Hits divided by queries.
	HitRate *Float `json:"hit_rate" kind:"ratio" unit:"fraction" better:"higher"`
	// Bytes read from this tier into the primary one. A promotion that failed in part counts with the bytes that arrived.
	ReadBytes *int64 `json:"read_bytes" kind:"counter" unit:"bytes"`
	// Time spent reading, queueing included, summed over jobs. Some jobs report none, so bytes divided by seconds is not a speed.
	ReadSeconds *Float `json:"read_seconds" kind:"counter" unit:"seconds"`
	// Bytes written from the primary tier into this one.
	WriteBytes *int64 `json:"write_bytes" kind:"counter" unit:"bytes"`
	// Time spent writing, measured as `read_seconds` is.
	WriteSeconds *Float `json:"write_seconds" kind:"counter" unit:"seconds"`
	// Failed jobs: promotions and cascades.
	Failures *int64 `json:"failures" kind:"counter" unit:"jobs" better:"lower"`
	// Failed jobs from this tier into the primary one.
	PromotionFailures *int64 `json:"promotion_failures" kind:"counter" unit:"jobs" better:"lower"`
	// Failed jobs from the primary tier into this one.
	CascadeFailures *int64 `json:"cascade_failures" kind:"counter" unit:"jobs" better:"lower"`
	// Jobs in flight from this tier into the primary one. Read only with full scrapes.
	ActivePromotions *Gauge `json:"active_promotions" unit:"jobs"`
	// Jobs in flight from the primary tier into this one. Read only with full scrapes.
	ActiveCascades *Gauge `json:"active_cascades" unit:"jobs"`
	// How long look-ups in this tier delayed requests.
	LookupDelaySeconds *LookupDelay `json:"lookup_delay_seconds" unit:"seconds" better:"lower"`
	// Fractions of the primary tier, from 0 to 1, pinned by this tier's jobs; not its occupancy.
	PrimaryPinned *PrimaryPinned `json:"primary_pinned" unit:"fraction"`
	// Stores dropped because the tier was too slow, if the tier is configured to drop them.
	Backpressure *Backpressure `json:"backpressure"`
}

// PrimaryPinned holds the fractions of the primary tier pinned by transfers.
// They are read only with full scrapes.
type PrimaryPinned struct {
	// Pinned by writes into it.
	Write *Gauge `json:"write"`
	// Pinned by reads from it.
	Read *Gauge `json:"read"`
}

// Backpressure describes how vLLM spared a tier that is too slow.
type Backpressure struct {
	// Moving average of the seconds needed to store one MiB, the highest over all engines. Read only with full scrapes.
	StoreSecondsPerMebibyte *Gauge `json:"store_seconds_per_mebibyte" unit:"seconds/MiB" better:"lower"`
	// Stores dropped.
	StoresDropped *int64 `json:"stores_dropped" kind:"counter" unit:"stores" better:"lower"`
	// Blocks dropped with them.
	BlocksDropped *int64 `json:"blocks_dropped" kind:"counter" unit:"blocks" better:"lower"`
}

// KVConnector describes one KV connector.
type KVConnector struct {
	// The connector's name: nixl, mooncake_store, hf3fs, hisparse or simple_cpu_offload.
	Name string `json:"name"`
	// Transfer times in seconds: of NIXL's transfers, of Mooncake's puts and gets, of 3FS's successful saves and loads.
	Transfers *Distribution `json:"transfers" unit:"seconds" better:"lower"`
	// Bytes moved.
	Bytes *int64 `json:"bytes" kind:"counter" unit:"bytes"`
	// Failed transfers.
	Failures *int64 `json:"failures" kind:"counter" unit:"transfers" better:"lower"`
	// Time to submit a transfer.
	PostSeconds *Distribution `json:"post_seconds" unit:"seconds" better:"lower"`
	// Bytes per transfer.
	SizeBytes *Distribution `json:"size_bytes" unit:"bytes"`
	// Descriptors (pieces of memory) per transfer.
	Descriptors *Distribution `json:"descriptors" unit:"descriptors"`
	// Failed notifications of a transfer's end.
	FailedNotifications *int64 `json:"failed_notifications" kind:"counter" unit:"notifications" better:"lower"`
	// Requests whose KV expired before it was fetched, as counted by the prefill side.
	ExpiredRequests *int64 `json:"expired_requests" kind:"counter" unit:"requests" better:"lower"`
	// Notifications of a transfer's end for requests that were no longer tracked, mostly because their KV had expired: one for each rank that sent one.
	LateNotifications *int64 `json:"late_notifications" kind:"counter" unit:"notifications" better:"lower"`
	// The device's hot buffers, in look-ups.
	Cache *CacheHits `json:"cache" unit:"lookups"`
	// HiSparse's KV cache in the host's memory.
	HostCache *HostCache `json:"host_cache"`
	// The blocks that SimpleCPUOffload moves between the GPU and its pool in CPU memory or on disk.
	OffloadBlocks *OffloadBlocks `json:"offload_blocks"`
	// The connector's operations, by name.
	Operations []KVOperation `json:"operations" schema:"nullable"`
}

// HostCache describes a connector's KV cache in the host's memory.
type HostCache struct {
	// Fraction in use, from 0 to 1; blocks that could be evicted count as free. Read only with full scrapes.
	Usage *Gauge `json:"usage" unit:"fraction"`
	// Transfers of pages from or to it that were not completed. Read only with full scrapes.
	PendingTransfers *Gauge `json:"pending_transfers" unit:"transfers"`
	// How long blocks stayed in it. Covers a sample of the blocks, and only with vLLM's `--kv-cache-metrics`.
	Residency *KVResidency `json:"residency" unit:"seconds"`
}

// OffloadBlocks counts the blocks of an offload pool.
type OffloadBlocks struct {
	// Blocks by the decision on saving them, such as stored or dropped_cpu_full. A lazy connector's are not counted.
	SaveOutcomes map[string]int64 `json:"save_outcomes" schema:"nullable" kind:"counter" unit:"blocks"`
	// Blocks loaded to the GPU by phase: completed, which is all that some versions count, or issued.
	Loaded map[string]int64 `json:"loaded" schema:"nullable" kind:"counter" unit:"blocks"`
	// Blocks pinned by transfers or cache hits; not the pool's occupancy. Read only with full scrapes.
	Pinned *Gauge `json:"pinned" unit:"blocks"`
	// Blocks waiting to be stored. Read only with full scrapes.
	PendingStores *Gauge `json:"pending_stores" unit:"blocks"`
	// Size of the pools of all engines together.
	Capacity *int64 `json:"capacity" kind:"configuration" unit:"blocks"`
}

// KVOperation describes one operation of a KV connector.
type KVOperation struct {
	// The connector's name for it, such as load_get or save.
	Operation string `json:"operation"`
	// Calls, including failed ones.
	Count *int64 `json:"count" kind:"counter" unit:"calls"`
	// Times of calls in seconds. 3FS times successful calls only.
	Seconds *Distribution `json:"seconds" unit:"seconds" better:"lower"`
	// Keys passed to the calls.
	Keys *int64 `json:"keys" kind:"counter" unit:"keys"`
	// Bytes moved.
	Bytes *int64 `json:"bytes" kind:"counter" unit:"bytes"`
	// Calls that failed.
	Failures *int64 `json:"failures" kind:"counter" unit:"calls" better:"lower"`
	// Keys that failed, including those of calls that succeeded.
	FailedKeys *int64 `json:"failed_keys" kind:"counter" unit:"keys" better:"lower"`
}

// EngineConfig is the effective configuration, with the source of every
// setting.
type EngineConfig struct {
	// Settings by the names of vLLM's flags, if all engines agree on them.
	Values map[string]any `json:"values"`
	// The source of each setting: engine_core, worker or front_end (with `--instrument`), server_info, cache_config_info, models or version.
	Sources map[string]string `json:"sources"`
}

// Instance holds the figures of one engine.
type Instance struct {
	// Index into `engine.endpoints`.
	Endpoint int `json:"endpoint" kind:"identity"`
	// The engine's label; null if the endpoint has none.
	Engine *string `json:"engine"`
	// The stage's label; null for an engine without stages.
	Stage *string `json:"stage"`
	// The replica's label; null for an engine without stages.
	Replica *string `json:"replica"`
	// Ray's id of the engine's worker; absent unless Ray exports the metrics.
	Worker *string `json:"worker,omitempty"`
	// Highest polled KV-cache usage, a fraction from 0 to 1.
	KVCacheUsagePeak *Float `json:"kv_cache_usage_peak" kind:"sampled peak" unit:"fraction"`
	// Highest polled number of running requests.
	RequestsRunningPeak *int64 `json:"requests_running_peak" kind:"sampled peak" unit:"requests"`
	// Mean number of running requests: from the engine's own times if they prove it, otherwise from the polls, as `engine.requests.running.mean`.
	RequestsRunningMean *Float `json:"requests_running_mean" kind:"sampled mean" unit:"requests"`
	// Highest polled number of waiting requests.
	RequestsWaitingPeak *int64 `json:"requests_waiting_peak" kind:"sampled peak" unit:"requests" better:"lower"`
	// Mean number of waiting requests, obtained as `requests_running_mean`.
	RequestsWaitingMean *Float `json:"requests_waiting_mean" kind:"sampled mean" unit:"requests" better:"lower"`
	// Requests that finished within the window.
	RequestsFinished *int64 `json:"requests_finished" kind:"counter" unit:"requests"`
	// Preemptions (events, not requests) within the window.
	Preemptions *int64 `json:"preemptions" kind:"counter" unit:"preemptions" better:"lower"`
	// Prompt tokens within the window.
	PromptTokens *int64 `json:"prompt_tokens" kind:"counter" unit:"tokens"`
	// Tokens generated within the window.
	GenerationTokens *int64 `json:"generation_tokens" kind:"counter" unit:"tokens"`
}
