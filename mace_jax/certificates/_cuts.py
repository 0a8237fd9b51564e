"""Thresholds of a score: which ones to try, and the counts above them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mace_jax._types import FloatArray

__all__ = ["counts_above", "cuts_between", "rank_grid"]

_MOST_CUTS = 512


def counts_above(scores: FloatArray, cuts: ArrayLike) -> np.ndarray:
    """How many scores exceed each cut."""
    return len(scores) - np.searchsorted(np.sort(scores), np.asarray(cuts, np.float64), side="right")


def cuts_between(scores: FloatArray) -> FloatArray:
    """Midpoints of neighboring distinct scores; of many, those with both tails kept dense."""
    values = np.unique(scores)
    if len(values) > _MOST_CUTS:
        places = np.unique(np.geomspace(1, len(values) // 2, _MOST_CUTS // 2).astype(int))
        values = values[np.unique(np.concatenate([places - 1, places, len(values) - places, len(values) - 1 - places]))]
    low, high = values[:-1], values[1:]
    middle = low / 2.0 + high / 2.0
    return np.where((middle >= low) & (middle < high), middle, low)


def rank_grid(n: int) -> np.ndarray:
    """Ranks 1 .. n, about three to each doubling from either end; a function of ``n`` alone."""
    steps = np.unique(np.round(2.0 ** np.arange(0.0, np.log2(max(n, 2)), 1.0 / 3.0)).astype(int))
    steps = steps[steps <= (n + 1) // 2]
    return np.unique(np.concatenate([steps, n + 1 - steps]))
