"""The filtering pass over one piece of a reference: which groups of rows can hold a neighbor of which query."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray
from mace_jax_kernels._tiling import Rows

__all__ = ["AbstractScan", "Block", "Found", "Tiles", "merge_lists", "precision_context"]


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


class AbstractScan(abc.ABC):
    """One mapped piece on the device."""

    @abc.abstractmethod
    def search(self, moved: NDArray[Any], norms: NDArray[Any], n: int, kept: int, first_group: int) -> Found:
        """The ``kept`` first groups by (minimum, group) of the first ``n`` mapped queries."""

    @abc.abstractmethod
    def rank(
        self, moved: NDArray[Any], norms: NDArray[Any], groups: Rows, excluded: Rows, n: int, near: int
    ) -> tuple[FloatArray, NDArray[np.int32]]:
        """Bounds and ids ``(n, near)`` of the first rows by (bound, id) in ``groups (rows, c)``.

        They are inf and -1 for no row. Every other row of these groups has a bound of at least the last one.
        """


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
