"""Records with copies: repeated ones are cells, the others one more cell that is compared by distance inside."""

from __future__ import annotations

import math

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.divergences import _cells
from mace_jax.divergences._alpha import power_terms
from mace_jax.divergences._kl import RadiusTerms, common_radius_terms
from mace_jax.divergences._pair import Pair, searched_pair
from mace_jax.divergences._radii import ratio_at_q

__all__ = ["atoms_and_rest", "atoms_and_rest_power"]

_LEAST = 10


def atoms_and_rest(pair: Pair, k: int) -> tuple[RadiusTerms, float, _cells.CellCounts]:
    """Log ratio at P rows and ratio at Q rows, the second-order bias of the cell part, and the cells.

    By the chain rule the divergence is that of the cell frequencies (all unrepeated records being one cell) plus the
    share of that cell times the divergence inside it.
    """
    cells, rest = _split(pair, k)
    p, q = cells.shares(smoothed=True)
    log_ratio = (np.log(p) - np.log(q))[cells.of_p]
    ratio = (p / q)[cells.of_q]
    bias = _cells.evaluate(cells, _cells.KL).bias
    if rest is not None:
        in_p, in_q, inner = rest
        log_ratio[in_p] += common_radius_terms(inner, k)
        ratio[in_q] *= ratio_at_q(inner, k)
    return RadiusTerms(log_ratio, ratio), bias, cells


def atoms_and_rest_power(pair: Pair, k: int, order: float) -> tuple[FloatArray, FloatArray, float, _cells.CellCounts]:
    """``(p/q)^(order - 1)`` at P rows, ``p/q`` at Q rows, the bias of the cell part of the mean, and the cells."""
    cells, rest = _split(pair, k)
    p, q = cells.shares(smoothed=True)
    terms = np.exp((order - 1.0) * (np.log(p) - np.log(q)))[cells.of_p]
    ratio = (p / q)[cells.of_q]
    bias = _cells.evaluate(cells, _cells.power(order)).bias
    if rest is not None:
        in_p, in_q, inner = rest
        terms[in_p] *= power_terms(inner, k, order)
        ratio[in_q] *= ratio_at_q(inner, k)
    return terms, ratio, bias, cells


def _split(pair: Pair, k: int) -> tuple[_cells.CellCounts, tuple[np.ndarray, np.ndarray, Pair] | None]:
    """Cells of repeated records and one of all others, and the pair of these others if there are enough of them."""
    copied_p, copied_q = pair.copied[: pair.n], pair.copied[pair.n :]
    counted = _cells.count_cells(pair.p[copied_p], pair.q[copied_q])
    alone_p, alone_q = np.flatnonzero(~copied_p), np.flatnonzero(~copied_q)
    of_p, of_q = np.full(pair.n, len(counted.in_p)), np.full(pair.m, len(counted.in_p))
    of_p[copied_p], of_q[copied_q] = counted.of_p, counted.of_q
    extra = 1 if len(alone_p) + len(alone_q) else 0
    size = len(counted.in_p) + extra
    cells = _cells.CellCounts(np.bincount(of_p, minlength=size), np.bincount(of_q, minlength=size), of_p, of_q)
    least = max(_LEAST, k + 2)
    if min(len(alone_p), len(alone_q)) < least:
        return cells, None
    inner = searched_pair(pair.p[alone_p], pair.q[alone_q], k, neighbors=None, wider=math.ceil(k) + 5)
    return cells, (alone_p, alone_q, inner)
