"""The last resort and small oracle: every pair by direct difference, SciPy's loop first, then the stored measure."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._pairs import nearest_of_ragged, row_chunks, squared_distances, squared_threshold, widened
from mace_jax.neighbors._threads import in_threads

__all__ = ["direct_counts", "direct_nearest"]

_CHUNK_BYTES = 32 << 20
_WIDENED_BYTES = 4 << 20


def direct_nearest(
    queries: FloatArray, reference: FloatArray, k: int, exclude_ids: IntArray | None
) -> tuple[FloatArray, IntArray]:
    """The ``k`` nearest rows by (squared distance, id); ``O(n m d)`` time, 64 MiB of distances at a time.

    A sum of squares of differences has no cancellation, so two ways to add it up differ by a relative rounding only:
    all rows within that of the k-th distance are measured again.
    """
    squared = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), dtype=np.int64)
    for part in row_chunks(len(queries), 24 * len(reference), _CHUNK_BYTES):
        rough = _rough(queries[part], reference)
        if exclude_ids is not None:
            own = np.flatnonzero(exclude_ids[part] >= 0)
            rough[own, exclude_ids[part][own]] = np.inf
        limit = np.asarray(np.partition(rough, k - 1, axis=1)[:, k - 1 : k], dtype=np.float64)
        rows, ids = np.nonzero(rough <= widened(limit, queries.shape[1]))
        distance = squared_distances(queries[part], reference, rows, ids)
        squared[part], indices[part] = nearest_of_ragged(distance, rows, ids, len(rough), k)
    return squared, indices


def _rough(queries: FloatArray, reference: FloatArray) -> FloatArray:
    """Squared distances ``(n, m)``; SciPy widens to float64 what it is given, so it gets a stretch at a time."""
    squared = np.empty((len(queries), len(reference)))

    def fill(part: slice) -> None:
        squared[:, part] = cdist(queries, reference[part], "sqeuclidean")

    in_threads(fill, row_chunks(len(reference), 8 * reference.shape[1], _WIDENED_BYTES))
    return squared


def direct_counts(queries: FloatArray, reference: FloatArray, radius: FloatArray) -> IntArray:
    """Closed-ball counts; pairs within rounding of the boundary are measured again."""
    counts = np.empty(len(queries), dtype=np.int64)
    threshold, d = squared_threshold(radius), queries.shape[1]
    low, high = widened(threshold, d, -1)[:, None], widened(threshold, d)[:, None]
    for part in row_chunks(len(queries), 24 * len(reference), _CHUNK_BYTES):
        rough = _rough(queries[part], reference)
        inside = rough <= low[part]
        rows, ids = np.nonzero((rough <= high[part]) & ~inside)
        near = np.sqrt(squared_distances(queries[part], reference, rows, ids)) <= radius[part][rows]
        counts[part] = inside.sum(axis=1) + np.bincount(rows[near], minlength=len(rough))
    return counts
