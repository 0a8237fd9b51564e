"""Gaussian differential privacy: mu from error counts, and mu to (epsilon, delta) and back."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_upper
from mace_jax.certificates._counts import checked_part, error_of
from mace_jax.certificates._largest import largest_rejected

__all__ = ["GaussianBound", "epsilon_gdp", "gdp_delta", "gdp_epsilon", "positive_delta"]


class GaussianBound(NamedTuple):
    """Lower bounds that hold together, of one mechanism that is mu-Gaussian-differentially private."""

    mu: float
    epsilon: float


def positive_delta(delta: float) -> float:
    """Delta in (0, 1): at 0 no Gaussian mechanism has a finite epsilon."""
    if _validate.probability(delta=delta) == 0.0:
        raise ValueError(
            f"delta={delta!r}: a Gaussian mechanism has no finite epsilon at delta 0; pass for example delta=1e-5."
        )
    return float(delta)


def _log_delta(mu: float, epsilon: ArrayLike) -> np.ndarray:
    """Ln delta(epsilon), without cancellation for large epsilon: a difference of Mills ratios times a density."""
    epsilon = np.asarray(epsilon, np.float64)
    low, high = epsilon / mu - mu / 2.0, epsilon / mu + mu / 2.0
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # Phi(-x) = phi(x) m(x); e^epsilon phi(high) = phi(low), so that delta = phi(low) (m(low) - m(high))
        mills = np.log(special.erfcx(low / math.sqrt(2.0)) - special.erfcx(high / math.sqrt(2.0))) - math.log(2.0)
        far = mills - low**2 / 2.0
        near = np.log(special.ndtr(-low) - np.exp(epsilon + special.log_ndtr(-high)))
    return np.where(low > -1.0, far, near)


def gdp_delta(mu: float, epsilon: ArrayLike) -> float | np.ndarray:
    """Smallest delta at which mu-GDP implies (epsilon, delta)-differential privacy.

    delta = Phi(-epsilon / mu + mu / 2) - e^epsilon Phi(-epsilon / mu - mu / 2), the hockey-stick divergence of two unit
    normals mu apart (Dong, Roth and Su 2022, Corollary 2.13), to full relative accuracy in the tail.

    Args:
        mu: Of Gaussian differential privacy, at least 0.
        epsilon: At least 0; a number or an array.

    Returns:
        A number, or an array of the shape of ``epsilon``.

    Raises:
        ValueError: mu or epsilon negative or not finite.

    Example:
        >>> round(gdp_delta(1.0, 1.0), 6)
        0.126937
    """
    mu = _validate.non_negative(mu=mu)
    values = np.asarray(epsilon, np.float64)
    if not (np.isfinite(values).all() and (values >= 0.0).all()):
        raise ValueError(f"epsilon={epsilon!r} must be finite and at least 0.")
    out = np.zeros_like(values) if mu == 0.0 else np.exp(_log_delta(mu, values))
    return float(out) if out.ndim == 0 else out


def gdp_epsilon(mu: float, delta: float) -> float:
    """Smallest epsilon at which mu-GDP implies (epsilon, delta)-differential privacy: inverse of ``gdp_delta``.

    Infinite at delta = 0 unless mu = 0.

    Raises:
        ValueError: mu negative or not finite, delta outside [0, 1).

    Example:
        >>> round(gdp_epsilon(1.0, 1e-5), 6)
        4.377178
    """
    mu, delta = _validate.non_negative(mu=mu), _validate.probability(delta=delta)
    if mu == 0.0:
        return 0.0
    if delta == 0.0:
        return math.inf
    target = math.log(delta)
    return largest_rejected(lambda epsilon: float(_log_delta(mu, epsilon)) > target)


def epsilon_gdp(
    false_negatives: int,
    n_members: int,
    false_positives: int,
    n_nonmembers: int,
    *,
    delta: float,
    confidence_level: float = 0.95,
) -> GaussianBound:
    """Lower bound on mu, and on epsilon at ``delta``, if the mechanism is a Gaussian one.

    mu >= Phi^-1(1 - FPR_U) - Phi^-1(FNR_U) with Clopper-Pearson upper limits, half of the error each; 0 if negative.
    Epsilon then follows from ``gdp_epsilon``.

    This assumes that the trade-off curve of the mechanism is that of two unit normals. It extrapolates one operating
    point to the whole curve: for another mechanism the epsilon can lie far above the truth. Use
    ``epsilon_from_counts`` where nothing is known about the mechanism.

    Args:
        false_negatives: Members guessed "non-member", by a rule that was fixed beforehand.
        n_members: All members guessed about.
        false_positives: Non-members guessed "member".
        n_nonmembers: All non-members guessed about.
        delta: At which epsilon is stated, in (0, 1).
        confidence_level: One-sided, of mu; epsilon is a function of mu.

    Returns:
        ``(mu, epsilon)``.

    Raises:
        ValueError: counts outside their totals, delta outside (0, 1), confidence_level outside (0, 1).
        TypeError: a count that is no integer.

    References: Nasr et al. (2023); Dong, Roth and Su (2022).

    Example:
        >>> round(epsilon_gdp(100, 1000, 100, 1000, delta=1e-5).mu, 6)
        2.347097
    """
    n_members = _validate.positive_int(n_members=n_members)
    n_nonmembers = _validate.positive_int(n_nonmembers=n_nonmembers)
    missed = checked_part(total_name="n_members", total=n_members, false_negatives=false_negatives)
    alarms = checked_part(total_name="n_nonmembers", total=n_nonmembers, false_positives=false_positives)
    delta, error = positive_delta(delta), error_of(confidence_level)
    fnr = float(clopper_pearson_upper(missed, n_members, error / 2.0))
    fpr = float(clopper_pearson_upper(alarms, n_nonmembers, error / 2.0))
    mu = max(0.0, -float(special.ndtri(fpr)) - float(special.ndtri(fnr)))
    return GaussianBound(mu, gdp_epsilon(mu, delta))
