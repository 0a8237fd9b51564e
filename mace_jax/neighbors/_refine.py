"""The last step of a filtered search: measure the candidates of a block of queries until the bounds prove the rest."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray
from mace_jax.neighbors._base import IntArray
from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._pairs import nearest_of, nearest_of_ragged, row_chunks, squared_distances
from mace_jax.neighbors._scan import Found

__all__ = ["Refinement"]

_FIRST = 2
"""Rows measured beyond ``k`` before bounds decide which others are."""


@dataclasses.dataclass(frozen=True, eq=False)
class Refinement:
    """Measures rows of one reference, of which those ``chosen`` have the ids that filters use."""

    filtered: Filter
    reference: FloatArray
    chosen: IntArray | None
    n_rows: int  # rows with ids
    group_rows: int
    k: int

    def __call__(
        self,
        queries: FloatArray,
        own: NDArray[np.int32],
        found: Found,
        few: int,
        ranked: tuple[FloatArray, NDArray[np.int32]] | None,
    ) -> tuple[FloatArray, IntArray, NDArray[np.bool_]]:
        """``(squared distances, ids, proven)`` of the ``k`` nearest rows.

        Args:
            queries: ``(n, d)``.
            own: ``(n,)`` id that each query leaves out, -1 for none.
            found: Groups in which neighbors may be.
            few: How many of these were ranked, or are measured first where none were.
            ranked: Bounds and ids of the first rows in these; every other row of them has a bound of at least the last
                one.
        """
        n, measured = len(queries), self.k + _FIRST
        if ranked is None:
            first = self._members(found.groups[:, :few], own)
            bounds, ids = np.full((n, 1), np.inf), np.full((n, 1), -1, np.int32)
        else:
            first, bounds, ids = ranked[1][:, :measured], ranked[0][:, measured:], ranked[1][:, measured:]
        squared, nearest = np.empty((n, self.k)), np.empty((n, self.k), np.int64)
        for part in row_chunks(n, 64 * first.shape[1]):
            squared[part], nearest[part] = self._nearest(queries[part], first[part])
        if self.filtered.slack == 0.0:
            return squared, nearest, np.ones(n, dtype=bool)
        groups = found.values.astype(np.float64) + found.share[:, None]
        last = np.column_stack([bounds[:, -1], groups[:, -1]])
        proven = np.asarray(~self._open(last, squared).any(axis=1))
        # What is not proven is searched again: measuring more of it would be in vain.
        open_rows = np.nonzero(self._open(bounds, squared) & (ids >= 0) & proven[:, None])
        query, place = np.nonzero(self._open(groups[:, few:], squared) & proven[:, None])
        members = self._members(found.groups[query, few + place][:, None], own[query])
        real = members >= 0
        rows = np.concatenate([open_rows[0], np.repeat(query, real.sum(axis=1))])
        if len(rows):
            others = np.concatenate([ids[open_rows].astype(np.int64), members[real]])
            self._add(queries, rows, others, squared, nearest)
        return squared, nearest, proven

    def _open(self, bounds: FloatArray, squared: FloatArray) -> NDArray[np.bool_]:
        """Whether rows with these bounds may be nearer than the last one measured."""
        return ~self.filtered.proves(bounds, squared[:, -1:])

    def _members(self, groups: NDArray[np.int32], own: NDArray[np.int32]) -> NDArray[np.int64]:
        """Ids of the rows of each query's groups, -1 for none."""
        ids = groups.astype(np.int64)[:, :, None] * self.group_rows + np.arange(self.group_rows)
        outside = (groups < 0)[:, :, None] | (ids >= self.n_rows) | (ids == own[:, None, None])
        return np.where(outside, -1, ids).reshape(len(groups), groups.shape[1] * self.group_rows)

    def _nearest(self, queries: FloatArray, candidates: NDArray[np.signedinteger[Any]]) -> tuple[FloatArray, IntArray]:
        wide = candidates.astype(np.int64)
        if self.chosen is None:
            return nearest_of(queries, self.reference, wide, self.k)
        squared, ids = nearest_of(queries, self.reference, np.where(wide >= 0, self.chosen[wide], -1), self.k)
        return squared, np.where(ids >= 0, np.searchsorted(self.chosen, ids), -1)

    def _add(
        self, queries: FloatArray, rows: IntArray, others: IntArray, squared: FloatArray, nearest: IntArray
    ) -> None:
        """Let the rows ``others`` compete for places in the lists of the queries ``rows``."""
        real = others if self.chosen is None else self.chosen[others]
        distances = squared_distances(queries, self.reference, rows, real)
        closer = distances <= squared[rows, -1]
        distances, rows, others = distances[closer], rows[closer], others[closer]
        of, place = np.unique(rows, return_inverse=True)
        places = np.concatenate([np.repeat(np.arange(len(of)), self.k), place])
        values = np.concatenate([squared[of].ravel(), distances])
        ids = np.concatenate([nearest[of].ravel(), others])
        squared[of], nearest[of] = nearest_of_ragged(values, places, ids, len(of), self.k)
