"""Writes the directory kinds/: files of every kind from three processes, written by
prometheus_client itself, and expected.prom, its own collector's page of them.

    python3 -m venv v && v/bin/pip install prometheus_client==0.26.0
    v/bin/python probe/multiproc/testdata/kinds.py

The output is the same each time: process ids and clock are fixed. Every value and every
sum is exact in binary, so that the order of addition does not matter.
"""

import os
import pathlib
import shutil
import struct
import time

DIR = pathlib.Path(__file__).resolve().parent / "kinds"
shutil.rmtree(DIR, ignore_errors=True)
(DIR / "db").mkdir(parents=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(DIR / "db")

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest, values  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead  # noqa: E402

ODD = [
    "plain",
    "",
    'with "quotes"',
    "back\\slash",
    "new\nline",
    "tab\tand\x01control",
    "größe 温度 🌡",
    "a,b=c}{",
    " blank ",
]
MODES = sorted(Gauge._MULTIPROC_MODES)
NUMBERS = [0.5, -3.0, 1e300, 5e-324, float("inf"), 2.0**53]


def process(pid, now):
    values.ValueClass = values.MultiProcessValue(lambda: pid)
    time.time = lambda: now
    registry = CollectorRegistry()
    c = Counter("requests", "Of every\nkind \\ and \"more\".", ["path", "code"], registry=registry)
    for i, odd in enumerate(ODD):
        c.labels(odd, "200").inc(i * pid)
    c.labels("only", str(pid)).inc(1)
    Counter("idle", "Never counted.", registry=registry)
    Counter("silent", "Without a child.", ["x"], registry=registry)
    Counter("already_total", "Whose name ends so.", registry=registry).inc(0.25)

    for mode in MODES:
        g = Gauge("gauge_" + mode, "A gauge.", ["of"], registry=registry, multiprocess_mode=mode)
        for i, number in enumerate(NUMBERS):
            if mode.endswith("sum") and number in (1e300, 5e-324):
                continue
            g.labels(f"n{i}").set(number)
        g.labels("pid").set(pid)
        g.labels("falling").set(-pid)
        g.labels("never")
        if pid == 102:
            g.labels("once").set(7)
        own = Gauge("own_" + mode, "With a label pid of its own.", ["pid", "of"], registry=registry, multiprocess_mode=mode)
        own.labels("1", "x").set(pid)
    Gauge("nan", "No number.", registry=registry).set(float("nan"))

    h = Histogram("seconds", "With odd bounds.", ["of"], registry=registry,
                  buckets=[-1, 0, 0.00001, 0.0001, 0.125, 1, 1.5, 100000, 1e6, 1234567, 12345678.5, 1e12, 1e16, 1e21])
    for i, odd in enumerate(ODD):
        for x in (-2, 0, 0.125, 1.25, i * pid, 2e6, 2.0**40):
            h.labels(odd).observe(x)
    h.labels("never")
    # The processes' bounds differ, as those of a new and an old version would.
    Histogram("differing", "Bounds.", registry=registry, buckets=[1, 2, 4] if pid == 101 else [1, 3, 4]).observe(2)
    Histogram("le_free", "No labels.", registry=registry).observe(0.5)

    s = Summary("bytes", "A summary.", ["of"], registry=registry)
    s.labels("x").observe(pid)
    s.labels("x").observe(-0.5)
    # Enough series that the file has to grow, twice in the first process.
    many = Counter("many", "m" * 300, ["n"], registry=registry)
    for n in range({101: 350, 102: 200, 103: 3}[pid]):
        many.labels(f"{n:03d}").inc(n * 0.5)


for pid, now in ((101, 1000.25), (102, 3000.5), (103, 2000.0)):
    process(pid, now)
mark_process_dead(103)

# Keep only the used pages: the rest is zeros.
for file in (DIR / "db").iterdir():
    used = struct.unpack("i", file.read_bytes()[:4])[0]
    os.truncate(file, -(-used // 4096) * 4096)

registry = CollectorRegistry()
MultiProcessCollector(registry)
(DIR / "expected.prom").write_bytes(generate_latest(registry))
assert set(MODES) == {f.name.split("_")[1] for f in (DIR / "db").glob("gauge_*")}
