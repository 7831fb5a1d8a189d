#!/usr/bin/env python3
"""Compares the event of a `vobs load --observe` with the engine's own pages before and after.

    check_load.py closed|open|chat|openchat EVENT.json BEFORE.prom AFTER.prom

Requests and tokens of the client and of the engine are equal; the client's latencies are not
below the engine's; the shared prefix (closed) gives the hit rate that arithmetic predicts.
Prints every wrong figure; exit status 1 if there is one. It needs the standard library only.
"""

import json
import sys

from check import Checker, check_nulls, close, codes, gained, read_page

NAMES = ("closed", "open", "chat", "openchat")
# Of case closed: every prompt has so many tokens, of which the first ones are shared.
PROMPT, SHARED = 400, 300
LATENCIES = ("time_to_first_token", "inter_token_latency", "time_per_output_token", "e2e_request_latency")


def mean(client, key):
    """The client's number of observations and their mean, those of the warm-up included."""
    parts = [group["latency_seconds"][key] for group in (client, client["warmup"]) if group and group["latency_seconds"][key]]
    count = sum(p["count"] for p in parts)
    return count, sum(p["count"] * (p["mean"] or 0) for p in parts) / count if count else None


def check_counts(c, pages):
    """Requests and tokens; returns the number of requests."""
    client = c.get("client")
    groups = [g for g in (client, client["warmup"]) if g]
    for g in groups:
        r = g["requests"]
        c.expect(r["completed"] == r["started"] > 0 and r["failed"] == {} and r["cancelled"] == 0, f"client: not all requests were completed: {r}")
        c.expect(g["tokens"]["from"] == "usage", f"client: tokens from {g['tokens']['from']}")
    requests = sum(g["requests"]["completed"] for g in groups)
    settings = client["settings"]
    c.expect(client["requests"]["completed"] == settings["requests"], f"client: {client['requests']}, and {settings['requests']} were asked for")
    warmup = client["warmup"]["requests"]["completed"] if client["warmup"] else 0
    c.expect(str(warmup) == settings.get("warmup", "0"), f"client: {warmup} in the warm-up, and {settings.get('warmup')} were asked for")
    finished = c.get("engine.requests.finished") or {}
    c.expect(sum(finished.values()) == finished.get("length") == requests, f"engine.requests.finished: {finished}, expected {requests}, all by their length")
    for ours, theirs, metric in (
        (requests, sum(finished.values()), "vllm:request_success_total"),
        (sum(g["tokens"]["prompt"] for g in groups), c.get("engine.tokens.prompt"), "vllm:prompt_tokens_total"),
        (sum(g["tokens"]["generation"] for g in groups), c.get("engine.tokens.generation"), "vllm:generation_tokens_total"),
    ):
        c.expect(ours == theirs == gained([pages], metric), f"{metric}: {ours} at the client, {theirs} in the engine's group, {gained([pages], metric)} on its pages")
    return requests


def check_latencies(c, requests):
    client = c.get("client")
    for key in LATENCIES:
        count, ours = mean(client, key)
        theirs = c.get(f"engine.latency_seconds.{key}.mean")
        difference = c.get(f"client.engine_difference_seconds.{key}")
        if key in ("time_to_first_token", "e2e_request_latency"):
            c.expect(count == requests, f"client: {count} observations of {key} in {requests} requests")
            c.expect(ours >= theirs > ours / 5, f"client: {key} of {ours}, and the engine's is {theirs}")
        if count == c.get(f"engine.latency_seconds.{key}.count"):
            c.expect(close(difference, ours - theirs), f"client.engine_difference_seconds.{key}: {difference}, expected {ours} - {theirs}")
        else:
            c.expect(difference is None, f"client.engine_difference_seconds.{key}: {difference}, though the counts differ")
    c.expect("engine_shared" not in codes(c.event), "validity: engine_shared, though nothing else used the engine")
    c.equal("client.latency_seconds.send_lateness.count", client["requests"]["started"], "each request")


def check_prefix(c, requests):
    """The first request computes the shared blocks, all others find them."""
    block = c.get("engine.kv_cache.block_size")
    per_request = SHARED // block * block
    c.expect(0 < per_request < SHARED, f"blocks of {block} tokens: the case does not show that only whole blocks are shared")
    c.equal("engine.prefix_cache.local.queries", requests * PROMPT, "every prompt token")
    c.equal("engine.prefix_cache.local.hits", (requests - 1) * per_request, f"whole blocks of {block} of {SHARED} shared tokens, in all requests but the first")
    rate = (requests - 1) * per_request / (requests * PROMPT)
    c.expect(close(c.get("prefix_cache_hit_rate"), rate), f"prefix_cache_hit_rate: {c.get('prefix_cache_hit_rate')}, expected {rate}")


def check(name, event, pages):
    c = Checker(event)
    c.equal("run.exit_code", 0, "the load's")
    c.equal("client.tool", "vobs load", "it measured")
    c.equal("engine.window.base", "scraped", "the server was up before the start")
    c.equal("engine.window.final", "settled", "the server outlived the load")
    requests = check_counts(c, pages)
    check_latencies(c, requests)
    if name == "closed":
        check_prefix(c, requests)
    check_nulls(c)
    return c


def main(arguments):
    if len(arguments) != 4 or arguments[0] not in NAMES:
        print(__doc__, file=sys.stderr)
        return 2
    name, path, before, after = arguments
    with open(path, encoding="utf-8") as f:
        event = json.load(f)
    c = check(name, event, (read_page(before), read_page(after)))
    for failure in c.failures:
        print(f"e2e-vllm: FAIL (l {name}) {failure}", file=sys.stderr)
    client = event["client"]
    difference = client["engine_difference_seconds"] or {}
    print(
        f"e2e-vllm: {'FAIL' if c.failures else 'PASS'} (l {name}) {sum(event['engine']['requests']['finished'].values())} requests, "
        f"{event['engine']['tokens']['prompt']} prompt and {event['engine']['tokens']['generation']} generated tokens at both; hit rate "
        f"{event['prefix_cache_hit_rate']}; client less engine in ms: "
        + ", ".join(f"{key} {'null' if difference.get(key) is None else round(1e3 * difference[key], 3)}" for key in LATENCIES)
        + f"; {c.done} checks, {len(c.failures)} wrong"
    )
    return 1 if c.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
