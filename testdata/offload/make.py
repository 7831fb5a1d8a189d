"""Writes the pages of this folder: KV offloading and KV connectors as vLLM exports them.

No deployment with them could be recorded. The families, labels and buckets are
those of vLLM's sources (see probe/names_offload.go); types, the order of labels
and the spelling of numbers are prometheus_client's, which writes the pages:

    pip install prometheus_client==0.26.0
    python3 testdata/offload/make.py

A scenario is NAME_pre.prom, sometimes NAME_mid.prom, and NAME_post.prom; what
happened between the first and the last is put together in expected.json, from
the events themselves, not from the pages.
"""

import importlib
import json
import os
import tempfile
from pathlib import Path

import prometheus_client as pc
from prometheus_client import multiprocess, values

# The time of the making would change the pages, and tells nothing.
pc.disable_created_metrics()

HERE = Path(__file__).parent

K = [1e6, 5e6, 1e7, 2e7, 4e7, 6e7, 8e7, 1e8, 1.5e8, 2e8]
SYNC = [1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1]
ASYNC = [1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]
CHUNKS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144]
RESIDENCY = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800]
TTFT = [0.04, 0.06, 1]  # few: it is not what these pages are for

TYPES = {"load": "CPU_to_GPU", "store": "GPU_to_CPU"}


class Server:
    """One API server's registry, with what every engine exports and fake offloading."""

    def __init__(self, engines=("0",), stages=None, start=1.7953e9, types=TYPES):
        self.pc, self.types = pc, types
        self.registry = pc.CollectorRegistry()
        self.names = ["model_name", "engine"]
        self.instances = [("m", e) for e in engines]
        if stages:  # vllm-omni
            self.names = ["model_name", "stage", "replica"]
            self.instances = [("m", *s) for s in stages]
        self.families = {}
        if start:
            self.gauge("process_start_time_seconds", labels=(), doc="Start time of the process since unix epoch in seconds.").set(start)
        self.gauge("vllm:num_requests_running", now=0)
        self.gauge("vllm:kv_cache_usage_perc", now=0)
        self.counter("vllm:generation_tokens", now=True)
        self.histogram("vllm:time_to_first_token_seconds", TTFT, now=True)

    def family(self, kind, name, labels, doc, **more):
        f = kind(name, doc or name, self.names + list(labels) if labels != () else (), registry=self.registry, **more)
        self.families[name] = f
        return f

    def counter(self, name, labels=None, doc="", now=False):
        f = self.family(self.pc.Counter, name, labels or [], doc)
        if now:
            for i in self.instances:
                f.labels(*i)
        return f

    def histogram(self, name, buckets, labels=None, doc="", now=False):
        f = self.family(self.pc.Histogram, name, labels or [], doc, buckets=buckets)
        if now:
            for i in self.instances:
                f.labels(*i)
        return f

    def gauge(self, name, labels=None, doc="", now=None, **more):
        f = self.family(self.pc.Gauge, name, [] if labels is None else labels, doc, **more)
        if now is not None:
            for i in self.instances:
                f.labels(*i).set(now)
        return f

    def at(self, name, *labels, i=0):
        return self.families[name].labels(*self.instances[i], *labels)

    def run(self, tokens=100, i=0):
        self.at("vllm:generation_tokens", i=i).inc(tokens)
        self.at("vllm:time_to_first_token_seconds", i=i).observe(0.05)

    # The connector. flat: absent, bound (at 0 from the start), lazy (with the first event).
    def offloading(self, flat="lazy", deprecated=True):
        self.flat, self.deprecated = flat, deprecated
        if flat != "absent":
            for way in ("load", "store"):
                self.counter(f"vllm:kv_offload_{way}_bytes", now=flat == "bound")
                self.counter(f"vllm:kv_offload_{way}_time", now=flat == "bound")
                self.histogram(f"vllm:kv_offload_{way}_size", K, now=flat == "bound")
            self.histogram("vllm:kv_offload_lookup_sync_delay_seconds", SYNC, now=flat == "bound")
            self.histogram("vllm:kv_offload_lookup_async_delay_seconds", ASYNC, now=flat == "bound")
            self.counter("vllm:kv_offload_allocation_failure", now=flat == "bound")
            for usage in ("", "write_", "read_"):
                self.gauge(f"vllm:kv_offload_cpu_cache_{usage}usage_perc", now=0)
            self.histogram("vllm:kv_offload_cpu_allocation_size", CHUNKS, now=flat == "bound")
        if deprecated:
            label = ["transfer_type"]
            families = [self.counter("vllm:kv_offload_total_bytes", label), self.counter("vllm:kv_offload_total_time", label), self.histogram("vllm:kv_offload_size", K, label)]
            for f in families:
                for i in self.instances:
                    for t in self.types.values():
                        f.labels(*i, t)

    def transfer(self, way, size, seconds, i=0, ranks=1):
        """One job: each rank copies its part and counts it."""
        for _ in range(ranks):
            if self.flat != "absent":
                self.at(f"vllm:kv_offload_{way}_bytes", i=i).inc(size)
                self.at(f"vllm:kv_offload_{way}_time", i=i).inc(seconds)
                self.at(f"vllm:kv_offload_{way}_size", i=i).observe(size)
            if self.deprecated:
                t = self.types[way]
                self.at("vllm:kv_offload_total_bytes", t, i=i).inc(size)
                self.at("vllm:kv_offload_total_time", t, i=i).inc(seconds)
                self.at("vllm:kv_offload_size", t, i=i).observe(size)

    def tiering(self, blocks="chunk", backpressure=False):
        p, t = "vllm:kv_offload_tiering_", ["tier"]
        self.blocks = blocks
        for c in ("read_bytes", "read_time", "write_bytes", "write_time", "promotion_job_failures", "cascade_job_failures", f"{blocks}_queries", f"{blocks}_hits"):
            self.counter(p + c, t)
        self.counter(p + "promotion_allocation_failures")
        self.histogram(p + "lookup_sync_delay_seconds", SYNC, t)
        self.histogram(p + "lookup_async_delay_seconds", ASYNC, t)
        for g in ("primary_write_usage_perc", "primary_read_usage_perc", "active_promotion_jobs", "active_cascade_jobs"):
            self.gauge(p + g, t)
        if backpressure:
            self.gauge(p + "backpressure_store_latency_ema", t)
            self.counter(p + "backpressure_stores_dropped", t)
            self.counter(p + "backpressure_blocks_dropped", t)

    def tier(self, tier, i=0, **events):
        """Counts events of a tier: hits=3, read_bytes=10, …; a gauge is set."""
        for name, n in events.items():
            if name in ("queries", "hits"):
                name = f"{self.blocks}_{name}"
            f = self.at("vllm:kv_offload_tiering_" + name, tier, i=i)
            if hasattr(f, "observe"):
                f.observe(n)
            elif hasattr(f, "set"):
                f.set(n)
            else:
                f.inc(n)

    def page(self):
        return self.pc.generate_latest(self.registry).decode()


expected = {}


def write(name, page):
    (HERE / f"{name}.prom").write_text(page if isinstance(page, str) else page.page())


class Ways:
    """Adds up what was moved, for expected.json."""

    def __init__(self):
        self.sums = {"load": [0, 0.0, 0], "store": [0, 0.0, 0]}

    def move(self, server, way, size, seconds, i=0, ranks=1):
        server.transfer(way, size, seconds, i, ranks)
        s = self.sums[way]
        s[0] += size * ranks
        s[1] += seconds * ranks
        s[2] += ranks

    def tell(self, name):
        expected[name] = {way: {"bytes": b, "seconds": round(t, 9), "operations": n} for way, (b, t, n) in self.sums.items()}


def bracket(name, flat, deprecated, engines=("0",), ranks=1, before=True, types=TYPES, stages=None):
    s, before_run, run = Server(engines, stages, types=types), Ways(), Ways()
    s.offloading(flat, deprecated)
    if before:
        for i in range(len(s.instances)):
            before_run.move(s, "load", 7_000_000, 0.0005, i)
            before_run.move(s, "store", 9_000_000, 0.0007, i)
    write(name + "_pre", s)
    for i in range(len(s.instances)):
        for n in range(3 + i):
            run.move(s, "load", 50_000_000, 0.0025, i, ranks)
        run.move(s, "load", 220_000_000, 0.011, i, ranks)
        run.move(s, "store", 30_000_000, 0.0016, i, ranks)
        s.run(200, i)
    write(name + "_post", s)
    run.tell(name)


# Flat and deprecated families side by side, in both readings; two engines.
bracket("both", "bound", True, ("0", "1"))
# vLLM 0.16 until June 2026: the deprecated ones alone.
bracket("deprecated", "absent", True)
# The same on another device.
bracket("npu", "absent", True, types={"load": "CPU_to_NPU", "store": "NPU_to_CPU"})
# Flat series that come with the first event, inside the window.
bracket("lazy", "lazy", True, before=False)
# Four ranks copy side by side: their times add up.
bracket("ranks", "lazy", True, ranks=4)
# vllm-omni: two stages of two replicas; the engine's figures are the first stage's.
bracket("omni", "lazy", True, stages=[("0", "0"), ("0", "1"), ("1", "0")])
expected["omni"] = {
    "load": {"bytes": (3 + 4) * 50_000_000 + 2 * 220_000_000, "seconds": round((3 + 4) * 0.0025 + 2 * 0.011, 9), "operations": 3 + 4 + 2},
    "store": {"bytes": 60_000_000, "seconds": 0.0032, "operations": 2},
}

# Another offload tier than the CPU's memory: the deprecated families stay at 0.
s, w = Server(), Ways()
s.offloading("lazy", True)
s.deprecated = False
write("other_pre", s)
w.move(s, "load", 5_000_000, 0.001)
s.run()
write("other_post", s)
w.tell("other")

# An update inside the window: the old process has the deprecated families alone.
s, w = Server(start=1.7953e9), Ways()
s.offloading("absent", True)
w.move(s, "load", 1_000_000, 0.001)
w = Ways()
write("update_pre", s)
w.move(s, "load", 11_000_000, 0.01)
s.run()
write("update_mid", s)
s = Server(start=1.79540e9)
s.offloading("lazy", True)
w.move(s, "load", 13_000_000, 0.02)
s.run()
write("update_post", s)
w.tell("update")

# A restart inside the window, after which nothing is loaded: the flat series of
# loads are gone, those of stores come anew.
s, w = Server(start=1.7953e9), Ways()
s.offloading("lazy", True)
w.move(s, "load", 100_000_000, 1)
w.move(s, "store", 100_000_000, 1)
w = Ways()
write("restart_pre", s)
w.move(s, "load", 20_000_000, 0.01)
w.move(s, "store", 40_000_000, 0.02)
s.run()
write("restart_mid", s)
s = Server(start=1.79540e9)
s.offloading("lazy", True)
w.move(s, "store", 160_000_000, 0.08)
s.run()
write("restart_post", s)
w.tell("restart")

# Bytes without a time.
s, w = Server(), Ways()
s.offloading("lazy", True)
write("timeless_pre", s)
w.move(s, "load", 3_000_000, 0.0)
s.run()
write("timeless_post", s)
w.tell("timeless")


def tiers(name, blocks, backpressure):
    s, w = Server(("0", "1")), Ways()
    s.offloading("lazy", True)
    s.tiering(blocks, backpressure)
    s.counter("vllm:kv_offload_stores_skipped", now=True)
    # What vobs does not read, a tier's own counter, and a gauge of another connector.
    s.counter("vllm:kv_offload_fs_evictions", ["tier"])
    s.gauge("vllm:simple_kv_offload_used_blocks", now=7)
    s.at("vllm:kv_offload_fs_evictions", "1:fs").inc(3)
    s.tier("0:primary", queries=100, hits=60)
    s.tier("1:fs", queries=40, hits=10, write_bytes=500, write_time=0.5, active_promotion_jobs=0, active_cascade_jobs=0)
    write(name + "_pre", s)
    w.move(s, "store", 64_000_000, 0.004)
    s.at("vllm:kv_offload_cpu_cache_usage_perc").set(0.25)
    s.at("vllm:kv_offload_cpu_cache_write_usage_perc").set(0.2)
    s.at("vllm:kv_offload_cpu_cache_read_usage_perc").set(0.05)
    s.tier("1:fs", active_promotion_jobs=2, active_cascade_jobs=3, primary_write_usage_perc=0.125, primary_read_usage_perc=0.5)
    s.tier("1:fs", i=1, active_promotion_jobs=4, active_cascade_jobs=0, primary_write_usage_perc=0.25, primary_read_usage_perc=0)
    if backpressure:
        s.tier("2:obj", backpressure_store_latency_ema=0.03)
        s.tier("2:obj", i=1, backpressure_store_latency_ema=0.05)
    s.run()
    s.at("vllm:num_requests_running").set(1)
    write(name + "_mid", s)
    s.at("vllm:num_requests_running").set(0)
    s.tier("0:primary", queries=300, hits=150)
    s.tier("0:primary", i=1, queries=100, hits=50)
    s.tier("1:fs", queries=150, hits=30, read_bytes=60_000_000, read_time=0.25, write_bytes=30_000_000, write_time=0.5, promotion_job_failures=2, lookup_sync_delay_seconds=0.002)
    s.tier("1:fs", i=1, queries=50, read_bytes=2_000_000)  # a job that told no time
    s.tier("2:obj", queries=120, write_bytes=4_000_000, write_time=2, cascade_job_failures=1, lookup_async_delay_seconds=0.3)
    s.tier("10:StripedFileSystemTierManager", queries=120, hits=120)
    s.tier("disk", queries=1)
    s.at("vllm:kv_offload_tiering_promotion_allocation_failures").inc(5)
    s.at("vllm:kv_offload_allocation_failure").inc(6)
    s.at("vllm:kv_offload_stores_skipped", i=1).inc(7)
    s.at("vllm:kv_offload_lookup_sync_delay_seconds").observe(0.0003)
    s.at("vllm:kv_offload_cpu_allocation_size").observe(32)
    if backpressure:
        s.tier("2:obj", backpressure_stores_dropped=3, backpressure_blocks_dropped=48, backpressure_store_latency_ema=0.01)
        s.tier("2:obj", i=1, backpressure_store_latency_ema=0.02)
    for i in (0, 1):
        s.tier("1:fs", i=i, active_promotion_jobs=0, active_cascade_jobs=0, primary_write_usage_perc=0, primary_read_usage_perc=0)
    for usage in ("", "write_", "read_"):
        s.at(f"vllm:kv_offload_cpu_cache_{usage}usage_perc").set(0)
    s.run()
    write(name + "_post", s)
    w.tell(name)


tiers("tiers", "chunk", True)
# As PR 48798 came: blocks, and no back-pressure yet.
tiers("tiers_blocks", "block", False)


# The KV connectors.
def connectors():
    s = Server(("0", "1"))
    s.histogram("vllm:nixl_xfer_time_seconds", [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 5], now=True)
    s.histogram("vllm:nixl_post_time_seconds", [0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 5], now=True)
    s.histogram("vllm:nixl_bytes_transferred", [2.0 ** (11 + 2 * i) for i in range(12)], now=True)
    s.histogram("vllm:nixl_num_descriptors", [10, 20, 30, 50, 75, 100, 200, 400, 1000, 2000, 4000, 10000, 20000, 50000], now=True)
    for c in ("failed_transfers", "failed_notifications", "kv_expired_reqs"):
        s.counter("vllm:nixl_num_" + c, now=True)
    label = ["operation", "status"]
    s.histogram("vllm:mooncake_store_operation_time_seconds", [1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 4], label)
    s.counter("vllm:mooncake_store_operation", label)
    for c in ("keys", "bytes", "failed_keys"):
        s.counter("vllm:mooncake_store_operation_" + c, label)
    for way in ("save", "load"):
        s.histogram(f"vllm:hf3fs_{way}_duration_seconds", [0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 5], now=True)
        s.counter(f"vllm:hf3fs_num_failed_{way}", now=True)
    for c in ("cache_hits", "cache_misses", "host_to_device_bytes"):
        s.counter("vllm:hisparse_" + c, now=True)

    def nixl(i, seconds, size, descriptors):
        s.at("vllm:nixl_xfer_time_seconds", i=i).observe(seconds)
        s.at("vllm:nixl_post_time_seconds", i=i).observe(seconds / 10)
        s.at("vllm:nixl_bytes_transferred", i=i).observe(size)
        s.at("vllm:nixl_num_descriptors", i=i).observe(descriptors)

    def mooncake(operation, status, seconds, keys, size, failed=0):
        p = "vllm:mooncake_store_operation"
        s.at(p + "_time_seconds", operation, status).observe(seconds)
        s.at(p, operation, status).inc()
        s.at(p + "_keys", operation, status).inc(keys)
        s.at(p + "_bytes", operation, status).inc(size)
        s.at(p + "_failed_keys", operation, status).inc(failed)

    nixl(0, 0.02, 1 << 25, 64)
    mooncake("save_put", "ok", 0.01, 4, 1 << 20)
    write("connectors_pre", s)
    for i in (0, 1):
        for n in range(6):
            nixl(i, 0.02 + 0.01 * i, 1 << 25, 64)
    s.at("vllm:nixl_num_failed_transfers", i=1).inc(2)
    s.at("vllm:nixl_num_failed_notifications").inc(1)
    s.at("vllm:nixl_num_kv_expired_reqs").inc(3)
    mooncake("save_exists", "ok", 0.002, 8, 0)
    mooncake("save_put", "ok", 0.02, 8, 2 << 20, 1)
    mooncake("save_put", "error", 0.5, 2, 0, 2)
    mooncake("load_get", "ok", 0.04, 8, 2 << 20)
    mooncake("lookup_exists", "ok", 0.001, 16, 0)
    mooncake("lookup_exists", "error", 1, 16, 0, 16)
    for n in range(4):
        s.at("vllm:hf3fs_save_duration_seconds").observe(0.03)
    s.at("vllm:hf3fs_load_duration_seconds").observe(0.06)
    s.at("vllm:hf3fs_num_failed_load").inc(1)
    s.at("vllm:hisparse_cache_hits").inc(90)
    s.at("vllm:hisparse_cache_misses").inc(30)
    s.at("vllm:hisparse_host_to_device_bytes").inc(1 << 20)
    s.run()
    write("connectors_post", s)


connectors()


# A diffusion model, with --kv-cache-metrics.
def diffusion():
    s = Server()
    for f in ("lifetime", "idle_before_evict", "reuse_gap"):
        s.histogram(f"vllm:kv_block_{f}_seconds", RESIDENCY, now=True)
    for c in ("num_denoising_steps", "num_canvas_positions", "num_committed_tokens"):
        s.counter("vllm:diffusion_" + c, now=True)
    s.at("vllm:diffusion_num_denoising_steps").inc(5)
    write("diffusion_pre", s)
    s.at("vllm:diffusion_num_denoising_steps").inc(40)
    s.at("vllm:diffusion_num_canvas_positions").inc(1280)
    s.at("vllm:diffusion_num_committed_tokens").inc(100)
    for seconds in (0.3, 4, 4000):
        s.at("vllm:kv_block_lifetime_seconds").observe(seconds)
    s.at("vllm:kv_block_idle_before_evict_seconds").observe(0.15)
    s.run()
    write("diffusion_post", s)


diffusion()


# Two API servers, whose pages come from prometheus_client's files: gauges of KV
# offloading were made without a multiprocess mode, and have a label pid.
def two_servers():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        for pid, usage, size in ((101, 0.3, 20_000_000), (102, 0.1, 30_000_000)):
            importlib.import_module("prometheus_client.metrics").values.ValueClass = values.MultiProcessValue(lambda pid=pid: pid)
            s = Server(start=None)
            s.offloading("lazy", True)
            s.tiering()
            s.at("vllm:kv_offload_cpu_cache_usage_perc").set(usage)
            s.tier("1:fs", active_promotion_jobs=pid - 100)
            s.transfer("load", size, 0.001)
            s.run()
        registry = pc.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, folder)
        return pc.generate_latest(registry).decode()


write("pids_post", two_servers())

(HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
