"""An exact lower limit of a mean over independent models, by betting against it."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize

from mace_jax._types import FloatArray

__all__ = ["mean_lower_limit"]

_LARGEST_BET = 0.75  # of what the capital survives


def mean_lower_limit(values: FloatArray, error: float) -> float:
    """Limit below which the mean of independent draws in [0, 1] lies with probability at most ``error``.

    The capital K_t(m) = prod_s (1 + bet_s (x_s - m)), bets fixed by earlier draws, is a supermartingale where the mean
    is at most m, so it ever reaches 1 / error with probability at most ``error`` (Ville). Every m where it does is
    rejected; the capital falls in m, so they end at one number (Waudby-Smith and Ramdas 2024).
    """
    n = len(values)
    steps = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(values)) / (steps + 1.0)
    spreads = (0.25 + np.cumsum((values - means) ** 2)) / (steps + 1.0)
    before = np.concatenate([[0.25], spreads[:-1]])
    bets = np.sqrt(2.0 * math.log(1.0 / error) / (n * before))
    needed = math.log(1.0 / error)

    def excess(mean: float) -> float:
        limited = np.minimum(bets, _LARGEST_BET / mean)
        return float(np.max(np.cumsum(np.log1p(limited * (values - mean))))) - needed

    lowest = 1e-12
    if excess(lowest) < 0.0:
        return 0.0
    # at a mean of 1 no bet can gain, so the sign changes in between
    return max(0.0, float(optimize.brentq(excess, lowest, 1.0, xtol=1e-10)) - 1e-9)  # type: ignore[arg-type]
