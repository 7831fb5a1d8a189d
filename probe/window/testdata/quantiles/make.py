"""Makes table.tsv: random histograms, and their quantiles as a real Prometheus computes them.

    apt-get download prometheus && dpkg -x prometheus_*.deb X
    python3 make.py X/usr/bin/prometheus

Run once, by hand, with Prometheus 2.42.0 (Debian 2.42.0+ds-5+deb12u1). Prometheus scrapes
the histograms from a page, and is queried for histogram_quantile of each. A line of the
table: kind, buckets as le:count in increasing order of le, the quantiles 0.5, 0.9, 0.95
and 0.99 as Prometheus writes them.
"""

import http.server
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

QUANTILES = (0.5, 0.9, 0.95, 0.99)
INF = float("inf")
rng = random.Random(20261122)


def bounds(n, low=1e-3, high=1e4):
    return sorted({float(f"{low * (high / low) ** rng.random():.3g}") for _ in range(n)})


def cumulative(n, most):
    counts, total = [], 0
    for _ in range(n):
        total += rng.choice((0, 0, rng.randint(0, most)))
        counts.append(total)
    return counts


def histograms():
    for i in range(600):
        kind = ("cumulative", "cumulative", "not monotonic", "negative bounds", "no observation", "one bucket", "two buckets",
                "no +Inf", "large counts", "bounds from 0", "all in one bucket", "fractions")[i % 12]
        les = bounds(rng.randint(2, 14)) + [INF]
        most = 50
        if kind == "large counts":
            most = 10**13
        if kind == "negative bounds":
            les = sorted({-x if rng.random() < 0.6 else x for x in les[:-1]}) + [INF]
        if kind == "bounds from 0":
            les = [0.0] + les
        if kind == "one bucket":
            les = [rng.choice((INF, INF, les[0]))]
        if kind == "two buckets":
            les = [rng.choice((les[0], -les[0], 0.0)), INF]
        counts = cumulative(len(les), most)
        if kind == "not monotonic":
            counts = [max(0, c - rng.choice((0, 0, rng.randint(0, 60)))) for c in counts]
        if kind == "no observation":
            counts = [0] * len(les)
        if kind == "no +Inf" and len(les) > 1:
            les, counts = les[:-1], counts[:-1]
        if kind == "all in one bucket":
            at = rng.randrange(len(les))
            counts = [0 if j < at else 17 for j in range(len(les))]
        if kind == "fractions":
            counts = [c * 0.3 for c in counts]
        yield kind, list(zip(les, counts))


def text(x):
    return "+Inf" if x == INF else repr(x)


table = list(histograms())
page = "# TYPE h histogram\n" + "".join(
    f'h_bucket{{n="{n}",le="{text(le)}"}} {count!r}\n' for n, (_, buckets) in enumerate(table) for le, count in buckets)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
with tempfile.TemporaryDirectory() as folder:
    config = pathlib.Path(folder, "prometheus.yml")
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [
        {"job_name": "h", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}]}))
    prometheus = subprocess.Popen([sys.argv[1], f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                                   "--web.listen-address=127.0.0.1:19377"], stderr=subprocess.DEVNULL)
    try:
        def ask(query):
            url = "http://127.0.0.1:19377/api/v1/query?" + urllib.parse.urlencode({"query": query})
            return json.load(urllib.request.urlopen(url))["data"]["result"]

        for _ in range(300):
            try:
                if ask("count(h_bucket)"):
                    break
            except OSError:
                pass
            time.sleep(0.1)
        answers = [{r["metric"]["n"]: r["value"][1] for r in ask(f"histogram_quantile({q}, h_bucket)")} for q in QUANTILES]
    finally:
        prometheus.terminate()
        prometheus.wait()

with open(pathlib.Path(__file__).parent / "table.tsv", "w") as out:
    for n, (kind, buckets) in enumerate(table):
        cells = [kind, " ".join(f"{text(le)}:{count!r}" for le, count in buckets)]
        print("\t".join(cells + [a[str(n)] for a in answers]), file=out)
