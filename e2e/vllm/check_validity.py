#!/usr/bin/env python3
"""Checks which validity notes the events of validity.sh have.

    check_validity.py FIRST.json SECOND.json BUSY.json OWN.json

Exit status 1 if anything is wrong. It needs the standard library only.
"""

import json
import sys

from check import Checker, check_nulls

# A CPU time that the hypervisor takes for other guests is noted on a machine that is shared,
# whatever the runs do.
STEAL = "(steal)"


def notes(c):
    return [v for v in c.get("validity") or [] if STEAL not in v["message"]]


def check_first(c):
    """The first load of a fresh server, and nothing beside it."""
    c.expect(not notes(c), f"the first load of a fresh server has notes: {notes(c)}")


def check_second(c):
    """The same prompts again."""
    c.number("engine.prefix_cache.local.hits", 1, float("inf"), "its prompts are in the cache")
    found = [v for v in notes(c) if v["code"] == "warm_prefix_cache"]
    c.expect([v["severity"] for v in found] == ["warning"], f"the second load has no warning of the warm cache: {notes(c)}")


def check_busy(c):
    """Another process burned one of the host's cores."""
    found = [v for v in notes(c) if v["code"] == "busy_host"]
    c.expect([v["severity"] for v in found] == ["warning"], f"a busy host has no warning: {notes(c)}")
    # The burner shares its core with the engine, which starves neither of them.
    cpus = c.get("host.cpu_count") or 1
    for v in found:
        share = (v.get("evidence") or {}).get("value")
        c.expect(share is not None and 0.25 / cpus <= share <= 1.1 / cpus, f"the others' share of {cpus} CPUs is {share}")


def check_own(c):
    """The command itself burned a core."""
    c.expect(not [v for v in notes(c) if v["code"] == "busy_host"], f"the command's own work is noted as that of others: {notes(c)}")


CHECKS = {"first": check_first, "second": check_second, "busy": check_busy, "own": check_own}


def main(paths):
    if len(paths) != len(CHECKS):
        print(__doc__, file=sys.stderr)
        return 2
    wrong = False
    for (name, check), path in zip(CHECKS.items(), paths, strict=True):
        with open(path, encoding="utf-8") as f:
            c = Checker(json.load(f))
        c.equal("run.exit_code", 0, "the client's")
        check(c)
        check_nulls(c)
        for failure in c.failures:
            print(f"({name}) WRONG {failure}")
        print(f"({name}) {c.done} checks, {len(c.failures)} wrong")
        wrong = wrong or bool(c.failures)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
