#!/usr/bin/env python3
"""Compares the event of one of figures.sh's loads with independent readings.

    check_figures.py NAME --event EVENT.json --client CLIENT.json [--client …]
        --pages BEFORE.prom AFTER.prom --watch WATCH.json [--pages … --watch …]

Pages are the server's own, read by another program; watches are what watch_files.py read
from its multiprocess files. With two servers in turn there are two of each. Prints every
wrong figure; exit status 1 if there is one. It needs the standard library only.
"""

import argparse
import json
import math
import sys

sys.dont_write_bytecode = True
from check import Checker, check_nulls, close, codes, gained, read_page, total  # noqa: E402

NAMES = ("short", "saturated", "files", "preempted", "aborted", "shared", "warm", "bench", "turn", "servers")
# In these every request is recorded and none is preempted, by an engine that is idle at
# both ends: Little's law holds.
COUNTED = ("short", "saturated", "files", "warm", "bench", "servers")
BLOCK = 128  # tokens, on a CPU
MAX_NUM_SEQS = {"turn": 24}  # of the server with the most, otherwise 16
# By how much a polled mean or an estimated time may miss the truth: a tenth, and for each
# request what lies between the engine's clock and the end of a step, when gauges are set.
TOLERANCE, PER_REQUEST = 0.1, 0.02

LATENCIES = {
    "time_to_first_token": "time_to_first_token_seconds",
    "inter_token_latency": "inter_token_latency_seconds",
    "e2e_request_latency": "e2e_request_latency_seconds",
    "request_queue_time": "request_queue_time_seconds",
    "request_prefill_time": "request_prefill_time_seconds",
    "request_decode_time": "request_decode_time_seconds",
    "request_inference_time": "request_inference_time_seconds",
}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def read_client(path):
    """Returns a client's summary; that of `vllm bench serve` is brought into the form of client.py's."""
    with open(path, encoding="utf-8") as f:
        c = json.load(f)
    if "completed" in c:
        ok = c["completed"]
        means = {f"{key}_sum_seconds": c[f"mean_{name}_ms"] / 1e3 * ok for key, name in (("e2e", "e2el"), ("ttft", "ttft"))}
        c = {"requests": c["num_prompts"], "ok": ok, "completion_tokens": c["total_output_tokens"], "wall_seconds": c["duration"], "concurrency": c["max_concurrency"], **means}
    return {"aborted": 0, "refused": 0, **c}


def reason(c, path):
    """Returns the reason for a null: for the figure itself, not for a group above it."""
    return next((u["reason"] for u in c.get("unavailable") or [] if u.get("field") == path), "")


def check_counters(c, pages):
    """Every counter equals the difference of the server's own pages."""
    for path, name, labels in (
        ("tokens.prompt", "prompt_tokens_total", {}),
        ("tokens.generation", "generation_tokens_total", {}),
        ("requests.preemptions", "num_preemptions_total", {}),
        ("requests.finished.length", "request_success_total", {"finished_reason": "length"}),
        ("requests.finished.abort", "request_success_total", {"finished_reason": "abort"}),
        ("prefix_cache.local.queries", "prefix_cache_queries_total", {}),
        ("prefix_cache.local.hits", "prefix_cache_hits_total", {}),
    ):
        c.equal(f"engine.{path}", gained(pages, f"vllm:{name}", **labels), "from the pages")
    for key, name in LATENCIES.items():
        path = f"engine.latency_seconds.{key}"
        c.equal(f"{path}.count", gained(pages, f"vllm:{name}_count"), "from the pages")
        value, wanted = c.get(f"{path}.sum"), gained(pages, f"vllm:{name}_sum")
        c.expect(close(value, wanted), f"{path}.sum: {value!r}, expected {wanted!r} (from the pages)")


def check_http(c, pages, clients):
    """Responses by class of status: the pages', and what the clients saw."""
    for status, wanted in (("2xx", total(clients, "ok") + total(clients, "aborted")), ("4xx", total(clients, "refused")), ("5xx", 0)):
        c.equal(f"engine.http.{status}", wanted, "the clients'")
        theirs = sum(gained(pages, "http_requests_total", handler=handler, status=status) for handler in ("/v1/completions", "none"))
        c.expect(theirs == wanted, f"pages: {theirs:.0f} responses {status}, expected {wanted}")


def quantile(values, q):
    """Returns the value of rank ceil(q * n) of sorted values."""
    return values[max(math.ceil(q * len(values) - 1e-9), 1) - 1]


def check_quantiles(c, path, values, exact=True):
    """The bounds of each quantile hold for what the client knows: exact values, or times that
    are at least the server's."""
    for key, q in QUANTILES.items():
        bounds, true = c.get(f"{path}.{key}_bounds"), quantile(values, q)
        if not isinstance(bounds, list) or len(bounds) != 2 or bounds[0] is None:
            c.expect(False, f"{path}.{key}_bounds: {bounds!r}, expected an interval")
            continue
        low, high = bounds[0], math.inf if bounds[1] is None else bounds[1]
        c.expect(low <= high, f"{path}.{key}_bounds: {bounds!r}")
        c.expect(low <= true * (1 + 1e-5), f"{path}.{key}_bounds: {bounds!r}, the client's is {true!r}")
        if exact:
            c.expect(true <= high * (1 + 1e-5), f"{path}.{key}_bounds: {bounds!r}, the true one is {true!r}")
        estimate = c.get(f"{path}.{key}_est")
        if estimate is not None:
            c.expect(low <= estimate <= high, f"{path}.{key}_est: {estimate!r} is outside {bounds!r}")


def check_distributions(c, clients):
    """The distributions whose true values the clients know, of each request."""
    if not all("each" in client for client in clients):
        return
    each = {key: sorted(x for client in clients for x in client["each"][key]) for key in clients[0]["each"]}
    check_quantiles(c, "engine.tokens.prompt_per_request", each["prompt_tokens"])
    check_quantiles(c, "engine.tokens.generation_per_request", each["completion_tokens"])
    check_quantiles(c, "engine.latency_seconds.e2e_request_latency", each["e2e_seconds"], exact=False)
    if not total(clients, "aborted"):  # the client has no time of an aborted request
        check_quantiles(c, "engine.latency_seconds.time_to_first_token", each["ttft_seconds"], exact=False)


def near(value, wanted, requests):
    return isinstance(value, (int, float)) and abs(value - wanted) <= TOLERANCE * wanted + PER_REQUEST * requests


def check_counted_means(c, name, pages, watches, clients):
    """The means by Little's law are the engine's own times, divided by the window."""
    window, ok = c.get("engine.window.duration_seconds") or math.nan, total(clients, "ok")
    spent = 0.0
    for key, family in (("running", "request_inference_time_seconds"), ("waiting", "request_queue_time_seconds")):
        path = f"engine.requests.{key}"
        c.equal(f"{path}.method", "littles_law", "the engine was idle at both ends, and every request is recorded")
        mean = c.get(f"{path}.mean")
        seconds = (math.nan if mean is None else mean) * window
        wanted = gained(pages, f"vllm:{family}_sum")
        c.expect(close(seconds, wanted), f"{path}.mean: {mean!r} over {window!r} s, expected {wanted!r} s in all (from the pages)")
        seen = sum(watch[key]["integral"] for watch in watches)
        # Gauges are set at the end of a step: until its first token a request does not show as
        # running, but as waiting, if the end of a step came before its first one.
        prefill = gained(pages, "vllm:request_prefill_time_seconds_sum")
        seen = seen + prefill if key == "running" else min(max(seconds, seen - prefill), seen)
        c.expect(near(seconds, seen, ok), f"{path}.mean: {mean!r} over {window!r} s, expected about {seen:.4g} s in all (from the files)")
        spent += seconds
    theirs, least = total(clients, "e2e_sum_seconds"), 0.3 if name == "short" else 0.6
    c.expect(least * theirs <= spent <= theirs, f"engine.requests: {spent:.4g} s running and waiting, expected at most the client's {theirs:.4g} s, and {least} of that")


def check_null_mean(c, path):
    """A mean that is null for want of polls, with its method."""
    why = reason(c, f"{path}.mean")
    c.expect("polls" in why, f"{path}.mean: null, and the reason does not name the polls: {why!r}")
    c.equal(f"{path}.method", None, "there is no mean")


def check_polled_mean(c, key, watches, requests, bounds, methods=("polled",)):
    """A mean by the polls, or null with its reason; bounds are what the counters prove: seconds,
    the upper end None if it is open."""
    path = f"engine.requests.{key}"
    window = c.get("engine.window.duration_seconds") or math.nan
    mean, seen = c.get(f"{path}.mean"), sum(watch[key]["integral"] for watch in watches)
    if mean is None:
        check_null_mean(c, path)
    else:
        c.expect(c.get(f"{path}.method") in methods, f"{path}.method: {c.get(f'{path}.method')!r}, expected one of {methods!r}")
        c.expect(near(mean * window, seen, requests), f"{path}.mean: {mean!r} over {window!r} s, expected about {seen:.4g} s in all (from the files)")
    theirs = c.get(f"{path}.mean_bounds")
    if not isinstance(theirs, list) or len(theirs) != 2 or theirs[0] is None:
        c.expect(False, f"{path}.mean_bounds: {theirs!r}, expected two numbers, or a number and null")
        return
    c.expect(all((x is None) == (y is None) and (y is None or close(x * window, y)) for x, y in zip(theirs, bounds)), f"{path}.mean_bounds: {theirs!r} over {window!r} s, expected {bounds!r} s in all (from the pages)")
    slack = TOLERANCE * seen + PER_REQUEST * requests
    c.expect(bounds[0] - slack <= seen, f"{path}.mean_bounds: {theirs!r} over {window!r} s, but {seen:.4g} s in all (from the files)")
    c.expect(bounds[1] is None or seen <= bounds[1] + slack, f"{path}.mean_bounds: {theirs!r} over {window!r} s, but {seen:.4g} s in all (from the files)")


def check_usage_mean(c, watches, requests):
    """The mean usage of the KV cache, or null with its reason. A request that the gauges do not
    show in its first step takes part of the cache then."""
    path = "engine.kv_cache.usage"
    window, mean = c.get("engine.window.duration_seconds") or math.nan, c.get(f"{path}.mean")
    if mean is None:
        check_null_mean(c, path)
        return
    method = c.get(f"{path}.method")
    c.expect(method in ("polled", "per_running_request"), f"{path}.method: {method!r}")
    seen, running = (sum(watch[key]["integral"] for watch in watches) for key in ("usage", "running"))
    # By the files, too, a request takes usage / running while it runs.
    wanted = seen if method == "polled" else seen / running * (c.get("engine.requests.running.mean") or math.nan) * window
    c.expect(abs(mean * window - wanted) <= TOLERANCE * wanted, f"{path}.mean: {mean!r} over {window!r} s, expected about {wanted:.4g} s in all (from the files)")


def check_peak(c, path, true, unit, held=(), short=False):
    """A polled peak is at most the true one, but for one unit that the watcher missed; at least
    any level that was held for longer than the longest time between two polls; and at least
    three quarters of the true one. In a short load it may be null, or half of the true one."""
    value = c.get(path)
    if value is None and short:
        c.expect("poll" in reason(c, path), f"{path}: null, and the reason does not name the polls: {reason(c, path)!r}")
        return
    gap = c.get("engine.scrapes.max_gap_seconds") or math.inf
    seen = max((level for level, seconds in held if seconds > gap + 0.05), default=0)
    c.number(path, max((0.5 if short else 0.75) * true, seen - 1e-9), true + unit * 1.001, f"from the files; {seen:.4g} was held for more than {gap:.3g} s")


def check_peaks(c, name, watches, configs):
    """Peaks, each with its own server's capacity."""
    short = name == "short"

    def of_both(key):
        return max(watch[key]["peak"] for watch in watches), [x for watch in watches for x in watch[key]["held"]]

    true, held = of_both("running")
    check_peak(c, "engine.requests.running.peak", true, 1, held, short)
    if name not in ("short", "warm", "aborted"):  # there, hardly any request waits
        true, held = of_both("waiting")
        check_peak(c, "engine.requests.waiting.peak", true, 2, held)
    units = [1 / (int(config["num_gpu_blocks"]) - 1) for config in configs]
    peaks = [watch["usage"]["peak"] for watch in watches]
    usage = c.get("engine.kv_cache.usage.peak")
    check_peak(c, "engine.kv_cache.usage.peak", max(peaks), max(units), of_both("usage")[1], short)
    if usage is not None:
        c.expect(any(abs(usage / unit - round(usage / unit)) < 1e-6 for unit in units), f"engine.kv_cache.usage.peak: {usage!r} is no number of blocks")
    sizes = [int(config["kv_cache_size_tokens"]) for config in configs]
    true = max(int(peak * size + 1e-6) for peak, size in zip(peaks, sizes))
    if usage is None:
        c.equal("engine.kv_cache.peak_tokens", None, "the peak usage is unknown")
    else:
        check_peak(c, "engine.kv_cache.peak_tokens", true, max(size * unit for size, unit in zip(sizes, units)), short=short)
    c.equal("engine.kv_cache.num_gpu_blocks", int(configs[-1]["num_gpu_blocks"]), "the last server's")
    c.equal("engine.kv_cache.size_tokens", sizes[-1], "the last server's")
    c.equal("engine.kv_cache.block_size", BLOCK, "on a CPU")
    for path in ("engine.kv_cache.usage.last", "engine.requests.running.last", "engine.requests.waiting.last"):
        c.equal(path, 0, "drained")


def check_rates(c, watches, clients):
    """The active time is right within a tenth, or null and not used. It is at most the
    clients' time, and at least that in which the gauge shows requests, from the end of their
    first step on."""
    active, window = c.get("engine.window.active_seconds_est"), c.get("engine.window.duration_seconds")
    busy = sum(watch["busy_seconds"] for watch in watches)
    over, base = ("window", window) if active is None else ("active", active)
    c.equal("engine.throughput.over", over, "the active time is known, or not")
    c.expect(("short_window" in codes(c.event)) == (active is None), f"validity: {sorted(codes(c.event))}, active time {active!r}")
    if active is None:
        c.expect(reason(c, "engine.window.active_seconds_est"), "engine.window.active_seconds_est: null without a reason of its own")
    else:
        c.number("engine.window.active_seconds_est", (1 - TOLERANCE) * busy, (1 + TOLERANCE) * max(busy, total(clients, "wall_seconds")), "from the files, and the clients' time")
    for key, path in (("generation_tokens_per_second", "tokens.generation"), ("prompt_tokens_per_second", "tokens.prompt")):
        value, amount = c.get(f"engine.throughput.{key}"), c.get(f"engine.{path}")
        c.expect(base and close(value, (amount or math.nan) / base, 0.02), f"engine.throughput.{key}: {value!r}, expected {amount!r} / {base!r} s")


def check_shared(c, pages, clients):
    """Other requests are under way at both ends: nothing is claimed of the command's alone."""
    c.expect("engine_shared" in codes(c.event), f"validity: no engine_shared: {sorted(codes(c.event))}")
    c.equal("engine.window.final", "unsettled", "the other client's requests go on")
    for path, name, key in (("tokens.prompt", "prompt_tokens_total", "prompt_tokens"), ("tokens.generation", "generation_tokens_total", "completion_tokens")):
        c.number(f"engine.{path}", total(clients, key), gained(pages, f"vllm:{name}"), "the client's, and more")
    c.equal("engine.requests.unaccounted_min", None, "requests were under way")
    for key in ("running", "waiting"):
        path = f"engine.requests.{key}"
        c.equal(f"{path}.mean_bounds", None, "the engine was not idle at both ends")
        if c.get(f"{path}.mean") is None:
            check_null_mean(c, path)
        else:
            c.equal(f"{path}.method", "polled", "the engine was not idle at both ends")
    if c.get("engine.requests.running.mean") is not None:
        c.number("engine.requests.running.mean", 1, 16, "both clients' requests")
    c.equal("engine.requests.running.peak", 16, "both clients' requests")


def check_turn(c, configs):
    changed = [v["message"] for v in c.get("validity") or [] if v.get("code") == "engine_changed"]
    first, second = (config["num_gpu_blocks"] for config in configs)
    c.expect(len(changed) == 1 and first in changed[0] and second in changed[0], f"validity: engine_changed {changed!r}, expected one with {first} and {second} blocks")
    c.expect("counter_reset" in codes(c.event), f"validity: no counter_reset: {sorted(codes(c.event))}")
    c.equal("engine.window.resets", 1, "one server after the other")


def check_figures(c, name, pages, watches, clients):
    ok, generated = total(clients, "ok"), total(clients, "completion_tokens")
    c.expect(ok > 0 and ok == total(clients, "requests"), f"client: {ok} of {total(clients, 'requests')} requests ok")
    c.expect(all(watch["readings"] > 0 for watch in watches), "watch_files.py: no readings")
    c.expect(all(watch["longest_gap"] < 2 for watch in watches), f"watch_files.py: {watches!r} has gaps")
    c.equal("run.exit_code", 0, "the command's")
    c.equal("partial", False, "the run ended")
    c.equal("engine.source", "multiprocess" if name == "files" else "http", "where it was read")
    c.equal("engine.endpoints.0.gauges_from", "http" if name == "turn" else "multiprocess", "the server's files can be read here")
    check_nulls(c)
    if name == "shared":
        check_shared(c, pages, clients)
        return
    c.expect("engine_shared" not in codes(c.event), "validity: engine_shared, though the engine was idle")
    configs = [dict(key[1]) for _, after in pages for key in after if key[0] == "vllm:cache_config_info"]
    c.expect(len(configs) == len(pages), f"pages: {len(configs)} vllm:cache_config_info")
    c.equal("engine.window.final", {"files": "files", "turn": "last_good"}.get(name, "settled"), "how the run ends")
    check_counters(c, pages)
    if not total(clients, "aborted"):
        c.equal("engine.tokens.generation", generated, "the clients'")
    c.equal("engine.requests.finished.length", ok, "the clients'")
    if name != "bench":  # counted with its own access to the server
        check_http(c, pages, clients)
    check_distributions(c, clients)
    check_peaks(c, name, watches, configs)
    check_rates(c, watches, clients)
    running, waiting = (gained(pages, f"vllm:request_{key}_time_seconds_sum") for key in ("inference", "queue"))
    preempted = gained(pages, "vllm:num_preemptions_total")
    c.expect((preempted > 0) == (name == "preempted"), f"pages: {preempted:.0f} preemptions")
    if name in COUNTED:
        check_counted_means(c, name, pages, watches, clients)
    elif name == "preempted":
        c.number("engine.kv_cache.usage.peak", 0.9, 1, "the cache was full for each preemption")
        check_polled_mean(c, "running", watches, ok, (0, running), ("polled", "littles_law_with_polls"))
        check_polled_mean(c, "waiting", watches, ok, (waiting, waiting + running))
    else:
        # Aborted requests, and those of a server that ended, may have taken longer.
        methods = ("polled", "littles_law_with_polls") if name == "turn" else ("polled",)
        check_polled_mean(c, "running", watches, ok, (running, None), methods)
        check_polled_mean(c, "waiting", watches, ok, (waiting, None), methods)
    check_usage_mean(c, watches, ok)
    if name == "turn":
        check_turn(c, configs)
    else:
        c.equal("engine.window.resets", 0, "one server")
        c.equal("engine.requests.unaccounted_min", total(clients, "aborted"), "aborted after their first token")
    if name == "warm":
        c.equal("engine.prefix_cache.local.hits", ok * clients[0]["shared_prefix"] // BLOCK * BLOCK, "every prompt's shared prefix is in the cache")


def main(arguments=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("name", choices=NAMES)
    p.add_argument("--event", required=True)
    p.add_argument("--client", required=True, action="append")
    p.add_argument("--pages", required=True, nargs=2, action="append", metavar=("BEFORE", "AFTER"))
    p.add_argument("--watch", required=True, action="append")
    args = p.parse_args(arguments)
    with open(args.event, encoding="utf-8") as f:
        c = Checker(json.load(f))
    watches = []
    for path in args.watch:
        with open(path, encoding="utf-8") as f:
            watches.append(json.load(f))
    clients = [read_client(path) for path in args.client]
    check_figures(c, args.name, [(read_page(before), read_page(after)) for before, after in args.pages], watches, clients)
    name = f"k {args.name}"
    for failure in dict.fromkeys(c.failures):
        print(f"e2e-vllm: FAIL ({name}) {failure}", file=sys.stderr)
    if c.failures:
        print(f"e2e-vllm: FAIL ({name}) {len(dict.fromkeys(c.failures))} of {c.done} checks", file=sys.stderr)
        return 1
    summarize(name, c.event["engine"], watches, clients, c.done)
    return 0


def summarize(name, e, watches, clients, done):
    def number(x):
        return "null" if x is None else f"{x:.4g}"

    window, running, waiting = e["window"]["duration_seconds"], e["requests"]["running"], e["requests"]["waiting"]
    seen = {key: sum(watch[key]["integral"] for watch in watches) / window for key in ("running", "waiting")}
    peaks = {key: max(watch[key]["peak"] for watch in watches) for key in ("running", "waiting", "usage")}
    print(
        f"e2e-vllm: PASS ({name}) {total(clients, 'ok')} requests in {total(clients, 'wall_seconds'):.2f} s; mean running {number(running['mean'])} ({running['method']}; files {seen['running']:.4g}), "
        f"waiting {number(waiting['mean'])} (files {seen['waiting']:.4g}; the client's requests {total(clients, 'e2e_sum_seconds') / window:.4g} in all); {done} checks"
    )
    print(
        f"e2e-vllm:      peaks running {number(running['peak'])} (files {peaks['running']:.0f}), waiting {number(waiting['peak'])} ({peaks['waiting']:.0f}), kv usage "
        f"{number(e['kv_cache']['usage']['peak'])} ({peaks['usage']:.4g}), {number(e['kv_cache']['peak_tokens'])} tokens; active {number(e['window']['active_seconds_est'])} s "
        f"(files {sum(watch['busy_seconds'] for watch in watches):.4g}); {e['scrapes']['count']} readings, longest gap {number(e['scrapes']['max_gap_seconds'])} s"
    )


if __name__ == "__main__":
    sys.exit(main())
