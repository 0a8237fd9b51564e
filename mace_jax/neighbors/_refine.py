"""The last step of a filtered search: measure the candidates of a block of queries, and see what that proves."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._pairs import first_of, row_chunks, squared_distances
from mace_jax.neighbors._scan import Candidates

__all__ = ["Refinement"]

_TABLE_ENTRIES = 1 << 18


@dataclasses.dataclass(frozen=True, eq=False)
class Refinement:
    """Measures rows of one reference, of which those ``chosen`` have the ids that filters use."""

    filtered: Filter
    reference: FloatArray
    chosen: IntArray | None
    k: int

    def __call__(
        self, queries: FloatArray, candidates: Candidates, own: NDArray[np.int32] | None
    ) -> tuple[FloatArray, IntArray, NDArray[np.bool_]]:
        """``(squared distances, ids, proven)`` of the ``k`` nearest of the candidates of ``queries (n, d)``.

        ``own (n,)`` are rows left out. Where fewer than ``k`` remain, distances are infinite and nothing is proven.
        """
        n, query, row = len(queries), candidates.query, candidates.row
        if own is not None:
            others = row != own[query]
            query, row = query[others], row[others]
        measured = squared_distances(queries, self.reference, query, row if self.chosen is None else self.chosen[row])
        starts = np.searchsorted(query, np.arange(n + 1))
        squared, nearest = np.empty((n, self.k)), np.empty((n, self.k), np.int64)
        widest = max(self.k, int(np.diff(starts).max(initial=0)))
        for part in row_chunks(n, widest, _TABLE_ENTRIES):
            count = np.diff(starts[part.start : part.stop + 1])
            width = max(self.k, int(count.max()))
            here = slice(starts[part.start], starts[part.stop])
            filled = np.arange(width) < count[:, None]
            table, ids = np.full(filled.shape, np.inf), np.full(filled.shape, -1, np.int64)
            table[filled], ids[filled] = measured[here], row[here]
            squared[part], nearest[part] = first_of(table, ids, self.k)
        return squared, nearest, self.filtered.proves(candidates.beyond, squared[:, -1])
