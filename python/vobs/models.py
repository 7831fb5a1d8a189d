# Generated from the JSON Schema of the event by "go generate ./schema". Do not edit.
"""The event as pydantic models: the same keys, types and descriptions as event.schema.json.

Unknown keys are kept in `model_extra`, because a newer vobs may write more of them; only
`Core` forbids them. A key that an older vobs did not write is None.
"""

from typing import Any, Literal

from pydantic import Field

from vobs._base import Frozen, Group


class Core(Frozen):
    """Core is the frozen part of the event, as NeMo Safe Synthesizer defines it (nemo_safe_synthesizer/generation/vllm_observability.py, a pydantic model with extra="forbid"): a strict consumer accepts these eight keys and no others."""

    peak_vram_gb: float | None = None
    """Peak device-wide memory in GiB: the highest peak of any single GPU that the command used, or of any sampled GPU if none can be matched with the command."""
    kv_cache_usage_perc: float | None = None
    """Last reading of KV-cache usage as a fraction from 0 to 1, the highest over all engines. For the true peak see `engine.kv_cache.usage.peak`."""
    prefix_cache_hit_rate: float | None = None
    """Prefix-cache hits divided by queries over the run's window, both in tokens and summed over all engines."""
    spec_accept_rate: float | None = None
    """Accepted divided by drafted speculative tokens over the run's window, summed over all engines."""
    loadavg_pre: tuple[float, float, float] | None = None
    """Load averages of the host over 1, 5 and 15 minutes, read before the command started."""
    loadavg_post: tuple[float, float, float] | None = None
    """Load averages of the host over 1, 5 and 15 minutes, read after the command ended."""
    engine_runtime_config: dict[str, Any] = Field(default_factory=dict)
    """The engine's effective settings: those of NeMo Safe Synthesizer's six keys that could be read."""
    flag_did_not_engage: bool = False
    """True if an intended setting differs from the effective one, among the five that NeMo Safe Synthesizer compares: max_num_seqs, max_num_batched_tokens, enable_chunked_prefill, enable_prefix_caching, kv_cache_dtype. `flag_mismatches` covers all settings. False also if nothing was compared: see `flags_checked`."""


class EngineRuntimeConfig(Group):
    """EngineRuntimeConfig has NeMo Safe Synthesizer's keys only. A setting that is not known is absent, never null (as in nemo_safe_synthesizer's probe_engine_runtime_config)."""

    max_num_seqs: int | None = None
    """Maximum number of sequences per scheduler step."""
    max_num_batched_tokens: int | None = None
    """Maximum number of tokens per scheduler step."""
    enable_chunked_prefill: bool | None = None
    """Whether chunked prefill is enabled."""
    enable_prefix_caching: bool | None = None
    """Whether prefix caching is enabled."""
    kv_cache_dtype: str | None = None
    """Data type of the KV cache, as the engine spells it."""
    speculative_method: str | None = None
    """Method of speculative decoding."""


class FlagUnchecked(Group):
    """FlagUnchecked is an intended setting that could not be compared."""

    flag: str
    """Name of the setting."""
    reason: str
    """Why it could not be compared."""


class Leftover(Group):
    """Leftover is a descendant of the command that outlived it."""

    pid: int
    """Process id."""
    command: str
    """Its command line, or its name if it has none, with secrets redacted; shown as `run.command` is."""
    rss_bytes: int | None
    """Resident memory; null if it could not be read."""
    gpu_memory_bytes: int | None
    """Memory it holds on the sampled GPUs; null if unknown."""


class Run(Group):
    """Run identifies the run and describes how the command ended."""

    id: str
    """Identity of this run: a version 7 UUID, which sorts by time."""
    command: list[str]
    """The command's arguments, with secrets replaced by `<redacted>`; at most 64 KiB in all. With `--command names` the program and the names of its flags; with `--command none` one text, `sha256:` and the SHA-256 of the redacted arguments, each followed by a NUL."""
    labels: dict[str, str]
    """Labels given with `--label`."""
    started_at: str
    """When the command was started (UTC, RFC 3339)."""
    ended_at: str | None
    """When the command ended (UTC, RFC 3339); null in a partial event."""
    duration_seconds: float
    """How long the command ran, by the monotonic clock."""
    exit_code: int | None
    """The command's exit code; null if a signal killed it, if it never started, or if it is still running."""
    signal: str | None
    """Name of the signal that killed the command, such as SIGTERM; null if it exited."""
    core_dumped: bool
    """Whether the command left a core dump."""
    interrupted: bool
    """Whether a shutdown signal reached vobs or its terminal while the command ran."""
    start_error: str | None
    """Why the command could not be started; null if it was."""
    leftovers: list[Leftover]
    """Descendants of the command that outlived it."""
    hostname: str
    """Name of the host."""
    vobs_version: str
    """Version of vobs that wrote this event."""


class Overhead(Group):
    """Overhead is what vobs itself cost."""

    cpu_seconds: float
    """User and system CPU time of the vobs process, from its start until this event was assembled."""
    max_rss_bytes: int | None
    """Peak resident memory of the vobs process."""


class Pressure(Group):
    """Pressure is the time in which at least one task was stalled on a resource, in seconds."""

    cpu: float | None
    """Stalled on a CPU."""
    memory: float | None
    """Stalled on memory."""
    io: float | None
    """Stalled on I/O."""


class Sampling(Group):
    """Sampling describes how often something was read. A peak that lasted less than the longest gap may have been missed."""

    period_seconds: float | None
    """Mean time between two readings; null with fewer than two."""
    samples: int
    """Readings taken."""
    errors: int
    """Readings that failed."""
    max_gap_seconds: float | None
    """Longest time between two readings; null with fewer than two."""


class Host(Group):
    """Host describes the host and the command's process tree."""

    cpu_count: int | None
    """CPUs of the host (load averages are host-wide)."""
    cpu_limit: float | None
    """CPU limit of the cgroup; null if it sets none."""
    memory_total_bytes: int | None
    """Memory of the host."""
    memory_limit_bytes: int | None
    """Memory limit of the cgroup; null if it sets none."""
    tree_cpu_seconds: float | None
    """User and system CPU time of the command and its descendants."""
    tree_peak_rss_bytes: int | None
    """Highest sampled sum of the resident memory of the command and its descendants. Shared pages count once per process. A lower bound."""
    pressure_some_seconds: Pressure | None
    """Time during the run in which at least one task on the host was stalled on a resource (the `some` lines of /proc/pressure)."""
    energy_joules: float | None = None
    """Energy of the host's CPU packages and, where the CPU counts it, their memory, for all processes, from RAPL. Mostly only root may read it."""
    sampling: Sampling | None
    """How the process tree was sampled."""


class ForeignProcess(Group):
    """ForeignProcess is a process on a device that does not belong to the command."""

    pid: int
    """Process id."""
    name: str | None
    """Its name; null if it cannot be read."""
    peak_bytes: int | None
    """Highest sampled memory on the device; null if the driver does not report it."""


class MeanMax(Group):
    """MeanMax summarises a sampled quantity."""

    mean: float
    """Mean of the readings."""
    max: float
    """Highest reading."""


class TorchMemory(Group):
    """TorchMemory holds the peaks of torch's caching allocator in one worker."""

    rank: int
    """The worker's rank."""
    pid: int
    """Its process id."""
    max_allocated_bytes: int | None
    """torch.cuda.max_memory_allocated."""
    max_reserved_bytes: int | None
    """torch.cuda.max_memory_reserved."""


class GPU(Group):
    """GPU is one device visible to the command: a whole GPU or a MIG instance."""

    index: int
    """NVML's index of the device (PCI order); for a MIG instance, that of its parent."""
    uuid: str
    """The device's UUID, GPU-… or MIG-…."""
    mig_of: str | None
    """UUID of the GPU that a MIG instance is part of; null for a whole GPU."""
    name: str
    """Product name."""
    driver_version: str | None
    """Version of the NVIDIA driver."""
    memory_api: Literal["v1", "v2"] | str | None
    """NVML's definition of used memory behind `peak_bytes`: `v2` counts allocated memory only, `v1` also what the driver reserves."""
    memory_total_bytes: int | None
    """Total memory of the device."""
    memory_reserved_bytes: int | None
    """Memory reserved by the driver; null if `memory_api` is `v1`."""
    baseline_bytes: int | None
    """Used memory at the first reading; null if a process of the command was already on the device."""
    peak_bytes: int | None
    """Highest sampled used memory of the whole device. A lower bound: see `sampling`."""
    peak_at_seconds: float | None
    """When that peak was first seen, in seconds after the command's start."""
    used_by_job: bool | None
    """Whether a process of the command, or a worker of Ray whose driver is one, had memory on the device; null if GPU processes cannot be matched with the command's."""
    job_peak_bytes: int | None
    """Highest sampled memory of the command's processes on the device."""
    foreign_processes: list[ForeignProcess] | None
    """Other processes that had memory on the device."""
    utilization: MeanMax | None
    """Fraction of time in which a kernel was running, as averaged by the driver."""
    sm_active: MeanMax | None = None
    """Fraction of the SMs that had a warp resident, averaged over time and SMs. The maximum is of a period between two readings, 0.25 s or longer, or with a dcgm-exporter, of the interval at which it collects."""
    sm_occupancy: MeanMax | None = None
    """Resident warps as a fraction of those that the SMs can hold."""
    tensor_active: MeanMax | None = None
    """Fraction of time in which the tensor cores were active."""
    dram_active: MeanMax | None = None
    """Fraction of the memory's bandwidth that was used."""
    activity_source: Literal["nvml_gpm", "dcgm"] | str | None = None
    """Source of `sm_active`, `sm_occupancy`, `tensor_active` and `dram_active`: `nvml_gpm` (NVML's performance counters; Hopper and later), or `dcgm` (a dcgm-exporter given by `--metrics-url`) if those have no figure of the device."""
    power_watts: MeanMax | None
    """Power draw, as averaged by the driver (over 1 s on most GPUs since Ampere)."""
    energy_joules: float | None
    """Energy between the first and the last reading, from the device's counter."""
    energy_active_joules: float | None
    """The part of `energy_joules` that falls into the active time of the engines on this host, from readings of the counter at each change between idle and active. Null if polls and counter leave more than a tenth open."""
    idle_watts: float | None = None
    """Mean power while no engine worked: before the command, and from 2 s after the engines' last work on."""
    temperature_celsius_max: int | None
    """Highest sampled temperature of the GPU."""
    throttled_fraction: float | None
    """Fraction of readings in which power, heat or a power brake held the clocks down."""
    throttle_reasons: list[str] | None
    """Reasons seen for reduced clocks, by NVML's names."""
    torch: list[TorchMemory] | None
    """Peaks of torch's allocator, per worker."""
    sampling: Sampling | None
    """How the device's memory was sampled."""


class Endpoint(Group):
    """Endpoint is one address, or one directory of metrics files, that was read."""

    url: str
    """The address, without user info."""
    version: str | None
    """Version of the engine."""
    source: Literal["http", "multiprocess"] | str
    """How it was read: `http`, or `multiprocess` for metrics files."""
    gauges_from: Literal["http", "multiprocess"] | str | None = None
    """Where the polled gauges (running and waiting requests, KV cache usage) were read: `http`, on the page; `multiprocess`, 20 times a second in files. For a server on this host these are the files in its PROMETHEUS_MULTIPROC_DIR."""
    process_start_time: str | None
    """Start of the process behind it (UTC, RFC 3339)."""
    cpu_seconds: float | None = None
    """CPU time that this process, which is the API server, used within the window. Engine cores and workers are processes of their own, and not included."""


class Role(Group):
    """Role holds the figures of one server in its role."""

    role: Literal["prefill", "decode", "both"] | str | None = None
    """`prefill`, `decode`, or `both` for a server that does both for its requests."""
    endpoint: int | None = None
    """Index into `engine.endpoints`."""
    requests_finished: int | None = None
    """Requests that finished within the window. A prefilling server finishes a request with its first token."""
    prompt_tokens: int | None = None
    """Prompt tokens within the window, including those received from another server."""
    generation_tokens: int | None = None
    """Tokens generated within the window."""


class Window(Group):
    """Window is the time between the two readings from which the counters' figures are computed."""

    base: Literal["scraped", "zero", "files"] | str
    """What counters are counted from: `scraped`, a reading of an engine that was already up; `zero`, nothing, because the engine started during the run; `files`, metrics files."""
    final: Literal["settled", "unsettled", "before_signal", "last_good", "files"] | str
    """What the last reading is: `settled`, taken after the command's end once the counters had come to rest; `unsettled`, taken while they still moved; `files`, metrics files read after the end; `before_signal`, taken before a shutdown signal was forwarded; `last_good`, the last reading that succeeded."""
    final_age_seconds: float
    """How long before the command's end the last reading was taken; 0 if it was taken afterwards."""
    duration_seconds: float
    """Length of the window."""
    active_seconds_est: float | None
    """Estimated time in which the engine worked: the intervals between polls in which a token counter rose, or at either end of which requests were running. Null with fewer than three such intervals, or if those with running requests at only one end, or at neither, make up more than a tenth of it."""
    active_intervals: int | None = None
    """The number of these intervals."""
    settle_seconds: float
    """How long after the command's end the last reading was taken, waiting for the counters to come to rest."""
    resets: int
    """How often the engine's counters restarted within the window."""


class Scrapes(Group):
    """Scrapes describes how often the engine was read."""

    count: int
    """Readings that succeeded."""
    errors: int
    """Readings that failed while the engine was known to be up."""
    period_seconds: float | None
    """Mean time between two readings; null with fewer than two."""
    median_seconds: float | None
    """Median wall time of a reading."""
    max_gap_seconds: float | None
    """Longest time between two readings; null with fewer than two."""


class Distribution(Group):
    """Distribution is a histogram's increase over the window. Quantiles are estimated as Prometheus does, by linear interpolation within a bucket. An estimate that the sum refutes is the nearer one of its bounds."""

    count: int
    """Number of observations."""
    sum: float
    """Sum of the observations."""
    mean: float | None
    """Exact mean: sum divided by count."""
    p50_est: float | None
    """Estimated median."""
    p90_est: float | None
    """Estimated 90th percentile."""
    p95_est: float | None
    """Estimated 95th percentile."""
    p99_est: float | None
    """Estimated 99th percentile."""
    above: float | None
    """The highest finite bucket bound; set if an estimate is null because it lies beyond that bound."""
    p50_bounds: tuple[float | None, float | None] | None = None
    """What buckets, count and sum prove of the median: it is at least the first number and at most the second; null instead of the second if nothing bounds it."""
    p90_bounds: tuple[float | None, float | None] | None = None
    """The same of the 90th percentile."""
    p95_bounds: tuple[float | None, float | None] | None = None
    """The same of the 95th percentile."""
    p99_bounds: tuple[float | None, float | None] | None = None
    """The same of the 99th percentile."""
    buckets: list[tuple[float | None, float | None]] | None = None
    """The buckets that observations fell into: the bucket's upper bound, null for +Inf, and the number of observations up to it."""


class RequestGauge(Group):
    """RequestGauge summarises a gauge of requests, whose mean the engine's own counters may prove."""

    last: float | None
    """The last reading."""
    mean: float | None
    """Time-weighted mean."""
    peak: float | None
    """Highest reading. A lower bound: see `engine.scrapes`."""
    method: Literal["littles_law", "littles_law_with_polls", "polled"] | str | None = None
    """How the mean was obtained: `littles_law`, the time that the engine's requests spent running (or waiting), by its histograms, divided by the length of the window; `littles_law_with_polls`, that, and readings of the gauge for what the histograms leave open (with preemptions, how many of the requests were running; with a restart, what the process that ended had not reported); `polled`, from the readings alone. Null without a mean."""
    mean_bounds: tuple[float | None, float | None] | None = None
    """The interval that the counters prove for the mean if it cannot be computed from them; null without one."""


class Gauge(Group):
    """Gauge summarises a polled gauge."""

    last: float | None
    """The last reading."""
    mean: float | None
    """Time-weighted mean."""
    peak: float | None
    """Highest reading. A lower bound: see `engine.scrapes`."""


class Requests(Group):
    """Requests counts the requests within the window."""

    finished: dict[str, int] | None
    """Finished requests by vLLM's finished_reason."""
    rejected: dict[str, int] | None = None
    """Requests that a limit of the queue refused, by the limit: max_num_queued_reqs or max_num_queued_tokens."""
    preemptions: int | None
    """Preemptions (events, not requests)."""
    preemptions_per_request: Distribution | None = None
    """Preemptions per finished request."""
    running: RequestGauge | None
    """Requests in execution batches."""
    waiting: RequestGauge | None
    """Requests waiting to be processed."""
    waiting_by_reason: dict[str, Gauge] | None = None
    """Waiting requests by why they wait: `capacity`, until the scheduler has room for them; `deferred`, because of a passing constraint, such as the LoRA budget or a transfer of their KV."""
    unaccounted_min: int | None = None
    """Requests that left without being counted as finished, at least: those with a first token less those that finished. vLLM counts aborted requests nowhere. Null unless the engine was idle at both ends of the window."""
    running_limit: int | None = None
    """How many requests the engines may run at once: max_num_seqs each, by what the engines report, or by the servers' command lines."""
    batch_utilization: float | None
    """Mean number of running requests over the window's active time, divided by `running_limit`."""


class DiffusionDecoding(Group):
    """DiffusionDecoding describes the decoding of a diffusion language model, which fills a canvas of positions step by step and commits the tokens that it is sure of."""

    denoising_steps: int | None
    """Denoising steps."""
    canvas_positions: int | None
    """Canvas positions evaluated in them."""
    committed_tokens: int | None
    """Tokens committed."""
    committed_tokens_per_step: float | None
    """Committed tokens divided by denoising steps."""


class Tokens(Group):
    """Tokens counts the tokens within the window."""

    prompt: int | None
    """Prompt tokens of requests whose prefill finished, including cached ones."""
    prompt_by_source: dict[str, int] | None
    """Prompt tokens by where their KV came from."""
    prompt_cached_by_source: dict[str, int] | None = None
    """Prompt tokens found in a cache, by the cache's tier: device, host, disk, p2p (another engine) or external_unspecified. Counted when a request is first scheduled."""
    generation: int | None
    """Generated tokens."""
    prompt_per_request: Distribution | None
    """Prompt tokens per finished request."""
    generation_per_request: Distribution | None
    """Generated tokens per finished request."""
    per_iteration: Distribution | None
    """Tokens per engine step."""
    per_iteration_limit: int | None = None
    """How many tokens an engine may compute in one step: max_num_batched_tokens, by what the engines report, or by the servers' command lines. Null if engines differ."""
    diffusion: DiffusionDecoding | None = None
    """Decoding by a diffusion language model."""


class Throughput(Group):
    """Throughput holds rates over the active time of the window, or over the whole window."""

    requests_per_second: float | None
    """Finished requests per second."""
    prompt_tokens_per_second: float | None
    """Prompt tokens per second, including cached ones."""
    generation_tokens_per_second: float | None
    """Generated tokens per second."""
    over: Literal["active", "window"] | str | None = None
    """What the rates are over: `active`, `engine.window.active_seconds_est`; `window`, `engine.window.duration_seconds`, idle time included, if the active time is unknown."""


class Latency(Group):
    """Latency holds the latency distributions that the engine exports, under vLLM's metric names."""

    time_to_first_token: Distribution | None
    """From the request's arrival in the front-end to the first token."""
    inter_token_latency: Distribution | None
    """Between two output events of a request."""
    time_per_output_token: Distribution | None
    """Mean time per output token of each request."""
    e2e_request_latency: Distribution | None
    """From the request's arrival to the last token."""
    request_queue_time: Distribution | None
    """From being queued to being scheduled for the first time."""
    request_prefill_time: Distribution | None
    """From being scheduled to the first token."""
    request_decode_time: Distribution | None
    """From the first to the last token."""
    request_inference_time: Distribution | None
    """From being scheduled to the last token."""


class KVUsage(Group):
    """KVUsage summarises the usage of the KV cache."""

    last: float | None
    """The last reading."""
    mean: float | None
    """Time-weighted mean."""
    peak: float | None
    """Highest reading. A lower bound: see `engine.scrapes`."""
    method: Literal["per_running_request", "polled"] | str | None = None
    """How the mean was obtained: `per_running_request`, the usage per running request, from the readings, times `engine.requests.running.mean`, which counters prove; `polled`, from the readings alone. Null without a mean."""


class KVResidency(Group):
    """KVResidency describes KV blocks that were evicted within the window."""

    lifetime_seconds: Distribution | None
    """From a block's allocation to its eviction."""
    idle_before_evict_seconds: Distribution | None
    """From its last use to its eviction."""
    reuse_gap_seconds: Distribution | None
    """Between two uses."""


class KVCache(Group):
    """KVCache describes how full the KV cache was."""

    usage: KVUsage | None
    """Fraction of KV blocks in use, from 0 to 1: `last` and `peak` are those of the fullest engine, `mean` is the average over the engines."""
    num_gpu_blocks: int | None
    """KV blocks of all engines together."""
    block_size: int | None
    """Tokens per block."""
    size_tokens: int | None
    """Capacity of one engine's cache in tokens; null if engines differ."""
    peak_tokens: int | None
    """Peak usage times capacity: tokens in the cache of the fullest engine."""
    residency: KVResidency | None = None
    """How long blocks stayed in the cache and when they were used. Covers a sample of the blocks, and only with vLLM's `--kv-cache-metrics`."""


class CacheHits(Group):
    """CacheHits counts the queries of a cache over the window."""

    queries: int
    """Queries, in the cache's unit."""
    hits: int
    """Hits, in the same unit."""
    hit_rate: float | None
    """Hits divided by queries."""


class PrefixCache(Group):
    """PrefixCache holds the three caches that a prompt can hit."""

    local: CacheHits | None
    """The engine's own cache, in tokens (vLLM 0.8: in blocks)."""
    external: CacheHits | None
    """A KV connector's cache, in tokens."""
    multimodal: CacheHits | None
    """The multimodal cache, in items."""


class Speculative(Group):
    """Speculative describes speculative decoding."""

    method: str | None
    """The method, such as ngram or eagle3."""
    drafts: int | None
    """Drafts proposed."""
    draft_tokens: int | None
    """Tokens proposed."""
    accepted_tokens: int | None
    """Tokens accepted."""
    acceptance_rate: float | None
    """Accepted divided by drafted tokens."""
    acceptance_length: float | None
    """Mean tokens per step: 1 + accepted tokens / drafts."""
    accepted_per_position: list[int] | None
    """Accepted tokens by position in the draft."""


class KVTransfer(Group):
    """KVTransfer describes the transfers in one direction. Each rank (GPU) of an engine counts its own, so that one job of four ranks is four operations."""

    bytes: int | None
    """Bytes moved, summed over ranks."""
    seconds: float | None
    """Time spent moving them, summed over ranks and jobs: it may exceed the window."""
    operations: int | None
    """Transfers, counted once per rank."""
    gigabytes_per_second_busy: float | None
    """10^9 bytes per second of transfer time: the mean speed of one rank while copying."""
    gigabytes_per_second_wall: float | None
    """10^9 bytes per second of the window's active time."""
    size_bytes: Distribution | None
    """Bytes per transfer."""


class LookupDelay(Group):
    """LookupDelay holds the delays of look-ups in the offload tiers, in seconds."""

    sync: Distribution | None
    """Look-ups answered at once."""
    async_: Distribution | None = Field(alias="async")
    """Look-ups answered later."""


class CPUPinned(Group):
    """CPUPinned holds the fractions of the CPU tier, from 0 to 1, that transfers in flight have pinned: a full cache at rest has 0. They are read only with full scrapes, every few seconds."""

    usage: Gauge | None
    """Pinned by any transfer."""
    write: Gauge | None
    """Pinned by writes."""
    read: Gauge | None
    """Pinned by reads."""


class PrimaryPinned(Group):
    """PrimaryPinned holds the fractions of the primary tier pinned by transfers. They are read only with full scrapes."""

    write: Gauge | None
    """Pinned by writes into it."""
    read: Gauge | None
    """Pinned by reads from it."""


class Backpressure(Group):
    """Backpressure describes how vLLM spared a tier that is too slow."""

    store_seconds_per_mebibyte: Gauge | None
    """Moving average of the seconds needed to store one MiB, the highest over all engines. Read only with full scrapes."""
    stores_dropped: int | None
    """Stores dropped."""
    blocks_dropped: int | None
    """Blocks dropped with them."""


class KVTier(Group):
    """KVTier describes one offload tier."""

    tier: str
    """The tier's label, its index and type, such as 0:primary or 1:fs."""
    queries: int | None
    """Chunks (blocks in earlier versions) looked up. A chunk that one tier lacks is looked up in the next."""
    hits: int | None
    """Chunks found."""
    hit_rate: float | None
    """Hits divided by queries."""
    read_bytes: int | None
    """Bytes read from this tier into the primary one. A promotion that failed in part counts with the bytes that arrived."""
    read_seconds: float | None
    """Time spent reading, queueing included, summed over jobs. Some jobs report none, so bytes divided by seconds is not a speed."""
    write_bytes: int | None
    """Bytes written from the primary tier into this one."""
    write_seconds: float | None
    """Time spent writing, measured as `read_seconds` is."""
    failures: int | None
    """Failed jobs: promotions and cascades."""
    promotion_failures: int | None = None
    """Failed jobs from this tier into the primary one."""
    cascade_failures: int | None = None
    """Failed jobs from the primary tier into this one."""
    active_promotions: Gauge | None = None
    """Jobs in flight from this tier into the primary one. Read only with full scrapes."""
    active_cascades: Gauge | None = None
    """Jobs in flight from the primary tier into this one. Read only with full scrapes."""
    lookup_delay_seconds: LookupDelay | None = None
    """How long look-ups in this tier delayed requests."""
    primary_pinned: PrimaryPinned | None = None
    """Fractions of the primary tier, from 0 to 1, pinned by this tier's jobs; not its occupancy."""
    backpressure: Backpressure | None = None
    """Stores dropped because the tier was too slow, if the tier is configured to drop them."""


class KVOffload(Group):
    """KVOffload describes vLLM's own KV offloading: between the GPU and the offload tier, which is CPU memory or a primary tier within it, and between that tier and secondary tiers. In a vllm-omni pipeline totals may be too low (validity code kv_offload_undercounted)."""

    load: KVTransfer | None
    """From the offload tier to the GPU."""
    store: KVTransfer | None
    """From the GPU to the offload tier."""
    lookup_delay_seconds: LookupDelay | None
    """How long look-ups delayed requests."""
    allocation_failures: int | None
    """Failed allocations in the offload tier."""
    stores_skipped: int | None
    """Stores skipped because of the store threshold."""
    cpu_pinned: CPUPinned | None
    """Fractions of the CPU tier pinned by transfers; not its occupancy."""
    tiers: list[KVTier] | None
    """The figures of each tier, in the order in which vLLM queries them."""
    cpu_allocation_chunks: Distribution | None = None
    """Chunks (blocks in earlier versions) per allocation in the CPU tier."""
    promotion_allocation_failures: int | None = None
    """Promotions from a secondary tier that failed for lack of room in the primary one."""


class HostCache(Group):
    """HostCache describes a connector's KV cache in the host's memory."""

    usage: Gauge | None = None
    """Fraction in use, from 0 to 1; blocks that could be evicted count as free. Read only with full scrapes."""
    pending_transfers: Gauge | None = None
    """Transfers of pages from or to it that were not completed. Read only with full scrapes."""
    residency: KVResidency | None = None
    """How long blocks stayed in it. Covers a sample of the blocks, and only with vLLM's `--kv-cache-metrics`."""


class OffloadBlocks(Group):
    """OffloadBlocks counts the blocks of an offload pool."""

    save_outcomes: dict[str, int] | None = None
    """Blocks by the decision on saving them, such as stored or dropped_cpu_full. A lazy connector's are not counted."""
    loaded: dict[str, int] | None = None
    """Blocks loaded to the GPU by phase: completed, which is all that some versions count, or issued."""
    pinned: Gauge | None = None
    """Blocks pinned by transfers or cache hits; not the pool's occupancy. Read only with full scrapes."""
    pending_stores: Gauge | None = None
    """Blocks waiting to be stored. Read only with full scrapes."""
    capacity: int | None = None
    """Size of the pools of all engines together."""


class KVOperation(Group):
    """KVOperation describes one operation of a KV connector."""

    operation: str
    """The connector's name for it, such as load_get or save."""
    count: int | None
    """Calls, including failed ones."""
    seconds: Distribution | None
    """Times of calls in seconds. 3FS times successful calls only."""
    keys: int | None
    """Keys passed to the calls."""
    bytes: int | None
    """Bytes moved."""
    failures: int | None
    """Calls that failed."""
    failed_keys: int | None
    """Keys that failed, including those of calls that succeeded."""


class KVConnector(Group):
    """KVConnector describes one KV connector."""

    name: str
    """The connector's name: nixl, mooncake_store, hf3fs, hisparse or simple_cpu_offload."""
    transfers: Distribution | None
    """Transfer times in seconds: of NIXL's transfers, of Mooncake's puts and gets, of 3FS's successful saves and loads."""
    bytes: int | None
    """Bytes moved."""
    failures: int | None
    """Failed transfers."""
    post_seconds: Distribution | None = None
    """Time to submit a transfer."""
    size_bytes: Distribution | None = None
    """Bytes per transfer."""
    descriptors: Distribution | None = None
    """Descriptors (pieces of memory) per transfer."""
    failed_notifications: int | None = None
    """Failed notifications of a transfer's end."""
    expired_requests: int | None = None
    """Requests whose KV expired before it was fetched, as counted by the prefill side."""
    late_notifications: int | None = None
    """Notifications of a transfer's end for requests that were no longer tracked, mostly because their KV had expired: one for each rank that sent one."""
    cache: CacheHits | None = None
    """The device's hot buffers, in look-ups."""
    host_cache: HostCache | None = None
    """HiSparse's KV cache in the host's memory."""
    offload_blocks: OffloadBlocks | None = None
    """The blocks that SimpleCPUOffload moves between the GPU and its pool in CPU memory or on disk."""
    operations: list[KVOperation] | None = None
    """The connector's operations, by name."""


class EngineConfig(Group):
    """EngineConfig is the effective configuration, with the source of every setting."""

    values: dict[str, Any]
    """Settings by the names of vLLM's flags, if all engines agree on them."""
    sources: dict[str, str]
    """The source of each setting: engine_core, worker or front_end (with `--instrument`), server_info, cache_config_info, models or version."""


class Instance(Group):
    """Instance holds the figures of one engine."""

    endpoint: int
    """Index into `engine.endpoints`."""
    engine: str | None
    """The engine's label; null if the endpoint has none."""
    stage: str | None
    """The stage's label; null for an engine without stages."""
    replica: str | None
    """The replica's label; null for an engine without stages."""
    worker: str | None = None
    """Ray's id of the engine's worker; absent unless Ray exports the metrics."""
    kv_cache_usage_peak: float | None
    """Highest polled KV-cache usage, a fraction from 0 to 1."""
    requests_running_peak: int | None
    """Highest polled number of running requests."""
    requests_running_mean: float | None = None
    """Mean number of running requests: from the engine's own times if they prove it, otherwise from the polls, as `engine.requests.running.mean`."""
    requests_waiting_peak: int | None = None
    """Highest polled number of waiting requests."""
    requests_waiting_mean: float | None = None
    """Mean number of waiting requests, obtained as `requests_running_mean`."""
    requests_finished: int | None
    """Requests that finished within the window."""
    preemptions: int | None = None
    """Preemptions (events, not requests) within the window."""
    prompt_tokens: int | None
    """Prompt tokens within the window."""
    generation_tokens: int | None
    """Tokens generated within the window."""


class Engine(Group):
    """Engine holds the engine's own metrics over the run's window."""

    source: Literal["http", "multiprocess", "none", "mixed"] | str
    """Where the figures come from: `http`, metrics endpoints; `multiprocess`, prometheus_client's files in PROMETHEUS_MULTIPROC_DIR. `none` and `mixed` are reserved."""
    endpoints: list[Endpoint]
    """The endpoints that were read."""
    models: list[str]
    """Names of the served models."""
    stage: str | None
    """The pipeline stage that these figures belong to; null for an engine without stages."""
    roles: list[Role] | None = None
    """Each server in its role, if some of them prefill prompts and others decode; empty if they do not. A request passes a server of each role, so roles are never added up: the groups of `engine` are those of the decoding servers, except `endpoints`, `window`, `scrapes`, `kv_connectors` and `instances`. Null if the roles are unknown."""
    window: Window | None
    """The time that the figures cover."""
    scrapes: Scrapes | None
    """How often the engine was read."""
    requests: Requests | None
    """Requests within the window."""
    http: dict[str, int] | None = None
    """The API server's responses to generation requests by class of status, as `2xx`, refused ones included: those to the paths under /v1 and /inference, except the list of models, and to paths that it does not have. A stream counts by the status with which it began, once it has ended."""
    tokens: Tokens | None
    """Tokens within the window."""
    throughput: Throughput | None
    """Rates."""
    latency_seconds: Latency | None
    """Latencies measured by the engine."""
    kv_cache: KVCache | None
    """The KV cache."""
    prefix_cache: PrefixCache | None
    """The prefix caches."""
    speculative: Speculative | None
    """Speculative decoding."""
    kv_offload: KVOffload | None
    """vLLM's own KV offloading."""
    kv_connectors: list[KVConnector] | None
    """Other KV connectors."""
    config: EngineConfig | None
    """The effective configuration."""
    instances: list[Instance]
    """The figures of each engine."""


class OmniRequests(Group):
    """OmniRequests counts whole requests."""

    finished: dict[str, int] | None
    """Completed requests by finished_reason, including aborted ones. Builds that export no reason have only success and abort."""
    failed: dict[str, int] | None
    """Failed requests by reason."""
    running: Gauge | None
    """Requests that were passed to an engine and are not complete."""
    waiting: Gauge | None
    """Other requests that are not complete. Indicative only: a stage's own queue may be missing."""


class OmniTokens(Group):
    """OmniTokens counts the tokens of whole requests."""

    prompt: int | None
    """Prompt tokens of the first stage only."""
    generation: int | None
    """Generated tokens of all stages together, including those of an audio codec."""


class OmniPipeline(Group):
    """OmniPipeline holds the figures of whole requests."""

    requests: OmniRequests | None
    """Requests within the window."""
    tokens: OmniTokens | None
    """Tokens within the window."""
    e2e_request_latency_seconds: Distribution | None
    """From arrival to the complete response; aborted requests are not counted."""
    request_queue_wait_seconds: Distribution | None
    """From being queued to being passed to the first stage."""
    images: int | None
    """Images generated."""
    image_pixels: Distribution | None
    """Pixels per image, without quantiles: the engine's buckets do not fit them."""
    num_inference_steps: Distribution | None
    """Denoising steps per request, without quantiles: the engine's buckets do not fit them."""
    kv_wait_seconds: Distribution | None
    """Time that an autoregressive stage waited for a KV transfer, over all connectors."""


class OmniContinuity(Group):
    """OmniContinuity counts the streaming requests without an audible gap."""

    threshold_ms: int | None
    """The longest wait that does not count as a gap, as the engine labels it."""
    ok: int
    """Requests that stayed below it."""
    share: float | None
    """Their share of the requests whose underrun was observed."""


class OmniAudio(Group):
    """OmniAudio holds the audio figures of a stage."""

    time_to_first_packet_seconds: Distribution | None
    """From a request's arrival to its first audio; streaming requests only."""
    duration_seconds: Distribution | None
    """Length of the audio per request."""
    rtf: Distribution | None
    """Real-time factor: the stage's time divided by the audio's length. Below 1 it is faster than playback."""
    realtime_share: float | None
    """Exact fraction of requests with a real-time factor of at most 1."""
    frames: int | None
    """Audio samples (24000 per second at 24 kHz)."""
    underrun_seconds: Distribution | None
    """Longest time per request that a player would have waited for audio; streaming requests only."""
    continuity: OmniContinuity | None
    """Streaming requests without an audible gap."""
    skipped: dict[str, int] | None
    """Requests answered without audio, by reason."""
    seconds_per_second: float | None
    """Seconds of audio per second of the window, idle time included."""


class OmniImage(Group):
    """OmniImage holds the image figures of a stage."""

    time_to_first_image_seconds: Distribution | None
    """From entering the stage to the first image (before vllm-omni's pull request 6150: from the request's arrival)."""
    images: int | None
    """Images, if the engine counts them per stage."""
    generation_time_seconds: Distribution | None
    """The stage's time per request, in builds that export it apart from the stage's generation_time_seconds."""


class OmniVideo(Group):
    """OmniVideo holds the video figures of a stage."""

    generation_time_seconds: Distribution | None
    """The stage's time per request, in builds that export it apart from the stage's generation_time_seconds."""
    duration_seconds: Distribution | None
    """Length of the video per request."""
    rtf: Distribution | None
    """Real-time factor: the stage's time divided by the video's length."""


class OmniDiffusion(Group):
    """OmniDiffusion holds the phases of a diffusion stage's work, per request."""

    exec_seconds: Distribution | None
    """Running the model."""
    exec_per_step_seconds: Distribution | None
    """Running the model, per denoising step."""
    preprocess_seconds: Distribution | None
    """Preprocessing, before the model runs."""
    postprocess_seconds: Distribution | None
    """Postprocessing, after the model has run."""
    vae_decode_seconds: Distribution | None
    """Decoding latents."""
    forward_seconds: Distribution | None
    """The forward passes."""
    denoise_step_seconds: Distribution | None
    """One denoising step: the stage's time divided by the number of steps."""
    kv_load_seconds: Distribution | None
    """Loading a KV cache from another stage."""


class OmniStage(Group):
    """OmniStage holds the figures of one stage, its replicas combined."""

    stage: str
    """The stage's label."""
    stage_type: str | None
    """Its type, as vllm-omni names it."""
    replicas: list[str]
    """The labels of its replicas, if the metrics carry them."""
    generation_time_seconds: Distribution | None
    """From entering the stage to its output, including time spent waiting in it."""
    in_queue_seconds: Distribution | None
    """Time in a diffusion scheduler's queue."""
    waiting_requests: Gauge | None
    """Requests waiting in the stage."""
    peak_memory_bytes: int | None
    """Highest GPU memory that the stage's process reported as reserved (the engine's MB taken as 2^20 bytes)."""
    audio: OmniAudio | None
    """Audio generated by the stage."""
    image: OmniImage | None
    """Images generated by the stage."""
    video: OmniVideo | None
    """Videos generated by the stage."""
    diffusion: OmniDiffusion | None
    """The phases of a diffusion stage's work."""


class OmniTransfer(Group):
    """OmniTransfer describes the transfers on one edge. Transfers may overlap, so their times can add up to more than the window."""

    from_stage: str
    """The sending stage."""
    from_replica: str
    """Its replica."""
    to_stage: str
    """The receiving stage."""
    to_replica: str
    """Its replica."""
    size_bytes: Distribution | None
    """Bytes per transfer."""
    tx_seconds: Distribution | None
    """Serialising and submitting."""
    in_flight_seconds: Distribution | None
    """From submission to receipt."""
    rx_seconds: Distribution | None
    """Receiving and decoding."""
    latency_mean_seconds: float | None
    """Sum of the mean times of the three phases, each over its own count, as far as they were recorded."""


class Omni(Group):
    """Omni holds the metrics that a vllm-omni pipeline exports about whole requests, which pass through several stages. The metrics of the stages' engines are in `engine`. Names and meanings: vllm_omni/metrics of vllm-omni, pull requests 3362, 3576, 4755, 6150."""

    models: list[str]
    """Names of the served models."""
    pipeline: OmniPipeline | None
    """Whole requests, whatever stages they passed through."""
    stages: list[OmniStage]
    """Each stage that exports metrics of its own, its replicas combined. Stages must not be added up: a request passes through several."""
    transfers: list[OmniTransfer] | None
    """Transfers between stages, one entry per edge; null if no such metric is exported."""


class Efficiency(Group):
    """Efficiency combines readings of the GPUs and the engine. Energy is the sum of `energy_active_joules` over the GPUs with `used_by_job`; that of the rest of the host is not included."""

    joules_per_generation_token: float | None
    """Active energy of the command's GPUs per generated token."""
    joules_per_computed_token: float | None = None
    """Active energy of the command's GPUs per token that the engine computed: generated tokens, and prompt tokens that came from no cache."""
    joules_per_request: float | None
    """Active energy of the command's GPUs per finished request."""
    generation_tokens_per_second_per_gpu: float | None
    """`engine.throughput.generation_tokens_per_second`, divided by the number of GPUs that the command used."""


class Curve(Group):
    """Curve is one figure in the slots of the run, 120 at most, with four significant digits. A slot without a reading is null in both lists."""

    name: str | None = None
    """The figure, with its unit: `gpus.N.memory_used_bytes` and `gpus.N.power_watts` (N is the place in `gpus`), `engine.kv_cache.usage` (a fraction; the highest engine in `max`, the mean of all engines in `mean`), `engine.requests.running` and `engine.requests.waiting` (requests, of all engines together), `engine.throughput.prompt_tokens_per_second` and `engine.throughput.generation_tokens_per_second` (of all engines together), `engine.process_resident_memory_bytes` (of all API servers together, by their own metrics), `host.tree_cpu_cores` (CPU-seconds per second of the command and its descendants), `host.engine_rss_bytes` (resident memory of the processes of the engines on this host)."""
    max: list[float | None] | None = None
    """Highest reading in each slot. A lower bound."""
    mean: list[float | None] | None = None
    """Mean of the readings in each slot, weighted by time."""


class Series(Group):
    """Series shows how figures went over the run, in slots of one width that begin at the command's start (`run.started_at`)."""

    slot_seconds: float | None = None
    """Width of a slot: 0.25 s times a power of two. Longer runs have wider slots."""
    curves: list[Curve] | None = None
    """The figures that had a reading. A figure that was never read has no curve."""


class DiagnosisEvidence(Group):
    """DiagnosisEvidence is a figure, and what it was compared with."""

    field: str | None = None
    """Path of the figure in the event. An expression of several paths, such as `engine.requests.preemptions / engine.requests.finished`, if it is computed from them."""
    value: Any = None
    """The figure's value."""
    operator: Literal["<", "<=", "==", "!=", ">=", ">"] | str | None = None
    """How it compares with the threshold."""
    threshold: Any = None
    """What it was compared with."""


class BindingResource(Group):
    """BindingResource is the verdict of a Diagnosis."""

    code: Literal["concurrency_cap", "cap_or_compute", "compute", "kv_cache", "token_budget", "frontend", "client", "offload", "kv_transfer", "stalled", "unknown"] | str | None = None
    """`concurrency_cap`, max_num_seqs; `cap_or_compute`, max_num_seqs, or the GPU's compute: which of the two is unknown; `compute`, the GPU's compute; `kv_cache`, the size of the KV cache; `token_budget`, max_num_batched_tokens; `frontend`, the API server; `client`, the load: the engine could take more; `offload`, loads from the KV offload tiers; `kv_transfer`, KV transfers between servers; `stalled`, nothing moved although requests waited; `unknown`."""
    confidence: float | None = None
    """How sure the verdict is, from 0 to 1. docs/diagnosis.md says what it rests on."""
    evidence: list[DiagnosisEvidence] | None = None
    """The figures that it rests on."""
    would_settle: list[str] | None = None
    """What would settle the verdict; empty if nothing more is needed."""


class Fix(Group):
    """Fix is one change that a Finding suggests."""

    flag: str | None = None
    """The flag of `vllm serve`, such as `--max-num-seqs`; empty for a change that is no flag."""
    value: Any = None
    """The flag's suggested value; null if there is none."""
    reason: str | None = None
    """Why, and how the value was computed."""
    effect: str | None = None
    """What is expected to rise and to fall."""


class Finding(Group):
    """Finding is one finding of a Diagnosis."""

    code: str | None = None
    """The rule's code: see docs/diagnosis.md."""
    severity: Literal["info", "warning", "critical"] | str | None = None
    """`info`, worth knowing; `warning`, it costs latency or throughput; `critical`, requests fail, or the engine does."""
    confidence: float | None = None
    """How sure the finding is, from 0 to 1."""
    message: str | None = None
    """What was found, as a sentence."""
    evidence: list[DiagnosisEvidence] | None = None
    """The figures that it rests on."""
    causes: list[str] | None = None
    """Likely causes, the likeliest first."""
    fixes: list[Fix] | None = None
    """What to change."""
    would_settle: list[str] | None = None
    """What would settle a finding that is not sure; empty if nothing more is needed."""


class NotEvaluated(Group):
    """NotEvaluated is a rule that could not be evaluated."""

    code: str | None = None
    """The rule's code."""
    reason: str | None = None
    """What is missing, as a sentence."""


class Diagnosis(Group):
    """Diagnosis is what the event's own figures show about the engine's limits."""

    binding_resource: BindingResource | None = None
    """What limits the engine's throughput: the one resource to change first."""
    findings: list[Finding] | None = None
    """What is wrong, or could be better, the most severe first."""
    not_evaluated: list[NotEvaluated] | None = None
    """The rules that could not be evaluated: what they look for may or may not be the case."""


class ClientRequests(Group):
    """ClientRequests counts a load generator's requests."""

    started: int | None = None
    """Requests that were sent."""
    completed: int | None = None
    """Those that were answered completely."""
    failed: dict[str, int] | None = None
    """Those that failed, by the kind of failure."""
    cancelled: int | None = None
    """Those that the client cancelled on purpose."""


class ClientTokens(Group):
    """ClientTokens counts the tokens of a load generator's completed requests."""

    prompt: int | None = None
    """Prompt tokens."""
    generation: int | None = None
    """Generated tokens."""
    from_: Literal["usage", "chunks", "tokenizer", "tool"] | str | None = Field(default=None, alias="from")
    """Where the counts come from: `usage`, the server's own counts; `chunks`, the chunks of the streams, of which one may hold several tokens; `tokenizer`, the client's tokenizer; `tool`, the load generator does not say."""


class ClientDistribution(Group):
    """ClientDistribution summarises observations of a load generator. Percentiles are those of the observations, not estimates from wide buckets."""

    count: int | None = None
    """Number of observations."""
    mean: float | None = None
    """Mean."""
    p50: float | None = None
    """Median."""
    p90: float | None = None
    """90th percentile."""
    p95: float | None = None
    """95th percentile."""
    p99: float | None = None
    """99th percentile."""
    max: float | None = None
    """Highest observation."""
    p99_interval: tuple[float | None, float | None] | None = None
    """The interval in which the 99th percentile of the load lies with a confidence of 95 %; null instead of the second number if there are too few observations."""


class ClientLatency(Group):
    """ClientLatency holds the latency distributions that a load generator saw, under vLLM's metric names."""

    time_to_first_token: ClientDistribution | None = None
    """From the intended time of sending to the first token."""
    inter_token_latency: ClientDistribution | None = None
    """Between two chunks of a stream."""
    time_per_output_token: ClientDistribution | None = None
    """Time per token after the first, of each request."""
    e2e_request_latency: ClientDistribution | None = None
    """From the intended time of sending to the end of the answer."""
    send_lateness: ClientDistribution | None = None
    """From the intended time of sending to that at which the request was sent."""


class ClientDifference(Group):
    """ClientDifference holds the means of a load generator's latencies less those of the engine's. A mean is exact on both sides. A difference is null unless both have as many observations."""

    time_to_first_token: float | None = None
    """Of the time to first token. The engine's begins when the front end has the request."""
    inter_token_latency: float | None = None
    """Of the inter-token latency."""
    time_per_output_token: float | None = None
    """Of the time per output token."""
    e2e_request_latency: float | None = None
    """Of the end-to-end latency."""


class ClientMean(Group):
    """ClientMean is the mean of observations of a load generator."""

    count: int | None = None
    """Number of observations."""
    mean: float | None = None
    """Mean."""


class ClientMeans(Group):
    """ClientMeans holds the means of a load generator's latencies."""

    time_to_first_token: ClientMean | None = None
    """As in `client.latency_seconds`."""
    inter_token_latency: ClientMean | None = None
    """As in `client.latency_seconds`."""
    time_per_output_token: ClientMean | None = None
    """As in `client.latency_seconds`."""
    e2e_request_latency: ClientMean | None = None
    """As in `client.latency_seconds`."""


class ClientWarmup(Group):
    """ClientWarmup holds the figures of the requests that a load generator sent before those that it counts."""

    requests: ClientRequests | None = None
    """Its requests."""
    tokens: ClientTokens | None = None
    """The tokens of completed requests."""
    latency_seconds: ClientMeans | None = None
    """Mean latencies of completed requests."""


class ClientThroughput(Group):
    """ClientThroughput holds the rates of a load generator's completed requests."""

    requests_per_second: float | None = None
    """Completed requests per second."""
    prompt_tokens_per_second: float | None = None
    """Their prompt tokens per second."""
    generation_tokens_per_second: float | None = None
    """Their generated tokens per second."""
    over: Literal["steady", "all"] | str | None = None
    """What the rates are over: `steady`, the time in which the load was at its level, without ramp, warm-up and end; `all`, `client.duration_seconds`."""


class ClientFindMaxShare(Group):
    """ClientFindMaxShare is the share of a step's requests that met one target. Requests that failed met none."""

    target: str | None = None
    """The target, as `ttft=500ms@p99`."""
    met: float | None = None
    """The share."""
    interval: tuple[float | None, float | None] | None = None
    """Its interval with a confidence of 95 %, which takes account of how requests depend on each other."""


class ClientFindMaxStep(Group):
    """ClientFindMaxStep is a step of the search: an open loop at one rate."""

    rate: float | None = None
    """Its rate."""
    seed: int | None = None
    """The seed of its requests."""
    confirms: bool | None = None
    """Whether it was a fresh run to confirm the rate."""
    requests: int | None = None
    """Requests that were judged: those sent, without the warm-up and a tenth for the start with an empty server."""
    met: bool | None = None
    """Whether it met the targets."""
    proven: bool | None = None
    """Whether that is proven, with an error probability of about 5 %; otherwise the step ended at its limit, and the shares decided."""
    overload: bool | None = None
    """Whether the requests under way grew without end."""
    client_late: bool | None = None
    """Whether it missed the targets because the client sent requests too late."""
    shares: list[ClientFindMaxShare] | None = None
    """The shares of requests that met each target."""
    seconds: float | None = None
    """How long it lasted, until all its requests had ended."""


class ClientFindMax(Group):
    """ClientFindMax is the search for the highest rate that meets latency targets: `vobs load --find-max`."""

    rate: float | None = None
    """The highest rate that meets the targets of `client.slo`; null if no step met them."""
    confirmed: bool | None = None
    """Whether fresh runs at this rate, each with requests of its own, confirm it: three together met the targets, and none of them is proven to miss them."""
    proven: tuple[float | None, float | None] | None = None
    """The highest rate that is proven to meet the targets, and the lowest that is proven to miss them; null for one that there is not."""
    resolution: float | None = None
    """The step between two rates of the search, relative to the lower one."""
    stopped_by: Literal["resolution", "client", "max_rate", "lowest_rate", "interrupted", "error"] | str | None = None
    """Why the search ended: `resolution`, the next higher rate misses the targets; `client`, it misses them because the client is too slow; `max_rate`, the highest allowed rate meets them; `lowest_rate`, the lowest rate that a step can judge misses them; `interrupted`; `error`, the server could not be measured any more."""
    steps: list[ClientFindMaxStep] | None = None
    """The steps, in their order."""


class Client(Group):
    """Client holds the figures of a load generator: what its requests saw."""

    tool: str | None = None
    """The load generator: `vobs load`, `vllm bench serve`, `guidellm`, `aiperf` or `inference-perf`."""
    requests: ClientRequests | None = None
    """Its requests."""
    tokens: ClientTokens | None = None
    """The tokens of completed requests."""
    latency_seconds: ClientLatency | None = None
    """Latencies of completed requests."""
    engine_difference_seconds: ClientDifference | None = None
    """The client's mean latencies less the engine's, over the same requests, those of the warm-up included: the time in the network, in the server's front end and in the client."""
    warmup: ClientWarmup | None = None
    """The requests that were sent first. No other figure here has them, except those of `engine_difference_seconds`; the engine's figures have them. Null if there were none."""
    duration_seconds: float | None = None
    """Time from the first request's intended start to the end of the last one."""
    throughput: ClientThroughput | None = None
    """Rates over that time, or over the steady part of it: see `over`."""
    slo: str | None = None
    """The latency targets that goodput counts, as `ttft=500ms,itl=50ms`; null without any."""
    goodput: float | None = None
    """Completed requests per second that met all targets of `slo`."""
    find_max: ClientFindMax | None = None
    """The search for the highest rate that meets the targets; null without `--find-max`."""
    settings: dict[str, Any] | None = None
    """What the load generator was told to do, by its own names."""


class Evidence(Group):
    """Evidence is the figure behind a validity note."""

    field: str
    """Path of the figure in this event."""
    value: Any
    """Its value."""
    threshold: Any
    """The limit that it was compared with."""


class Validity(Group):
    """Validity is a doubt about figures of this event."""

    code: str
    """Stable name of the kind of doubt, such as `short_window`."""
    severity: Literal["info", "warning", "error"] | str
    """How much it matters."""
    message: str
    """What was observed and what it means for the figures."""
    evidence: Evidence | None
    """The figure behind the note; null if it rests on no single one."""


class Unavailable(Group):
    """Unavailable explains why a figure or a group of figures is null."""

    field: str
    """Path of the figure in this event, such as `gpus.0.baseline_bytes`."""
    reason: str
    """Why it is null and, if possible, how to get it."""


class GenerationObservability(Group):
    """GenerationObservability is one event: the record of one run of one command."""

    peak_vram_gb: float | None
    """Peak device-wide memory in GiB: the highest peak of any single GPU that the command used, or of any sampled GPU if none can be matched with the command."""
    kv_cache_usage_perc: float | None
    """Last reading of KV-cache usage as a fraction from 0 to 1, the highest over all engines. For the true peak see `engine.kv_cache.usage.peak`."""
    prefix_cache_hit_rate: float | None
    """Prefix-cache hits divided by queries over the run's window, both in tokens and summed over all engines."""
    spec_accept_rate: float | None
    """Accepted divided by drafted speculative tokens over the run's window, summed over all engines."""
    loadavg_pre: tuple[float, float, float] | None
    """Load averages of the host over 1, 5 and 15 minutes, read before the command started."""
    loadavg_post: tuple[float, float, float] | None
    """Load averages of the host over 1, 5 and 15 minutes, read after the command ended."""
    engine_runtime_config: EngineRuntimeConfig
    """The engine's effective settings: those of NeMo Safe Synthesizer's six keys that could be read."""
    flag_did_not_engage: bool
    """True if an intended setting differs from the effective one, among the five that NeMo Safe Synthesizer compares: max_num_seqs, max_num_batched_tokens, enable_chunked_prefill, enable_prefix_caching, kv_cache_dtype. `flag_mismatches` covers all settings. False also if nothing was compared: see `flags_checked`."""
    schema_version: Literal[1]
    """Version of the schema that this event follows."""
    partial: bool
    """True in a preliminary event, written while the command is still running."""
    flag_mismatches: list[str] | None
    """Intended engine settings that did not take effect, as `name: intended=… actual=…`; null if none could be compared."""
    flags_checked: list[str] | None
    """Intended settings that were compared, by value, with what the engine reports; null if no comparison was made."""
    flags_unchecked: list[FlagUnchecked] | None
    """Intended settings that could not be compared, with the reason; null if no comparison was made."""
    run: Run
    """The command and how it ended."""
    overhead: Overhead | None
    """What vobs itself cost."""
    host: Host | None
    """The host and the command's process tree."""
    gpus: list[GPU] | None
    """The GPUs visible to the command: [] if there are none, null if NVML is unavailable."""
    engine: Engine | None
    """Metrics of the inference engine over the run's window."""
    omni: Omni | None
    """Metrics of a vllm-omni pipeline."""
    efficiency: Efficiency | None
    """Figures that combine GPU and engine readings."""
    series: Series | None = None
    """How figures went over the run."""
    diagnosis: Diagnosis | None = None
    """What limits the engine, and what to change. Null if no engine was read."""
    client: Client | None = None
    """What a load generator measured of its requests. Null if none reported to this run."""
    validity: list[Validity]
    """What casts doubt on figures of this event."""
    unavailable: list[Unavailable]
    """Which figures are null, and why."""
