"""The smallest of a long stream of values per query: only values below the worst one kept are ever looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUP_LIMIT", "QUERY_LIMIT", "Survivors"]

_GROUP_BITS, _VALUE_BITS = 23, 32
GROUP_LIMIT = 1 << _GROUP_BITS
"""Groups that one stream may number."""
QUERY_LIMIT = 1 << (64 - _GROUP_BITS - _VALUE_BITS)
"""Queries that one stream may serve."""
_SIGN = np.uint32(1 << 31)


class Survivors:
    """The ``kept`` first (value, group) pairs of each of ``n`` queries, from blocks that come in order of group.

    A block is compared with each query's limit, its ``kept``-th value so far; what is below becomes one 64-bit key
    (query, value, group), and keys are sorted when enough of them wait: about ``kept * log(blocks)`` per query.

    Peak memory, in bytes: about ``60 n kept``, and nine times the entries of the first block.
    """

    def __init__(self, n: int, width: int, kept: int) -> None:
        """``n`` queries of which blocks hold ``width >= n`` columns; the others are padding."""
        if width > QUERY_LIMIT:
            raise ValueError(f"width={width} queries do not fit; pass at most {QUERY_LIMIT} at a time.")
        self._n, self._width, self._kept = n, width, kept
        self._limit = np.full(width, -np.inf, np.float32)
        self._limit[:n] = np.inf
        self._keys: list[NDArray[np.uint64]] = []
        self._waiting = 0

    def add(self, values: NDArray[np.float32], first_group: int) -> None:
        """A block ``(groups, width)`` whose first row is group ``first_group``; infinite values never enter."""
        if not self._keys and len(values) > self._kept:
            lists = np.ascontiguousarray(values[:, : self._n].T)  # three times faster to select from than the view
            start = np.partition(lists, self._kept - 1, axis=1)[:, self._kept - 1]
            self._limit[: self._n] = np.nextafter(start, np.float32(np.inf))
        found = np.flatnonzero(values < self._limit)
        if not len(found):
            return
        group, query = np.divmod(found, self._width)
        bits = values.ravel()[found].view(np.uint32)
        order = np.where(bits & _SIGN, ~bits, bits | _SIGN)  # unsigned numbers in the order of the values
        key = query.astype(np.uint64) << np.uint64(_VALUE_BITS + _GROUP_BITS)
        key |= order.astype(np.uint64) << np.uint64(_GROUP_BITS)
        key |= (group + first_group).astype(np.uint64)
        self._keys.append(key)
        self._waiting += len(key)
        if self._waiting > self._n * self._kept:
            self._settle()

    def _settle(self) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Keys ``(n, kept)`` in order and which of them exist; lowers the limits."""
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        keys.sort()
        starts = np.searchsorted(keys, np.arange(self._n, dtype=np.uint64) << np.uint64(_VALUE_BITS + _GROUP_BITS))
        place = starts[:, None] + np.arange(self._kept)
        real = place < np.append(starts[1:], len(keys))[:, None]
        table = keys[np.minimum(place, len(keys) - 1)] if len(keys) else np.zeros(place.shape, np.uint64)
        self._keys, self._waiting = [table[real]], 0
        self._limit[: self._n] = np.where(real[:, -1], _values(table[:, -1]), self._limit[: self._n])
        return table, real

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Values ``(n, kept)``, infinite where there are fewer, and groups, -1 there."""
        table, real = self._settle()
        groups = (table & np.uint64(GROUP_LIMIT - 1)).astype(np.int32)
        return np.where(real, _values(table), np.float32(np.inf)), np.where(real, groups, np.int32(-1))


def _values(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    bits = (keys >> np.uint64(_GROUP_BITS)).astype(np.uint32)
    return np.where(bits & _SIGN, bits & ~_SIGN, ~bits).view(np.float32)
