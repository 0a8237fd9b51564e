"""How far a class's ratios move towards those of all classes: estimated from how much the classes differ."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import optimize, special

from mace_jax._types import FloatArray
from mace_jax.attacks._risk_bins import ClassBins

__all__ = ["Shrinkage", "no_shrinkage", "pseudo_records"]

_DEGREES = 4  # of the polynomial, below a free share for every bin
_LOG_RANGE, _GRID = (-3.0, 12.0), 31  # ln of the concentration, searched
_STEPS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Shrinkage:
    """Pseudo-records per class (rows) and bin, to be added to the counts of either side."""

    members: FloatArray  # (C + 1, K)
    nonmembers: FloatArray
    concentration: float  # records per class and bin that the log-ratio of all classes is worth to one of them
    degree: int  # of the log-ratio of all classes as a polynomial of the bin


def no_shrinkage(counts: ClassBins) -> Shrinkage:
    """No pseudo-records."""
    nothing = np.zeros_like(counts.members)
    return Shrinkage(nothing, nothing, 0.0, 0)


def pseudo_records(counts: ClassBins, smoothing: float, concentration: float | None) -> Shrinkage:
    """Pseudo-records that move the ratio of members to non-members in each bin towards that of all classes.

    In bin b of class c the share of members among the N records is Beta(B m, B (1 - m)) around m, the share that the
    log-ratio of all classes implies at the sizes of this class; the b-th bin of one class is matched with the b-th bin
    of another. ``concentration`` is B; None takes the B of largest beta-binomial likelihood over all classes and bins
    (empirical Bayes) and lets it weigh no more than the R_b records of the other classes in that bin, on which the
    center rests: 1/B_b = 1/B + 1/R_b. One class alone, or a class absent on one side, is left as it is.

    Only the ratio is shrunk, not the histograms: that bins of one class hold more records than those of another, on
    both sides alike, says nothing about membership. References: Skellam (1948); Morris (1983).
    """
    weight = _class_weights(counts)
    if (weight > 0).sum() < 2:
        return no_shrinkage(counts)
    log_ratio, degree = _center(counts, weight, smoothing)
    n_in, n_out = np.maximum(counts.n_members, 1.0), np.maximum(counts.n_nonmembers, 1.0)
    share = special.expit(log_ratio + np.log(n_in / n_out)[:, None])
    use = weight > 0
    if concentration is None:
        concentration = _concentration(counts.members[use], counts.nonmembers[use], share[use])
        both = np.where(use[:, None], counts.members + counts.nonmembers, 0.0)
        others = both.sum(axis=0) - both
        prior = concentration * others / (concentration + others)
    else:
        prior = np.full_like(share, concentration)
    prior = np.where(use[:, None], prior, 0.0)
    return Shrinkage(prior * share, prior * (1.0 - share), concentration, degree)


def _class_weights(counts: ClassBins) -> FloatArray:
    """Harmonic means of both sides' rows, so that each class weighs the same among members and non-members."""
    n_in, n_out = counts.members.sum(axis=1), counts.nonmembers.sum(axis=1)  # without dropped values
    weight = 2.0 * n_in * n_out / np.maximum(n_in + n_out, 1.0)
    weight[-1] = 0.0  # all classes together are not a class
    return weight


def _center(counts: ClassBins, weight: FloatArray, smoothing: float) -> tuple[FloatArray, int]:
    """ln(member share / non-member share) of each bin over all classes, with as few free numbers as fit.

    A polynomial of the bin's place, whose degree has the least Bayes information criterion; the largest degree offered
    leaves every bin free. Logistic regression of the side on the bin, so that both sets of shares sum to 1.
    References: Prentice and Pyke (1979); Qin (1998); Schwarz (1978).
    """
    sides = []
    for side in (counts.members, counts.nonmembers):
        share = side / np.maximum(side.sum(axis=1, keepdims=True), 1.0)
        sides.append(weight @ share + max(smoothing, 1e-3))
    both, n_bins = sides[0] + sides[1], len(sides[0])
    degrees = sorted({*range(min(_DEGREES, n_bins - 1) + 1), n_bins - 1})
    fits = [_logistic(sides[0], sides[1], degree) for degree in degrees]
    score = [
        2.0 * _log_likelihood(sides, logit) - degree * np.log(both.sum())
        for degree, logit in zip(degrees, fits, strict=True)
    ]
    best = int(np.argmax(score))
    return fits[best], degrees[best]


def _log_likelihood(sides: list[FloatArray], logit: FloatArray) -> float:
    return float(sides[0] @ special.log_expit(logit) + sides[1] @ special.log_expit(-logit))


def _logistic(members: FloatArray, nonmembers: FloatArray, degree: int) -> FloatArray:
    """Fitted logits of each bin; all counts are above 0, so that the maximum exists. Newton with halved steps."""
    n_bins = len(members)
    if degree == n_bins - 1:
        return np.log(members) - np.log(nonmembers)
    place = np.linspace(-1.0, 1.0, n_bins) if n_bins > 1 else np.zeros(1)
    basis = np.linalg.qr(np.polynomial.legendre.legvander(place, degree))[0]
    both, at = members + nonmembers, np.zeros(degree + 1)
    value = _log_likelihood([members, nonmembers], basis @ at)
    for _ in range(_STEPS):
        share = special.expit(basis @ at)
        curvature = (basis * (both * share * (1.0 - share))[:, None]).T @ basis
        step = np.linalg.solve(curvature, basis.T @ (members - both * share))
        for _ in range(_STEPS):
            there = _log_likelihood([members, nonmembers], basis @ (at + step))
            if there >= value:
                break
            step = step / 2.0
        else:
            break
        at, gain, value = at + step, there - value, there
        if gain <= 1e-13 * abs(value):
            break
    return basis @ at


def _concentration(members: FloatArray, nonmembers: FloatArray, share: FloatArray) -> float:
    """Largest beta-binomial likelihood over classes and bins."""

    def minus(log_concentration: float) -> float:
        total = np.exp(log_concentration)
        a, b = total * share, total * (1.0 - share)
        return -float((special.betaln(members + a, nonmembers + b) - special.betaln(a, b)).sum())

    grid = np.linspace(*_LOG_RANGE, _GRID)
    best = int(np.argmin([minus(point) for point in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    found = optimize.minimize_scalar(minus, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))
