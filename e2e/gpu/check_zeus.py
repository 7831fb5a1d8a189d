#!/usr/bin/env python3
"""Compares the energies of vobs's event with those that Zeus measured.

    check_zeus.py EVENT REPORT
"""

import json
import sys

ACTIVE = 0.1  # what vobs promises of the active energy; see docs/reliability.md
WHOLE = 0.01
MOST_WATTS = 1500  # of a real GPU, in the time that vobs's window is longer than Zeus's


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        event = json.load(f)
    with open(sys.argv[2], encoding="utf-8") as f:
        zeus = json.load(f)
    reasons = {u["field"]: u["reason"] for u in event["unavailable"]}
    failed = False

    def compare(what, got, want, tolerance, field, extra=0.0):
        nonlocal failed
        if got is None:
            print(f"e2e-zeus: FAIL: {what} is null: {reasons.get(field)}", file=sys.stderr)
            failed = True
            return
        line = f"{what}: vobs {got:.6g}, Zeus {want:.6g} ({100 * (got / want - 1):+.2f} %)"
        if not want * (1 - tolerance) <= got <= want * (1 + tolerance) + extra:
            print("e2e-zeus: FAIL:", line, file=sys.stderr)
            failed = True
        else:
            print("e2e-zeus:", line)

    gpu = event["gpus"][0]
    longer = event["run"]["duration_seconds"] - zeus["run"]["seconds"]
    compare("J of the run", gpu["energy_joules"], zeus["run"]["joules"], WHOLE, "gpus.0.energy_joules",
            MOST_WATTS * longer if zeus["real"] else 0)
    compare("J of the work", gpu["energy_active_joules"], zeus["work"]["joules"], ACTIVE, "gpus.0.energy_active_joules")
    if not zeus["real"]:  # the stand-in holds no memory on a real GPU
        efficiency = event["efficiency"] or {}
        compare("J per token", efficiency.get("joules_per_generation_token"), zeus["work"]["joules"] / zeus["tokens"], ACTIVE,
                "efficiency.joules_per_generation_token" if efficiency else "efficiency")
    sys.exit(failed)


if __name__ == "__main__":
    main()
