#!/usr/bin/env python3
"""Compares the event of a run whose engine died with what deaths.py observed.

    check_deaths.py --event EVENT.json --facts FACTS.json

Prints every wrong figure; exit status 1 if there is one. It needs the standard
library only.
"""

import argparse
import datetime
import json
import signal
import sys

sys.dont_write_bytecode = True
from check import Checker, check_nulls, codes  # noqa: E402

# How `vllm serve` ends without vobs (0.32.0): its exit code, or minus the signal.
STATUS = {"term": 0, "ctrlc": 0, "drain": 0, "unseen": 0, "core": 0, "worker": 0, "api": -signal.SIGKILL, "files": -signal.SIGKILL, "startup": -signal.SIGKILL}
# In these the engine dies while its server lives.
DIED = {"core", "worker"}
# In these a shutdown signal reaches vobs.
SIGNALLED = {"term", "ctrlc", "drain"}
# The greatest age of the last good reading, in seconds: whole pages are read every few
# seconds, and a server that accepts no more requests may wait 15 s for a client.
OLDEST = 30


def check(c, facts):
    case = facts["case"]
    want = STATUS[case]
    c.expect(facts["status"] == want, f"vobs ended with {facts['status']}, the server alone ends with {want}")
    if want < 0:
        c.equal("run.exit_code", None, "a signal ended it")
        c.equal("run.signal", signal.Signals(-want).name, "the signal that was sent")
    else:
        c.equal("run.exit_code", want, "as without vobs")
        c.equal("run.signal", None, "it exited")
    c.equal("run.interrupted", case in SIGNALLED, "whether a signal reached vobs")
    c.equal("partial", False, "the run ended")
    check_nulls(c)

    died = [v for v in c.get("validity") or [] if v.get("code") == "engine_died"]
    if case in DIED:
        c.expect(len(died) == 1, f"engine_died: {len(died)} notes, expected one")
        c.expect(all(v.get("severity") == "error" for v in died), "engine_died: the severity is not error")
    else:
        c.expect(not died, f"engine_died: {died!r}, though no engine died")

    leftovers = {str(l.get("pid")): l.get("command") for l in c.get("run.leftovers") or []}
    for pid, name in facts["left"].items():
        c.expect(pid in leftovers, f"run.leftovers: {name}, process {pid}, survived and is not named")
    if case in ("api", "files"):
        for pid, name in facts["helpers"].items():
            if name.startswith(("VLLM::EngineCor", "VLLM::Worker")):
                c.expect("VLLM::" in str(leftovers.get(pid)), f"run.leftovers: {name}, process {pid}, was left behind and is not named")
        c.expect(not facts["left"], f"run.leftovers: {facts['left']} survived although --kill-leftovers was given")

    if case == "startup":
        c.equal("engine", None, "it never came up")
        return
    check_figures(c, facts, case)


def check_figures(c, facts, case):
    final = c.get("engine.window.final")
    lasting = case == "files"  # its files are there after its death
    allowed = {"files"} if lasting else {"last_good"} if case in DIED | {"unseen", "api"} else {"before_signal", "last_good"}
    c.expect(final in allowed, f"engine.window.final: {final!r}, expected one of {sorted(allowed)}")
    c.equal("engine.source", "multiprocess" if lasting else "http", "where its metrics are")
    c.expect(("final_reading_lost" in codes(c.event)) != lasting, f"final_reading_lost: {sorted(codes(c.event))}")
    c.equal("engine.window.base", "zero", "it came up inside the run")
    age = c.number("engine.window.final_age_seconds", 0 if lasting else 1e-9, 0 if lasting else OLDEST, "the engine was gone at the end")

    # The event has at least what the page showed at the time of the last good reading.
    ended = datetime.datetime.fromisoformat(str(c.get("run.ended_at")).replace("Z", "+00:00")).timestamp()
    read = [p for p in facts["pages"] if p["at"] <= ended - age]
    c.expect(len(read) >= 3, f"deaths.py: {len(read)} pages before the last good reading")
    if case in SIGNALLED:
        # vobs reads once more before it forwards the signal.
        c.expect(ended - age >= facts["acted_at"] - 0.05, f"engine.window.final_age_seconds: {age!r}: the last reading is from before the signal")
    last = read[-1] if read else {"generation": 0, "prompt": 0, "finished": 0}
    client, load = facts["client"], facts["load"]
    c.expect(client["ok"] > 0 and last["finished"] > 0, "client: no request was completed")
    c.expect(client["ok"] < client["requests"], "client: every request was completed: the engine did not die under load")

    # At most this many requests were under way at the end; the client did not count
    # their tokens.
    more = load["concurrency"]
    c.number("engine.tokens.generation", last["generation"], client["completion_tokens"] + more * load["max_tokens"], "the last page, and the client's count")
    c.number("engine.tokens.prompt", last["prompt"], client["prompt_tokens"] + more * 320, "the last page, and the client's count")
    # A server that drains accepts further requests and aborts them at once.
    finished = c.get("engine.requests.finished") or {}
    whole, total = (sum(finished.get(k) or 0 for k in kinds) for kinds in (("length", "stop"), finished))
    c.expect(total >= last["finished"], f"engine.requests.finished: {finished!r}, expected {last['finished']:.0f} in all (the last page)")
    c.expect(whole <= client["ok"] + more, f"engine.requests.finished: {finished!r}, expected at most {client['ok'] + more} whole ones (the client's count)")


def main(arguments=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--event", required=True)
    p.add_argument("--facts", required=True)
    args = p.parse_args(arguments)
    with open(args.event, encoding="utf-8") as f:
        text = f.read()
    with open(args.facts, encoding="utf-8") as f:
        facts = json.load(f)
    c = Checker(json.loads(text))
    c.expect(text.count("\n") == 1 and text.endswith("\n"), "the event: not one line of JSON")
    check(c, facts)
    name = f"c {facts['case']}"
    for failure in dict.fromkeys(c.failures):
        print(f"e2e-vllm: FAIL ({name}) {failure}", file=sys.stderr)
    if c.failures:
        print(f"e2e-vllm: FAIL ({name}) {len(dict.fromkeys(c.failures))} of {c.done} checks", file=sys.stderr)
        return 1
    summary = f"{len(c.event['run']['leftovers'])} leftovers, validity: {', '.join(sorted(codes(c.event))) or 'none'}"
    if c.event["engine"]:
        window = c.event["engine"]["window"]
        summary = f"{c.event['engine']['tokens']['generation']} tokens, {window['final']} {window['final_age_seconds']:.2f} s before the end, {summary}"
    print(f"e2e-vllm: PASS ({name}) status {facts['status']}, {summary}; {c.done} checks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
