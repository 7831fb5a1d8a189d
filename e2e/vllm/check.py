#!/usr/bin/env python3
"""Compares an event of vobs with what the client of the same run counted.

    check.py a|b|d|e|n --event EVENT.json --client LOAD.json [--client WARMUP.json] ...
        [--pages BEFORE.prom AFTER.prom] ...

Case a: the server ran before the command. Case b: the command started and
stopped the server. Case d: two servers ran, each with its own client at the same
time; the second has prefix caching off. Case e: as a, with speculative decoding.
Case n: as b, with several API servers, which share their metrics in files. Pages
are the servers' own, read by another program. Prints every wrong figure; exit
status 1 if there is one. It needs the standard library only.
"""

import argparse
import json
import math
import re
import sys

# Nulls that mean "does not apply" and need no reason.
BARE_NULLS = {"mig_of", "stage", "replica", "above", "mean_bounds", "evidence"}
BARE_PATHS = {"run.signal", "run.start_error", "client", "client.slo", "client.goodput", "client.warmup", "diagnosis"}


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
        """Returns the value at a dotted path. A missing key is a failure; the value is None then."""
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
        """Checks for a number within [low, high]; returns it, or nan."""
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
        if len(path) > 2 and (path[-2].endswith(("_bounds", "p99_interval")) and path[-1] == "1" or path[-3] == "buckets" and path[-1] == "0"):
            continue  # nothing bounds the figure from above; a bucket up to +Inf
        if path[:2] == ("series", "curves") and path[-1].isdigit():
            continue  # a slot without a reading
        if dotted == "run.exit_code" and c.event.get("run", {}).get("signal"):
            continue
        above = {".".join(path[: n + 1]) for n in range(len(path))}
        c.expect(above & reasons.keys(), f"{dotted}: null without an entry in `unavailable`")
    # Not a failure: a reason may concern something that has no key.
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
                c.notes.append(f"unavailable names {field}, which is not a key of the event")
                break


def total(clients, key):
    return sum(client[key] for client in clients)


def read_page(path):
    """Returns the samples of a /metrics page: (name, labels) -> value."""
    samples = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            m = re.match(r"(vllm:\w+|http_requests_total)\{(.*)\} (\S+)$", line)
            if m:
                samples[m[1], frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2]))] = float(m[3])
    return samples


def gained(pages, name, **labels):
    """Returns the increase of all series with this name and these labels, over all servers."""
    return sum(
        value - before.get(key, 0.0) for before, after in pages for key, value in after.items() if key[0] == name and labels.items() <= set(key[1])
    )


def codes(event):
    return {v.get("code") for v in event.get("validity") or []}


def check_common(c, clients, model, side_by_side=False, cached=None, speculative=False, source="http"):
    """Checks what holds in every case. side_by_side: each client had its own server, all
    at the same time. cached: the clients whose server has prefix caching on; default: all."""
    cached = clients if cached is None else cached
    concurrency = (sum if side_by_side else max)(client["concurrency"] for client in clients)
    walls = (max if side_by_side else sum)(client["wall_seconds"] for client in clients)
    ok, prompt, generated = (total(clients, k) for k in ("ok", "prompt_tokens", "completion_tokens"))
    load = max(clients, key=lambda client: client["wall_seconds"])

    # The client itself: without this an empty run would pass.
    c.expect(ok > 0 and ok == total(clients, "requests"), f"client: {ok} of {total(clients, 'requests')} requests ok")
    c.expect(prompt == total(clients, "sent_prompt_tokens"), "client: the server did not count as many prompt tokens as were sent")
    c.expect(generated == total(clients, "sent_max_tokens"), "client: the server did not generate as many tokens as were requested")

    c.equal("run.exit_code", 0, "the command's")
    c.equal("run.signal", None, "no signal killed it")
    c.equal("partial", False, "the run ended")
    c.expect("engine_died" not in codes(c.event), "validity: engine_died, though the engine lived until it was stopped")
    c.number("run.duration_seconds", walls, 3600, "longer than the client's load")

    c.equal("engine.source", source, "where the server's metrics are")
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
        c.equal(f"engine.tokens.{key}.count", count, "one per request")
        c.equal(f"engine.tokens.{key}.sum", amount, "the client's")
    sources = c.get("engine.tokens.prompt_by_source")
    if isinstance(sources, dict):
        c.expect(sum(v or 0 for v in sources.values()) == prompt, f"engine.tokens.prompt_by_source: {sources!r} does not add up to {prompt}")

    c.number("engine.kv_cache.usage.peak", 1e-9, 1, "requests were running")
    c.equal("engine.kv_cache.usage.last", 0.0, "drained")
    c.equal("kv_cache_usage_perc", 0.0, "the last reading")
    c.expect(type(c.event.get("kv_cache_usage_perc")) is float, "kv_cache_usage_perc: no fraction in the JSON")
    c.number("engine.kv_cache.num_gpu_blocks", 1, 1e9, "the engine reports it")
    c.number("engine.kv_cache.block_size", 1, 1e6, "the engine reports it")

    asked = total(cached, "prompt_tokens")
    c.equal("engine.prefix_cache.local.queries", asked, "every prompt token is looked up if caching is on")
    hits = c.number("engine.prefix_cache.local.hits", 1, asked, "the prompts share a prefix of more than a block")
    rate = hits / asked if asked else None
    for path in ("engine.prefix_cache.local.hit_rate", "prefix_cache_hit_rate"):
        value = c.get(path)
        c.expect(close(value, rate), f"{path}: {value!r}, expected {rate!r} (hits / queries)")
    if isinstance(sources, dict):
        c.equal("engine.tokens.prompt_by_source.local_cache_hit", hits, "the prefix cache's hits")

    for key in ("time_to_first_token", "e2e_request_latency", "request_prefill_time", "request_decode_time", "request_queue_time", "request_inference_time"):
        c.equal(f"engine.latency_seconds.{key}.count", ok, "one per request")
    if not speculative:
        c.equal("engine.latency_seconds.inter_token_latency.count", generated - ok, "one between two tokens")
    for key, theirs in (("time_to_first_token", "ttft_sum_seconds"), ("e2e_request_latency", "e2e_sum_seconds")):
        mean = total(clients, theirs) / ok if ok else math.nan
        path = f"engine.latency_seconds.{key}"
        value = c.number(f"{path}.mean", 1e-6, mean, "the client's mean, which includes the network")
        c.expect(value > mean * 0.2, f"{path}.mean: {value!r}, less than a fifth of the client's {mean:.4g}")
        sums = c.get(f"{path}.sum")
        c.expect(ok and close(sums, value * ok), f"{path}: the mean is not sum / count")

    c.number("engine.scrapes.count", 3, 1e6, "it was polled throughout the run")
    window = c.number("engine.window.duration_seconds", walls * 0.9, 3600, "it spans the client's load")
    c.equal("engine.window.resets", 0, "one server")

    # The rates. Active time comes from polls, so it may be too long by a gap at
    # each end of each load.
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
        # Polls that followed the last page show the tokens: their time is longer by these.
        longest = (base or math.nan) + ((c.get("engine.window.final_age_seconds") or 0) if base is window and key != "requests_per_second" else 0)
        c.expect(base and value is not None and amount / longest * 0.99 <= value <= amount / base * 1.01, f"engine.throughput.{key}: {value!r}, expected {amount} / {base:.4g} s (active {active!r})")
    c.number(
        "engine.throughput.generation_tokens_per_second",
        generated / (walls + len(clients) * (2 * gap + 1)) if "short_window" not in codes(c.event) else generated / (window + (c.get("engine.window.final_age_seconds") or 0)) * 0.99,
        generated / (load["wall_seconds"] * 0.8),
        "by the client's wall time",
    )

    instances = c.get("engine.instances") or []
    engines = [[client] for client in clients] if side_by_side else [clients]
    c.expect(len(instances) == len(engines), f"engine.instances: {len(instances)}, expected {len(engines)}")
    for i, theirs in enumerate(engines[: len(instances)]):
        c.equal(f"engine.instances.{i}.endpoint", i, "one engine at each")
        c.equal(f"engine.instances.{i}.generation_tokens", total(theirs, "completion_tokens"), "this engine's")
        c.equal(f"engine.instances.{i}.prompt_tokens", total(theirs, "prompt_tokens"), "this engine's")
        c.equal(f"engine.instances.{i}.requests_finished", total(theirs, "ok"), "this engine's")

    host = c.get("host")
    if isinstance(host, dict):
        c.number("host.tree_cpu_seconds", 1e-3, 1e6, "the command computed")
        c.number("host.tree_peak_rss_bytes", 1e6, 1e12, "the command used memory")
    if c.get("run.leftovers"):
        c.notes.append(f"run.leftovers: {c.event['run']['leftovers']}")
    check_nulls(c)


# The flags of env.sh and run.sh, as the engine reports them.
SETTINGS = {"enable_chunked_prefill": True, "enable_prefix_caching": True, "kv_cache_dtype": "auto"}
WIDER = {"max_model_len": 512, "enforce_eager": True, "load_format": "dummy", "dtype": "bfloat16", "tensor_parallel_size": 1, "scheduling_policy": "fcfs"}


def check_settings(c, **flags):
    """Checks the configuration that the engine reports at /server_info."""
    config = c.get("engine_runtime_config") or {}
    for key, wanted in {**SETTINGS, **flags}.items():
        c.expect(config.get(key) == wanted, f"engine_runtime_config.{key}: {config.get(key)!r}, expected {wanted!r}")
    c.expect(isinstance(config.get("max_num_seqs"), int) and isinstance(config.get("max_num_batched_tokens"), int), f"engine_runtime_config: {config!r}")
    c.expect(("speculative_method" in config) == ("speculative_method" in flags), f"engine_runtime_config.speculative_method: {config!r}")
    for key, wanted in WIDER.items():
        c.equal(f"engine.config.values.{key}", wanted, "the server's flag, or vLLM's default")
        c.equal(f"engine.config.sources.{key}", "server_info", "the best source")
    c.equal("engine.config.sources.vllm_version", "version", "its only source")
    c.expect("settings_disagree" not in codes(c.event), "validity: settings_disagree")
    check_batch_utilization(c, config.get("max_num_seqs") or math.nan)


def check_batch_utilization(c, most):
    """The mean of running requests while the engine worked, as a share of most."""
    mean, used = c.get("engine.requests.running.mean"), c.get("engine.requests.batch_utilization")
    window, active = c.get("engine.window.duration_seconds"), c.get("engine.window.active_seconds_est")
    if not active:
        c.expect(used is None, f"engine.requests.batch_utilization: {used!r}, though the active time is unknown")
        return
    expected = min((mean or math.nan) * window / active / most, 1)
    c.expect(close(used, expected), f"engine.requests.batch_utilization: {used!r}, expected {mean!r} * {window!r} s / {active!r} s / {most!r}")


def check_served_before(c, args):
    c.equal("engine.window.base", "scraped", "the server was up before the start")
    c.equal("engine.window.final", "settled", "the server outlived the command")
    c.equal("engine.scrapes.errors", 0, "the server was up all the time")
    c.expect("final_reading_lost" not in codes(c.event), "validity: final_reading_lost, though the server lives")
    if args.port:
        url = c.get("engine.endpoints.0.url")
        c.expect(f":{args.port}/" in f"{url}/", f"engine.endpoints.0.url: {url!r}, expected port {args.port}")


def check_a(c, args):
    check_served_before(c, args)
    check_settings(c, max_num_seqs=24, max_num_batched_tokens=1024)


MAX_NUM_SEQS = (12, 8)  # of the servers of case d


def check_d(c, args):
    check_served_before(c, args)
    c.expect(len(c.get("engine.endpoints") or []) == 2, "engine.endpoints: not two")
    blocks = 0
    for _, after in args.pages:
        labels = [dict(key[1]) for key in after if key[0] == "vllm:cache_config_info"]
        c.expect(len(labels) == 1, f"pages: {len(labels)} vllm:cache_config_info")
        blocks += int(labels[0]["num_gpu_blocks"]) if labels else 0
    c.equal("engine.kv_cache.num_gpu_blocks", blocks, "both servers' together")
    c.expect("enable_prefix_caching" not in (c.get("engine_runtime_config") or {}), "engine_runtime_config.enable_prefix_caching: not null, though the servers differ in it")
    c.equal("engine.prefix_cache.local.hits", gained(args.pages, "vllm:prefix_cache_hits_total"), "from the pages")
    c.number("engine.requests.running.peak", 1, sum(MAX_NUM_SEQS), "no server runs more at once")
    c.number("engine.requests.waiting.peak", 1, 1000, "the clients send more at once than the servers run")
    c.number("engine.requests.running.mean", 1e-9, sum(MAX_NUM_SEQS), "requests were running")
    check_batch_utilization(c, sum(MAX_NUM_SEQS))


def check_e(c, args):
    check_served_before(c, args)
    check_settings(c, speculative_method="ngram")
    c.equal("engine.speculative.method", "ngram", "the server's flag")
    names = {"drafts": "drafts", "draft_tokens": "draft_tokens", "accepted_tokens": "accepted_tokens"}
    drafts, drafted, accepted = (
        c.number(f"engine.speculative.{key}", 1, 1e9, "the model repeats itself") for key in names
    )
    for key, name in names.items():
        c.equal(f"engine.speculative.{key}", gained(args.pages, f"vllm:spec_decode_num_{name}_total"), "from the pages")
    c.equal(
        "engine.speculative.accepted_per_position",
        [gained(args.pages, "vllm:spec_decode_num_accepted_tokens_per_pos_total", position=str(i)) for i in range(3)],
        "from the pages",
    )
    for path, wanted in (
        ("engine.speculative.acceptance_rate", accepted / drafted),
        ("spec_accept_rate", accepted / drafted),
        ("engine.speculative.acceptance_length", 1 + accepted / drafts),
    ):
        value = c.get(path)
        c.expect(close(value, wanted), f"{path}: {value!r}, expected {wanted!r}")
    # One observation per step of a request; a step brings several tokens.
    generated, ok = c.get("engine.tokens.generation"), c.get("engine.latency_seconds.e2e_request_latency.count")
    c.number("engine.latency_seconds.inter_token_latency.count", generated - ok - accepted, generated - ok - 1, "fewer steps than tokens")


def check_b(c, args):
    check_in_tree(c, ("settled", "last_good", "before_signal"))
    if args.port:
        url = c.get("engine.endpoints.0.url")
        c.expect(f":{args.port}/" in f"{url}/", f"engine.endpoints.0.url: {url!r}, expected port {args.port}")


def check_n(c, args):
    check_in_tree(c, ("last_good", "before_signal"))  # vLLM removes its directory
    c.expect(len(c.get("engine.endpoints") or []) == 1, "engine.endpoints: not one directory")
    c.equal("engine.endpoints.0.source", "multiprocess", "the directory that vLLM made")


def check_in_tree(c, finals):
    check_settings(c)
    c.equal("engine.window.base", "zero", "the server came up inside the run")
    final = c.get("engine.window.final")
    c.expect(final in finals, f"engine.window.final: {final!r}, expected one of {finals}")
    if final != "settled":
        # The client has been done for seconds when the server is stopped: the last
        # good reading has everything, so the checks above demand equality.
        c.number("engine.window.final_age_seconds", 1e-6, 60, "the server was gone before the end")
        c.expect("final_reading_lost" in codes(c.event), f"validity: no final_reading_lost beside window.final {final!r}")
    # Here the engine's processes belong to the command: without them these would be
    # a few megabytes and seconds.
    c.number("host.tree_peak_rss_bytes", 5e8, 1e12, "the engine's processes are in the tree")
    c.number("host.tree_cpu_seconds", 5, 1e6, "the engine's processes are in the tree")


def main(arguments=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("case", choices=("a", "b", "d", "e", "n"))
    p.add_argument("--event", required=True)
    p.add_argument("--client", required=True, action="append", help="a summary of client.py; repeatable, the counts are added up")
    p.add_argument("--pages", nargs=2, action="append", default=[], metavar=("BEFORE", "AFTER"), help="a server's pages; repeatable")
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

    args.pages = [tuple(map(read_page, pair)) for pair in args.pages]

    c = Checker(event)
    check_common(c, clients, args.model, side_by_side=args.case == "d", cached=clients[:1] if args.case == "d" else None, speculative=args.case == "e", source="multiprocess" if args.case == "n" else "http")
    {"a": check_a, "b": check_b, "d": check_d, "e": check_e, "n": check_n}[args.case](c, args)

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
