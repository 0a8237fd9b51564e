"""The filtering pass on CPUs: group minima leave compiled code tile by tile, and the host collects the few that count.

Selecting from all of them in compiled code would cost more than the products.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray
from mace_jax.neighbors._filter import Filter, aligned
from mace_jax.neighbors._pairs import row_chunks
from mace_jax.neighbors._scan import AbstractScan, Block, Found, Tiles
from mace_jax.neighbors._survivors import Survivors
from mace_jax.neighbors._threads import in_threads
from mace_jax_kernels._tiling import Rows
from mace_jax_kernels.knn import (
    byte_minima,
    group_minima,
    group_values,
    query_bytes,
    reference_bytes,
    shortened,
)

__all__ = ["AbstractTiledScan", "ByteScan", "FloatScan", "HalfScan"]

_HALF_RATIO = 0.0015
"""Root mean square of the relative error of rounding to bfloat16: 2^-7 / sqrt(12) over a mantissa near 1.5."""


@dataclasses.dataclass(frozen=True, eq=False)
class AbstractTiledScan(AbstractScan):
    """One piece, whole for ranking and as tiles for the products; both are views of the same memory."""

    filtered: Filter
    sizes: Tiles
    tiles: tuple[tuple[Any, ...], ...]  # operands of the group minima
    rows: Any  # (piece_rows, d) as ``group_values`` takes them
    weights: Any  # (piece_rows,) float32, the rows' parts of the bounds where queries are not rounded
    scales: Any  # (piece_rows,) float32 or None
    kept_alone: float  # what such a bound keeps of a query's squared norm

    @abc.abstractmethod
    def _queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Queries as ``_minima`` takes them, and their parts of the bounds."""

    @abc.abstractmethod
    def _minima(self, queries: Any, tile: tuple[Any, ...]) -> Any:
        """Minima over the groups of a tile, ``(groups, queries)``."""

    def search(self, moved: NDArray[Any], norms: NDArray[Any], n: int, kept: int, first_group: int) -> Found:
        """The ``kept`` first groups by (minimum, group) of the first ``n`` mapped queries."""
        queries, share = self._queries(moved, norms)
        stream = Survivors(n, len(moved), kept)
        step = self.sizes.tile_rows // self.sizes.group_rows
        for number, tile in enumerate(self.tiles):
            stream.add(np.asarray(self._minima(queries, tile)), number * step)
        values, groups = stream.result()
        groups = np.where(groups >= 0, groups + np.int32(first_group), groups)
        return Found(values, groups, share[:n].astype(np.float64))

    def rank(
        self, moved: NDArray[Any], norms: NDArray[Any], groups: Rows, excluded: Rows, n: int, near: int
    ) -> tuple[FloatArray, NDArray[np.int32]]:
        """The first rows by (bound, id) in each query's groups."""
        groups = np.sort(groups, axis=1)  # places then follow ids, which decide between equal values
        size = self.sizes.group_rows
        operands = moved, self.rows, self.weights, groups, excluded, self.scales
        values = np.asarray(group_values(*operands, group_rows=size)).T
        best = Survivors(n, len(moved), near)
        step = -(-len(values) // 4)
        for start in range(0, len(values), step):
            best.add(np.ascontiguousarray(values[start : start + step]), start)
        found, places = best.result()
        ids = np.take_along_axis(groups[:n], np.maximum(places, 0) // size, axis=1) * size + places % size
        bounds = found.astype(np.float64) + (norms[:n].astype(np.float64) * self.kept_alone)[:, None]
        return bounds, np.where(places >= 0, ids, np.int32(-1))


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FloatScan(AbstractTiledScan):
    """Products in float32."""

    @classmethod
    def prepare(cls, filtered: Filter, sizes: Tiles, block: Block, n_rows: int) -> FloatScan:
        """From ``block``, which maps a stretch of a piece whose first ``n_rows`` rows are real."""
        rows, norms = block(0, n_rows, sizes.piece_rows, in_parallel=True)
        weights = norms * filtered.keep
        tiles = _views((rows, weights), sizes, n_rows)
        whole = jax.device_put(rows), jax.device_put(weights), None
        return cls(filtered, sizes, tiles, *whole, 1.0 - filtered.slack)

    def _queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        return jax.device_put(-2.0 * moved), norms.astype(np.float64) * self.kept_alone

    def _minima(self, queries: Any, tile: tuple[Any, ...]) -> Any:
        return group_minima(queries, *tile, group_rows=self.sizes.group_rows)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class HalfScan(AbstractTiledScan):
    """Products in bfloat16, added up in float32; the piece never stands in float32 as a whole."""

    @classmethod
    def prepare(cls, filtered: Filter, sizes: Tiles, block: Block, n_rows: int) -> HalfScan:
        """From ``block``, which maps a stretch of a piece whose first ``n_rows`` rows are real."""
        rows = _padded(block, sizes, n_rows, jnp.bfloat16)
        both, alone = (_filled(sizes, np.inf) for _ in range(2))

        def shorten(tile: slice, moved: NDArray[Any], norms: NDArray[Any]) -> None:
            found, shares = shortened(moved, norms, filtered.keep_short, _HALF_RATIO, factor=1)
            rows[tile], both[tile], alone[tile] = (np.asarray(array) for array in (found, *shares))

        _in_tiles(shorten, block, sizes, n_rows)
        tiles = _views((rows, both), sizes, n_rows)
        whole = jax.device_put(rows.view(np.uint16)), jax.device_put(alone), None
        return cls(filtered, sizes, tiles, *whole, _kept_alone(filtered, _HALF_RATIO))

    def _queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        doubled, shares = shortened(moved, norms, self.filtered.keep_short, _HALF_RATIO, factor=-2)
        return doubled, np.asarray(shares.both)

    def _minima(self, queries: Any, tile: tuple[Any, ...]) -> Any:
        return group_minima(queries, *tile, group_rows=self.sizes.group_rows)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ByteScan(AbstractTiledScan):
    """Products of bytes, added up in int32; the piece never stands in float32 as a whole."""

    @classmethod
    def prepare(cls, filtered: Filter, sizes: Tiles, block: Block, n_rows: int) -> ByteScan:
        """From ``block``, which maps a stretch of a piece whose first ``n_rows`` rows are real."""
        ratio = filtered.byte_loss
        rows = _padded(block, sizes, n_rows, np.uint8)
        scales, both, alone = _filled(sizes, 1.0), _filled(sizes, np.inf), _filled(sizes, np.inf)

        def shorten(tile: slice, moved: NDArray[Any], norms: NDArray[Any]) -> None:
            found = reference_bytes(moved, norms, filtered.keep_short, ratio)
            rows[tile], scales[tile] = np.asarray(found.rows), np.asarray(found.scales)
            both[tile], alone[tile] = (np.asarray(share) for share in found.shares)

        _in_tiles(shorten, block, sizes, n_rows)
        tiles = _views((rows, scales, both), sizes, n_rows)
        whole = jax.device_put(rows), jax.device_put(alone), jax.device_put(scales)
        return cls(filtered, sizes, tiles, *whole, _kept_alone(filtered, ratio))

    def _queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        filtered = self.filtered
        found = query_bytes(moved, norms, filtered.keep_short, filtered.byte_loss)
        return (found.rows, found.scales), np.asarray(found.shares.both)

    def _minima(self, queries: Any, tile: tuple[Any, ...]) -> Any:
        return byte_minima(*queries, *tile, group_rows=self.sizes.group_rows)


def _kept_alone(filtered: Filter, ratio: float) -> float:
    """With a little room, as in the shares."""
    return 1.0 - 1.02 * (filtered.slack + ratio)


def _filled(sizes: Tiles, value: float) -> NDArray[np.float32]:
    array = aligned((sizes.piece_rows,), np.float32)
    array[:] = value
    return array


def _padded(block: Block, sizes: Tiles, n_rows: int, dtype: Any) -> NDArray[Any]:
    """Room for a whole piece, zero where there are no rows."""
    width = block(0, 1, 1)[0].shape[1]
    rows = aligned((sizes.piece_rows, width), dtype)
    rows[n_rows:] = 0
    return rows


def _in_tiles(
    work: Callable[[slice, NDArray[Any], NDArray[Any]], None], block: Block, sizes: Tiles, n_rows: int
) -> None:
    """``work`` on every tile, its mapped rows and their norms."""

    def run(part: slice) -> None:
        tile = slice(part.start, part.start + sizes.tile_rows)
        work(tile, *block(part.start, part.stop, sizes.tile_rows))

    in_threads(run, row_chunks(n_rows, 1, sizes.tile_rows))


def _views(arrays: tuple[NDArray[Any], ...], sizes: Tiles, n_rows: int) -> tuple[tuple[Any, ...], ...]:
    """The piece's tiles that hold rows."""
    parts = [slice(start, start + sizes.tile_rows) for start in range(0, n_rows, sizes.tile_rows)]
    return tuple(tuple(jax.device_put(array[part]) for array in arrays) for part in parts)
