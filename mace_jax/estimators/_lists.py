"""Neighbor lists over distinct rows: which entries are the k nearest, ties and multiplicities included."""

from __future__ import annotations

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.neighbors import knn

__all__ = ["FOR_TIES", "edges", "search", "shells"]

FOR_TIES = 32  # further list entries, so that distinct rows tied with the k-th neighbor are seen


def search(queries: FloatArray, atoms: FloatArray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ``length`` nearest of the distinct rows ``atoms``, and the shells of entries at equal distance."""
    found = knn(queries, atoms, length)
    return np.array(found.indices, dtype=np.int32), *shells(np.asarray(found.squared_distances))


def shells(squared: FloatArray) -> tuple[np.ndarray, np.ndarray]:
    """Where the run of equal ascending distances that an entry belongs to begins and ends, ``(n, L)`` each."""
    n, length = squared.shape
    small = np.int16 if length < 2**15 else np.int32
    place = np.arange(length, dtype=small)
    steps = squared[:, 1:] > squared[:, :-1]
    first = np.zeros((n, length), small)
    first[:, 1:] = np.where(steps, place[1:], 0)
    end = np.full((n, length), length, small)
    end[:, :-1] = np.where(steps, place[1:], length)
    np.maximum.accumulate(first, axis=1, out=first)
    end[:, ::-1] = np.minimum.accumulate(end[:, ::-1], axis=1)
    return first, end


def edges(
    weight: np.ndarray, first: np.ndarray, end: np.ndarray, k: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every list and each of the ascending ``k``: entries strictly nearer than the k-th neighbor, entries at most
    as far, and the share of the tied shell that belongs to the k nearest, ``(n, K)`` each.

    ``weight`` ``(n, L)`` is how many records an entry stands for, 0 for one that does not count. Every list must hold
    k records. Memory: about ``12 n (L + max(k))`` bytes.
    """
    n, most = len(weight), int(k[-1])
    reached = np.zeros((n, weight.shape[1] + 1), np.int32)
    np.cumsum(weight, axis=1, out=reached[:, 1:])
    if (reached[:, -1] < most).any():
        raise RuntimeError(f"A neighbor list ends before the {most} records that were asked for.")
    cells = np.minimum(reached[:, 1:], most) + np.arange(n)[:, None] * (most + 1)
    up_to = np.bincount(cells.reshape(-1), minlength=n * (most + 1)).reshape(n, most + 1)
    last = np.cumsum(up_to, axis=1, dtype=np.int32)[:, k - 1]  # entries that reach fewer than k
    near, tied = np.take_along_axis(first, last, axis=1), np.take_along_axis(end, last, axis=1)
    before = np.take_along_axis(reached, near.astype(np.int32), axis=1)
    inside = np.take_along_axis(reached, tied.astype(np.int32), axis=1) - before
    return near, tied, (k - before) / inside
