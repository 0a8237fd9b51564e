"""Many features: the compute kernel proposes in float32, float64 differences decide, and every row is proven."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar, cast, final

import jax
import numpy as np

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors, make_neighbors
from mace_jax.neighbors._direct import direct_counts, direct_nearest
from mace_jax.neighbors._duplicates import group_rows
from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._pairs import row_chunks, squared_distances
from mace_jax.neighbors._products import prepared, short_products
from mace_jax.neighbors._refine import Refinement
from mace_jax.neighbors._scan import AbstractScan, Candidates, Queries, Tiles, precision_context
from mace_jax.neighbors._survivors import GROUP_LIMIT
from mace_jax.neighbors._threads import in_threads, processors
from mace_jax_kernels._tiling import MAX_QUERY_TILE, TILE_BYTES, bucket, pad_rows, resident_size, tile_sizes
from mace_jax_kernels.radius_count import count_groups

__all__ = ["ExactBackend"]

_BORDERLINE = 64
_GROUP_ROWS = 16
_COUNT_ROWS = 256
_NARROW, _WIDE, _VERY_WIDE, _LONG = 32, 256, 512, 48
_MANY = 1 << 14
_PRODUCTS = ("short", "float32", "float64")
_ENOUGH = 0.8
"""Share of the queries of a trial that short products must prove, or others take over, and a reach must hold for."""
_SLICE_BYTES = 2 << 20
_CHUNK_ROWS = 1 << 17
_RESIDENT_BYTES = 384 << 20
"""Largest mapped reference that is kept whole; a larger one is mapped and searched piece by piece."""
_DIRECT_WORK = 1 << 29
"""Pair entries below which proving the last rows by direct difference beats another pass of the kernel."""


@final
@dataclasses.dataclass(frozen=True)
class ExactBackend(AbstractNeighborBackend):
    """Tiled matrix products with a proven filter; any number of features.

    Products give each pair a lower bound; the best candidates are measured by float64 differences; a row whose k-th
    distance is not below every bound left out is searched again with more precise products and then pair by pair.
    Where a CPU has instructions for it, products are of bytes (each record rounded to 127 steps of its own size) from
    48 features on, or in bfloat16 from 16 on; then in float32, then in float64. Records whose entries are integers of
    moderate size need no bound: their products are exact in float32.

    Args:
        tile_bytes: Budget of one distance tile.

    Peak memory beyond inputs and result, in bytes: the mapped reference, ``1.25 m d`` times 4 (2 in bfloat16, 1
    in bytes) up to 384 MiB, and pieces of 64 MiB beyond that; per processor about ``tile_bytes``; ``40 m``; and, where
    there are several pieces, ``24 n c`` for about ``c = 2 k + 10`` candidates.

    Example:
        >>> ExactBackend().name
        'exact'
    """

    tile_bytes: int = TILE_BYTES
    keeps_float32: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Word recorded in results."""
        return "exact"

    def search(
        self,
        queries: FloatArray,
        reference: FloatArray,
        k: int,
        *,
        exclude_ids: IntArray | None = None,
        reach: FloatArray | None = None,
    ) -> Neighbors:
        """The ``k`` nearest rows per query, all proven.

        ``reach (n,)`` are squared distances below which they probably lie: on CPUs fewer rows are looked at where they
        do, and a query is searched again where they do not.
        """
        groups = group_rows(reference)
        chosen = None if groups is None else groups.first
        excluded = exclude_ids if groups is None else None  # otherwise left out when groups are expanded
        reach = reach if groups is None else None  # it counts every copy
        wanted = k if groups is None else groups.wanted(k, exclude_ids)
        squared = np.empty((len(queries), k))
        indices = np.empty((len(queries), k), dtype=np.int64)
        rows = np.arange(len(queries))
        done_by = None
        for products in _PRODUCTS if short_products(reference.shape[1]) else _PRODUCTS[1:]:
            if products == done_by:
                continue  # short products proved too little and were given up
            own = None if excluded is None else excluded[rows]
            part = queries if len(rows) == len(queries) else queries[rows]
            near, ids, proven, done_by = self._filtered(part, reference, chosen, wanted, own, products, reach)
            reach = None
            done = rows[proven]
            if groups is None and part is queries:
                squared, indices = near, ids  # rows that are not proven are overwritten below
            elif groups is None:
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

    def _filtered(self, queries, reference, chosen, k, excluded, products, reach):
        """``(squared distances, ids among chosen rows, proven, products)``; the last are those that were used."""
        n, d = queries.shape
        dtype = np.float64 if products == "float64" else np.float32
        m = len(reference) if chosen is None else len(chosen)
        filtered = Filter.prepare(queries, reference, dtype)
        if products == "short":  # products of small whole numbers are exact in float32
            kinds = (*short_products(d), "float32") if filtered.slack > 0.0 else ("float32",)
        else:
            kinds = (products,)
        tiles = self._tiles(n, m, d, k, kinds[0])
        wanted = k + (excluded is not None)
        refine = Refinement(filtered, reference, chosen, k)
        # Records of a size stand together: they then share a scale, and the nearest ones come early.
        by_size = kinds[0] != "float32"
        order = filtered.by_size(queries, None) if by_size else np.arange(n)
        so_far: dict[int, Candidates] = {}
        squared = np.empty((n, k))
        nearest = np.empty((n, k), dtype=np.int64)
        proven = np.empty(n, dtype=bool)

        def search(part: slice, order: IntArray, beyond: FloatArray, stop: int, piece: AbstractScan) -> None:
            rows = order[part]
            moved, norms = filtered.block(queries, order, part.start, part.stop, tiles.query_rows)
            before = so_far.pop(part.start, None) or Candidates.none(beyond[rows])
            found = piece.search(Queries(moved, norms, len(rows)), wanted, before)
            if stop < m:
                so_far[part.start] = found
                return
            own = None if excluded is None else excluded[rows]
            squared[rows], nearest[rows], proven[rows] = refine(queries[rows], found, own)

        parts = row_chunks(n, 1, tiles.query_rows)
        anywhere = beyond = np.full(n, np.inf)
        if reach is not None and by_size and tiles.piece_rows >= m:
            with np.errstate(over="ignore"):
                beyond = reach * filtered.scale * filtered.scale
        for start in range(0, m, tiles.piece_rows):
            stop = min(start + tiles.piece_rows, m)
            ids = np.arange(start, stop)
            if by_size:
                ids = ids[filtered.by_size(reference, ids if chosen is None else chosen[ids])]
            if chosen is None and not by_size:
                block = functools.partial(filtered.block, reference[start:stop], None)
            else:
                block = functools.partial(filtered.block, reference, ids if chosen is None else chosen[ids])
            todo, piece = parts, cast(AbstractScan, None)
            for products in kinds:
                del piece  # before its successor is made
                piece = prepared(products, filtered, tiles, block, ids)
                if tiles.piece_rows < m or products == kinds[-1]:
                    break
                trial = parts[:: -(-len(parts) // processors())]
                _each(functools.partial(search, order=order, beyond=anywhere, stop=stop, piece=piece), trial)
                rows = np.concatenate([order[part] for part in trial])
                if proven[rows].mean() >= _ENOUGH:
                    if reach is not None and (squared[rows, -1] < reach[rows]).mean() < _ENOUGH:
                        beyond = anywhere
                    todo = [part for part in parts if part not in trial]
                    break
            _each(functools.partial(search, order=order, beyond=beyond, stop=stop, piece=piece), todo)
            if beyond is not anywhere:
                missed = order[~proven[order]]
                work = functools.partial(search, order=missed, beyond=anywhere, stop=stop, piece=piece)
                _each(work, row_chunks(len(missed), 1, tiles.query_rows))
        return squared, nearest, proven, products

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
        tiles = self._tiles(n, m, d, 0, np.dtype(dtype).name)
        group_rows = min(_COUNT_ROWS, tiles.tile_rows)
        low, high = filtered.limits(radius)
        counts, n_near = np.zeros(n, np.int64), np.zeros(n, np.int64)

        def count(part, start, rows, upper, lower):
            size = part.stop - part.start
            with precision_context(dtype):
                moved, norms = filtered.block(queries, None, part.start, part.stop, tiles.query_rows)
                inner, outer = filtered.edges(low[part], high[part], norms[:size])
                found = count_groups(
                    moved,
                    rows,
                    upper,
                    lower,
                    pad_rows(inner, tiles.query_rows, -np.inf),
                    pad_rows(outer, tiles.query_rows, -np.inf),
                    tile_rows=tiles.tile_rows,
                    group_rows=group_rows,
                )
                inside, near = (np.asarray(array)[:, :size] for array in found)
            counts[part] += inside.sum(axis=0)
            n_near[part] += near.sum(axis=0)
            groups, columns = np.nonzero((near > 0) & (n_near[part] <= _BORDERLINE))
            counts[part] -= np.bincount(columns, weights=inside[groups, columns], minlength=size).astype(np.int64)
            for some in row_chunks(len(groups), 32 * group_rows):
                ids = start + groups[some][:, None] * group_rows + np.arange(group_rows)
                real = ids < m
                of = np.broadcast_to(part.start + columns[some][:, None], ids.shape)[real]
                near_by = np.sqrt(squared_distances(queries, reference, of, ids[real])) <= radius[of]
                counts[part] += np.bincount(of[near_by] - part.start, minlength=size)

        for start in range(0, m, tiles.piece_rows):
            stop = min(start + tiles.piece_rows, m)
            rows, norms = filtered.block(reference, None, start, stop, tiles.piece_rows, in_parallel=True)
            one = np.dtype(dtype).type(1.0)
            with precision_context(dtype):
                operands = [
                    jax.device_put(array)
                    for array in (rows, norms * (one + filtered.slack), norms * (one - filtered.slack))
                ]
            parts = row_chunks(n, 1, tiles.query_rows)
            _each(lambda part, start=start, operands=operands: count(part, start, *operands), parts)
        return counts, n_near <= _BORDERLINE

    def _tiles(self, n, m, d, k, products):
        """Sizes for this many rows; a reference that fits is one piece, with room for it in 4 or 8 bytes an entry."""
        itemsize = 8 if products == "float64" else 4
        of_bytes = products == "bytes"
        tile_bytes = self.tile_bytes // (2 if d <= _NARROW or of_bytes else 4)
        # Where products take little time, so that calls take their share of it, fewer and larger ones.
        most_queries = 2 * MAX_QUERY_TILE if k and d <= _NARROW and n >= _MANY else MAX_QUERY_TILE
        query_rows, tile_rows, block_rows = tile_sizes(n, m, d, itemsize, tile_bytes, most_queries)
        resident = resident_size(m) * d * itemsize <= _RESIDENT_BYTES
        piece_rows = resident_size(m) if resident else block_rows
        power = piece_rows & -piece_rows
        slice_rows = 2 * _SLICE_BYTES // d if of_bytes else _SLICE_BYTES // (d * itemsize)
        tile_rows = min(tile_rows, power, max(_COUNT_ROWS, bucket(slice_rows + 1) // 2))
        group_rows = _GROUP_ROWS // (4 if d >= _VERY_WIDE else 2 if d >= _WIDE or k >= _LONG else 1)
        group_rows = max(group_rows, bucket(-(-piece_rows // GROUP_LIMIT), 1))
        return Tiles(
            query_rows=query_rows,
            tile_rows=tile_rows,
            chunk_rows=min(_CHUNK_ROWS, power),
            group_rows=min(group_rows, tile_rows),
            piece_rows=piece_rows,
        )


def _each(work, parts):
    """``work`` on blocks of queries: on every processor, or one by one where an accelerator does the work."""
    in_threads(work, parts, workers=None if jax.default_backend() == "cpu" else 1)
