"""Compiled functions of rows applied to many rows, in blocks of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BLOCK", "in_blocks"]

BLOCK = 256
"""Rows per call; it bounds memory and fixes every matrix shape."""


def in_blocks(apply: Any, *rows: np.ndarray, size: int = BLOCK) -> np.ndarray:
    """``apply`` to blocks of ``size`` rows; the last block repeats its last row and drops the results.

    Every call has the same shapes, so a row's result does not depend on how many rows came with it.
    """
    n = len(rows[0])
    results = []
    for start in range(0, n, size):
        places = np.minimum(np.arange(start, start + size), n - 1)
        block = np.asarray(apply(*(array[places] for array in rows)))
        results.append(block[: n - start])
    return np.concatenate(results)
