#!/usr/bin/env python3
"""Compares the events of the runs in run.sh with what the workers held.

    check.py DIRECTORY
"""

import json
import os
import sys

GIB = 1 << 30
# Memory by device and process; see the script of the fake library in run.sh.
HELD = [{"a.worker": 3, "b.worker": 5}, {"b.worker": 2}, {"a.child": 1}]


def main():
    directory = sys.argv[1]
    read = lambda name: open(os.path.join(directory, name), encoding="utf-8").read()
    pids = {name: int(read(name)) for held in HELD for name in held}
    failed = []

    def check(what, got, want):
        if got != want:
            failed.append(f"{what}: {got}, wanted {want}")

    for name in "a", "b":
        event = json.loads(read(name + ".json"))
        for i, (gpu, held) in enumerate(zip(event["gpus"], HELD, strict=True)):
            ours = sum(n for process, n in held.items() if process[0] == name)
            others = sorted([pids[process], n * GIB] for process, n in held.items() if process[0] != name)
            check(f"{name}: GPU {i}: used_by_job", gpu["used_by_job"], ours > 0)
            check(f"{name}: GPU {i}: job_peak_bytes", gpu["job_peak_bytes"], ours * GIB)
            check(f"{name}: GPU {i}: foreign_processes", sorted([p["pid"], p["peak_bytes"]] for p in gpu["foreign_processes"] or []), others)
        check(f"{name}: devices_not_matched", [v["message"] for v in event["validity"] if v["code"] == "devices_not_matched"], [])
        job, environment = read(name + ".ready").split()
        print(f"e2e-ray: driver {name}: job {job}, RAY_JOB_ID of its worker {environment}: "
              + ", ".join(f"GPU {i} {(g['job_peak_bytes'] or 0) / GIB:g} GiB" for i, g in enumerate(event["gpus"])))
    event = json.loads(read("without.json"))
    reasons = {u["field"]: u["reason"] for u in event["unavailable"]}
    for i, gpu in enumerate(event["gpus"]):
        check(f"without a driver: GPU {i}: used_by_job", gpu["used_by_job"], None)
        check(f"without a driver: GPU {i}: job_peak_bytes", gpu["job_peak_bytes"], None)
        reason = reasons.get(f"gpus.{i}.used_by_job", "")
        check(f"without a driver: GPU {i}: the reason names Ray ({reason})", "no process of the command is known as a driver of Ray" in reason, True)
    print(f"e2e-ray: without a driver: {reasons.get('gpus.0.used_by_job')}")
    for line in failed:
        print("e2e-ray: FAIL:", line, file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
