"""Named inputs shared by tests and benchmarks."""

from __future__ import annotations

import numpy as np

from mace_jax_kernels.mixed_knn.api import Terms

__all__ = ["CASES", "make"]

# name: (queries, reference rows, number columns, code columns, block, share of gaps, caps, equal weights)
CASES = {
    "single": (1, 1, 1, 1, 1, 0.0, False, True),
    "numbers_only": (20, 300, 5, 0, 16, 0.0, False, True),
    "codes_only": (20, 300, 0, 7, 16, 0.0, False, True),
    "adult": (70, 1500, 6, 8, 2, 0.0, False, True),
    "gaps": (33, 700, 4, 3, 8, 0.2, False, True),
    "capped": (33, 700, 4, 3, 8, 0.1, True, True),
    "weighted": (33, 700, 4, 3, 8, 0.1, True, False),
    "wide": (9, 100, 40, 140, 4, 0.0, False, True),
    "wide_weighted": (9, 100, 40, 40, 4, 0.1, False, False),
}


def make(name: str, *, seed: int = 0) -> tuple[tuple, tuple, Terms, int]:
    """``(query arrays, reference arrays, terms, block)`` of a named case."""
    n, m, a, c, block, gaps, capped, equal = CASES[name]
    rng = np.random.default_rng(seed)
    numbers = rng.random((n + m, a), np.float32)
    numbers[rng.random((n + m, a)) < gaps] = np.nan
    codes = rng.integers(-1 if gaps else 0, 5, (n + m, c)).astype(np.int16)
    terms = Terms(
        np.full(a, 0.4 if capped else np.inf, np.float32),
        np.full(a, 0.25, np.float32),
        np.ones(a, np.float32),
        np.ones(c, np.float32) if equal else rng.random(c, np.float32) + np.float32(0.5),
    )
    return (numbers[:n], codes[:n]), (numbers[n:], codes[n:]), terms, block
