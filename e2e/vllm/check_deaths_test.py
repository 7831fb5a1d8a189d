#!/usr/bin/env python3
"""Tests check_deaths.py: right events pass, and each wrong figure is reported.

    python3 e2e/vllm/check_deaths_test.py
"""

import contextlib
import datetime
import io
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
import check_deaths  # noqa: E402

ENDED = 1_700_000_100.0
AGE = 2.0
KILLED = ("api", "files", "startup")


def right(case):
    """Returns the facts and the event of a run that ended as it should."""
    pages = [{"at": ENDED - 10 + i / 2, "generation": 1000.0 + 100 * i, "prompt": 9000.0 + 900 * i, "finished": 30.0 + i} for i in range(20)]
    facts = {
        "case": case, "status": -9 if case in KILLED else 0, "acted_at": ENDED - 2.5, "ended_at": ENDED,
        "load": {"concurrency": 8, "max_tokens": 96}, "pages": pages if case != "startup" else [],
        "helpers": {"11": "python", "12": "VLLM::EngineCor", "13": "VLLM::Worker"},
        "left": {"13": "VLLM::Worker"} if case == "core" else {},
        "client": {"ok": 45, "requests": 2000, "completion_tokens": 2500, "prompt_tokens": 23500},
    }  # fmt: skip
    left = [{"pid": 12, "command": "VLLM::EngineCore"}, {"pid": 13, "command": "VLLM::Worker"}]
    event = {
        "partial": False,
        "run": {
            "exit_code": None if case in KILLED else 0,
            "signal": "SIGKILL" if case in KILLED else None,
            "interrupted": case in check_deaths.SIGNALLED,
            "ended_at": datetime.datetime.fromtimestamp(ENDED, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "leftovers": left if case in ("api", "files") else left[1:] if case == "core" else [],
        },
        "engine": {
            "source": "http",
            "window": {"base": "zero", "final": "before_signal" if case in check_deaths.SIGNALLED else "last_good", "final_age_seconds": AGE},
            "tokens": {"generation": 2650, "prompt": 23800},
            "requests": {"finished": {"length": 47, "stop": 0, "abort": 40}},
        },
        "validity": [{"code": "final_reading_lost", "severity": "warning", "evidence": None}],
        "unavailable": [],
    }
    if case in check_deaths.DIED:
        event["validity"].append({"code": "engine_died", "severity": "error", "evidence": None})
    if case == "files":  # everything on the last page
        event["engine"].update(source="multiprocess", tokens={"generation": 2950, "prompt": 26150}, window={"base": "zero", "final": "files", "final_age_seconds": 0.0})
        event["engine"]["requests"]["finished"]["length"] = 50
        event["validity"], facts["client"]["prompt_tokens"] = [], 23600
    if case == "startup":
        event["engine"], event["validity"] = None, []
        event["unavailable"] = [{"field": "engine", "reason": "no engine answered"}]
    return facts, event


def run_check(facts, event, newline="\n"):
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, value, end in (("event.json", event, newline), ("facts.json", facts, "")):
            paths.append(os.path.join(folder, name))
            with open(paths[-1], "w", encoding="utf-8") as f:
                f.write(json.dumps(value) + end)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = check_deaths.main(["--event", paths[0], "--facts", paths[1]])
    return status, out.getvalue()


def put(group, path, value):
    *above, last = path.split(".")
    for key in above:
        group = group[int(key)] if isinstance(group, list) else group[key]
    group[last] = value


DIED = [{"code": "final_reading_lost", "severity": "warning"}, {"code": "engine_died", "severity": "error"}]
UNDER_LOAD = [case for case in check_deaths.STATUS if case not in ("files", "startup")]
# The cases, the path and value that are changed in the event, and a word of the message.
WRONG = [
    (check_deaths.STATUS, "run.exit_code", 3, "run.exit_code"),
    (check_deaths.STATUS, "run.signal", "SIGTERM", "run.signal"),
    (check_deaths.STATUS, "run.interrupted", None, "run.interrupted"),
    (check_deaths.STATUS, "partial", True, "partial"),
    (check_deaths.STATUS, "omni", None, "omni"),
    ([c for c in check_deaths.STATUS if c not in check_deaths.DIED], "validity", DIED, "engine_died"),
    (["core", "worker"], "validity", DIED[:1], "engine_died"),
    (["core", "worker"], "validity", DIED + DIED[1:], "engine_died"),
    (["core", "worker"], "validity.1.severity", "warning", "engine_died"),
    (["core", "api"], "run.leftovers", [], "run.leftovers"),
    (["api", "files"], "run.leftovers.0.command", "sleep", "run.leftovers"),
    (["startup"], "engine", {}, "engine"),
    (UNDER_LOAD, "engine.window.final", "settled", "window.final"),
    (["core", "worker", "unseen", "api"], "engine.window.final", "before_signal", "window.final"),
    (UNDER_LOAD, "engine.window.base", "scraped", "window.base"),
    (UNDER_LOAD, "engine.window.final_age_seconds", 0.0, "final_age_seconds"),
    (UNDER_LOAD, "engine.window.final_age_seconds", 60.0, "final_age_seconds"),
    (sorted(check_deaths.SIGNALLED), "engine.window.final_age_seconds", 3.0, "before the signal"),
    (UNDER_LOAD, "engine.window.final_age_seconds", 9.4, "pages before"),
    (UNDER_LOAD, "engine.tokens.generation", 2599, "tokens.generation"),
    (UNDER_LOAD, "engine.tokens.generation", 2500 + 8 * 96 + 1, "tokens.generation"),
    (UNDER_LOAD, "engine.tokens.generation", None, "tokens.generation"),
    (UNDER_LOAD, "engine.tokens.prompt", 23399, "tokens.prompt"),
    (UNDER_LOAD, "engine.tokens.prompt", 23500 + 8 * 320 + 1, "tokens.prompt"),
    (UNDER_LOAD, "engine.requests.finished", {"length": 45}, "requests.finished"),
    (UNDER_LOAD, "engine.requests.finished", {"length": 50, "stop": 4}, "requests.finished"),
    (UNDER_LOAD, "engine.requests.finished", None, "requests.finished"),
    (UNDER_LOAD, "validity", [], "final_reading_lost"),
    (UNDER_LOAD, "engine.source", "multiprocess", "engine.source"),
    (["files"], "engine.window.final", "last_good", "window.final"),
    (["files"], "engine.window.final_age_seconds", 0.5, "final_age_seconds"),
    (["files"], "engine.source", "http", "engine.source"),
    (["files"], "engine.tokens.generation", 2899, "tokens.generation"),
    (["files"], "engine.tokens.prompt", 26099, "tokens.prompt"),
    (["files"], "engine.requests.finished", {"length": 48}, "requests.finished"),
    (["files"], "validity", DIED[:1], "final_reading_lost"),
]  # fmt: skip
WRONG_FACTS = [
    (check_deaths.STATUS, "status", 143, "ended with"),
    (check_deaths.STATUS, "status", -15, "ended with"),
    (["term", "unseen"], "left", {"12": "VLLM::EngineCor"}, "run.leftovers"),
    (["api", "files"], "left", {"12": "VLLM::EngineCor"}, "--kill-leftovers"),
    (UNDER_LOAD, "pages", [], "pages before"),
    (UNDER_LOAD, "client.ok", 0, "client"),
    (UNDER_LOAD, "client.requests", 45, "under load"),
]


class CheckDeaths(unittest.TestCase):
    def test_right(self):
        for case in check_deaths.STATUS:
            status, out = run_check(*right(case))
            self.assertEqual(status, 0, out)
            self.assertIn(f"e2e-vllm: PASS (c {case})", out)
            self.assertNotIn("FAIL", out)

    def test_wrong(self):
        for table, which in ((WRONG, 1), (WRONG_FACTS, 0)):
            for cases, path, value, word in table:
                for case in cases:
                    with self.subTest(case=case, path=path, value=value):
                        both = right(case)
                        put(both[which], path, value)
                        status, out = run_check(*both)
                        self.assertEqual(status, 1, out)
                        self.assertIn(word, out)

    def test_one_line(self):
        self.assertEqual(run_check(*right("term"), newline="")[0], 1)


if __name__ == "__main__":
    unittest.main()
