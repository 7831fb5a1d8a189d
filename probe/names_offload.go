package probe

// The figures of KV offloading, of KV connectors and of decoding by diffusion.
const (
	offloadLoadBytes figure = iota + coreFigures
	offloadLoadTime
	offloadLoadSize
	offloadStoreBytes
	offloadStoreTime
	offloadStoreSize
	// Those of vLLM 0.16 and later, by direction: the flat ones above have taken
	// their place, and both are fed with the same events.
	offloadOldBytes
	offloadOldTime
	offloadOldSize
	offloadLookupSync
	offloadLookupAsync
	offloadAllocationFailures
	offloadStoresSkipped
	offloadCPUPinned
	offloadCPUPinnedWrite
	offloadCPUPinnedRead
	offloadCPUAllocation

	tierQueries
	tierHits
	tierReadBytes
	tierReadTime
	tierWriteBytes
	tierWriteTime
	tierPromotionFailures
	tierCascadeFailures
	tierActivePromotions
	tierActiveCascades
	tierPinnedWrite
	tierPinnedRead
	tierLookupSync
	tierLookupAsync
	tierBackpressureLatency
	tierStoresDropped
	tierBlocksDropped
	promotionAllocationFailures // of all tiers

	nixlTransferTime
	nixlPostTime
	nixlBytes
	nixlDescriptors
	nixlFailedTransfers
	nixlFailedNotifications
	nixlExpiredRequests
	mooncakeTime
	mooncakeCalls
	mooncakeKeys
	mooncakeBytes
	mooncakeFailedKeys
	hf3fsSaveTime
	hf3fsLoadTime
	hf3fsFailedSaves
	hf3fsFailedLoads
	hisparseHits
	hisparseMisses
	hisparseBytes

	blockLifetime
	blockIdle
	blockReuseGap
	diffusionSteps
	diffusionPositions
	diffusionCommitted
	offloadFigures // how many figures there are up to here
)

// offloadRows are the names of what moves KV blocks, and of what happens to them.
// Times are in seconds, though the names of counters do not say so.
//
// Sources: vllm/distributed/kv_transfer/kv_connector/v1/offloading/metrics.py
// (get_connector_metric_definitions), vllm/v1/kv_offload/cpu/spec.py and
// vllm/v1/kv_offload/tiering/ (build_metric_definitions; PRs 27942, 45958, 48798,
// 50045), …/v1/nixl/stats.py, …/v1/mooncake/store/metrics.py,
// …/v1/hf3fs/metrics.py, …/v1/hisparse/ (PR 56061), vllm/v1/metrics/loggers.py
// (kv_block_*), vllm/v1/spec_decode/metrics.py (PR 45163), read in August and
// September 2026; none of them was seen running.
var offloadRows = []row{
	{offloadLoadBytes, counterKind, "vllm:kv_offload_load_bytes_total", "", "June 2026 –", plain},
	{offloadLoadTime, counterKind, "vllm:kv_offload_load_time_total", "", "June 2026 –", plain},
	{offloadLoadSize, histogramKind, "vllm:kv_offload_load_size", "", "June 2026 –", plain},
	{offloadStoreBytes, counterKind, "vllm:kv_offload_store_bytes_total", "", "June 2026 –", plain},
	{offloadStoreTime, counterKind, "vllm:kv_offload_store_time_total", "", "June 2026 –", plain},
	{offloadStoreSize, histogramKind, "vllm:kv_offload_store_size", "", "June 2026 –", plain},
	{offloadOldBytes, counterKind, "vllm:kv_offload_total_bytes_total", "transfer_type", "0.16 –, deprecated", plain},
	{offloadOldTime, counterKind, "vllm:kv_offload_total_time_total", "transfer_type", "0.16 –, deprecated", plain},
	{offloadOldSize, histogramKind, "vllm:kv_offload_size", "transfer_type", "0.16 –, deprecated", plain},
	{offloadLookupSync, histogramKind, "vllm:kv_offload_lookup_sync_delay_seconds", "", "June 2026 –", plain},
	{offloadLookupAsync, histogramKind, "vllm:kv_offload_lookup_async_delay_seconds", "", "June 2026 –", plain},
	{offloadAllocationFailures, counterKind, "vllm:kv_offload_allocation_failure_total", "", "June 2026 –", plain},
	{offloadStoresSkipped, counterKind, "vllm:kv_offload_stores_skipped_total", "", "June 2026 –, with store_threshold of 2 or more", plain},
	// Fractions pinned by transfers in flight, whatever "usage" says.
	{offloadCPUPinned, fractionKind, "vllm:kv_offload_cpu_cache_usage_perc", "", "June 2026 –", plain},
	{offloadCPUPinnedWrite, fractionKind, "vllm:kv_offload_cpu_cache_write_usage_perc", "", "June 2026 –", plain},
	{offloadCPUPinnedRead, fractionKind, "vllm:kv_offload_cpu_cache_read_usage_perc", "", "June 2026 –", plain},
	{offloadCPUAllocation, histogramKind, "vllm:kv_offload_cpu_allocation_size", "", "June 2026 –", plain},

	{tierQueries, counterKind, "vllm:kv_offload_tiering_chunk_queries_total", "tier", "after PR 48798 –", plain},
	{tierQueries, counterKind, "vllm:kv_offload_tiering_block_queries_total", "tier", "PR 48798 (August 2026), then renamed", plain},
	{tierHits, counterKind, "vllm:kv_offload_tiering_chunk_hits_total", "tier", "after PR 48798 –", plain},
	{tierHits, counterKind, "vllm:kv_offload_tiering_block_hits_total", "tier", "PR 48798 (August 2026), then renamed", plain},
	{tierReadBytes, counterKind, "vllm:kv_offload_tiering_read_bytes_total", "tier", "PR 48798 (August 2026) –", plain},
	{tierReadTime, counterKind, "vllm:kv_offload_tiering_read_time_total", "tier", "PR 48798 (August 2026) –", plain},
	{tierWriteBytes, counterKind, "vllm:kv_offload_tiering_write_bytes_total", "tier", "PR 48798 (August 2026) –", plain},
	{tierWriteTime, counterKind, "vllm:kv_offload_tiering_write_time_total", "tier", "PR 48798 (August 2026) –", plain},
	{tierPromotionFailures, counterKind, "vllm:kv_offload_tiering_promotion_job_failures_total", "tier", "PR 48798 (August 2026) –", plain},
	{tierCascadeFailures, counterKind, "vllm:kv_offload_tiering_cascade_job_failures_total", "tier", "PR 48798 (August 2026) –", plain},
	{tierActivePromotions, gaugeKind, "vllm:kv_offload_tiering_active_promotion_jobs", "tier", "PR 48798 (August 2026) –", plain},
	{tierActiveCascades, gaugeKind, "vllm:kv_offload_tiering_active_cascade_jobs", "tier", "PR 48798 (August 2026) –", plain},
	{tierPinnedWrite, fractionKind, "vllm:kv_offload_tiering_primary_write_usage_perc", "tier", "PR 48798 (August 2026) –", plain},
	{tierPinnedRead, fractionKind, "vllm:kv_offload_tiering_primary_read_usage_perc", "tier", "PR 48798 (August 2026) –", plain},
	{tierLookupSync, histogramKind, "vllm:kv_offload_tiering_lookup_sync_delay_seconds", "tier", "PR 48798 (August 2026) –", plain},
	{tierLookupAsync, histogramKind, "vllm:kv_offload_tiering_lookup_async_delay_seconds", "tier", "PR 48798 (August 2026) –", plain},
	// An average of seconds per MiB: several engines' do not add up.
	{tierBackpressureLatency, fractionKind, "vllm:kv_offload_tiering_backpressure_store_latency_ema", "tier", "PR 50045 –", plain},
	{tierStoresDropped, counterKind, "vllm:kv_offload_tiering_backpressure_stores_dropped_total", "tier", "PR 50045 –", plain},
	{tierBlocksDropped, counterKind, "vllm:kv_offload_tiering_backpressure_blocks_dropped_total", "tier", "PR 50045 –", plain},
	{promotionAllocationFailures, counterKind, "vllm:kv_offload_tiering_promotion_allocation_failures_total", "", "PR 48798 (August 2026) –", plain},

	{nixlTransferTime, histogramKind, "vllm:nixl_xfer_time_seconds", "", "0.11.1 –", plain},
	{nixlPostTime, histogramKind, "vllm:nixl_post_time_seconds", "", "0.11.1 –", plain},
	{nixlBytes, histogramKind, "vllm:nixl_bytes_transferred", "", "0.11.1 –", plain},
	{nixlDescriptors, histogramKind, "vllm:nixl_num_descriptors", "", "0.11.1 –", plain},
	{nixlFailedTransfers, counterKind, "vllm:nixl_num_failed_transfers_total", "", "0.11.1 –", plain},
	{nixlFailedNotifications, counterKind, "vllm:nixl_num_failed_notifications_total", "", "0.11.1 –", plain},
	{nixlExpiredRequests, counterKind, "vllm:nixl_num_kv_expired_reqs_total", "", "0.15 –", plain},
	{mooncakeTime, histogramKind, "vllm:mooncake_store_operation_time_seconds", "operation", "May 2026 –; also status", plain},
	{mooncakeCalls, counterKind, "vllm:mooncake_store_operation_total", "operation", "May 2026 –; also status", plain},
	{mooncakeKeys, counterKind, "vllm:mooncake_store_operation_keys_total", "operation", "May 2026 –; also status", plain},
	{mooncakeBytes, counterKind, "vllm:mooncake_store_operation_bytes_total", "operation", "May 2026 –; also status", plain},
	{mooncakeFailedKeys, counterKind, "vllm:mooncake_store_operation_failed_keys_total", "operation", "May 2026 –; also status", plain},
	{hf3fsSaveTime, histogramKind, "vllm:hf3fs_save_duration_seconds", "", "0.20 –", plain},
	{hf3fsLoadTime, histogramKind, "vllm:hf3fs_load_duration_seconds", "", "0.20 –", plain},
	{hf3fsFailedSaves, counterKind, "vllm:hf3fs_num_failed_save_total", "", "0.20 –", plain},
	{hf3fsFailedLoads, counterKind, "vllm:hf3fs_num_failed_load_total", "", "0.20 –", plain},
	{hisparseHits, counterKind, "vllm:hisparse_cache_hits_total", "", "0.30 –", plain},
	{hisparseMisses, counterKind, "vllm:hisparse_cache_misses_total", "", "0.30 –", plain},
	{hisparseBytes, counterKind, "vllm:hisparse_host_to_device_bytes_total", "", "0.30 –", plain},

	{blockLifetime, histogramKind, "vllm:kv_block_lifetime_seconds", "", "0.12 –, with --kv-cache-metrics", plain},
	{blockIdle, histogramKind, "vllm:kv_block_idle_before_evict_seconds", "", "0.12 –, with --kv-cache-metrics", plain},
	{blockReuseGap, histogramKind, "vllm:kv_block_reuse_gap_seconds", "", "0.12 –, with --kv-cache-metrics", plain},
	{diffusionSteps, counterKind, "vllm:diffusion_num_denoising_steps_total", "", "June 2026 –", plain},
	{diffusionPositions, counterKind, "vllm:diffusion_num_canvas_positions_total", "", "June 2026 –", plain},
	{diffusionCommitted, counterKind, "vllm:diffusion_num_committed_tokens_total", "", "June 2026 –", plain},
}
