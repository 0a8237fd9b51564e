"""Divergences of two discrete laws from counts of equal records, with their second-order bias."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mace_jax._status import Status
from mace_jax._types import FloatArray

__all__ = ["CellCounts", "CellForm", "cell_hockey_stick", "cell_total_variation_limits", "count_cells", "evaluate"]

_FEW_PER_CELL = 20


@dataclasses.dataclass(frozen=True, eq=False)
class CellCounts:
    """How often each distinct record occurs in either sample, and the cell of every row."""

    in_p: NDArray[np.int64]  # (K,)
    in_q: NDArray[np.int64]
    of_p: NDArray[np.int64]  # (n,)
    of_q: NDArray[np.int64]

    def shares(self, *, smoothed: bool) -> tuple[FloatArray, FloatArray]:
        """Frequencies; ``smoothed`` adds half a record to every cell if some cell is empty."""
        extra = 0.5 if smoothed and min(self.in_p.min(), self.in_q.min()) == 0 else 0.0
        p, q = self.in_p + extra, self.in_q + extra
        return p / p.sum(), q / q.sum()

    @property
    def status(self) -> Status:
        mean = (self.in_p.sum() + self.in_q.sum()) / len(self.in_p)
        return Status.SPARSE_CELLS if mean < _FEW_PER_CELL else Status.OK


class CellForm(NamedTuple):
    """A divergence of two vectors of frequencies: value, derivatives in p and q, second derivatives (diagonal)."""

    divergence: Callable[[FloatArray, FloatArray], tuple[float, FloatArray, FloatArray, FloatArray, FloatArray]]
    smoothed: bool


class CellValue(NamedTuple):
    """Plug-in value, its second-order bias, and influence values (not centered)."""

    plug_in: float
    bias: float
    influence: tuple[FloatArray, FloatArray]


def count_cells(p: FloatArray, q: FloatArray) -> CellCounts:
    """Cells are distinct records, value for value; ``-0.0`` equals ``0.0``."""
    pooled = np.concatenate([p, q]) + 0.0
    if pooled.shape[1] == 1:
        keys = pooled[:, 0]
    else:
        keys = pooled.view(np.dtype((np.void, pooled.itemsize * pooled.shape[1])))[:, 0]
    _, cell = np.unique(keys, return_inverse=True)
    size = int(cell.max()) + 1
    of_p, of_q = cell[: len(p)], cell[len(p) :]
    return CellCounts(np.bincount(of_p, minlength=size), np.bincount(of_q, minlength=size), of_p, of_q)


def evaluate(cells: CellCounts, form: CellForm) -> CellValue:
    """The plug-in with its bias ``sum of second derivative * frequency * (1 - frequency) / (2 rows)``."""
    p, q = cells.shares(smoothed=form.smoothed)
    value, by_p, by_q, by_pp, by_qq = form.divergence(p, q)
    n, m = len(cells.of_p), len(cells.of_q)
    bias = 0.5 * float((by_pp * p * (1.0 - p)).sum() / n + (by_qq * q * (1.0 - q)).sum() / m)
    return CellValue(float(value), bias, (by_p[cells.of_p], by_q[cells.of_q]))


def _kl(p: FloatArray, q: FloatArray):
    log_ratio = np.log(p) - np.log(q)
    return (p * log_ratio).sum(), log_ratio, -p / q, 1.0 / p, p / q**2


def power(order: float) -> CellForm:
    """Sum of ``p^order q^(1 - order)``."""

    def divergence(p: FloatArray, q: FloatArray):
        ratio = p / q
        terms = ratio**order * q
        curved = order * (order - 1.0) * terms
        by_p, by_q = order * ratio ** (order - 1.0), (1.0 - order) * ratio**order
        return terms.sum(), by_p, by_q, curved / p**2, curved / q**2

    return CellForm(divergence, smoothed=True)


def _jensen_shannon(p: FloatArray, q: FloatArray):
    s = 0.5 * (p + q)

    def log_share(x: FloatArray) -> FloatArray:
        return np.log(np.where(x > 0.0, x / s, 1.0))

    def curve(x: FloatArray) -> FloatArray:
        return np.where(x > 0.0, 0.5 / np.where(x > 0.0, x, 1.0) - 0.25 / s, 0.0)

    by_p, by_q = 0.5 * log_share(p), 0.5 * log_share(q)
    return (p * by_p + q * by_q).sum(), by_p, by_q, curve(p), curve(q)


def _henze_penrose(p: FloatArray, q: FloatArray):
    s = 0.5 * (p + q)
    by_p, by_q = -0.5 * (q / s) ** 2, -0.5 * (p / s) ** 2
    return 1.0 - (p * q / s).sum(), by_p, by_q, 0.5 * q**2 / s**3, 0.5 * p**2 / s**3


def _total_variation(p: FloatArray, q: FloatArray):
    side, none = 0.5 * np.sign(p - q), np.zeros_like(p)
    return (side * (p - q)).sum(), side, -side, none, none


KL = CellForm(_kl, smoothed=True)
JENSEN_SHANNON = CellForm(_jensen_shannon, smoothed=False)
HENZE_PENROSE = CellForm(_henze_penrose, smoothed=False)
TOTAL_VARIATION = CellForm(_total_variation, smoothed=False)


def cell_hockey_stick(cells: CellCounts, epsilon: FloatArray) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Sum of positive parts of ``p - exp(epsilon) q`` for every epsilon, with influence values (not centered)."""
    p, q = cells.shares(smoothed=False)
    factor = np.exp(epsilon)[:, None]
    inside = (p > factor * q).astype(np.float64)
    value = (inside * (p - factor * q)).sum(axis=1)
    return value, (inside[:, cells.of_p], -factor * inside[:, cells.of_q])


def cell_total_variation_limits(cells: CellCounts, value: float, confidence_level: float) -> dict[str, float]:
    """Null mean, largest bias, and McDiarmid limits of total variation over the cells that were seen.

    One record moves the estimate by at most 1/n or 1/m. The upper limit needs no bias term (Jensen); the lower one
    subtracts ``sqrt((K - 1) (1/n + 1/m)) / 2``.
    """
    p, q = cells.shares(smoothed=False)
    n, m = len(cells.of_p), len(cells.of_q)
    each = 0.5 * float(np.sqrt(p * (1.0 - p) / n + q * (1.0 - q) / m).sum())
    most = 0.5 * math.sqrt((len(p) - 1) * (1.0 / n + 1.0 / m))
    spread = math.sqrt(0.5 * (1.0 / n + 1.0 / m) * math.log(2.0 / (1.0 - confidence_level)))
    pool = (cells.in_p + cells.in_q) / (n + m)
    null = 0.5 * math.sqrt(2.0 / math.pi) * float(np.sqrt(pool * (1.0 - pool) * (1.0 / n + 1.0 / m)).sum())
    return {
        "null_mean": null,
        "bias_at_most": min(each, most),
        "low": max(0.0, value - most - spread),
        "high": min(1.0, value + spread),
        "confidence_level": confidence_level,
        "n_cells": float(len(p)),
    }
