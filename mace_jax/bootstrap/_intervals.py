"""Limits from a bootstrap distribution: percentile, basic, BCa, studentized."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import special

from mace_jax._types import FloatArray

__all__ = ["Method", "limit"]

Method = Literal["bca", "percentile", "basic", "studentized"]


def limit(
    level: float,
    estimate: float,
    replicates: FloatArray,
    *,
    method: Method,
    acceleration: float = 0.0,
    bias: float | None = None,
    standard_error: float = 0.0,
    replicate_errors: FloatArray | None = None,
) -> float:
    """The one-sided limit below which the target lies with probability about ``level``.

    BCa (Efron 1987) moves the quantile by the acceleration and by the bias z0, which is ``bias`` or is read off the
    replicates (ties count one half); studentized divides each replicate's error by its own standard error.
    """
    if method == "percentile":
        return float(np.quantile(replicates, level))
    if method == "basic":
        return float(2.0 * estimate - np.quantile(replicates, 1.0 - level))
    if method == "studentized":
        assert replicate_errors is not None
        usable = replicate_errors > 0
        if not usable.any():
            return estimate
        ratios = (replicates[usable] - estimate) / replicate_errors[usable]
        return float(estimate - standard_error * np.quantile(ratios, 1.0 - level))
    if bias is None:
        below = np.mean(replicates < estimate) + 0.5 * np.mean(replicates == estimate)
        if not 0.0 < below < 1.0:
            return float(np.quantile(replicates, level))
        bias = float(special.ndtri(below))
    shifted = bias + special.ndtri(level)
    return float(np.quantile(replicates, special.ndtr(bias + shifted / (1.0 - acceleration * shifted))))
