#!/usr/bin/env python3
"""Tests check_offline.py: a right event passes, and each wrong figure is reported.

    python3 e2e/vllm/check_offline_test.py
"""

import copy
import sys
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
from check import Checker  # noqa: E402
from check_offline import check_offline, printed  # noqa: E402

LOG = """(EngineCore pid=7) INFO something
Throughput: 2.50 requests/s, 3000.00 total tokens/s, 300.00 output tokens/s
Total num prompt tokens:  102428
Total num output tokens:  12800
"""
EVENT = {
    "run": {"exit_code": 0, "signal": None, "leftovers": []},
    "engine": {
        "source": "multiprocess",
        "window": {"base": "zero", "final": "files"},
        "scrapes": {"errors": 0},
        "tokens": {"prompt": 102428, "generation": 12800},
        "requests": {"finished": {"length": 100}, "waiting": {"peak": 96.0}},
        "latency_seconds": {"e2e_request_latency": {"count": 100}},
        "throughput": {"requests_per_second": 2.6},
        "kv_cache": {"usage": {"peak": 0.92}},
    },
    "validity": [],
    "unavailable": [],
}
WRONG = {
    "run.exit_code": 1, "run.leftovers": [{}], "engine.source": "http", "engine.window.base": "files", "engine.window.final": "last_good",
    "engine.scrapes.errors": 1, "engine.tokens.prompt": 102427, "engine.tokens.generation": 0, "engine.requests.finished.length": 99,
    "engine.requests.waiting.peak": 0.0, "engine.latency_seconds.e2e_request_latency.count": None,
    "engine.throughput.requests_per_second": 1.0, "engine.kv_cache.usage.peak": 0.1,
    "validity": [{"code": "final_reading_lost"}],
}  # fmt: skip


def failures(event, log=LOG):
    c = Checker(event)
    check_offline(c, printed(log), 100)
    return c.failures


class Offline(unittest.TestCase):
    def test_right(self):
        self.assertEqual(failures(EVENT), [])

    def test_wrong(self):
        for path, value in WRONG.items():
            event = copy.deepcopy(EVENT)
            *above, last = path.split(".")
            group = event
            for key in above:
                group = group[key]
            group[last] = value
            self.assertTrue(failures(event), path)

    def test_nothing_printed(self):
        self.assertTrue(failures(EVENT, "Traceback: …"))


if __name__ == "__main__":
    unittest.main()
