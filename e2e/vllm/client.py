#!/usr/bin/env python3
"""Sends streaming completion requests to an OpenAI-compatible server and counts.

Prompts are sent as token ids, so that the number of tokens sent is known exactly; the
usage that the server reports is counted too. With --abort and --refuse there are further
requests among them, which are not counted with the others: some whose connection is closed
after the first token, and some whose prompt is too long. It needs the standard library
only.

    client.py --url http://127.0.0.1:8000 --model tiny --requests 64 --out summary.json

Exit status: 0 if every request was answered (or refused, as intended), 1 otherwise.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import random
import sys
import threading
import time
import urllib.parse

FIRST_TOKEN = 16  # those below are special tokens


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--url", required=True, help="http://HOST:PORT")
    p.add_argument("--model", default="tiny")
    p.add_argument("--requests", type=int, default=16)
    p.add_argument("--concurrency", type=int, default=16)
    p.add_argument("--prompt-tokens", type=int, default=256, help="longest prompt")
    p.add_argument("--max-tokens", type=int, default=64, help="longest answer")
    p.add_argument("--spread", type=float, default=0.5, help="the shortest prompt and answer are this fraction shorter")
    p.add_argument("--shared-prefix", type=int, default=0, help="tokens that every prompt begins with")
    p.add_argument("--abort", type=int, default=0, metavar="N", help="N more requests that are aborted after their first token")
    p.add_argument("--refuse", type=int, default=0, metavar="N", help="N more requests that the server refuses: longer than --max-model-len")
    p.add_argument("--max-model-len", type=int, default=512, help="of the server")
    p.add_argument("--vocabulary", type=int, default=1024)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--temperature", type=float, default=1.0, help="0 makes a small model repeat itself")
    p.add_argument("--timeout", type=float, default=240, help="seconds one request may take")
    p.add_argument("--wait", type=float, default=0, help="seconds to wait for /health first")
    p.add_argument("--wait-pid", type=int, default=0, help="give up waiting when this process is gone")
    p.add_argument("--out", help="file for the JSON summary")
    return p.parse_args()


def connect(url, timeout):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        sys.exit(f"client: not an http address: {url}")
    return http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)


def alive(pid):
    """Reports whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def wait_for_health(url, limit, pid):
    """Waits until /health answers 200; returns the seconds it took."""
    start = time.monotonic()
    while True:
        connection = connect(url, 5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return time.monotonic() - start
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        if pid and not alive(pid):
            sys.exit(f"client: the server (process {pid}) ended before it answered")
        if time.monotonic() - start > limit:
            sys.exit(f"client: {url}/health did not answer within {limit:.0f} s")
        time.sleep(0.5)


def make_requests(args):
    """Returns the prompts (token ids) and the lengths of the answers. They depend on the seed only."""
    rng = random.Random(args.seed)

    def tokens(n):
        return [rng.randrange(FIRST_TOKEN, args.vocabulary) for _ in range(n)]

    def length(longest, at_least):
        return rng.randint(max(at_least, round(longest * (1 - args.spread))), longest)

    prefix = tokens(args.shared_prefix)
    out = []
    for _ in range(args.requests):
        prompt = prefix + tokens(length(args.prompt_tokens, args.shared_prefix + 1) - args.shared_prefix)
        out.append((prompt, length(args.max_tokens, 1)))
    return out


def make_extra_requests(args):
    """Returns the requests that are not to finish: (kind, prompt, length of the answer). An
    aborted request asks for as long an answer as the server allows, so that it cannot
    finish before the server notices."""
    prompt = [FIRST_TOKEN + i % (args.vocabulary - FIRST_TOKEN) for i in range(args.max_model_len + 1)]
    short = args.max_model_len // 8
    return [("abort", prompt[i : i + short], args.max_model_len - short) for i in range(args.abort)] + [("refuse", prompt, 1)] * args.refuse


def drop(connections):
    if getattr(connections, "connection", None):
        connections.connection.close()
    connections.connection = None


def send(args, connections, body):
    """Sends a request on the thread's connection, which is kept open as long as the server
    does: uvicorn closes one after 5 s without a request, and a busy server may notice
    that late. In that case the server has accepted nothing, and the request is sent again
    on a new connection."""
    while True:
        kept = getattr(connections, "connection", None)
        connection = connections.connection = kept or connect(args.url, args.timeout)
        try:
            connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
            return connection.getresponse()
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            drop(connections)
            if not kept:
                raise


def one_request(args, connections, kind, prompt, max_tokens):
    """Sends one request and returns its result; it is ok if it ends as its kind should: an
    empty one is to finish. Times are monotonic, in seconds."""
    body = json.dumps(
        {
            "model": args.model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "ignore_eos": True,
            "temperature": args.temperature,
            "seed": args.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )
    result = {"kind": kind, "ok": False, "error": None, "usage": None, "ttft": None, "e2e": None}
    start = result["start"] = time.monotonic()
    try:
        response = send(args, connections, body)
        if response.status != (400 if kind == "refuse" else 200):
            raise ValueError(f"status {response.status}: {response.read(500)!r}")
        if kind == "refuse":
            response.read()
        first = last = done = None
        while line := response.readline():
            if not line.startswith(b"data: "):
                continue
            if kind == "abort":
                break
            now = time.monotonic()
            data = line[6:].strip()
            if data == b"[DONE]":
                done = now
                continue
            chunk = json.loads(data)
            if chunk.get("error"):
                raise ValueError(f"error in the stream: {chunk['error']}")
            if chunk.get("choices"):
                first = first or now
                last = now
            if chunk.get("usage"):
                result["usage"] = chunk["usage"]
        if kind == "abort":
            drop(connections)
        elif not kind:
            if not (first and done and result["usage"]):
                raise ValueError("the stream ended early")
            result.update(ttft=first - start, e2e=last - start)
        result["ok"] = True
    except (OSError, http.client.HTTPException, ValueError) as error:
        result["error"] = f"{type(error).__name__}: {error}"
        drop(connections)
    result["end"] = time.monotonic()
    return result


def main():
    args = parse_arguments()
    waited = wait_for_health(args.url, args.wait, args.wait_pid) if args.wait else None
    requests = [("", *r) for r in make_requests(args)]
    extra = make_extra_requests(args)
    todo = list(requests)
    for i, request in enumerate(extra):  # spread among the others
        todo.insert((i + 1) * (len(requests) + len(extra)) // (len(extra) + 1), request)
    connections = threading.local()
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max(1, args.concurrency)) as pool:
        results = list(pool.map(lambda r: one_request(args, connections, *r), todo))
    wall = (max(r["end"] for r in results) - min(r["start"] for r in results)) if results else 0.0
    good = [r for r in results if r["ok"] and not r["kind"]]
    summary = {
        "requests": len(requests),
        "ok": len(good),
        "concurrency": args.concurrency,
        "prompt_tokens": sum(r["usage"]["prompt_tokens"] for r in good),
        "completion_tokens": sum(r["usage"]["completion_tokens"] for r in good),
        "sent_prompt_tokens": sum(len(prompt) for _, prompt, _ in requests),
        "sent_max_tokens": sum(n for _, _, n in requests),
        "aborted": sum(r["ok"] for r in results if r["kind"] == "abort"),
        "refused": sum(r["ok"] for r in results if r["kind"] == "refuse"),
        "shared_prefix": args.shared_prefix,
        "wall_seconds": wall,
        "total_seconds": time.monotonic() - begin,
        "waited_seconds": waited,
        "ttft_sum_seconds": sum(r["ttft"] for r in good),
        "e2e_sum_seconds": sum(r["e2e"] for r in good),
        "each": {
            "prompt_tokens": sorted(r["usage"]["prompt_tokens"] for r in good),
            "completion_tokens": sorted(r["usage"]["completion_tokens"] for r in good),
            "ttft_seconds": sorted(r["ttft"] for r in good),
            "e2e_seconds": sorted(r["e2e"] for r in good),
        },
        "model": args.model,
        "pid": os.getpid(),
        "errors": sorted({r["error"] for r in results if r["error"]}),
    }
    if args.out:
        part = f"{args.out}.part"
        with open(part, "w", encoding="utf-8") as f:
            json.dump(summary, f, indent=1)
            f.write("\n")
        os.replace(part, args.out)
    rate = summary["completion_tokens"] / wall if wall else 0.0
    print(
        f"client: {summary['ok']} of {summary['requests']} ok, {summary['prompt_tokens']} prompt and "
        f"{summary['completion_tokens']} completion tokens in {wall:.2f} s ({rate:.0f} tokens/s)",
        flush=True,
    )
    for error in summary["errors"][:5]:
        print(f"client: {error}", file=sys.stderr)
    return 0 if all(r["ok"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
