#!/usr/bin/env python3
"""A stand-in for an engine that has Zeus measure its energy.

    zeus_engine.py PORT REPORT

It serves vLLM's most important metrics, is idle, works and is idle again. ZeusMonitor
measures a window around all of that and one around the work; REPORT gets both, in
joules. With JOULES=FILE the energy counter of the fake NVML library is that file: it
moves by 100 W, and by 500 W during the work.
"""

import http.server
import json
import os
import sys
import threading
import time

from zeus.monitor import ZeusMonitor

IDLE_WATTS, ACTIVE_WATTS = 100, 500
BEFORE, WORK, AFTER = 4.0, 9.0, 1.0  # seconds
TOKENS_PER_SECOND = 1000

working = threading.Event()
ended = threading.Event()
tokens = 0.0


class Metrics(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        labels = '{engine="0",model_name="zeus"}'
        body = "".join(
            f"# TYPE vllm:{name} {kind}\nvllm:{name}{suffix}{labels} {value}\n"
            for name, suffix, kind, value in (
                ("num_requests_running", "", "gauge", int(working.is_set())),
                ("num_requests_waiting", "", "gauge", 0),
                ("kv_cache_usage_perc", "", "gauge", 0.5 * working.is_set()),
                ("generation_tokens", "_total", "counter", int(tokens)),
                ("prompt_tokens", "_total", "counter", 0),
            )
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def engine():
    """Counts tokens, and energy in the file of the fake library, until the end."""
    global tokens
    path = os.environ.get("JOULES")
    joules, last = 1000.0, time.monotonic()
    file = path and os.open(path, os.O_WRONLY)
    while not ended.is_set():
        time.sleep(0.005)
        now = time.monotonic()
        if working.is_set():
            tokens += TOKENS_PER_SECOND * (now - last)
        joules += (ACTIVE_WATTS if working.is_set() else IDLE_WATTS) * (now - last)
        last = now
        if file:
            os.pwrite(file, f"{joules:.6f}\n".encode(), 0)


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Metrics)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monitor = ZeusMonitor(gpu_indices=[0])
    monitor.begin_window("run", sync_execution=False)
    counting = threading.Thread(target=engine)
    counting.start()
    time.sleep(BEFORE)
    monitor.begin_window("work", sync_execution=False)
    working.set()
    time.sleep(WORK)
    working.clear()
    work = monitor.end_window("work", sync_execution=False)
    time.sleep(AFTER)
    ended.set()
    counting.join()
    run = monitor.end_window("run", sync_execution=False)
    report = {"real": "JOULES" not in os.environ, "tokens": int(tokens)}
    for name, window in (("run", run), ("work", work)):
        report[name] = {"seconds": window.time, "joules": sum(window.gpu_energy.values())}
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        json.dump(report, f)


if __name__ == "__main__":
    main()
