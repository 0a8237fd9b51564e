"""The Frechet distance of two sets of records, each taken as a normal distribution."""

from __future__ import annotations

import dataclasses
from typing import Any, final

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.utility._records import Features, pair

__all__ = ["FrechetDistance", "frechet_distance"]


@final
@dataclasses.dataclass(frozen=True)
class FrechetDistance:
    """Squared Frechet (2-Wasserstein) distance of the normal laws with the moments of both sets.

    Attributes:
        value: The squared distance, in squared units of the features.
        mean_term: Part of it that is due to the means.
        covariance_term: The rest, due to the covariances.
        n_real: Real records.
        n_synthetic: Synthetic records.
        dimension: Number of features.
    """

    value: float
    mean_term: float
    covariance_term: float
    n_real: int
    n_synthetic: int
    dimension: int

    @property
    def summary(self) -> str:
        """One line for a report."""
        return (
            f"Frechet distance {self.value:.6g} (means {self.mean_term:.6g}, covariances {self.covariance_term:.6g}) "
            f"in {self.dimension} features of {self.n_real} real and {self.n_synthetic} synthetic records"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)


def frechet_distance(real: Any, synthetic: Any, *, features: Features | None = None) -> FrechetDistance:
    """``|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))`` with means m and covariances C of both sets.

    The trace of the root is the sum of the singular values of ``C^(1/2) C'^(1/2)``, so no root of an asymmetric matrix
    is taken and singular covariances need no special case. The estimate is biased upwards by sampling, more so for
    fewer records: two samples of one law are at a positive distance. Compare only values of equal record
    numbers, and beside the distance of two sets of real records. There is no interval for that reason.

    Args:
        real: Real records ``(n, d)``, n at least 2, preferably many times the number of features.
        synthetic: Synthetic records ``(s, d)``.
        features: A function of records such as ``ClassifierFeatures.fit(...)``; None compares the records as they are.

    Returns:
        The squared distance with its two terms.

    Raises:
        TypeError: records are not numeric, or ``features`` is no function.
        ValueError: NaN, fewer than 2 rows, or different widths.

    References:
        Dowson and Landau (1982), The Frechet distance between multivariate normal distributions; Heusel et al. (2017),
        GANs trained by a two time-scale update rule. Chong and Forsyth (2020) on the bias.

    Example:
        >>> found = frechet_distance([[0.0], [2.0]], [[4.0], [10.0]])
        >>> found.mean_term, round(found.covariance_term, 12)
        (36.0, 8.0)
    """
    x, y = pair(real, synthetic, 2, features)
    mean_term = float(np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2))
    (first, trace), (second, other) = _root(x), _root(y)
    overlap = float(np.linalg.svd(first @ second, compute_uv=False).sum())
    covariance_term = max(0.0, trace + other - 2.0 * overlap)
    return FrechetDistance(mean_term + covariance_term, mean_term, covariance_term, len(x), len(y), x.shape[1])


def _root(records: FloatArray) -> tuple[FloatArray, float]:
    """The symmetric root of the covariance (divisor n - 1), and the trace of the covariance."""
    centered = records - records.mean(axis=0)
    covariance = centered.T @ centered / (len(records) - 1)
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T, float(np.trace(covariance))
