#!/usr/bin/env python3
"""Tests check_validity.py: right events pass, and each wrong one is reported.

    python3 e2e/vllm/check_validity_test.py
"""

import sys
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
from check import Checker  # noqa: E402
from check_validity import CHECKS, STEAL  # noqa: E402

STOLEN = {"code": "busy_host", "severity": "warning", "message": f"the hypervisor took 3 % {STEAL}", "evidence": {"value": 0.03}}
BUSY = {"code": "busy_host", "severity": "warning", "message": "processes other than the command's", "evidence": {"value": 0.48}}
WARM = {"code": "warm_prefix_cache", "severity": "warning", "message": "80 % of the prompt tokens", "evidence": {"value": 0.8}}


def failures(name, *notes):
    c = Checker({"validity": list(notes), "host": {"cpu_count": 2}, "engine": {"prefix_cache": {"local": {"hits": 4096}}}})
    CHECKS[name](c)
    return c.failures


class TestValidity(unittest.TestCase):
    def test_right_events(self):
        for name, notes in {"first": (), "second": (WARM,), "busy": (BUSY, WARM), "own": (WARM,)}.items():
            with self.subTest(name):
                self.assertEqual(failures(name, *notes), [])
                self.assertEqual(failures(name, STOLEN, *notes), [])

    def test_wrong_events(self):
        for name, notes in {"first": (WARM,), "second": (), "busy": (WARM,), "own": (BUSY,)}.items():
            with self.subTest(name):
                self.assertEqual(len(failures(name, STOLEN, *notes)), 1)

    def test_wrong_severity(self):
        self.assertEqual(len(failures("second", dict(WARM, severity="info"))), 1)
        self.assertEqual(len(failures("busy", dict(BUSY, severity="info"))), 1)

    def test_wrong_share(self):
        for share in (0.05, 0.9, None):
            with self.subTest(share):
                self.assertEqual(len(failures("busy", dict(BUSY, evidence={"value": share}))), 1)


if __name__ == "__main__":
    unittest.main()
