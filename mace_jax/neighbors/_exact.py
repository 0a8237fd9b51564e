"""Many features: the compute kernel proposes in float32, float64 differences decide, and every row is proven."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import final

import jax
import numpy as np

from mace_jax._types import FloatArray
from mace_jax.neighbors._base import AbstractNeighborBackend, IntArray, Neighbors, make_neighbors
from mace_jax.neighbors._direct import direct_counts, direct_nearest
from mace_jax.neighbors._duplicates import group_rows
from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._pairs import nearest_of, row_chunks, squared_distances
from mace_jax_kernels._tiling import TILE_BYTES, candidate_bucket, pad_rows, tile_sizes
from mace_jax_kernels.knn import propose_block
from mace_jax_kernels.radius_count import count_block

__all__ = ["ExactBackend"]

_BORDERLINE = 64
_DIRECT_WORK = 1 << 30
"""Pair entries below which proving the last rows by direct difference beats another pass of the kernel."""


@final
@dataclasses.dataclass(frozen=True)
class ExactBackend(AbstractNeighborBackend):
    """Tiled matrix products with a proven filter; any number of features.

    Float32 products give each pair a lower bound; the best candidates are measured by float64 differences; a row whose
    k-th distance is not below every bound left out is searched again with float64 products and then pair by pair.
    Records whose entries are integers of moderate size need no bound: their products are exact.

    Args:
        tile_bytes: Budget of one distance tile.

    Peak memory beyond inputs and result, in bytes: about ``6 * tile_bytes``, 64 MiB of reference rows (twice that
    while they are cast), ``12 n c`` for ``c = k + max(16, k / 2)`` candidates, ``40 m``.

    Example:
        >>> ExactBackend().name
        'exact'
    """

    tile_bytes: int = TILE_BYTES

    @property
    def name(self) -> str:
        """Word recorded in results."""
        return "exact"

    def search(
        self, queries: FloatArray, reference: FloatArray, k: int, *, exclude_ids: IntArray | None = None
    ) -> Neighbors:
        """The ``k`` nearest rows per query, all proven."""
        groups = group_rows(reference)
        chosen = None if groups is None else groups.first
        excluded = exclude_ids if groups is None else None  # otherwise left out when groups are expanded
        wanted = k if groups is None else groups.wanted(k, exclude_ids)
        squared = np.empty((len(queries), k))
        indices = np.empty((len(queries), k), dtype=np.int64)
        rows = np.arange(len(queries))
        for dtype in (np.float32, np.float64):
            own = None if excluded is None else excluded[rows]
            part = queries if len(rows) == len(queries) else queries[rows]
            near, ids, proven = self._filtered(part, reference, chosen, wanted, own, dtype)
            done = rows[proven]
            if groups is None:
                squared[done], indices[done] = near[proven], ids[proven]
            else:
                own = None if exclude_ids is None else exclude_ids[done]
                squared[done], indices[done] = groups.expand(near[proven], ids[proven], k, own)
            rows = rows[~proven]
            if len(rows) * reference.size <= _DIRECT_WORK:
                break
        own = None if exclude_ids is None else exclude_ids[rows]
        squared[rows], indices[rows] = direct_nearest(queries[rows], reference, k, own)
        return make_neighbors(squared, indices, self.name)

    def _filtered(self, queries, reference, chosen, k, excluded, dtype):
        """``(squared distances, ids among chosen rows, proven)`` with products in ``dtype``."""
        n, d = queries.shape
        m = len(reference) if chosen is None else len(chosen)
        filtered = Filter.prepare(queries, reference, dtype)
        query_rows, tile_rows, block_rows = tile_sizes(n, m, d, np.dtype(dtype).itemsize, self.tile_bytes)
        candidates = candidate_bucket(k)
        bounds = np.full((n, candidates), np.inf, dtype)
        ids = np.full((n, candidates), -1, np.int32)
        own = np.full(n, -1, np.int32) if excluded is None else excluded.astype(np.int32)
        keep = np.dtype(dtype).type(1.0 - filtered.slack)
        with _precision_context(dtype):
            for start in range(0, m, block_rows):
                rows, norms = filtered.block(reference, chosen, start, min(start + block_rows, m), block_rows)
                rows, norms = jax.device_put(rows), jax.device_put(norms)
                for part in row_chunks(n, 1, query_rows):
                    moved, moved_norms = filtered.block(queries, None, part.start, part.stop, query_rows)
                    found = propose_block(
                        moved,
                        moved_norms,
                        rows,
                        norms,
                        np.int32(start),
                        pad_rows(own[part], query_rows, -1),
                        keep,
                        pad_rows(bounds[part], query_rows, np.inf),
                        pad_rows(ids[part], query_rows, -1),
                        tile_rows=tile_rows,
                    )
                    size = part.stop - part.start
                    bounds[part], ids[part] = np.asarray(found[0])[:size], np.asarray(found[1])[:size]
        squared = np.empty((n, k))
        nearest = np.empty((n, k), dtype=np.int64)
        for part in row_chunks(n, 64 * candidates):
            wide = ids[part].astype(np.int64)
            if chosen is None:
                squared[part], nearest[part] = nearest_of(queries[part], reference, wide, k)
            else:
                real = np.where(wide >= 0, chosen[wide], -1)
                squared[part], real = nearest_of(queries[part], reference, real, k)
                nearest[part] = np.where(real >= 0, np.searchsorted(chosen, real), -1)
        return squared, nearest, filtered.proves(bounds[:, -1], squared[:, -1])

    def count_within(self, queries: FloatArray, reference: FloatArray, radius: FloatArray) -> IntArray:
        """Closed-ball counts; pairs near the boundary are measured by float64 differences."""
        counts = np.zeros(len(queries), dtype=np.int64)
        rows = np.arange(len(queries))
        for dtype in (np.float32, np.float64):
            part = queries if len(rows) == len(queries) else queries[rows]
            found, settled = self._counted(part, reference, radius[rows], dtype)
            counts[rows[settled]] = found[settled]
            rows = rows[~settled]
            if len(rows) * reference.size <= _DIRECT_WORK:
                break
        counts[rows] = direct_counts(queries[rows], reference, radius[rows])
        return counts

    def _counted(self, queries, reference, radius, dtype):
        """``(counts, settled)``: a row is not settled if more pairs are near its boundary than were listed."""
        n, d = queries.shape
        m = len(reference)
        filtered = Filter.prepare(queries, reference, dtype)
        query_rows, tile_rows, block_rows = tile_sizes(n, m, d, np.dtype(dtype).itemsize, self.tile_bytes)
        low, high = filtered.limits(radius)
        counts, n_near = np.zeros(n, np.int32), np.zeros(n, np.int32)
        near_ids = np.full((n, _BORDERLINE), -1, np.int32)
        slack = np.dtype(dtype).type(filtered.slack)
        with _precision_context(dtype):
            for start in range(0, m, block_rows):
                rows, norms = filtered.block(reference, None, start, min(start + block_rows, m), block_rows)
                rows, norms = jax.device_put(rows), jax.device_put(norms)
                for part in row_chunks(n, 1, query_rows):
                    moved, moved_norms = filtered.block(queries, None, part.start, part.stop, query_rows)
                    found = count_block(
                        moved,
                        moved_norms,
                        rows,
                        norms,
                        np.int32(start),
                        pad_rows(low[part], query_rows, -np.inf),
                        pad_rows(high[part], query_rows, -np.inf),
                        slack,
                        pad_rows(counts[part], query_rows),
                        pad_rows(n_near[part], query_rows),
                        pad_rows(near_ids[part], query_rows, -1),
                        tile_rows=tile_rows,
                    )
                    size = part.stop - part.start
                    counts[part], n_near[part], near_ids[part] = (np.asarray(array)[:size] for array in found)
        rows, columns = np.nonzero(near_ids >= 0)
        distance = np.sqrt(squared_distances(queries, reference, rows, near_ids[rows, columns].astype(np.int64)))
        inside = np.bincount(rows[distance <= radius[rows]], minlength=n)
        return counts.astype(np.int64) + inside, n_near <= _BORDERLINE


def _precision_context(dtype):
    """Float64 products need JAX's wide types for the length of the call."""
    return jax.enable_x64(True) if dtype == np.float64 else contextlib.nullcontext()
