"""Score limits of a share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mace_jax._types import FloatArray

__all__ = ["wilson"]


def wilson(hits: ArrayLike, total: ArrayLike, level: float) -> tuple[FloatArray, FloatArray]:
    """Limits of ``hits / total`` (Wilson 1927); every total is above 0."""
    hits, total = np.asarray(hits, np.float64), np.asarray(total, np.float64)
    z = special.ndtri((1.0 + level) / 2.0)
    share = hits / total
    center = share + z**2 / (2.0 * total)
    reach = z * np.sqrt(share * (1.0 - share) / total + z**2 / (4.0 * total**2))
    low, high = ((center + sign * reach) / (1.0 + z**2 / total) for sign in (-1.0, 1.0))
    return np.where(hits == 0, 0.0, low), np.where(hits == total, 1.0, high)
