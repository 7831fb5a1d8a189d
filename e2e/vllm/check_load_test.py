#!/usr/bin/env python3
"""Tests check_load.py: right events pass, and each wrong figure is reported.

    python3 e2e/vllm/check_load_test.py
"""

import copy
import sys
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
from check_load import LATENCIES, PROMPT, check  # noqa: E402

REQUESTS, WARMUP, OUTPUT, BLOCK = 96, 8, 24, 128
ALL = REQUESTS + WARMUP
HITS = (ALL - 1) * 256  # two of the blocks in 300 tokens


def counts(requests):
    per_request = {"inter_token_latency": OUTPUT - 1}
    return {key: requests * per_request.get(key, 1) for key in LATENCIES}


def client_group(requests, mean):
    return {
        "requests": {"started": requests, "completed": requests, "failed": {}, "cancelled": 0},
        "tokens": {"prompt": requests * PROMPT, "generation": requests * OUTPUT, "from": "usage"},
        "latency_seconds": {key: {"count": n, "mean": mean} for key, n in counts(requests).items()},
    }


def right_event():
    client = client_group(REQUESTS, 0.5)
    client["latency_seconds"]["send_lateness"] = {"count": REQUESTS, "mean": 0.001}
    client.update(tool="vobs load", settings={"requests": REQUESTS, "warmup": str(WARMUP)}, warmup=client_group(WARMUP, 0.5))
    client["engine_difference_seconds"] = {key: 0.5 - 0.45 for key in LATENCIES}
    return {
        "run": {"exit_code": 0},
        "client": client,
        "prefix_cache_hit_rate": HITS / (ALL * PROMPT),
        "engine": {
            "window": {"base": "scraped", "final": "settled"},
            "requests": {"finished": {"length": ALL, "stop": 0}},
            "tokens": {"prompt": ALL * PROMPT, "generation": ALL * OUTPUT},
            "latency_seconds": {key: {"count": n, "mean": 0.45} for key, n in counts(ALL).items()},
            "kv_cache": {"block_size": BLOCK},
            "prefix_cache": {"local": {"queries": ALL * PROMPT, "hits": HITS}},
        },
        "validity": [],
        "unavailable": [],
    }


def pages():
    def page(factor):
        amounts = {"request_success_total": ALL, "prompt_tokens_total": ALL * PROMPT, "generation_tokens_total": ALL * OUTPUT}
        return {(f"vllm:{name}", frozenset({("engine", "0")})): 7 + n * factor for name, n in amounts.items()}

    return page(0), page(1)


def failures(event, name="closed"):
    return check(name, event, pages()).failures


class TestLoad(unittest.TestCase):
    def test_right(self):
        self.assertEqual(failures(right_event()), [])

    def test_wrong(self):
        for path, value in {
            "run.exit_code": 1,
            "client.requests.completed": REQUESTS - 1,
            "client.requests.failed": {"cut": 1},
            "client.warmup": None,
            "client.tokens.generation": 1,
            "client.tokens.prompt": 1,
            "client.tokens.from": "chunks",
            "client.latency_seconds.time_to_first_token.mean": 0.4,
            "client.latency_seconds.e2e_request_latency.mean": 0.4,
            "client.latency_seconds.e2e_request_latency.count": 95,
            "client.latency_seconds.send_lateness.count": 95,
            "client.engine_difference_seconds.time_to_first_token": 0.04,
            "client.engine_difference_seconds.inter_token_latency": None,
            "engine.requests.finished.stop": 1,
            "engine.tokens.prompt": 1,
            "engine.tokens.generation": 1,
            "engine.latency_seconds.time_per_output_token.count": 5,
            "engine.prefix_cache.local.queries": 1,
            "engine.prefix_cache.local.hits": HITS + 256,
            "engine.kv_cache.block_size": 16,
            "engine.window.final": "last_good",
            "prefix_cache_hit_rate": 0.75,
            "validity": [{"code": "engine_shared"}],
        }.items():
            with self.subTest(path):
                event = copy.deepcopy(right_event())
                *groups, key = path.split(".")
                group = event
                for name in groups:
                    group = group[name]
                group[key] = value
                self.assertNotEqual(failures(event), [])

    def test_prefix_of_the_other_cases(self):
        event = right_event()
        event["engine"]["prefix_cache"]["local"]["hits"] = 0
        self.assertEqual(failures(event, "open"), [])


if __name__ == "__main__":
    unittest.main()
