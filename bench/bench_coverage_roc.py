"""Coverage of the intervals of ``bootstrap_roc``: how often they hold the truth, and on which side they miss.

``python -m bench.bench_coverage_roc [--smoke]`` writes ``bench/results/bench_coverage_roc.jsonl``: one row per cell of
normal scores, members shifted up. 2,000 repetitions, 1,000 resamples (a limit's Monte Carlo error is then .08 standard
errors). Repetitions come in batches of 100 that share bootstrap weights, which changes the joint law of their limits
but not how often each covers: the weights are drawn once per batch, members' weights are added up along the sorted
non-members, and a replicate of the area is one sum. The first repetition of every cell is checked against
``bootstrap_roc`` itself. Cells outside 93.5 % to 96.5 % must be those that are flagged.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
from scipy import special

from bench import harness

BENCH = "bench_coverage_roc"
RESAMPLES, BATCH = 1_000, 100
SHIFTS = (0.0, 1.0, 2.0, 3.0)
RATES = (0.01, 0.1)
SIZES = tuple((n, ratio * n) for n in (200, 500, 2_000) for ratio in (1, 9))
TAIL = 0.025
BAND = (0.935, 0.965)


def study(n: int, m: int, repetitions: int) -> list[dict[str, Any]]:
    """All cells of one pair of sizes."""
    cells = [(shift, "AUC", special.ndtr(shift / np.sqrt(2.0))) for shift in SHIFTS]
    cells += [
        (shift, f"TPR at FPR {rate:g}", special.ndtr(special.ndtri(rate) + shift))
        for shift in SHIFTS[:3]
        for rate in RATES
    ]
    found: dict[Any, list[Any]] = {cell: [] for cell in cells}
    for batch in range(-(-repetitions // BATCH)):
        rng = np.random.default_rng([n, m, batch])
        member_weights, summed = _weights(n, m, seed=batch)
        draws, others = np.sort(rng.normal(size=(BATCH, n))), np.sort(rng.normal(size=(BATCH, m)))
        for shift in SHIFTS:
            members = draws + shift
            low, high, flagged = _area_limits(members, others, member_weights, summed)
            if batch == 0:
                _same_as_public(members[0], others[0], low[0], high[0])
            found[cells[SHIFTS.index(shift)]].append((low, high, flagged))
            above = _above(members, others)
            for cell in cells[len(SHIFTS) :]:
                if cell[0] == shift:
                    found[cell].append(_tpr_limits(above, n, float(cell[1].split()[-1])))
    return [_row(n, m, cell, limits) for cell, limits in found.items()]


def _weights(n: int, m: int, seed: int) -> tuple[Any, Any]:
    """Member weights ``(n, B)``, and non-member weights added up along the rows ``(m + 1, B)``; the package's own."""
    import jax
    import jax.numpy as jnp

    from mace_jax._random import key
    from mace_jax_kernels._weights import in_order, weight_parts

    blocks = -(-RESAMPLES // 64)

    def draw(group: str, rows: int) -> Any:
        words = jax.random.key_data(key(seed, "bootstrap", group))
        parts = weight_parts(words, 0, blocks, jnp.arange(rows, dtype=jnp.uint32), "poisson")
        return np.ascontiguousarray(np.asarray(in_order(parts, blocks))[:RESAMPLES].T)

    others = draw("nonmembers", m)
    return draw("members", n), np.concatenate([np.zeros_like(others[:1]), others.cumsum(axis=0)])


def _area_limits(members: Any, others: Any, member_weights: Any, summed: Any) -> tuple[Any, Any, Any]:
    """What ``method="auto"`` does, for a batch of samples sorted in ascending order, no two scores equal."""
    from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
    from mace_jax.bootstrap._roc_limits import area_limits, error_freedom

    n, m = members.shape[1], others.shape[1]
    below = np.stack([np.searchsorted(b, a) for a, b in zip(members, others, strict=True)])
    beaten = np.stack([n - np.searchsorted(a, b) for a, b in zip(members, others, strict=True)])
    area = below.mean(axis=1) / m
    totals = member_weights.sum(axis=0, dtype=np.float64) * summed[-1]
    errors = np.empty(len(area))
    for place, ranks in enumerate(below):
        errors[place] = (np.einsum("ib,ib->b", member_weights, summed[ranks]) / totals).std(ddof=1)
    influence = [below / m - area[:, None], beaten / n - area[:, None]]
    overlap = (errors > 0) & (area > 0) & (area < 1)
    safe = np.where(overlap, area, 0.5)
    low, high = area_limits(safe, errors, error_freedom(influence), TAIL)
    pairs = min(n, m)
    low = np.where(overlap, low, clopper_pearson_lower(area * pairs, pairs, TAIL))
    return low, np.where(overlap, high, clopper_pearson_upper(area * pairs, pairs, TAIL)), ~overlap


def _above(members: Any, others: Any) -> Any:
    """Members above the k-th largest non-member, k = 0 to m + 1."""
    n, m = members.shape[1], others.shape[1]
    above = np.zeros((len(members), m + 2))
    above[:, -1] = n
    for row, (a, b) in enumerate(zip(members, others, strict=True)):
        above[row, 1:-1] = n - np.searchsorted(a, b[::-1])
    return above


def _tpr_limits(above: Any, n: int, rate: float) -> tuple[Any, Any, Any]:
    from mace_jax.bootstrap._roc_limits import tpr_limits

    limits = tpr_limits(above, above, n, rate, TAIL)
    return limits.low, limits.high, limits.conservative


def _same_as_public(members: Any, others: Any, low: float, high: float) -> None:
    """The batch's weights are those of seed 0, so that both must give the same limits."""
    from mace_jax.bootstrap._roc import bootstrap_roc

    result = bootstrap_roc(members, others, false_positive_rates=RATES, n_resamples=RESAMPLES, seed=0)
    np.testing.assert_allclose((result.auc.low, result.auc.high), (low, high), rtol=1e-4)
    for rate, interval in zip(RATES, result.tpr, strict=True):
        ours = _tpr_limits(_above(members[None], others[None]), len(members), rate)
        np.testing.assert_allclose((interval.low, interval.high), (ours[0][0], ours[1][0]), rtol=1e-9)


def _row(n: int, m: int, cell: tuple[float, str, float], limits: list[Any]) -> dict[str, Any]:
    shift, statistic, truth = cell
    low, high, flagged = (np.concatenate(parts) for parts in zip(*limits, strict=True))
    coverage = float(((low <= truth) & (truth <= high)).mean())
    return {
        "members": n,
        "nonmembers": m,
        "shift": shift,
        "statistic": statistic,
        "truth": float(truth),
        "repetitions": len(low),
        "n_resamples": RESAMPLES,
        "coverage": coverage,
        "low_above_truth": int((low > truth).sum()),
        "high_below_truth": int((high < truth).sum()),
        "mean_width": float((high - low).mean()),
        "flagged": float(flagged.mean()),
        "within": bool(BAND[0] <= coverage <= BAND[1]),
    }


def main() -> None:
    """Run every pair of sizes; exit with 1 if a cell that is not flagged lies outside the band."""
    parser = argparse.ArgumentParser(description="Coverage of ROC intervals; rows are appended to bench/results.")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, 100 repetitions, nothing is recorded")
    parser.add_argument("--size", help="only these members and non-members, as in 200:1800")
    parser.add_argument("--repetitions", type=int, default=2_000)
    arguments = parser.parse_args()
    common = {"bench": BENCH, **harness._surroundings()}
    failures = 0
    for n, m in SIZES[:1] if arguments.smoke else SIZES:
        if arguments.size not in (None, f"{n}:{m}"):
            continue
        for row in study(n, m, BATCH if arguments.smoke else arguments.repetitions):
            print(
                f"n {n} m {m} shift {row['shift']:g} {row['statistic']}: {row['coverage']:.4f} "
                f"({row['low_above_truth']}, {row['high_below_truth']}), width {row['mean_width']:.4f}, "
                f"flagged {row['flagged']:.3f}",
                flush=True,
            )
            failures += not row["within"] and row["flagged"] < 0.5
            if not arguments.smoke:
                harness.RESULTS.mkdir(parents=True, exist_ok=True)
                with (harness.RESULTS / f"{BENCH}.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**common, **row}) + "\n")
    sys.exit(failures > 0 and not arguments.smoke)


if __name__ == "__main__":
    main()
