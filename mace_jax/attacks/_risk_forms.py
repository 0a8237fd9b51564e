"""Members and non-members around a value: its nearest calibration values of a class, or its isotonic block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from mace_jax._types import FloatArray
from mace_jax.metrics._calibration import fit_blocks

__all__ = ["Calibration", "isotonic_counts", "neighbor_counts"]

Calibration = tuple[FloatArray, np.ndarray, np.ndarray]
"""Values, the class of each, and whether it is a member's."""


def neighbor_counts(
    calibration: Calibration, values: FloatArray, classes: np.ndarray, n_neighbors: int | None
) -> tuple[FloatArray, FloatArray]:
    """Members and non-members among the nearest calibration values of the class, for each value.

    None takes 2 sqrt(n) neighbors of the n values of the class. Values tied with the last neighbor count by their
    expected share. One sort and binary searches over all classes at once.
    """
    known, of, member = calibration
    order = np.lexsort((known, of))
    known, of = known[order], of[order]
    members_before = np.concatenate([[0.0], np.cumsum(member[order])])
    start, end = np.searchsorted(of, classes, "left"), np.searchsorted(of, classes, "right")
    size = end - start
    k = np.ceil(2.0 * np.sqrt(size)).astype(int) if n_neighbors is None else np.full(len(values), n_neighbors)
    k = np.minimum(k, size)
    last = len(known) - 1
    first = _first(
        lambda i, use: values[use] - known[i] <= known[np.minimum(i + k[use], last)] - values[use], start, end - k
    )
    reach = np.maximum(values - known[first], known[first + k - 1] - values)

    def begin(below: Callable[[FloatArray, FloatArray], np.ndarray]) -> np.ndarray:
        return _first(lambda i, use: below(known[i] - values[use], reach[use]), start, end)

    tied_from, tied_to = begin(lambda gap, far: -gap <= far), begin(lambda gap, far: gap > far)
    inside_to = begin(lambda gap, far: gap >= far)
    inside_from = np.minimum(begin(lambda gap, far: -gap < far), inside_to)  # nothing is inside where reach is 0
    inside = members_before[inside_to] - members_before[inside_from]
    tied = members_before[tied_to] - members_before[tied_from] - inside
    n_inside = inside_to - inside_from
    n_tied = tied_to - tied_from - n_inside
    found = inside + tied * (k - n_inside) / np.maximum(n_tied, 1)
    return found, np.maximum(k - found, 0.0)


def isotonic_counts(
    calibration: Calibration, values: FloatArray, classes: np.ndarray, *, increasing: bool
) -> tuple[FloatArray, FloatArray]:
    """Members and non-members in the block of each value, of the monotone share of members fitted to its class."""
    known, of, member = calibration
    sign = 1.0 if increasing else -1.0
    members, nonmembers = np.empty((2, len(values)))
    for one in np.unique(classes):
        fit, use = of == one, classes == one
        blocks = fit_blocks(sign * known[fit], member[fit].astype(np.float64))
        block = blocks.of(sign * values[use])
        members[use], nonmembers[use] = blocks.members[block], blocks.nonmembers[block]
    return members, nonmembers


def _first(
    holds: Callable[[np.ndarray, np.ndarray], np.ndarray], low: Int[np.ndarray, " n"], high: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """The first index from ``low`` at which a predicate that never turns false again holds; ``high`` if none."""
    low, high = low.copy(), high.copy()
    while (open_ := np.flatnonzero(low < high)).size:
        middle = (low[open_] + high[open_]) // 2
        yes = holds(middle, open_)
        high[open_[yes]] = middle[yes]
        low[open_[~yes]] = middle[~yes] + 1
    return low
