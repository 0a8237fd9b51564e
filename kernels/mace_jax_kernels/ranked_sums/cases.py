"""Named inputs shared by tests and benchmarks."""

from __future__ import annotations

import numpy as np

__all__ = ["CASES", "make"]

# name: (members, nonmembers, kind)
CASES = {
    "single": (1, 1, "normal"),
    "one_member": (1, 90, "normal"),
    "one_nonmember": (90, 1, "normal"),
    "one_tile": (30, 34, "normal"),
    "tails": (67, 150, "normal"),
    "unequal": (20, 230, "normal"),
    "tied": (120, 130, "integer"),
    "two_values": (100, 130, "binary"),
    "all_equal": (70, 80, "constant"),
    "separated": (80, 80, "separated"),
    "reversed": (80, 80, "reversed"),
}


def make(name: str, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``(members, nonmembers)`` of a named case, float64."""
    n, m, kind = CASES[name]
    rng = np.random.default_rng(seed)
    members, nonmembers = rng.normal(1.0, 1.0, n), rng.normal(0.0, 1.0, m)
    if kind == "integer":
        return np.round(2.0 * members), np.round(2.0 * nonmembers)
    if kind == "binary":
        return (members > 0).astype(float), (nonmembers > 0).astype(float)
    if kind == "constant":
        return np.ones(n), np.ones(m)
    shift = {"separated": 100.0, "reversed": -100.0}.get(kind, 0.0)
    return members + shift, nonmembers
