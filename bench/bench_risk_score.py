"""How wrong are privacy risk scores, and how often do their limits hold the truth? By simulation with known truth.

Scores of 30 classes are log-normal: ln of a member's score has mean mu_c and deviation 1, a non-member's mean
mu_c + d_c and the deviation of the law. The calibration model gives 5 to 200 rows per class and side; 2,000 further
rows per class and side stand for the population of the attacked model. Each rule is fitted anew in every repetition.

* ``error``: the expected calibration error over 10 bins of equal width, as it comes, nothing taken off: its mean over
  repetitions and the standard error of that mean. With 120,000 evaluation rows its own upward bias is ``chance``: the
  mean error that scores of exact calibration would have in the same bins. ``brier`` is the mean squared error.
* ``coverage``: how often the 95 % limits of a record's score hold the true P(member | bin, class), over evaluation
  records; ``informed`` leaves out limits that are 0 to 1. And the exact coverage of the plain limits at fixed shares.
* ``seconds``: 1,000,000 records of 100 classes, calibrated on as many.

    python -m bench.bench_risk_score [--part error|coverage|exact|speed] [--repetitions 40]

Rows are appended to ``bench/results/bench_risk_score.jsonl``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special, stats

from bench.harness import RESULTS
from mace_jax.attacks._risk_limits import end_rule, log_ratio_quantile
from mace_jax.attacks._risk_score import privacy_risk_score

FILE = RESULTS / "bench_risk_score.jsonl"
N_CLASSES, N_EVALUATED, ROWS = 30, 2000, (5, 16, 50, 200)
RULES: dict[str, dict[str, Any]] = {
    "published (a = 0)": {"smoothing": 0.0, "parity": True},
    "a = 0.5, not shrunk": {"smoothing": 0.5, "shrinkage": 0.0},
    "a = 1, not shrunk": {"smoothing": 1.0, "shrinkage": 0.0},
    "default": {},
    "knn": {"form": "knn"},
    "isotonic": {"form": "isotonic"},
}


@dataclasses.dataclass(frozen=True)
class Law:
    """Separations d_c are uniform between two limits; ``deviation`` is that of non-members."""

    name: str
    near: float
    far: float
    deviation: float = 1.0


LAWS = (
    Law("alike", 0.5, 2.0),
    Law("unlike", 0.0, 4.0),
    Law("curved", 0.5, 1.5, 1.5),  # the log-ratio is a parabola of the logarithm
    Law("nothing", 0.0, 0.0),
)


@dataclasses.dataclass(frozen=True)
class World:
    """One draw of the classes."""

    law: Law
    place: np.ndarray
    separation: np.ndarray

    @classmethod
    def draw(cls, law: Law, rng: np.random.Generator) -> World:
        return cls(law, rng.normal(size=N_CLASSES), rng.uniform(law.near, law.far, N_CLASSES))

    def sample(self, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Members' values, non-members' values, and the class of either."""
        y = np.repeat(np.arange(N_CLASSES), rows)
        member = np.exp(self.place[y] + rng.normal(size=len(y)))
        other = np.exp(self.place[y] + self.separation[y] + self.law.deviation * rng.normal(size=len(y)))
        return member, other, y

    def shares(self, low: np.ndarray, high: np.ndarray, y: np.ndarray) -> np.ndarray:
        """P(member | value between two limits, class) at prior one half."""
        with np.errstate(divide="ignore"):
            ends = np.log(low) - self.place[y], np.log(high) - self.place[y]
        p = special.ndtr(ends[1]) - special.ndtr(ends[0])
        ends = tuple((end - self.separation[y]) / self.law.deviation for end in ends)
        q = special.ndtr(ends[1]) - special.ndtr(ends[0])
        return p / np.maximum(p + q, 1e-300)


def calibration_error(score: np.ndarray, share: np.ndarray) -> float:
    """Sum over 10 bins of equal width of mass times |mean score - mean share|; shares may be labels."""
    place = np.minimum((score * 10).astype(int), 9)
    return float(np.abs(np.bincount(place, score - share)).sum() / len(score))


def errors(law: Law, rows: int, rules: dict[str, dict[str, Any]], repetitions: int) -> dict[str, dict[str, float]]:
    """Mean calibration error of each rule."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in rules}
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, rows, LAWS.index(law)])
        world = World.draw(law, rng)
        member, other, y = world.sample(rows, rng)
        new_member, new_other, z = world.sample(N_EVALUATED, rng)
        label = np.repeat([1.0, 0.0], len(z))
        for name, settings in rules.items():
            scores = privacy_risk_score(
                member, y, other, y, np.concatenate([new_member, new_other]), np.tile(z, 2), **settings
            ).posterior
            exact = calibration_error(scores, rng.random(len(scores)) < scores)
            found[name].append((calibration_error(scores, label), exact, float(((scores - label) ** 2).mean())))
    out = {}
    for name, values in found.items():
        error, exact, brier = np.array(values).T
        spread = float(error.std(ddof=1) / np.sqrt(repetitions))
        out[name] = {
            "error": float(error.mean()),
            "standard_error": spread,
            "worst": float(error.max()),
            "chance": float(exact.mean()),
            "brier": float(brier.mean()),
        }
    return out


def coverage(law: Law, rows: int, rules: dict[str, dict[str, Any]], repetitions: int) -> dict[str, dict[str, float]]:
    """How often limits of evaluated records hold the true share of their bin."""
    from mace_jax.attacks._risk_bins import class_bins

    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in rules}
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, rows, LAWS.index(law), 1])
        world = World.draw(law, rng)
        member, other, y = world.sample(rows, rng)
        new_member, new_other, z = world.sample(50, rng)
        values, classes = np.concatenate([new_member, new_other]), np.tile(z, 2)
        bins = class_bins(member, y, other, y, N_CLASSES, bins=5, log=True, parity=False)
        edges = bins.edges.copy()
        edges[:, 0], edges[:, -1] = 0.0, np.inf  # what lies beyond the end edges counts to the end bins
        place = bins.place(classes, values)
        truth = world.shares(edges[classes, place], edges[classes, place + 1], classes)
        for name, settings in rules.items():
            scores = privacy_risk_score(member, y, other, y, values, classes, **settings)
            held = (scores.low <= truth) & (truth <= scores.high)
            informed = scores.high - scores.low < 1.0
            found[name].append((held.mean(), held[informed].mean(), (scores.high - scores.low).mean()))
    return {
        name: dict(zip(("coverage", "coverage_informed", "mean_width"), np.mean(values, axis=0).tolist(), strict=True))
        for name, values in found.items()
    }


def exact_coverage(n: int, p: float, q: float, *, ends: bool) -> float:
    """Of the plain 95 % limits: a sum over all counts of more than negligible probability."""
    k = np.arange(n + 1)
    masses = [stats.binom.pmf(k, n, share) for share in (p, q)]
    kept = [k[mass > 1e-7] for mass in masses]
    k_in, k_out = np.broadcast_arrays(kept[0][:, None], kept[1][None])
    shape = k_in + 0.5, n - k_in + 0.5, k_out + 0.5, n - k_out + 0.5
    low, high = log_ratio_quantile(*shape, 0.025), log_ratio_quantile(*shape, 0.975)
    if ends:
        low, high = end_rule(low, high, k_in, k_out)
    truth = np.log(p / q)
    return float((masses[0][k_in] * masses[1][k_out] * ((low <= truth) & (truth <= high))).sum())


def speed(n: int, n_classes: int) -> dict[str, float]:
    """Seconds per form, median of three."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, n)
    member, other, values = (np.exp(shift + rng.normal(size=n)) for shift in (0.0, 1.0, 0.5))
    out = {}
    for name, settings in RULES.items():
        spent = []
        for _ in range(3):
            start = time.perf_counter()
            privacy_risk_score(member, y, other, y, values, y, **settings)
            spent.append(time.perf_counter() - start)
        out[name] = statistics.median(spent)
    return out


def rows_of(part: str, repetitions: int) -> Iterator[dict[str, Any]]:
    """The rows of one part."""
    if part == "speed":
        for name, seconds in speed(1_000_000, 100).items():
            yield {"part": part, "rule": name, "records": 1_000_000, "classes": 100, "seconds": round(seconds, 3)}
    elif part == "exact":
        for n, p, q in ((16, 0.4, 0.1), (50, 0.4, 0.1), (200, 0.3, 0.2), (16, 0.2, 0.02)):
            for ends in (False, True):
                value = exact_coverage(n, p, q, ends=ends)
                yield {"part": part, "n": n, "p": p, "q": q, "end_rule": ends, "coverage": round(value, 4)}
    else:
        rules = dict(list(RULES.items())[:4]) if part == "coverage" else RULES
        for law in LAWS:
            for rows in ROWS:
                start = time.perf_counter()
                cells = (errors if part == "error" else coverage)(law, rows, rules, repetitions)
                spent = time.perf_counter() - start
                for name, cell in cells.items():
                    figures = {key: round(value, 4) for key, value in cell.items()}
                    common = {"law": law.name, "rows_per_class_and_side": rows, "rule": name}
                    yield {"part": part, **common, **figures, "repetitions": repetitions, "seconds": round(spent, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibration error and coverage of privacy risk scores.")
    parser.add_argument("--part", choices=("error", "coverage", "exact", "speed"), action="append")
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--smoke", action="store_true", help="two repetitions, nothing is recorded")
    arguments = parser.parse_args()
    repetitions = 2 if arguments.smoke else arguments.repetitions
    for part in arguments.part or ("error", "coverage", "exact", "speed"):
        for row in rows_of(part, repetitions):
            line = json.dumps(row)
            print(line, flush=True)
            if not arguments.smoke:
                RESULTS.mkdir(parents=True, exist_ok=True)
                with FILE.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
