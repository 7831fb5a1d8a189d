#!/usr/bin/env python3
"""Tests check.py on events made by hand: a right one passes, and each wrong figure
is reported. internal/cli/gpu_e2e_test.go tests it on real events.

    python3 e2e/gpu/check_test.py
"""

import copy
import sys
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
from check import GIB, MIB, check  # noqa: E402

UUIDS = ["GPU-fa4e0000-5a5a-4b4b-8c8c-000000000000", "GPU-fa4e1111-5a5a-4b4b-8c8c-000000000001"]
CONTEXT = 500 * MIB


def event(held, peaks):
    """An event in which each GPU has a context, held bytes and a peak above it."""
    gpus = [
        {
            "index": i, "uuid": UUIDS[i], "name": "NVIDIA Test", "driver_version": "580.1", "memory_api": "v2",
            "peak_bytes": GIB + CONTEXT + peak, "peak_at_seconds": 5.05, "baseline_bytes": GIB, "used_by_job": True,
            "job_peak_bytes": CONTEXT + held, "foreign_processes": [], "energy_joules": 600.0, "energy_active_joules": None, "idle_watts": 70.0,
            "sm_active": {"mean": 0.1, "max": 0.5}, "sm_occupancy": {"mean": 0.1, "max": 0.5},
            "tensor_active": {"mean": 0.1, "max": 0.5}, "dram_active": {"mean": 0.1, "max": 0.5},
            "sampling": {"period_seconds": 0.01, "samples": 590, "errors": 0, "max_gap_seconds": 0.02},
        }
        for i, peak in enumerate(peaks)
    ]
    return {
        "peak_vram_gb": max(g["peak_bytes"] for g in gpus) / GIB,
        "run": {"exit_code": 0, "started_at": "2026-11-22T02:00:00.000Z", "duration_seconds": 6.0},
        "gpus": gpus,
        "unavailable": [{"field": f"gpus.{i}.energy_active_joules", "reason": "no engine"} for i in range(len(peaks))],
    }


class Test(unittest.TestCase):
    def setUp(self):
        self.context = event(0, [0, 0])
        peaks = [3 * GIB, 3 * GIB + 64 * MIB]
        self.event = event(GIB, peaks)
        start = 1795312800.0  # 2026-11-22T02:00:00Z
        self.report = {"spikes_from": start + 5.0, "spikes_until": start + 5.6, "devices": [
            {"uuid": UUIDS[i][4:], "held": GIB, "peak": peak} for i, peak in enumerate(peaks)
        ]}

    def failures(self, only=None):
        return check("case", self.context, self.event, self.report, only).failures

    def wrong(self, words):
        found = self.failures()
        self.assertTrue(any(words in f for f in found), f"{words!r} is not among {found}")

    def test_right(self):
        self.assertEqual(self.failures(), [])

    def test_right_alone(self):
        del self.event["gpus"][0], self.report["devices"][0]
        self.assertEqual(self.failures(UUIDS[1]), [])
        self.assertNotEqual(self.failures(UUIDS[0]), [])

    def test_wrong_figures(self):
        for key, value, words in (
            ("peak_bytes", GIB + CONTEXT + 2 * GIB, "the peak is"),
            ("peak_bytes", GIB + CONTEXT + 4 * GIB, "the peak is"),
            ("peak_at_seconds", 3.0, "was seen at"),
            ("peak_at_seconds", 5.9, "was seen at"),
            ("peak_bytes", None, "no peak_bytes"),
            ("baseline_bytes", 3 * GIB, "peak - baseline"),
            ("baseline_bytes", None, "baseline_bytes is null without a reason"),
            ("used_by_job", False, "used_by_job is false"),
            ("job_peak_bytes", CONTEXT, "at least"),
            ("job_peak_bytes", 5 * GIB, "at most"),
            ("energy_joules", 0.0, "J in"),
            ("energy_joules", None, "energy_joules is null"),
            ("energy_active_joules", 500.0, "energy_active_joules"),
            ("idle_watts", 0.0, "idle_watts"),
            ("sm_active", {"mean": 0.5, "max": 1.5}, "sm_active"),
            ("dram_active", {"mean": 0.5, "max": 0.4}, "dram_active"),
            ("tensor_active", None, "tensor_active is null without a reason"),
            ("sampling", {"period_seconds": 1.5, "samples": 12, "errors": 0, "max_gap_seconds": 0.02}, "read every"),
            ("sampling", {"period_seconds": 0.01, "samples": 5, "errors": 0, "max_gap_seconds": 0.02}, "do not cover"),
            ("sampling", {"period_seconds": 0.01, "samples": 590, "errors": 3, "max_gap_seconds": 0.02}, "readings failed"),
        ):
            with self.subTest(key=key, value=value):
                self.setUp()
                self.event["gpus"][0][key] = value
                self.wrong(words)

    def test_mixed_up(self):
        a, b = self.event["gpus"]
        a["peak_bytes"], b["peak_bytes"] = b["peak_bytes"] + 64 * MIB, a["peak_bytes"] - 64 * MIB
        self.wrong("the peak is")

    def test_untouched(self):
        del self.report["devices"][1]
        self.wrong("nothing was allocated")

    def test_not_sampled(self):
        self.event["gpus"] = None
        self.event["unavailable"] = [{"field": "gpus", "reason": "no driver"}]
        self.wrong("no GPU was sampled: no driver")

    def test_other_core(self):
        self.event["peak_vram_gb"] = 1.0
        self.wrong("peak_vram_gb")

    def test_missed(self):
        # A long gap does not explain why all three spikes are missing.
        gpu = self.event["gpus"][0]
        gpu["peak_bytes"], gpu["sampling"]["max_gap_seconds"] = GIB + CONTEXT + GIB, 0.3
        self.wrong("the longest gap is 0.3 s")
        gpu["sampling"]["period_seconds"], gpu["sampling"]["samples"] = 0.2, 30
        self.assertEqual(self.failures(), [])
        gpu["peak_bytes"] += 3 * GIB  # a peak that is too high is always wrong
        self.wrong("the peak is")

    def test_excused(self):
        # In a container processes may be hidden: a null with a reason is right.
        for gpu in self.event["gpus"]:
            gpu["baseline_bytes"] = gpu["used_by_job"] = gpu["job_peak_bytes"] = None
        self.event["unavailable"] = [{"field": f"gpus.{i}.{k}", "reason": "so"} for i in range(2) for k in ("baseline_bytes", "used_by_job", "job_peak_bytes", "energy_active_joules")]
        self.assertEqual(self.failures(), [])
        self.event["peak_vram_gb"] = 1.0
        self.wrong("peak_vram_gb")

    def test_shared(self):
        for e in (self.context, self.event):
            e["gpus"][0]["foreign_processes"] = [{"pid": 1, "name": "other", "peak_bytes": GIB}]
        self.event["gpus"][0]["peak_bytes"] += 5 * GIB
        self.event["peak_vram_gb"] = self.event["gpus"][0]["peak_bytes"] / GIB
        self.assertEqual(self.failures(), [])

    def test_arguments_are_left_alone(self):
        before = copy.deepcopy(self.event)
        self.failures()
        self.assertEqual(self.event, before)


if __name__ == "__main__":
    unittest.main()
