#!/usr/bin/env python3
"""Checks the result of `vobs ab` on real servers.

    check_ab.py same|slower RESULT.json EVENTS.jsonl EXIT_STATUS

Exit status 1 if anything is wrong. It needs the standard library only.
"""

import json
import sys

PAIRS = 8
METRIC = "generation_tokens_per_second"


def problems(name, result, events, status):
    out = []

    def expect(condition, message):
        if not condition:
            out.append(message)

    metric = next((m for m in result["metrics"] if m["name"] == METRIC), None)
    expect(metric and metric["gated"], f"{METRIC} is not gated")
    expect(result["paired"] and result["order"]["interleaved"], f"not in interleaved pairs: {result['paired']}, {result['order']}")
    expect(result["verdict"] != "incomparable", f"incomparable: {result['reasons']}")
    wanted = {"regression": 1, "inconclusive": 3}.get(result["verdict"], 0)
    expect(status == wanted, f"exit status {status} for {result['verdict']}")
    if name == "same":
        expect(result["verdict"] != "regression", f"equal servers: {result['verdict']}: {result['reasons']}")
    else:
        expect(result["verdict"] == "regression", f"a slower server: {result['verdict']}: {result['reasons']}")
        # Over the whole window, which the start of the client takes up half of, the rate is lower
        # by much less than while requests are answered.
        expect(metric and metric["change"] < -0.1, f"the slower server's change is {metric and metric['change']}")
    sides = [e["run"]["labels"].get("ab.side") for e in events]
    order = ["A", "B", "B", "A"] * (PAIRS // 2)
    expect(sides == order, f"the sides of the events are {sides}")
    expect([e["run"]["labels"].get("ab.position") for e in events] == [str(i + 1) for i in range(2 * PAIRS)], "positions")
    expect(len({e["run"]["id"] for e in events}) == 2 * PAIRS, "run ids repeat")
    return out


def main(name, result, events, status):
    with open(result, encoding="utf-8") as f:
        read = json.load(f)
    with open(events, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    wrong = problems(name, read, lines, int(status))
    for message in wrong:
        print(f"({name}) WRONG {message}")
    print(f"({name}) {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
