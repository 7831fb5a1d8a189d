package schema

// Engine holds what the engine told of itself over the run's window.
type Engine struct {
	// Where the figures come from.
	Source string `json:"source" enum:"http,multiprocess,none,mixed"`
	// The endpoints that were read.
	Endpoints []Endpoint `json:"endpoints"`
	// Names of the served models.
	Models []string `json:"models"`
	// The pipeline stage that these figures are of; null for an engine without stages.
	Stage *string `json:"stage"`
	// The time that the figures cover.
	Window *Window `json:"window"`
	// How the engine was polled.
	Scrapes *Scrapes `json:"scrapes"`
	// Requests of the window.
	Requests *Requests `json:"requests"`
	// Tokens of the window.
	Tokens *Tokens `json:"tokens"`
	// Rates over the window's active time.
	Throughput *Throughput `json:"throughput"`
	// Latencies that the engine measured.
	LatencySeconds *Latency `json:"latency_seconds" unit:"seconds" better:"lower"`
	// The KV cache.
	KVCache *KVCache `json:"kv_cache"`
	// The prefix caches.
	PrefixCache *PrefixCache `json:"prefix_cache"`
	// Speculative decoding.
	Speculative *Speculative `json:"speculative"`
	// KV offloading.
	KVOffload *KVOffload `json:"kv_offload"`
	// Other KV connectors.
	KVConnectors []KVConnector `json:"kv_connectors" schema:"nullable"`
	// The effective configuration.
	Config *EngineConfig `json:"config"`
	// Each engine's own figures.
	Instances []Instance `json:"instances"`
}

// Endpoint is one address that was read.
type Endpoint struct {
	// The address, user info removed.
	URL string `json:"url"`
	// The engine's version.
	Version *string `json:"version"`
	// How it was read.
	Source string `json:"source" enum:"http,multiprocess"`
	// Start of the process behind it (UTC, RFC 3339).
	ProcessStartTime *string `json:"process_start_time"`
}

// Window is the time between the two readings that the deltas are taken from.
type Window struct {
	// What counters are counted from: a reading before the start, zero for an engine that came up inside the run, or files.
	Base string `json:"base" enum:"scraped,zero,files"`
	// What the last reading is: settled after the exit, unsettled, taken before a shutdown signal went on, the last that succeeded, or files.
	Final string `json:"final" enum:"settled,unsettled,before_signal,last_good,files"`
	// How long before the command's end the last reading was taken; 0 when it came after.
	FinalAgeSeconds Float `json:"final_age_seconds" kind:"coverage" unit:"seconds"`
	// Length of the window.
	DurationSeconds Float `json:"duration_seconds" kind:"duration" unit:"seconds"`
	// The intervals between polls in which a token counter rose or requests were running at either end.
	ActiveSecondsEst *Float `json:"active_seconds_est" kind:"estimate" unit:"seconds"`
	// How long the last observations were waited for after the exit.
	SettleSeconds Float `json:"settle_seconds" kind:"coverage" unit:"seconds"`
	// How often the engine's counters restarted inside the window.
	Resets int64 `json:"resets" kind:"counter" unit:"restarts" better:"lower"`
}

// Scrapes tells how the engine was polled.
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
	// Mean over time.
	Mean *Float `json:"mean" kind:"sampled mean"`
	// Highest reading. A lower bound: see scrapes.
	Peak *Float `json:"peak" kind:"sampled peak"`
}

// Requests counts the window's requests.
type Requests struct {
	// Finished requests by vLLM's finished_reason.
	Finished map[string]int64 `json:"finished" schema:"nullable" kind:"counter" unit:"requests"`
	// Preemptions (events, not requests).
	Preemptions *int64 `json:"preemptions" kind:"counter" unit:"preemptions" better:"lower"`
	// Requests in execution batches.
	Running *Gauge `json:"running" unit:"requests"`
	// Requests waiting.
	Waiting *Gauge `json:"waiting" unit:"requests" better:"lower"`
	// Mean running requests divided by what the engines may run at once, max_num_seqs each.
	BatchUtilization *Float `json:"batch_utilization" kind:"sampled mean" unit:"fraction"`
}

// Tokens counts the window's tokens.
type Tokens struct {
	// Prompt tokens of requests whose prefill finished, cached ones included.
	Prompt *int64 `json:"prompt" kind:"counter" unit:"tokens"`
	// Prompt tokens by where their KV came from.
	PromptBySource map[string]int64 `json:"prompt_by_source" schema:"nullable" kind:"counter" unit:"tokens"`
	// Generated tokens.
	Generation *int64 `json:"generation" kind:"counter" unit:"tokens"`
	// Prompt tokens per finished request.
	PromptPerRequest *Distribution `json:"prompt_per_request" unit:"tokens"`
	// Generated tokens per finished request.
	GenerationPerRequest *Distribution `json:"generation_per_request" unit:"tokens"`
	// Tokens per engine step.
	PerIteration *Distribution `json:"per_iteration" unit:"tokens"`
	// What a diffusion model did instead of speculative decoding.
	Diffusion *DiffusionDecoding `json:"diffusion" schema:"added"`
}

// DiffusionDecoding holds the figures of a diffusion language model, which fills
// a canvas of positions step by step and commits what it is sure of.
type DiffusionDecoding struct {
	// Denoising steps.
	DenoisingSteps *int64 `json:"denoising_steps" kind:"counter" unit:"steps"`
	// Canvas positions that were evaluated in them.
	CanvasPositions *int64 `json:"canvas_positions" kind:"counter" unit:"positions"`
	// Tokens that were committed.
	CommittedTokens *int64 `json:"committed_tokens" kind:"counter" unit:"tokens"`
	// Committed tokens divided by denoising steps.
	CommittedTokensPerStep *Float `json:"committed_tokens_per_step" kind:"ratio" unit:"tokens/step" better:"higher"`
}

// Throughput holds rates over the active time of the window.
type Throughput struct {
	// Finished requests per second.
	RequestsPerSecond *Float `json:"requests_per_second" kind:"ratio" unit:"requests/second" better:"higher"`
	// Prompt tokens per second, cached ones included.
	PromptTokensPerSecond *Float `json:"prompt_tokens_per_second" kind:"ratio" unit:"tokens/second" better:"higher"`
	// Generated tokens per second.
	GenerationTokensPerSecond *Float `json:"generation_tokens_per_second" kind:"ratio" unit:"tokens/second" better:"higher"`
}

// Distribution is a histogram's share of the window. Quantiles are estimates by
// Prometheus's rule (linear within the bucket).
type Distribution struct {
	// Observations.
	Count int64 `json:"count" kind:"counter" unit:"observations" better:"neither"`
	// Their sum.
	Sum Float `json:"sum" kind:"counter" better:"neither"`
	// Their mean, exact.
	Mean *Float `json:"mean" kind:"mean"`
	// Estimated median.
	P50Est *Float `json:"p50_est" kind:"quantile"`
	// Estimated 90th percentile.
	P90Est *Float `json:"p90_est" kind:"quantile"`
	// Estimated 95th percentile.
	P95Est *Float `json:"p95_est" kind:"quantile"`
	// Estimated 99th percentile.
	P99Est *Float `json:"p99_est" kind:"quantile"`
	// The highest finite bucket bound, set when an estimate is null for lying beyond it.
	Above *Float `json:"above" kind:"bound" better:"neither"`
}

// Latency holds the engine's latency distributions, under vLLM's family names.
type Latency struct {
	// From arrival in the front-end to the first token.
	TimeToFirstToken *Distribution `json:"time_to_first_token"`
	// Between two output events of a request.
	InterTokenLatency *Distribution `json:"inter_token_latency"`
	// Mean per output token of each request.
	TimePerOutputToken *Distribution `json:"time_per_output_token"`
	// From arrival to the last token.
	E2ERequestLatency *Distribution `json:"e2e_request_latency"`
	// From being queued to being scheduled first.
	RequestQueueTime *Distribution `json:"request_queue_time"`
	// From being scheduled to the first token.
	RequestPrefillTime *Distribution `json:"request_prefill_time"`
	// From the first to the last token.
	RequestDecodeTime *Distribution `json:"request_decode_time"`
	// From being scheduled to the last token.
	RequestInferenceTime *Distribution `json:"request_inference_time"`
}

// KVCache tells how full the KV cache was.
type KVCache struct {
	// Fraction 0..1 of KV blocks in use, the highest over engines.
	Usage *Gauge `json:"usage" unit:"fraction"`
	// KV blocks of all engines together.
	NumGPUBlocks *int64 `json:"num_gpu_blocks" kind:"configuration" unit:"blocks"`
	// Tokens per block.
	BlockSize *int64 `json:"block_size" kind:"configuration" unit:"tokens"`
	// Capacity of one engine's cache in tokens; null where engines differ.
	SizeTokens *int64 `json:"size_tokens" kind:"configuration" unit:"tokens"`
	// Peak usage times capacity: tokens in the cache of the fullest engine.
	PeakTokens *int64 `json:"peak_tokens" kind:"sampled peak" unit:"tokens"`
	// How long blocks stayed and were used; of a sample of the blocks, and with --kv-cache-metrics only.
	Residency *KVResidency `json:"residency" schema:"added" unit:"seconds"`
}

// KVResidency holds the lives of KV blocks that were evicted in the window.
type KVResidency struct {
	// From a block's allocation to its eviction.
	LifetimeSeconds *Distribution `json:"lifetime_seconds"`
	// From its last use to its eviction.
	IdleBeforeEvictSeconds *Distribution `json:"idle_before_evict_seconds"`
	// Between two uses.
	ReuseGapSeconds *Distribution `json:"reuse_gap_seconds"`
}

// PrefixCache holds the three caches that prompts can hit.
type PrefixCache struct {
	// The engine's own cache, in tokens (vLLM 0.8: in blocks).
	Local *CacheHits `json:"local" unit:"tokens"`
	// A KV connector's cache, in tokens.
	External *CacheHits `json:"external" unit:"tokens"`
	// The multimodal cache, in items.
	Multimodal *CacheHits `json:"multimodal" unit:"items"`
}

// CacheHits counts a cache's queries over the window.
type CacheHits struct {
	// Queries, in the cache's unit.
	Queries int64 `json:"queries" kind:"counter"`
	// Hits, in the same unit.
	Hits int64 `json:"hits" kind:"counter"`
	// Hits divided by queries.
	HitRate *Float `json:"hit_rate" kind:"ratio" unit:"fraction" better:"higher"`
}

// Speculative holds the figures of speculative decoding.
type Speculative struct {
	// The method, as ngram or eagle3.
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

// KVOffload holds the figures of vLLM's own KV offloading: between the GPU and
// the offload tier, which is the CPU's memory or a primary tier in it, and
// between that and the secondary tiers. In a vllm-omni pipeline totals may be too
// low (validity kv_offload_undercounted).
type KVOffload struct {
	// From the offload tier to the GPU.
	Load *KVTransfer `json:"load"`
	// From the GPU to the offload tier.
	Store *KVTransfer `json:"store"`
	// How long look-ups delayed requests.
	LookupDelaySeconds *LookupDelay `json:"lookup_delay_seconds" unit:"seconds" better:"lower"`
	// Failed allocations in the offload tier.
	AllocationFailures *int64 `json:"allocation_failures" kind:"counter" unit:"allocations" better:"lower"`
	// Stores skipped by the store threshold.
	StoresSkipped *int64 `json:"stores_skipped" kind:"counter" unit:"stores"`
	// Fractions of the CPU tier pinned by transfers; not its occupancy.
	CPUPinned *CPUPinned `json:"cpu_pinned" unit:"fraction"`
	// The tiers' own figures, in the order in which they are asked.
	Tiers []KVTier `json:"tiers" schema:"nullable"`
	// Chunks (in earlier versions blocks) per allocation in the CPU tier.
	CPUAllocationChunks *Distribution `json:"cpu_allocation_chunks" schema:"added" unit:"chunks"`
	// Promotions from a secondary tier for which the primary one had no room.
	PromotionAllocationFailures *int64 `json:"promotion_allocation_failures" schema:"added" kind:"counter" unit:"promotions" better:"lower"`
}

// KVTransfer holds the transfers of one direction. Each rank (GPU) of an engine
// counts its own, so that one job of four ranks is four operations.
type KVTransfer struct {
	// Bytes moved, all ranks together.
	Bytes *int64 `json:"bytes" kind:"counter" unit:"bytes"`
	// Time spent moving them, summed over ranks and jobs: it may exceed the window.
	Seconds *Float `json:"seconds" kind:"counter" unit:"seconds"`
	// Transfers, each rank's counted.
	Operations *int64 `json:"operations" kind:"counter" unit:"transfers"`
	// 10^9 bytes per second of transfer time: a rank's mean speed while copying.
	GigabytesPerSecondBusy *Float `json:"gigabytes_per_second_busy" kind:"ratio" unit:"gigabytes/second" better:"higher"`
	// 10^9 bytes per second of the window's active time.
	GigabytesPerSecondWall *Float `json:"gigabytes_per_second_wall" kind:"ratio" unit:"gigabytes/second"`
	// Bytes per transfer.
	SizeBytes *Distribution `json:"size_bytes" unit:"bytes"`
}

// LookupDelay holds the delays of look-ups in the offload tiers, in seconds.
type LookupDelay struct {
	// Of look-ups answered at once.
	Sync *Distribution `json:"sync"`
	// Of look-ups answered later.
	Async *Distribution `json:"async"`
}

// CPUPinned holds fractions 0..1 of the CPU tier pinned by transfers in flight: a
// full cache at rest has 0. They are read with whole pages only, every few seconds.
type CPUPinned struct {
	// By any transfer.
	Usage *Gauge `json:"usage"`
	// By writes.
	Write *Gauge `json:"write"`
	// By reads.
	Read *Gauge `json:"read"`
}

// KVTier holds one offload tier's figures.
type KVTier struct {
	// The tier's label: its index and type, as 0:primary or 1:fs.
	Tier string `json:"tier"`
	// Chunks (in earlier versions blocks) asked for. What one tier lacks, the next is asked for.
	Queries *int64 `json:"queries" kind:"counter" unit:"chunks"`
	// Chunks found.
	Hits *int64 `json:"hits" kind:"counter" unit:"chunks"`
	// Hits divided by queries.
	HitRate *Float `json:"hit_rate" kind:"ratio" unit:"fraction" better:"higher"`
	// Bytes read from this tier into the primary one; of a promotion that failed in part, those that arrived.
	ReadBytes *int64 `json:"read_bytes" kind:"counter" unit:"bytes"`
	// Time spent reading, queues included, summed over jobs. A job may tell none: bytes by seconds is no speed.
	ReadSeconds *Float `json:"read_seconds" kind:"counter" unit:"seconds"`
	// Bytes written from the primary tier into this one.
	WriteBytes *int64 `json:"write_bytes" kind:"counter" unit:"bytes"`
	// Time spent writing, as read_seconds.
	WriteSeconds *Float `json:"write_seconds" kind:"counter" unit:"seconds"`
	// Failed jobs: promotions and cascades.
	Failures *int64 `json:"failures" kind:"counter" unit:"jobs" better:"lower"`
	// Failed jobs from this tier into the primary one.
	PromotionFailures *int64 `json:"promotion_failures" schema:"added" kind:"counter" unit:"jobs" better:"lower"`
	// Failed jobs from the primary tier into this one.
	CascadeFailures *int64 `json:"cascade_failures" schema:"added" kind:"counter" unit:"jobs" better:"lower"`
	// Jobs from this tier into the primary one in flight. Read with whole pages only.
	ActivePromotions *Gauge `json:"active_promotions" schema:"added" unit:"jobs"`
	// Jobs from the primary tier into this one in flight. Read with whole pages only.
	ActiveCascades *Gauge `json:"active_cascades" schema:"added" unit:"jobs"`
	// How long look-ups in this tier delayed requests.
	LookupDelaySeconds *LookupDelay `json:"lookup_delay_seconds" schema:"added" unit:"seconds" better:"lower"`
	// Fractions 0..1 of the primary tier pinned by this tier's jobs; not its occupancy.
	PrimaryPinned *PrimaryPinned `json:"primary_pinned" schema:"added" unit:"fraction"`
	// Stores that were given up because the tier was too slow; for tiers that configure it.
	Backpressure *Backpressure `json:"backpressure" schema:"added"`
}

// PrimaryPinned holds fractions of the primary tier pinned by transfers, read
// with whole pages only.
type PrimaryPinned struct {
	// By what is being written into it.
	Write *Gauge `json:"write"`
	// By what is being read from it.
	Read *Gauge `json:"read"`
}

// Backpressure tells how a tier that is too slow was spared.
type Backpressure struct {
	// Moving average of the time to store one MiB, in seconds, the highest over engines. Read with whole pages only.
	StoreSecondsPerMebibyte *Gauge `json:"store_seconds_per_mebibyte" unit:"seconds/MiB" better:"lower"`
	// Stores dropped.
	StoresDropped *int64 `json:"stores_dropped" kind:"counter" unit:"stores" better:"lower"`
	// Blocks dropped with them.
	BlocksDropped *int64 `json:"blocks_dropped" kind:"counter" unit:"blocks" better:"lower"`
}

// KVConnector holds the figures of one KV connector.
type KVConnector struct {
	// The connector's name: nixl, mooncake_store, hf3fs or hisparse.
	Name string `json:"name"`
	// Transfer times in seconds: of NIXL's transfers, of Mooncake's puts and gets, of 3FS's saves and loads that succeeded.
	Transfers *Distribution `json:"transfers" unit:"seconds" better:"lower"`
	// Bytes moved.
	Bytes *int64 `json:"bytes" kind:"counter" unit:"bytes"`
	// Failed transfers.
	Failures *int64 `json:"failures" kind:"counter" unit:"transfers" better:"lower"`
	// Time to submit a transfer.
	PostSeconds *Distribution `json:"post_seconds" schema:"added" unit:"seconds" better:"lower"`
	// Bytes per transfer.
	SizeBytes *Distribution `json:"size_bytes" schema:"added" unit:"bytes"`
	// Descriptors (pieces of memory) per transfer.
	Descriptors *Distribution `json:"descriptors" schema:"added" unit:"descriptors"`
	// Notifications of a transfer's end that failed.
	FailedNotifications *int64 `json:"failed_notifications" schema:"added" kind:"counter" unit:"notifications" better:"lower"`
	// Requests whose KV expired before it was fetched; the prefill side counts them.
	ExpiredRequests *int64 `json:"expired_requests" schema:"added" kind:"counter" unit:"requests" better:"lower"`
	// The device's hot buffers, in lookups.
	Cache *CacheHits `json:"cache" schema:"added" unit:"lookups"`
	// The connector's operations, by name.
	Operations []KVOperation `json:"operations" schema:"nullable,added"`
}

// KVOperation holds one operation of a KV connector.
type KVOperation struct {
	// The connector's name for it, as load_get or save.
	Operation string `json:"operation"`
	// Calls, failed ones included.
	Count *int64 `json:"count" kind:"counter" unit:"calls"`
	// Times of calls in seconds; 3FS times those alone that succeeded.
	Seconds *Distribution `json:"seconds" unit:"seconds" better:"lower"`
	// Keys of the calls.
	Keys *int64 `json:"keys" kind:"counter" unit:"keys"`
	// Bytes moved.
	Bytes *int64 `json:"bytes" kind:"counter" unit:"bytes"`
	// Calls that failed.
	Failures *int64 `json:"failures" kind:"counter" unit:"calls" better:"lower"`
	// Keys that failed, also in calls that did not.
	FailedKeys *int64 `json:"failed_keys" kind:"counter" unit:"keys" better:"lower"`
}

// EngineConfig is the effective configuration, with the source of every key.
type EngineConfig struct {
	// Settings by the names of vLLM's flags, as far as all engines have them alike.
	Values map[string]any `json:"values"`
	// Which source gave each: engine_core, worker or front_end (by --instrument), server_info, cache_config_info, models or version.
	Sources map[string]string `json:"sources"`
}

// Instance holds one engine's own figures.
type Instance struct {
	// Index into engine.endpoints.
	Endpoint int `json:"endpoint" kind:"identity"`
	// The engine's label; null where the endpoint gives none.
	Engine *string `json:"engine"`
	// The stage's label; null for an engine without stages.
	Stage *string `json:"stage"`
	// The replica's label; null for an engine without stages.
	Replica *string `json:"replica"`
	// Ray's id of the engine's worker; left out where Ray does not export the metrics.
	Worker *string `json:"worker,omitempty"`
	// Highest polled KV-cache usage, a fraction 0..1.
	KVCacheUsagePeak *Float `json:"kv_cache_usage_peak" kind:"sampled peak" unit:"fraction"`
	// Highest polled number of running requests.
	RequestsRunningPeak *int64 `json:"requests_running_peak" kind:"sampled peak" unit:"requests"`
	// Requests finished in the window.
	RequestsFinished *int64 `json:"requests_finished" kind:"counter" unit:"requests"`
	// Prompt tokens of the window.
	PromptTokens *int64 `json:"prompt_tokens" kind:"counter" unit:"tokens"`
	// Generated tokens of the window.
	GenerationTokens *int64 `json:"generation_tokens" kind:"counter" unit:"tokens"`
}
