"""Held-out log ratios brought to scale by logistic regression on them, as averages over neighbors flatten them."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from mace_jax._types import FloatArray

__all__ = ["recalibrated"]

_STEPS = 50
_CONVERGED = 1e-10


def recalibrated(p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """``a + b T`` by logistic regression of the sample on T at prior one half (Platt 1999); None unless b is positive.

    Targets are drawn in by a record per sample, so that samples which T separates have a finite answer.
    """
    scores = np.concatenate([p, q])
    from_p = np.arange(len(scores)) < len(p)
    weights = np.where(from_p, 0.5 / len(p), 0.5 / len(q))
    targets = np.where(from_p, (len(p) + 1.0) / (len(p) + 2.0), 1.0 / (len(q) + 2.0))
    design = np.stack([np.ones_like(scores), scores - scores.mean()], axis=1)

    def loss(at: FloatArray) -> float:
        linear = design @ at
        return float(weights @ (np.logaddexp(0.0, linear) - targets * linear))

    found = np.zeros(2)
    for _ in range(_STEPS):
        mean = expit(design @ found)
        slope = design.T @ (weights * (targets - mean))
        bend = (design * (weights * mean * (1.0 - mean))[:, None]).T @ design
        step = np.linalg.lstsq(bend, slope, rcond=None)[0]
        while loss(found + step) > loss(found) and abs(step).max() > _CONVERGED:
            step *= 0.5
        if abs(step).max() <= _CONVERGED:
            break
        found += step
    if found[1] <= 0.0:  # held-out rows say the opposite: no log ratio to speak of
        return None
    linear = design @ found
    return linear[: len(p)], linear[len(p) :]
