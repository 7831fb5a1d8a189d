#!/usr/bin/env python3
"""Tests check_figures.py: right events pass, and each wrong figure is reported.

    python3 e2e/vllm/check_figures_test.py
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
import check_figures  # noqa: E402

OK, WINDOW = 100, 10.0
RUNNING, PREFILL, WAITING = 60.0, 6.0, 20.0  # seconds in all, by the engine's histograms
SPENT = {"request_inference_time_seconds": RUNNING, "request_prefill_time_seconds": PREFILL, "request_queue_time_seconds": WAITING}
LENGTHS = [80 + i % 9 for i in range(OK)]
ANSWERS = [16 + i % 17 for i in range(OK)]
TIMES = [0.5 + i / OK for i in range(OK)]


def client(name):
    if name == "bench":
        return {"num_prompts": OK, "completed": OK, "total_output_tokens": sum(ANSWERS), "duration": 8.0, "max_concurrency": 32, "mean_e2el_ms": 1000.0, "mean_ttft_ms": 200.0}
    return {
        "requests": OK, "ok": OK, "concurrency": 48, "prompt_tokens": sum(LENGTHS), "completion_tokens": sum(ANSWERS), "wall_seconds": 8.0, "e2e_sum_seconds": 100.0,
        "ttft_sum_seconds": 20.0, "shared_prefix": 0, "aborted": 8 if name == "aborted" else 0, "refused": 5 if name == "aborted" else 0,
        "each": {"prompt_tokens": sorted(LENGTHS), "completion_tokens": sorted(ANSWERS), "ttft_seconds": TIMES, "e2e_seconds": TIMES},
    }  # fmt: skip


def page(name, base, blocks):
    """A server's page: a base plus what the load adds."""
    more = 0 if base is None else 1
    base = base or 0
    lost = 8 if name == "aborted" else 0
    values = {
        f'cache_config_info{{block_size="128",engine="0",kv_cache_size_tokens="{blocks * 128}",num_gpu_blocks="{blocks}"}}': 1,
        'prompt_tokens_total{engine="0"}': base + more * (sum(LENGTHS) + lost * 64),
        'generation_tokens_total{engine="0"}': base + more * (sum(ANSWERS) + lost * 5),
        'num_preemptions_total{engine="0"}': base + more * (30 if name == "preempted" else 0),
        'request_success_total{engine="0",finished_reason="length"}': base + more * OK,
        'request_success_total{engine="0",finished_reason="abort"}': base,
        'prefix_cache_queries_total{engine="0"}': base + more * sum(LENGTHS),
        'prefix_cache_hits_total{engine="0"}': base,
    }
    for family in check_figures.LATENCIES.values():
        count = OK + lost if family == "time_to_first_token_seconds" else OK
        spent = SPENT.get(family, 40.0)
        values[f'{family}_count{{engine="0"}}'] = base + more * count
        values[f'{family}_sum{{engine="0"}}'] = base + more * spent
    lines = [f"vllm:{key} {float(value)}\n" for key, value in values.items()]
    for status, n in (("2xx", OK + lost), ("4xx", 5 if lost else 0)):
        lines.append(f'http_requests_total{{handler="/v1/completions",method="POST",status="{status}"}} {float(base + more * n)}\n')
    lines.append(f'http_requests_total{{handler="/v1/models",method="GET",status="2xx"}} {9.0 + more}\n')
    return "# HELP vllm:x y\n" + "".join(lines)


def watch(running, usage):
    return {
        "readings": 900, "longest_gap": 0.03, "busy_seconds": 8.0, "running": {"peak": running, "integral": RUNNING - PREFILL, "held": [[15.0, 0.4], [16.0, 0.1]]},
        "waiting": {"peak": 12.0, "integral": WAITING, "held": []}, "usage": {"peak": usage, "integral": 3.0, "held": [[15 / 23, 0.4], [usage, 0.1]]},
    }  # fmt: skip


def distribution(count, total, low=0.0, high=3.0):
    d = {"count": count, "sum": total, "mean": total / count}
    for key in check_figures.QUANTILES:
        d.update({f"{key}_est": (low + high) / 2, f"{key}_bounds": [low, high]})
    return d


def right_event(name):
    servers = 2 if name == "turn" else 1
    blocks = 48 if name == "turn" else 24
    ok, lost = OK * servers, 8 if name == "aborted" else 0
    prompt, generated = sum(LENGTHS) * servers + lost * 64, sum(ANSWERS) * servers + lost * 5
    counted = name in check_figures.COUNTED
    mean = lambda seconds: seconds * servers / WINDOW  # noqa: E731
    latency = {}
    for key, family in check_figures.LATENCIES.items():
        spent = SPENT.get(family, 40.0)
        latency[key] = distribution(ok + lost if key == "time_to_first_token" else ok, spent * servers)
    usage = {"preempted": 1.0}.get(name, 16 / 23)
    usage_mean = {"mean": mean(3.0), "method": "polled"}
    if counted or name == "preempted":
        usage_mean = {"mean": mean(3.0 * RUNNING / (RUNNING - PREFILL)), "method": "per_running_request"}
    event = {
        "partial": False,
        "run": {"exit_code": 0, "signal": None, "start_error": None},
        "engine": {
            "source": "multiprocess" if name == "files" else "http",
            "endpoints": [{"gauges_from": "http" if name == "turn" else "multiprocess"}],
            "window": {"final": {"files": "files", "turn": "last_good"}.get(name, "settled"), "duration_seconds": WINDOW, "active_seconds_est": 8.2 * servers, "resets": servers - 1},
            "scrapes": {"count": 90, "max_gap_seconds": 0.2},
            "requests": {
                "finished": {"length": ok, "abort": 0},
                "preemptions": 30 if name == "preempted" else 0,
                "running": {"last": 0, "mean": mean(RUNNING), "peak": 16, "method": "littles_law" if counted else "polled", "mean_bounds": None},
                "waiting": {"last": 0, "mean": mean(WAITING), "peak": 11, "method": "littles_law" if counted else "polled", "mean_bounds": None},
                "unaccounted_min": lost if servers == 1 else None,
            },
            "http": {"2xx": ok + lost, "4xx": 5 if lost else 0, "5xx": 0},
            "tokens": {
                "prompt": prompt,
                "generation": generated,
                "prompt_per_request": distribution(ok, prompt, 50.0, 100.0),
                "generation_per_request": distribution(ok, generated, 10.0, 50.0),
            },
            "throughput": {"over": "active", "prompt_tokens_per_second": prompt / 8.2 / servers, "generation_tokens_per_second": generated / 8.2 / servers},
            "latency_seconds": latency,
            "kv_cache": {
                "usage": {"last": 0.0, "peak": usage, **usage_mean},
                "num_gpu_blocks": blocks,
                "block_size": 128,
                "size_tokens": blocks * 128,
                "peak_tokens": 3133 if name == "turn" else int(usage * 24 * 128),
            },
            "prefix_cache": {"local": {"queries": sum(LENGTHS) * servers, "hits": 0}},
        },
        "validity": [],
        "unavailable": [],
    }
    requests = event["engine"]["requests"]
    if name in ("aborted", "turn"):
        requests["running"]["mean_bounds"], requests["waiting"]["mean_bounds"] = [mean(RUNNING), None], [mean(WAITING), None]
    if name == "preempted":
        requests["running"]["method"] = "littles_law_with_polls"
        requests["running"]["mean_bounds"] = [0.0, RUNNING / WINDOW]
        requests["waiting"]["mean_bounds"] = [WAITING / WINDOW, (WAITING + RUNNING) / WINDOW]
    if name == "turn":
        event["validity"] = [{"code": "counter_reset"}, {"code": "engine_changed", "message": "another engine: num_gpu_blocks=24, then 48"}]
        event["unavailable"].append({"field": "engine.requests.unaccounted_min", "reason": "the counters restarted"})
    if name == "shared":
        event["validity"] = [{"code": "engine_shared"}, {"code": "unsettled"}]
        event["engine"]["window"]["final"] = "unsettled"
        requests["unaccounted_min"] = None
        event["unavailable"].append({"field": "engine.requests.unaccounted_min", "reason": "requests were under way"})
    return event


def run_check(name, event, clients=None, watches=None):
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:

        def write(file, text):
            path = os.path.join(folder, file)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            return path

        arguments = [name, "--event", write("event.json", json.dumps(event))]
        servers = [(24, 16 / 23), (48, 24 / 47)] if name == "turn" else [(24, 1.0 if name == "preempted" else 16 / 23)]
        watches = watches or [watch(16.0, usage) for _, usage in servers]
        for i, (blocks, _) in enumerate(servers):
            before = write(f"before{i}.prom", page(name, None, blocks) if i == 0 else "")
            arguments += ["--pages", before, write(f"after{i}.prom", page(name, 0, blocks))]
            arguments += ["--client", write(f"client{i}.json", json.dumps((clients or {}).get(i, client(name))))]
            arguments += ["--watch", write(f"watch{i}.json", json.dumps(watches[i]))]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = check_figures.main(arguments)
    return status, out.getvalue()


def changed(name, path, value):
    event = right_event(name)
    group = event
    *above, last = path.split(".")
    for key in above:
        group = group[int(key) if isinstance(group, list) else key]
    group[last] = value
    return event


# Each of these is wrong, and the message must name the path.
WRONG = [
    ("run.exit_code", 1),
    ("partial", True),
    ("engine.source", "mixed"),
    ("engine.window.final", "unsettled"),
    ("engine.window.resets", 1),
    ("engine.window.duration_seconds", 11.0),
    ("engine.window.active_seconds_est", 12.0),
    ("engine.window.active_seconds_est", None),
    ("engine.throughput.over", "window"),
    ("engine.throughput.generation_tokens_per_second", 100.0),
    ("engine.tokens.prompt", 1),
    ("engine.tokens.generation", 1),
    ("engine.requests.finished.length", OK - 1),
    ("engine.requests.finished.abort", 1),
    ("engine.requests.preemptions", 1),
    ("engine.requests.unaccounted_min", 1),
    ("engine.requests.running.method", "polled"),
    ("engine.requests.running.mean", RUNNING / WINDOW * 1.01),
    ("engine.requests.running.mean", None),
    ("engine.requests.waiting.mean", 0.0),
    ("engine.requests.waiting.peak", 0),
    ("engine.requests.waiting.peak", 8),
    ("engine.requests.waiting.peak", None),
    ("engine.requests.running.peak", 0),
    ("engine.requests.running.peak", 14),
    ("engine.requests.running.peak", 18),
    ("engine.requests.running.peak", None),
    ("engine.requests.running.last", 1),
    ("engine.http.2xx", OK - 1),
    ("engine.http.4xx", 1),
    ("engine.latency_seconds.e2e_request_latency.count", 1),
    ("engine.latency_seconds.request_queue_time.sum", 1.0),
    ("engine.latency_seconds.e2e_request_latency.p50_bounds", [2.0, 3.0]),
    ("engine.latency_seconds.time_to_first_token.p99_bounds", [2.0, None]),
    ("engine.tokens.prompt_per_request.p50_bounds", [50.0, 60.0]),
    ("engine.tokens.prompt_per_request.p95_bounds", None),
    ("engine.tokens.generation_per_request.p99_bounds", [40.0, 50.0]),
    ("engine.tokens.generation_per_request.p90_est", 60.0),
    ("engine.kv_cache.usage.peak", 0.0),
    ("engine.kv_cache.usage.peak", None),
    ("engine.kv_cache.usage.peak", 15.5 / 23),
    ("engine.kv_cache.usage.peak", 14 / 23),
    ("engine.kv_cache.usage.peak", 18 / 23),
    ("engine.kv_cache.usage.last", 1 / 23),
    ("engine.kv_cache.usage.mean", 0.0),
    ("engine.kv_cache.usage.mean", None),
    ("engine.kv_cache.usage.method", None),
    ("engine.endpoints.0.gauges_from", "http"),
    ("engine.kv_cache.num_gpu_blocks", 23),
    ("engine.kv_cache.peak_tokens", 1000),
    ("engine.kv_cache.block_size", 16),
    ("engine.prefix_cache.local.queries", 0),
    ("engine.prefix_cache.local.hits", 1),
    ("validity", [{"code": "short_window"}]),
    ("validity", [{"code": "engine_shared"}]),
]
MORE = {
    "short": [("engine.requests.running.peak", 7), ("engine.requests.running.mean", 0.4)],
    "preempted": [
        ("engine.requests.running.method", "littles_law"),
        ("engine.requests.running.mean", 4.0),
        ("engine.requests.running.mean_bounds", None),
        ("engine.requests.running.mean_bounds", [0.0, 5.0]),
        ("engine.requests.waiting.mean_bounds", [0.0, 8.0]),
        ("engine.kv_cache.usage.peak", 19 / 23),
        ("engine.requests.preemptions", 0),
    ],
    "aborted": [
        ("engine.requests.unaccounted_min", 0),
        ("engine.requests.running.method", "littles_law"),
        ("engine.requests.running.mean_bounds", [0.0, 6.0]),
        ("engine.requests.running.mean_bounds", [RUNNING / WINDOW, 6.0]),
        ("engine.requests.running.mean_bounds", None),
        ("engine.http.2xx", OK),
        ("engine.http.4xx", 0),
        ("engine.latency_seconds.time_to_first_token.count", OK),
    ],
    "shared": [
        ("validity", []),
        ("engine.window.final", "settled"),
        ("engine.requests.running.method", "littles_law"),
        ("engine.requests.unaccounted_min", 3),
        ("engine.tokens.generation", 1),
        ("engine.tokens.prompt", 10**6),
        ("engine.requests.running.peak", 4),
        ("engine.requests.running.mean", 0.1),
        ("engine.requests.running.mean_bounds", [1.0, None]),
    ],
    "turn": [
        ("engine.kv_cache.peak_tokens", int(16 / 23 * 48 * 128)),  # one server's peak with the other's capacity
        ("engine.kv_cache.peak_tokens", int(16 / 23 * 24 * 128)),
        ("engine.kv_cache.num_gpu_blocks", 24),
        ("engine.kv_cache.num_gpu_blocks", 72),
        ("engine.kv_cache.usage.peak", 24 / 47),
        ("engine.window.resets", 0),
        ("engine.tokens.generation", sum(ANSWERS)),
        ("engine.requests.running.method", "littles_law"),
        ("validity", []),
        ("validity", [{"code": "counter_reset"}]),
        ("validity", [{"code": "counter_reset"}, {"code": "engine_changed", "message": "num_gpu_blocks=24, then 24"}]),
        ("validity", [{"code": "engine_changed", "message": "num_gpu_blocks=24, then 48"}]),
    ],
    "files": [("engine.source", "http"), ("engine.window.final", "settled")],
}


class CheckFigures(unittest.TestCase):
    def test_right(self):
        for name in check_figures.NAMES:
            with self.subTest(name=name):
                clients = {0: dict(client(name), shared_prefix=0)} if name != "bench" else None
                status, out = run_check(name, right_event(name), clients)
                self.assertEqual(status, 0, out)
                self.assertIn(f"e2e-vllm: PASS (k {name})", out)
                self.assertNotIn("FAIL", out)

    def test_wrong(self):
        for name, table in {"saturated": WRONG, **MORE}.items():
            for path, value in table:
                with self.subTest(name=name, path=path, value=value):
                    status, out = run_check(name, changed(name, path, value))
                    self.assertEqual(status, 1, out)
                    # The length of the window shows in the means.
                    wanted = "engine.requests.running.mean" if path.endswith("duration_seconds") else path
                    self.assertIn(".".join(wanted.split(".")[:3]), out)

    def test_null_in_a_short_load(self):
        fields = ("engine.requests.running.peak", "engine.kv_cache.usage.peak", "engine.window.active_seconds_est")

        def event(reason, name="short"):
            event = right_event(name)
            e = event["engine"]
            e["requests"]["running"]["peak"] = e["kv_cache"]["usage"]["peak"] = e["kv_cache"]["peak_tokens"] = e["window"]["active_seconds_est"] = None
            for key in ("prompt", "generation"):
                e["throughput"][f"{key}_tokens_per_second"] = e["tokens"][key] / WINDOW
            e["throughput"]["over"] = "window"
            event["validity"].append({"code": "short_window"})
            event["unavailable"] += [{"field": field, "reason": reason} for field in fields]
            event["unavailable"].append({"field": "engine.kv_cache.peak_tokens", "reason": "the cache's peak usage is unknown"})
            return event

        status, out = run_check("short", event("1 of the polls saw the engine at work, and 3 are needed"))
        self.assertEqual(status, 0, out)
        self.assertEqual(run_check("short", event("unknown"))[0], 1)
        self.assertEqual(run_check("saturated", event("1 of the polls saw the engine at work", "saturated"))[0], 1)

    def test_polled_mean_is_null(self):
        for reason, wanted in (("the polls found 9 on average, and the engine's own times prove less", 0), ("who knows", 1)):
            event = right_event("preempted")
            running = event["engine"]["requests"]["running"]
            running["mean"] = running["method"] = None
            event["engine"]["kv_cache"]["usage"].update(mean=3.0 / WINDOW, method="polled")
            event["unavailable"] += [{"field": f"engine.requests.running.{key}", "reason": reason} for key in ("mean", "method")]
            status, out = run_check("preempted", event)
            self.assertEqual(status, wanted, out)

    def test_warm(self):
        cached = {0: dict(client("warm"), shared_prefix=256)}
        status, out = run_check("warm", right_event("warm"), cached)
        self.assertEqual(status, 1)
        self.assertIn("engine.prefix_cache.local.hits", out)

    def test_client(self):
        for key, value in (("ok", 99), ("requests", 101), ("completion_tokens", 1), ("e2e_sum_seconds", 70.0), ("e2e_sum_seconds", 200.0), ("refused", 3)):
            with self.subTest(key=key, value=value):
                self.assertEqual(run_check("saturated", right_event("saturated"), {0: dict(client("saturated"), **{key: value})})[0], 1)
        for spent, wanted in ((200.0, 0), (300.0, 1)):  # more of a short load is outside the engine
            status, out = run_check("short", right_event("short"), {0: dict(client("short"), e2e_sum_seconds=spent)})
            self.assertEqual(status, wanted, out)

    def test_watch(self):
        for change in ({"readings": 0}, {"longest_gap": 2.1}, {"running": {"peak": 16.0, "integral": 44.0, "held": []}}, {"waiting": {"peak": 12.0, "integral": 31.5, "held": []}}, {"waiting": {"peak": 12.0, "integral": 15.0, "held": []}}, {"running": {"peak": 14.0, "integral": RUNNING - PREFILL, "held": []}}, {"busy_seconds": 9.3}):
            with self.subTest(change=change):
                status, out = run_check("saturated", right_event("saturated"), watches=[dict(watch(16.0, 16 / 23), **change)])
                self.assertEqual(status, 1, out)


if __name__ == "__main__":
    unittest.main()
