"""Few features: SciPy's k-d tree proposes, direct differences decide."""

from __future__ import annotations

import dataclasses
from typing import final

import numpy as np
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from mace_jax._types import FloatArray
from mace_jax.neighbors._base import AbstractNeighborBackend, IntArray, Neighbors, make_neighbors
from mace_jax.neighbors._duplicates import group_rows
from mace_jax.neighbors._pairs import (
    nearest_of,
    nearest_of_ragged,
    row_chunks,
    squared_distances,
    squared_threshold,
    widened,
)

__all__ = ["TreeBackend"]

_EXTRA = 4
_CHUNK_BYTES = 32 << 20


@final
@dataclasses.dataclass(frozen=True)
class TreeBackend(AbstractNeighborBackend):
    """k-d tree in float64; the choice up to about 8 features (Maneewongvatana and Mount 1999).

    Args:
        workers: Threads, -1 for all processors.

    Peak memory beyond inputs and result: tree and distinct rows ``16 m d + 16 m`` bytes, plus 64 MiB of candidates.

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
        groups = group_rows(reference)
        distinct = reference if groups is None else reference[groups.first]
        excluded = exclude_ids if groups is None else None  # otherwise left out when groups are expanded
        wanted = k if groups is None else groups.wanted(k, exclude_ids)
        tree = cKDTree(distinct)
        squared = np.empty((len(queries), k))
        indices = np.empty((len(queries), k), dtype=np.int64)
        for part in row_chunks(len(queries), 48 * (wanted + _EXTRA), _CHUNK_BYTES):
            own = None if excluded is None else excluded[part]
            near, ids = self._nearest(tree, queries[part], distinct, wanted, own)
            if groups is not None:
                near, ids = groups.expand(near, ids, k, None if exclude_ids is None else exclude_ids[part])
            squared[part], indices[part] = near, ids
        return make_neighbors(squared, indices, self.name)

    def _nearest(
        self, tree: cKDTree, queries: FloatArray, reference: FloatArray, k: int, excluded: IntArray | None
    ) -> tuple[FloatArray, IntArray]:
        """The ``k`` nearest distinct rows by (squared distance, id)."""
        m, d = reference.shape
        asked = min(m, k + _EXTRA)
        proposed, candidates = tree.query(queries, k=np.arange(1, asked + 1), workers=self.workers)
        if excluded is not None:
            candidates = np.where(candidates == excluded[:, None], -1, candidates)
        squared, ids = nearest_of(queries, reference, candidates, k)
        if asked < m:
            # Rows left out are at least as far as the last one proposed, up to the rounding of both sums.
            reach = widened(widened(squared[:, -1], d), d)
            open_rows = np.flatnonzero(proposed[:, -1] ** 2 <= reach)
            for part in row_chunks(len(open_rows), 64 * asked, _CHUNK_BYTES):
                rows = open_rows[part]
                own = None if excluded is None else excluded[rows]
                squared[rows], ids[rows] = self._whole_shells(
                    tree, queries[rows], reference, np.sqrt(reach[rows]), k, own
                )
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
        sizes = tree.query_ball_point(queries, radius, return_length=True, workers=self.workers)
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
