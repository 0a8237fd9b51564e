"""Weighted sums over k that cancel the leading bias terms without letting the variance run away."""

from __future__ import annotations

import functools

import numpy as np

from mace_jax._types import FloatArray

__all__ = ["LENGTHS", "ensemble_neighbors", "ensemble_weights"]

LENGTHS = (0.3, 0.5, 0.7, 1.0, 1.3, 1.6, 2.0, 2.4)
LARGEST_NORM = 2.0


def ensemble_neighbors(rows: int) -> tuple[int, ...]:
    """``k`` of each member: a multiple of the square root of the smaller sample size."""
    return tuple(max(1, min(rows - 1, round(length * rows**0.5))) for length in LENGTHS)


@functools.lru_cache(maxsize=64)
def ensemble_weights(d: int, lengths: tuple[float, ...] = LENGTHS, largest_norm: float = LARGEST_NORM) -> FloatArray:
    """Weights that sum to 1 and make ``sum w l^(i/d)``, i = 1 .. max(d - 1, 1), as small as a norm limit allows.

    Minimizes the squared moments plus a penalty on the squared norm, the smallest penalty whose solution has norm at
    most ``largest_norm`` (exact cancellation needs norms of 10^3 from five features on).
    """
    lengths_ = np.asarray(lengths)
    powers = np.arange(1, max(d - 1, 1) + 1) / d
    moments = lengths_[None, :] ** powers[:, None]
    gram, ones = moments.T @ moments, np.ones(len(lengths_))

    def solve(penalty: float) -> FloatArray:
        inner = np.linalg.solve(gram + penalty * np.eye(len(ones)), ones)
        return inner / inner.sum()

    low, high = -12.0, 6.0  # decimal logarithm of the penalty; the norm falls as it rises
    if np.linalg.norm(solve(10.0**low)) <= largest_norm:
        return solve(10.0**low)
    for _ in range(60):
        middle = 0.5 * (low + high)
        if np.linalg.norm(solve(10.0**middle)) > largest_norm:
            low = middle
        else:
            high = middle
    return solve(10.0**high)
