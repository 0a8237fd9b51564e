"""The filtering pass over one piece of a reference: which rows can be a neighbor of which query."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray, IntArray

__all__ = ["AbstractScan", "Block", "Candidates", "Queries", "Tiles", "precision_context"]


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Rows per step of the search."""

    query_rows: int  # queries per compiled call
    tile_rows: int  # reference rows per matrix product
    chunk_rows: int  # reference rows per selection, where selection is compiled
    group_rows: int  # reference rows per minimum
    piece_rows: int  # reference rows that are mapped at a time


class Block(Protocol):
    """Maps the rows ``start:stop`` of a piece and gives their squared norms, padded to ``rows`` with infinity."""

    def __call__(
        self, start: int, stop: int, rows: int, *, in_parallel: bool = False
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """``(rows, d)`` and ``(rows,)``."""
        ...


class Queries(NamedTuple):
    """A block of queries."""

    moved: NDArray[Any]  # (rows, d) mapped, of which the first ``n`` are real
    norms: NDArray[Any]  # (rows,) their squared norms, infinite for padding
    n: int


class Candidates(NamedTuple):
    """Rows that may be neighbors of a block of queries, in order of query."""

    query: IntArray  # (c,)
    row: IntArray  # (c,)
    bound: FloatArray  # (c,) at most the squared distance on the mapped scale
    beyond: FloatArray  # (n,) every row that is not listed has a bound of at least this

    @classmethod
    def none(cls, beyond: FloatArray) -> Candidates:
        """Before the first piece; nothing is looked for at ``beyond (n,)`` or more."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, np.empty(0), beyond)

    def and_later(self, other: Candidates) -> Candidates:
        """These, and those among rows that come later."""
        beyond = np.minimum(self.beyond, other.beyond)
        if not len(self.query):
            return other._replace(beyond=beyond)
        query = np.concatenate([self.query, other.query])
        order = np.argsort(query, kind="stable")
        row = np.concatenate([self.row, other.row])[order]
        return Candidates(query[order], row, np.concatenate([self.bound, other.bound])[order], beyond)

    def kth(self, k: int) -> FloatArray:
        """The ``k``-th smallest bound of each query, infinite where there are fewer."""
        starts = np.searchsorted(self.query, np.arange(len(self.beyond) + 1))
        ascending = self.bound[np.lexsort((self.bound, self.query))]
        enough = np.diff(starts) >= k
        found = np.full(len(enough), np.inf)
        found[enough] = ascending[starts[:-1][enough] + k - 1]
        return found

    def within(self) -> Candidates:
        """Without rows that have bounds above ``beyond``."""
        stay = self.bound <= self.beyond[self.query]
        return Candidates(self.query[stay], self.row[stay], self.bound[stay], self.beyond)


class AbstractScan(abc.ABC):
    """One mapped piece on the device."""

    @abc.abstractmethod
    def search(self, queries: Queries, k: int, so_far: Candidates) -> Candidates:
        """``so_far`` and the rows of this piece that may be among the ``k`` nearest."""


def precision_context(dtype: Any) -> contextlib.AbstractContextManager[Any]:
    """Float64 products need JAX's wide types for the length of the call."""
    return jax.enable_x64(True) if dtype == np.float64 else contextlib.nullcontext()
