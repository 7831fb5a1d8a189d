"""Writes the recorded expositions of the folder above once more, as OpenMetrics 1.0.

    python3 -m venv V && V/bin/pip install prometheus_client==0.26.0
    V/bin/python make.py

Run once, by hand: the engine that was recorded answers in the text format whatever it
is asked for. prometheus_client reads a page, writes it in the other dialect, and its
OpenMetrics parser, which is strict, reads that back. Two things are added, which the
dialect has and the recordings have not: exemplars, on the first bucket and on the
counters of requests, and units of the families whose name ends in one.
"""

import pathlib

from prometheus_client.core import Exemplar, Metric
from prometheus_client.openmetrics.exposition import ALLOWUTF8, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

UNITS = ("seconds", "bytes")


class Page:
    def __init__(self, families):
        self.families = families

    def collect(self):
        return self.families


def convert(text):
    families = {}
    created = {}
    for family in read_text(text):
        if family.name.endswith("_created") and family.type == "gauge":
            created[family.name] = family
        else:
            families[family.name] = family
    for name, family in created.items():
        # The text format makes families of their own of these samples.
        base = families.get(name[: -len("_created")])
        if base is None or base.type not in ("counter", "histogram", "summary"):
            families[name] = family
            continue
        times = {tuple(sorted(s.labels.items())): s for s in family.samples}
        merged, seen = [], set()
        for s in base.samples:
            key = tuple(sorted((k, v) for k, v in s.labels.items() if k not in ("le", "quantile")))
            if key not in seen and merged:
                merged.extend(pending)
            if key not in seen:
                seen.add(key)
                pending = [times[key]] if key in times else []
            merged.append(s)
        merged.extend(pending)
        base.samples = merged
    out = []
    for family in families.values():
        unit = next((u for u in UNITS if family.name.endswith("_" + u)), "")
        changed = Metric(family.name, family.documentation, family.type, unit)
        first = True
        for s in family.samples:
            if family.type == "histogram" and s.name.endswith("_bucket") and first:
                s = s._replace(exemplar=Exemplar({"trace_id": 'a "quoted" } # id'}, float(s.labels["le"]) / 2, 1795306000.25))
                first = False
            elif family.type == "counter" and s.name.endswith("_success_total"):
                s = s._replace(exemplar=Exemplar({"trace_id": "4bf92f3577b34da6"}, 1.0))
            changed.samples.append(s)
        out.append(changed)
    # The default would write the samples' names, not the families', with _ for :.
    return generate_latest(Page(out), escaping=ALLOWUTF8).decode()


here = pathlib.Path(__file__).parent
for path in sorted(here.parent.glob("*.prom")):
    if path.stem.endswith("_openmetrics"):
        continue  # what was asked for, not what came: it is serve_default_idle once more
    page = convert(path.read_text())
    samples = sum(len(f.samples) for f in read_openmetrics(page))
    (here / (path.stem + ".om")).write_text(page)
    print(path.stem, samples, "samples")
