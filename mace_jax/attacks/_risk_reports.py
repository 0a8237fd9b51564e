"""How far risk scores can be believed: calibration error against its chance level."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mace_jax import _validate
from mace_jax._random import generator
from mace_jax._types import FloatArray, Seed
from mace_jax.attacks._wilson import wilson

__all__ = ["RiskCalibration", "risk_calibration", "unit_scores"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RiskCalibration:
    """Predicted against observed shares of members at ``prior``, by bins of the score in ascending order."""

    predicted: FloatArray  # (b,) mean score
    observed: FloatArray  # (b,) share of members
    observed_low: FloatArray  # (b,) Wilson limits of that share
    observed_high: FloatArray
    weight: FloatArray  # (b,) of the mixture at the prior, summing to 1
    n_members: FloatArray  # (b,) counts
    n_nonmembers: FloatArray
    prior: float
    ece: float  # sum of weight |observed - predicted|
    low: float  # bootstrap limits of ece
    high: float
    ece_by_chance: float  # its mean if the scores were exact
    chance_high: float  # and the quantile, at the confidence level, of what it would then be
    max_error: float  # largest |observed - predicted|
    brier: float  # mean of (member - score)^2
    binning: str
    confidence_level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}

    def __repr__(self) -> str:
        return (
            f"RiskCalibration(ece={self.ece:.4f}, interval=[{self.low:.4f}, {self.high:.4f}], "
            f"ece_by_chance={self.ece_by_chance:.4f}, max_error={self.max_error:.4f}, brier={self.brier:.4f})"
        )


def risk_calibration(
    posterior_members: ArrayLike,
    posterior_nonmembers: ArrayLike,
    *,
    prior: float = 0.5,
    n_bins: int = 10,
    binning: Literal["mass", "width"] = "mass",
    n_resamples: int = 500,
    confidence_level: float = 0.95,
    seed: Seed,
) -> RiskCalibration:
    """Expected calibration error of risk scores of records whose membership is known.

    ECE = sum_b W_b |mean score_b - share of members_b|, members weighing prior / n1 and non-members (1 - prior) / n0,
    whatever their numbers. The bins hold equal mass, records of equal score together, or have equal width.

    ECE is above 0 by chance even for exact scores: ``ece_by_chance`` is its mean over labels drawn with the scores as
    probabilities, to be read beside it. The limits are 2 ece - upper and 2 ece - lower quantile of the bootstrap over
    records, which takes off the same upward bias.

    Args:
        posterior_members: Scores at ``prior`` of members that did not calibrate the score, ``(n1,)``.
        posterior_nonmembers: Of non-members, ``(n0,)``.
        prior: At which the scores are stated.
        n_bins: Number of bins; fewer where scores tie.
        binning: ``"mass"`` or ``"width"``, the latter as in ``mace_jax.metrics.reliability``.
        n_resamples: Of the bootstrap, and draws of labels.
        confidence_level: Of all limits.
        seed: Of both.

    Returns:
        ``RiskCalibration``.

    Raises:
        ValueError: scores outside [0, 1].

    References: Naeini, Cooper and Hauskrecht (2015); Broecker and Smith (2007) for the chance level; Wilson (1927).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> r, member = rng.random(10_000), rng.random(10_000)
        >>> found = risk_calibration(r[member < r], r[member >= r], seed=0)
        >>> found.ece < found.chance_high
        True
    """
    sides = [
        unit_scores(posterior_members=posterior_members),
        unit_scores(posterior_nonmembers=posterior_nonmembers),
    ]
    prior = _validate.in_open_unit(prior=prior)
    n_bins = _validate.positive_int(n_bins=n_bins)
    n_resamples = _validate.positive_int(n_resamples=n_resamples)
    level = _validate.in_open_unit(confidence_level=confidence_level)
    _validate.one_of(("mass", "width"), binning=binning)
    score, place = np.unique(np.concatenate(sides), return_inverse=True)
    place = place.reshape(-1)
    n1, n0 = (len(side) for side in sides)
    members, nonmembers = (np.bincount(own, minlength=len(score)) for own in (place[:n1], place[n1:]))
    weights = _weights(members, nonmembers, prior)
    bin_of = _bin_of(score, weights[0] + weights[1], n_bins, binning)
    starts = np.flatnonzero(np.diff(bin_of, prepend=-1))

    def gaps(drawn: np.ndarray, others: np.ndarray) -> FloatArray:
        """Weight times (observed - predicted), by bin."""
        m, o = _weights(drawn, others, prior)
        return np.add.reduceat(m - score * (m + o), starts)

    rng = generator(seed, "risk calibration")
    shares = members / n1, nonmembers / n0
    resampled = [
        np.abs(gaps(rng.multinomial(n1, shares[0]), rng.multinomial(n0, shares[1]))).sum() for _ in range(n_resamples)
    ]
    in_sample = special.expit(special.logit(score) + np.log(n1 / n0) - special.logit(prior))
    both = members + nonmembers
    drawn = [rng.binomial(both, in_sample) for _ in range(n_resamples)]
    by_chance = [np.abs(gaps(labels, both - labels)).sum() for labels in drawn]
    gap = gaps(members, nonmembers)
    ece = float(np.abs(gap).sum())
    lower, upper = np.quantile(resampled, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    weight = np.add.reduceat(weights[0] + weights[1], starts)
    count_in, count_out = np.add.reduceat(members, starts), np.add.reduceat(nonmembers, starts)
    limits = wilson(count_in, count_in + count_out, level)
    shift = special.logit(prior) - np.log(n1 / n0)
    return RiskCalibration(
        predicted=np.add.reduceat((weights[0] + weights[1]) * score, starts) / weight,
        observed=np.add.reduceat(weights[0], starts) / weight,
        observed_low=special.expit(special.logit(limits[0]) + shift),
        observed_high=special.expit(special.logit(limits[1]) + shift),
        weight=weight,
        n_members=count_in.astype(np.float64),
        n_nonmembers=count_out.astype(np.float64),
        prior=prior,
        ece=ece,
        low=float(np.clip(2.0 * ece - upper, 0.0, 1.0)),
        high=float(np.clip(2.0 * ece - lower, 0.0, 1.0)),
        ece_by_chance=float(np.mean(by_chance)),
        chance_high=float(np.quantile(by_chance, level)),
        max_error=float(np.max(np.abs(gap) / weight)),
        brier=float((weights[0] * (1.0 - score) ** 2 + weights[1] * score**2).sum()),
        binning=binning,
        confidence_level=level,
    )


def unit_scores(**argument: Any) -> FloatArray:
    """Scores in [0, 1]."""
    ((name, _),) = argument.items()
    array = _validate.scores(**argument)
    if not ((array >= 0.0) & (array <= 1.0)).all():
        raise ValueError(f"{name} has values outside [0, 1]; pass probabilities.")
    return array


def _weights(members: np.ndarray, nonmembers: np.ndarray, prior: float) -> tuple[FloatArray, FloatArray]:
    """Mass of each score on either side; an empty side, possible in drawn labels alone, has none."""
    return prior * members / max(members.sum(), 1), (1.0 - prior) * nonmembers / max(nonmembers.sum(), 1)


def _bin_of(score: FloatArray, weight: FloatArray, n_bins: int, binning: str) -> np.ndarray:
    """Bins of ascending scores: of equal width, or cut where the mass reaches each j / n_bins."""
    if binning == "width":
        return np.minimum((score * n_bins).astype(int), n_bins - 1)
    reached = np.searchsorted(np.cumsum(weight), np.arange(1, n_bins) / n_bins - 1e-12)
    return np.searchsorted(reached, np.arange(len(score)), side="left")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
