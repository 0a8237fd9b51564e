"""Precision, recall, density and coverage: do the synthetic records lie where the real ones do, and everywhere?"""

from __future__ import annotations

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._types import FloatArray
from mace_jax.neighbors import knn, radius_count
from mace_jax.utility._records import Features, pair

__all__ = ["PrecisionRecall", "precision_recall_density_coverage"]

_MARGIN = 64.0  # multiples of the rounding unit, per feature
_BLOCK_ENTRIES = 1 << 21


@final
@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """How well two sets of records cover each other; balls reach to the k-th neighbor within the own set.

    Attributes:
        precision: Share of the synthetic records in the ball of some real record.
        recall: Share of the real records in the ball of some synthetic record.
        density: Real balls that a synthetic record lies in, on average, over k; about 1 for equal laws, may be above.
        coverage: Share of the real records whose ball holds a synthetic record.
        precision_interval: Exact limits for these real records and any number of synthetic ones.
        recall_interval: Exact limits for these synthetic records and any number of real ones.
        confidence: Of each interval.
        expected_coverage: Mean of coverage if both sets came from one continuous law.
        k: The neighbor.
        n_real: Real records.
        n_synthetic: Synthetic records.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    precision_interval: tuple[float, float]
    recall_interval: tuple[float, float]
    confidence: float
    expected_coverage: float
    k: int
    n_real: int
    n_synthetic: int

    @property
    def summary(self) -> str:
        """One line for a report."""
        return (
            f"precision {self.precision:.4f}, recall {self.recall:.4f}, density {self.density:.4f}, coverage "
            f"{self.coverage:.4f} (k={self.k}, {self.n_real} real, {self.n_synthetic} synthetic; coverage of equal "
            f"laws {self.expected_coverage:.4f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def precision_recall_density_coverage(
    real: Any,
    synthetic: Any,
    *,
    k: int = 5,
    features: Features | None = None,
    confidence: float = 0.95,
) -> PrecisionRecall:
    """Fidelity and variety of synthetic records from nearest neighbors.

    With ``r(x)`` the distance of a record to its k-th neighbor within its own set (itself left out), and closed balls
    ``B(x) = {z : |z - x| <= r(x)}``: precision is the share of synthetic records in the union of the real balls, recall
    the share of real records in the union of the synthetic balls, density ``sum over real x of #{synthetic in B(x)} /
    (k s)``, coverage the share of real ``x`` with a synthetic record in ``B(x)``. Two sets of one continuous law of n
    and s records have an expected coverage of ``1 - prod_{i=1..k} (n - i) / (n + s - i)``.

    The union of balls of different radii needs no table of all distances: with ``R`` the largest radius, ``z`` is in a
    ball if and only if its nearest neighbor among the points ``(x, sqrt(R^2 - r(x)^2))`` is within ``R`` of ``(z, 0)``.
    Records too close to the edge for rounding to tell are decided by their distances themselves. Memory: that of
    ``mace_jax.neighbors.knn``, and 16 MiB.

    Args:
        real: Real records ``(n, d)``, more than ``k``.
        synthetic: Synthetic records ``(s, d)``, more than ``k``.
        k: Neighbor that a ball reaches to.
        features: A function of records such as ``ClassifierFeatures.fit(...)``; None compares the records as they are.
        confidence: Of the intervals of precision and recall, in (0, 1).

    Returns:
        The four values.

    Raises:
        TypeError: records are not numeric, or ``k`` is not an integer.
        ValueError: NaN, different widths, or no more than ``k`` records.

    References:
        Kynkaanniemi et al. (2019), Improved precision and recall metric for assessing generative models. Naeem et al.
        (2020), Reliable fidelity and diversity metrics for generative models (whose balls are open; here closed, as in
        the former).

    Example:
        >>> found = precision_recall_density_coverage([[0.0], [1.0], [2.0]], [[0.5], [1.5], [9.0]], k=1)
        >>> round(found.precision, 3), found.recall, round(found.density, 3), found.coverage
        (0.667, 1.0, 1.333, 1.0)
    """
    k = _validate.positive_int(k=k)
    confidence = _validate.in_open_unit(confidence=confidence)
    x, y = pair(real, synthetic, k + 1, features)
    real_radius, synthetic_radius = (
        knn(part, part, k, exclude_self=True).distances[:, -1].astype(np.float64) for part in (x, y)
    )
    counts = radius_count(x, y, real_radius)
    inside_real = int(_in_union(y, x, real_radius).sum())
    inside_synthetic = int(_in_union(x, y, synthetic_radius).sum())
    n, s = len(x), len(y)
    steps = np.arange(1, k + 1)
    return PrecisionRecall(
        precision=inside_real / s,
        recall=inside_synthetic / n,
        density=float(counts.sum() / (k * s)),
        coverage=float(np.mean(counts > 0)),
        precision_interval=_limits(inside_real, s, confidence),
        recall_interval=_limits(inside_synthetic, n, confidence),
        confidence=confidence,
        expected_coverage=float(1.0 - np.prod((n - steps) / (n + s - steps))),
        k=k,
        n_real=n,
        n_synthetic=s,
    )


def _limits(hits: int, total: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson limits of a share."""
    error = (1.0 - confidence) / 2.0
    return float(clopper_pearson_lower(hits, total, error)), float(clopper_pearson_upper(hits, total, error))


def _in_union(points: FloatArray, centers: FloatArray, radius: FloatArray) -> NDArray[np.bool_]:
    """Whether each point lies in the closed ball of some center: one nearest-neighbor search in one dimension more."""
    middle = centers.mean(axis=0)  # squares of centered numbers round less
    largest = float(radius.max())
    height = np.sqrt((largest - radius) * (largest + radius))
    lifted = np.column_stack([centers - middle, height])
    nearest = knn(np.column_stack([points - middle, np.zeros(len(points))]), lifted, 1)
    squared = np.asarray(nearest.squared_distances[:, 0], np.float64)
    # What rounding can do: to coordinates by their size, to the sum of squares by its terms.
    size = max(float(np.abs(lifted).max()), float(np.abs(points - middle).max()))
    unit = _MARGIN * lifted.shape[1] * np.finfo(np.float64).eps
    margin = unit * (largest**2 + size * np.sqrt(np.maximum(squared, largest**2)))
    inside = squared <= largest**2
    unclear = np.flatnonzero(np.abs(squared - largest**2) <= margin)
    step = max(1, _BLOCK_ENTRIES // centers.shape[1])
    for row in unclear:
        inside[row] = any(
            (np.sqrt(((centers[low : low + step] - points[row]) ** 2).sum(axis=1)) <= radius[low : low + step]).any()
            for low in range(0, len(centers), step)
        )
    return inside
