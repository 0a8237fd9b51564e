"""Exact one-sided binomial limits; a fraction of a hit, as from a tie, is interpolated."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mace_jax._types import FloatArray

__all__ = ["clopper_pearson_lower", "clopper_pearson_upper"]


def clopper_pearson_lower(hits: ArrayLike, total: ArrayLike, error: float) -> FloatArray:
    """Limit below which a success rate lies with probability at most ``error`` (Clopper and Pearson 1934)."""
    hits, total = np.asarray(hits, np.float64), np.asarray(total, np.float64)
    proper = hits > 0
    return np.where(proper, stats.beta.ppf(error, np.where(proper, hits, 1.0), total - hits + 1.0), 0.0)


def clopper_pearson_upper(hits: ArrayLike, total: ArrayLike, error: float) -> FloatArray:
    """Limit above which a success rate lies with probability at most ``error`` (Clopper and Pearson 1934)."""
    hits, total = np.asarray(hits, np.float64), np.asarray(total, np.float64)
    proper = hits < total
    return np.where(proper, stats.beta.ppf(1.0 - error, hits + 1.0, np.where(proper, total - hits, 1.0)), 1.0)
