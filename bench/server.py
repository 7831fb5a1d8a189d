#!/usr/bin/env python3
"""Serves /metrics as vLLM's API server does, for the cost of being polled: overhead
measures this process's CPU time.

    server.py PAGE

The families are those of PAGE, a recorded page of vLLM. prometheus_client renders them on
every request, whole or restricted to the names in name[], as vLLM's handler does.
After a request for /work?seconds=N the engine is at work for N seconds: eight requests
run, and tokens are counted. It prints its port and serves until stdin ends.
"""

import http.server
import sys
import threading
import time
import urllib.parse

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

RUNNING = 8
TOKENS_PER_SECOND = 1000


class Family:
    """Collects one family, as vLLM's own gauges, counters and histograms do."""

    tokens = 0.0  # counted before the work that began last
    began = ended = 0.0

    @classmethod
    def work(cls, seconds):
        cls.tokens = cls.generated()
        cls.began = time.monotonic()
        cls.ended = cls.began + seconds

    @classmethod
    def generated(cls):
        return cls.tokens + (min(time.monotonic(), cls.ended) - cls.began) * TOKENS_PER_SECOND

    def __init__(self, family):
        self.family = family

    def describe(self):
        # A counter's own name stands for its time of creation too.
        return [] if self.family.name.endswith("_created") else [self.family]

    def collect(self):
        busy = time.monotonic() < self.ended
        now = {
            "vllm:num_requests_running": RUNNING * busy,
            "vllm:kv_cache_usage_perc": 0.25 * busy,
            "vllm:generation_tokens_total": self.generated(),
        }
        self.family.samples = [s._replace(value=now[s.name]) if s.name in now else s for s in self.family.samples]
        return [self.family]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    registry = prometheus_client.CollectorRegistry()

    def do_GET(self):  # noqa: N802 (the name that http.server calls)
        url = urllib.parse.urlsplit(self.path)
        status, body = 404, b""
        if url.path.rstrip("/") == "/metrics":
            registry = self.registry
            names = urllib.parse.parse_qs(url.query).get("name[]")
            if names:
                registry = registry.restricted_registry(names)
            status, body = 200, prometheus_client.generate_latest(registry)
        elif url.path == "/work":
            Family.work(float(urllib.parse.parse_qs(url.query)["seconds"][0]))
            status = 200
        elif url.path == "/health":
            status = 200
        self.send_response(status)
        self.send_header("Content-Type", prometheus_client.CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):  # noqa: A002
        pass


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        for family in text_string_to_metric_families(f.read()):
            Handler.registry.register(Family(family))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
