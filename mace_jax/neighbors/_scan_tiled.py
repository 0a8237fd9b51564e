"""The filtering pass on CPUs: group minima leave compiled code tile by tile, and the host collects the few that count.

Selecting from all of them in compiled code would cost more than the products.
"""

from __future__ import annotations

import dataclasses
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray
from mace_jax.neighbors._operands import AbstractOperands
from mace_jax.neighbors._scan import AbstractScan, Block, Found, Tiles
from mace_jax.neighbors._survivors import Survivors
from mace_jax_kernels._tiling import Rows
from mace_jax_kernels.knn import group_values

__all__ = ["TiledScan"]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TiledScan(AbstractScan):
    """One piece, whole for ranking and as tiles for the products; both are views of the same memory."""

    operands: AbstractOperands
    sizes: Tiles
    tiles: tuple[tuple[Any, ...], ...]  # operands of the group minima
    whole: tuple[Any, ...]  # rows, weights and scales as ``group_values`` takes them

    @classmethod
    def prepare(cls, operands: AbstractOperands, sizes: Tiles, block: Block, n_rows: int) -> TiledScan:
        """From ``block``, which maps a stretch of a piece whose first ``n_rows`` rows are real."""
        mapped = operands.reference(sizes, block, n_rows)
        parts = [slice(start, start + sizes.tile_rows) for start in range(0, n_rows, sizes.tile_rows)]
        tiles = tuple(tuple(jax.device_put(array[part]) for array in mapped.tiled) for part in parts)
        return cls(operands, sizes, tiles, jax.device_put(mapped.whole))

    def search(self, moved: NDArray[Any], norms: NDArray[Any], n: int, kept: int, first_group: int) -> Found:
        """The ``kept`` first groups by (minimum, group) of the first ``n`` mapped queries."""
        queries, share = self.operands.queries(moved, norms)
        stream = Survivors(n, len(moved), kept)
        step = self.sizes.tile_rows // self.sizes.group_rows
        for number, tile in enumerate(self.tiles):
            minima = self.operands.minima(queries, tile, self.sizes.group_rows)
            stream.add(np.asarray(minima), number * step)
        values, groups = stream.result()
        groups = np.where(groups >= 0, groups + np.int32(first_group), groups)
        return Found(values, groups, share[:n].astype(np.float64))

    def rank(
        self, moved: NDArray[Any], norms: NDArray[Any], groups: Rows, excluded: Rows, n: int, near: int
    ) -> tuple[FloatArray, NDArray[np.int32]]:
        """The first rows by (bound, id) in each query's groups."""
        groups = np.sort(groups, axis=1)  # places then follow ids, which decide between equal values
        size = self.sizes.group_rows
        rows, weights, scales = self.whole
        values = np.asarray(group_values(moved, rows, weights, groups, excluded, scales, group_rows=size)).T
        best = Survivors(n, len(moved), near)
        step = -(-len(values) // 4)
        for start in range(0, len(values), step):
            best.add(np.ascontiguousarray(values[start : start + step]), start)
        found, places = best.result()
        ids = np.take_along_axis(groups[:n], np.maximum(places, 0) // size, axis=1) * size + places % size
        bounds = found.astype(np.float64) + (norms[:n].astype(np.float64) * self.operands.kept_alone)[:, None]
        return bounds, np.where(places >= 0, ids, np.int32(-1))
