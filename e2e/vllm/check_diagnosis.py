#!/usr/bin/env python3
"""Checks the diagnoses of diagnosis.sh.

    check_diagnosis.py single|moderate|capped|crowded|fitted FOLDER
    check_diagnosis.py recommended FOLDER

FOLDER has the events, and for some of them NAME.live.json, the diagnosis by `vobs diagnose
--metrics-url` during the same load. The second form prints the --max-num-seqs that the
diagnosis of "crowded" recommends. Exit status 1 if anything is wrong. It needs the standard
library only.
"""

import json
import os
import sys

from check import Checker, check_nulls

# The engine computes on the CPUs that everything else shares, so that processes wait for one:
# this finding is right on such a machine, whatever the load.
OF_THE_MACHINE = {"cpu_bound_host"}
# The share of the machine's CPUs that other processes use from which an API server has to wait
# for one, though it is not busy. Then most of the time to first token is such a wait, and the
# diagnosis is right to name the front-end.
STARVED = 0.25
# The share of throughput that the recommended setting may cost: what differs between two equal
# loads on two shared cores.
NOISE = 0.1


def is_starved(event):
    """Reports whether other processes kept the CPUs busy while the API server used little."""
    shares = [(v.get("evidence") or {}).get("value") for v in event.get("validity") or [] if v["code"] == "busy_host"]
    engine = event["engine"]
    cores = sum(e["cpu_seconds"] or 0 for e in engine["endpoints"]) / engine["window"]["duration_seconds"]
    return any(share and share >= STARVED for share in shares) and cores < 0.4


def codes(diagnosis, *severities, starved=False):
    """Returns the codes of the findings with one of the severities, or of all."""
    ignored = OF_THE_MACHINE | ({"frontend_bound"} if starved else set())
    return {f["code"] for f in diagnosis["findings"] if not severities or f["severity"] in severities} - ignored


def recommended(diagnosis):
    """Returns the --max-num-seqs that kv_cache_thrashing recommends, or None."""
    for finding in diagnosis["findings"]:
        if finding["code"] == "kv_cache_thrashing":
            for fix in finding["fixes"]:
                if fix["flag"] == "--max-num-seqs":
                    return fix["value"]
    return None


def load(folder, file):
    with open(os.path.join(folder, file), encoding="utf-8") as f:
        return json.load(f)


def verdict(c, wanted):
    code = c.get("diagnosis.binding_resource.code")
    starved = wanted == "client" and code == "frontend" and is_starved(c.event)
    if starved:
        c.notes.append("the machine is too busy for the API server, which the verdict says: frontend")
    c.expect(code == wanted or starved, f"the verdict is {code}, expected {wanted}: {c.get('diagnosis.binding_resource')}")


def check_single(c, folder):
    """One request at a time leaves the engine idle in between."""
    verdict(c, "client")
    found = codes(c.get("diagnosis"), starved=is_starved(c.event))
    c.expect(found <= {"client_limited"}, f"the findings are {found}")


def check_moderate(c, folder):
    """All requests fit, and none wait for long."""
    verdict(c, "client")
    found = codes(c.get("diagnosis"), "warning", "critical", starved=is_starved(c.event))
    c.expect(not found, f"a healthy engine has {found}")


def check_capped(c, folder):
    """The same load as "moderate", which is faster where more requests may run: so it is the cap
    that binds, although a CPU computes. A step of a model this small costs about the same with 2
    tokens and with 16."""
    verdict(c, "concurrency_cap")
    found = codes(c.get("diagnosis"), "warning", "critical", starved=is_starved(c.event))
    c.expect(found == {"concurrency_cap"}, f"the findings are {found}")
    fixes = [f for d in c.get("diagnosis.findings") for f in d["fixes"] if f["flag"] == "--max-num-seqs"]
    # 16 clients; polls may miss one that waits.
    c.expect(len(fixes) == 1 and 4 <= fixes[0]["value"] <= 16, f"the fixes are {fixes}")
    gain = load(folder, "capped.client.json")["wall_seconds"] / load(folder, "moderate.client.json")["wall_seconds"]
    c.notes.append(f"without the cap the load is {gain:.2f} times as fast")
    c.expect(gain > 1 + NOISE, f"without the cap the load is {gain:.2f} times as fast: compute binds, not the cap")
    check_live(c, folder, "capped")


def check_crowded(c, folder):
    verdict(c, "kv_cache")
    found = codes(c.get("diagnosis"), "warning", "critical", starved=is_starved(c.event))
    c.expect(found == {"kv_cache_thrashing"}, f"the findings are {found}")
    n = recommended(c.get("diagnosis"))
    # 23 blocks of 128 tokens; a request has 392 to 490 tokens at its end, in 4 blocks: 5 fit.
    c.expect(n == 5, f"the recommended --max-num-seqs is {n}")
    check_live(c, folder, "crowded")


def check_live(c, folder, name):
    """The diagnosis of the running server has the verdict of the run beside it."""
    live = load(folder, f"{name}.live.json")
    ours, theirs = c.get("diagnosis.binding_resource.code"), live["binding_resource"]["code"]
    c.expect(ours == theirs, f"the verdict is {ours}, and {theirs} of the running server")
    ours, theirs = codes(c.get("diagnosis"), "warning", "critical", starved=is_starved(c.event)), codes(live, "warning", "critical", starved=is_starved(c.event))
    c.expect(ours == theirs, f"the findings are {ours}, and {theirs} of the running server")


def rates(folder, names):
    """Returns the tokens per second of the clients, and the tokens per CPU-second of the engine,
    over several runs."""
    tokens = seconds = cpu = 0
    for name in names:
        client = load(folder, f"{name}.client.json")
        cpu += load(folder, f"{name}.cpu")
        tokens += client["completion_tokens"]
        seconds += client["wall_seconds"]
    return tokens / seconds, tokens / max(cpu, 1)


def check_fitted(c, folder):
    """With the recommended setting preemptions stop, and throughput does not fall."""
    for name in ("fitted", "fitted2"):
        event = load(folder, f"{name}.json")
        q = event["engine"]["requests"]
        share = q["preemptions"] / sum(q["finished"].values())
        c.notes.append(f"{name}: {share:.3f} preemptions per finished request, verdict {event['diagnosis']['binding_resource']['code']}")
        c.expect(share <= 0.05, f"{name}: {share:.3f} preemptions per finished request with the recommended --max-num-seqs")
        c.expect("kv_cache_thrashing" not in codes(event["diagnosis"]), f"{name} has the finding kv_cache_thrashing")
    for name in ("crowded", "crowded2"):
        q = load(folder, f"{name}.json")["engine"]["requests"]
        c.notes.append(f"{name}: {q['preemptions'] / sum(q['finished'].values()):.3f} preemptions per finished request")
    before, after = rates(folder, ("crowded", "crowded2")), rates(folder, ("fitted", "fitted2"))
    c.notes.append(f"tokens per second {before[0]:.1f} -> {after[0]:.1f}, tokens per CPU-second of the engine {before[1]:.1f} -> {after[1]:.1f}")
    c.expect(after[0] >= (1 - NOISE) * before[0], f"tokens per second fall from {before[0]:.1f} to {after[0]:.1f}")


CHECKS = {"single": check_single, "moderate": check_moderate, "capped": check_capped, "crowded": check_crowded, "fitted": check_fitted}


def main(arguments):
    if len(arguments) != 2 or arguments[0] not in (*CHECKS, "recommended"):
        print(__doc__, file=sys.stderr)
        return 2
    name, folder = arguments
    if name == "recommended":
        n = recommended(load(folder, "crowded.json")["diagnosis"])
        print(n or "")
        return 0 if n else 1
    c = Checker(load(folder, f"{name}.json"))
    c.equal("run.exit_code", 0, "the client's")
    CHECKS[name](c, folder)
    check_nulls(c)
    for failure in c.failures:
        print(f"({name}) WRONG {failure}")
    for note in c.notes:
        print(f"({name}) {note}")
    print(f"({name}) {c.done} checks, {len(c.failures)} wrong")
    return 1 if c.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
