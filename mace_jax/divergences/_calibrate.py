"""Standard errors from half-samples: influence values scaled to the variance that disjoint halves show."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._random import generator
from mace_jax._status import Status
from mace_jax._types import FloatArray
from mace_jax.divergences._alpha import log_power_constant, noiseless
from mace_jax.divergences._estimate import DivergenceEstimate
from mace_jax.divergences._from_posterior import default_k
from mace_jax.divergences._half_samples import (
    Contrast,
    Halves,
    common_radius_contrast,
    log_ratio_contrast,
    power_contrast,
    rule_contrast,
    split,
)

__all__ = ["HALF_SAMPLES", "Calibration"]

HALF_SAMPLES = 200
_MOST_ROWS = 500  # of the larger sample; beyond, the ratio of variances hardly moves
_FEWEST_ROWS = 20
_FORMS = ("knn", "common_radius", "decision")
_DIVERGENCES = ("kl", "renyi", "hellinger", "total_variation", "hockey_stick")

Evaluate = Callable[[FloatArray, FloatArray], DivergenceEstimate]


class Calibration:
    """Half-samples of one pair of samples, or of a part of it where it is large: one search for all estimates of it.

    ``k`` is the largest number of neighbors that will be asked for.
    """

    def __init__(self, p: FloatArray, q: FloatArray, k: int, half_samples: int) -> None:
        self._half_samples = _validate.positive_int(minimum=0, half_samples=half_samples)
        self._largest_k = k
        smaller, largest = sorted((len(p), len(q)))
        self._smaller = smaller
        self._is_part = largest > _MOST_ROWS
        if self._is_part:
            rng = generator(0, "half samples of a part")
            keep = max(_MOST_ROWS / largest, min(1.0, 4 * k / smaller))
            p, q = (part[np.sort(rng.permutation(len(part))[: math.ceil(keep * len(part))])] for part in (p, q))
        self._p, self._q = p, q
        self._halves: Halves | None = None

    def __call__(self, estimate: DivergenceEstimate, k: int, evaluate: Evaluate) -> DivergenceEstimate:
        """The estimate with its influence values scaled; ``evaluate`` repeats it, without scaling, on fewer records.

        Forms without a half-sample version (cells, mixtures with cells, plug-ins, weighted ensembles) come back
        unchanged, as do records with copies and samples of fewer than 20 records or 3 k.
        """
        if not self._half_samples or self._smaller < max(_FEWEST_ROWS, 3 * k):
            return estimate
        if estimate.method not in _FORMS or estimate.divergence not in _DIVERGENCES:
            return estimate
        if estimate.status & (Status.ZERO_DISTANCE | Status.TIES | Status.ATOMS):
            return estimate
        ratio: Any = 1.0
        if self._is_part:
            small = evaluate(self._p, self._q)
            if small.method != estimate.method:
                return estimate
            whole, part = np.asarray(estimate.standard_error), np.asarray(small.standard_error)
            ratio = np.square(np.divide(whole, part, out=np.zeros_like(whole), where=part > 0.0))  # 0: left unscaled
        contrast = self._contrast(estimate, k)
        variance = ratio * contrast.variance
        if estimate.divergence == "kl":
            variance = np.maximum(variance, _without_radius_noise(estimate, k))
        return _scaled(estimate, variance, np.sqrt(ratio) * contrast.skewness)

    def _split(self, width: int) -> Halves:
        if self._halves is None or self._halves.to_p.shape[1] < min(width, len(self._p) - 1, len(self._q) - 1):
            widest = max(width, _width(self._largest_k))
            self._halves = split(self._p, self._q, widest, self._half_samples)
        return self._halves

    def _contrast(self, estimate: DivergenceEstimate, k: int) -> Contrast:
        n, m, wide = len(self._p), len(self._q), _width(k)
        if estimate.method == "common_radius":
            return common_radius_contrast(self._split(math.ceil(wide * max(n / m, m / n))), k)
        if estimate.divergence == "kl":
            return log_ratio_contrast(self._split(wide), k)
        if estimate.divergence in ("hellinger", "renyi"):
            order = float(estimate.details.get("order", 0.5))
            constants = log_power_constant(k, order - 1.0), log_power_constant(k, order) if order < 1.0 else 0.0
            found = power_contrast(self._split(wide), k, order, constants)
            slope = -1.0 if estimate.divergence == "hellinger" else 1.0 / (order - 1.0) / estimate.details["integral"]
            return found.times(slope)
        half_k = default_k(n // 2, m // 2) if k >= default_k(n, m) else k
        epsilons = np.atleast_1d(np.asarray(estimate.details.get("epsilon", 0.0), np.float64))
        found = rule_contrast(self._split(_width(half_k)), half_k, epsilons)
        return found if np.ndim(estimate.value) else Contrast(*(field[0] for field in found))


def _width(k: int) -> int:
    """How long lists must be to hold k neighbors of either half, but for one record in thousands."""
    return 2 * k + 5 * math.isqrt(k) + 8


def _without_radius_noise(estimate: DivergenceEstimate, k: int) -> float:
    """What a Kullback-Leibler estimate varies at least: heavy tails that halves are too small to show."""
    of_p, of_q = estimate.influence
    ratio = noiseless(np.maximum(1.0 - of_q, 0.0), max(k, 3), 1.0)
    return float(of_p.var(ddof=1) / len(of_p) + ratio.var(ddof=1) / len(of_q))


def _scaled(estimate: DivergenceEstimate, variance: Any, skewness: Any) -> DivergenceEstimate:
    before = np.asarray(estimate.standard_error)
    factor = np.sqrt(np.divide(variance, before**2, out=np.ones_like(before), where=(before > 0.0) & (variance > 0.0)))
    after = before * factor
    p, q = (part * factor[..., None] for part in estimate.influence)
    status = estimate.status
    if np.ndim(estimate.value) == 0 and estimate.divergence != "hockey_stick":
        near = estimate.value <= 2.0 * after
        status = status | Status.DEGENERATE if near else status & ~Status.DEGENERATE
    return dataclasses.replace(
        estimate,
        standard_error=_plain(after),
        influence=(p, q),
        details=estimate.details | {"influence_standard_error": _plain(before), "skewness": _plain(skewness)},
        status=status,
    )


def _plain(number: Any) -> Any:
    return float(number) if np.ndim(number) == 0 else number
