"""The smallest of a long stream of values per query: only values below a falling limit are ever looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUP_LIMIT", "QUERY_LIMIT", "Survivors", "Survived"]

_GROUP_BITS, _VALUE_BITS = 22, 32
GROUP_LIMIT = 1 << _GROUP_BITS
"""Groups that one stream may number."""
QUERY_LIMIT = 1 << (64 - _GROUP_BITS - _VALUE_BITS)
"""Queries that one stream may serve."""
_SIGN = np.int32(-(1 << 31))
_FEWEST = 32


class Survived(NamedTuple):
    """What a stream leaves, in order of (query, value, group)."""

    query: NDArray[np.intp]  # (c,)
    group: NDArray[np.intp]  # (c,)
    limit: NDArray[np.float32]  # (n,) every group that is not listed has a value of at least this


class Survivors:
    """The groups of each of ``n`` queries with values up to the ``k``-th smallest plus ``margin``, ``most`` at most.

    Blocks come in order of group. A block is compared with each query's limit so far; when enough of what is below has
    come together it becomes 64-bit keys (query, value, group), which are sorted and lower the limits.

    Peak memory, in bytes: about ``40 n most``, and nine times the entries of the first block.
    """

    def __init__(self, width: int, k: int, most: int, margin: NDArray[np.float32], limit: NDArray[np.float32]) -> None:
        """For ``n`` queries, of which blocks hold ``width`` columns; the others are padding.

        ``limit (n,)`` is what is looked at to start with, infinite for all.
        """
        if width > QUERY_LIMIT:
            raise ValueError(f"width={width} queries do not fit; pass at most {QUERY_LIMIT} at a time.")
        self._n, self._width, self._k, self._most, self._margin = len(margin), width, k, most, margin
        self._limit = np.full(width, -np.inf, np.float32)
        self._limit[: self._n] = limit
        self._queries = np.arange(self._n, dtype=np.uint64) << np.uint64(_VALUE_BITS + _GROUP_BITS)
        self._keys = np.empty(0, np.uint64)
        self._found: list[tuple[NDArray[np.intp], NDArray[np.float32], int]] = []  # places, values, first group
        self._waiting, self._started = 0, bool(np.isfinite(limit).all())

    def add(self, values: NDArray[np.float32], first_group: int) -> None:
        """A block ``(groups, width)`` whose first row is group ``first_group``; infinite values never enter."""
        if not self._started and len(values) >= self._k:
            self._started = True
            lists = values[:, : self._n].T.copy()  # contiguous
            lists.partition(self._k - 1, axis=1)
            limit = self._limit[: self._n]
            np.minimum(limit, _past(lists[:, self._k - 1] + self._margin), out=limit)
        found = np.flatnonzero(values < self._limit)
        if len(found):
            self._found.append((found, values.ravel().take(found), first_group))
            self._waiting += len(found)
        if self._waiting > self._n * max(_FEWEST, 2 * self._k):
            self._settle()

    def _new_keys(self) -> NDArray[np.uint64]:
        places = np.concatenate([found + first * self._width for found, _, first in self._found])
        group = places // self._width
        key = places - group * self._width  # the query
        key <<= _VALUE_BITS
        key |= _ordered(np.concatenate([values for _, values, _ in self._found]) + np.float32(0))  # no -0.0
        key <<= _GROUP_BITS
        key |= group
        return key.view(np.uint64)

    def _settle(self) -> None:
        """Keys in order; lowers the limits and drops what is above."""
        n, keys = self._n, np.concatenate([self._keys, self._new_keys()]) if self._found else self._keys
        keys.sort()
        starts = np.append(keys.searchsorted(self._queries), len(keys))
        counts, limit = starts[1:] - starts[:-1], self._limit[:n]
        enough = np.flatnonzero(counts >= self._k)
        kth = _values(keys.take(starts.take(enough) + (self._k - 1)))
        limit[enough] = np.minimum(limit.take(enough), _past(kth + self._margin.take(enough)))
        full = np.flatnonzero(counts >= self._most)
        limit[full] = np.minimum(limit.take(full), _values(keys.take(starts.take(full) + (self._most - 1))))
        highest = _ordered(limit).astype(np.uint64) << np.uint64(_GROUP_BITS)
        highest |= self._queries
        highest |= np.uint64(GROUP_LIMIT - 1)
        stay = np.minimum(keys.searchsorted(highest, side="right") - starts[:-1], self._most)
        ends = np.cumsum(stay)
        self._keys = keys.take(np.arange(ends[-1]) + np.repeat(starts[:-1] - (ends - stay), stay))
        self._found, self._waiting = [], 0

    def result(self) -> Survived:
        """All of it."""
        self._settle()
        query = (self._keys >> np.uint64(_VALUE_BITS + _GROUP_BITS)).astype(np.intp)
        group = (self._keys & np.uint64(GROUP_LIMIT - 1)).astype(np.intp)
        return Survived(query, group, self._limit[: self._n])


def _past(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Limits that let equal values pass."""
    return np.nextafter(values, np.float32(np.inf))


def _ordered(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Unsigned numbers in the order of the values."""
    bits = values.view(np.int32)
    return (bits ^ ((bits >> 31) | _SIGN)).view(np.uint32)  # negative numbers upside down


def _values(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    bits = (keys >> np.uint64(_GROUP_BITS)).astype(np.uint32).view(np.int32)
    return (bits ^ (~(bits >> 31) | _SIGN)).view(np.float32)
