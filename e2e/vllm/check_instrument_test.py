#!/usr/bin/env python3
"""Tests check_instrument.py: right events pass, and each wrong figure is reported.

    python3 e2e/vllm/check_instrument_test.py
"""

import copy
import sys
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
from check import Checker  # noqa: E402
from check_instrument import FLAGS, SAME, check_flags, check_forced, check_plain  # noqa: E402

HELP = "no engine is known: … has figures with --instrument --multiproc on"
PLAIN = {
    "run": {"exit_code": 0, "signal": None},
    "engine": None,
    "engine_runtime_config": {},
    "validity": [],
    "unavailable": [{"field": "engine", "reason": HELP}, {"field": "engine_runtime_config", "reason": HELP}],
}
COUNTED = {"requests": 24, "prompt": 2676, "generated": 768}
FORCED = {
    "run": {"exit_code": 0, "signal": None},
    "engine_runtime_config": {"max_num_seqs": 16},
    "engine": {
        "source": "multiprocess",
        "requests": {"finished": {"length": 24}, "preemptions": 0},
        "tokens": {"prompt": 2676, "generation": 768, "prompt_per_request": {"sum": 2676}, "generation_per_request": {"sum": 768}},
        "latency_seconds": {"e2e_request_latency": {"count": 24}, "time_to_first_token": {"count": 24}, "inter_token_latency": {"count": 744}},
        "prefix_cache": {"local": {"queries": 2676}},
        "kv_cache": {"num_gpu_blocks": 40, "block_size": 128, "size_tokens": 5120, "usage": {"peak": 0.6}},
        "config": {
            "values": {"num_gpu_blocks": 40, "attention_backend": "CPU_ATTN"},
            "sources": {"max_num_seqs": "engine_core", "num_gpu_blocks": "engine_core", "attention_backend": "worker", "data_parallel_size": "front_end"},
        },
    },
    "validity": [],
    "unavailable": [],
}
MISMATCH = "async_scheduling: intended=True actual=False"
SETTINGS = {
    "run": {"exit_code": 0, "signal": None},
    "engine_runtime_config": dict(FLAGS, speculative_method="ngram"),
    "flags_checked": list(FLAGS),
    "flag_mismatches": [MISMATCH],
    "flag_did_not_engage": False,
    "engine": {"config": {"sources": dict.fromkeys(FLAGS, "engine_core")}},
    "validity": [],
    "unavailable": [],
}


def changed(event, path, value):
    event = copy.deepcopy(event)
    *above, last = path.split(".")
    group = event
    for key in above:
        group = group[key]
    group[last] = value
    return event


def failures(check, event, *arguments):
    c = Checker(event)
    check(c, *arguments)
    return c.failures


class Instrument(unittest.TestCase):
    def test_plain(self):
        self.assertEqual(failures(check_plain, PLAIN), [])
        for path, value in {"run.exit_code": 1, "engine": {}, "unavailable": []}.items():
            self.assertTrue(failures(check_plain, changed(PLAIN, path, value)), path)
        for i in range(2):
            event = copy.deepcopy(PLAIN)
            event["unavailable"][i]["reason"] = "no engine is known"
            self.assertTrue(failures(check_plain, event), i)

    def test_forced(self):
        self.assertEqual(failures(check_forced, FORCED, COUNTED, Checker(FORCED)), [])
        wrong = dict.fromkeys(SAME, 3)
        wrong.update({
            "run.exit_code": 1, "engine_runtime_config.max_num_seqs": 256, "engine.kv_cache.usage.peak": 0.0,
            "engine.config.values.num_gpu_blocks": 41, "engine.config.values.attention_backend": None, "engine.config.sources.max_num_seqs": "server_info",
            "validity": [{"code": "settings_disagree", "message": "x"}],
        })  # fmt: skip
        for path, value in wrong.items():
            self.assertTrue(failures(check_forced, changed(FORCED, path, value), COUNTED, Checker(FORCED)), path)
        for path in SAME:  # wrong in both events in the same way
            event = changed(FORCED, path, 3)
            if path.rpartition(".")[2] in ("source", "prompt", "generation", "finished"):
                self.assertTrue(failures(check_forced, event, COUNTED, Checker(copy.deepcopy(event))), path)
        self.assertTrue(failures(check_forced, FORCED, COUNTED, Checker(PLAIN)))

    def test_flags(self):
        self.assertEqual(failures(check_flags, SETTINGS, "ngram", MISMATCH, True), [])
        wrong = {f"engine_runtime_config.{name}": None for name in FLAGS}
        wrong.update({f"engine.config.sources.{name}": "server_info" for name in FLAGS})
        wrong.update({
            "engine_runtime_config.enable_prefix_caching": 0, "engine_runtime_config.speculative_method": None, "flags_checked": ["max_num_seqs"],
            "flag_mismatches": [], "flag_did_not_engage": True, "validity": [{"code": "instrument_incomplete", "message": "x"}], "run.exit_code": 1,
        })  # fmt: skip
        for path, value in wrong.items():
            self.assertTrue(failures(check_flags, changed(SETTINGS, path, value), "ngram", MISMATCH, True), path)
        self.assertTrue(failures(check_flags, SETTINGS, "ngram", None, True))
        self.assertTrue(failures(check_flags, SETTINGS, "ngram", MISMATCH, False))
        self.assertTrue(failures(check_flags, SETTINGS, "ngram", MISMATCH, True, "auto"))
        event = changed(SETTINGS, "engine_runtime_config.kv_cache_dtype", "auto")
        self.assertTrue(failures(check_flags, event, "ngram", MISMATCH, True, "auto"))
        event["flags_checked"] = [name for name in event["flags_checked"] if name != "kv_cache_dtype"]
        self.assertEqual(failures(check_flags, event, "ngram", MISMATCH, True, "auto"), [])


if __name__ == "__main__":
    unittest.main()
