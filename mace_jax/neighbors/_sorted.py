"""One feature: sort once, neighbors are a run around the insertion point."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import final

import jax
import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray
from mace_jax.neighbors._base import AbstractNeighborBackend, IntArray, Neighbors, make_neighbors
from mace_jax.neighbors._duplicates import group_rows
from mace_jax.neighbors._pairs import nearest_of, row_chunks
from mace_jax.neighbors._threads import in_threads
from mace_jax_kernels._tiling import bucket, pad_rows, resident_size
from mace_jax_kernels.sorted_window import merge_arms

__all__ = ["SortedBackend"]

_CHUNK_BYTES = 32 << 20
_MERGE_ROWS = 1 << 14
_FLUSHED = 1e-300


@final
@dataclasses.dataclass(frozen=True)
class SortedBackend(AbstractNeighborBackend):
    """Sorting and binary search for records of one column, exact in float64.

    Peak memory beyond inputs and result: ``48 (n + m)`` bytes plus 64 MiB of candidates.

    Example:
        >>> SortedBackend().name
        'sorted'
    """

    @property
    def name(self) -> str:
        """Word recorded in results."""
        return "sorted"

    def search(
        self, queries: FloatArray, reference: FloatArray, k: int, *, exclude_ids: IntArray | None = None
    ) -> Neighbors:
        """The ``k`` nearest rows per query, from the ``k`` distinct values on either side."""
        _one_column(reference)
        itself = queries is reference or np.array_equal(queries, reference)
        order = np.argsort(reference[:, 0])
        values = reference[order, 0]
        if len(values) > 1 and (values[1:] > values[:-1]).all():
            everyone = exclude_ids is None or (itself and np.array_equal(exclude_ids, np.arange(len(queries))))
            if everyone:
                return self._merged(queries, reference, order, values, k, exclude_ids, itself)
        groups = group_rows(reference)
        distinct = reference if groups is None else reference[groups.first]
        excluded = exclude_ids if groups is None else None  # otherwise left out when groups are expanded
        wanted = k if groups is None else groups.wanted(k, exclude_ids)
        if groups is not None:
            order = np.argsort(distinct[:, 0], kind="stable")
            values = distinct[order, 0]
        place = np.searchsorted(values, queries[:, 0])
        squared = np.empty((len(queries), k))
        indices = np.empty((len(queries), k), dtype=np.int64)
        for part in row_chunks(len(queries), 96 * wanted, _CHUNK_BYTES):
            own = None if excluded is None else excluded[part]
            near, ids = _window(queries[part], distinct, order, place[part], wanted, own)
            if groups is not None:
                near, ids = groups.expand(near, ids, k, None if exclude_ids is None else exclude_ids[part])
            squared[part], indices[part] = near, ids
        return make_neighbors(squared, indices, self.name)

    def _merged(
        self,
        queries: FloatArray,
        reference: FloatArray,
        order: IntArray,
        values: FloatArray,
        k: int,
        exclude_ids: IntArray | None,
        itself: bool,
    ) -> Neighbors:
        """Distinct values, queries visited along the line: two arms merged from the inside out in compiled code."""
        m, n = len(values), len(queries)
        turn = order if itself else np.argsort(queries[:, 0])
        own = exclude_ids is not None
        line = np.full(resident_size(m + 2 * (k + 2)), np.inf)
        line[: k + 2], line[k + 2 : k + 2 + m] = -np.inf, values
        names = np.full(len(line), -1, np.int64)
        names[k + 2 : k + 2 + m] = order
        squared = np.empty((n, k))
        indices = np.empty((n, k), dtype=np.int64)
        step = bucket(min(n, _MERGE_ROWS))

        def merge(part: slice) -> None:
            rows = turn[part]
            x = queries[rows, 0]
            # First place whose value is not below the query.
            place = np.arange(part.start, part.stop) if itself else np.searchsorted(values, x)
            left = (place + (k + 1)).astype(np.int32)
            right = left + np.int32(2 if own else 1)
            size = len(rows)
            with jax.enable_x64(True):
                found = merge_arms(device_line, pad_rows(left, step), pad_rows(right, step), pad_rows(x, step), k=k)
                near, where, open_ = (np.asarray(array)[:size] for array in found)
            squared[rows], indices[rows] = near, names[where]
            # Compiled code may flush the smallest numbers to zero, where only equal values have a true zero.
            small = near[:, 0] < _FLUSHED
            if small.any():
                open_ = open_ | (small & (line[where[:, 0]] != x)) | (near[:, 1:2] < _FLUSHED).any(axis=1)
            if open_.any():
                again = rows[open_]
                there = None if exclude_ids is None else exclude_ids[again]
                squared[again], indices[again] = _window(queries[again], reference, order, place[open_], k, there)

        with jax.enable_x64(True):
            device_line = jax.device_put(line)
        in_threads(merge, row_chunks(n, 1, step))
        return make_neighbors(squared, indices, self.name)

    def count_within(self, queries: FloatArray, reference: FloatArray, radius: FloatArray) -> IntArray:
        """Closed-interval counts by binary search on the rounded difference itself."""
        _one_column(reference)
        values = np.sort(reference[:, 0])
        x = queries[:, 0]
        place = np.searchsorted(values, x)

        def within(i: IntArray) -> NDArray[np.bool_]:
            return np.sqrt(np.square(x - values[i])) <= radius

        # Left of `place` values are below x and the rounded distance falls along the array; right of it, it rises.
        first = _first_true(within, np.zeros_like(place), place)
        last = _first_true(lambda i: ~within(i), place, np.full_like(place, len(values)))
        return (last - first).astype(np.int64)


def _one_column(reference: FloatArray) -> None:
    """A named backend is checked by the verb; a backend object may still meet wide records."""
    if reference.shape[1] != 1:
        raise ValueError(f"SortedBackend needs records of one column, got {reference.shape[1]}; use backend='auto'.")


def _window(
    queries: FloatArray, reference: FloatArray, order: IntArray, place: IntArray, k: int, excluded: IntArray | None
) -> tuple[FloatArray, IntArray]:
    """The ``k`` nearest distinct values; windows widen while a value beyond an edge rounds to the last distance."""
    m = len(order)
    squared = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), dtype=np.int64)
    rows, reach = np.arange(len(queries)), k + (excluded is not None)
    while len(rows):
        low = np.clip(place[rows] - reach, 0, m)
        high = np.clip(place[rows] + reach, 0, m)
        positions = low[:, None] + np.arange(min(2 * reach, m))
        ids = np.where(positions < high[:, None], order[np.minimum(positions, m - 1)], -1)
        if excluded is not None:
            ids = np.where(ids == excluded[rows][:, None], -1, ids)
        squared[rows], indices[rows] = nearest_of(queries[rows], reference, ids, k)
        # The first values outside: no closer than anything inside, but after rounding perhaps equal.
        left, right = reference[order[np.maximum(low - 1, 0)], 0], reference[order[np.minimum(high, m - 1)], 0]
        last, x = squared[rows, -1], queries[rows, 0]
        tied = ((low > 0) & ((x - left) ** 2 <= last)) | ((high < m) & ((right - x) ** 2 <= last))
        rows, reach = rows[tied], 2 * reach
    return squared, indices


def _first_true(predicate: Callable[[IntArray], NDArray[np.bool_]], low: IntArray, high: IntArray) -> IntArray:
    """Per query the first index in [low, high) where a monotone predicate holds, else ``high``."""
    low, high = low.copy(), high.copy()
    while True:
        active = low < high
        if not active.any():
            return low
        middle = (low + high) // 2
        holds = predicate(np.minimum(middle, np.maximum(high - 1, 0)))
        high = np.where(active & holds, middle, high)
        low = np.where(active & ~holds, middle + 1, low)
