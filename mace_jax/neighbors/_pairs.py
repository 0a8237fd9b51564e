"""The one place where a stored distance is measured, and the sorting of candidates into canonical lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray, IntArray

__all__ = [
    "first_of",
    "nearest_of",
    "nearest_of_ragged",
    "row_chunks",
    "rows_at",
    "squared_distances",
    "squared_lists",
    "squared_threshold",
    "whole_rows",
    "widened",
]

CHUNK_BYTES = 8 << 20
_MEASURED_BYTES = 1 << 20  # memory that stays in the cache and is not given back in between
_IN_TURN = 8


def row_chunks(n: int, bytes_per_row: int, budget: int = CHUNK_BYTES) -> list[slice]:
    """Slices of at most ``budget`` bytes that cover ``n`` rows."""
    step = max(1, budget // max(1, bytes_per_row))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def squared_distances(queries: FloatArray, reference: FloatArray, rows: IntArray, ids: IntArray) -> FloatArray:
    """``sum((x - y)**2)`` in float64 for the pairs (query ``rows[i]``, reference ``ids[i]``).

    Each pair is summed alone over contiguous memory, so its value does not depend on the other pairs.
    """
    result = np.empty(len(rows))
    for part in row_chunks(len(rows), 8 * queries.shape[1], _MEASURED_BYTES):
        result[part] = _summed(
            np.subtract(rows_at(reference, ids[part]), rows_at(queries, rows[part]), dtype=np.float64)
        )
    return result


def squared_lists(queries: FloatArray, reference: FloatArray, ids: IntArray) -> FloatArray:
    """``squared_distances`` of each query to the reference rows listed in its row of ``ids``, bit for bit."""
    (n, width), d = ids.shape, queries.shape[1]
    result = np.empty((n, width))
    for part in row_chunks(n, 8 * d * width, _MEASURED_BYTES):
        difference = np.subtract(rows_at(reference, ids[part]), queries[part][:, None, :], dtype=np.float64)
        result[part] = _summed(difference.reshape(-1, d)).reshape(-1, width)
    return result


def rows_at(array: FloatArray, ids: IntArray) -> FloatArray:
    """The rows with these ids; of an array in memory by ``take``, which moves whole rows at four times the speed."""
    return array.take(ids, axis=0) if isinstance(array, np.ndarray) else array[ids]


def _summed(difference: FloatArray) -> FloatArray:
    """Sums of the squares of each row, in NumPy's own order: one after the other for fewer than 8."""
    squares, d = np.square(difference, out=difference), difference.shape[1]
    if not 1 < d < _IN_TURN:
        return squares.sum(axis=1)
    total = squares[:, 0] + squares[:, 1]
    for column in range(2, d):
        total += squares[:, column]
    return total


def nearest_of(queries: FloatArray, reference: FloatArray, candidates: IntArray, k: int) -> tuple[FloatArray, IntArray]:
    """The first ``k`` of each row of candidate ids by (squared distance, id); an id of -1 is at distance infinity."""
    squared = squared_lists(queries, reference, candidates)
    squared[candidates < 0] = np.inf
    return first_of(squared, candidates, k)


def first_of(squared: FloatArray, ids: IntArray, k: int) -> tuple[FloatArray, IntArray]:
    """The first ``k`` of each row by (squared distance, id)."""
    order = np.argsort(squared, axis=1)
    near, first = _in_order(squared, order), _in_order(ids, order)
    # Equal distances, the last one kept and the first one cut off among them, stand in order of id.
    tied = np.flatnonzero((near[:, 1 : k + 1] == near[:, :k][:, : near.shape[1] - 1]).any(axis=1))
    order = np.lexsort((ids[tied], squared[tied]), axis=-1)
    near[tied], first[tied] = _in_order(squared[tied], order), _in_order(ids[tied], order)
    return np.ascontiguousarray(near[:, :k]), np.ascontiguousarray(first[:, :k])


def _in_order(rows: NDArray[Any], order: IntArray) -> NDArray[Any]:
    """``take_along_axis`` along rows, at three times its speed."""
    return rows.ravel().take(order + np.arange(len(rows))[:, None] * rows.shape[1])


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


def whole_rows(array: NDArray[Any]) -> NDArray[np.void]:
    """The rows of a contiguous array as single items, which move in one piece."""
    return array.view(f"V{array.shape[1] * array.itemsize}").ravel()
