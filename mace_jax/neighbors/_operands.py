"""In what numbers products are taken on CPUs: float32, bfloat16 or bytes, and what their rounding leaves of a bound."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from mace_jax.neighbors._filter import Filter, aligned
from mace_jax.neighbors._pairs import row_chunks
from mace_jax.neighbors._scan import Block, Tiles
from mace_jax.neighbors._threads import in_threads
from mace_jax_kernels.knn import byte_minima, group_minima, query_bytes, reference_bytes, shortened

__all__ = ["AbstractOperands", "Bytes", "Floats", "Halves", "Mapped"]

_HALF_LOSS = 0.0015
"""Root mean square of the relative error of rounding to bfloat16: 2^-7 / sqrt(12) over a mantissa near 1.5."""


class Mapped(NamedTuple):
    """One piece of a reference; rows are padded with infinite shares."""

    tiled: tuple[NDArray[Any], ...]  # what ``minima`` takes tile by tile, arrays of ``piece_rows`` rows
    whole: tuple[Any, ...]  # rows, weights where queries are not rounded, and scales or None, as ``group_values`` takes


class AbstractOperands(abc.ABC):
    """How mapped rows become operands of the products."""

    @property
    @abc.abstractmethod
    def kept_alone(self) -> float:
        """What is left of a query's squared norm in a bound for which it is not rounded."""

    @abc.abstractmethod
    def reference(self, sizes: Tiles, block: Block, n_rows: int) -> Mapped:
        """A piece from ``block``, which maps a stretch of it; the first ``n_rows`` rows are real."""

    @abc.abstractmethod
    def queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Queries as ``minima`` takes them, and their parts of the bounds."""

    @abc.abstractmethod
    def minima(self, queries: Any, tile: tuple[Any, ...], group_rows: int) -> Any:
        """Minima over the groups of a tile, ``(groups, queries)``."""


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Floats(AbstractOperands):
    """Rows in float32."""

    filtered: Filter

    @property
    def kept_alone(self) -> float:
        """All but the slack."""
        return 1.0 - self.filtered.slack

    def reference(self, sizes: Tiles, block: Block, n_rows: int) -> Mapped:
        """Rows as they are, and their norms less the slack."""
        rows, norms = block(0, n_rows, sizes.piece_rows, in_parallel=True)
        weights = norms * self.filtered.keep
        return Mapped((rows, weights), (rows, weights, None))

    def queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Queries times -2."""
        return jax.device_put(-2.0 * moved), norms.astype(np.float64) * self.kept_alone

    def minima(self, queries: Any, tile: tuple[Any, ...], group_rows: int) -> Any:
        """By products in float32."""
        return group_minima(queries, *tile, group_rows=group_rows)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Halves(AbstractOperands):
    """Rows in bfloat16; a piece never stands in float32 as a whole."""

    filtered: Filter

    @property
    def kept_alone(self) -> float:
        """With a little room, as in the shares."""
        return 1.0 - 1.02 * (self.filtered.slack + _HALF_LOSS)

    def reference(self, sizes: Tiles, block: Block, n_rows: int) -> Mapped:
        """Rows in bfloat16, for ranking as their bits, and shares."""
        rows = _padded(block, sizes, n_rows, jnp.bfloat16)
        both, alone = (_filled(sizes, np.inf) for _ in range(2))

        def shorten(tile: slice, moved: NDArray[Any], norms: NDArray[Any]) -> None:
            found, shares = shortened(moved, norms, self.filtered.keep_short, _HALF_LOSS, factor=1)
            rows[tile], both[tile], alone[tile] = (np.asarray(array) for array in (found, *shares))

        _in_tiles(shorten, block, sizes, n_rows)
        return Mapped((rows, both), (rows.view(np.uint16), alone, None))

    def queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Queries in bfloat16 times -2."""
        doubled, shares = shortened(moved, norms, self.filtered.keep_short, _HALF_LOSS, factor=-2)
        return doubled, np.asarray(shares.both)

    def minima(self, queries: Any, tile: tuple[Any, ...], group_rows: int) -> Any:
        """By products in bfloat16, added up in float32."""
        return group_minima(queries, *tile, group_rows=group_rows)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Bytes(AbstractOperands):
    """Rows as bytes times a scale of their own; a piece never stands in float32 as a whole."""

    filtered: Filter

    @property
    def kept_alone(self) -> float:
        """With a little room, as in the shares."""
        return 1.0 - 1.02 * (self.filtered.slack + self.filtered.byte_loss)

    def reference(self, sizes: Tiles, block: Block, n_rows: int) -> Mapped:
        """Rows as bytes, scales and shares."""
        filtered = self.filtered
        rows = _padded(block, sizes, n_rows, np.uint8)
        scales, both, alone = _filled(sizes, 1.0), _filled(sizes, np.inf), _filled(sizes, np.inf)

        def shorten(tile: slice, moved: NDArray[Any], norms: NDArray[Any]) -> None:
            found = reference_bytes(moved, norms, filtered.keep_short, filtered.byte_loss)
            rows[tile], scales[tile] = np.asarray(found.rows), np.asarray(found.scales)
            both[tile], alone[tile] = (np.asarray(share) for share in found.shares)

        _in_tiles(shorten, block, sizes, n_rows)
        return Mapped((rows, scales, both), (rows, alone, scales))

    def queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Queries as bytes, and scales."""
        found = query_bytes(moved, norms, self.filtered.keep_short, self.filtered.byte_loss)
        return (found.rows, found.scales), np.asarray(found.shares.both)

    def minima(self, queries: Any, tile: tuple[Any, ...], group_rows: int) -> Any:
        """By products of bytes, added up in int32."""
        return byte_minima(*queries, *tile, group_rows=group_rows)


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
