"""Makes trend.json: trends by pymannkendall.

    pip install pymannkendall==1.4.3 && python3 trend.py

Run once, by hand, with Python 3.11, pymannkendall 1.4.3 and SciPy 1.17.1. Series whose variance
the test of Hamed and Rao would reduce are left out: package stats does not reduce it.
"""

import json
import pathlib

import numpy
import pymannkendall

rng = numpy.random.default_rng(17)
cases = []
for n in (10, 24, 60, 120):
    for rho in (0.0, 0.3, 0.6, 0.9):
        for slope in (0.0, 0.02, 0.2):
            for ties in (False, True):
                x = numpy.zeros(n)
                x[0] = rng.normal()
                for i in range(1, n):
                    x[i] = rho * x[i - 1] + rng.normal()
                x += slope * numpy.arange(n)
                x = numpy.round(x, 0 if ties else 4)
                plain = pymannkendall.original_test(x)
                r = pymannkendall.hamed_rao_modification_test(x)
                if not r.var_s >= plain.var_s:
                    continue
                cases.append({"values": [float(v) for v in x], "p": float(r.p), "slope": float(r.slope), "s": float(r.s)})

pathlib.Path(__file__).with_name("trend.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases")
