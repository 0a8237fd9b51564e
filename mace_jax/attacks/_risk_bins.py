"""Histograms of members' and non-members' values, class by class, in bins of each class's own."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from mace_jax._types import FloatArray

__all__ = ["ClassBins", "class_bins", "nearest_filled"]

_FLOOR = 1e-10  # of calibration values before logarithms


@dataclasses.dataclass(frozen=True, eq=False)
class ClassBins:
    """Edges and counts of C classes, and in the last row of all classes together; K bins each.

    Bins are closed on the left, the last one on both sides. ``dropped`` counts calibration values in no bin, which
    happens with ``parity`` alone: computed end edges may lie inside of the values they were computed from.
    """

    edges: FloatArray  # (C + 1, K + 1) ascending
    members: FloatArray  # (C + 1, K) counts
    nonmembers: FloatArray
    n_members: FloatArray  # (C + 1,) calibration rows, dropped ones included
    n_nonmembers: FloatArray
    dropped: np.ndarray  # (C + 1,)

    @property
    def absent(self) -> Bool[np.ndarray, " C"]:
        """Classes without calibration rows on one side, or on both."""
        return ((self.n_members == 0) | (self.n_nonmembers == 0))[:-1]

    def place(self, row: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The bin of each value among those of its row; values outside of the edges go to the end bins."""
        return _place(self.edges, row, values)


def class_bins(
    member_values: FloatArray,
    member_codes: np.ndarray,
    nonmember_values: FloatArray,
    nonmember_codes: np.ndarray,
    n_classes: int,
    *,
    bins: int,
    log: bool,
    parity: bool,
) -> ClassBins:
    """Equally spaced edges, on a log axis or not, from the least to the largest value of each class, and counts.

    The end edges are these two values themselves, unless ``parity`` keeps what rounding made of them.
    """
    values = np.concatenate([member_values, nonmember_values])
    codes = np.concatenate([member_codes, nonmember_codes])
    member = np.arange(len(values)) < len(member_values)
    if log:
        values = np.maximum(values, _FLOOR)
    edges = _edges(values, codes, n_classes, bins=bins, log=log, parity=parity)
    members, nonmembers = np.zeros((2, n_classes + 1, bins))
    dropped = np.zeros(n_classes + 1, int)
    for rows in (codes, np.full_like(codes, n_classes)):  # once by class, once pooled
        place, kept = _place(edges, rows, values), np.ones(len(values), bool)
        if parity:
            place = _bins_begun(edges, rows, values)
            kept = (values >= edges[rows, 0]) & (values <= edges[rows, -1])
        cell = rows * bins + place
        for counts, side in ((members, member), (nonmembers, ~member)):
            counts += np.bincount(cell[side & kept], minlength=counts.size).reshape(counts.shape)
        dropped += np.bincount(rows[~kept], minlength=len(dropped))
    sizes = [np.bincount(own, minlength=n_classes) for own in (member_codes, nonmember_codes)]
    n_members, n_nonmembers = (np.append(size, size.sum()).astype(np.float64) for size in sizes)
    return ClassBins(edges, members, nonmembers, n_members, n_nonmembers, dropped)


def nearest_filled(filled: Bool[np.ndarray, "rows K"]) -> Int[np.ndarray, "rows K"]:
    """For each bin the nearest filled one of its row, the left one first at each distance; -1 in rows of none."""
    n_bins = filled.shape[1]
    found = np.where(filled, np.arange(n_bins), -1)
    for distance in range(1, n_bins):
        for step in (-distance, distance):
            there = np.arange(n_bins) + step
            valid = (there >= 0) & (there < n_bins)
            use = (found < 0) & valid & filled[:, np.clip(there, 0, n_bins - 1)]
            found = np.where(use, there, found)
    return found


def _place(edges: FloatArray, row: np.ndarray, values: FloatArray) -> np.ndarray:
    below = (values <= edges[row, 0]) & (values < edges[row, -1])
    return np.where(below, 0, _bins_begun(edges, row, values))


def _bins_begun(edges: FloatArray, row: np.ndarray, values: FloatArray) -> np.ndarray:
    """How many inner edges are at or below each value; one bin at a time, so that memory stays at O(n)."""
    place = np.zeros(len(values), int)
    for inner in edges.T[1:-1]:
        place += values >= inner[row]
    return place


def _edges(values: FloatArray, codes: np.ndarray, n_classes: int, *, bins: int, log: bool, parity: bool) -> FloatArray:
    low, high = np.full(n_classes + 1, values.min()), np.full(n_classes + 1, values.max())
    seen = np.unique(codes)
    low[seen], high[seen] = np.inf, -np.inf  # a class without rows keeps the range of all
    np.minimum.at(low, codes, values)
    np.maximum.at(high, codes, values)
    if parity:  # one class at a time, as rounding depends on it
        spread = [_spaced(a, b, bins, log) for a, b in zip(low, high, strict=True)]
        return np.stack(spread)
    edges = np.clip(_spaced(low, high, bins, log).T, low[:, None], high[:, None])
    edges[:, 0], edges[:, -1] = low, high
    return edges


def _spaced(low: FloatArray, high: FloatArray, bins: int, log: bool) -> FloatArray:
    return np.logspace(np.log10(low), np.log10(high), bins + 1) if log else np.linspace(low, high, bins + 1)
