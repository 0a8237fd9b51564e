"""Limits for the area under the ROC curve and for the TPR at a given FPR, vectorized over samples of equal size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._types import FloatArray

__all__ = ["FEW_ALARMS", "TprLimits", "area_limits", "error_freedom", "tpr_limits"]

FEW_ALARMS = 20.0
_FEW_HITS = 10.0
_NODES, _MASSES = np.polynomial.legendre.leggauss(16)
_BISECTIONS = 27
_EDGE = 8.0  # probit of what is as good as 0 or 1


def error_freedom(units: list[FloatArray]) -> FloatArray:
    """Degrees of freedom of the squared standard error ``sum_s mean(units_s**2) / n_s``, by matching its variance.

    ``2 V^2 / Var(V)``, where each sample adds ``(kurtosis - 1) / n_s`` times the square of its share: few when a
    handful of records makes most of the spread, as near an area of 1. ``units`` are centered influence values
    ``(..., n_s)``.
    """
    total, noise = np.float64(0.0), np.float64(0.0)
    for unit in units:
        n = unit.shape[-1]
        second, fourth = (unit**2).mean(axis=-1), (unit**4).mean(axis=-1)
        total = total + second / n
        noise = noise + np.maximum(fourth - second**2, 0.0) / n**3
    return np.clip(2.0 * total**2 / np.maximum(noise, 1e-300), 1.0, 1e9)


def area_limits(area: Any, standard_error: Any, freedom: FloatArray, tail: float) -> tuple[FloatArray, FloatArray]:
    """Limits on the logit scale with a Student quantile; ``area`` strictly between 0 and 1."""
    center = special.logit(area)
    reach = stats.t.ppf(1.0 - tail, freedom) * standard_error / (area * (1.0 - area))
    return special.expit(center - reach), special.expit(center + reach)


@dataclasses.dataclass(frozen=True, eq=False)
class TprLimits:
    """Limits per sample; ``conservative`` where they are bounds, ``tied`` where equal scores decide."""

    low: FloatArray
    high: FloatArray
    conservative: NDArray[np.bool_]
    tied: NDArray[np.bool_]


def tpr_limits(
    above: FloatArray,
    level_or_above: FloatArray,
    n: int,
    rate: float,
    tail: float,
    *,
    member_units: int | None = None,
    nonmember_units: int | None = None,
) -> TprLimits:
    """Limits for the TPR of the threshold whose *true* FPR is ``rate``.

    Args:
        above: ``(..., m + 2)``; entry k is the number of members above the k-th largest non-member score, with
            infinity for k = 0 and minus infinity for k = m + 1.
        level_or_above: The same with members at that score counted.
        n: Members.
        rate: FPR in (0, 1).
        tail: Error of each limit.
        member_units: Independent units (clusters) behind the members, by default ``n``.
        nonmember_units: The same for the non-members.

    With ``rate * m`` (or its complement) at 20 or more: the k-th largest of m non-member scores, ``k`` nearest to
    ``rate (m + 1)``, has a true FPR ``U ~ Beta(k, m + 1 - k)``, and members above it are ``Binomial(n, R(U))``. The ROC
    near ``rate`` is taken as straight between normal quantiles, with the slope seen from ranks k / 2 to 2 k; a limit is
    the ``R(rate)`` at which the observed count has mid-probability ``tail`` (its full probability, hence conservative,
    with fewer than 10 members on a side). Below: Clopper-Pearson limits at the rank
    whose true FPR is on the safe side of ``rate`` but for ``tail / 2``.
    """
    m = above.shape[-1] - 2
    units, others = member_units or n, nonmember_units or m
    scale = units / n
    if min(rate, 1.0 - rate) * others < FEW_ALARMS:
        below, beyond = _safe_ranks(others, rate, tail / 2.0)
        low_rank = int(np.floor(below / others * m))
        high_rank = min(int(np.ceil(beyond / others * m)), m + 1) if beyond <= others else m + 1
        low = clopper_pearson_lower(scale * above[..., low_rank], units, tail / 2.0)
        high = clopper_pearson_upper(scale * level_or_above[..., high_rank], units, tail / 2.0)
        tied = (above[..., low_rank] != level_or_above[..., low_rank]) & (low_rank > 0)
        return TprLimits(low, high, np.ones(low.shape, bool), tied)
    rank = int(np.clip(round(rate * (m + 1)), 1, m))
    position = rank * (others + 1) / (m + 1)
    shift = _slope(0.5 * (above + level_or_above), n, m, rank)[..., None] * (
        special.ndtri(special.betaincinv(position, others + 1 - position, (_NODES + 1.0) / 2.0)) - special.ndtri(rate)
    )
    strict, weak = scale * above[..., rank], scale * level_or_above[..., rank]
    few = np.minimum(strict, units - weak) < _FEW_HITS
    low = _invert(strict, units, shift, tail, few, lower=True)
    high = _invert(weak, units, shift, tail, few, lower=False)
    return TprLimits(low, high, few, strict != weak)


def _safe_ranks(m: int, rate: float, error: float) -> tuple[int, int]:
    """Largest rank whose true FPR exceeds ``rate``, smallest that falls below it, each with at most ``error``."""
    few = int(stats.binom.ppf(error, m, rate))
    below = few + 1 if stats.binom.cdf(few, m, rate) <= error else few
    many = int(stats.binom.isf(error, m, rate))
    return below, min(many + 1, m + 1)


def _slope(hits: FloatArray, n: int, m: int, rank: int) -> FloatArray:
    """Change of the normal quantile of the TPR by that of the FPR, from half to twice the distance to either end."""
    mirrored = m + 1 - rank
    inner, outer = max(rank // 2, m + 1 - 2 * mirrored), min(2 * rank, m + 1 - mirrored // 2)
    inner, outer = max(inner, 1), min(outer, m)
    rise = special.ndtri((hits[..., outer] + 0.5) / (n + 1)) - special.ndtri((hits[..., inner] + 0.5) / (n + 1))
    return np.clip(rise / (special.ndtri(outer / (m + 1)) - special.ndtri(inner / (m + 1))), 0.05, 50.0)


def _invert(
    hits: FloatArray, n: int, shift: FloatArray, tail: float, few: NDArray[np.bool_], *, lower: bool
) -> FloatArray:
    """The TPR at which ``hits`` or more (lower), or fewer (upper), have probability ``tail``; mid-P unless ``few``."""
    hits, half = hits[..., None], np.where(few, 0.0, 0.5)[..., None]
    below, above = np.full(few.shape, -_EDGE), np.full(few.shape, _EDGE)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (below + above)
        miss = special.ndtr(-(middle[..., None] + shift))
        up_to = np.where(hits >= n, 1.0, special.betainc(np.maximum(n - hits, 1e-9), hits + 1.0, miss))
        fewer = np.where(hits <= 0, 0.0, special.betainc(n - hits + 1.0, np.maximum(hits, 1e-9), miss))
        here = up_to - fewer
        chance = ((1.0 - fewer - half * here) if lower else (up_to - half * here)) @ (_MASSES / 2.0)
        rises = chance < tail if lower else chance > tail
        below, above = np.where(rises, middle, below), np.where(rises, above, middle)
    return (
        np.where(hits[..., 0] <= 0, 0.0, special.ndtr(below))
        if lower
        else np.where(hits[..., 0] >= n, 1.0, special.ndtr(above))
    )
