#!/usr/bin/env python3
"""Tests check_diagnosis.py: right events pass, and each wrong one is reported.

    python3 e2e/vllm/check_diagnosis_test.py
"""

import copy
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
from check import Checker  # noqa: E402
from check_diagnosis import CHECKS, recommended  # noqa: E402


def diagnosis(code, *findings):
    return {"binding_resource": {"code": code}, "findings": list(findings), "not_evaluated": []}


def finding(code, severity, **fixes):
    return {"code": code, "severity": severity, "fixes": [{"flag": "--" + flag.replace("_", "-"), "value": value} for flag, value in fixes.items()]}


HOST = finding("cpu_bound_host", "warning")
CLIENT = finding("client_limited", "info")
CAP = finding("concurrency_cap", "warning", max_num_seqs=16)
THRASHING = finding("kv_cache_thrashing", "warning", watermark=0.05, max_num_seqs=5)

# What each run's files have: its diagnosis, that of the running server, the preemptions of its
# 64 requests, and the seconds of its load.
RIGHT = {
    "single": (diagnosis("client", CLIENT, HOST), None, 0, 10),
    "moderate": (diagnosis("client", CLIENT, HOST), None, 0, 10),
    "capped": (diagnosis("concurrency_cap", CAP, HOST), diagnosis("concurrency_cap", CAP), 0, 20),
    "crowded": (diagnosis("kv_cache", THRASHING, HOST), diagnosis("kv_cache", THRASHING), 40, 20),
    "crowded2": (diagnosis("kv_cache", THRASHING), None, 40, 20),
    "fitted": (diagnosis("concurrency_cap"), None, 2, 21),
    "fitted2": (diagnosis("concurrency_cap"), None, 0, 21),
}


def failures(name, runs, others=0, cpu=2):
    with tempfile.TemporaryDirectory() as folder:

        def write(file, value):
            with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
                json.dump(value, f)

        for run, (found, live, preemptions, seconds) in runs.items():
            engine = {"requests": {"preemptions": preemptions, "finished": {"length": 64}}, "endpoints": [{"cpu_seconds": cpu}], "window": {"duration_seconds": 20}}
            busy = {"code": "busy_host", "severity": "warning", "message": "", "evidence": {"value": others}}
            event = {"diagnosis": found, "engine": engine, "validity": [busy] if others else []}
            write(f"{run}.json", event)
            write(f"{run}.client.json", {"completion_tokens": 6400, "wall_seconds": seconds})
            write(f"{run}.cpu", seconds)
            if live:
                write(f"{run}.live.json", live)
        with open(os.path.join(folder, f"{name}.json"), encoding="utf-8") as f:
            c = Checker(json.load(f))
        CHECKS[name](c, folder)
        return c.failures


class TestDiagnoses(unittest.TestCase):
    def test_right_events(self):
        for name in CHECKS:
            with self.subTest(name):
                self.assertEqual(failures(name, RIGHT), [])

    def test_wrong_events(self):
        unknown = diagnosis("unknown")
        for name, run, changes in (
            ("single", "single", {0: unknown}),
            ("single", "single", {0: diagnosis("client", CLIENT, CAP)}),
            ("moderate", "moderate", {0: diagnosis("client", CLIENT, finding("engine_errors", "critical"))}),
            ("moderate", "moderate", {0: diagnosis("concurrency_cap")}),
            ("capped", "capped", {0: diagnosis("client", CAP)}),
            ("capped", "capped", {0: diagnosis("concurrency_cap", finding("concurrency_cap", "warning"))}),
            ("capped", "capped", {0: diagnosis("concurrency_cap", finding("concurrency_cap", "warning", max_num_seqs=64))}),
            ("capped", "capped", {1: diagnosis("client", CAP)}),
            ("capped", "capped", {1: diagnosis("concurrency_cap")}),
            ("capped", "capped", {3: 10.5}),  # the cap costs nothing
            ("crowded", "crowded", {0: unknown}),
            ("crowded", "crowded", {0: diagnosis("kv_cache", finding("kv_cache_thrashing", "warning", max_num_seqs=16))}),
            ("crowded", "crowded", {1: unknown}),
            ("fitted", "fitted2", {2: 4}),
            ("fitted", "fitted2", {0: diagnosis("kv_cache", THRASHING)}),
            ("fitted", "fitted2", {3: 26}),
        ):
            with self.subTest(name=name, run=run, changes=changes):
                runs = copy.deepcopy(RIGHT)
                runs[run] = tuple(changes.get(i, old) for i, old in enumerate(runs[run]))
                self.assertTrue(failures(name, runs))

    def test_starved_machine(self):
        """A front-end that waits for a CPU is no mistake of the diagnosis; a busy one is."""
        front = finding("frontend_bound", "warning")
        runs = dict(RIGHT, moderate=(diagnosis("frontend", front, HOST), None, 0, 10))
        runs["crowded"] = (diagnosis("kv_cache", THRASHING), diagnosis("kv_cache", THRASHING, front), 40, 20)
        for name in ("moderate", "crowded"):
            with self.subTest(name):
                self.assertEqual(failures(name, runs, others=0.5), [])
                self.assertTrue(failures(name, runs))
                self.assertTrue(failures(name, runs, others=0.1))
                self.assertTrue(failures(name, runs, others=0.5, cpu=16))

    def test_recommended(self):
        self.assertEqual(recommended(diagnosis("kv_cache", HOST, THRASHING)), 5)
        self.assertIsNone(recommended(diagnosis("kv_cache", CAP)))


if __name__ == "__main__":
    unittest.main()
