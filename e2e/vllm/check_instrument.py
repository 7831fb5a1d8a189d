#!/usr/bin/env python3
"""Compares events of `vobs run --instrument` with what the run did.

    check_instrument.py plain  --event PLAIN.json
    check_instrument.py forced --event FORCED.json --log FORCED.log --own OWN.json
    check_instrument.py flags  --event EVENT.json [--kv-cache-dtype TYPE] [--method ngram]
        [--mismatch LINE] [--no-engine]

plain: a script that leaves its statistics off, without --instrument. forced: the same
script with --instrument, compared with what it printed and with the event of a run that
switched its statistics on itself. flags: the settings compared with the flags of run.sh.
Exit status 1 if anything is wrong. It needs the standard library only.
"""

import argparse
import json
import re
import sys

from check import Checker, check_nulls, codes

# Figures that do not depend on the timing of the steps.
SAME = (
    "engine.source",
    "engine.requests.finished",
    "engine.requests.preemptions",
    "engine.tokens.prompt",
    "engine.tokens.generation",
    "engine.tokens.prompt_per_request",
    "engine.tokens.generation_per_request",
    "engine.latency_seconds.e2e_request_latency.count",
    "engine.latency_seconds.time_to_first_token.count",
    "engine.latency_seconds.inter_token_latency.count",
    "engine.prefix_cache.local.queries",
    "engine.kv_cache.num_gpu_blocks",
    "engine.kv_cache.block_size",
    "engine.kv_cache.size_tokens",
)
# The flags of run.sh, under the keys of engine_runtime_config.
FLAGS = {
    "max_num_seqs": 24,
    "max_num_batched_tokens": 3072,
    "enable_chunked_prefill": False,
    "enable_prefix_caching": False,
    "kv_cache_dtype": "fp8_e5m2",
}


def reason(c, field):
    return next((u["reason"] for u in c.get("unavailable") or [] if u["field"] == field), "")


def check_plain(c):
    c.equal("run.exit_code", 0, "the script's")
    c.equal("engine", None, "its statistics are off")
    c.expect("--instrument --multiproc on" in reason(c, "engine"), f"the reason does not name the flags that help: {reason(c, 'engine')}")
    c.expect("--instrument" in reason(c, "engine_runtime_config"), "the reason for engine_runtime_config does not name --instrument")
    check_nulls(c)


def check_forced(c, counted, own):
    c.equal("run.exit_code", 0, "the script's")
    for path in SAME:
        c.equal(path, own.get(path), "the script's own disable_log_stats=False")
    c.expect(not own.failures, f"the script's own figures: {own.failures}")
    c.equal("engine.source", "multiprocess", "a script has no port")
    c.equal("engine.tokens.prompt", counted["prompt"], "what the script counted")
    c.equal("engine.tokens.generation", counted["generated"], "what the script counted")
    c.equal("engine.requests.finished.length", counted["requests"], "what the script counted")
    c.number("engine.kv_cache.usage.peak", 0.1, 1, "24 requests in 40 blocks")
    c.equal("engine_runtime_config.max_num_seqs", 16, "what the script gave")
    for key, source in {"max_num_seqs": "engine_core", "num_gpu_blocks": "engine_core", "attention_backend": "worker", "data_parallel_size": "front_end"}.items():
        c.equal(f"engine.config.sources.{key}", source, "the best source")
    c.equal("engine.config.values.num_gpu_blocks", 40, "what the script gave")
    c.equal("engine.config.values.attention_backend", "CPU_ATTN", "the one for CPUs")
    no_trouble(c)


def check_flags(c, method, mismatch, engine, kv_cache_dtype=FLAGS["kv_cache_dtype"]):
    c.equal("run.exit_code", 0, "the command's")
    for name, value in {**FLAGS, "kv_cache_dtype": kv_cache_dtype}.items():
        c.equal(f"engine_runtime_config.{name}", value, "the flag")
        # "auto" leaves a setting to the engine: there is nothing to compare.
        c.expect((name in (c.get("flags_checked") or [])) == (value != "auto"), f"flags_checked: {c.event.get('flags_checked')}, {name} was {value!r}")
    if method:
        c.equal("engine_runtime_config.speculative_method", method, "the flag")
    c.equal("flag_mismatches", [mismatch] if mismatch else [], "the setting that the engine overrides")
    c.equal("flag_did_not_engage", False, "the settings of engine_runtime_config are as intended")
    if engine:
        for name in FLAGS:
            c.equal(f"engine.config.sources.{name}", "engine_core", "the best source")
    else:
        c.equal("engine", None, "its statistics are off")
    no_trouble(c)


def no_trouble(c):
    for code in ("settings_disagree", "instrument_incomplete"):
        c.expect(code not in codes(c.event), f"validity: {[v['message'] for v in c.event['validity'] if v['code'] == code]}")
    check_nulls(c)


def main(arguments=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("case", choices=("plain", "forced", "flags"))
    p.add_argument("--event", required=True)
    p.add_argument("--log")
    p.add_argument("--own")
    p.add_argument("--kv-cache-dtype", default=FLAGS["kv_cache_dtype"])
    p.add_argument("--method")
    p.add_argument("--mismatch")
    p.add_argument("--no-engine", action="store_true")
    args = p.parse_args(arguments)

    def load(path):
        with open(path, encoding="utf-8") as f:
            return Checker(json.load(f))

    c = load(args.event)
    if args.case == "plain":
        check_plain(c)
    elif args.case == "forced":
        with open(args.log, encoding="utf-8", errors="replace") as f:
            counted = json.loads(re.search(r"RESULT (\{.*\})", f.read()).group(1))
        check_forced(c, counted, load(args.own))
    else:
        check_flags(c, args.method, args.mismatch, not args.no_engine, args.kv_cache_dtype)
    for failure in dict.fromkeys(c.failures):
        print(f"e2e-vllm: FAIL ({args.case}) {args.event}: {failure}", file=sys.stderr)
    if c.failures:
        return 1
    print(f"e2e-vllm: PASS ({args.case}) {c.event['engine_runtime_config']} mismatches {c.event['flag_mismatches']}; {c.done} checks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
