#!/usr/bin/env python3
"""Makes runs.jsonl: the events of a `vobs ab -n 8` whose side B is 6 % slower.

    vobs run -o event.json -- …; python3 make.py event.json >runs.jsonl

The event is one of `make demo`. Each run gets its own figures, with noise of 1 %, and less
of what the comparison does not read, so that the file is small. The seed is fixed.
"""

import copy
import datetime
import json
import math
import random
import sys

PAIRS = 8
SLOWER = 0.94
NOISE = 0.01


def main(path):
    with open(path, encoding="utf-8") as f:
        event = json.load(f)
    event["series"] = None
    event["run"].update(command=["python3", "bench.py"], hostname="bench-01", vobs_version="0.1.0")
    engine = event["engine"]
    engine["latency_seconds"] = {
        name: value if name in ("time_to_first_token", "inter_token_latency", "e2e_request_latency") else None
        for name, value in engine["latency_seconds"].items()
    }
    for name in ("per_iteration", "prompt_by_source"):
        engine["tokens"][name] = None
    engine["endpoints"][0].update(url="http://127.0.0.1:8000/metrics", process_start_time=None)
    event["validity"] = []
    event["unavailable"] = [{"field": name, "reason": "left out"} for name in ("series", "engine", "omni", "gpus", "host", "run", "flags_checked", "flags_unchecked", "flag_mismatches", "efficiency")]
    start = datetime.datetime(2026, 11, 2, 9, 0, tzinfo=datetime.timezone.utc)
    rng = random.Random(1)
    for position in range(1, 2 * PAIRS + 1):
        pair = (position + 1) // 2
        side = "AB"[(position + 1 + pair % 2) % 2]
        e = copy.deepcopy(event)
        speed = (SLOWER if side == "B" else 1) * math.exp(NOISE * rng.gauss(0, 1))
        began = start + datetime.timedelta(seconds=45 * position)
        e["run"].update(
            id=f"019a4000-0000-7000-8000-{position:012d}",
            labels={"ab.side": side, "ab.pair": str(pair), "ab.position": str(position)},
            started_at=began.isoformat().replace("+00:00", "Z"),
            ended_at=(began + datetime.timedelta(seconds=30)).isoformat().replace("+00:00", "Z"),
            duration_seconds=round(30 / speed, 3),
        )
        if side == "B":
            e["run"]["command"] = ["python3", "bench.py", "--no-cache"]
        t = e["engine"]["throughput"]
        for name in t:
            if isinstance(t[name], float):
                t[name] = round(t[name] * speed, 2)
        for d in e["engine"]["latency_seconds"].values():
            if d:
                d["mean"] = round(d["mean"] / speed, 6)
                d["sum"] = round(d["mean"] * d["count"], 4)
        e["peak_vram_gb"] = round(e["peak_vram_gb"] - 0.002 * rng.random(), 4)
        print(json.dumps(e, separators=(",", ":")))


if __name__ == "__main__":
    main(sys.argv[1])
