"""Equal rows, exactly: counts by sorting, and the first row that each row equals by hashing and comparing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["count_shared_rows", "duplicated_share", "first_equal_row", "row_blocks"]

_BLOCK_BYTES = 32 * 2**20


def count_shared_rows(a: Any, b: Any) -> int:
    """Count the rows of ``a`` that occur in ``b``, value for value.

    A row of ``a`` that occurs twice counts twice; ``-0.0`` equals ``0.0``. Memory: one sorted copy of ``b`` and 32 MiB.

    Args:
        a: Records ``(n, d)`` or ``(n,)``.
        b: Records ``(m, d)`` or ``(m,)``.

    Returns:
        A count between 0 and n.

    Raises:
        ValueError: the two have different numbers of columns.

    Example:
        >>> count_shared_rows([[0.0, 1.0], [2.0, 3.0]], [[-0.0, 1.0], [5.0, 5.0]])
        1
    """
    first, second = _validate.as_records(a=a), _validate.as_records(b=b)
    _validate.same_features(a=first, b=second)
    if len(first) == 0 or len(second) == 0:
        return 0
    known = np.sort(_keys(second))
    rows = max(1, _BLOCK_BYTES // (8 * first.shape[1]))
    return sum(_count_known(_keys(first[start : start + rows]), known) for start in range(0, len(first), rows))


def duplicated_share(a: Any) -> float:
    """Share of the rows of ``a`` that have an equal row elsewhere in ``a``; 0.0 without rows.

    Args:
        a: Records ``(n, d)`` or ``(n,)``; ``-0.0`` equals ``0.0``.

    Returns:
        A fraction between 0 and 1.

    Example:
        >>> duplicated_share([1.0, 2.0, 1.0, 3.0])
        0.5
    """
    records = _validate.as_records(a=a)
    if len(records) < 2:
        return 0.0
    ordered = np.sort(_keys(records))
    twin = ordered[1:] == ordered[:-1]
    has_twin = np.zeros(len(ordered), dtype=bool)
    has_twin[1:] |= twin
    has_twin[:-1] |= twin
    return float(np.mean(has_twin))


def first_equal_row(a: Any) -> NDArray[np.int64]:
    """The number of the first row that equals each row of ``a``, value for value.

    A row without an equal before it gets its own number, so ``first_equal_row(a) == arange(n)`` tells whether all rows
    differ. ``-0.0`` equals ``0.0`` and NaN equals NaN. Hashes propose, the values decide. Memory: about 200 bytes per
    row and 64 MiB.

    Args:
        a: Records ``(n, d)`` or ``(n,)``.

    Returns:
        ``(n,)`` row numbers, counted from 0.

    Example:
        >>> first_equal_row([5.0, 7.0, 5.0, 7.0, 1.0]).tolist()
        [0, 1, 0, 1, 4]
    """
    array = _flat(a)
    first = np.arange(len(array))
    seen: dict[bytes, int] = {}
    start = 0
    for block in row_blocks(array):
        for row, values in enumerate(block, start=start):
            first[row] = seen.setdefault(hashlib.blake2b(values.tobytes(), digest_size=16).digest(), row)
        start += len(block)
    suspects = np.flatnonzero(first != np.arange(len(first)))
    step = max(1, _BLOCK_BYTES // (8 * array.shape[1]))
    for low in range(0, len(suspects), step):
        rows = suspects[low : low + step]
        if not np.array_equal(array[rows], array[first[rows]], equal_nan=array.dtype.kind == "f"):
            raise RuntimeError("two different rows have one 128-bit hash; change any value in one of them slightly.")
    return first


def row_blocks(a: Any) -> Iterator[FloatArray]:
    """Some rows of ``a`` at a time as float64, with -0.0 made 0.0 and one kind of NaN."""
    array = _flat(a)
    step = max(1, _BLOCK_BYTES // (8 * array.shape[1]))
    for start in range(0, len(array), step):
        block = array[start : start + step].astype(np.float64) + 0.0
        block[np.isnan(block)] = np.nan
        yield block


def _flat(a: Any) -> NDArray[Any]:
    """Numeric records as ``(n, d)`` in the type they have: float32 images stay small."""
    array = np.asarray(a)
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    if array.dtype.kind not in "biuf" or array.ndim == 0 or width == 0:
        return _validate.as_records(a=a)  # which says what is wrong
    return array.reshape(len(array), width)


def _count_known(keys: np.ndarray, known: np.ndarray) -> int:
    """How many keys occur in the sorted ``known``."""
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return int(np.count_nonzero(known[places] == keys))


def _keys(records: FloatArray) -> np.ndarray:
    """One sortable key per row: the number itself, or the bytes of the row with -0.0 made 0.0."""
    clean = records + 0.0
    if clean.shape[1] == 1:
        return clean[:, 0]
    return clean.view(np.dtype((np.void, clean.itemsize * clean.shape[1])))[:, 0]
