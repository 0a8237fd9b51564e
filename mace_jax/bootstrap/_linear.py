"""Intervals for statistics that are linear in the records, or smooth functions of means, from weights times values."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """One sample: columns whose weighted means are resampled, and how each statistic moves with these means."""

    name: str
    values: FloatArray  # (n, c), as given: never copied
    slopes: FloatArray  # (q, c)
    clusters: NDArray[np.intp] | None = None  # (n,) numbers from 0; records of one cluster share a weight

    @functools.cached_property
    def center(self) -> FloatArray:
        return self.values.mean(axis=0)

    def unit_influence(self, place: int) -> FloatArray:
        """On one statistic, by unit of resampling; its mean over units is the mean over records."""
        each = self.values @ self.slopes[place] - self.center @ self.slopes[place]
        if self.clusters is None:
            return each
        total = np.bincount(self.clusters, weights=each)
        return np.asarray(total * (len(total) / len(each)), np.float64)


@dataclasses.dataclass(frozen=True)
class _Moments:
    """Sums over the units of all strata that make the variance and the third moment of one statistic."""

    second: float
    third: float
    fewest: int
    heavy: bool

    @classmethod
    def of(cls, strata: Sequence[Stratum], place: int) -> _Moments:
        second = third = 0.0
        fewest, heavy = sys.maxsize, False
        for stratum in strata:
            unit = stratum.unit_influence(place)
            second += float((unit @ unit) / len(unit) ** 2)
            third += float((unit * unit @ unit) / len(unit) ** 3)
            fewest, heavy = min(fewest, len(unit)), heavy or _heavy(unit)
        return cls(second, third, fewest, heavy)

    @property
    def acceleration(self) -> float:
        return self.third / (6.0 * self.second**1.5) if self.second > 0.0 else 0.0


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
    moments = [_Moments.of(strata, place) for place in range(len(value))]
    if min(one.fewest for one in moments) < _FEW:
        status |= Status.TOO_FEW_SAMPLES
    if any(one.heavy for one in moments):
        status |= Status.HEAVY_TAIL
    means, errors = [], np.zeros((n_resamples, len(value)))
    for stratum in strata:
        settings: dict[str, Any] = {
            "n_resamples": n_resamples,
            "weights": weights,
            "seed": seed,
            "purpose": stratum.name,
        }
        means.append(_means(stratum.values, center=stratum.center, clusters=stratum.clusters, **settings))
        if method == "studentized":
            # clusters are rows here, in the order in which they are numbered there: the weights are the same
            units = np.stack([stratum.unit_influence(place) for place in range(len(value))], axis=1)
            first, second = np.split(_means(np.concatenate([units, units**2], axis=1), **settings), 2, axis=1)
            errors += np.maximum(second - first**2, 0.0) / len(units)
    replicates = combine(means)
    acceleration = np.array([one.acceleration for one in moments])
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
                    standard_error=float(np.sqrt(moments[place].second)),
                    replicate_errors=np.sqrt(errors[:, place]) if method == "studentized" else None,
                )
                for place in range(len(value))
            ]
        )
        for level in (tail, 1.0 - tail)
    )
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


def _means(values: FloatArray, **settings: Any) -> FloatArray:
    """Resampled means, ``(b, c)``; where all weights are 0 the sample stays as it is."""
    sums, totals = replicate_sums(values, **settings)
    return np.divide(sums, totals[:, None], out=np.zeros_like(sums), where=totals[:, None] > 0.0)


def _skewed(replicates: FloatArray, value: FloatArray, skewness: FloatArray) -> FloatArray:
    """Replicates bent by the quadratic term of a Cornish-Fisher expansion until their skewness is the given one."""
    scale = replicates.std(axis=0)
    scores = np.divide(replicates - value, scale, out=np.zeros_like(replicates), where=scale > 0.0)
    missing = skewness - (scores**3).mean(axis=0)
    return value + scale * (scores + missing / 6.0 * (scores**2 - 1.0))


def _heavy(unit: FloatArray) -> bool:
    """Whether a hundredth of the records makes over half of the variance of a statistic."""
    top = len(unit) // 100
    if top == 0:
        return False
    squared = unit * unit
    total = squared.sum()
    squared.partition(len(unit) - top)
    return bool(squared[-top:].sum() > 0.5 * total)
