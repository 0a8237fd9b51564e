"""Few features: SciPy's k-d tree proposes, direct differences decide."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import final

import numpy as np
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors, make_neighbors
from mace_jax.neighbors._duplicates import group_rows
from mace_jax.neighbors._pairs import (
    nearest_of,
    nearest_of_ragged,
    row_chunks,
    squared_distances,
    squared_lists,
    squared_threshold,
    whole_rows,
    widened,
)
from mace_jax.neighbors._threads import in_threads, processors

__all__ = ["TreeBackend"]

_QUERY_ROWS = 4096
_LEAF_ROWS = 32
_CHUNK_BYTES = 32 << 20


@final
@dataclasses.dataclass(frozen=True)
class TreeBackend(AbstractNeighborBackend):
    """k-d tree in float64; the choice up to about 8 features (Maneewongvatana and Mount 1999).

    Args:
        workers: Threads, -1 for all processors.

    Peak memory beyond inputs and result: tree and distinct rows ``16 m d + 16 m`` bytes, ``8 n`` bytes, plus 64 MiB of
    candidates per thread where many rows tie, else 4 MiB.

    Example:
        >>> TreeBackend().name
        'tree'
    """

    workers: int = -1

    @property
    def name(self) -> str:
        """Word recorded in results."""
        return "tree"

    def search(
        self, queries: FloatArray, reference: FloatArray, k: int, *, exclude_ids: IntArray | None = None
    ) -> Neighbors:
        """The ``k`` nearest rows per query; rows tied at the last place are looked up whole."""
        n, workers = len(queries), processors() if self.workers < 0 else self.workers
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(cKDTree, reference, _LEAF_ROWS)  # of use if all rows differ
            groups = group_rows(reference)
            distinct = reference if groups is None else reference[groups.first]
            tree = ahead.result() if groups is None else cKDTree(distinct, _LEAF_ROWS)
        excluded = exclude_ids if groups is None else None  # otherwise left out when groups are expanded
        wanted = k if groups is None else groups.wanted(k, exclude_ids)
        turn = np.arange(n)
        if queries is reference or np.array_equal(queries, reference):
            # Neighbors in the tree are neighbors in memory, and so are their searches.
            turn = tree.indices if groups is None else np.argsort(np.argsort(tree.indices)[groups.group_of])
        squared = np.empty((n, k))
        indices = np.empty((n, k), dtype=np.int64)
        squared_rows, indices_rows = whole_rows(squared), whole_rows(indices)

        def nearest(part: slice) -> None:
            rows = turn[part]
            own = None if excluded is None else excluded[rows]
            near, ids = self._nearest(tree, queries[rows], distinct, wanted, own)
            if groups is not None:
                near, ids = groups.expand(near, ids, k, None if exclude_ids is None else exclude_ids[rows])
            squared_rows[rows], indices_rows[rows] = whole_rows(near), whole_rows(ids)

        most = max(1, min(_QUERY_ROWS, -(-n // (4 * workers)), _CHUNK_BYTES // (96 * wanted)))
        in_threads(nearest, row_chunks(n, 1, most), workers)
        return make_neighbors(squared, indices, self.name)

    def _nearest(
        self, tree: cKDTree, queries: FloatArray, reference: FloatArray, k: int, excluded: IntArray | None
    ) -> tuple[FloatArray, IntArray]:
        """The ``k`` nearest distinct rows by (squared distance, id)."""
        m, d = reference.shape
        asked = k + 1 + (excluded is not None)
        if asked > m:
            return self._nearest_of_more(tree, queries, reference, k, excluded)
        # One row more than the list, and one for the row left out.
        proposed, candidates = tree.query(queries, k=asked)
        if excluded is not None:
            proposed, candidates = _without(proposed, candidates, excluded)
        ids = np.ascontiguousarray(candidates[:, :k])
        squared = squared_lists(queries, reference, ids)
        swapped = np.flatnonzero((squared[:, 1:] <= squared[:, :-1]).any(axis=1))
        if len(swapped):
            order = np.lexsort((ids[swapped], squared[swapped]), axis=-1)
            ids[swapped] = np.take_along_axis(ids[swapped], order, axis=1)
            squared[swapped] = np.take_along_axis(squared[swapped], order, axis=1)
        again = _perhaps_nearer(proposed[:, k], squared[:, -1], d)
        if len(again):
            own = None if excluded is None else excluded[again]
            squared[again], ids[again] = self._nearest_of_more(tree, queries[again], reference, k, own)
        return squared, ids

    def _nearest_of_more(
        self, tree: cKDTree, queries: FloatArray, reference: FloatArray, k: int, excluded: IntArray | None
    ) -> tuple[FloatArray, IntArray]:
        """As ``_nearest`` from twice as many rows, then from all rows as near as the last."""
        m, d = reference.shape
        asked = min(m, 2 * k + 8)
        proposed, candidates = tree.query(queries, k=np.arange(1, asked + 1))
        if excluded is not None:
            candidates = np.where(candidates == excluded[:, None], -1, candidates)
        squared, ids = nearest_of(queries, reference, candidates, k)
        if asked < m:
            open_rows = _perhaps_nearer(proposed[:, -1], squared[:, -1], d)
            radius = np.sqrt(_reach(squared[:, -1], d))
            for part in row_chunks(len(open_rows), 64 * asked, _CHUNK_BYTES):
                rows = open_rows[part]
                own = None if excluded is None else excluded[rows]
                squared[rows], ids[rows] = self._whole_shells(tree, queries[rows], reference, radius[rows], k, own)
        return squared, ids

    def _whole_shells(
        self,
        tree: cKDTree,
        queries: FloatArray,
        reference: FloatArray,
        radius: FloatArray,
        k: int,
        excluded: IntArray | None,
    ) -> tuple[FloatArray, IntArray]:
        """The ``k`` nearest among all rows within ``radius``, one query at a time where balls are large."""
        sizes = tree.query_ball_point(queries, radius, return_length=True)
        squared = np.empty((len(queries), k))
        indices = np.empty((len(queries), k), dtype=np.int64)
        for part in _chunks_by_load(sizes, 64):
            rows, ids = self._balls(tree, queries[part], radius[part])
            if excluded is not None:
                kept = ids != excluded[part][rows]
                rows, ids = rows[kept], ids[kept]
            distance = squared_distances(queries[part], reference, rows, ids)
            n_rows = part.stop - part.start
            squared[part], indices[part] = nearest_of_ragged(distance, rows, ids, n_rows, k)
        return squared, indices

    def _balls(self, tree: cKDTree, queries: FloatArray, radius: FloatArray) -> tuple[IntArray, IntArray]:
        """Flat (query row, reference id) pairs within each ball."""
        lists = tree.query_ball_point(queries, radius, workers=self.workers)
        sizes = np.fromiter((len(ids) for ids in lists), dtype=np.int64, count=len(lists))
        ids = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in lists])
        return np.repeat(np.arange(len(lists)), sizes), ids

    def count_within(self, queries: FloatArray, reference: FloatArray, radius: FloatArray) -> IntArray:
        """Closed-ball counts; queries with a row near the boundary are counted by direct differences."""
        tree = cKDTree(reference)
        threshold, d = squared_threshold(radius), reference.shape[1]
        narrow = np.sqrt(np.maximum(widened(threshold, d, -1), 0.0))
        wide = np.sqrt(widened(threshold, d))
        inner = tree.query_ball_point(queries, narrow, return_length=True, workers=self.workers)
        outer = tree.query_ball_point(queries, wide, return_length=True, workers=self.workers)
        counts = inner.astype(np.int64)
        near = np.flatnonzero((inner != outer) | (narrow == 0.0))
        for part in _chunks_by_load(outer[near], 64):
            chosen = near[part]
            rows, ids = self._balls(tree, queries[chosen], wide[chosen])
            inside = np.sqrt(squared_distances(queries[chosen], reference, rows, ids)) <= radius[chosen][rows]
            counts[chosen] = np.bincount(rows[inside], minlength=len(chosen))
        return counts


def _reach(last: FloatArray, d: int) -> FloatArray:
    """The largest squared distance of the tree's own that a row at the squared distance ``last`` may have."""
    return widened(widened(last, d), d)


def _perhaps_nearer(proposed: FloatArray, last: FloatArray, d: int) -> IntArray:
    """Queries for which a row at least as far as ``proposed`` may be no farther than ``last``, after rounding."""
    return np.flatnonzero(np.square(proposed) <= _reach(last, d))


def _without(proposed: FloatArray, ids: IntArray, excluded: IntArray) -> tuple[FloatArray, IntArray]:
    """Each list less the row left out, or less its last row."""
    own = ids[:, :-1] == excluded[:, None]
    if own[:, 0].all():
        return proposed[:, 1:], ids[:, 1:]
    passed = np.logical_or.accumulate(own, axis=1)
    return np.where(passed, proposed[:, 1:], proposed[:, :-1]), np.where(passed, ids[:, 1:], ids[:, :-1])


def _chunks_by_load(sizes: IntArray, bytes_per_entry: int) -> list[slice]:
    """Slices of queries whose entries together stay within the chunk budget where one query alone does."""
    load = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    parts, begin = [], 0
    while begin < len(sizes):
        limit = load[begin] + _CHUNK_BYTES // bytes_per_entry
        end = max(begin + 1, int(np.searchsorted(load, limit, side="right")) - 1)
        parts.append(slice(begin, end))
        begin = end
    return parts
