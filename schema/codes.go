package schema

// Code names a kind of doubt: it is the `code` of a [Validity] note. Codes are
// stable, so that consumers can match on them; the wording of messages is not.
type Code string

// Codes about what part of the run the engine's figures cover.
const (
	CodeShortWindow      Code = "short_window"
	CodeFewRequests      Code = "few_requests"
	CodeLateBase         Code = "late_base"
	CodeCounterReset     Code = "counter_reset"
	CodeEngineChanged    Code = "engine_changed"
	CodeUnsettled        Code = "unsettled"
	CodeFinalReadingLost Code = "final_reading_lost"
	CodeEngineDied       Code = "engine_died"
	CodeEngineShared     Code = "engine_shared"
	CodeEngineWarmedUp   Code = "engine_warmed_up_inside"
	CodeWarmPrefixCache  Code = "warm_prefix_cache"
)

// Codes about a load generator.
const (
	CodeClientLate Code = "client_late"
)

// Codes about how the command ended and what the run was made with.
const (
	CodeNonzeroExit Code = "nonzero_exit"
	CodeInterrupted Code = "interrupted"
	CodeOOMKilled   Code = "oom_killed"
	CodeProfiled    Code = "profiled"
)

// Codes about the host while the command ran.
const (
	CodeBusyHost      Code = "busy_host"
	CodeClockJump     Code = "clock_jump"
	CodeSparseSamples Code = "sparse_samples"
)

// Codes about how the engine was read.
const (
	CodeScrapesFailed      Code = "scrapes_failed"
	CodeScrapeCost         Code = "scrape_cost"
	CodeEndpointNotRead    Code = "endpoint_not_read"
	CodeEngineNotOurs      Code = "engine_not_ours"
	CodeSeveralServers     Code = "several_servers"
	CodeDelayedMetrics     Code = "delayed_metrics"
	CodeRolesUnknown       Code = "roles_unknown"
	CodeFilesNotRead       Code = "files_not_read"
	CodeNoMetricsDirectory Code = "no_metrics_directory"
)

// Codes about what the engine exports.
const (
	CodeDuplicateSeries       Code = "duplicate_series"
	CodeInvalidValues         Code = "invalid_values"
	CodeInconsistentCounters  Code = "inconsistent_counters"
	CodePrefixCacheInBlocks   Code = "prefix_cache_in_blocks"
	CodeKVOffloadUndercounted Code = "kv_offload_undercounted"
	CodeStatsDisabled         Code = "stats_disabled"
)

// Codes about the engine's settings.
const (
	CodeSettingsDisagree     Code = "settings_disagree"
	CodePrefixCacheNotUsed   Code = "prefix_cache_not_used"
	CodeInstrumentIncomplete Code = "instrument_incomplete"
	CodeFlagDidNotEngage     Code = "flag_did_not_engage"
)

// Codes about the figures of a vllm-omni pipeline.
const (
	CodeStreamingOnly              Code = "streaming_only"
	CodeTransfersIncomplete        Code = "transfers_incomplete"
	CodeUndercountedSchedulerStats Code = "undercounted_scheduler_stats"
	CodeDoubtfulGauges             Code = "doubtful_gauges"
	CodeEnginesMayBeStages         Code = "engines_may_be_stages"
	CodeNothingRecorded            Code = "nothing_recorded"
)

// Codes about the GPUs.
const (
	CodeDevicesNotMatched  Code = "devices_not_matched"
	CodeForeignProcesses   Code = "foreign_processes"
	CodeDirtyVRAMBaseline  Code = "dirty_vram_baseline"
	CodeThrottled          Code = "throttled"
	CodeDeviceOrderUnknown Code = "device_order_unknown"
	CodeGPUSamplingLate    Code = "gpu_sampling_late"
	CodeGPUSamplingBroke   Code = "gpu_sampling_broke"
	CodeGPUDriverStuck     Code = "gpu_driver_stuck"
	CodeShortEnergyWindow  Code = "short_energy_window"
	CodeModuleEnergy       Code = "module_energy"
)

// Codes about the command's processes.
const (
	CodeTreeCPUIncomplete Code = "tree_cpu_incomplete"
	CodeLeftoversUnknown  Code = "leftovers_unknown"
)

// CodeInfo describes a [Code].
type CodeInfo struct {
	Code Code
	// Severities that the code occurs with, the usual one first.
	Severities []Severity
	// Meaning says what is in doubt, as one sentence or two in Markdown.
	Meaning string
}

// CodeGroup is a list of codes about one subject.
type CodeGroup struct {
	Subject string
	Codes   []CodeInfo
}

// Codes returns every code that events may have, by subject. A new code needs a
// constant above and a row here; docs/event.md is generated from these rows. The
// list is built at each call, so that it costs nothing at program start.
func Codes() []CodeGroup {
	info, warning, failure := []Severity{Info}, []Severity{Warning}, []Severity{Error}
	return []CodeGroup{
		{"Coverage of the run", []CodeInfo{
			{CodeShortWindow, info, "The polls do not resolve the time in which the engine worked to a tenth. Rates are over the whole window, idle time included. The evidence is the number of active intervals, and how many it would take for their edges to be a tenth."},
			{CodeFewRequests, info, "A 99th percentile rests on fewer than 100 observations, or a 95th on fewer than 20: it is nearly the highest of them. The message names the distributions."},
			{CodeLateBase, warning, "An endpoint first answered as an engine after the command had started. What its engine did before that is not counted."},
			{CodeCounterReset, warning, "The engine's counters restarted inside the window. What they gained between the last reading and the restart is lost."},
			{CodeEngineChanged, warning, "Another engine answers at an address than before: another version, model, setting or size of the KV cache. Settings, version and sizes in the event are those of the last one; counters, latencies and peaks cover all of them. The message names what changed."},
			{CodeUnsettled, warning, "The engine was still busy, or its counters still moved, when the final reading was taken. Other clients use it, or the command left requests behind."},
			{CodeFinalReadingLost, warning, "The engine was gone, or did not answer, when the command had ended. Its figures are those of the last reading that succeeded, `engine.window.final_age_seconds` before the end."},
			{CodeEngineShared, warning, "The engine already had requests when the command started, or its counts differ from those of the load generator in `client`, by more than 2 % of the requests or 5 % of the generated tokens. Its figures are not the command's alone, or not all of them. Compared only if all requests of the load generator were completed and the engine was read over the whole run; those of `client.warmup` are added."},
			{CodeEngineDied, failure, "An engine core on this host ended while its API server was still running, and nothing had asked it to."},
			{CodeEngineWarmedUp, info, "An engine came up during the run and served requests. The first ones may have paid for compilation, for the capture of CUDA graphs and for cold caches."},
			{CodeWarmPrefixCache, warning, "An engine had served requests before the run, and at least 1 % of this run's prompt tokens came from its prefix cache. Some of them may have been cached before the run: a run on a fresh engine would be slower. Not evaluated after a restart, nor if the prefix cache was reset through the API."},
		}},
		{"A load generator", []CodeInfo{
			{CodeClientLate, warning, "The load generator sent more than 1 % of its requests more than 2 ms late, and by more than 5 % of the median time to first token. Latencies count from the intended time and include this; the client, not the server, may be the bottleneck."},
		}},
		{"The run", []CodeInfo{
			{CodeNonzeroExit, warning, "The command failed: its exit code is not 0, or a signal killed it. Its figures may be those of a part of the work."},
			{CodeInterrupted, warning, "A shutdown signal reached vobs or its terminal while the command ran. Its figures may be those of a part of the work."},
			{CodeOOMKilled, failure, "The kernel killed a process in the command's cgroup for lack of memory, by the cgroup's counter. If other processes share the cgroup, this is noted only if the command failed or an engine died. If the counter shows nothing then, the kernel's log (`/dev/kmsg`) counts, if vobs may read it: the message names the processes."},
			{CodeProfiled, warning, "A profiler was on: `/start_profile` was requested from the engine's server, or the command line starts a profiler. Profiling slows an engine down."},
		}},
		{"The host", []CodeInfo{
			{CodeBusyHost, warning, "Processes other than the command's, the engines' and vobs used more than 10 % of the host's CPUs, or the hypervisor took more than 1 % of their time (steal). The evidence is that share. The use of others is what `/proc/stat` counts less the CPU time of the known processes. It is not evaluated in runs of less than a second, or if the processes of an engine are unknown, as those of another host's, a container's or Ray's are."},
			{CodeClockJump, info, "The wall clock was set during the run, or the host was suspended. Durations are not affected: they are monotonic. Times of other programs may not fit `run.started_at` and `run.ended_at`."},
			{CodeSparseSamples, info, "For more than 5 seconds, and more than 10 of the usual periods, something was not sampled. What happened meanwhile is in no peak or mean. The evidence is that gap."},
		}},
		{"Reading the engine", []CodeInfo{
			{CodeScrapesFailed, warning, "Some readings failed while the engine was up. What its gauges showed at those times is unknown."},
			{CodeScrapeCost, info, "Polls took more than 1 % of a core of the engine's server: an engine at work is polled each second, whatever that costs. The message has the share."},
			{CodeEndpointNotRead, warning, "One of several addresses given by the user returned no engine metrics. No figure includes its engines."},
			{CodeEngineNotOurs, warning, "Another server already answered on the port where the command was going to listen. It is not read."},
			{CodeSeveralServers, warning, "Several servers answer in turn at one address, as behind a load balancer. Its counters are left out, and its gauges mix the servers."},
			{CodeDelayedMetrics, warning, "The page is not the engine's own. A collector, such as Ray or a router, passes the engine's metrics on with a delay. The engine's last activity may be missing, and activity just before the start may be included."},
			{CodeRolesUnknown, warning, "Some servers receive KV from others, so that a request may pass several servers, and which ones prefill or decode is unknown. Their counters are not added up; `engine.instances` has each engine's."},
			{CodeFilesNotRead, warning, "Some of the engine's multiprocess metrics files could not be read. What they hold is in no figure."},
			{CodeNoMetricsDirectory, warning, "There was no directory for the engine's multiprocess metrics files, so nothing was recorded there: it could not be created, or a launcher in the command line starts the command where it may be unusable."},
		}},
		{"What the engine exports", []CodeInfo{
			{CodeDuplicateSeries, []Severity{Warning, Info}, "A page held the same series twice. Warning: the values differed, and neither was taken. Info: they were equal, and the series was counted once."},
			{CodeInvalidValues, warning, "The engine or the driver reported impossible values: NaN, infinite, negative, a sum that decreased, a fraction above 1, more hits than queries, more accepted tokens than drafted ones, more than 2 kW. They were left out."},
			{CodeInconsistentCounters, warning, "Counters of the engine that must agree contradict each other. The message names them."},
			{CodePrefixCacheInBlocks, info, "vLLM 0.8 counts prefix-cache queries and hits in blocks, not tokens. The hit rate is right."},
			{CodeKVOffloadUndercounted, warning, "vllm-omni may drop some KV-offloading counts, so totals may be too low. Rates per second of transfer time, hit rates and mean sizes hold."},
			{CodeStatsDisabled, warning, "A vLLM server answers without vLLM's metrics, as with `--disable-log-stats`. No figure includes its engine."},
		}},
		{"Engine settings", []CodeInfo{
			{CodeSettingsDisagree, warning, "Two sources report different values of one setting. The message names the one that was taken, if any."},
			{CodePrefixCacheNotUsed, info, "The engine reports that prefix caching is on, but looked up no prompt token in the cache."},
			{CodeInstrumentIncomplete, warning, "The plugin of `--instrument` was not loaded, did not find a name in this version of vLLM, or failed."},
			{CodeFlagDidNotEngage, warning, "The engine reports another value of an intended setting. `flag_mismatches` has the settings; the key `flag_did_not_engage` covers five of them only."},
		}},
		{"vllm-omni pipelines", []CodeInfo{
			{CodeStreamingOnly, info, "Only streaming requests report a time to first audio, so the figure rests on part of the audio requests."},
			{CodeTransfersIncomplete, info, "The mean latency of a transfer lacks a part, or adds up parts that were recorded for different numbers of transfers."},
			{CodeUndercountedSchedulerStats, info, "vllm-omni may drop some prefix-cache counts, so totals may be too low. Their ratios are more reliable."},
			{CodeDoubtfulGauges, info, "The pipeline's gauge of waiting requests contradicts its other gauges, a known fault of vllm-omni. It need not mean that requests were queued."},
			{CodeEnginesMayBeStages, warning, "An old vllm-omni build only numbers its engines. If they are stages of one pipeline, sums in `engine` count a request once per stage; `omni.pipeline` counts whole requests."},
			{CodeNothingRecorded, warning, "vllm-omni's counters did not move, and none of vLLM's own are exported. The server may run without `--log-stats`, and then a 0 means nothing."},
		}},
		{"GPUs", []CodeInfo{
			{CodeDevicesNotMatched, warning, "No process of the command could be matched with a sampled GPU: `peak_vram_gb` is the highest peak of all sampled GPUs. Or some could, and of another GPU it is unknown whether the command used it: `peak_vram_gb` leaves that one out."},
			{CodeForeignProcesses, warning, "Processes that are not the command's had at least 64 MiB each on one of its GPUs. The GPU's peak, power and energy include theirs."},
			{CodeDirtyVRAMBaseline, warning, "More than 512 MiB of a GPU of the command's were in use before the command came. The GPU's peak includes them. Not evaluated if `baseline_bytes` is null, or if the driver counts its own reserve as used (`memory_api` is `v1`)."},
			{CodeThrottled, []Severity{Warning, Info}, "A GPU of the command's ran at reduced clocks in more than 1 % of the readings. Warning: for a hardware slowdown, heat or a power brake. Info: for the software power cap alone, as is usual under full load. The evidence is that share of the readings."},
			{CodeDeviceOrderUnknown, warning, "CUDA may number the GPUs in a different order than NVML, so the sampled GPUs may not be the ones that the command used."},
			{CodeGPUSamplingLate, warning, "The first reading of a GPU came late. A peak before it is unknown."},
			{CodeGPUSamplingBroke, warning, "Sampling a GPU failed before the command ended. A later peak is unknown; `sampling.max_gap_seconds` has the time without a reading."},
			{CodeGPUDriverStuck, warning, "A call into the GPU driver did not return. Only readings before it count."},
			{CodeShortEnergyWindow, info, "The energy of a GPU covers so short a time that the steps of its counter, about 0.1 s, matter."},
			{CodeModuleEnergy, info, "A GPU is part of a Grace module. Its energy counter covers the whole module, with the CPU and its memory."},
		}},
		{"Processes of the command", []CodeInfo{
			{CodeTreeCPUIncomplete, info, "The CPU time of descendants that outlived the command could not be read. `host.tree_cpu_seconds` lacks it."},
			{CodeLeftoversUnknown, warning, "Processes of the command were still running and could not be listed."},
		}},
	}
}
