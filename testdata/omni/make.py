#!/usr/bin/env python3
"""Writes the pages of a vllm-omni server that nobody could record.

Families, labels and buckets are those of vllm_omni/metrics at four points of its
history; the client library is the real producer's, so that TYPE lines, the order
of labels and the spelling of numbers are its own. Beside the pages stands what
they amount to between `pre` and `post`, counted from the observations and not from the pages.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install prometheus_client==0.26.0
    /tmp/v/bin/python testdata/omni/make.py     # writes beside itself

Generations: `first` (vllm-omni PR 3362), `head` (PR 3576 as proposed), `merged`
(PR 3576), `now` (PR 6150, September 2026).
"""
import bisect
import json
import pathlib
import random

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

disable_created_metrics()  # their times would make every writing another page

HERE = pathlib.Path(__file__).parent
PEAK = 24310  # of the last image request
MODEL = "org/demo-omni"
INF = float("inf")

# vllm_omni/metrics/definitions.py
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
FAST = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
RTF = (0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.25, 1.5, 2, 5, 10)
BYTES = tuple(1024 * 4**k for k in range(10))
MILLIS = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
DEFAULT = Histogram.DEFAULT_BUCKETS[:-1]

PIPE, STAGE = ("model_name",), ("model_name", "stage", "replica")
EDGE = ("model_name", "from_stage", "from_replica", "to_stage", "to_replica")
ENGINE = ("model_name", "engine")

# What is observed -> name, labels and buckets (None: a counter, "gauge": that); a
# fourth is the factor from seconds.
AUDIO = {
    "audio_duration": ("audio_duration_s", STAGE, SECONDS),
    "audio_first": ("audio_ttfp_s", STAGE, SECONDS),
    "audio_rtf": ("audio_rtf", STAGE, RTF),
    "audio_frames": ("audio_frames", STAGE, None),
}
GENERATIONS = {
    "first": ("vllm_omni:", {
        "running": ("num_requests_running", PIPE, "gauge"),
        "waiting": ("num_requests_waiting", PIPE, "gauge"),
        "success": ("num_requests_success", PIPE, None),
        "fail": ("num_requests_fail", PIPE, None),
        "e2e": ("e2e_request_latency_seconds", PIPE, DEFAULT),
        "old_queue": ("request_queue_time_seconds", PIPE, DEFAULT),
        "preprocess": ("diffusion_preprocess_time_ms", ENGINE, DEFAULT, 1000),
        "exec": ("diffusion_exec_time_ms", ENGINE, DEFAULT, 1000),
        "postprocess": ("diffusion_postprocess_time_ms", ENGINE, DEFAULT, 1000),
    }),
    "head": ("vllm:omni_", {
        "running": ("num_requests_running", PIPE, "gauge"),
        "waiting": ("num_requests_waiting", PIPE, "gauge"),
        "finished": ("requests_success", (*PIPE, "finished_reason"), None),
        "e2e": ("e2e_request_latency_seconds", PIPE, DEFAULT),
        "old_queue": ("request_queue_time_seconds", PIPE, DEFAULT),
        "audio_duration": ("audio_duration_seconds", STAGE, SECONDS),
        "audio_first": ("audio_ttfp_seconds", STAGE, SECONDS),
        "audio_rtf": ("audio_rtf", STAGE, RTF),
        "audio_frames": ("audio_frames", STAGE, None),
        "image_first": ("image_ttfp_seconds", STAGE, SECONDS),
        "stage_images": ("image_num", STAGE, None),
        "image_time": ("image_generation_time_seconds", STAGE, SECONDS),
        "preprocess": ("diffusion_preprocess_time_ms", ENGINE, DEFAULT, 1000),
        "exec": ("diffusion_exec_time_ms", ENGINE, DEFAULT, 1000),
        "postprocess": ("diffusion_postprocess_time_ms", ENGINE, DEFAULT, 1000),
        "size": ("transfer_size_bytes", EDGE, BYTES),
        "tx": ("transfer_tx_time_ms", EDGE, MILLIS, 1000),
        "flight": ("transfer_in_flight_time_ms", EDGE, MILLIS, 1000),
        "rx": ("transfer_rx_decode_time_ms", EDGE, MILLIS, 1000),
    }),
    "merged": ("vllm:omni_", {
        "running": ("num_requests_running", PIPE, "gauge"),
        "waiting": ("num_requests_waiting", PIPE, "gauge"),
        "finished": ("requests_success", (*PIPE, "finished_reason"), None),
        "e2e": ("e2e_request_latency_s", PIPE, SECONDS),
        **AUDIO,
        "underrun": ("audio_underrun_s", STAGE, FAST),
        "continuity": ("audio_continuity_ok", (*STAGE, "threshold_ms"), None),
        "skipped": ("audio_skipped_requests", (*STAGE, "reason"), None),
        "size": ("transfer_size_bytes", EDGE, BYTES),
        "tx": ("transfer_tx_s", EDGE, FAST),
        "flight": ("transfer_in_flight_s", EDGE, FAST),
        "rx": ("transfer_rx_s", EDGE, FAST),
    }),
    "now": ("vllm_omni:", {
        "running": ("num_requests_running", PIPE, "gauge"),
        "waiting": ("num_requests_waiting", PIPE, "gauge"),
        "finished": ("requests_success", (*PIPE, "finished_reason"), None),
        "failed": ("requests_failed", (*PIPE, "reason"), None),
        "e2e": ("e2e_request_latency_s", PIPE, SECONDS),
        "prompt": ("prompt_tokens", PIPE, None),
        "generation": ("generation_tokens", PIPE, None),
        "queue": ("request_queue_wait_s", PIPE, SECONDS),
        "stage_time": ("stage_gen_time_s", ("model_name", "stage", "stage_type"), SECONDS),
        "stage_queue": ("stage_in_queue_s", ("model_name", "stage"), FAST),
        "stage_waiting": ("stage_waiting_requests", ("model_name", "stage"), "gauge"),
        "memory": ("peak_memory_mb", ("model_name", "stage"), "gauge"),
        "steps": ("num_inference_steps", PIPE, DEFAULT),
        "images": ("image_count", PIPE, None),
        "pixels": ("image_pixels", PIPE, DEFAULT),
        "kv_wait": ("kv_wait_s", (*PIPE, "connector_type"), SECONDS),
        **AUDIO,
        "underrun": ("audio_underrun_s", STAGE, FAST),
        "continuity": ("audio_continuity_ok", (*STAGE, "threshold_ms"), None),
        "skipped": ("audio_skipped_requests", (*STAGE, "reason"), None),
        "image_first": ("image_ttfp_s", STAGE, SECONDS),
        "exec": ("diffusion_exec_s", STAGE, SECONDS),
        "exec_step": ("diffusion_exec_per_step_s", STAGE, FAST),
        "preprocess": ("diffusion_preprocess_s", STAGE, FAST),
        "postprocess": ("diffusion_postprocess_s", STAGE, FAST),
        "vae": ("vae_decode_s", STAGE, SECONDS),
        "forward": ("diffusion_forward_s", STAGE, SECONDS),
        "denoise": ("denoise_step_latency_s", STAGE, FAST),
        "kv_load": ("diffusion_kv_load_s", STAGE, FAST),
        "size": ("transfer_size_bytes", EDGE, BYTES),
        "tx": ("transfer_tx_s", EDGE, FAST),
        "flight": ("transfer_in_flight_s", EDGE, FAST),
        "rx": ("transfer_rx_s", EDGE, FAST),
    }),
}

# Upstream's families, a part of them; vllm/v1/metrics/loggers.py.
TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560)
STEP = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
UPSTREAM = {
    "num_requests_running": "gauge", "num_requests_waiting": "gauge", "kv_cache_usage_perc": "gauge",
    "prefix_cache_queries": None, "prefix_cache_hits": None, "num_preemptions": None,
    "prompt_tokens": None, "prompt_tokens_by_source": ("source",), "generation_tokens": None,
    "request_success": ("finished_reason",),
    "time_to_first_token_seconds": TTFT, "iteration_tokens_total": STEP,
}
# Every (stage, replica) has upstream's series from the start, the diffusion stage too.
PLACES = (("0", "0"), ("1", "0"), ("1", "1"), ("2", "0"))
TYPES = {"0": "ar", "1": "ar", "2": "diffusion"}


def quantile(buckets, q):
    """Prometheus's histogram_quantile on [(bound, cumulative count)], the last one +Inf."""
    total = buckets[-1][1]
    rank = q * total
    i = next(i for i, b in enumerate(buckets) if b[1] >= rank or i == len(buckets) - 1)
    if i == len(buckets) - 1:
        return None, buckets[-2][0]
    low, below = (buckets[i - 1] if i else (0.0, 0))
    return low + (buckets[i][0] - low) * (rank - below) / (buckets[i][1] - below), None


def distribution(values, bounds, quantiles=True):
    """The event's form of what was observed."""
    if not values:
        return None
    d = {"count": len(values), "sum": sum(values), "mean": sum(values) / len(values)}
    ordered = sorted(values)
    buckets = [(b, bisect.bisect_right(ordered, b)) for b in (*bounds, INF)]
    d["above"] = None
    for name, q in (("p50_est", 0.5), ("p90_est", 0.9), ("p95_est", 0.95), ("p99_est", 0.99)):
        d[name], above = quantile(buckets, q) if quantiles else (None, None)
        d["above"] = above or d["above"]
    return d


class Server:
    """One generation's server, and a record of what it was told since begin."""

    def __init__(self, generation):
        self.prefix, families = GENERATIONS[generation]
        self.families, self.registry = families, CollectorRegistry()
        self.metrics, self.told = {}, None
        for key, (name, labels, form, *_) in families.items():
            self.metrics[key] = self.make(self.prefix + name, labels, form)
        self.upstream = {}
        place = ENGINE if generation == "first" else STAGE
        for name, form in UPSTREAM.items():
            extra = form if form and isinstance(form[0], str) and form != "gauge" else ()
            labels = (place[0], *place[1:], *extra)
            self.upstream[name] = self.make("vllm:" + name, labels, None if extra else form)
            for at in self.places():
                values = {"source": ("local_compute", "local_cache_hit", "external_kv_transfer"),
                          "finished_reason": ("stop", "length", "abort", "error")}.get(extra[0] if extra else None, ())
                for value in values:
                    self.upstream[name].labels(MODEL, *at, value)
                if not values:
                    self.upstream[name].labels(MODEL, *at)
        config = self.make("vllm:cache_config_info", (*place[1:], "block_size", "cache_dtype", "enable_prefix_caching", "num_gpu_blocks", "kv_cache_size_tokens"), "gauge")
        for i, at in enumerate(self.places()):
            config.labels(*at, "16", "auto", "True", str(1000 * (i + 1)), str(16000 * (i + 1))).set(1)
        self.make("process_start_time_seconds", (), "gauge").set(1795303435.11)
        # OmniPrometheusMetrics binds the pipeline's own at once.
        for key in ("running", "waiting", "e2e", "prompt", "generation", "success", "fail"):
            if key in self.metrics:
                self.metrics[key].labels(MODEL)

    def places(self):
        return (("0",),) if "success" in self.families else PLACES

    def make(self, name, labels, form):
        if form is None:
            return Counter(name, name, labels, registry=self.registry)
        if form == "gauge":
            return Gauge(name, name, labels, registry=self.registry)
        return Histogram(name, name, labels, buckets=form, registry=self.registry)

    def tell(self, key, value=1, *labels):
        if self.told is not None and value >= 0:
            self.told.append((key, labels, value))
        if key not in self.metrics:
            return
        name, names, form, *factor = self.families[key]
        if names == ENGINE:
            labels = labels[:1]  # the stage alone
        if key in ("stage_time",):
            labels = (labels[0], TYPES[labels[0]])
        metric = self.metrics[key].labels(MODEL, *labels)
        if form is None:
            metric.inc(value)
        elif form == "gauge":
            metric.set(value)
        else:
            metric.observe(value * (factor[0] if factor else 1))

    def engine(self, name, value, at, *labels):
        """Tells one of upstream's families."""
        if self.told is not None:
            self.told.append(("vllm:" + name, (*at, *labels), value))
        if len(self.places()) == 1:
            if at != ("0", "0"):
                return
            at = ("0",)
        metric = self.upstream[name].labels(MODEL, *at, *labels)
        if UPSTREAM[name] == "gauge":
            metric.set(value)
        elif UPSTREAM[name] is None or labels:
            metric.inc(value)
        else:
            metric.observe(value)

    def page(self):
        return generate_latest(self.registry).decode()

    # What it amounts to.
    def values(self, key, *labels):
        return [v for k, l, v in self.told if k == key and l[:len(labels)] == labels]

    def dist(self, key, *labels):
        if key not in self.families:
            return None
        bounds, *factor = self.families[key][2:]
        values = self.values(key, *labels)
        if not factor:
            return distribution(values, bounds, key not in ("steps", "pixels"))
        return distribution(values, [b / factor[0] for b in bounds], bounds != DEFAULT)

    def count(self, key, *labels):
        return sum(self.values(key, *labels)) if key in self.families else None

    def by(self, key, *labels):
        """Sums by the last label; also of series that were there before."""
        if key not in self.families:
            return None
        out = {}
        for k, l, v in self.ever:
            if k == key and l[:-1][:len(labels)] == labels:
                out.setdefault(l[-1], 0)
        for k, l, v in self.told:
            if k == key and l[:-1][:len(labels)] == labels:
                out[l[-1]] += v
        return out

    def expected(self):
        has = self.families.__contains__
        finished = self.by("finished") if has("finished") else {"success": self.count("success"), "abort": self.count("fail")}
        omni = {
            "models": [MODEL],
            "pipeline": {
                "requests": {"finished": finished, "failed": self.by("failed"),
                             "running": {"last": 0, "peak": 3}, "waiting": {"last": 0, "peak": 2}},
                "tokens": {"prompt": self.count("prompt"), "generation": self.count("generation")},
                "e2e_request_latency_seconds": self.dist("e2e"),
                "request_queue_wait_seconds": self.dist("queue"),
                "images": self.count("images") if has("images") else self.count("stage_images", "2"),
                "image_pixels": self.dist("pixels"), "num_inference_steps": self.dist("steps"), "kv_wait_seconds": self.dist("kv_wait"),
            },
            "stages": [], "transfers": None,
        }
        for stage in "012":
            own = [k for k in self.families if k not in ("size", "tx", "flight", "rx") and self.values(k, stage)]
            own = [k for k in own if self.families[k][1] == ENGINE or "stage" in self.families[k][1]]
            if not own:
                continue
            audio = image = diffusion = None
            if has("audio_duration") and self.values("audio_duration", stage):
                rtf = self.values("audio_rtf", stage)
                ok, streamed = self.count("continuity", stage), len(self.values("underrun", stage))
                audio = {
                    "time_to_first_packet_seconds": self.dist("audio_first", stage), "duration_seconds": self.dist("audio_duration", stage),
                    "rtf": self.dist("audio_rtf", stage), "realtime_share": sum(x <= 1 for x in rtf) / len(rtf),
                    "frames": self.count("audio_frames", stage), "underrun_seconds": self.dist("underrun", stage),
                    "continuity": {"threshold_ms": 100, "ok": ok, "share": ok / streamed} if has("continuity") else None,
                    "skipped": self.by("skipped", stage),
                }
            if has("image_first") and self.values("image_first", stage):
                image = {"time_to_first_image_seconds": self.dist("image_first", stage), "images": self.count("stage_images", stage),
                         "generation_time_seconds": self.dist("image_time", stage)}
            if has("exec") and self.values("exec", stage):
                diffusion = {name: self.dist(key, stage) for name, key in (
                    ("exec_seconds", "exec"), ("exec_per_step_seconds", "exec_step"), ("preprocess_seconds", "preprocess"),
                    ("postprocess_seconds", "postprocess"), ("vae_decode_seconds", "vae"), ("forward_seconds", "forward"),
                    ("denoise_step_seconds", "denoise"), ("kv_load_seconds", "kv_load"))}
            waiting = {"0": None, "1": None, "2": {"last": 0, "peak": 1}}[stage] if has("stage_waiting") else None
            omni["stages"].append({
                "stage": stage, "stage_type": TYPES[stage] if has("stage_time") else None,
                "replicas": [r for s, r in self.places() if s == stage] if len(self.places()) > 1 else [],
                "generation_time_seconds": self.dist("stage_time", stage), "in_queue_seconds": self.dist("stage_queue", stage),
                "waiting_requests": waiting, "peak_memory_bytes": PEAK * 2**20 if has("memory") and stage == "2" else None,
                "audio": audio, "image": image, "video": None, "diffusion": diffusion,
            })
        if has("size"):
            omni["transfers"] = []
            for edge in sorted({l for k, l, _ in self.told if k == "size"}):
                parts = {n: self.dist(k, *edge) for n, k in (("size_bytes", "size"), ("tx_seconds", "tx"), ("in_flight_seconds", "flight"), ("rx_seconds", "rx"))}
                omni["transfers"].append({
                    **dict(zip(("from_stage", "from_replica", "to_stage", "to_replica"), edge)), **parts,
                    "latency_mean_seconds": sum(parts[n]["mean"] for n in ("tx_seconds", "in_flight_seconds", "rx_seconds")),
                })
        core = {"stage": None if "success" in self.families else "0", "finished": {}, "by_source": {}}
        for k, l, v in self.told:
            if l[:2] != ("0", "0"):
                continue
            if k == "vllm:request_success":
                core["finished"][l[2]] = core["finished"].get(l[2], 0) + v
            elif k == "vllm:prompt_tokens_by_source":
                core["by_source"][l[2]] = core["by_source"].get(l[2], 0) + v
        for name in ("prompt_tokens", "generation_tokens", "prefix_cache_queries", "prefix_cache_hits"):
            core[name] = sum(self.values("vllm:" + name, "0", "0"))
        core["time_to_first_token"] = distribution(self.values("vllm:time_to_first_token_seconds", "0", "0"), TTFT)
        core["instances"] = [{"stage": s, "replica": r, "requests_finished": sum(self.values("vllm:request_success", s, r)),
                              "prompt_tokens": sum(self.values("vllm:prompt_tokens", s, r)),
                              "generation_tokens": sum(self.values("vllm:generation_tokens", s, r))} for s, r in PLACES]
        return {"omni": omni, "engine": core}


def request(s, rng, i):
    """One request passes the stages that its kind needs."""
    at = lambda x, digits=4: round(x, digits)
    kind = "abort" if i % 10 == 9 else "image" if i % 4 == 3 else "audio"
    replica = str(i % 2)
    prompt, text = rng.randrange(20, 400), rng.randrange(10, 200)
    hit = prompt // 3
    if kind == "abort":
        s.tell("finished", 1, "abort")
        s.tell("fail")
        s.tell("failed", 1, rng.choice(("client_abort", "client_disconnect")))
        s.engine("request_success", 1, ("0", "0"), "abort")
        return
    queue, ttft, thinker = at(rng.uniform(0, 0.2)), at(rng.uniform(0.02, 0.4)), at(rng.uniform(0.3, 3))
    s.tell("queue", queue)
    s.tell("old_queue", queue)
    s.tell("stage_time", thinker, "0")
    reason = "length" if i % 7 == 0 else "stop"
    for name, value, *labels in (
        ("prompt_tokens", prompt), ("prompt_tokens_by_source", prompt - hit, "local_compute"), ("prompt_tokens_by_source", hit, "local_cache_hit"),
        ("generation_tokens", text), ("prefix_cache_queries", prompt), ("prefix_cache_hits", hit), ("request_success", 1, reason),
        ("time_to_first_token_seconds", ttft), ("iteration_tokens_total", prompt - hit),
    ):
        s.engine(name, value, ("0", "0"), *labels)
    to = ("1", replica) if kind == "audio" else ("2", "0")
    edge = ("0", "0", *to)
    s.tell("size", rng.randrange(2000, 6_000_000), *edge)
    hop = [at(rng.uniform(*r), 5) for r in ((0.0005, 0.008), (0.001, 0.03), (0.0005, 0.012))]
    for key, value in zip(("tx", "flight", "rx"), hop):
        s.tell(key, value, *edge)
    latency, tokens = queue + thinker + sum(hop), text
    if kind == "audio":
        codec = rng.randrange(50, 800)
        duration = at(codec / 25)
        time = at(duration * rng.choice((0.4, 0.55, 0.7, 0.85, 0.95, 1.0, 1.1, 1.3)))
        tokens += codec
        latency += time
        for name, value, *labels in (("prompt_tokens", text), ("prompt_tokens_by_source", text, "local_compute"), ("generation_tokens", codec),
                                     ("prefix_cache_queries", text), ("request_success", 1, "stop"), ("time_to_first_token_seconds", at(ttft / 2)),
                                     ("iteration_tokens_total", text)):
            s.engine(name, value, to, *labels)
        s.tell("stage_time", time, "1")
        if i % 13 == 0:
            s.tell("skipped", 1, *to, "no_audio_data")
        else:
            s.tell("audio_duration", duration, *to)
            s.tell("audio_rtf", time / duration, *to)
            s.tell("audio_frames", round(duration * 24000), *to)
            if i % 3 != 1:  # a streaming request
                s.tell("audio_first", at(queue + ttft + rng.uniform(0.1, 0.9)), *to)
                underrun = 0.0 if time <= duration else at(rng.choice((0.02, 0.08, 0.15, 0.4)))
                s.tell("underrun", underrun, *to)
                if underrun < 0.1:
                    s.tell("continuity", 1, *to, "100")
    else:
        steps, wait = rng.choice((20, 28, 50)), at(rng.uniform(0.0005, 4))
        pre, post, vae, forward = (at(rng.uniform(*r)) for r in ((0.004, 0.05), (0.02, 0.2), (0.1, 0.9), (2, 14)))
        run = at(vae + forward + 0.01)
        time = at(wait + pre + run + post)
        latency += time
        s.tell("stage_time", time, "2")
        s.tell("stage_queue", wait, "2")
        s.tell("kv_wait", at(rng.uniform(0.01, 0.3)), "shm" if i % 8 == 3 else "mooncake")
        s.tell("steps", steps)
        s.tell("images", 2)
        s.tell("stage_images", 2, *to)
        for _ in range(2):
            s.tell("pixels", rng.choice((1024 * 1024, 768 * 1360)))
        for key, value in (("preprocess", pre), ("exec", run), ("postprocess", post), ("vae", vae), ("forward", forward), ("exec_step", at(run / steps, 6)),
                           ("denoise", at(time / steps, 6)), ("image_first", at(time)), ("image_time", time)):
            s.tell(key, value, *to)
        s.tell("memory", 24000 + 10 * i, *to[:1])
    s.tell("e2e", at(latency))
    s.tell("finished", 1, reason)
    s.tell("success")
    s.tell("prompt", prompt)
    s.tell("generation", tokens)


def gauges(s, running, waiting):
    for key, value, *labels in (("running", running), ("waiting", waiting), ("stage_waiting", min(waiting, 1), "2")):
        if key in s.metrics:
            s.metrics[key].labels(MODEL, *labels).set(value)
    for at in s.places():
        s.upstream["num_requests_running"].labels(MODEL, *at).set(running if at[0] != "2" else 0)
        s.upstream["num_requests_waiting"].labels(MODEL, *at).set(0)
        s.upstream["kv_cache_usage_perc"].labels(MODEL, *at).set(running / 16 if at[0] != "2" else 0)


def main():
    expected = {}
    for generation in GENERATIONS:
        s, rng = Server(generation), random.Random(3576)
        s.told = []
        for i in range(8):
            request(s, rng, i)
        gauges(s, 0, 0)
        (HERE / f"{generation}_pre.prom").write_text(s.page())
        s.ever, s.told = list(s.told), []
        for i in range(8, 33):
            request(s, rng, i)
            if i == 20:
                gauges(s, 3, 2)
                (HERE / f"{generation}_mid.prom").write_text(s.page())
        gauges(s, 0, 0)
        (HERE / f"{generation}_post.prom").write_text(s.page())
        s.ever += s.told
        expected[generation] = s.expected()
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


main()
