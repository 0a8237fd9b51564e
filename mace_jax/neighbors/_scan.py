"""The filtering pass over one piece of a reference: which groups of rows can hold a neighbor of which query."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray
from mace_jax.neighbors._filter import Filter, aligned
from mace_jax.neighbors._pairs import row_chunks
from mace_jax.neighbors._survivors import Survivors
from mace_jax.neighbors._threads import in_threads
from mace_jax_kernels._tiling import Rows
from mace_jax_kernels.knn import group_minima, group_values, propose_groups, rank_groups, shortened

__all__ = ["Block", "Found", "Scan", "Tiles", "merge_lists", "precision_context", "short_products_pay"]

_SHORTEST = 16
"""Features from which products in bfloat16 are worth their weaker bounds."""


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Rows per step of the search."""

    query_rows: int  # queries per compiled call
    tile_rows: int  # reference rows per matrix product
    chunk_rows: int  # reference rows per selection, where selection is compiled
    group_rows: int  # reference rows per minimum
    piece_rows: int  # reference rows that are mapped at a time
    resident: bool  # whether that is all of them


class Block(Protocol):
    """Maps the rows ``start:stop`` of a piece and gives their squared norms, padded to ``rows`` with infinity."""

    def __call__(
        self, start: int, stop: int, rows: int, *, in_parallel: bool = False
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """``(rows, d)`` and ``(rows,)``."""
        ...


class Found(NamedTuple):
    """Per query the groups with the smallest minima; every group left out has a minimum of at least the last one."""

    values: NDArray[Any]  # (n, kept) ascending, inf where there is none
    groups: NDArray[np.int32]  # (n, kept), -1 where there is none
    share: FloatArray  # (n,) the query's own part of the bound: value + share bounds a squared distance from below


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """One mapped piece on the device.

    ``tiles`` is set on CPUs in single precision: group minima leave compiled code tile by tile, and the few that count
    are collected on the host, which costs less than selecting all. Elsewhere selection is compiled, too.
    """

    filtered: Filter
    sizes: Tiles
    rows: Any  # (piece_rows, d)
    weights: Any  # (piece_rows,) the rows' parts of the bounds
    tiles: tuple[tuple[Any, Any], ...] | None
    short: bool  # tiles are in bfloat16 and rows are its bits, weights are their shares

    @classmethod
    def prepare(cls, filtered: Filter, sizes: Tiles, block: Block, n_rows: int, *, short: bool) -> Scan:
        """From ``block``, which maps a stretch of a piece whose first ``n_rows`` rows are real."""
        on_cpu = filtered.dtype == np.float32 and jax.default_backend() == "cpu"
        if on_cpu and short and filtered.slack > 0.0:  # products of small whole numbers are exact in float32
            return cls._shortened(filtered, sizes, block, n_rows)
        rows, norms = block(0, n_rows, sizes.piece_rows, in_parallel=True)
        weights = norms * np.dtype(filtered.dtype).type(1.0 - filtered.slack)
        with precision_context(filtered.dtype):
            device = jax.device_put(rows), jax.device_put(weights)
        tiles = cls._tiles(rows, weights, sizes.tile_rows, n_rows) if on_cpu else None
        return cls(filtered, sizes, *device, tiles, False)

    @classmethod
    def _shortened(cls, filtered: Filter, sizes: Tiles, block: Block, n_rows: int) -> Scan:
        """In bfloat16, tile by tile: the piece never stands in float32 as a whole."""
        width = block(0, 1, 1)[0].shape[1]
        rows = aligned((sizes.piece_rows, width), jnp.bfloat16)
        shares = aligned((sizes.piece_rows,), np.float32)
        rows[n_rows:], shares[n_rows:] = 0, np.inf

        def shorten(part: slice) -> None:
            found = shortened(*block(part.start, part.stop, sizes.tile_rows), _keep(filtered), factor=1)
            tile = slice(part.start, part.start + sizes.tile_rows)
            rows[tile], shares[tile] = (np.asarray(array) for array in found)

        in_threads(shorten, row_chunks(n_rows, 1, sizes.tile_rows))
        tiles = cls._tiles(rows, shares, sizes.tile_rows, n_rows)
        return cls(filtered, sizes, jax.device_put(rows.view(np.uint16)), jax.device_put(shares), tiles, True)

    @staticmethod
    def _tiles(rows: NDArray[Any], weights: NDArray[Any], tile_rows: int, n_rows: int) -> tuple[tuple[Any, Any], ...]:
        """Views of the piece's tiles that hold rows."""
        starts = range(0, n_rows, tile_rows)
        parts = [slice(start, start + tile_rows) for start in starts]
        return tuple((jax.device_put(rows[part]), jax.device_put(weights[part])) for part in parts)

    def search(self, moved: NDArray[Any], norms: NDArray[Any], n: int, kept: int, first_group: int) -> Found:
        """The ``kept`` first groups by (minimum, group) of the first ``n`` mapped queries."""
        length = norms[:n].astype(np.float64) * (1.0 - self.filtered.slack)
        if self.tiles is None:
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
            return Found(values, groups, length)
        if self.short:
            doubled, share = shortened(moved, norms, _keep(self.filtered), factor=-2)
            length = np.asarray(share)[:n].astype(np.float64)
        else:
            doubled = jax.device_put(-2.0 * moved)
        stream = Survivors(n, len(moved), kept)
        step = self.sizes.tile_rows // self.sizes.group_rows
        for number, (rows, weights) in enumerate(self.tiles):
            minima = group_minima(doubled, rows, weights, group_rows=self.sizes.group_rows)
            stream.add(np.asarray(minima), number * step)
        values, groups = stream.result()
        return Found(values, np.where(groups >= 0, groups + np.int32(first_group), groups), length)

    def rank(
        self, moved: NDArray[Any], norms: NDArray[Any], groups: Rows, excluded: Rows, n: int
    ) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Values and ids ``(n, c)`` of the first rows by (value, id) in ``groups (rows, c)``; inf and -1 for no row.

        Every other row of these groups has a value of at least the last one.
        """
        groups = np.sort(groups, axis=1)  # places then follow ids, which decide between equal values
        own = moved
        if self.short:
            own = np.asarray(shortened(moved, norms, _keep(self.filtered), factor=1)[0]).astype(np.float32)
        operands = own, self.rows, self.weights, groups, excluded
        size = self.sizes.group_rows
        if self.tiles is None:
            with precision_context(self.filtered.dtype):
                values, ids = rank_groups(*operands, group_rows=size)
            return np.asarray(values)[:n], np.asarray(ids)[:n]
        values = np.asarray(group_values(*operands, group_rows=size)).T
        best = Survivors(n, len(moved), groups.shape[1])
        step = -(-len(values) // 4)
        for start in range(0, len(values), step):
            best.add(np.ascontiguousarray(values[start : start + step]), start)
        found, places = best.result()
        ids = np.take_along_axis(groups[:n], np.maximum(places, 0) // size, axis=1) * size + places % size
        return found, np.where(places >= 0, ids, np.int32(-1))


def merge_lists(one: Found, other: Found) -> Found:
    """The first of two lists of one length; groups of the second have larger numbers."""
    kept = one.values.shape[1]
    values = np.concatenate([one.values, other.values], axis=1)
    order = np.argsort(values, axis=1, kind="stable")[:, :kept]
    groups = np.concatenate([one.groups, other.groups], axis=1)
    return Found(np.take_along_axis(values, order, 1), np.take_along_axis(groups, order, 1), one.share)


def precision_context(dtype: Any) -> contextlib.AbstractContextManager[Any]:
    """Float64 products need JAX's wide types for the length of the call."""
    return jax.enable_x64(True) if dtype == np.float64 else contextlib.nullcontext()


def short_products_pay(d: int) -> bool:
    """Whether products in bfloat16 save time here: enough features, and a CPU that has them as instructions."""
    return d >= _SHORTEST and jax.default_backend() == "cpu" and _has_short_products()


@functools.cache
def _has_short_products() -> bool:
    path = Path("/proc/cpuinfo")
    words = set(path.read_text(encoding="ascii", errors="ignore").split()) if path.exists() else set()
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def _keep(filtered: Filter) -> np.float32:
    """What the sums of short products leave of a squared norm: the slack of float32 sums and one part in fifty."""
    return np.float32(1.0 - 1.02 * filtered.slack)
