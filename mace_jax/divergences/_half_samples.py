"""Variance of a nearest-neighbor estimate from pairs of disjoint halves, read from one set of lists.

The two halves of a random split are independent samples, so ``(T_1 - T_2)^2 / 4`` has mean ``Var(T of half the
records) / 2``, which is the variance of T itself up to terms of second order: whatever the neighbors of one record have
to do with those of another is in it. Neighbors within a half are the neighbors of the list that fell into it.

Halves show the skewness of T too: for a mean of n independent terms, the covariance of the mean and of its estimated
variance is the third moment over n squared, and both are at hand in every half.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from mace_jax._random import generator
from mace_jax._types import FloatArray
from mace_jax.divergences._pair import Sample
from mace_jax.neighbors import paired_knn

__all__ = [
    "Contrast",
    "Halves",
    "common_radius_contrast",
    "log_ratio_contrast",
    "power_contrast",
    "rule_contrast",
    "split",
]

_LONGEST = 256
_ROW_BLOCK = 2048


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
    """Records, lists of neighbors within and across samples, and splits of both samples into halves."""

    n: int
    m: int
    d: int
    to_p: FloatArray  # (n + m, width) squared distances
    to_q: FloatArray
    p_ids: NDArray[np.intp]  # pooled row numbers
    q_ids: NDArray[np.intp]
    half: NDArray[np.uint8]  # (n + m, splits): 1 in the first half


def split(p: FloatArray, q: FloatArray, width: int, n_splits: int) -> Halves:
    """Search once, split ``n_splits`` times; the splits are the same for the same sizes."""
    n, m = len(p), len(q)
    found = paired_knn(Sample(p, q), min(width, _LONGEST, n - 1, m - 1))
    rng = generator(0, "half samples")
    half = np.zeros((n + m, n_splits), np.uint8)
    half[:n][np.argsort(rng.random((n, n_splits)), axis=0) < n // 2] = 1
    half[n:][np.argsort(rng.random((m, n_splits)), axis=0) < m // 2] = 1
    to_p, to_q = found.to_members, found.to_nonmembers
    return Halves(
        n,
        m,
        p.shape[1],
        np.asarray(to_p.squared_distances),
        np.asarray(to_q.squared_distances),
        np.asarray(to_p.indices),
        np.asarray(to_q.indices) + n,
        half,
    )


def _kth(halves: Halves, rows: slice, ids: NDArray[np.intp], squared: FloatArray, k: int) -> FloatArray:
    """Logs of the squared distances to the k-th neighbor in the own half; the end of the list where it is too short."""
    own, last = halves.half[rows], squared.shape[1] - 1
    seen, place = np.zeros_like(own), np.zeros_like(own)
    for column in ids[rows].T:
        seen += halves.half[column] == own
        place += seen < k
    log = np.log(squared[rows])
    return np.take_along_axis(log, np.minimum(place, last).astype(np.intp), axis=1)


class Contrast(NamedTuple):
    """Estimates on both halves of every split: their difference, and the variance of each by its own terms alone."""

    difference: FloatArray  # (..., splits)
    first: FloatArray
    second: FloatArray

    def times(self, factor: float | FloatArray) -> Contrast:
        factor = np.asarray(factor)[..., None]
        return Contrast(self.difference * factor, self.first * factor**2, self.second * factor**2)

    def plus(self, other: Contrast) -> Contrast:
        """The sum with an estimate from other records."""
        return Contrast(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def variance(self) -> FloatArray:
        """Of the estimate from all records."""
        return np.mean(self.difference**2, axis=-1) / 4.0

    @property
    def skewness(self) -> FloatArray:
        """Of the estimate from all records; 0 where halves do not differ."""
        of_half = np.mean(self.difference**2, axis=-1) / 2.0
        together = np.mean((self.first - self.second) * self.difference, axis=-1) / 2.0
        scale = np.mean(self.first + self.second, axis=-1) / 2.0 * np.sqrt(2.0 * of_half)
        return np.divide(together, scale, out=np.zeros_like(together), where=scale > 0.0)


def _contrast(values: FloatArray, half: NDArray[np.uint8]) -> Contrast:
    """Of the mean of values ``(rows, splits)``."""
    n, first = len(half), half.sum(axis=0, dtype=np.float64)
    means, variances = [], []
    inside = np.einsum("rs,rs->s", values, half), np.einsum("rs,rs,rs->s", values, values, half)
    outside = values.sum(axis=0) - inside[0], np.einsum("rs,rs->s", values, values) - inside[1]
    for size, (total, squares) in ((first, inside), (n - first, outside)):
        means.append(total / size)
        variances.append(np.maximum(squares / size - means[-1] ** 2, 0.0) / size)
    return Contrast(means[0] - means[1], variances[0], variances[1])


def _by_block(halves: Halves, start: int, stop: int, values: Callable[[slice], FloatArray]) -> Contrast:
    parts = [values(slice(at, min(at + _ROW_BLOCK, stop))) for at in range(start, stop, _ROW_BLOCK)]
    return _contrast(np.concatenate(parts), halves.half[start:stop])


def log_ratio_contrast(halves: Halves, k: int) -> Contrast:
    """Of the two-sample Kullback-Leibler estimate."""

    def values(rows: slice) -> FloatArray:
        near_q = _kth(halves, rows, halves.q_ids, halves.to_q, k)
        return 0.5 * halves.d * (near_q - _kth(halves, rows, halves.p_ids, halves.to_p, k))

    return _by_block(halves, 0, halves.n, values)


def common_radius_contrast(halves: Halves, k: int) -> Contrast:
    """Of the common-radius Kullback-Leibler estimate; beyond the end of a list, counts grow with the volume."""

    def values(rows: slice) -> FloatArray:
        near_p = _kth(halves, rows, halves.p_ids, halves.to_p, k)
        near_q = _kth(halves, rows, halves.q_ids, halves.to_q, k)
        radius = np.maximum(near_p, near_q)
        a = _within(halves, rows, halves.p_ids, halves.to_p, radius)
        b = _within(halves, rows, halves.q_ids, halves.to_q, radius)
        return np.where(near_p >= near_q, digamma(k) - digamma(b + 1.0), digamma(a + 1.0) - digamma(k))

    return _by_block(halves, 0, halves.n, values)


def _within(
    halves: Halves, rows: slice, ids: NDArray[np.intp], squared: FloatArray, log_radius: FloatArray
) -> FloatArray:
    own, log = halves.half[rows], np.log(squared[rows])
    count = np.zeros(own.shape, np.int32)
    for column, distance in zip(ids[rows].T, log.T, strict=True):
        count += (halves.half[column] == own) & (distance[:, None] <= log_radius)
    beyond = np.maximum(log_radius - log[:, -1:], 0.0)
    return np.asarray(count * np.exp(0.5 * halves.d * beyond), np.float64)


def power_contrast(halves: Halves, k: int, order: float, constants: tuple[float, float]) -> Contrast:
    """Of ``int p^order q^(1 - order)``; the constants unbias the terms at P and at Q rows."""

    def ratio(rows: slice) -> FloatArray:
        near_q = _kth(halves, rows, halves.q_ids, halves.to_q, k)
        return 0.5 * halves.d * (near_q - _kth(halves, rows, halves.p_ids, halves.to_p, k))

    scale = math.log(halves.m / halves.n)
    at_p = _by_block(halves, 0, halves.n, lambda rows: np.exp((order - 1.0) * (ratio(rows) + scale) + constants[0]))
    if order > 1.0:
        return at_p
    at_q = _by_block(
        halves, halves.n, halves.n + halves.m, lambda rows: np.exp(order * (ratio(rows) + scale) + constants[1])
    )
    return at_p.times(order).plus(at_q.times(1.0 - order))


def rule_contrast(halves: Halves, k: int, epsilons: FloatArray) -> Contrast:
    """Of ``P(rule) - e^epsilon Q(rule)`` of the k-neighbor rule; fields ``(epsilons, splits)``."""
    n, m = halves.n, halves.m
    ids = np.concatenate([halves.p_ids, halves.q_ids], axis=1)
    order = np.argsort(np.concatenate([halves.to_p, halves.to_q], axis=1), axis=1, kind="stable")
    ids = np.take_along_axis(ids, order[:, : halves.to_p.shape[1]], axis=1)
    factor = np.exp(epsilons)

    def guesses(rows: slice) -> FloatArray:
        own = halves.half[rows]
        seen, from_p = np.zeros_like(own), np.zeros_like(own)
        for column in ids[rows].T:
            counted = (halves.half[column] == own) & (seen < k)
            seen += counted
            from_p += counted & (column < n)[:, None]
        is_p = (np.arange(rows.start, rows.stop) < n)[:, None]
        size_p, size_q = np.float64(n / 2.0) - is_p, np.float64(m / 2.0) - ~is_p
        a, b = from_p / size_p, (seen - from_p) / size_q
        gain = a[None] - factor[:, None, None] * b[None]
        return (gain > 0.0) + 0.5 * (gain == 0.0)

    def by_epsilon(start: int, stop: int) -> Contrast:
        parts = [guesses(slice(at, min(at + _ROW_BLOCK, stop))) for at in range(start, stop, _ROW_BLOCK)]
        each = [_contrast(said, halves.half[start:stop]) for said in np.concatenate(parts, axis=1)]
        return Contrast(*(np.stack(field) for field in zip(*each, strict=True)))

    return by_epsilon(0, n).plus(by_epsilon(n, n + m).times(-factor))
