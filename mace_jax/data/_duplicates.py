"""Exact counts of equal rows, by sorting: O(n log n) comparisons, one sorted copy in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["count_shared_rows", "duplicated_share"]

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
