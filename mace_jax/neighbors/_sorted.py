"""One feature: sort once, neighbors are a run around the insertion point."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import final

import jax
import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors, make_neighbors
from mace_jax.neighbors._duplicates import group_rows
from mace_jax.neighbors._pairs import nearest_of, row_chunks, whole_rows
from mace_jax.neighbors._threads import in_threads
from mace_jax_kernels._tiling import bucket, pad_rows, resident_size
from mace_jax_kernels.sorted_window import merge_arms

__all__ = ["SortedBackend"]

_CHUNK_BYTES = 32 << 20
_MERGE_ROWS = 1 << 13
_MERGE_BYTES = 16 << 20
_FLUSHED = 1e-300


@final
@dataclasses.dataclass(frozen=True)
class SortedBackend(AbstractNeighborBackend):
    """Sorting and binary search for records of one column, exact in float64.

    Peak memory beyond inputs and result: ``48 (n + m)`` bytes plus 16 MiB of candidates per thread; 64 MiB more where
    different values round to one distance.

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
        """The ``k`` nearest rows per query, merged from the two arms of the sorted line around it."""
        _one_column(reference)
        order, values = _ordered(reference[:, 0])
        itself = queries is reference or np.array_equal(queries, reference)
        turn, x = (order, values) if itself else _ordered(queries[:, 0])
        arms = _Arms.of(values, order, k)
        n = len(queries)
        squared, indices = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
        in_threads(lambda array: array.fill(0), (squared, indices))  # touched in order here, at random below
        squared_rows, indices_rows = whole_rows(squared), whole_rows(indices)
        step = bucket(min(n, _MERGE_ROWS, max(8, _MERGE_BYTES // (40 * (k + 2)))))

        def merge(part: slice) -> IntArray:
            rows, here = turn[part], x[part]
            right = arms.starts[part] if itself else np.searchsorted(values, here)
            own = np.full(len(rows), -1) if exclude_ids is None else exclude_ids[rows]
            near, names, doubtful = arms.merge(here, right, own, step)
            squared_rows[rows], indices_rows[rows] = whole_rows(near), whole_rows(names)
            return rows[doubtful]

        again = np.concatenate(in_threads(merge, row_chunks(n, 1, step)))
        if len(again):
            own = None if exclude_ids is None else exclude_ids[again]
            squared[again], indices[again] = _from_windows(queries[again], reference, k, own)
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


@dataclasses.dataclass(frozen=True, eq=False)
class _Arms:
    """The sorted line as the compiled merge reads it: infinities at either end, names on the way down and up."""

    values: FloatArray  # (m,) ascending
    starts: IntArray  # (m,) first place of each run of equal values
    line: jax.Array
    names: jax.Array
    k: int

    @classmethod
    def of(cls, values: FloatArray, order: IntArray, k: int) -> _Arms:
        m, edge = len(values), k + 3
        starts, mirrored = _runs(values)
        line = np.full(resident_size(m + 2 * edge), np.inf)
        line[:edge], line[edge : edge + m] = -np.inf, values
        names = np.full((2, len(line)), -1, np.int32)
        names[1, edge : edge + m] = order
        names[0, edge : edge + m] = order if mirrored is None else order[mirrored]
        with jax.enable_x64(True):
            return cls(values, starts, jax.device_put(line), jax.device_put(names), k)

    def merge(
        self, x: FloatArray, right: IntArray, own: IntArray, step: int
    ) -> tuple[FloatArray, IntArray, NDArray[np.bool_]]:
        """Lists of ascending queries ``x`` with their first value not below at ``right``; which are in doubt."""
        n, edge = len(x), self.k + 3
        first = right.astype(np.int32) + np.int32(edge)
        columns = (first - np.int32(1), first, x, own.astype(np.int32))
        padded = [pad_rows(column, step) for column in columns]
        sure = self._sure(x, right)
        with jax.enable_x64(True):
            found = merge_arms(self.line, self.names, *padded, sure, k=self.k)
            near, names, doubtful = (np.asarray(array)[:n] for array in found)
        return near, names, doubtful

    def _sure(self, x: FloatArray, right: IntArray) -> FloatArray:
        """Squared distances between which the smallest gap that the arms meet keeps rounded squares apart."""
        m, reach = len(self.values), self.k + 3
        low, high = max(0, int(right[0]) - reach), min(m, int(right[-1]) + reach)
        # With one different value beyond either end, since that may round to the same distance as the end itself.
        before = max(0, int(np.searchsorted(self.values, self.values[low])) - 1)
        after = min(m - 1, int(np.searchsorted(self.values, self.values[high - 1], side="right")))
        gaps = np.diff(self.values[np.r_[before, low:high, after]])
        gap = np.min(gaps, where=gaps > 0, initial=np.inf)
        beside = np.abs(self.values[np.stack([np.maximum(right - 1, 0), np.minimum(right, m - 1)])] - x)
        least = min(gap, np.min(beside, where=beside > 0, initial=np.inf))
        # Two differences up to r that are a gap apart stay apart after rounding if gap > r 2^-50, and so do squares.
        with np.errstate(over="ignore", under="ignore"):
            return np.array([0.0 if least >= np.sqrt(_FLUSHED) else _FLUSHED, np.square(gap * 2.0**50)])


def _ordered(column: FloatArray) -> tuple[IntArray, FloatArray]:
    """Rows in order of (value, row), and their values; -0.0 becomes 0.0.

    Integers of the leading bits of a value and the row in place of its trailing bits sort fastest; rows that agree in
    the leading bits are put in order afterwards.
    """
    m = len(column)
    column = column + 0.0
    row_bits = np.int64((1 << (m - 1).bit_length()) - 1)
    keys = column.view(np.int64)
    keys = keys ^ ((keys >> np.int64(63)) & np.int64(0x7FFF_FFFF_FFFF_FFFF))
    rounded = (keys & row_bits).any()
    keys &= ~row_bits
    keys |= np.arange(m)
    keys.sort()
    order = keys & row_bits
    values = column[order]
    if rounded:
        keys &= ~row_bits
        same = np.flatnonzero(keys[1:] == keys[:-1])
        if len(same) > m // 8:
            order = np.argsort(column, kind="stable")
            values = column[order]
        elif len(same):
            places = np.union1d(same, same + 1)
            sorted_ = np.lexsort((order[places], values[places], keys[places]))
            order[places], values[places] = order[places[sorted_]], values[places[sorted_]]
    return order, values


def _runs(values: FloatArray) -> tuple[IntArray, IntArray | None]:
    """First place of the run of equal values of each place, and the place mirrored inside it if there are ties."""
    m = len(values)
    places = np.arange(m)
    new = values[1:] != values[:-1]
    if new.all():
        return places, None
    first = np.concatenate([[0], np.flatnonzero(new) + 1])
    lengths = np.diff(first, append=m)
    starts = np.repeat(first, lengths)
    return starts, np.repeat(2 * first + lengths - 1, lengths) - places


def _from_windows(
    queries: FloatArray, reference: FloatArray, k: int, exclude_ids: IntArray | None
) -> tuple[FloatArray, IntArray]:
    """The ``k`` nearest rows where different values may round to one distance, through the ``k`` nearest values."""
    groups = group_rows(reference)
    distinct = reference if groups is None else reference[groups.first]
    excluded = exclude_ids if groups is None else None  # otherwise left out when groups are expanded
    wanted = k if groups is None else groups.wanted(k, exclude_ids)
    order, values = _ordered(distinct[:, 0])
    place = np.searchsorted(values, queries[:, 0])
    squared = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), dtype=np.int64)
    for part in row_chunks(len(queries), 96 * wanted, _CHUNK_BYTES):
        own = None if excluded is None else excluded[part]
        near, ids = _window(queries[part], distinct, order, place[part], wanted, own)
        if groups is not None:
            near, ids = groups.expand(near, ids, k, None if exclude_ids is None else exclude_ids[part])
        squared[part], indices[part] = near, ids
    return squared, indices


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
