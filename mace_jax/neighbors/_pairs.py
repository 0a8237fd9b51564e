"""The one place where a stored distance is measured, and the sorting of candidates into canonical lists."""

from __future__ import annotations

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.neighbors._base import IntArray

__all__ = ["nearest_of", "nearest_of_ragged", "row_chunks", "squared_distances", "squared_threshold", "widened"]

CHUNK_BYTES = 8 << 20


def row_chunks(n: int, bytes_per_row: int, budget: int = CHUNK_BYTES) -> list[slice]:
    """Slices of at most ``budget`` bytes that cover ``n`` rows."""
    step = max(1, budget // max(1, bytes_per_row))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def squared_distances(queries: FloatArray, reference: FloatArray, rows: IntArray, ids: IntArray) -> FloatArray:
    """``sum((x - y)**2)`` in float64 for the pairs (query ``rows[i]``, reference ``ids[i]``).

    Each pair is summed alone over contiguous memory, so its value does not depend on the other pairs.
    """
    result = np.empty(len(rows))
    for part in row_chunks(len(rows), 8 * queries.shape[1]):
        difference = np.subtract(reference[ids[part]], queries[rows[part]], dtype=np.float64)
        np.square(difference, out=difference)
        difference.sum(axis=1, out=result[part])
    return result


def nearest_of(queries: FloatArray, reference: FloatArray, candidates: IntArray, k: int) -> tuple[FloatArray, IntArray]:
    """The first ``k`` of each row of candidate ids by (squared distance, id); an id of -1 is at distance infinity."""
    n, width = candidates.shape
    rows = np.repeat(np.arange(n), width)
    squared = squared_distances(queries, reference, rows, candidates.ravel()).reshape(n, width)
    squared[candidates < 0] = np.inf
    order = np.lexsort((candidates, squared), axis=-1)[:, :k]
    return np.take_along_axis(squared, order, axis=1), np.take_along_axis(candidates, order, axis=1)


def nearest_of_ragged(
    squared: FloatArray, rows: IntArray, ids: IntArray, n_rows: int, k: int
) -> tuple[FloatArray, IntArray]:
    """As ``nearest_of`` for measured candidates in one flat list, at least ``k`` for each of the ``n_rows`` rows."""
    order = np.lexsort((ids, squared, rows))
    starts = np.searchsorted(rows[order], np.arange(n_rows))
    take = order[starts[:, None] + np.arange(k)]
    return squared[take], ids[take]


def squared_threshold(radius: FloatArray) -> FloatArray:
    """The largest float64 whose rounded square root is at most ``radius``: ``sqrt(s) <= r`` exactly when ``s <= t``."""
    threshold = np.square(radius)
    for _ in range(4):
        above = np.nextafter(threshold, np.inf)
        threshold = np.where(np.sqrt(above) <= radius, above, threshold)
        threshold = np.where(np.sqrt(threshold) > radius, np.nextafter(threshold, -np.inf), threshold)
    return threshold


def widened(squared: FloatArray, d: int, sign: int = 1) -> FloatArray:
    """``squared`` moved up (down for ``sign=-1``) past any other way to round a sum of ``d`` squares of differences."""
    return squared * (1 + sign * (d + 8) * 2.0**-50) + sign * (d + 8) * 2.0**-1074
