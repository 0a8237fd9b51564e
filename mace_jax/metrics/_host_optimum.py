"""The best rule for a linear-fractional metric on a finite set of outputs, in float64 on the host."""

from __future__ import annotations

import numpy as np

from mace_jax._types import FloatArray

__all__ = ["Coefficients", "best_on_path", "best_rule"]

Coefficients = tuple[float, ...]
"""c0, c1, c2, d0, d1, d2 of L = (c0 + c1 TP + c2 G) / (d0 + d1 TP + d2 G), G = TP + FP."""


def best_rule(coefficients: Coefficients, posterior: FloatArray, weights: FloatArray, *, start: float) -> float:
    """Dinkelbach's iteration from the best constant guess; each step solves the linear problem exactly."""
    c0, c1, c2, d0, d1, d2 = coefficients
    reached = start
    while True:
        chosen = (c1 - reached * d1) * posterior + (c2 - reached * d2) > 0.0
        positives, guesses = float((posterior * weights)[chosen].sum()), float(weights[chosen].sum())
        value = (c0 + c1 * positives + c2 * guesses) / (d0 + d1 * positives + d2 * guesses)
        if value <= reached:
            return reached
        reached = float(value)


def best_on_path(
    coefficients: Coefficients, guesses: FloatArray, positives: FloatArray, *, min_recall: float = 0.0
) -> float:
    """The best point with enough recall on the path that guesses outputs in descending order of posterior.

    ``guesses`` and ``positives`` are the running totals of weight and of posterior times weight, from 0 on. The path is
    the upper boundary of the ROC's convex hull, and the metric rises and then falls along it: the best point is a
    corner, or the point where the recall is exactly ``min_recall``.
    """
    c0, c1, c2, d0, d1, d2 = coefficients
    if min_recall > 0.0:
        needed = min_recall * positives[-1]
        enough = positives >= needed
        guesses = np.append(np.interp(needed, positives, guesses), guesses[enough])
        positives = np.append(needed, positives[enough])
    return float(np.max((c0 + c1 * positives + c2 * guesses) / (d0 + d1 * positives + d2 * guesses)))
