"""Records that need not fit in memory: seen block by block as float64, their nearest lists merged exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._pairs import nearest_of, row_chunks

__all__ = ["BLOCK_BYTES", "Rows", "TopK", "checked_records", "nearest_in_blocks"]

BLOCK_BYTES = 64 << 20
_LARGEST = 1e150
_NUMERIC = "biuf"

Search = Callable[[FloatArray, FloatArray, int, "IntArray | None"], tuple[FloatArray, IntArray, NDArray[np.bool_]]]
"""``(queries, block, k, excluded) -> (squared distances, rows of the block, proven)``."""


def checked_records(name: str, value: Any) -> FloatArray:
    """Finite float64 records ``(n, d)`` with squares that do not overflow."""
    array = _validate.min_rows(1, **{name: _validate.as_records(**{name: value})})
    _validate.finite(**{name: array})
    if max(array.max(), -array.min()) > _LARGEST:
        raise ValueError(f"{name} has entries beyond {_LARGEST:g}, whose squares overflow; rescale the features.")
    return array


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Records of any numeric type, perhaps a memory map: what is indexed is converted to float64, nothing else."""

    array: Any

    @classmethod
    def of(cls, name: str, value: Any) -> Rows:
        """View ``value`` as ``(n, d)`` without a copy where NumPy allows it."""
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if array.dtype.kind not in _NUMERIC:
            raise TypeError(f"{name} has dtype {array.dtype}, which is not numeric; encode it as numbers first.")
        if array.ndim == 0 or 0 in array.shape:
            raise ValueError(f"{name} has shape {array.shape}; pass at least one row and one column.")
        return cls(array if array.ndim == 2 else array.reshape(len(array), -1))

    @property
    def shape(self) -> tuple[int, int]:
        return self.array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> FloatArray:
        return np.asarray(self.array[index], dtype=np.float64)

    @property
    def in_memory(self) -> bool:
        """Whether all rows are float64 in memory already."""
        return self.array.dtype == np.float64 and not isinstance(self.array, np.memmap)

    def step(self, budget: int = BLOCK_BYTES) -> int:
        """Rows of one float64 block of at most ``budget`` bytes."""
        return max(1, budget // (8 * self.shape[1]))

    def blocks(self, step: int | None = None) -> Iterator[FloatArray]:
        """Consecutive blocks of ``step`` rows."""
        step = step or self.step()
        for start in range(0, len(self), step):
            yield self[start : start + step]


@dataclasses.dataclass(frozen=True, eq=False)
class TopK:
    """The ``k`` smallest (squared distance, id) pairs seen so far by each query; (inf, -1) where there is none.

    Merging is associative and commutative, bit for bit, as long as every id is seen once.
    """

    squared: FloatArray
    ids: IntArray

    @classmethod
    def empty(cls, n: int, k: int) -> TopK:
        """Nothing seen yet."""
        return cls(np.full((n, k), np.inf), np.full((n, k), -1, dtype=np.int64))

    def merge(self, other: TopK) -> TopK:
        """What both have seen, cut to the length of the longer list."""
        k = max(self.ids.shape[1], other.ids.shape[1])
        squared, ids = np.empty((len(self.ids), k)), np.empty((len(self.ids), k), dtype=np.int64)
        for part in row_chunks(len(ids), 64 * k):
            both = np.concatenate([self.squared[part], other.squared[part]], axis=1)
            names = np.concatenate([self.ids[part], other.ids[part]], axis=1)
            order = np.lexsort((names, both), axis=-1)[:, :k]
            squared[part] = np.take_along_axis(both, order, axis=1)
            ids[part] = np.take_along_axis(names, order, axis=1)
        return TopK(squared, ids)


def nearest_in_blocks(
    queries: FloatArray, blocks: Iterable[FloatArray], k: int, search: Search, exclude_ids: IntArray | None = None
) -> tuple[TopK, NDArray[np.bool_], int]:
    """``(lists, proven, rows seen)`` of one pass over the blocks of a reference; ids count through all blocks."""
    found, proven, start = TopK.empty(len(queries), k), np.ones(len(queries), dtype=bool), 0
    for block in blocks:
        stop, own = start + len(block), None
        if exclude_ids is not None:
            inside = (exclude_ids >= start) & (exclude_ids < stop)
            own = np.where(inside, exclude_ids - start, -1) if inside.any() else None
        if len(block) > k:
            squared, ids, sure = search(queries, block, k, own)
            proven &= sure
        else:
            squared, ids = _whole_block(queries, block, own)
        found = found.merge(TopK(squared, np.where(ids >= 0, ids + start, -1)))
        start = stop
    return found, proven, start


def _whole_block(queries: FloatArray, block: FloatArray, own: IntArray | None) -> tuple[FloatArray, IntArray]:
    """Every row of a block of at most ``k`` rows, sorted."""
    n, m = len(queries), len(block)
    squared, ids = np.empty((n, m)), np.empty((n, m), dtype=np.int64)
    for part in row_chunks(n, 64 * m):
        every = np.tile(np.arange(m), (part.stop - part.start, 1))
        if own is not None:
            every[every == own[part][:, None]] = -1
        squared[part], ids[part] = nearest_of(queries[part], block, every, m)
    return squared, ids
