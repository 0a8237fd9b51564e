"""Named inputs shared by tests and benchmarks."""

from __future__ import annotations

import numpy as np

__all__ = ["CASES", "make"]

# name: (rows, columns, k, number of distinct values or 0 for continuous)
CASES = {
    "one_row": (1, 700, 1, 0),
    "k_is_n": (3, 9, 9, 4),
    "plain_top_k": (5, 256, 16, 0),
    "blocks": (8, 8192, 16, 0),
    "blocks_tied": (8, 8192, 16, 7),
    "blocks_with_tail": (4, 5003, 5, 40),
    "all_equal": (2, 4096, 8, 1),
    "tile": (64, 65536, 16, 0),
}


def make(name: str, *, dtype=np.float32, seed: int = 0) -> tuple[np.ndarray, int]:
    """``(values, k)`` of a named case."""
    rows, columns, k, distinct = CASES[name]
    rng = np.random.default_rng(seed)
    shape = (rows, columns)
    values = rng.integers(distinct, size=shape) if distinct else rng.standard_normal(shape)
    return values.astype(dtype), k
