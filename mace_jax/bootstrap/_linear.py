"""Intervals for statistics that are linear in the records, or smooth functions of means, from weights times values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mace_jax._status import Status
from mace_jax._types import FloatArray, Seed
from mace_jax.bootstrap._intervals import Method, limit
from mace_jax.bootstrap._result import BootstrapResult
from mace_jax.bootstrap._sums import ResampleWeights, replicate_sums

__all__ = ["Stratum", "linear_interval"]

_FEW = 30
_MOST_SKEWED = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Stratum:
    """One sample: columns whose weighted means are resampled, and the influence of each record on each statistic."""

    name: str
    columns: FloatArray  # (n, c), centered
    influence: FloatArray  # (n, q), centered
    clusters: Any = None  # (n,) ids; records of one cluster share a weight

    def units(self) -> FloatArray:
        """Influence by unit of resampling, ``(units, q)``; its mean over records adds up to the statistic's error."""
        if self.clusters is None:
            return self.influence
        _, inverse = np.unique(self.clusters, return_inverse=True)
        total = np.zeros((inverse.max() + 1, self.influence.shape[1]))
        np.add.at(total, inverse, self.influence)
        return total * (len(total) / len(self.influence))


def linear_interval(
    value: FloatArray,
    strata: Sequence[Stratum],
    combine: Callable[[list[FloatArray]], FloatArray],
    *,
    n_resamples: int,
    confidence_level: float,
    method: Method,
    weights: ResampleWeights,
    seed: Seed,
    covers: str,
    status: Status = Status.OK,
    skewness: FloatArray | None = None,
) -> BootstrapResult:
    """Limits of every statistic; ``combine`` turns the strata's resampled means ``(b, c)`` into statistics ``(b, q)``.

    ``skewness`` is that of the statistics where something else than their linear form tells it; "bca" then gives the
    replicates this skewness and accelerates by a sixth of it. Time ``O(n_resamples n c)``, with the weights drawn block
    by block and never stored.
    """
    statistics = np.ndim(value)
    value = np.atleast_1d(np.asarray(value, np.float64))
    units = [stratum.units() for stratum in strata]
    if min(map(len, units)) < _FEW:
        status |= Status.TOO_FEW_SAMPLES
    means, errors = [], np.zeros((n_resamples, len(value)))
    for stratum, unit in zip(strata, units, strict=True):
        columns = stratum.columns
        if method == "studentized":
            columns = np.concatenate([columns, stratum.influence, stratum.influence**2], axis=1)
        sums, totals = replicate_sums(
            columns,
            n_resamples=n_resamples,
            weights=weights,
            seed=seed,
            purpose=stratum.name,
            clusters=stratum.clusters,
        )
        # a replicate whose weights are all 0 keeps the sample as it is
        drawn = np.divide(sums, totals[:, None], out=np.zeros_like(sums), where=totals[:, None] > 0.0)
        c, q = stratum.columns.shape[1], len(value)
        means.append(drawn[:, :c])
        if method == "studentized":
            errors += np.maximum(drawn[:, c + q :] - drawn[:, c : c + q] ** 2, 0.0) / len(unit)
    replicates = combine(means)
    second = np.sum([(unit**2).sum(axis=0) / len(unit) ** 2 for unit in units], axis=0)
    third = np.sum([(unit**3).sum(axis=0) / len(unit) ** 3 for unit in units], axis=0)
    acceleration = np.divide(third, 6.0 * second**1.5, out=np.zeros_like(value), where=second > 0.0)
    bias: list[float | None] = [None] * len(value)
    if skewness is not None and method == "bca":
        skewness = np.clip(np.atleast_1d(skewness), -_MOST_SKEWED, _MOST_SKEWED)
        replicates, acceleration = _skewed(replicates, value, skewness), skewness / 6.0
        bias = (skewness / 6.0).tolist()
    tail = (1.0 - confidence_level) / 2.0
    low, high = (
        np.array(
            [
                limit(
                    level,
                    value[place],
                    replicates[:, place],
                    method=method,
                    acceleration=float(acceleration[place]),
                    bias=bias[place],
                    standard_error=float(np.sqrt(second[place])),
                    replicate_errors=np.sqrt(errors[:, place]) if method == "studentized" else None,
                )
                for place in range(len(value))
            ]
        )
        for level in (tail, 1.0 - tail)
    )
    if any(_heavy(unit) for unit in units):
        status |= Status.HEAVY_TAIL
    shape = (lambda array: float(array[0])) if statistics == 0 else np.asarray
    return BootstrapResult(
        low=shape(low),
        high=shape(high),
        standard_error=shape(replicates.std(axis=0, ddof=1)),
        distribution=replicates[:, 0] if statistics == 0 else replicates,
        confidence_level=confidence_level,
        method=method,
        covers=covers,
        status=status,
    )


def _skewed(replicates: FloatArray, value: FloatArray, skewness: FloatArray) -> FloatArray:
    """Replicates bent by the quadratic term of a Cornish-Fisher expansion until their skewness is the given one."""
    scale = replicates.std(axis=0)
    scores = np.divide(replicates - value, scale, out=np.zeros_like(replicates), where=scale > 0.0)
    missing = skewness - (scores**3).mean(axis=0)
    return value + scale * (scores + missing / 6.0 * (scores**2 - 1.0))


def _heavy(unit: FloatArray) -> bool:
    """Whether a hundredth of the records makes over half of the variance of a statistic."""
    if len(unit) < 100:
        return False
    squared = np.sort(unit**2, axis=0)
    return bool((squared[-(len(unit) // 100) :].sum(axis=0) > 0.5 * squared.sum(axis=0)).any())
