#!/usr/bin/env python3
"""Tests check.py: right events pass, and each wrong figure is reported.

    python3 e2e/vllm/check_test.py
"""

import contextlib
import copy
import io
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
import check  # noqa: E402

CLIENT = {
    "requests": 100, "ok": 100, "concurrency": 16, "prompt_tokens": 30000, "completion_tokens": 8000,
    "sent_prompt_tokens": 30000, "sent_max_tokens": 8000, "wall_seconds": 8.0, "ttft_sum_seconds": 6.0,
    "e2e_sum_seconds": 110.0,
}  # fmt: skip
WARMUP = {
    "requests": 6, "ok": 6, "concurrency": 3, "prompt_tokens": 1200, "completion_tokens": 80,
    "sent_prompt_tokens": 1200, "sent_max_tokens": 80, "wall_seconds": 0.5, "ttft_sum_seconds": 0.6,
    "e2e_sum_seconds": 1.5,
}  # fmt: skip

# The second server's client in case (d), side by side with CLIENT.
SECOND = {
    "requests": 80, "ok": 80, "concurrency": 16, "prompt_tokens": 24000, "completion_tokens": 6000,
    "sent_prompt_tokens": 24000, "sent_max_tokens": 6000, "wall_seconds": 7.5, "ttft_sum_seconds": 5.0,
    "e2e_sum_seconds": 90.0,
}  # fmt: skip
CLIENTS = {"a": [CLIENT], "b": [CLIENT, WARMUP], "d": [CLIENT, SECOND], "e": [CLIENT], "n": [CLIENT, WARMUP]}
STARTED = ("b", "n")  # by the command


def page(index, factor):
    """A server's page in cases (d) and (e): a base plus factor times the whole increase."""
    hits = 20000 if index == 0 else 0
    values = {
        'cache_config_info{engine="0",num_gpu_blocks="16384",cache_dtype="a \\"q\\""}': 1,
        'prefix_cache_hits_total{engine="0",model_name="tiny"}': 128 + hits * factor,
        'spec_decode_num_drafts_total{engine="0"}': 5 + 900 * factor,
        'spec_decode_num_draft_tokens_total{engine="0"}': 15 + 2700 * factor,
        'spec_decode_num_accepted_tokens_total{engine="0"}': 9 + 1800 * factor,
        'spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="0"}': 4 + 800 * factor,
        'spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="1"}': 3 + 600 * factor,
        'spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="2"}': 2 + 400 * factor,
    }
    return "# HELP vllm:x y\n" + "".join(f"vllm:{name} {float(value)}\n" for name, value in values.items())


def distribution(count, total):
    return {"count": count, "sum": total, "mean": total / count, "p50_est": 0.1, "p90_est": None, "above": 1.0}


def right_event(case):
    ok, prompt, generated, hits = {"b": (106, 31200, 8080, 20000), "n": (106, 31200, 8080, 20000), "d": (180, 54000, 14000, 20000)}.get(case, (100, 30000, 8000, 20000))
    asked = 30000 if case == "d" else prompt
    active = 9.4 if case in STARTED else 8.5
    latency = {
        "time_to_first_token": distribution(ok, 5.0),
        "e2e_request_latency": distribution(ok, 100.0),
        "inter_token_latency": distribution(generated - ok, 90.0),
    }
    for key in ("request_prefill_time", "request_decode_time", "request_queue_time", "request_inference_time"):
        latency[key] = distribution(ok, 4.0)
    event = {
        "peak_vram_gb": None,
        "kv_cache_usage_perc": 0.0,
        "prefix_cache_hit_rate": hits / asked,
        "spec_accept_rate": None,
        "partial": False,
        "run": {"exit_code": 0, "signal": None, "start_error": None, "duration_seconds": 9.0 if case not in STARTED else 80.0, "leftovers": []},
        "host": {"cpu_limit": None, "tree_cpu_seconds": 60.0, "tree_peak_rss_bytes": 3e9},
        "gpus": None,
        "engine": {
            "source": "http",
            "endpoints": [{"url": "http://127.0.0.1:4000/metrics"}],
            "models": ["tiny"],
            "stage": None,
            "window": {
                "base": "scraped" if case not in STARTED else "zero",
                "final": "settled" if case not in STARTED else "last_good",
                "final_age_seconds": 0.0 if case not in STARTED else 1.2,
                "duration_seconds": 9.1 if case not in STARTED else 80.1,
                "active_seconds_est": active,
                "resets": 0,
            },
            "scrapes": {"count": 20, "errors": 0, "max_gap_seconds": 0.52},
            "requests": {
                "finished": {"stop": 0, "length": ok, "abort": 0, "error": 0},
                "preemptions": 0,
                "running": {"last": 0, "mean": 15.0, "peak": 16},
            },
            "tokens": {
                "prompt": prompt,
                "prompt_by_source": {"local_compute": prompt - hits, "local_cache_hit": hits, "external_kv_transfer": 0},
                "generation": generated,
                "prompt_per_request": distribution(ok, prompt),
                "generation_per_request": distribution(ok, generated),
            },
            "throughput": {
                "requests_per_second": ok / active,
                "prompt_tokens_per_second": prompt / active,
                "generation_tokens_per_second": generated / active,
            },
            "latency_seconds": latency,
            "kv_cache": {"usage": {"last": 0.0, "mean": 0.002, "peak": 0.003}, "num_gpu_blocks": 16384, "block_size": 128},
            "prefix_cache": {
                "local": {"queries": asked, "hits": hits, "hit_rate": hits / asked},
                "external": {"queries": 0, "hits": 0, "hit_rate": None},
            },
            "instances": [
                {"endpoint": 0, "engine": "0", "stage": None, "replica": None, "requests_finished": ok, "prompt_tokens": prompt, "generation_tokens": generated}
            ],
        },
        "omni": None,
        "validity": [{"code": "warm", "evidence": {"field": None, "value": None}}],
        "unavailable": [
            {"field": "peak_vram_gb", "reason": "no NVML"},
            {"field": "spec_accept_rate", "reason": "off"},
            {"field": "host.cpu_limit", "reason": "the cgroup sets no limit"},
            {"field": "gpus", "reason": "no NVML"},
            {"field": "engine.prefix_cache.external", "reason": "nothing was queried"},
            {"field": "engine.latency_seconds", "reason": "the rank lies beyond the last bound"},
            {"field": "engine.tokens.prompt_per_request.p90_est", "reason": "beyond"},
            {"field": "engine.tokens.generation_per_request.p90_est", "reason": "beyond"},
            {"field": "omni", "reason": "no vllm-omni"},
        ],
    }
    engine = event["engine"]
    if case == "d":
        engine["endpoints"].append({"url": "http://127.0.0.1:4001/metrics"})
        engine["kv_cache"]["num_gpu_blocks"] = 32768
        engine["requests"].update(waiting={"last": 0, "mean": 9.0, "peak": 12}, running={"last": 0, "mean": 15.0, "peak": 20}, batch_utilization=15.0 * 9.1 / active / 20)
        first = engine["instances"][0]
        first.update(requests_finished=100, prompt_tokens=30000, generation_tokens=8000)
        engine["instances"].append(dict(first, endpoint=1, requests_finished=80, prompt_tokens=24000, generation_tokens=6000))
        event["engine_runtime_config"] = {"kv_cache_dtype": "auto"}
    else:
        seqs = 24 if case == "a" else 128
        event["engine_runtime_config"] = {
            "max_num_seqs": seqs, "max_num_batched_tokens": 1024 if case == "a" else 2048, "enable_chunked_prefill": True, "enable_prefix_caching": True, "kv_cache_dtype": "auto",
        }
        values = {"max_model_len": 512, "enforce_eager": True, "load_format": "dummy", "dtype": "bfloat16", "tensor_parallel_size": 1, "scheduling_policy": "fcfs", "vllm_version": "0.32.0"}
        engine["config"] = {"values": values, "sources": {key: "version" if key == "vllm_version" else "server_info" for key in values}}
        engine["requests"]["batch_utilization"] = 15.0 * engine["window"]["duration_seconds"] / active / seqs
    if case == "n":
        engine["source"], engine["endpoints"] = "multiprocess", [{"url": "file:///tmp/x", "source": "multiprocess"}]
    if case == "e":
        event["engine_runtime_config"]["speculative_method"] = "ngram"
        engine["speculative"] = {"method": "ngram", "drafts": 900, "draft_tokens": 2700, "accepted_tokens": 1800, "acceptance_rate": 2 / 3, "acceptance_length": 3.0, "accepted_per_position": [800, 600, 400]}
        event["spec_accept_rate"] = 2 / 3
        engine["latency_seconds"]["inter_token_latency"] = distribution(6300, 90.0)
    if case in STARTED:
        event["validity"].append({"code": "final_reading_lost", "evidence": None})
    return event


def run_check(case, event, clients=None, newline="\n"):
    clients = clients or CLIENTS[case]
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:

        def write(name, value, end="\n"):
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(json.dumps(value) + end)
            return path

        arguments = [case, "--port", "4000", "--event", write("event.json", event, newline)]
        for i in range({"d": 2, "e": 1}.get(case, 0)):
            pages = []
            for factor in (0, 1):
                pages.append(os.path.join(folder, f"{i}-{factor}.prom"))
                with open(pages[-1], "w", encoding="utf-8") as f:
                    f.write(page(i, factor))
            arguments += ["--pages", *pages]
        for i, client in enumerate(clients):
            arguments += ["--client", write(f"client{i}.json", client)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = check.main(arguments)
    return status, out.getvalue()


def changed(case, path, value):
    event = right_event(case)
    group = event
    *above, last = path.split(".")
    for key in above:
        group = group[int(key)] if isinstance(group, list) else group[key]
    if value is KeyError:
        del group[last]
    else:
        group[last] = value
    return event


# Each of these is wrong, and the message must name the group.
WRONG = [
    ("run.exit_code", 1),
    ("run.exit_code", False),
    ("run.signal", "SIGTERM"),
    ("run.duration_seconds", 7.0),
    ("partial", True),
    ("validity", [{"code": "final_reading_lost", "evidence": None}, {"code": "engine_died", "evidence": None}]),
    ("kv_cache_usage_perc", 0.1),
    ("kv_cache_usage_perc", 0),
    ("prefix_cache_hit_rate", 0.5),
    ("engine", None),
    ("engine.source", "multiprocess"),
    ("engine.models", []),
    ("engine.models", KeyError),
    ("engine.window.resets", 1),
    ("engine.window.duration_seconds", 2.0),
    ("engine.window.active_seconds_est", 3.0),
    ("engine.window.active_seconds_est", 40.0),
    ("engine.scrapes.count", 2),
    ("engine.requests.finished", {"stop": 0, "length": 99}),
    ("engine.requests.finished", {"stop": 106, "length": 0}),
    ("engine.requests.preemptions", 1),
    ("engine.requests.running.peak", 0),
    ("engine.requests.running.peak", 17),
    ("engine.tokens.prompt", 31201),
    ("engine.tokens.prompt", None),
    ("engine.tokens.generation", 8001),
    ("engine.tokens.prompt_by_source.local_compute", 1),
    ("engine.tokens.prompt_per_request.count", 99),
    ("engine.tokens.generation_per_request.sum", 7),
    ("engine.throughput.generation_tokens_per_second", 2500.0),
    ("engine.throughput.prompt_tokens_per_second", 1.0),
    ("engine.throughput.requests_per_second", None),
    ("engine.latency_seconds.time_to_first_token.count", 99),
    ("engine.latency_seconds.time_to_first_token.mean", 0.07),
    ("engine.latency_seconds.time_to_first_token.mean", 0.001),
    ("engine.latency_seconds.e2e_request_latency.count", 99),
    ("engine.latency_seconds.e2e_request_latency.mean", 1.2),
    ("engine.latency_seconds.inter_token_latency.count", 8000),
    ("engine.latency_seconds.request_queue_time.count", 0),
    ("engine.kv_cache.usage.peak", 0.0),
    ("engine.kv_cache.usage.peak", 1.2),
    ("engine.kv_cache.usage.last", 0.003),
    ("engine.kv_cache.num_gpu_blocks", None),
    ("engine.prefix_cache.local.queries", 1),
    ("engine.prefix_cache.local.hits", 0),
    ("engine.prefix_cache.local.hits", 10),
    ("engine.prefix_cache.local.hit_rate", 0.1),
    ("engine.instances", []),
    ("engine.instances.0.generation_tokens", 1),
    ("host.tree_cpu_seconds", 0.0),
    ("host.tree_peak_rss_bytes", 0),
]
WRONG_A = [
    ("engine.window.base", "zero"),
    ("engine.window.final", "last_good"),
    ("engine.scrapes.errors", 1),
    ("engine.endpoints.0.url", "http://127.0.0.1:4001/metrics"),
]
WRONG_A += [
    ("engine_runtime_config.max_num_seqs", 128),
    ("engine_runtime_config.max_num_batched_tokens", 2048),
    ("engine_runtime_config.enable_chunked_prefill", None),
    ("engine_runtime_config.speculative_method", "ngram"),
    ("engine.config.values.enforce_eager", False),
    ("engine.config.sources.max_model_len", "models"),
    ("engine.config.sources.vllm_version", "server_info"),
    ("engine.config", None),
    ("engine.requests.batch_utilization", 15 / 128),
]
WRONG_B = [
    ("engine_runtime_config.max_num_seqs", None),
    ("engine_runtime_config.kv_cache_dtype", "fp8"),
    ("engine.window.base", "scraped"),
    ("engine.window.final", "unsettled"),
    ("engine.window.final_age_seconds", 0.0),
    ("engine.endpoints", []),
    ("host.tree_peak_rss_bytes", 3e6),
    ("host.tree_cpu_seconds", 1.0),
]
WRONG_N = [
    ("engine.source", "http"),
    ("engine.endpoints.0.source", "http"),
    ("engine.endpoints", []),
    ("engine_runtime_config.max_num_seqs", None),
    ("engine.window.base", "scraped"),
    ("engine.window.final", "unsettled"),
    ("engine.window.final_age_seconds", 0.0),
    ("host.tree_peak_rss_bytes", 3e6),
    ("engine.tokens.prompt", 30000),
]
WRONG_D = [
    ("engine.endpoints", [{"url": "http://127.0.0.1:4000/metrics"}]),
    ("engine.window.final", "last_good"),
    ("engine.tokens.prompt", 30000),
    ("engine.instances.0.prompt_tokens", 24000),
    ("engine.instances.1.generation_tokens", 8000),
    ("engine.instances.1.endpoint", 0),
    ("engine.instances.1.requests_finished", 100),
    ("engine.kv_cache.num_gpu_blocks", 16384),
    ("engine.prefix_cache.local.queries", 54000),
    ("engine.prefix_cache.local.hits", 19872),
    ("engine_runtime_config.enable_prefix_caching", True),
    ("engine.requests.running.peak", 21),
    ("engine.requests.waiting.peak", 0),
    ("engine.requests.batch_utilization", 15 / 12),
    ("engine.requests.batch_utilization", 15 / 24),
    ("engine.requests.batch_utilization", None),
    ("engine.window.active_seconds_est", 15.5),
]
WRONG_E = [
    ("engine.speculative.method", None),
    ("engine_runtime_config.speculative_method", "eagle"),
    ("engine.speculative", None),
    ("engine.speculative.drafts", 905),
    ("engine.speculative.draft_tokens", 2715),
    ("engine.speculative.accepted_tokens", 0),
    ("engine.speculative.accepted_per_position", [800, 600]),
    ("engine.speculative.acceptance_rate", 0.6),
    ("engine.speculative.acceptance_length", 2.0),
    ("spec_accept_rate", None),
    ("engine.latency_seconds.inter_token_latency.count", 7900),
    ("engine.latency_seconds.inter_token_latency.count", 6000),
]


class Check(unittest.TestCase):
    def test_right(self):
        for case in "abde":
            status, out = run_check(case, right_event(case))
            self.assertEqual(status, 0, out)
            self.assertIn(f"e2e-vllm: PASS ({case})", out)
            self.assertNotIn("FAIL", out)

    def test_settled_b(self):
        event = changed("b", "engine.window.final", "settled")
        event["engine"]["window"]["final_age_seconds"] = 0.0
        del event["validity"][1]
        status, out = run_check("b", event)
        self.assertEqual(status, 0, out)

    def test_short_window(self):
        event = right_event("a")
        window = event["engine"]["window"]
        event["validity"].append({"code": "short_window", "evidence": None})
        window["active_seconds_est"] = None
        event["engine"]["requests"]["batch_utilization"] = None
        for field in ("engine.window.active_seconds_est", "engine.requests.batch_utilization"):
            event["unavailable"].append({"field": field, "reason": "too few polls"})
        event["engine"]["throughput"] = {
            "requests_per_second": 100 / 9.1,
            "prompt_tokens_per_second": 30000 / 9.1,
            "generation_tokens_per_second": 8000 / 9.1,
        }
        status, out = run_check("a", event)
        self.assertEqual(status, 0, out)

    def test_wrong(self):
        for case, table in (("a", WRONG + WRONG_A), ("b", WRONG + WRONG_B), ("d", WRONG_D), ("e", WRONG_E), ("n", WRONG_N)):
            for path, value in table:
                with self.subTest(case=case, path=path, value=value):
                    status, out = run_check(case, changed(case, path, value))
                    self.assertEqual(status, 1, out)
                    self.assertIn(".".join(path.split(".")[:2]), out)

    def test_lost_without_note(self):
        event = right_event("b")
        del event["validity"][1]
        status, out = run_check("b", event)
        self.assertEqual(status, 1)
        self.assertIn("final_reading_lost", out)

    def test_nulls(self):
        for case in "ab":
            event = right_event(case)
            for i, entry in enumerate(event["unavailable"]):
                less = copy.deepcopy(event)
                del less["unavailable"][i]
                status, out = run_check(case, less)
                self.assertEqual(status, 1, entry)
                self.assertIn(entry["field"], out)
            # A slot of a curve without a reading needs no reason.
            slots = copy.deepcopy(event)
            slots["series"] = {"slot_seconds": 0.25, "curves": [{"name": "host.cpu", "max": [0.5, None], "mean": [None, 0.5]}]}
            self.assertEqual(run_check(case, slots)[0], 0)
            # A field that merely begins with the same letters is not a group above.
            event["unavailable"][0]["field"] = "peak_vram"
            self.assertEqual(run_check(case, event)[0], 1)
            event["unavailable"][0] = {"field": "peak_vram_gb", "reason": " "}
            self.assertEqual(run_check(case, event)[0], 1)

    def test_client(self):
        for key in CLIENT:
            if key == "concurrency":
                continue
            with self.subTest(key=key):
                client = dict(CLIENT, **{key: CLIENT[key] * 0.5 if key != "wall_seconds" else 40.0})
                self.assertEqual(run_check("a", right_event("a"), [client])[0], 1)

    def test_warmup_not_forgotten(self):
        self.assertEqual(run_check("b", right_event("b"), [CLIENT])[0], 1)

    def test_one_line(self):
        self.assertEqual(run_check("a", right_event("a"), newline="")[0], 1)
        self.assertEqual(run_check("a", right_event("a"), newline="\n\n")[0], 1)


if __name__ == "__main__":
    unittest.main()
