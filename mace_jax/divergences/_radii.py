"""What k-nearest-neighbor radii say about densities: log ratios at P rows, ratios at Q rows, common-radius counts."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray
from mace_jax.divergences._pair import Pair
from mace_jax.neighbors import radius_count

__all__ = ["CommonRadius", "common_radius", "log_radius_ratio", "log_unit_ball", "ratio_at_q", "winsorized"]

_TOP = 0.999
_LEAST_K = 3


class CommonRadius(NamedTuple):
    """Rows within the larger of two k-th neighbor radii of each P row, boundary included."""

    radius: FloatArray  # (n,)
    among_p: NDArray[np.int64]  # (n,) without the row itself
    among_q: NDArray[np.int64]
    on_sphere_p: NDArray[np.int64]  # of these, at the radius itself
    on_sphere_q: NDArray[np.int64]


def log_unit_ball(d: int) -> float:
    """Log volume of the unit ball in d dimensions."""
    return 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1.0)


def log_radius_ratio(pair: Pair, k: int) -> FloatArray:
    """``d ln(nu / rho)`` of the P rows."""
    n = pair.n
    return 0.5 * pair.d * (np.log(pair.to_q[:n, k - 1]) - np.log(pair.to_p[:n, k - 1]))


def ratio_at_q(pair: Pair, k: int) -> FloatArray:
    """Density ratio p/q at the Q rows, each row left out of its own density; winsorized, with k of at least 3.

    The factor ``(k - 1) / k`` makes the ratio unbiased where the densities are flat.
    """
    k = min(max(k, _LEAST_K), pair.width)
    n, m = pair.n, pair.m
    log_ratio = 0.5 * pair.d * (np.log(pair.to_q[n:, k - 1]) - np.log(pair.to_p[n:, k - 1]))
    scale = max(k - 1, 0.5) / k * (m - 1) / n
    return winsorized(scale * np.exp(np.minimum(log_ratio, 700.0)))


def winsorized(values: FloatArray) -> FloatArray:
    """Values above the .999 quantile lowered to it."""
    return np.minimum(values, np.quantile(values, _TOP, method="lower"))


def common_radius(pair: Pair, k: int) -> CommonRadius:
    """Counts at the larger radius, read from the lists where these reach far enough, counted anew elsewhere."""
    n = pair.n
    near_p, near_q = np.sqrt(pair.to_p[:n]), np.sqrt(pair.to_q[:n])
    radius = np.maximum(near_p[:, k - 1], near_q[:, k - 1])
    among_p = _within(near_p, radius, pair.p, pair.p, itself=1)
    among_q = _within(near_q, radius, pair.p, pair.q, itself=0)
    inside_p, inside_q = (near_p < radius[:, None]).sum(axis=1), (near_q < radius[:, None]).sum(axis=1)
    # Where the list ends inside the ball, rows beyond it were counted but cannot be told from the sphere: the radius is
    # the k-th distance of the other list then, and a tie across lists is met only where the list reaches the sphere.
    reaches_p, reaches_q = near_p[:, -1] >= radius, near_q[:, -1] >= radius
    sphere_p = np.where(reaches_p, among_p - inside_p, 0)
    sphere_q = np.where(reaches_q, among_q - inside_q, 0)
    return CommonRadius(radius, among_p, among_q, sphere_p, sphere_q)


def _within(
    near: FloatArray, radius: FloatArray, rows: FloatArray, reference: FloatArray, *, itself: int
) -> NDArray[np.int64]:
    counts = (near <= radius[:, None]).sum(axis=1).astype(np.int64)
    full = np.flatnonzero((counts == near.shape[1]) & (counts < len(reference) - itself))
    if len(full):
        counts[full] = radius_count(rows[full], reference, radius[full]) - itself
    return counts
