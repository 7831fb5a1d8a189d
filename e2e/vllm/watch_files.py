#!/usr/bin/env python3
"""Reads the gauges of an engine from its multiprocess files, with prometheus_client, a
hundred times a second, until it is sent TERM. It runs in vLLM's environment, shares no
code with vobs and costs the engine nothing.

    watch_files.py DIRECTORY OUT.json
    watch_files.py --server PID OUT.json    the directory that vLLM made for its API servers

OUT.json gets the summary: for each gauge its peak, its integral over the time and how long
each level was held at most, and for how long requests were running.
"""

import glob
import json
import os
import signal
import sys
import time

from prometheus_client.multiprocess import MultiProcessCollector

PERIOD = 0.01
GAUGES = {"running": "vllm:num_requests_running", "waiting": "vllm:num_requests_waiting", "usage": "vllm:kv_cache_usage_perc"}


def directory_of(server):
    """Returns the directory in the environment of a process in the server's session."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) != server:
                continue
            with open(f"/proc/{pid}/environ", "rb") as f:
                found = [v for v in f.read().split(b"\0") if v.startswith(b"PROMETHEUS_MULTIPROC_DIR=")]
        except OSError:
            continue
        if found:
            return os.fsdecode(found[0].partition(b"=")[2])
    sys.exit(f"watch_files: no process of session {server} has PROMETHEUS_MULTIPROC_DIR")


def read(directory):
    """Returns the value of each gauge, as prometheus_client's collector adds them up."""
    metrics = MultiProcessCollector.merge(glob.glob(os.path.join(directory, "gauge_*.db")), accumulate=True)
    values = {m.name: sum(s.value for s in m.samples) for m in metrics}
    return {key: values.get(name, 0.0) for key, name in GAUGES.items()}


def held(history, key):
    """Returns for each value of a gauge the longest time for which it was at least that. history
    has the readings at which any gauge changed, and the last one."""
    out = []
    for level in sorted({values[key] for _, values in history} - {0.0}):
        longest, since = 0.0, None
        for at, values in history:
            if since is not None:
                longest = max(longest, at - since)
            if values[key] < level:
                since = None
            elif since is None:
                since = at
        out.append((level, longest))
    return out


def main():
    directory = directory_of(int(sys.argv[2])) if sys.argv[1] == "--server" else sys.argv[1]
    out = sys.argv[-1]
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    summary = {"directory": directory, "readings": 0, "longest_gap": 0.0, "busy_seconds": 0.0, **{key: {"peak": 0.0, "integral": 0.0} for key in GAUGES}}
    before, last, history = None, time.monotonic(), []
    print("watching", directory, flush=True)
    while not stop:
        now = time.monotonic()
        try:
            values = read(directory)
        except (OSError, ValueError):  # the server has removed its files, or creates one
            values = None
        if values:
            summary["readings"] += 1
            for key, value in values.items():
                summary[key]["peak"] = max(summary[key]["peak"], value)
                if before:
                    summary[key]["integral"] += before[key] * (now - last)
            if before and before["running"] > 0:
                summary["busy_seconds"] += now - last
            summary["longest_gap"] = max(summary["longest_gap"], now - last)
            if values != before:
                history.append((now, values))
            before, last = values, now
        time.sleep(max(0.0, now + PERIOD - time.monotonic()))
    if before:
        history.append((last, before))
    for key in GAUGES:
        summary[key]["held"] = held(history, key)
    with open(out, "w", encoding="utf-8") as f:
        json.dump(summary, f, indent=1)


if __name__ == "__main__":
    main()
