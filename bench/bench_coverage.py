"""How often do intervals cover what they say they cover? Unit normals a shift apart, 2,000 repetitions a cell.

Rows of ``bench/results/bench_coverage.jsonl``, one per cell and statistic: the share of intervals that hold the target,
the misses on either side, the share that holds the true divergence, and the share of repetitions each status flag was
raised in. The target of a divergence is the mean of its estimator, taken over the repetitions (its Monte Carlo error is
1/45 of a standard deviation); the target of an advantage is that mean or the true total variation distance.

    python -m bench.bench_coverage [--family divergences|advantage] [--repetitions 2000] [--part 1/2] [--smoke]

Cells that are in the file already are skipped, so that a run may be interrupted.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from scipy import special

from bench.harness import RESULTS
from mace_jax import MembershipSample, bootstrap, optimal_membership_advantage
from mace_jax._status import Status
from mace_jax.divergences import panel

FILE = RESULTS / "bench_coverage.jsonl"
LEVEL, BAND = 0.95, (0.935, 0.965)
N_RESAMPLES, N_PERMUTATIONS, K, EPSILON = 2000, 99, 5, 1.0
STATISTICS = ("kl", "hellinger", "hockey_stick")


@dataclasses.dataclass(frozen=True)
class Cell:
    """n members shifted by ``shift`` along the first of d features, and m non-members."""

    family: str
    n: int
    m: int
    d: int
    shift: float

    def draw(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, self.n, self.m, self.d, int(10 * self.shift)])
        p, q = rng.normal(size=(self.n, self.d)), rng.normal(size=(self.m, self.d))
        p[:, 0] += self.shift
        return p, q

    @property
    def truths(self) -> dict[str, float]:
        shift = self.shift
        hockey = 0.0
        if shift:
            hockey = special.ndtr(shift / 2 - EPSILON / shift) - math.e * special.ndtr(-shift / 2 - EPSILON / shift)
        advantage = 2.0 * special.ndtr(shift / 2) - 1.0
        return {
            "kl": shift**2 / 2,
            "hellinger": 1.0 - math.exp(-(shift**2) / 8),
            "hockey_stick": float(hockey),
            "advantage, mean of the estimator": advantage,
            "advantage, truth": advantage,
        }


Found = dict[str, tuple[float, float, float, Status]]  # value, low, high, status


def divergences(cell: Cell, seed: int) -> Found:
    """Three divergences from one search."""
    found = panel(*cell.draw(seed), k=K, names=STATISTICS, epsilon=EPSILON, check_support=False)
    out = {}
    for name in STATISTICS:
        interval = bootstrap(found[name][K], n_resamples=N_RESAMPLES, confidence_level=LEVEL, seed=seed)
        out[name] = (found[name][K].value, interval.low, interval.high, interval.status)
    return out


def advantage(cell: Cell, seed: int) -> Found:
    """The decision form, with an interval for its own mean and one for the truth."""
    estimate = optimal_membership_advantage(
        MembershipSample(*cell.draw(seed)), n_permutations=N_PERMUTATIONS, seed=seed
    )
    out = {}
    targets: dict[str, Literal["truth", "estimator"]] = {
        "advantage, mean of the estimator": "estimator",
        "advantage, truth": "truth",
    }
    for name, target in targets.items():
        interval = bootstrap(estimate, n_resamples=N_RESAMPLES, confidence_level=LEVEL, target=target, seed=seed)
        out[name] = (estimate.lower_rule, interval.low, interval.high, estimate.status | interval.status)
    return out


FAMILIES: dict[str, Callable[[Cell, int], Found]] = {"divergences": divergences, "advantage": advantage}


def cells() -> Iterator[Cell]:
    """N records per sample on average; equal sizes, and one member to nine non-members."""
    for equal in (True, False):
        for n in (200, 500, 2000):
            sizes = (n, n) if equal else (n // 5, 2 * n - n // 5)
            for d in (1, 2, 5):
                for shift in (0.0, 1.0):
                    yield Cell("divergences", *sizes, d, shift)
                    if d == 1 or (n == 200 and equal):  # fitting many features this often takes hours
                        yield Cell("advantage", *sizes, d, shift)


def rows_of(cell: Cell, repetitions: int) -> list[dict[str, Any]]:
    """Run one cell."""
    started = time.perf_counter()
    found = [FAMILIES[cell.family](cell, seed) for seed in range(repetitions)]
    rows = []
    for name in found[0]:
        value, low, high = (np.array([one[name][place] for one in found]) for place in range(3))
        truth = cell.truths[name]
        target = truth if name.endswith("truth") else value.mean()
        flags = collections.Counter(flag.name for one in found for flag in Status if flag and flag in one[name][3])
        covered = float(((low <= target) & (target <= high)).mean())
        rows.append(
            {
                **dataclasses.asdict(cell),
                "statistic": name,
                "repetitions": repetitions,
                "coverage": covered,
                "in_band": BAND[0] <= covered <= BAND[1],
                "below": int((high < target).sum()),
                "above": int((low > target).sum()),
                "coverage_of_truth": float(((low <= truth) & (truth <= high)).mean()),
                "target": float(target),
                "truth": truth,
                "standard_deviation": float(value.std(ddof=1)),
                "mean_width": float((high - low).mean()),
                "flags": {name: count / repetitions for name, count in flags.items()},
                "n_resamples": N_RESAMPLES,
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Coverage of intervals")
    parser.add_argument("--family", choices=sorted(FAMILIES))
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--part", default="1/1", help="every j-th cell from the i-th on, as i/j, to share the work")
    parser.add_argument("--smoke", action="store_true", help="two small cells, 5 repetitions, nothing is recorded")
    arguments = parser.parse_args()
    first, step = map(int, arguments.part.split("/"))
    wanted = [cell for cell in cells() if arguments.family in (None, cell.family)]
    if arguments.smoke:
        wanted, arguments.repetitions, first, step = wanted[:2], 5, 1, 1
    key = [field.name for field in dataclasses.fields(Cell)]
    done = set()
    if FILE.exists() and not arguments.smoke:
        done = {tuple(row[name] for name in key) for row in map(json.loads, FILE.read_text().splitlines())}
    for cell in wanted[first - 1 :: step]:
        if dataclasses.astuple(cell) in done:
            continue
        for row in rows_of(cell, arguments.repetitions):
            if not arguments.smoke:
                with FILE.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            print(
                {name: row[name] for name in (*key, "statistic", "coverage", "below", "above", "seconds")}, flush=True
            )


if __name__ == "__main__":
    main()
