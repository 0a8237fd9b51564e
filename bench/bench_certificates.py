"""How often certificates exceed the truth, and how close to it they come.

Each case draws the outcomes of a mechanism whose epsilon is known, 2,000 times, and asks a certificate each time. A row
holds the share of bounds above the truth beside what its level allows (error + 3 standard deviations of the share), and
the median bound. Cases marked "not guaranteed" are asymptotic, credible or outside a method's assumptions on purpose.

``python -m bench.bench_certificates [--part PART] [--smoke]`` appends to ``bench/results/bench_certificates.jsonl``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special, stats

from bench import harness
from mace_jax import certificates as ct

RUNS, ERROR = 2000, 0.05
Rng = np.random.Generator
Drawn = tuple[np.ndarray, Any]
Draw = Callable[[Rng, int], Drawn]
Right = Callable[[Rng, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One mechanism under one method: ``draw`` returns a bound per repetition, and the truth (of each, or of all)."""

    method: str
    mechanism: str
    n: int
    draw: Draw
    delta: float = 0.0
    guaranteed: bool = True
    at_least: float | None = None  # the median bound that is asked for

    @property
    def name(self) -> str:
        return f"{self.method}, {self.mechanism}, n={self.n}" + (f", delta={self.delta:g}" if self.delta else "")


def _each(counts: np.ndarray, bound: Callable[..., float]) -> np.ndarray:
    """The bound of every row of counts; equal rows once."""
    rows, places = np.unique(counts, axis=0, return_inverse=True)
    return np.asarray([bound(*(int(count) for count in row)) for row in rows])[places.ravel()]


def _grown(epsilon: float) -> float:
    return float(special.expit(epsilon))


def _pair(
    name: str, tpr: float, fpr: float, n: int, m: int, truth: float, at_least: float | None = None, **options: Any
) -> Cell:
    """Counts of one rule, through ``epsilon_from_counts``."""
    method = options.get("method", "clopper_pearson")

    def draw(rng: Rng, runs: int) -> Drawn:
        counts = np.column_stack([rng.binomial(n, tpr, runs), rng.binomial(m, fpr, runs)])
        return _each(counts, lambda hits, alarms: ct.epsilon_from_counts(hits, n, alarms, m, **options)), truth

    return Cell(f"{method} pair", name, n, draw, options.get("delta", 0.0), method == "clopper_pearson", at_least)


def pairs() -> Iterator[Cell]:
    """Exact pairs, pure and with delta."""
    for epsilon in (0.5, 1.0, 2.0):
        kept = _grown(epsilon)
        for n in (50, 500, 10_000):
            bar = 0.85 if (epsilon, n) == (1.0, 10_000) else None
            yield _pair(f"randomized response {epsilon:g}", kept, 1.0 - kept, n, n, epsilon, bar)
        tpr, fpr = 0.5, 0.5 * math.exp(-epsilon)  # the cut at the members' center shows all of epsilon
        for n, m in ((50, 50), (1000, 1000), (200, 1800)):
            yield _pair(f"Laplace {epsilon:g} against {m}", tpr, fpr, n, m, epsilon)
        yield _pair(f"randomized response {epsilon:g}, guesses reversed", 1.0 - kept, kept, 500, 500, 0.0)
    for mu, delta, n in ((1.0, 0.01, 200), (1.0, 0.01, 5000), (2.0, 1e-3, 1000), (0.5, 0.05, 50)):
        epsilon = ct.gdp_epsilon(mu, delta)
        cut = epsilon / mu + mu / 2.0
        rates = float(stats.norm.sf(cut - mu)), float(stats.norm.sf(cut))
        yield _pair(f"Gaussian mu={mu:g}", *rates, n, n, epsilon, delta=delta)
    for delta, n in ((0.1, 50), (0.1, 1000), (0.01, 5000)):
        kept = delta + (1.0 - delta) * _grown(1.0)
        name = f"randomized response 1 that reveals with probability {delta:g}"
        yield _pair(name, kept, 1.0 - kept, n, n, 1.0, delta=delta)
    for rate in (0.01, 0.5, 0.99):
        yield _pair(f"no leak, rates {rate:g}", rate, rate, 1000, 50, 0.0)
    for tpr, fpr, n, m in ((0.99, 0.9, 100, 300), (0.05, 0.01, 500, 500)):
        yield _pair(f"rates {tpr:g} and {fpr:g} against {m}", tpr, fpr, n, m, float(ct.epsilon_from_rates(tpr, fpr)))
    kept = _grown(2.0)
    yield _pair("randomized response 2 on groups of two", kept, 1.0 - kept, 1000, 1000, 1.0, group_size=2)


Scores = Callable[[Rng], tuple[np.ndarray, np.ndarray]]


def _laws() -> dict[str, tuple[int, float, Scores]]:
    """Number of members, epsilon and a draw of both groups' scores."""
    n = 200

    def laplace(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        return rng.laplace(1.0, 1.0, n), rng.laplace(0.0, 1.0, n)

    def rounded(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        inside, outside = laplace(rng)
        return np.round(inside), np.round(outside)

    def nothing(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, 5, n).astype(float), rng.integers(0, 5, 50).astype(float)

    def smooth(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=500), rng.normal(size=500)

    def several(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        """Six looks at one Laplace output: itself, reversed, and four with noise on top."""
        groups = []
        for scores in laplace(rng):
            noise = rng.normal(size=(n, 4)) * [0.1, 0.5, 2.0, 8.0]
            groups.append(np.column_stack([scores, -scores, scores[:, None] + noise]))
        return groups[0], groups[1]

    return {
        "Laplace 1": (n, 1.0, laplace),
        "Laplace 1 rounded, ties": (n, 1.0, rounded),
        "no leak, five values": (n, 0.0, nothing),
        "no leak, equal normals": (500, 0.0, smooth),
        "Laplace 1, six queries": (n, 1.0, several),
    }


def searches() -> Iterator[Cell]:
    """Thresholds, and queries, chosen on the scores."""
    for name, (n, truth, scores) in _laws().items():
        for search in ("bonferroni", "dkw", "split", "fixed_sequence"):

            def draw(rng: Rng, runs: int, search: Any = search, scores: Scores = scores, truth: float = truth) -> Drawn:
                found = [ct.epsilon_from_scores(*scores(rng), search=search, seed=run).epsilon for run in range(runs)]
                return np.asarray(found), truth

            yield Cell(f"search {search}", name, n, draw)
    for name, epsilon in (("no leak", 0.0), ("randomized response 1 beside noise", 1.0)):
        yield Cell("rule memorized from the other half", name, 200, _memorized(epsilon, 200))


def _memorized(epsilon: float, n: int, bins: int = 40) -> Draw:
    """A lookup over 40 values that guesses "member" where the first half had more of them; truth: of that very rule."""
    kept = _grown(epsilon)
    inside = np.repeat([kept, 1.0 - kept], bins // 2) / (bins // 2)
    outside = inside[::-1]

    def draw(rng: Rng, runs: int) -> tuple[np.ndarray, np.ndarray]:
        half = n // 2
        rule = rng.multinomial(half, inside, runs) > rng.multinomial(half, outside, runs)
        tpr, fpr = np.clip(rule @ inside, 0.0, 1.0), np.clip(rule @ outside, 0.0, 1.0)
        counts = np.column_stack([rng.binomial(half, tpr), rng.binomial(half, fpr)])
        bounds = _each(counts, lambda hits, alarms: ct.epsilon_from_counts(hits, half, alarms, half))
        return bounds, np.asarray(ct.epsilon_from_rates(tpr, fpr))

    return draw


def _one_run(
    name: str,
    m: int,
    truth: float,
    right: Right,
    *,
    guesses: int | None = None,
    delta: float = 0.0,
    at_least: float | None = None,
) -> Cell:
    def draw(rng: Rng, runs: int) -> Drawn:
        asked = guesses or m
        counts = right(rng, runs)[:, None]
        return _each(counts, lambda correct: ct.epsilon_one_run(m, asked, correct, delta=delta)), truth

    return Cell("one run", name, m, draw, delta, at_least=at_least)


def _surest(noise: str, scale: float, m: int, guesses: int) -> Right:
    """Right guesses about the ``guesses`` of ``m`` coins whose noisy outputs lie farthest from the middle."""

    def right(rng: Rng, runs: int) -> np.ndarray:
        out = np.empty(runs, int)
        for run in range(runs):
            coins = rng.integers(0, 2, m)
            seen = (coins - 0.5) * scale + getattr(rng, noise)(0.0, 1.0, m)
            sure = np.argpartition(-abs(seen), guesses - 1)[:guesses]
            out[run] = ((seen > 0) == coins)[sure].sum()
        return out

    return right


def one_runs() -> Iterator[Cell]:
    """One training run, canaries included by coins."""
    for epsilon, m in ((0.5, 50), (1.0, 50), (2.0, 50), (0.5, 1000), (1.0, 1000), (2.0, 1000), (1.0, 10_000)):

        def answered(rng: Rng, runs: int, m: int = m, epsilon: float = epsilon) -> np.ndarray:
            return rng.binomial(m, _grown(epsilon), runs)

        bar = 0.85 if m == 10_000 else None
        yield _one_run(f"randomized response {epsilon:g}", m, epsilon, answered, at_least=bar)
        if m == 1000:
            yield _one_run(f"randomized response {epsilon:g}", m, epsilon, answered, delta=1e-5)
    for m, guesses in ((1000, 100), (1000, 1000), (200, 10)):
        surest = _surest("laplace", 1.0, m, guesses)
        yield _one_run(f"Laplace 1, {guesses} surest guesses", m, 1.0, surest, guesses=guesses)
    mu, delta = 1.0, 1e-3
    truth = ct.gdp_epsilon(mu, delta)
    surest = _surest("normal", mu, 500, 50)
    yield _one_run("Gaussian mu=1, 50 surest guesses", 500, truth, surest, guesses=50, delta=delta)

    def published(rng: Rng, runs: int) -> np.ndarray:
        return np.where(rng.random(runs) < 0.01, 200, rng.binomial(200, 0.5, runs))

    yield _one_run("publishes everything with probability 0.01, else nothing", 200, 0.0, published, delta=0.01)

    def leaky(rng: Rng, runs: int) -> np.ndarray:
        return rng.binomial(100, 0.01 + 0.99 * _grown(1.0), runs)

    yield _one_run("randomized response 1 that reveals with probability 0.01", 100, 1.0, leaky, delta=0.01)
    for p, epsilon in ((0.1, 1.0), (0.3, 2.0), (0.5, 1.0)):
        yield Cell("one run, prior p", f"randomized response {epsilon:g} at p={p:g}", 500, _at_prior(p, epsilon, 500))
    for guesses in (100, 500):
        right = _surest("normal", 1.0, 500, guesses)

        def gaussian(rng: Rng, runs: int, right: Any = right, guesses: int = guesses) -> Drawn:
            counts = right(rng, runs)[:, None]
            bounds = _each(counts, lambda correct: ct.epsilon_one_run_fdp(500, guesses, correct, delta=1e-5))
            return bounds, ct.gdp_epsilon(1.0, 1e-5)

        yield Cell("one run, Gaussian family", f"Gaussian mu=1, {guesses} surest guesses", 500, gaussian, 1e-5)


def _at_prior(p: float, epsilon: float, m: int) -> Draw:
    """Every canary is guessed as its randomized answer says."""

    def draw(rng: Rng, runs: int) -> Drawn:
        coins = rng.random((runs, m)) < p
        said = coins ^ (rng.random((runs, m)) >= _grown(epsilon))
        counts = np.column_stack([said.sum(1), (said == coins).sum(1)])

        def bound(positive: int, correct: int) -> float:
            return ct.epsilon_one_run_prior(positive, m - positive, correct, inclusion_probability=p)

        return _each(counts, bound), epsilon

    return draw


def families() -> Iterator[Cell]:
    """Gaussian and Laplace families, privacy profiles, several queries."""
    for n in (50, 500, 5000):

        def gaussian(rng: Rng, runs: int, n: int = n) -> Drawn:
            half = float(stats.norm.cdf(-0.5))
            counts = rng.binomial(n, half, (runs, 2))
            found = _each(counts, lambda missed, alarms: ct.epsilon_gdp(missed, n, alarms, n, delta=1e-5).epsilon)
            return found, ct.gdp_epsilon(1.0, 1e-5)

        yield Cell("Gaussian differential privacy", "Gaussian mu=1", n, gaussian, 1e-5)

        def laplace(rng: Rng, runs: int, n: int = n) -> Drawn:
            rate = float(stats.laplace.sf(0.5))
            counts = rng.binomial(n, rate, (runs, 2))

            def bound(missed: int, alarms: int) -> float:
                return ct.f_dp_parameter(missed, n, alarms, n, ct.laplace_trade_off, bounds=(0.0, 50.0))

            return _each(counts, bound), 1.0

        yield Cell("f-DP, Laplace family", "Laplace 1", n, laplace)
    grid = np.linspace(0.0, 4.0, 41)

    def profile(rng: Rng, runs: int) -> Drawn:
        """Largest excess over the true curve, at any epsilon."""
        counts = rng.binomial(300, stats.norm.sf([0.0, 1.0]), (runs, 2))
        truth = ct.gdp_delta(1.0, grid)
        return _each(counts, lambda a, b: float((ct.privacy_profile_bound(a, 300, b, 300, grid) - truth).max())), 0.0

    yield Cell("privacy profile, excess over the whole curve", "Gaussian mu=1", 300, profile)

    def mixture(rng: Rng, runs: int) -> Drawn:
        share = 1.0 - _grown(0.5)
        right = share * stats.norm.sf(0.0) + (1.0 - share) * stats.norm.cdf(1.0)
        counts = rng.binomial(1000, right, runs)[:, None]
        truth = float(right * (1.0 + math.exp(0.5)) - math.exp(0.5))
        return _each(counts, lambda correct: ct.delta_from_mixture(correct, 1000, 0.5)), truth

    yield Cell("delta from a mixture", "Gaussian mu=1 at epsilon 0.5, cut at 1", 1000, mixture)
    for correction in ("bonferroni", "holm"):
        truths = np.asarray([0.0, 0.5])

        def queries(rng: Rng, runs: int, correction: Any = correction, truths: np.ndarray = truths) -> Drawn:
            """1 where any of the statements over the same 100 records is wrong, else 0."""
            kept = special.expit(truths)
            hits = (rng.random((runs, 100, 1)) < kept).sum(1)
            alarms = (rng.random((runs, 100, 1)) < 1.0 - kept).sum(1)

            def wrong(a: int, b: int, c: int, d: int) -> float:
                found = ct.epsilon_over_queries([(a, 100, b, 100), (c, 100, d, 100)], correction=correction)
                return float((np.asarray(found.bounds) > truths).any() or found.exceeds[0])

            return _each(np.column_stack([hits[:, 0], alarms[:, 0], hits[:, 1], alarms[:, 1]]), wrong), 0.0

        yield Cell(f"two queries, {correction}, any statement", "randomized response 0 and 0.5", 100, queries)


def unguaranteed() -> Iterator[Cell]:
    """Asymptotic and credible methods, and a method outside its assumptions."""
    kept = _grown(1.0)
    for method in ("katz", "adjusted_log", "bailey", "inverse_sinh"):
        yield _pair("randomized response 1", kept, 1.0 - kept, 500, 500, 1.0, method=method)
        yield _pair("no leak, rates 0.01 against 50", 0.01, 0.01, 1000, 50, 0.0, method=method)

    def credible(rng: Rng, runs: int) -> Drawn:
        counts = np.column_stack([rng.binomial(50, kept, runs), rng.binomial(50, 1.0 - kept, runs)])
        return _each(counts, lambda a, b: ct.epsilon_joint_beta(a, 50 - a, b, 50 - b).low), 1.0

    yield Cell("low end of the 90 % joint-beta interval", "randomized response 1", 50, credible, guaranteed=False)

    def one_model(rng: Rng, runs: int) -> Drawn:
        """All records' guesses come from one model: they are right together or not at all."""
        published = rng.random(runs) < 0.1
        counts = np.column_stack([np.where(published, 1000, rng.binomial(1000, 0.5, runs)), np.zeros(runs, int)])
        counts[:, 1] = np.where(published, 0, rng.binomial(1000, 0.5, runs))
        return _each(counts, lambda a, b: ct.epsilon_from_counts(a, 1000, b, 1000, delta=0.1)), 0.0

    name = "one model that publishes everything with probability 0.1, read as a claim about the algorithm"
    yield Cell("clopper_pearson pair", name, 1000, one_model, 0.1, guaranteed=False)

    def wrong_family(rng: Rng, runs: int) -> Drawn:
        counts = rng.binomial(5000, 1.0 - kept, (runs, 2))
        return _each(counts, lambda a, b: ct.epsilon_gdp(a, 5000, b, 5000, delta=1e-5).epsilon), 1.0

    name = "randomized response 1, which is not Gaussian"
    yield Cell("Gaussian differential privacy", name, 5000, wrong_family, 1e-5, guaranteed=False)


PARTS = {"pairs": pairs, "searches": searches, "one_runs": one_runs, "families": families, "unguaranteed": unguaranteed}
_SMOKE = {"pairs": 3, "searches": 4, "one_runs": 2, "families": 2, "unguaranteed": 1}


def measure(cell: Cell, runs: int) -> dict[str, Any]:
    """One row."""
    start = time.perf_counter()
    bounds, truth = cell.draw(np.random.default_rng(zlib.crc32(cell.name.encode())), runs)
    above = float(np.mean(bounds > np.asarray(truth) + 1e-12))
    allowed = ERROR + 3.0 * math.sqrt(ERROR * (1.0 - ERROR) / runs)
    median = float(np.median(bounds))
    row = {"case": cell.name, "method": cell.method, "mechanism": cell.mechanism, "n": cell.n, "delta": cell.delta}
    row |= {"confidence_level": 1.0 - ERROR, "repetitions": runs, "truth": float(np.median(truth)), "median": median}
    row |= {"above": above, "allowed": allowed, "within": above <= allowed, "guaranteed": cell.guaranteed}
    if cell.at_least is not None:
        row |= {"median_asked": cell.at_least, "median_met": median >= cell.at_least}
    return row | {"seconds": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description="Certificates beside the truth.")
    parser.add_argument("--smoke", action="store_true", help="a few cases, 50 repetitions, nothing is recorded")
    parser.add_argument("--part", choices=sorted(PARTS), help="only these cases")
    parser.add_argument("--repetitions", type=int, default=RUNS)
    arguments = parser.parse_args()
    common = {"bench": "bench_certificates", **harness._surroundings()}
    for part, cells in PARTS.items():
        if arguments.part not in (None, part):
            continue
        for place, cell in enumerate(cells()):
            if arguments.smoke and place >= _SMOKE[part]:
                break
            row = {**common, "part": part, **measure(cell, 50 if arguments.smoke else arguments.repetitions)}
            if not arguments.smoke:
                harness.RESULTS.mkdir(parents=True, exist_ok=True)
                with (harness.RESULTS / "bench_certificates.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            verdict = "within" if row["within"] else "ABOVE" if cell.guaranteed else "above, as is documented"
            asked = "" if row.get("median_met", True) else f", MEDIAN BELOW {cell.at_least}"
            print(
                f"{row['case']:102.102} truth {row['truth']:7.4f} median {row['median']:7.4f} above {row['above']:.4f} "
                f"of {row['allowed']:.4f} {verdict}{asked} ({row['seconds']:.1f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
