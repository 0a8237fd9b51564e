"""The filtering pass on CPUs: group minima leave compiled code tile by tile, and the host collects the few that count.

Selecting from all of them in compiled code would cost more than the products.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._operands import AbstractOperands, Whole
from mace_jax.neighbors._pairs import row_chunks
from mace_jax.neighbors._scan import AbstractScan, Block, Candidates, Queries, Tiles
from mace_jax.neighbors._survivors import Survivors

__all__ = ["TiledScan"]

_LOOK_BYTES = 2 << 20
_AHEAD = 3
"""Tiles that are worked on before the host has looked at the minima of the one before."""
_ROOM, _ROOM_PER_FOLD, _LEAST_ROOM = 2.3, 0.26, 1.15
"""Of 10,000 normal queries, with 64 to 784 features and 1 to 50 neighbors, hardly any need more."""


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TiledScan(AbstractScan):
    """One piece, whole for looking into groups and as tiles for the products; both are views of the same memory."""

    operands: AbstractOperands
    sizes: Tiles
    ids: IntArray  # of the rows
    tiles: tuple[tuple[Any, ...], ...]  # operands of the group minima
    whole: Whole
    lost: float  # what rounding takes from the bound of a row
    scratch: deque[Any] = dataclasses.field(default_factory=deque)  # memory for products that no search uses now

    @classmethod
    def prepare(cls, operands: AbstractOperands, sizes: Tiles, block: Block, ids: IntArray) -> TiledScan:
        """From ``block``, which maps a stretch of a piece whose rows have these ids."""
        return cls(operands, sizes, ids, *operands.reference(sizes, block, len(ids)))

    def search(self, queries: Queries, k: int, so_far: Candidates) -> Candidates:
        """``so_far`` and the rows of this piece that may be among the ``k`` nearest."""
        n = queries.n
        operand, shares = self.operands.queries(queries.moved, queries.norms)
        share = shares[:n].astype(np.float64)
        lost = queries.norms[:n].astype(np.float64) - share
        # The k-th distance is past the k-th bound by about what rounding takes from a pair; less surely for small k.
        room = self.operands.room * max(_ROOM - _ROOM_PER_FOLD * np.log(k), _LEAST_ROOM)
        margin = (room * (lost + np.maximum(lost, self.lost))).astype(np.float32)
        most = 4 * k + 24 + queries.moved.shape[1] // 16 if lost.any() else k
        limit = np.minimum(so_far.beyond, so_far.kth(k) + margin) - share
        limit = np.nextafter(limit.astype(np.float32), np.float32(np.inf))
        stream = Survivors(len(queries.moved), k, most, margin, limit)
        step = self.sizes.tile_rows // self.sizes.group_rows
        for number, minima in enumerate(self._minima(operand, len(queries.moved))):
            stream.add(minima, number * step)
        query, group, limits = stream.result()
        found = self._look(queries, query, group, limits.astype(np.float64) + share)
        return so_far.and_later(found).within()

    def _minima(self, operand: Any, width: int) -> Iterator[NDArray[np.float32]]:
        """Of one tile after the other; the next ones are on their way while the host looks at what is there."""
        shape = (self.sizes.tile_rows, width)
        try:
            scratch = self.scratch.pop()
        except IndexError:  # as many as there are threads
            scratch = jnp.zeros(shape, self.operands.products)
        coming: deque[Any] = deque()
        for tile in self.tiles:
            minima, scratch = self.operands.minima(operand, tile, scratch, self.sizes.group_rows)
            coming.append(minima)
            if len(coming) > _AHEAD:
                yield np.asarray(coming.popleft())
        self.scratch.append(scratch)
        yield from map(np.asarray, coming)

    def _look(self, queries: Queries, query: IntArray, group: IntArray, beyond: FloatArray) -> Candidates:
        """The rows of these pairs (query, group) with bounds up to about ``beyond``."""
        size = self.sizes.group_rows
        share = queries.norms[: queries.n].astype(np.float64) * self.operands.kept_alone
        highest = np.nextafter((beyond - share).astype(np.float32), np.float32(np.inf))
        parts = row_chunks(len(query), 4 * size * queries.moved.shape[1], _LOOK_BYTES)
        looked = [self._rows(queries.moved, query[part], group[part], highest) for part in parts]
        if not looked:
            return Candidates.none(beyond)
        within = np.concatenate([found + part.start * size for part, (found, _) in zip(parts, looked, strict=True)])
        pair, place = np.divmod(within, size)
        row = group.take(pair) * size + place
        values = np.concatenate([values for _, values in looked])
        real = row < len(self.ids)
        if not real.all():
            pair, row, values = pair[real], row[real], values[real]
        of = query.take(pair)
        return Candidates(of, self.ids.take(row), values + share.take(of), beyond)

    def _rows(
        self, moved: NDArray[Any], query: IntArray, group: IntArray, highest: NDArray[np.float32]
    ) -> tuple[IntArray, NDArray[np.float32]]:
        """Places among the rows of pairs (query, group) with values up to ``highest (n,)``, and those values."""
        size, whole, d = self.sizes.group_rows, self.whole, moved.shape[1]
        rows = whole.rows.reshape(-1, size * d).take(group, axis=0).reshape(-1, size, d)
        # A matrix product, as for the minima: the slack of the filter is proven for its rounding.
        products = np.matmul(self.operands.widened(rows), moved.take(query, axis=0)[:, :, None])[:, :, 0]
        products *= 2.0 if whole.doubled is None else whole.doubled.reshape(-1, size).take(group, axis=0)
        values = np.subtract(whole.weights.reshape(-1, size).take(group, axis=0), products, out=products)
        found = np.flatnonzero(values <= highest.take(query)[:, None])
        return found, values.ravel().take(found)
