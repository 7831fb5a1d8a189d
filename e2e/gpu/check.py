#!/usr/bin/env python3
"""Compares vobs's events with what alloc.py allocated.

    check.py CASE --context EVENT --hold EVENT --report REPORT [--only UUID]

The event of `alloc.py context` shows the size of a CUDA context; that of `alloc.py
hold`, with its REPORT, the known amounts on top of it. With --only, no other device
may have been sampled. Prints every wrong figure; exit status 1 if there is one. It
needs the standard library only.
"""

import argparse
import datetime
import json
import sys

MIB, GIB = 1 << 20, 1 << 30
# Drivers and torch allocate such sizes in pieces of 2 MiB; the amounts of two
# devices differ by 64 MiB.
TOLERANCE = 32 * MIB
USUAL, SLOWEST = 0.25, 1.0  # seconds: the longest automatic interval with an ordinary driver, and with any driver
SPIKE = 0.1  # seconds that a spike lasts
CLOCKS = 0.25  # seconds that alloc.py's wall clock and the time of a reading may differ


class Checker:
    def __init__(self, case, event):
        self.case, self.event = case, event
        self.failures, self.notes = [], []

    def expect(self, condition, message):
        if not condition:
            self.failures.append(f"{self.case}: {message}")
        return condition

    def note(self, message):
        self.notes.append(f"{self.case}: {message}")

    def reason(self, field):
        """Returns why a field, or a group above it, is null; "" if there is no entry."""
        for entry in self.event["unavailable"]:
            if field == entry["field"] or field.startswith(entry["field"] + "."):
                return entry["reason"]
        return ""

    def figure(self, gpu, i, key):
        """Returns a figure. If it is None, it must have a reason, which is noted."""
        if gpu[key] is not None:
            return gpu[key]
        reason = self.reason(f"gpus.{i}.{key}")
        if self.expect(reason, f"GPU {gpu['index']}: {key} is null without a reason"):
            self.note(f"GPU {gpu['index']}: {key} is null: {reason}")
        return None


def bare(uuid):
    """Returns a UUID without the prefix GPU- or MIG-."""
    return uuid.split("-", 1)[1].lower() if uuid[:4] in ("GPU-", "MIG-") else uuid.lower()


def by_uuid(event):
    return {bare(g["uuid"]): (i, g) for i, g in enumerate(event["gpus"] or [])}


def mib(size):
    return f"{size / MIB:.0f} MiB"


def check(case, context, event, report, only=None):
    """Checks one case; the result has the failures and notes."""
    c = Checker(case, event)
    c.expect(event["run"]["exit_code"] == 0, f"exit code {event['run']['exit_code']}")
    if not c.expect(event["gpus"], f"no GPU was sampled: {c.reason('gpus')}"):
        return c
    if only is not None:
        sampled = [g["uuid"] for g in event["gpus"]]
        c.expect([bare(u) for u in sampled] == [bare(only)], f"sampled {sampled}, wanted only {only}")
    before, gpus = by_uuid(context), by_uuid(event)
    touched = {bare(d["uuid"]) for d in report["devices"]}
    for uuid, (_, g) in gpus.items():
        if uuid not in touched:
            c.expect(not g["used_by_job"], f"GPU {g['index']}: used_by_job, but nothing was allocated on it")
    for device in report["devices"]:
        uuid = bare(device["uuid"])
        if c.expect(uuid in gpus and uuid in before, f"device {uuid} was not sampled, only {sorted(gpus)}"):
            check_device(c, device, report, before[uuid][1], *gpus[uuid])
    check_core(c)
    return c


def check_core(c):
    """peak_vram_gb is the highest peak of the devices that the command used; of all if that is not known."""
    gpus = [g for g in c.event["gpus"] if g["used_by_job"]] or c.event["gpus"]
    highest = max(g["peak_bytes"] or 0 for g in gpus)
    core = c.event["peak_vram_gb"]
    c.expect(core is not None and abs(core * GIB - highest) < MIB, f"peak_vram_gb is {core}, but the highest peak is {mib(highest)}")


def check_device(c, device, report, before, i, g):
    """Checks the figures of one device, which is gpus[i] in the event."""
    gpu = f"GPU {g['index']}"
    seconds = c.event["run"]["duration_seconds"]
    shared = g["foreign_processes"] or before["foreign_processes"]
    if shared:
        c.note(f"{gpu}: {len(shared)} other process(es) use it: only lower bounds are checked")

    # All memory of the device. There are three spikes: one may fall into a long gap, but
    # all of them only if vobs reads less often than they last, as the period shows.
    if c.expect(g["peak_bytes"] is not None and before["peak_bytes"] is not None, f"{gpu}: no peak_bytes: {c.reason(f'gpus.{i}.peak_bytes')}"):
        peak = g["peak_bytes"]
        base = c.figure(g, i, "baseline_bytes")
        if base is not None and (g["sampling"]["period_seconds"] or 0) <= SPIKE:
            c.expect(peak - base >= device["peak"] - TOLERANCE, f"{gpu}: peak - baseline is {mib(peak - base)}, but {mib(device['peak'])} were allocated")
        if not shared:
            above = peak - before["peak_bytes"]
            period = g["sampling"]["period_seconds"]
            if above < device["peak"] - TOLERANCE and period and period > SPIKE:
                c.note(f"{gpu}: all spikes of {SPIKE} s were MISSED: the budget allows a reading every {period} s only")
                above, peak = device["peak"], None
            c.expect(abs(above - device["peak"]) <= TOLERANCE, f"{gpu}: the peak is {mib(above)} above a context's, wanted {mib(device['peak'])}; the longest gap is {g['sampling']['max_gap_seconds']} s")
            started = datetime.datetime.fromisoformat(c.event["run"]["started_at"].replace("Z", "+00:00")).timestamp()
            at, first, last = started + g["peak_at_seconds"], report["spikes_from"], report["spikes_until"]
            c.expect(peak is None or first - CLOCKS <= at <= last + CLOCKS, f"{gpu}: the peak was seen at {at:.3f}, wanted {first:.3f} to {last:.3f}")

    # The command's own memory. Processes are listed less often: the held amount is the least.
    used = c.figure(g, i, "used_by_job")
    job = c.figure(g, i, "job_peak_bytes")
    if used is not None:
        c.expect(used is True, f"{gpu}: used_by_job is false")
    if job is not None:
        context = before["job_peak_bytes"]
        low = device["held"] + (context if context is not None else 0) - TOLERANCE
        c.expect(job >= low, f"{gpu}: job_peak_bytes is {mib(job)}, wanted at least {mib(low)}")
        if context is not None:
            high = device["peak"] + context + TOLERANCE
            c.expect(job <= high, f"{gpu}: job_peak_bytes is {mib(job)}, wanted at most {mib(high)}")

    # Energy, and how often the memory was read.
    if (joules := c.figure(g, i, "energy_joules")) is not None:
        c.expect(1 <= joules / seconds <= 3000, f"{gpu}: {joules} J in {seconds} s")
    # There is no engine: no time is active, and only readings before the command are idle.
    c.expect(g["energy_active_joules"] is None and c.reason(f"gpus.{i}.energy_active_joules"), f"{gpu}: energy_active_joules is {g['energy_active_joules']}, or null without a reason")
    if (watts := c.figure(g, i, "idle_watts")) is not None:
        c.expect(1 <= watts <= 2000, f"{gpu}: idle_watts is {watts}")
    for key in ("sm_active", "sm_occupancy", "tensor_active", "dram_active"):  # Hopper and later
        if (x := c.figure(g, i, key)) is not None:
            c.expect(0 <= x["mean"] <= x["max"] <= 1, f"{gpu}: {key} is {x}")
    s = g["sampling"]
    c.expect(s["errors"] == 0, f"{gpu}: {s['errors']} readings failed")
    if c.expect(s["period_seconds"], f"{gpu}: no sampling period"):
        if c.expect(s["period_seconds"] <= SLOWEST, f"{gpu}: read every {s['period_seconds']} s only") and s["period_seconds"] > USUAL:
            c.note(f"{gpu}: SLOW: read every {s['period_seconds']} s, though up to {USUAL} s is usual")
        c.expect(s["samples"] * s["period_seconds"] >= 0.5 * seconds, f"{gpu}: {s['samples']} samples every {s['period_seconds']} s do not cover {seconds} s")
    c.note(f"{gpu} ({g['name']}, driver {g['driver_version']}, {g['memory_api']}): "
           f"peak {g['peak_bytes']}, baseline {g['baseline_bytes']}, a context's peak {before['peak_bytes']}, job peak {g['job_peak_bytes']}, "
           f"{g['energy_joules']} J, every {s['period_seconds']} s, longest gap {s['max_gap_seconds']} s")


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("case")
    for name in ("context", "hold", "report"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--only")
    a = p.parse_args()
    event, report = load(a.hold), load(a.report)
    c = check(a.case, load(a.context), event, report, a.only)
    cost, rss = event["overhead"]["cpu_seconds"], event["overhead"]["max_rss_bytes"]
    c.note(f"allocated by {report['allocator']}; vobs took {cost} CPU-seconds in {event['run']['duration_seconds']} s, and {rss} bytes")
    for line in c.notes:
        print("e2e-gpu:", line)
    for line in c.failures:
        print("e2e-gpu: FAIL:", line, file=sys.stderr)
    sys.exit(1 if c.failures else 0)


if __name__ == "__main__":
    main()
