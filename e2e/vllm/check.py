#!/usr/bin/env python3
"""Compares an event of vobs with what the client of the same run counted.

    check.py a|b --event EVENT.json --client LOAD.json [--client WARMUP.json] ...

Case a: the server ran before the command. Case b: the command started and
ended the server. Every figure that is wrong is told; exit status 1 if any is.
Standard library only.
"""

import argparse
import json
import math
import sys

# Nulls that mean "does not apply" and need no reason.
BARE_NULLS = {"mig_of", "stage", "replica", "above", "evidence"}
BARE_PATHS = {"run.signal", "run.start_error"}


class Checker:
    def __init__(self, event):
        self.event = event
        self.failures = []
        self.notes = []
        self.done = 0

    def expect(self, condition, message):
        self.done += 1
        if not condition:
            self.failures.append(message)

    def get(self, path):
        """The value at a dotted path; None, and a failure, where there is no such key."""
        value = self.event
        for key in path.split("."):
            if isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            elif isinstance(value, dict) and key in value:
                value = value[key]
            else:
                self.expect(False, f"{path}: not in the event (at {key!r}{', a group that is null' if value is None else ''})")
                return None
        return value

    def equal(self, path, wanted, why):
        value = self.get(path)
        # 1 == True in Python, not here.
        self.expect(
            value == wanted and isinstance(value, bool) == isinstance(wanted, bool),
            f"{path}: {value!r}, expected {wanted!r} ({why})",
        )

    def number(self, path, low, high, why):
        """A number within [low, high]; returns it, or nan."""
        value = self.get(path)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.expect(False, f"{path}: {value!r}, expected a number ({why})")
            return math.nan
        self.expect(low <= value <= high, f"{path}: {value!r}, expected {low:.6g} to {high:.6g} ({why})")
        return value


def close(a, b, relative=1e-6):
    return isinstance(a, (int, float)) and isinstance(b, (int, float)) and math.isclose(a, b, rel_tol=relative, abs_tol=1e-9)


def nulls(value, path=()):
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from nulls(inner, path + (key,))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from nulls(inner, path + (str(index),))


def check_nulls(c):
    """Every null has a reason, for itself or for a group above it."""
    reasons = {}
    for i, entry in enumerate(c.get("unavailable") or []):
        field, reason = entry.get("field"), entry.get("reason")
        c.expect(
            isinstance(field, str) and field and isinstance(reason, str) and reason.strip(),
            f"unavailable.{i}: {entry!r} has no field or no reason",
        )
        reasons[field] = reason
    for path in nulls(c.event):
        dotted = ".".join(path)
        if path[-1] in BARE_NULLS or "evidence" in path or dotted in BARE_PATHS:
            continue
        if dotted == "run.exit_code" and c.event.get("run", {}).get("signal"):
            continue
        above = {".".join(path[: n + 1]) for n in range(len(path))}
        c.expect(above & reasons.keys(), f"{dotted}: null, and `unavailable` says nothing about it")
    # No failure: a reason may be about what no key stands for.
    for field in reasons:
        value = c.event
        for key in field.split("."):
            if isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            elif isinstance(value, dict) and key in value:
                value = value[key]
            elif value is None:
                break
            else:
                c.notes.append(f"unavailable names {field}, which is no key of the event")
                break


def total(clients, key):
    return sum(client[key] for client in clients)


def codes(event):
    return {v.get("code") for v in event.get("validity") or []}


def check_common(c, clients, model, concurrency):
    ok, prompt, generated = (total(clients, k) for k in ("ok", "prompt_tokens", "completion_tokens"))
    load = max(clients, key=lambda client: client["wall_seconds"])

    # The client itself: without this an empty run would pass.
    c.expect(ok > 0 and ok == total(clients, "requests"), f"client: {ok} of {total(clients, 'requests')} requests ok")
    c.expect(prompt == total(clients, "sent_prompt_tokens"), "client: the server counted other prompt tokens than were sent")
    c.expect(generated == total(clients, "sent_max_tokens"), "client: the server made other numbers of tokens than were asked for")

    c.equal("run.exit_code", 0, "the command's")
    c.equal("run.signal", None, "no signal killed it")
    c.equal("partial", False, "the run ended")
    c.expect("engine_died" not in codes(c.event), "validity: engine_died, of an engine that lived until it was asked to end")
    c.number("run.duration_seconds", total(clients, "wall_seconds"), 3600, "longer than the client's load")

    c.equal("engine.source", "http", "the server's /metrics")
    models = c.get("engine.models")
    c.expect(isinstance(models, list) and model in models, f"engine.models: {models!r}, expected {model!r} in it")

    finished = c.get("engine.requests.finished")
    c.expect(
        isinstance(finished, dict) and sum(v or 0 for v in finished.values()) == ok,
        f"engine.requests.finished: {finished!r}, expected {ok} in all (the client's ok)",
    )
    if isinstance(finished, dict):
        c.expect(finished.get("length") == ok, f"engine.requests.finished.length: {finished.get('length')!r}, expected {ok} (ignore_eos)")
    c.equal("engine.requests.preemptions", 0, "the cache is large")
    c.number("engine.requests.running.peak", 1, concurrency, "at most the client's concurrency")
    c.equal("engine.requests.running.last", 0, "drained")

    c.equal("engine.tokens.prompt", prompt, "the client's")
    c.equal("engine.tokens.generation", generated, "the client's")
    for key, count, amount in (
        ("prompt_per_request", ok, prompt),
        ("generation_per_request", ok, generated),
    ):
        c.equal(f"engine.tokens.{key}.count", count, "one each request")
        c.equal(f"engine.tokens.{key}.sum", amount, "the client's")
    sources = c.get("engine.tokens.prompt_by_source")
    if isinstance(sources, dict):
        c.expect(sum(v or 0 for v in sources.values()) == prompt, f"engine.tokens.prompt_by_source: {sources!r} adds up to other than {prompt}")

    c.number("engine.kv_cache.usage.peak", 1e-9, 1, "requests were running")
    c.equal("engine.kv_cache.usage.last", 0.0, "drained")
    c.equal("kv_cache_usage_perc", 0.0, "the last reading")
    c.expect(type(c.event.get("kv_cache_usage_perc")) is float, "kv_cache_usage_perc: no fraction in the JSON")
    c.number("engine.kv_cache.num_gpu_blocks", 1, 1e9, "the engine tells it")
    c.number("engine.kv_cache.block_size", 1, 1e6, "the engine tells it")

    c.equal("engine.prefix_cache.local.queries", prompt, "every prompt token is asked for")
    hits = c.number("engine.prefix_cache.local.hits", 1, prompt, "the prompts share a prefix of more than a block")
    rate = hits / prompt if prompt else None
    for path in ("engine.prefix_cache.local.hit_rate", "prefix_cache_hit_rate"):
        value = c.get(path)
        c.expect(close(value, rate), f"{path}: {value!r}, expected {rate!r} (hits / queries)")
    if isinstance(sources, dict):
        c.equal("engine.tokens.prompt_by_source.local_cache_hit", hits, "the prefix cache's hits")

    for key in ("time_to_first_token", "e2e_request_latency", "request_prefill_time", "request_decode_time", "request_queue_time", "request_inference_time"):
        c.equal(f"engine.latency_seconds.{key}.count", ok, "one each request")
    c.equal("engine.latency_seconds.inter_token_latency.count", generated - ok, "one between each two tokens")
    for key, theirs in (("time_to_first_token", "ttft_sum_seconds"), ("e2e_request_latency", "e2e_sum_seconds")):
        mean = total(clients, theirs) / ok if ok else math.nan
        path = f"engine.latency_seconds.{key}"
        value = c.number(f"{path}.mean", 1e-6, mean, "the client's mean, which has the way there and back in it")
        c.expect(value > mean * 0.2, f"{path}.mean: {value!r}, less than a fifth of the client's {mean:.4g}")
        sums = c.get(f"{path}.sum")
        c.expect(ok and close(sums, value * ok), f"{path}: the mean is not sum / count")

    c.number("engine.scrapes.count", 3, 1e6, "it was polled through the run")
    window = c.number("engine.window.duration_seconds", total(clients, "wall_seconds") * 0.9, 3600, "it spans the client's load")
    c.equal("engine.window.resets", 0, "one server")

    # The rates. Active time is told by polls, so it may be too long by a gap at
    # each end of each load.
    walls = total(clients, "wall_seconds")
    gap = c.number("engine.scrapes.max_gap_seconds", 0, 60, "the longest gap")
    active = c.get("engine.window.active_seconds_est")
    if "short_window" in codes(c.event):
        base = window
    else:
        base = c.number("engine.window.active_seconds_est", load["wall_seconds"] * 0.8, walls + len(clients) * (2 * gap + 1), "about the client's wall time")
    for key, amount in (
        ("generation_tokens_per_second", generated),
        ("prompt_tokens_per_second", prompt),
        ("requests_per_second", ok),
    ):
        value = c.get(f"engine.throughput.{key}")
        c.expect(base and close(value, amount / base, 0.01), f"engine.throughput.{key}: {value!r}, expected {amount} / {base:.4g} s (active {active!r})")
    c.number(
        "engine.throughput.generation_tokens_per_second",
        generated / (walls + len(clients) * (2 * gap + 1)) if "short_window" not in codes(c.event) else generated / window * 0.99,
        generated / (load["wall_seconds"] * 0.8),
        "by the client's wall time",
    )

    instances = c.get("engine.instances") or []
    c.expect(len(instances) == 1, f"engine.instances: {len(instances)}, expected 1")
    if instances:
        c.equal("engine.instances.0.generation_tokens", generated, "the one engine's")
        c.equal("engine.instances.0.prompt_tokens", prompt, "the one engine's")
        c.equal("engine.instances.0.requests_finished", ok, "the one engine's")

    host = c.get("host")
    if isinstance(host, dict):
        c.number("host.tree_cpu_seconds", 1e-3, 1e6, "the command computed")
        c.number("host.tree_peak_rss_bytes", 1e6, 1e12, "the command had memory")
    if c.get("run.leftovers"):
        c.notes.append(f"run.leftovers: {c.event['run']['leftovers']}")
    check_nulls(c)


def check_a(c, args):
    c.equal("engine.window.base", "scraped", "the server was up before the start")
    c.equal("engine.window.final", "settled", "the server outlived the command")
    c.equal("engine.scrapes.errors", 0, "the server was up all the time")
    c.expect("final_reading_lost" not in codes(c.event), "validity: final_reading_lost, though the server lives")
    if args.port:
        url = c.get("engine.endpoints.0.url")
        c.expect(f":{args.port}/" in f"{url}/", f"engine.endpoints.0.url: {url!r}, expected port {args.port}")


def check_b(c, args):
    c.equal("engine.window.base", "zero", "the server came up inside the run")
    final = c.get("engine.window.final")
    c.expect(final in ("settled", "last_good", "before_signal"), f"engine.window.final: {final!r}")
    if final != "settled":
        # The client is done and quiet for seconds before the server is ended:
        # the last good reading has it all, so equality is asked for above.
        c.number("engine.window.final_age_seconds", 1e-6, 60, "the server was gone before the end")
        c.expect("final_reading_lost" in codes(c.event), f"validity: no final_reading_lost beside window.final {final!r}")
    if args.port:
        url = c.get("engine.endpoints.0.url")
        c.expect(f":{args.port}/" in f"{url}/", f"engine.endpoints.0.url: {url!r}, expected port {args.port}")
    # The engine's processes belong to the command here: an engine that was left
    # out would show a few megabytes and seconds.
    c.number("host.tree_peak_rss_bytes", 5e8, 1e12, "the engine's processes are in the tree")
    c.number("host.tree_cpu_seconds", 5, 1e6, "the engine's processes are in the tree")


def main(arguments=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("case", choices=("a", "b"))
    p.add_argument("--event", required=True)
    p.add_argument("--client", required=True, action="append", help="a summary of client.py; repeatable: they are added up")
    p.add_argument("--model", default="tiny")
    p.add_argument("--port", type=int)
    args = p.parse_args(arguments)

    with open(args.event, encoding="utf-8") as f:
        text = f.read()
    event = json.loads(text)
    if text.count("\n") != 1 or not text.endswith("\n"):
        print(f"e2e-vllm: {args.event}: not one line of JSON", file=sys.stderr)
        return 1
    clients = []
    for path in args.client:
        with open(path, encoding="utf-8") as f:
            clients.append(json.load(f))

    c = Checker(event)
    check_common(c, clients, args.model, max(client["concurrency"] for client in clients))
    {"a": check_a, "b": check_b}[args.case](c, args)

    for note in c.notes:
        print(f"e2e-vllm: note ({args.case}): {note}")
    if c.failures:
        for failure in dict.fromkeys(c.failures):
            print(f"e2e-vllm: FAIL ({args.case}) {failure}", file=sys.stderr)
        print(f"e2e-vllm: FAIL ({args.case}) {len(dict.fromkeys(c.failures))} of {c.done} checks", file=sys.stderr)
        return 1
    e = event["engine"]
    print(
        f"e2e-vllm: PASS ({args.case}) {total(clients, 'ok')} requests, {e['tokens']['prompt']:.0f} prompt and "
        f"{e['tokens']['generation']:.0f} generation tokens as the client counted; {c.done} checks"
    )
    print(
        f"e2e-vllm:      kv usage peak {e['kv_cache']['usage']['peak']:.5f}, last {e['kv_cache']['usage']['last']:.1f}; prefix hit rate "
        f"{e['prefix_cache']['local']['hit_rate']:.4f}; {e['throughput']['generation_tokens_per_second']:.0f} tokens/s over "
        f"{e['window']['active_seconds_est'] or math.nan:.2f} s active (client: {total(clients, 'wall_seconds'):.2f} s)"
    )
    print(
        f"e2e-vllm:      window {e['window']['base']} to {e['window']['final']}, {e['scrapes']['count']} scrapes; TTFT mean "
        f"{e['latency_seconds']['time_to_first_token']['mean'] * 1e3:.1f} ms (client: {total(clients, 'ttft_sum_seconds') / total(clients, 'ok') * 1e3:.1f} ms); "
        f"{len(event['unavailable'])} unavailable, validity: {', '.join(sorted(codes(event))) or 'none'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
