"""The oracle: all direct differences, compared."""

from __future__ import annotations

import numpy as np

__all__ = ["radius_count"]


def radius_count(queries, reference, radius):
    """Every distance as sqrt(sum((x - y)^2)), counted where it is at most the radius; quadratic memory."""
    queries, reference = np.asarray(queries), np.asarray(reference)
    squared = ((queries[:, None, :] - reference[None, :, :]) ** 2).sum(axis=-1)
    inside = np.sqrt(squared) <= np.asarray(radius)[:, None]
    return inside.sum(axis=1, dtype=np.int32), np.ones(len(queries), bool)
