"""Intervals for an optimal membership advantage, from the confusion counts of cross-fitted rules."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._random import generator
from mace_jax._status import Status
from mace_jax._types import FloatArray, Seed
from mace_jax.bootstrap._cells import resample_rate
from mace_jax.bootstrap._intervals import Method, limit
from mace_jax.bootstrap._result import BootstrapResult

__all__ = ["FEW_FOR_NEIGHBORS", "CellEstimate", "Counts", "optimum_interval", "own_interval"]

FEW_FOR_NEIGHBORS = 500
_RARE = 10
_FEWEST_PERMUTATIONS = 99


class Counts(Protocol):
    """What a rule did to members and non-members."""

    @property
    def true_positives(self) -> int: ...
    @property
    def n_members(self) -> int: ...
    @property
    def false_positives(self) -> int: ...
    @property
    def n_nonmembers(self) -> int: ...
    @property
    def rarest(self) -> int: ...


class CellEstimate(Protocol):
    """An estimate that is a function of confusion counts: of held-out rules, and of rules on their own records."""

    @property
    def held_out(self) -> Counts: ...
    @property
    def own(self) -> Counts: ...
    @property
    def null(self) -> FloatArray: ...
    @property
    def p_value(self) -> float: ...
    @property
    def lower_rule(self) -> float: ...
    @property
    def in_sample(self) -> float: ...
    def at_rates(self, true_positive_rate: Any, false_positive_rate: Any) -> Any: ...


def optimum_interval(
    estimate: CellEstimate,
    *,
    n_resamples: int,
    confidence_level: float,
    method: Method,
    weights: Literal["poisson", "multinomial"],
    seed: Seed,
) -> BootstrapResult:
    """Lower limit from held-out rules, upper limit from the rules on their own records."""
    status, tail = Status.OK, (1.0 - confidence_level) / 2.0
    held_out = _replicates(estimate, estimate.held_out, n_resamples, weights, generator(seed, "held out"))
    low = _limit(tail, estimate, estimate.held_out, estimate.lower_rule, held_out, method)
    own = _replicates(estimate, estimate.own, n_resamples, weights, generator(seed, "own"))
    high = max(
        _limit(1.0 - tail, estimate, estimate.own, estimate.in_sample, own, method),
        _limit(1.0 - tail, estimate, estimate.held_out, estimate.lower_rule, held_out, method),
        float(np.quantile(estimate.null, 1.0 - tail)) if len(estimate.null) else 0.0,
    )
    if estimate.held_out.rarest < _RARE:
        status |= Status.RARE_COUNTS
        low = min(low, _exact(estimate, estimate.held_out, tail, lower=True))
    if estimate.own.rarest < _RARE:
        status |= Status.RARE_COUNTS
        high = max(high, _exact(estimate, estimate.own, tail, lower=False))
    if not estimate.p_value <= tail + 1e-12:  # (1 - 0.9) / 2 is below 0.05
        low = 0.0
    low = float(np.clip(low, 0.0, 1.0))
    return BootstrapResult(
        low=low,
        high=float(np.clip(high, low, 1.0)),
        standard_error=float(held_out[0].std(ddof=1)),
        distribution=held_out[0],
        confidence_level=confidence_level,
        method=method,
        covers=(
            "the best advantage within the rules that were fitted, more often than the level says; rules of another "
            "kind, or fitted on more records, may do better"
        ),
        status=status,
    )


def own_interval(
    estimate: CellEstimate,
    *,
    n_resamples: int,
    confidence_level: float,
    method: Method,
    weights: Literal["poisson", "multinomial"],
    seed: Seed,
) -> BootstrapResult:
    """For the mean of ``lower_rule`` itself.

    Cross-fitted counts vary more than binomial ones, because each half also chooses the rule for the other. By how much
    is seen in the permutation null, where the same procedure ran on the same records: replicates are spread about the
    estimate by the ratio of the null's standard deviation to the binomial one.
    """
    if len(estimate.null) < _FEWEST_PERMUTATIONS:
        raise ValueError(
            f"target='estimator' needs the permutation null, and this estimate has {len(estimate.null)} permutations; "
            f"estimate it with n_permutations of at least {_FEWEST_PERMUTATIONS}."
        )
    counts, tail = estimate.held_out, (1.0 - confidence_level) / 2.0
    drawn, tpr, fpr = _replicates(estimate, counts, n_resamples, weights, generator(seed, "held out"))
    pooled = (counts.true_positives + counts.false_positives) / (counts.n_members + counts.n_nonmembers)
    binomial = float(_standard_error(estimate, counts, np.asarray(pooled), np.asarray(pooled)))
    factor = float(estimate.null.std(ddof=1)) / binomial if binomial > 0.0 else 1.0
    status = Status.RARE_COUNTS if counts.rarest < _RARE else Status.OK
    if min(counts.n_members, counts.n_nonmembers) < FEW_FOR_NEIGHBORS:
        status |= Status.SMALL_FOR_INTERVAL
    value = estimate.lower_rule
    spread = value + factor * (drawn - value)
    low, high = (
        _limit(level, estimate, counts, value, (spread, tpr, fpr), method, factor) for level in (tail, 1.0 - tail)
    )
    return BootstrapResult(
        low=low,
        high=high,
        standard_error=float(spread.std(ddof=1)),
        distribution=spread,
        confidence_level=confidence_level,
        method=method,
        covers="the mean of lower_rule: what rules fitted to samples of this size reach on records they never saw",
        status=status,
    )


def _replicates(
    estimate: CellEstimate,
    counts: Counts,
    n_resamples: int,
    weights: Literal["poisson", "multinomial"],
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Replicates of the advantage, of the TPR and of the FPR."""
    tpr = resample_rate(counts.true_positives, counts.n_members, n_resamples, weights=weights, rng=rng)
    fpr = resample_rate(counts.false_positives, counts.n_nonmembers, n_resamples, weights=weights, rng=rng)
    return np.asarray(estimate.at_rates(tpr, fpr)), tpr, fpr


def _slopes(estimate: CellEstimate, tpr: FloatArray, fpr: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Derivatives of the metric in TPR and FPR by central differences inside [0, 1]."""
    step = 1e-6
    up, down = np.minimum(tpr + step, 1.0), np.maximum(tpr - step, 0.0)
    by_tpr = (estimate.at_rates(up, fpr) - estimate.at_rates(down, fpr)) / (up - down)
    up, down = np.minimum(fpr + step, 1.0), np.maximum(fpr - step, 0.0)
    return np.asarray(by_tpr), np.asarray((estimate.at_rates(tpr, up) - estimate.at_rates(tpr, down)) / (up - down))


def _standard_error(estimate: CellEstimate, counts: Counts, tpr: FloatArray, fpr: FloatArray) -> FloatArray:
    by_tpr, by_fpr = _slopes(estimate, tpr, fpr)
    return np.sqrt(
        by_tpr**2 * tpr * (1.0 - tpr) / counts.n_members + by_fpr**2 * fpr * (1.0 - fpr) / counts.n_nonmembers
    )


def _acceleration(estimate: CellEstimate, counts: Counts, tpr: float, fpr: float) -> float:
    """BCa acceleration from the influence values of both samples, which here take two values each."""
    by_tpr, by_fpr = (float(slope) for slope in _slopes(estimate, np.asarray(tpr), np.asarray(fpr)))
    second = third = 0.0
    for slope, rate, n in ((by_tpr, tpr, counts.n_members), (by_fpr, fpr, counts.n_nonmembers)):
        spread = rate * (1.0 - rate)
        second += slope**2 * spread / n
        third += slope**3 * spread * (1.0 - 2.0 * rate) / n**2
    return third / (6.0 * second**1.5) if second > 0 else 0.0


def _limit(
    level: float,
    estimate: CellEstimate,
    counts: Counts,
    value: float,
    replicates: tuple[FloatArray, FloatArray, FloatArray],
    method: Method,
    factor: float = 1.0,
) -> float:
    drawn, tpr, fpr = replicates
    at = counts.true_positives / counts.n_members, counts.false_positives / counts.n_nonmembers
    studentized = method == "studentized"
    return limit(
        level,
        value,
        drawn,
        method=method,
        acceleration=_acceleration(estimate, counts, *at) if method == "bca" else 0.0,
        standard_error=factor * float(_standard_error(estimate, counts, *map(np.asarray, at))) if studentized else 0.0,
        replicate_errors=factor * _standard_error(estimate, counts, tpr, fpr) if studentized else None,
    )


def _exact(estimate: CellEstimate, counts: Counts, tail: float, *, lower: bool) -> float:
    """The metric at Clopper-Pearson limits of both rates, half of ``tail`` each."""
    for_tpr, for_fpr = clopper_pearson_lower, clopper_pearson_upper
    if not lower:
        for_tpr, for_fpr = for_fpr, for_tpr
    tpr = for_tpr(counts.true_positives, counts.n_members, tail / 2.0)
    fpr = for_fpr(counts.false_positives, counts.n_nonmembers, tail / 2.0)
    return float(estimate.at_rates(tpr, fpr))
