"""Named inputs shared by tests and benchmarks."""

from __future__ import annotations

import numpy as np

__all__ = ["CASES", "make"]

# name: (queries, reference rows, d, bandwidths, kind)
CASES = {
    "single": (1, 1, 3, (1.0,), "normal"),
    "one_feature": (40, 200, 1, (0.1, 1.0), "normal"),
    "tails": (67, 1025, 12, (0.5, 1.0, 3.0), "normal"),
    "eight": (33, 300, 8, (0.3, 2.0), "normal"),
    "all_equal": (9, 100, 5, (1e-3, 1.0), "constant"),
    "shifted": (50, 400, 6, (0.2, 1.0), "shifted"),
    "shifted_wide": (50, 400, 20, (0.2, 1.0), "shifted"),
    "wide": (33, 700, 128, (1.0, 8.0), "normal"),
    "tiny_bandwidth": (30, 500, 4, (1e-6, 1e-3), "normal"),
    "far_queries": (20, 300, 10, (1.0,), "far"),
}


def make(name: str, *, dtype=np.float32, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(queries, reference, inverse bandwidths)`` of a named case."""
    n, m, d, bandwidths, kind = CASES[name]
    rng = np.random.default_rng(seed)
    rows = np.full((n + m, d), 0.1) if kind == "constant" else rng.standard_normal((n + m, d))
    if kind == "shifted":
        rows += 1e4
    if kind == "far":
        rows[:n] += 1e6
    rows = rows.astype(dtype)
    return rows[:n], rows[n:], (1 / np.array(bandwidths)).astype(dtype)
