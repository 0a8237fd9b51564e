"""reliability: do records with posterior p turn out to be members a share p of the time?"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["Reliability", "reliability"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Reliability:
    """Predicted against observed shares of members in bins of the posterior; empty bins are left out.

    ``ece`` is the sum over bins of weight times |observed - predicted|, which is above 0 by chance alone;
    ``ece_debiased`` subtracts what chance adds, and ``low`` and ``high`` bound the error of these bins.
    """

    edges: FloatArray  # (b, 2) lower and upper edge of each bin
    predicted: FloatArray  # (b,) mean posterior
    observed: FloatArray  # (b,) share of members at the prior
    standard_error: FloatArray  # (b,) of observed - predicted
    weight: FloatArray  # (b,) of the mixture at the prior, summing to 1
    n_members: FloatArray  # (b,) counts
    n_nonmembers: FloatArray
    prior: float
    ece: float
    ece_debiased: float
    low: float
    high: float
    confidence_level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    def __repr__(self) -> str:
        return (
            f"Reliability(ece={self.ece:.4f}, ece_debiased={self.ece_debiased:.4f}, "
            f"interval=[{self.low:.4f}, {self.high:.4f}], bins={len(self.weight)})"
        )


def reliability(
    posterior: ArrayLike,
    labels: ArrayLike,
    *,
    n_bins: int = 10,
    prior: float = 0.5,
    confidence_level: float = 0.95,
) -> Reliability:
    """Compare membership posteriors with what came true, in bins of equal width.

    Members weigh prior / n1 and non-members (1 - prior) / n0, so that shares are those at ``prior`` whatever the class
    sizes. ECE = sum_b w_b |observed_b - predicted_b|.

    Args:
        posterior: P(member | output) at ``prior``, ``(n,)``, of records the rule was not fitted on.
        labels: 1 for members, 0 for non-members, ``(n,)``.
        n_bins: Number of bins on [0, 1].
        prior: At which the posteriors are stated.
        confidence_level: Of the limits of the calibration error.

    Returns:
        Bins, calibration error, its debiased form |gap| - (E|N(gap, se)| - |gap|), and limits.

    Raises:
        ValueError: posteriors outside [0, 1], labels other than 0 and 1, a class without records.

    The limits are ECE minus and plus the upper quantile of sum_b w_b |error_b|, errors independent and normal, which
    bounds the error of ECE by the triangle inequality: conservative, and about these bins. Averaging inside a bin hides
    miscalibration that cancels there.

    References: Naeini, Cooper and Hauskrecht (2015); Kumar, Liang and Ma (2019) for the debiasing.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> eta = rng.random(10_000)
        >>> reliability(eta, rng.random(10_000) < eta).ece < 0.02
        True
    """
    eta = np.asarray(posterior, dtype=np.float64).reshape(-1)
    truth = np.asarray(labels).reshape(-1)
    n_bins = _validate.positive_int(n_bins=n_bins)
    prior = _validate.in_open_unit(prior=prior)
    error = 1.0 - _validate.in_open_unit(confidence_level=confidence_level)
    if eta.shape != truth.shape:
        raise ValueError(f"posterior has {len(eta)} records but labels {len(truth)}; pass one label per record.")
    if not ((eta >= 0.0) & (eta <= 1.0)).all():
        raise ValueError("posterior has values outside [0, 1] or NaN; pass probabilities.")
    if not np.isin(truth, (0, 1)).all() or not 0 < truth.sum() < len(truth):
        raise ValueError("labels must be 0 and 1 and name at least one member and one non-member.")
    member = truth.astype(bool)
    weights = np.where(member, prior / member.sum(), (1.0 - prior) / (~member).sum())
    place = np.minimum((eta * n_bins).astype(int), n_bins - 1)
    filled, place = np.unique(place, return_inverse=True)
    weight = np.bincount(place, weights).astype(np.float64)
    predicted = np.bincount(place, weights * eta) / weight
    observed = np.bincount(place, weights * member) / weight
    gap = observed - predicted
    # the larger of the spread that was seen and the one a calibrated bin would have
    residual = np.bincount(place, weights**2 * (member - eta - gap[place]) ** 2)
    calibrated = np.bincount(place, weights**2) * predicted * (1.0 - predicted)
    spread = np.sqrt(np.maximum(residual, calibrated)) / weight
    ece = float(weight @ np.abs(gap))
    reach = _sum_of_folded(weight * spread, 1.0 - error)
    return Reliability(
        edges=np.stack([filled, filled + 1], axis=1) / n_bins,
        predicted=predicted,
        observed=observed,
        standard_error=spread,
        weight=weight,
        n_members=np.bincount(place, member).astype(np.float64),
        n_nonmembers=np.bincount(place, ~member).astype(np.float64),
        prior=prior,
        ece=ece,
        ece_debiased=max(0.0, float(weight @ (2.0 * np.abs(gap) - _folded_mean(gap, spread)))),
        low=max(0.0, ece - reach),
        high=min(1.0, ece + reach),
        confidence_level=1.0 - error,
    )


def _folded_mean(center: FloatArray, spread: FloatArray) -> FloatArray:
    """E|N(center, spread)|."""
    z = np.divide(center, spread, out=np.full_like(center, np.inf), where=spread > 0)
    moved = np.where(spread > 0, center * (1.0 - 2.0 * special.ndtr(-np.where(spread > 0, z, 0.0))), np.abs(center))
    return spread * np.sqrt(2.0 / np.pi) * np.exp(-np.minimum(z**2, 1e3) / 2.0) + moved


def _sum_of_folded(spread: FloatArray, level: float) -> float:
    """Upper quantile of sum_b |N(0, spread_b)|, by its first two moments but no less than for the largest alone."""
    mean = spread.sum() * np.sqrt(2.0 / np.pi)
    deviation = np.sqrt((spread**2).sum() * (1.0 - 2.0 / np.pi))
    return float(max(mean + special.ndtri(level) * deviation, special.ndtri((1.0 + level) / 2.0) * spread.max()))
