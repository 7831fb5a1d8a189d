"""Makes reference.json: results of SciPy, and exact ones by counting in integers.

    pip install scipy==1.17.1 && python3 reference.py

Run once, by hand, with Python 3.11 and SciPy 1.17.1. Ranks without ties, normal
approximations and Student's t are SciPy's. SciPy's exact tests ignore ties and zeros, so
these cases count all outcomes in Python's integers: one by one if there are few, and by the
generating function of the rank sums otherwise. The script checks one against the other, and
both against SciPy where it applies.
"""

import fractions
import itertools
import json
import math
import pathlib

import numpy
import scipy
from scipy import stats

rng = numpy.random.default_rng(20261130)


def doubled_midranks(values):
    return [int(2 * r) for r in stats.rankdata(values)]


def tails(outcomes, seen):
    """p of an outcome, from a table of how often each occurs."""
    total = sum(outcomes.values())
    low = sum(n for s, n in outcomes.items() if s <= seen)
    high = sum(n for s, n in outcomes.items() if s >= seen)
    return float(min(1, 2 * fractions.Fraction(min(low, high), total)))


def mann_whitney_p(x, y):
    ranks = doubled_midranks(list(x) + list(y))
    seen = sum(ranks[len(x):])
    ways = [{} for _ in range(len(y) + 1)]  # ways[k]: sums of k of the ranks so far
    ways[0][0] = 1
    for r in ranks:
        for k in range(len(y), 0, -1):
            for s, n in ways[k - 1].items():
                ways[k][s + r] = ways[k].get(s + r, 0) + n
    p = tails(ways[len(y)], seen)
    if math.comb(len(ranks), len(y)) <= 20_000:
        listed = {}
        for chosen in itertools.combinations(ranks, len(y)):
            listed[sum(chosen)] = listed.get(sum(chosen), 0) + 1
        assert p == tails(listed, seen)
    return p


def signed_rank_p(differences):
    ranks = doubled_midranks([abs(d) for d in differences])
    seen = sum(r for r, d in zip(ranks, differences) if d > 0)
    ranks = [r for r, d in zip(ranks, differences) if d != 0]
    ways = {0: 1}
    for r in ranks:
        more = dict(ways)
        for s, n in ways.items():
            more[s + r] = more.get(s + r, 0) + n
        ways = more
    p = tails(ways, seen)
    if len(ranks) <= 12:
        listed = {}
        for signs in itertools.product((0, 1), repeat=len(ranks)):
            s = sum(r for r, sign in zip(ranks, signs) if sign)
            listed[s] = listed.get(s, 0) + 1
        assert p == tails(listed, seen)
    return p


def close(a, b, tolerance=1e-12):
    assert abs(a - b) <= tolerance * b, (a, b)


def plain(values):
    return [float(v) for v in values]


mann_whitney, signed_rank = [], []

for n, m in [(1, 1), (1, 20), (2, 3), (3, 3), (4, 7), (5, 5), (8, 8), (10, 10), (25, 25), (30, 12), (9, 200), (50, 50)]:
    for shift in (0, 1, 2.5):
        x, y = plain(rng.normal(size=n)), plain(rng.normal(size=m) + shift)
        u, p = stats.mannwhitneyu(y, x, method="exact")
        close(p, mann_whitney_p(x, y))
        mann_whitney.append({"source": "scipy exact", "x": x, "y": y, "u": float(u), "p": float(p), "exact": True})

for n, m in [(2, 2), (3, 3), (3, 5), (7, 4), (6, 6), (7, 7), (10, 10), (12, 20), (25, 25), (8, 70)]:
    for digits, shift in ((0, 0), (0, 1), (1, 1)):
        x, y = plain(rng.normal(size=n).round(digits)), plain((rng.normal(size=m) + shift).round(digits))
        x[0] = x[-1] = y[0]
        mann_whitney.append({"source": "counted", "x": x, "y": y, "u": float(stats.mannwhitneyu(y, x).statistic), "p": mann_whitney_p(x, y), "exact": True})

for n, m, digits in [(51, 50, 9), (60, 70, 9), (26, 25, 1), (40, 30, 0), (200, 300, 9), (200, 300, 1), (5, 1000, 2)]:
    for shift in (0, 0.3, 1):
        x, y = plain(rng.normal(size=n).round(digits)), plain((rng.normal(size=m) + shift).round(digits))
        u, p = stats.mannwhitneyu(y, x, method="asymptotic", use_continuity=True)
        mann_whitney.append({"source": "scipy asymptotic", "x": x, "y": y, "u": float(u), "p": float(p), "exact": False})

for n in (1, 2, 5, 7, 8, 10, 20, 25, 50):
    for shift in (0, 0.5, 2):
        d = plain(rng.normal(size=n) + shift)
        p = stats.wilcoxon(d, method="exact").pvalue
        close(p, signed_rank_p(d))
        w = stats.wilcoxon(d, method="exact", alternative="greater").statistic
        signed_rank.append({"source": "scipy exact", "d": d, "w": float(w), "p": float(p), "exact": True})

for n in (2, 4, 6, 8, 10, 12, 20, 50):
    for digits, shift in ((0, 0), (0, 1), (1, 1)):
        d = plain((rng.normal(size=n) + shift).round(digits))
        d[0] = 0.0
        ranks = stats.rankdata(numpy.abs(d))
        w = sum(r for r, v in zip(ranks, d) if v > 0)
        signed_rank.append({"source": "counted", "d": d, "w": float(w), "p": signed_rank_p(d), "exact": True})

for n, digits in [(51, 9), (60, 1), (100, 0), (300, 9), (300, 1)]:
    for shift in (0, 0.2, 0.6):
        d = plain((rng.normal(size=n) + shift).round(digits))
        options = {"zero_method": "pratt", "correction": True, "method": "asymptotic"}
        p = stats.wilcoxon(d, **options).pvalue
        w = stats.wilcoxon(d, alternative="greater", **options).statistic
        signed_rank.append({"source": "scipy asymptotic", "d": d, "w": float(w), "p": float(p), "exact": False})

runs = []
for n, m in [(0, 0), (0, 3), (1, 1), (1, 7), (3, 3), (5, 5), (4, 9), (10, 10), (30, 50), (400, 300)]:
    for r in sorted({0, 1, 2, 3, 4, 5, 8, 11, 20, (n + m) // 2, n + m, n + m + 1}):
        ways = 0
        if n == 0 or m == 0:
            ways = int(r >= min(1, n + m))
        else:
            for k in range(1, r // 2 + 1):
                ways += 2 * math.comb(n - 1, k - 1) * math.comb(m - 1, k - 1)
            for k in range(1, (r - 1) // 2 + 1):
                ways += math.comb(n - 1, k) * math.comb(m - 1, k - 1) + math.comb(n - 1, k - 1) * math.comb(m - 1, k)
        p = fractions.Fraction(ways, math.comb(n + m, n))
        if 0 < n + m <= 12:
            listed = 0
            for places in itertools.combinations(range(n + m), n):
                kinds = [i in places for i in range(n + m)]
                listed += 1 + sum(a != b for a, b in zip(kinds, kinds[1:])) <= r
            assert p == fractions.Fraction(listed, math.comb(n + m, n)), (n, m, r)
        runs.append({"runs": r, "n": n, "m": m, "p": float(p)})

student = []
for df in (1, 2, 3, 4, 5, 7, 8, 10, 19, 29, 30, 99, 100, 999, 1000, 1001, 1002, 9999, 100_000):
    for p in (1e-6, 0.005, 0.05, 0.3, 0.5, 0.6, 0.75, 0.9, 0.95, 0.975, 0.995, 0.9995):
        student.append({"p": p, "df": df, "t": float(stats.t.ppf(p, df))})

prediction = []
for n in (2, 3, 8, 20, 100):
    values = plain(rng.normal(loc=3, scale=0.1, size=n))
    for alpha in (0.05, 0.01):
        half = stats.t.ppf(1 - alpha / 2, n - 1) * numpy.std(values, ddof=1) * math.sqrt(1 + 1 / n)
        mean = float(numpy.mean(values))
        prediction.append({"values": values, "alpha": alpha, "mean": mean, "low": float(mean - half), "high": float(mean + half)})

out = {
    "made_by": f"reference.py with SciPy {scipy.__version__}",
    "mann_whitney": mann_whitney,
    "signed_rank": signed_rank,
    "runs": runs,
    "student": student,
    "prediction": prediction,
}
lines = [f"{json.dumps(name)}: " + (json.dumps(cases) if isinstance(cases, str) else "[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]") for name, cases in out.items()]
pathlib.Path(__file__).with_name("reference.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
