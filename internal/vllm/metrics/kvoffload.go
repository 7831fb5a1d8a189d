package metrics

// The metrics of KV offloading, of KV connectors, of KV block residency and of diffusion
// language models.
const (
	OffloadLoadBytes ID = iota + endOfCore
	OffloadLoadTime
	OffloadLoadSize
	OffloadStoreBytes
	OffloadStoreTime
	OffloadStoreSize
	// The deprecated metrics of vLLM 0.16 and later, split by direction. The flat ones
	// above replace them; both count the same events.
	OffloadOldBytes
	OffloadOldTime
	OffloadOldSize
	OffloadLookupSync
	OffloadLookupAsync
	OffloadAllocationFailures
	OffloadStoresSkipped
	OffloadCPUPinned
	OffloadCPUPinnedWrite
	OffloadCPUPinnedRead
	OffloadCPUAllocation

	TierQueries
	TierHits
	TierReadBytes
	TierReadTime
	TierWriteBytes
	TierWriteTime
	TierPromotionFailures
	TierCascadeFailures
	TierActivePromotions
	TierActiveCascades
	TierPinnedWrite
	TierPinnedRead
	TierLookupSync
	TierLookupAsync
	TierBackpressureLatency
	TierStoresDropped
	TierBlocksDropped
	PromotionAllocationFailures // all tiers together

	NixlTransferTime
	NixlPostTime
	NixlBytes
	NixlDescriptors
	NixlFailedTransfers
	NixlFailedNotifications
	NixlExpiredRequests
	NixlLateNotifications
	MooncakeTime
	MooncakeCalls
	MooncakeKeys
	MooncakeBytes
	MooncakeFailedKeys
	HF3FSSaveTime
	HF3FSLoadTime
	HF3FSFailedSaves
	HF3FSFailedLoads
	HisparseHits
	HisparseMisses
	HisparseBytes
	HisparseHostUsage
	HisparsePendingTransfers
	HisparseHostBlockLifetime
	HisparseHostBlockIdleBeforeEvict
	HisparseHostBlockReuseGap
	SimpleSaveOutcomes
	SimpleLoadBlocks
	SimplePinnedBlocks
	SimplePendingStoreBlocks
	SimpleInfo

	KVBlockLifetime
	KVBlockIdleBeforeEvict
	KVBlockReuseGap
	DiffusionSteps
	DiffusionPositions
	DiffusionCommitted
	endOfOffload
)

// offloadDescs are the names of the metrics in this file. Times are in seconds, even if a
// counter's name does not end in _seconds.
//
// Sources: vllm/distributed/kv_transfer/kv_connector/v1/offloading/metrics.py
// (get_connector_metric_definitions), vllm/v1/kv_offload/cpu/spec.py and
// vllm/v1/kv_offload/tiering/ (build_metric_definitions; PRs 27942, 45958, 48798,
// 50045), …/v1/nixl/stats.py, …/v1/mooncake/store/metrics.py,
// …/v1/hf3fs/metrics.py, …/v1/hisparse/ (PR 56061; stats.py of 0.32.0),
// vllm/v1/simple_kv_offload/metrics.py (0.32.0), vllm/v1/metrics/loggers.py
// (kv_block_*), vllm/v1/spec_decode/metrics.py (PR 45163), read in August and
// September 2026; none was checked against a running engine.
var offloadDescs = []Desc{
	{OffloadLoadBytes, KindCounter, "vllm:kv_offload_load_bytes_total", "", "June 2026 –", Unscaled},
	{OffloadLoadTime, KindCounter, "vllm:kv_offload_load_time_total", "", "June 2026 –", Unscaled},
	{OffloadLoadSize, KindHistogram, "vllm:kv_offload_load_size", "", "June 2026 –", Unscaled},
	{OffloadStoreBytes, KindCounter, "vllm:kv_offload_store_bytes_total", "", "June 2026 –", Unscaled},
	{OffloadStoreTime, KindCounter, "vllm:kv_offload_store_time_total", "", "June 2026 –", Unscaled},
	{OffloadStoreSize, KindHistogram, "vllm:kv_offload_store_size", "", "June 2026 –", Unscaled},
	{OffloadOldBytes, KindCounter, "vllm:kv_offload_total_bytes_total", "transfer_type", "0.16 –, deprecated", Unscaled},
	{OffloadOldTime, KindCounter, "vllm:kv_offload_total_time_total", "transfer_type", "0.16 –, deprecated", Unscaled},
	{OffloadOldSize, KindHistogram, "vllm:kv_offload_size", "transfer_type", "0.16 –, deprecated", Unscaled},
	{OffloadLookupSync, KindHistogram, "vllm:kv_offload_lookup_sync_delay_seconds", "", "June 2026 –", Unscaled},
	{OffloadLookupAsync, KindHistogram, "vllm:kv_offload_lookup_async_delay_seconds", "", "June 2026 –", Unscaled},
	{OffloadAllocationFailures, KindCounter, "vllm:kv_offload_allocation_failure_total", "", "June 2026 –", Unscaled},
	{OffloadStoresSkipped, KindCounter, "vllm:kv_offload_stores_skipped_total", "", "June 2026 –, with store_threshold of 2 or more", Unscaled},
	// Despite "usage" in their names: the fractions pinned by transfers in flight.
	{OffloadCPUPinned, KindGaugeMax, "vllm:kv_offload_cpu_cache_usage_perc", "", "June 2026 –", Unscaled},
	{OffloadCPUPinnedWrite, KindGaugeMax, "vllm:kv_offload_cpu_cache_write_usage_perc", "", "June 2026 –", Unscaled},
	{OffloadCPUPinnedRead, KindGaugeMax, "vllm:kv_offload_cpu_cache_read_usage_perc", "", "June 2026 –", Unscaled},
	{OffloadCPUAllocation, KindHistogram, "vllm:kv_offload_cpu_allocation_size", "", "June 2026 –", Unscaled},

	{TierQueries, KindCounter, "vllm:kv_offload_tiering_chunk_queries_total", "tier", "after PR 48798 –", Unscaled},
	{TierQueries, KindCounter, "vllm:kv_offload_tiering_block_queries_total", "tier", "PR 48798 (August 2026), then renamed", Unscaled},
	{TierHits, KindCounter, "vllm:kv_offload_tiering_chunk_hits_total", "tier", "after PR 48798 –", Unscaled},
	{TierHits, KindCounter, "vllm:kv_offload_tiering_block_hits_total", "tier", "PR 48798 (August 2026), then renamed", Unscaled},
	{TierReadBytes, KindCounter, "vllm:kv_offload_tiering_read_bytes_total", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierReadTime, KindCounter, "vllm:kv_offload_tiering_read_time_total", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierWriteBytes, KindCounter, "vllm:kv_offload_tiering_write_bytes_total", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierWriteTime, KindCounter, "vllm:kv_offload_tiering_write_time_total", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierPromotionFailures, KindCounter, "vllm:kv_offload_tiering_promotion_job_failures_total", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierCascadeFailures, KindCounter, "vllm:kv_offload_tiering_cascade_job_failures_total", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierActivePromotions, KindGauge, "vllm:kv_offload_tiering_active_promotion_jobs", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierActiveCascades, KindGauge, "vllm:kv_offload_tiering_active_cascade_jobs", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierPinnedWrite, KindGaugeMax, "vllm:kv_offload_tiering_primary_write_usage_perc", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierPinnedRead, KindGaugeMax, "vllm:kv_offload_tiering_primary_read_usage_perc", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierLookupSync, KindHistogram, "vllm:kv_offload_tiering_lookup_sync_delay_seconds", "tier", "PR 48798 (August 2026) –", Unscaled},
	{TierLookupAsync, KindHistogram, "vllm:kv_offload_tiering_lookup_async_delay_seconds", "tier", "PR 48798 (August 2026) –", Unscaled},
	// A moving average of seconds per MiB: the values of several engines do not add up.
	{TierBackpressureLatency, KindGaugeMax, "vllm:kv_offload_tiering_backpressure_store_latency_ema", "tier", "PR 50045 –", Unscaled},
	{TierStoresDropped, KindCounter, "vllm:kv_offload_tiering_backpressure_stores_dropped_total", "tier", "PR 50045 –", Unscaled},
	{TierBlocksDropped, KindCounter, "vllm:kv_offload_tiering_backpressure_blocks_dropped_total", "tier", "PR 50045 –", Unscaled},
	{PromotionAllocationFailures, KindCounter, "vllm:kv_offload_tiering_promotion_allocation_failures_total", "", "PR 48798 (August 2026) –", Unscaled},

	{NixlTransferTime, KindHistogram, "vllm:nixl_xfer_time_seconds", "", "0.11.1 –", Unscaled},
	{NixlPostTime, KindHistogram, "vllm:nixl_post_time_seconds", "", "0.11.1 –", Unscaled},
	{NixlBytes, KindHistogram, "vllm:nixl_bytes_transferred", "", "0.11.1 –", Unscaled},
	{NixlDescriptors, KindHistogram, "vllm:nixl_num_descriptors", "", "0.11.1 –", Unscaled},
	{NixlFailedTransfers, KindCounter, "vllm:nixl_num_failed_transfers_total", "", "0.11.1 –", Unscaled},
	{NixlFailedNotifications, KindCounter, "vllm:nixl_num_failed_notifications_total", "", "0.11.1 –", Unscaled},
	{NixlExpiredRequests, KindCounter, "vllm:nixl_num_kv_expired_reqs_total", "", "0.15 –", Unscaled},
	{NixlLateNotifications, KindCounter, "vllm:nixl_num_notifications_after_expiry_total", "", "after 0.20, in 0.32", Unscaled},
	{MooncakeTime, KindHistogram, "vllm:mooncake_store_operation_time_seconds", "operation", "May 2026 –; also status", Unscaled},
	{MooncakeCalls, KindCounter, "vllm:mooncake_store_operation_total", "operation", "May 2026 –; also status", Unscaled},
	{MooncakeKeys, KindCounter, "vllm:mooncake_store_operation_keys_total", "operation", "May 2026 –; also status", Unscaled},
	{MooncakeBytes, KindCounter, "vllm:mooncake_store_operation_bytes_total", "operation", "May 2026 –; also status", Unscaled},
	{MooncakeFailedKeys, KindCounter, "vllm:mooncake_store_operation_failed_keys_total", "operation", "May 2026 –; also status", Unscaled},
	{HF3FSSaveTime, KindHistogram, "vllm:hf3fs_save_duration_seconds", "", "0.20 –", Unscaled},
	{HF3FSLoadTime, KindHistogram, "vllm:hf3fs_load_duration_seconds", "", "0.20 –", Unscaled},
	{HF3FSFailedSaves, KindCounter, "vllm:hf3fs_num_failed_save_total", "", "0.20 –", Unscaled},
	{HF3FSFailedLoads, KindCounter, "vllm:hf3fs_num_failed_load_total", "", "0.20 –", Unscaled},
	{HisparseHits, KindCounter, "vllm:hisparse_cache_hits_total", "", "0.30 –", Unscaled},
	{HisparseMisses, KindCounter, "vllm:hisparse_cache_misses_total", "", "0.30 –", Unscaled},
	{HisparseBytes, KindCounter, "vllm:hisparse_host_to_device_bytes_total", "", "0.30 –", Unscaled},
	// Blocks that could be evicted count as free.
	{HisparseHostUsage, KindGaugeMax, "vllm:hisparse_host_cache_usage_perc", "", "by 0.32", Unscaled},
	{HisparsePendingTransfers, KindGauge, "vllm:hisparse_pending_page_transfers", "", "by 0.32", Unscaled},
	{HisparseHostBlockLifetime, KindHistogram, "vllm:hisparse_host_block_lifetime_seconds", "", "by 0.32, with --kv-cache-metrics", Unscaled},
	{HisparseHostBlockIdleBeforeEvict, KindHistogram, "vllm:hisparse_host_block_idle_before_evict_seconds", "", "by 0.32, with --kv-cache-metrics", Unscaled},
	{HisparseHostBlockReuseGap, KindHistogram, "vllm:hisparse_host_block_reuse_gap_seconds", "", "by 0.32, with --kv-cache-metrics", Unscaled},
	{SimpleSaveOutcomes, KindCounter, "vllm:simple_kv_offload_save_outcomes_total", "outcome", "by 0.31", Unscaled},
	// 0.32 counts finished loads; other builds have the label phase, issued or completed.
	{SimpleLoadBlocks, KindCounter, "vllm:simple_kv_offload_load_blocks_total", "phase", "by 0.31", Unscaled},
	// Despite "used" in its name: the blocks pinned by transfers in flight or by cache hits.
	{SimplePinnedBlocks, KindGauge, "vllm:simple_kv_offload_used_blocks", "", "by 0.31", Unscaled},
	{SimplePendingStoreBlocks, KindGauge, "vllm:simple_kv_offload_pending_store_blocks", "", "by 0.31", Unscaled},
	// Always 1: the size of the pool is in a label.
	{SimpleInfo, KindGauge, "vllm:simple_kv_offload_info", "capacity_blocks", "by 0.31", Unscaled},

	{KVBlockLifetime, KindHistogram, "vllm:kv_block_lifetime_seconds", "", "0.12 –, with --kv-cache-metrics", Unscaled},
	{KVBlockIdleBeforeEvict, KindHistogram, "vllm:kv_block_idle_before_evict_seconds", "", "0.12 –, with --kv-cache-metrics", Unscaled},
	{KVBlockReuseGap, KindHistogram, "vllm:kv_block_reuse_gap_seconds", "", "0.12 –, with --kv-cache-metrics", Unscaled},
	{DiffusionSteps, KindCounter, "vllm:diffusion_num_denoising_steps_total", "", "June 2026 –", Unscaled},
	{DiffusionPositions, KindCounter, "vllm:diffusion_num_canvas_positions_total", "", "June 2026 –", Unscaled},
	{DiffusionCommitted, KindCounter, "vllm:diffusion_num_committed_tokens_total", "", "June 2026 –", Unscaled},
}
