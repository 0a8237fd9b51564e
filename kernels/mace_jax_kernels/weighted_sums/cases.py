"""Named inputs shared by tests and benchmarks."""

from __future__ import annotations

import numpy as np

__all__ = ["CASES", "make"]

# name: (rows, columns, replicates)
CASES = {
    "one_row": (1, 1, 64),
    "few": (37, 3, 100),
    "two_tiles": (1500, 2, 130),
    "wide": (300, 40, 70),
    "two_chains": (70_000, 1, 64),
}


def make(name: str, *, dtype=np.float32, seed: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    """``(key, values, n_resamples)`` of a named case."""
    n, c, n_resamples = CASES[name]
    rng = np.random.default_rng(seed)
    return rng.integers(2**32, size=2, dtype=np.uint32), rng.standard_normal((n, c)).astype(dtype), n_resamples
