#!/usr/bin/env python3
"""Tests check_ab.py: a right result passes, and each wrong one is reported.

    python3 e2e/vllm/check_ab_test.py
"""

import copy
import sys
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
from check_ab import METRIC, PAIRS, problems  # noqa: E402

SIDES = ["A", "B", "B", "A"] * (PAIRS // 2)
EVENTS = [{"run": {"id": str(i), "labels": {"ab.side": side, "ab.position": str(i + 1)}}} for i, side in enumerate(SIDES)]
SAME = {
    "verdict": "inconclusive",
    "reasons": [],
    "paired": True,
    "order": {"interleaved": True},
    "metrics": [{"name": METRIC, "gated": True, "change": 0.01}],
}
SLOWER = dict(SAME, verdict="regression", metrics=[{"name": METRIC, "gated": True, "change": -0.6}])


class TestResults(unittest.TestCase):
    def test_right(self):
        self.assertEqual(problems("same", SAME, EVENTS, 3), [])
        self.assertEqual(problems("same", dict(SAME, verdict="equivalent"), EVENTS, 0), [])
        self.assertEqual(problems("slower", SLOWER, EVENTS, 1), [])

    def test_wrong_results(self):
        for name, result, status in (
            ("same", SLOWER, 1),
            ("same", SAME, 0),
            ("same", dict(SAME, verdict="incomparable"), 0),
            ("same", dict(SAME, paired=False), 3),
            ("slower", dict(SLOWER, metrics=[{"name": METRIC, "gated": True, "change": -0.05}]), 1),
            ("slower", dict(SLOWER, metrics=[{"name": METRIC, "gated": False, "change": -0.6}]), 1),
            ("slower", SAME, 3),
        ):
            with self.subTest(name=name, result=result):
                self.assertTrue(problems(name, result, EVENTS, status))

    def test_wrong_events(self):
        for edit in (lambda e: e.pop(), lambda e: e.reverse(), lambda e: e[0]["run"].update(id="1")):
            events = copy.deepcopy(EVENTS)
            edit(events)
            self.assertTrue(problems("same", SAME, events, 3))


if __name__ == "__main__":
    unittest.main()
