"""One neighbor pass over all records, whatever the folds: lists in which a fold's records weigh nothing."""

from __future__ import annotations

import dataclasses

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.estimators._lists import FOR_TIES, edges, search
from mace_jax.estimators._space import standardized

__all__ = ["Block", "PooledLists", "pool_lists"]

_BLOCK_BYTES = 1 << 25


@dataclasses.dataclass(frozen=True)
class Block:
    """Neighbors of some records: list entries, how many records each stands for, and the edges of every k."""

    lists: np.ndarray  # (b, L)
    near: np.ndarray  # (b, K)
    tied: np.ndarray
    share: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class PooledLists:
    """The nearest distinct rows of every distinct row, long enough for ``largest`` neighbors outside any one fold."""

    atom: np.ndarray  # (N,) distinct row of every record
    lists: np.ndarray  # (A, L) int32, each row's own first
    first: np.ndarray  # (A, L) shells of equal distance
    end: np.ndarray
    size: np.ndarray  # (F + 1, A) records outside each fold; the last row leaves nobody out
    fold_of: np.ndarray  # (N,)
    largest: int

    def block(self, records: np.ndarray, fold: int, k: np.ndarray, *, inside: bool) -> Block:
        """Edges for some records among the records outside ``fold``; ``inside``: they are such records themselves."""
        rows = self.atom[records]
        lists = self.lists[rows]
        weight = self.size[fold][lists]
        if inside:
            weight[:, 0] -= 1  # the record itself
        return Block(lists, *edges(weight, self.first[rows], self.end[rows], k))

    @property
    def step(self) -> int:
        """Records per block, within 32 MiB."""
        return max(1, _BLOCK_BYTES // (24 * (self.lists.shape[1] + self.largest)))


def pool_lists(rows: FloatArray, fold_of: np.ndarray, n_folds: int, largest: int, *, scale: bool) -> PooledLists:
    """Search once. ``fold_of`` ``(N,)``; with ``n_folds`` 0 nobody is left out but the record itself.

    Memory: about ``8 A L`` bytes for A distinct rows, L = largest n_folds/(n_folds - 1) + 32 and a margin.
    """
    if scale:
        rows = standardized(rows, rows)[0]
    atoms, atom = np.unique(rows + 0.0, axis=0, return_inverse=True)
    atom = atom.reshape(-1).astype(np.int32)
    total = np.bincount(atom, minlength=len(atoms))
    outside = [total - np.bincount(atom[fold_of == fold], minlength=len(atoms)) for fold in range(n_folds)]
    size = np.stack([*outside, total]).astype(np.int32)
    wanted = float(largest + 1)
    if n_folds:
        wanted = wanted / (1 - 1 / n_folds) + 6 * np.sqrt(largest / n_folds)
    length = int(wanted) + FOR_TIES
    while True:
        length = min(length, len(atoms))
        lists, first, end = search(atoms, atoms, length)
        if not (lists[:, 0] == np.arange(len(lists))).all():
            raise RuntimeError("A distinct row is not its own nearest neighbor; its coordinates underflow.")
        enough = all((of[lists].sum(axis=1) > largest).all() for of in size)
        if enough or length == len(atoms):  # lists over all rows hold every record there is
            return PooledLists(atom, lists, first, end, size, fold_of, largest)
        length *= 2
