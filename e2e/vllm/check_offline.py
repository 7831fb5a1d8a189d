#!/usr/bin/env python3
"""Compares an event of `vobs run -- vllm bench throughput` with what the benchmark printed.

    check_offline.py --event EVENT.json --log BENCH.log

The log is the benchmark's stdout and stderr. Exit status 1 if any figure is wrong. It
needs the standard library only.
"""

import argparse
import json
import re
import sys

from check import Checker, check_nulls, codes

PRINTED = {
    "requests_per_second": r"^Throughput: ([\d.]+) requests/s",
    "prompt": r"^Total num prompt tokens:\s+(\d+)",
    "output": r"^Total num output tokens:\s+(\d+)",
}


def printed(log):
    """Returns the figures that the benchmark printed; None for those it did not print."""
    found = {key: re.search(pattern, log, re.MULTILINE) for key, pattern in PRINTED.items()}
    return {key: float(match.group(1)) if match else None for key, match in found.items()}


def check_offline(c, figures, requests):
    c.expect(None not in figures.values(), f"the benchmark did not print all figures: {figures}")
    if None in figures.values():
        return
    c.equal("run.exit_code", 0, "the command's")
    c.equal("engine.source", "multiprocess", "the benchmark has no port")
    c.equal("engine.window.base", "zero", "the directory was fresh")
    c.equal("engine.window.final", "files", "files outlive the engine")
    c.equal("engine.scrapes.errors", 0, "files can be read all the time")
    c.equal("engine.tokens.prompt", int(figures["prompt"]), "what the benchmark printed")
    c.equal("engine.tokens.generation", int(figures["output"]), "what the benchmark printed")
    c.equal("engine.requests.finished.length", requests, "the benchmark's --num-prompts")
    c.equal("engine.latency_seconds.e2e_request_latency.count", requests, "the benchmark's --num-prompts")
    # Like the benchmark's, the engine's time begins with the first request and ends with
    # the last; polls are about 0.1 s apart.
    rate = figures["requests_per_second"]
    c.number("engine.throughput.requests_per_second", 0.8 * rate, 1.25 * rate, "what the benchmark printed")
    c.number("engine.kv_cache.usage.peak", 0.5, 1, "40 blocks of 128 tokens for a hundred requests")
    c.number("engine.requests.waiting.peak", 1, requests, "the KV cache has no room for all requests")
    c.expect("final_reading_lost" not in codes(c.event), "validity: final_reading_lost, though files stay")
    c.expect(c.get("run.leftovers") == [], "the benchmark ends its processes")
    check_nulls(c)


def main(arguments=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--event", required=True)
    p.add_argument("--log", required=True)
    p.add_argument("--requests", type=int, default=100)
    args = p.parse_args(arguments)
    with open(args.event, encoding="utf-8") as f:
        c = Checker(json.load(f))
    with open(args.log, encoding="utf-8", errors="replace") as f:
        figures = printed(f.read())
    check_offline(c, figures, args.requests)
    for failure in dict.fromkeys(c.failures):
        print(f"e2e-vllm: FAIL (f) {failure}", file=sys.stderr)
    if c.failures:
        return 1
    e = c.event["engine"]
    print(
        f"e2e-vllm: PASS (f) {e['requests']['finished']['length']} requests, {e['tokens']['prompt']} prompt and {e['tokens']['generation']} generation "
        f"tokens as the benchmark printed; kv usage peak {e['kv_cache']['usage']['peak']:.3f}, {e['throughput']['requests_per_second']:.2f} requests/s "
        f"(printed: {figures['requests_per_second']:.2f}); {e['scrapes']['count']} readings; {c.done} checks"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
