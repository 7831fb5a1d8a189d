#!/usr/bin/env python3
"""Ends a real engine under `vobs run -- vllm serve` in one way, and writes what can be
observed from outside to facts.json, next to the event.

    deaths.py CASE --vobs bin/vobs --out FOLDER --python VENV/bin/python -- vllm serve … --port PORT

Cases:
    term     TERM to vobs, under load
    ctrlc    Ctrl-C on vobs's terminal, under load
    drain    TERM to vobs, under load; the server has --shutdown-timeout
    unseen   TERM to the server alone, under load: vobs sees no signal
    core     KILL to the engine core, under load
    worker   KILL to a worker of the core, under load
    api      KILL to the API server, under load; --kill-leftovers cleans up
    files    as api, with --multiproc on: the metrics are in files, which outlive the server
    startup  KILL to the API server before it is up

It needs the standard library only. Exit status: 0 if the case happened as intended.
"""

import argparse
import http.client
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
import client as load  # noqa: E402

CASES = ("term", "ctrlc", "drain", "unseen", "core", "worker", "api", "files", "startup")
# Flags of vobs.
OPTIONS = {"api": ["--kill-leftovers"], "files": ["--kill-leftovers", "--multiproc", "on"]}
CONCURRENCY, MAX_TOKENS = 8, 96
# Seconds a request may take. A server that is stopped under load sometimes leaves a
# stream unfinished, and waits for its connection as long as the client does (seen with
# 0.32.0, without vobs too).
PATIENCE = 15
# What this script requests, and the line of the access log for what vobs requests.
OUR_PAGE = "/metrics?by=deaths"
WHOLE_PAGE = rb'GET /metrics HTTP/1\.1\S*" \S*200'  # with colour codes on a terminal
COUNTERS = {
    "generation": "vllm:generation_tokens_total",
    "prompt": "vllm:prompt_tokens_total",
    "finished": "vllm:request_success_total",
}


def processes():
    """Returns all processes: pid -> (name, parent, state)."""
    out = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                head, _, tail = f.read().rpartition(")")
        except OSError:
            continue
        fields = tail.split()
        out[int(name)] = (head.partition("(")[2], int(fields[1]), fields[0])
    return out


def below(pid):
    """Returns the living descendants of a process: pid -> name."""
    all_, found, grown = processes(), {pid}, True
    while grown:
        more = {p for p, (_, parent, _) in all_.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return {p: all_[p][0] for p in found - {pid} if all_[p][2] not in "ZX"}


def get(url, path):
    connection = load.connect(url, 5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
        return response.status, body
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def counters(page):
    """Returns the sums of the page's counters in COUNTERS."""
    out = dict.fromkeys(COUNTERS, 0.0)
    for line in page.splitlines():
        for key, name in COUNTERS.items():
            if line.startswith(name) and line[len(name)] in "{ ":
                out[key] += float(line.rsplit(" ", 1)[1])
    return out


def follow(url, pages, stop):
    """Reads the page until the server refuses, and keeps the counters of each, with the time."""
    while not stop.is_set():
        status, body = get(url, OUR_PAGE)
        if status == 200:
            pages.append({"at": time.time(), **counters(body)})
        elif pages and status == 0:
            return
        stop.wait(0.25)


class Run:
    """vobs, and the server that it started."""

    def __init__(self, args):
        self.args, self.log = args, open(os.path.join(args.out, "vobs.log"), "wb", buffering=0)
        options = ["-v", "-o", os.path.join(args.out, "event.json")] + OPTIONS.get(args.case, [])
        command = [args.vobs, "run", *options, "--", *args.command]
        self.master = None
        if args.case == "ctrlc":
            self.pid, self.master = pty.fork()
            if self.pid == 0:
                os.execv(command[0], command)
            threading.Thread(target=self.drain_terminal, daemon=True).start()
        else:
            self.pid = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True).pid
        self.status = None

    def drain_terminal(self):
        try:
            while data := os.read(self.master, 65536):
                self.log.write(data)
        except OSError:
            pass  # the terminal went with its last process

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def count_log(self, pattern):
        """Returns how often a pattern occurs in the output of vobs and the server."""
        with open(self.log.name, "rb") as f:
            return len(re.findall(pattern, f.read()))

    def server(self):
        """Returns the pid of the process that vobs started."""
        return next((p for p, (_, parent, state) in processes().items() if parent == self.pid and state not in "ZX"), None)


def until(what, limit, condition, run):
    end = time.monotonic() + limit
    while True:
        if value := condition():
            return value
        if run.ended() and what != "the end":
            sys.exit(f"deaths: vobs ended with {run.status} before {what}")
        if time.monotonic() > end:
            sys.exit(f"deaths: waited {limit} s for {what}")
        time.sleep(0.1)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("case", choices=CASES)
    p.add_argument("--vobs", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--python", default=sys.executable)
    p.add_argument("--limit", type=float, default=600, help="seconds for the start, and for the end")
    p.add_argument("command", nargs="+")
    args = p.parse_args()
    url = f"http://127.0.0.1:{args.command[args.command.index('--port') + 1]}"
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.py")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the finally clause cleans up
    run = Run(args)
    facts = {"case": args.case, "load": {"concurrency": CONCURRENCY, "max_tokens": MAX_TOKENS}, "pages": [], "client": None}
    try:
        helpers = {}
        stop, reader, sender = threading.Event(), None, None
        if args.case == "startup":
            until("an engine core", args.limit, lambda: any(n.startswith("VLLM::Eng") for n in below(run.pid).values()), run)
        else:
            until("a server", args.limit, lambda: get(url, "/health")[0] == 200, run)
            sender = subprocess.Popen(
                [args.python, script, "--url", url, "--requests", "2000", "--concurrency", str(CONCURRENCY), "--prompt-tokens", "320"]
                + ["--shared-prefix", "256", "--max-tokens", str(MAX_TOKENS), "--timeout", str(PATIENCE), "--out", os.path.join(args.out, "load.json")],
                stdin=subprocess.DEVNULL, stdout=self_log(args, "client.log"), stderr=subprocess.STDOUT,
            )  # fmt: skip
            reader = threading.Thread(target=follow, args=(url, facts["pages"], stop), daemon=True)
            reader.start()
            until("some load", args.limit, lambda: facts["pages"] and facts["pages"][-1]["finished"] >= 16, run)

            def under_load(pattern, times):
                if sender.poll() is not None:
                    sys.exit("deaths: the load ended before the engine was killed")
                return run.count_log(pattern) > times

            # Wait until vobs has found the server's processes and read a page under load.
            until("vobs", args.limit, lambda: under_load(rb"watching process \d+ \(VLLM::Eng", 0), run)
            if args.case != "files":  # files are read without the server
                before = run.count_log(WHOLE_PAGE)
                until("a whole page for vobs", args.limit, lambda: under_load(WHOLE_PAGE, before), run)
        helpers = below(run.pid)
        facts["helpers"] = {str(pid): name for pid, name in helpers.items()}
        facts["server"] = server = run.server()
        facts["acted_at"] = time.time()
        if args.case in ("term", "drain"):
            os.kill(run.pid, signal.SIGTERM)
        elif args.case == "ctrlc":
            os.write(run.master, b"\x03")
        elif args.case == "unseen":
            os.kill(server, signal.SIGTERM)
        elif args.case in ("core", "worker"):
            title = {"core": "VLLM::EngineCor", "worker": "VLLM::Worker"}[args.case]
            os.kill(next(pid for pid, name in helpers.items() if name.startswith(title)), signal.SIGKILL)
        else:
            os.kill(server, signal.SIGKILL)
        if sender:
            sender.wait(args.limit)  # the server waits for its connections
        until("the end", args.limit, run.ended, run)
        facts["ended_at"] = time.time()
        facts["status"] = run.status
        alive = processes()
        facts["left"] = {str(pid): name for pid, name in helpers.items() if alive.get(pid, ("", 0, "X"))[2] not in "ZX"}
        stop.set()
        if sender:
            reader.join(30)
            with open(os.path.join(args.out, "load.json"), encoding="utf-8") as f:
                facts["client"] = json.load(f)
    finally:
        # Kill what is left: the command of this run started it.
        for pid in set(below(run.pid)) | set(helpers):
            if re.match(r"vllm|VLLM::|python", processes().get(pid, ("", 0, ""))[0]):
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
        if not run.ended():
            os.kill(run.pid, signal.SIGKILL)
    with open(os.path.join(args.out, "facts.json"), "w", encoding="utf-8") as f:
        json.dump(facts, f, indent=1)
    return 0


def self_log(args, name):
    return open(os.path.join(args.out, name), "wb")


if __name__ == "__main__":
    sys.exit(main())
