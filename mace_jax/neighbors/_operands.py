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

__all__ = ["AbstractOperands", "Bytes", "Floats", "Halves", "Mapped", "Whole"]

_HALF_LOSS = 0.0015
"""Root mean square of the relative error of rounding to bfloat16: 2^-7 / sqrt(12) over a mantissa near 1.5."""


class Whole(NamedTuple):
    """What bounds single rows, for queries that are not rounded."""

    rows: NDArray[Any]  # (m, d)
    weights: NDArray[np.float32]  # (m,) their parts of the bounds
    doubled: NDArray[np.float32] | None  # (m,) twice what products are to be multiplied by, where that is not 1


class Mapped(NamedTuple):
    """One piece of a reference; rows are padded with infinite shares."""

    tiles: tuple[tuple[Any, ...], ...]  # what ``minima`` takes; views of arrays of ``piece_rows`` rows
    whole: Whole
    lost: float  # median of what rounding takes from a row's part of a bound


class AbstractOperands(abc.ABC):
    """How mapped rows become operands of the products."""

    @property
    @abc.abstractmethod
    def products(self) -> Any:
        """The dtype of products."""

    @property
    @abc.abstractmethod
    def kept_alone(self) -> float:
        """What is left of a query's squared norm in a bound for which it is not rounded."""

    @property
    @abc.abstractmethod
    def room(self) -> float:
        """About how much more than the median rounding may take from the bound of a neighbor."""

    @abc.abstractmethod
    def reference(self, sizes: Tiles, block: Block, n_rows: int) -> Mapped:
        """A piece from ``block``, which maps a stretch of it; the first ``n_rows`` rows are real."""

    @abc.abstractmethod
    def queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Queries as ``minima`` takes them, and their parts of the bounds."""

    @abc.abstractmethod
    def minima(self, queries: Any, tile: tuple[Any, ...], scratch: Any, group_rows: int) -> tuple[Any, Any]:
        """Minima over the groups of a tile, ``(groups, queries)``, and ``scratch (rows, queries)``, which is given up.

        Memory that were new for each tile would cost up to a tenth of the time, which the system takes to clear it.
        """

    @abc.abstractmethod
    def widened(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """A copy of some of the rows of ``Whole``, which is given up, in float32."""


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Floats(AbstractOperands):
    """Rows in float32."""

    filtered: Filter

    @property
    def products(self) -> Any:
        """As the rows."""
        return np.float32

    @property
    def kept_alone(self) -> float:
        """All but the slack."""
        return 1.0 - self.filtered.slack

    @property
    def room(self) -> float:
        """Much: so little is lost that few rows lie between."""
        return 2.0

    def reference(self, sizes: Tiles, block: Block, n_rows: int) -> Mapped:
        """Rows as they are, and their norms less the slack."""
        rows, norms = block(0, n_rows, sizes.piece_rows, in_parallel=True)
        weights = norms * self.filtered.keep
        lost = self.filtered.slack * float(np.median(norms[:n_rows]))
        return Mapped(_tiles(sizes, n_rows, rows, weights), Whole(rows, weights, None), lost)

    def queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Queries times -2."""
        return jax.device_put(-2.0 * moved), norms.astype(np.float64) * self.kept_alone

    def minima(self, queries: Any, tile: tuple[Any, ...], scratch: Any, group_rows: int) -> tuple[Any, Any]:
        """By products in float32."""
        return group_minima(queries, *tile, scratch, group_rows=group_rows)

    def widened(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """As they are."""
        return rows


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Halves(AbstractOperands):
    """Rows in bfloat16; a piece never stands in float32 as a whole."""

    filtered: Filter

    @property
    def products(self) -> Any:
        """Float32, whatever the rows are in."""
        return np.float32

    @property
    def kept_alone(self) -> float:
        """With a little room, as in the shares."""
        return 1.0 - 1.02 * (self.filtered.slack + _HALF_LOSS)

    @property
    def room(self) -> float:
        """Much: so little is lost that few rows lie between."""
        return 1.5

    def reference(self, sizes: Tiles, block: Block, n_rows: int) -> Mapped:
        """Rows in bfloat16, for ranking as their bits, which NumPy moves faster, and shares."""
        rows = _padded(block, sizes, n_rows, jnp.bfloat16)
        both, alone = (_filled(sizes, np.inf) for _ in range(2))

        def shorten(tile: slice, moved: NDArray[Any], norms: NDArray[Any]) -> NDArray[Any]:
            found, shares = shortened(moved, norms, self.filtered.keep_short, _HALF_LOSS, factor=1)
            rows[tile], both[tile], alone[tile] = (np.asarray(array) for array in (found, *shares))
            return norms - both[tile]

        lost = _in_tiles(shorten, block, sizes, n_rows)
        return Mapped(_tiles(sizes, n_rows, rows, both), Whole(rows.view(np.uint16), alone, None), lost)

    def queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Queries in bfloat16 times -2."""
        doubled, shares = shortened(moved, norms, self.filtered.keep_short, _HALF_LOSS, factor=-2)
        return doubled, np.asarray(shares.both)

    def minima(self, queries: Any, tile: tuple[Any, ...], scratch: Any, group_rows: int) -> tuple[Any, Any]:
        """By products in bfloat16, added up in float32."""
        return group_minima(queries, *tile, scratch, group_rows=group_rows)

    def widened(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """From their bits."""
        return rows.view(jnp.bfloat16).astype(np.float32)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Bytes(AbstractOperands):
    """Rows as bytes times a scale of their own; a piece never stands in float32 as a whole."""

    filtered: Filter

    @property
    def products(self) -> Any:
        """Exact sums of bytes."""
        return np.int32

    @property
    def kept_alone(self) -> float:
        """With a little room, as in the shares."""
        return 1.0 - 1.02 * (self.filtered.slack + self.filtered.byte_loss)

    @property
    def room(self) -> float:
        """None: each costs time."""
        return 1.0

    def reference(self, sizes: Tiles, block: Block, n_rows: int) -> Mapped:
        """Rows as bytes, scales and shares."""
        filtered = self.filtered
        rows = _padded(block, sizes, n_rows, np.uint8)
        scales, both, alone = _filled(sizes, 1.0), _filled(sizes, np.inf), _filled(sizes, np.inf)

        def shorten(tile: slice, moved: NDArray[Any], norms: NDArray[Any]) -> NDArray[Any]:
            found = reference_bytes(moved, norms, filtered.keep_short, filtered.byte_loss)
            rows[tile], scales[tile] = np.asarray(found.rows), np.asarray(found.scales)
            both[tile], alone[tile] = (np.asarray(share) for share in found.shares)
            return norms - both[tile]

        lost = _in_tiles(shorten, block, sizes, n_rows)
        return Mapped(_tiles(sizes, n_rows, rows, scales, both), Whole(rows, alone, 2 * scales), lost)

    def queries(self, moved: NDArray[Any], norms: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Queries as bytes, and scales."""
        found = query_bytes(moved, norms, self.filtered.keep_short, self.filtered.byte_loss)
        return (found.rows, found.scales), np.asarray(found.shares.both)

    def minima(self, queries: Any, tile: tuple[Any, ...], scratch: Any, group_rows: int) -> tuple[Any, Any]:
        """By products of bytes, added up in int32."""
        return byte_minima(*queries, *tile, scratch, group_rows=group_rows)

    def widened(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """From bytes that stand for 0 at 128."""
        return np.bitwise_xor(rows, 128, out=rows).view(np.int8).astype(np.float32)


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


def _tiles(sizes: Tiles, n_rows: int, *arrays: NDArray[Any]) -> tuple[tuple[Any, ...], ...]:
    parts = [slice(start, start + sizes.tile_rows) for start in range(0, n_rows, sizes.tile_rows)]
    return jax.device_put(tuple(tuple(array[part] for array in arrays) for part in parts))


def _in_tiles(
    work: Callable[[slice, NDArray[Any], NDArray[Any]], NDArray[Any]], block: Block, sizes: Tiles, n_rows: int
) -> float:
    """``work``, which returns losses, on every tile, its mapped rows and their norms; their median."""

    def run(part: slice) -> NDArray[Any]:
        moved, norms = block(part.start, part.stop, sizes.tile_rows)
        with np.errstate(invalid="ignore"):  # of padding
            return work(slice(part.start, part.start + sizes.tile_rows), moved, norms)[: part.stop - part.start]

    return float(np.median(np.concatenate(in_threads(run, row_chunks(n_rows, 1, sizes.tile_rows)))))
