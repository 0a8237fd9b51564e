"""Distances of all pairs within a radius: proposed by float32 products, measured in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray
from mace_jax.neighbors._pairs import squared_distances

__all__ = ["distances_within"]

_TILE_PAIRS = 1 << 22
_EPS = float(np.finfo(np.float32).eps)


def distances_within(
    records: FloatArray, others: FloatArray, radius: float
) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
    """Rows of ``records`` and distances of the pairs at ``distance <= radius``, tile by tile.

    A product of centered float32 rows errs by at most ``c (|x| + |y|)^2`` with ``c = (d + 8) eps``: sums of d rounded
    products of rounded entries. Pairs it cannot rule out are measured.
    """
    center = np.median(records, axis=0)
    # By a power of two, so that squares of large or tiny values stay in float32's range.
    scale = 2.0 ** -float(np.frexp(max(np.abs(records - center).max(), radius, 1e-300))[1])
    x = ((records - center) * scale).astype(np.float32)
    x_norms = np.linalg.norm(x.astype(np.float64), axis=1)
    rows_per_tile = max(1, _TILE_PAIRS // len(records))
    error = (records.shape[1] + 8) * _EPS
    for start in range(0, len(others), rows_per_tile):
        with np.errstate(over="ignore"):  # what overflows is farther away than any radius
            moved = (others[start : start + rows_per_tile] - center) * scale
            far = np.linalg.norm(moved, axis=1)
        near = np.flatnonzero(far <= (x_norms.max() + radius * scale) * (1 + 1e-6))
        y, y_norms = moved[near].astype(np.float32), far[near]
        squared = x @ y.T
        squared *= np.float32(-2.0)
        squared += (y_norms**2).astype(np.float32)
        # |x|^2 - 2 x.y + |y|^2 <= r^2 + error, with |x| + |y| at most |x| plus the largest |y|.
        reach = x_norms + (y_norms.max() if len(near) else 0.0)
        limit = (radius * scale) ** 2 - x_norms**2 + 4 * error * (reach**2 + (radius * scale) ** 2)
        first, second = np.nonzero(squared <= limit.astype(np.float32)[:, None])
        distances = np.sqrt(squared_distances(records, others, first, start + near[second]))
        inside = distances <= radius
        yield first[inside], distances[inside]
