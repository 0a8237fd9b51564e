"""The oracle of ``sorted_window``: all distances, sorted."""

from __future__ import annotations

import numpy as np

__all__ = ["sorted_window_reference"]


def sorted_window_reference(values, queries, k):
    """Four arrays ``(K, m)`` as in ``Windows``; quadratic memory."""
    distances = np.abs(np.asarray(queries)[:, None] - np.asarray(values)[None, :])
    out = []
    for count in np.asarray(k):
        radius = np.sort(distances, axis=1)[:, count - 1 : count]
        near, tied = distances < radius, distances <= radius
        closed_low = tied.argmax(axis=1)
        open_low = np.where(near.any(axis=1), near.argmax(axis=1), closed_low)
        out.append((closed_low, open_low, open_low + near.sum(axis=1), closed_low + tied.sum(axis=1)))
    return tuple(np.stack(column) for column in zip(*out, strict=True))
