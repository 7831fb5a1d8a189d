#!/usr/bin/env python3
"""Measures whether vobs slows the engine down: the same load on a running server,
with and without `vobs run` around the client, in turn.

    engine.py --url URL --vobs PATH --out DIR [--rounds 12] -- CLIENT...

Each round runs CLIENT twice, once with vobs and once without; the order changes from
round to round. Both runs send the same amounts, but different prompts (--seed), or the
second would find the prompts of the first in the prefix cache. It prints a Markdown
table: medians, ranges, and how often chance alone makes a difference as large (a
permutation test that keeps the pairs). Exit status 1: a run failed. It needs the
standard library only.
"""

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys


def permutation(differences):
    """Returns the share of all swaps within pairs whose mean difference is at least as
    large as the observed one. If it is small, the difference is not due to chance."""
    seen = abs(sum(differences))
    if len(differences) <= 16:
        signs = itertools.product((1, -1), repeat=len(differences))
    else:
        rng = random.Random(1)
        signs = ([rng.choice((1, -1)) for _ in differences] for _ in range(1 << 16))
    hits = [abs(sum(s * d for s, d in zip(sign, differences))) >= seen - 1e-12 for sign in signs]
    return sum(hits) / len(hits)


def run(args, with_vobs, seed):
    """Returns the figures of one run. A run with a failed request is repeated."""
    for attempt in range(3):
        result = try_run(args, with_vobs, seed + 500 * attempt)
        if result is not None:
            return result
    sys.exit("engine.py: three runs in a row failed")


def try_run(args, with_vobs, seed):
    load, event = os.path.join(args.out, "load.json"), os.path.join(args.out, "event.json")
    for name in (load, event):
        if os.path.exists(name):
            os.remove(name)
    command = [*args.client, "--url", args.url, "--seed", str(seed), "--out", load]
    if with_vobs:
        command = [args.vobs, "run", "-q", "--metrics-url", args.url + "/metrics", "-o", event, "--", *command]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        print(f"engine.py: repeated: {' '.join(command)} ended with {done.returncode}", file=sys.stderr)
        return None
    with open(load, encoding="utf-8") as f:
        client = json.load(f)
    result = {
        "tokens/s": client["completion_tokens"] / client["wall_seconds"],
        "mean TTFT, ms": 1e3 * client["ttft_sum_seconds"] / client["ok"],
        "mean latency, ms": 1e3 * client["e2e_sum_seconds"] / client["ok"],
    }
    if with_vobs:
        with open(event, encoding="utf-8") as f:
            event = json.load(f)
        if event["engine"] is None or event["engine"]["tokens"]["generation"] != client["completion_tokens"]:
            sys.exit("engine.py: the event's tokens differ from the client's")
        result["cost"] = 100 * event["overhead"]["cpu_seconds"] / event["run"]["duration_seconds"]
        result["polls"] = event["engine"]["scrapes"]["count"]
        result["seconds"] = event["run"]["duration_seconds"]
    return result


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--url", required=True)
    p.add_argument("--vobs", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--rounds", type=int, default=12)
    p.add_argument("client", nargs="+")
    args = p.parse_args()

    both = {True: [], False: []}
    for i in range(args.rounds):
        order = (True, False) if i % 2 else (False, True)
        for n, with_vobs in enumerate(order):
            both[with_vobs].append(run(args, with_vobs, 1000 + 2 * i + n))
        print(f"engine.py: round {i + 1} of {args.rounds}", file=sys.stderr)

    with_, without = both[True], both[False]
    print("\n| | without vobs | with vobs | difference of the medians | as large by chance |")
    print("| --- | --- | --- | --- | --- |")
    for key in without[0]:
        a, b = [r[key] for r in without], [r[key] for r in with_]
        digits = 0 if key == "tokens/s" else 1

        def cell(values):
            return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"

        change = 100 * (statistics.median(b) / statistics.median(a) - 1)
        p_value = permutation([y - x for x, y in zip(a, b)])
        print(f"| {key} | {cell(a)} | {cell(b)} | {change:+.1f} % | {100 * p_value:.0f} % |")
    print(f"\nMedians and ranges of {args.rounds} runs each, of {statistics.median(r['seconds'] for r in with_):.0f} s, with "
          f"{statistics.median(r['polls'] for r in with_):.0f} polls each; vobs itself took {statistics.median(r['cost'] for r in with_):.2f} % of one core.")


if __name__ == "__main__":
    main()
