"""The filtering pass where selection is compiled, too: on accelerators, and in double precision."""

from __future__ import annotations

import dataclasses
from typing import Any, final

import jax
import numpy as np

from mace_jax._types import IntArray
from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._scan import AbstractScan, Block, Candidates, Queries, Tiles, precision_context
from mace_jax_kernels._tiling import bucket
from mace_jax_kernels.knn import propose_groups, rank_groups

__all__ = ["CompiledScan"]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class CompiledScan(AbstractScan):
    """Everything in two compiled calls per block of queries."""

    filtered: Filter
    sizes: Tiles
    ids: IntArray  # of the rows
    rows: Any  # (piece_rows, d)
    weights: Any  # (piece_rows,) the rows' parts of the bounds

    @classmethod
    def prepare(cls, filtered: Filter, sizes: Tiles, block: Block, ids: IntArray) -> CompiledScan:
        """From ``block``, which maps a stretch of a piece whose rows have these ids."""
        rows, norms = block(0, len(ids), sizes.piece_rows, in_parallel=True)
        with precision_context(filtered.dtype):
            device = jax.device_put(rows), jax.device_put(norms * filtered.keep)
        return cls(filtered, sizes, ids, *device)

    def search(self, queries: Queries, k: int, so_far: Candidates) -> Candidates:
        """``so_far`` and the rows of this piece that may be among the ``k`` nearest."""
        n, width = queries.n, len(queries.moved)
        kept = _rounded_up(max(16, k + 6 + k // 8))
        with precision_context(self.filtered.dtype):
            values, groups = propose_groups(
                queries.moved,
                self.rows,
                self.weights,
                np.int32(0),
                np.full((width, kept), np.inf, queries.moved.dtype),
                np.full((width, kept), -1, np.int32),
                tile_rows=self.sizes.tile_rows,
                chunk_rows=self.sizes.chunk_rows,
                group_rows=self.sizes.group_rows,
            )
            ranked = rank_groups(
                queries.moved,
                self.rows,
                self.weights,
                groups,
                near=kept,
                group_rows=self.sizes.group_rows,
            )
        bounds, rows = (np.asarray(array)[:n] for array in ranked)
        share = queries.norms[:n].astype(np.float64) * (1.0 - self.filtered.slack)
        last = np.minimum(np.asarray(values)[:n, -1], bounds[:, -1])
        query, place = np.nonzero(rows >= 0)
        found = Candidates(
            query,
            self.ids[rows[query, place]],
            bounds[query, place] + share[query],
            last.astype(np.float64) + share,
        )
        return so_far.and_later(found)


def _rounded_up(n: int) -> int:
    """To four lengths per power of two: few lengths of lists, few compilations."""
    step = bucket(n) // 8
    return -(-n // step) * step
