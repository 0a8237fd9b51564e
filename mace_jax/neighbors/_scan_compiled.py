"""The filtering pass where selection is compiled, too: on accelerators, and in double precision."""

from __future__ import annotations

import dataclasses
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray
from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._scan import AbstractScan, Block, Found, Tiles, precision_context
from mace_jax_kernels._tiling import Rows
from mace_jax_kernels.knn import propose_groups, rank_groups

__all__ = ["CompiledScan"]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class CompiledScan(AbstractScan):
    """Everything in one compiled call per block of queries."""

    filtered: Filter
    sizes: Tiles
    rows: Any  # (piece_rows, d)
    weights: Any  # (piece_rows,) the rows' parts of the bounds

    @classmethod
    def prepare(cls, filtered: Filter, sizes: Tiles, block: Block, n_rows: int) -> CompiledScan:
        """From ``block``, which maps a stretch of a piece whose first ``n_rows`` rows are real."""
        rows, norms = block(0, n_rows, sizes.piece_rows, in_parallel=True)
        with precision_context(filtered.dtype):
            device = jax.device_put(rows), jax.device_put(norms * filtered.keep)
        return cls(filtered, sizes, *device)

    def search(self, moved: NDArray[Any], norms: NDArray[Any], n: int, kept: int, first_group: int) -> Found:
        """The ``kept`` first groups by (minimum, group) of the first ``n`` mapped queries."""
        with precision_context(self.filtered.dtype):
            found = propose_groups(
                moved,
                self.rows,
                self.weights,
                np.int32(first_group),
                np.full((len(moved), kept), np.inf, moved.dtype),
                np.full((len(moved), kept), -1, np.int32),
                tile_rows=self.sizes.tile_rows,
                chunk_rows=self.sizes.chunk_rows,
                group_rows=self.sizes.group_rows,
            )
        values, groups = (np.asarray(array)[:n] for array in found)
        return Found(values, groups, self._share(norms, n))

    def rank(
        self, moved: NDArray[Any], norms: NDArray[Any], groups: Rows, excluded: Rows, n: int, near: int
    ) -> tuple[FloatArray, NDArray[np.int32]]:
        """The first rows by (bound, id) in each query's groups."""
        with precision_context(self.filtered.dtype):
            values, ids = rank_groups(
                moved, self.rows, self.weights, groups, excluded, near=near, group_rows=self.sizes.group_rows
            )
        return np.asarray(values)[:n].astype(np.float64) + self._share(norms, n)[:, None], np.asarray(ids)[:n]

    def _share(self, norms: NDArray[Any], n: int) -> FloatArray:
        """The queries' part of the bounds."""
        return norms[:n].astype(np.float64) * (1.0 - self.filtered.slack)
