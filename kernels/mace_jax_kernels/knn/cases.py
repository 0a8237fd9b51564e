"""Named inputs shared by tests and benchmarks."""

from __future__ import annotations

import numpy as np

__all__ = ["CASES", "make"]

# name: (queries, reference rows, d, k, kind)
CASES = {
    "single": (1, 1, 3, 1, "normal"),
    "one_query": (1, 300, 16, 5, "normal"),
    "one_feature": (40, 200, 1, 3, "normal"),
    "k_is_n": (7, 30, 4, 30, "normal"),
    "tails": (67, 1025, 12, 5, "normal"),
    "tied": (60, 500, 3, 6, "integer"),
    "all_equal": (9, 100, 5, 4, "constant"),
    "shifted": (50, 400, 16, 5, "shifted"),
    "wide": (33, 700, 128, 10, "normal"),
    "spread_norms": (50, 600, 8, 5, "spread"),
}


def make(name: str, *, dtype=np.float32, seed: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    """``(queries, reference, k)`` of a named case."""
    n, m, d, k, kind = CASES[name]
    rng = np.random.default_rng(seed)
    if kind == "integer":
        rows = rng.integers(0, 6, size=(n + m, d)).astype(dtype)
    elif kind == "constant":
        rows = np.full((n + m, d), 0.1, dtype)
    else:
        rows = rng.standard_normal((n + m, d))
        if kind == "shifted":
            rows += 1e4
        if kind == "spread":
            rows *= np.exp(4 * rng.standard_normal((n + m, 1)))
        rows = rows.astype(dtype)
    return rows[:n], rows[n:], k
