"""General f-differential privacy: the largest parameter of a family that error counts reject."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_upper
from mace_jax.certificates._counts import checked_part, error_of
from mace_jax.certificates._largest import largest_rejected

__all__ = ["approximate_trade_off", "f_dp_parameter", "gaussian_trade_off", "laplace_trade_off"]

TradeOff = Callable[[float, float], float]
_CHECKED_AT = 33


def gaussian_trade_off(false_positive_rate: float, mu: float) -> float:
    """Smallest FNR of two unit normals ``mu`` apart: Phi(Phi^-1(1 - FPR) - mu) (Dong, Roth and Su 2022).

    Example:
        >>> round(gaussian_trade_off(0.05, 1.0), 4)
        0.7405
    """
    return float(special.ndtr(-special.ndtri(false_positive_rate) - mu))


def laplace_trade_off(false_positive_rate: float, epsilon: float) -> float:
    """Smallest FNR of two Laplace laws of scale 1, ``epsilon`` apart (Dong, Roth and Su 2022).

    Example:
        >>> round(laplace_trade_off(0.05, 1.0), 4)
        0.8641
    """
    kept = math.exp(-epsilon)
    if false_positive_rate < kept / 2.0:
        return 1.0 - false_positive_rate / kept
    if false_positive_rate <= 0.5:
        return kept / (4.0 * false_positive_rate)
    return kept * (1.0 - false_positive_rate)


def approximate_trade_off(delta: float = 0.0) -> TradeOff:
    """The family of (epsilon, delta)-differential privacy, as a function of (FPR, epsilon).

    FNR >= max(0, 1 - delta - e^epsilon FPR, e^-epsilon (1 - delta - FPR)) (Wasserman and Zhou 2010). With it
    ``f_dp_parameter`` is ``epsilon_from_counts``.

    Raises:
        ValueError: delta outside [0, 1).

    Example:
        >>> round(approximate_trade_off(1e-5)(0.05, 1.0), 4)
        0.8641
    """
    delta = _validate.probability(delta=delta)

    def trade_off(false_positive_rate: float, epsilon: float) -> float:
        kept = math.exp(-epsilon)
        below = 1.0 - delta - false_positive_rate / kept if kept > 0.0 else 0.0
        return max(0.0, below, kept * (1.0 - delta - false_positive_rate))

    return trade_off


def f_dp_parameter(
    false_negatives: int,
    n_members: int,
    false_positives: int,
    n_nonmembers: int,
    trade_off: TradeOff,
    *,
    bounds: tuple[float, float] = (0.0, 500.0),
    confidence_level: float = 0.95,
) -> float:
    """Largest parameter of a family of trade-off curves that the counts of one rule, fixed beforehand, reject.

    A member f of the family is rejected if FNR_U < f(FPR_U), with Clopper-Pearson upper limits, half of the error each:
    f falls in FPR, so the true rates then lie below f too. If the mechanism's trade-off curve lies in the family, its
    parameter exceeds the returned one with probability at least ``confidence_level``. The claim is about the chosen
    family; only ``approximate_trade_off`` is one that every private mechanism belongs to.

    Args:
        false_negatives: Members guessed "non-member".
        n_members: All members guessed about.
        false_positives: Non-members guessed "member".
        n_nonmembers: All non-members guessed about.
        trade_off: ``trade_off(fpr, parameter)``, the smallest FNR: falls in both, larger parameters being less private.
        bounds: Smallest and largest parameter considered. The smallest is returned if it is not rejected, the largest
            if it is.
        confidence_level: One-sided.

    Raises:
        ValueError: counts outside their totals, bounds that are not ascending, confidence_level outside (0, 1), a
            trade_off that rises in its parameter or leaves [0, 1].
        TypeError: a count that is no integer.

    References: Nasr et al. (2023); Dong, Roth and Su (2022).

    Example:
        >>> round(f_dp_parameter(100, 1000, 100, 1000, gaussian_trade_off), 6)
        2.347097
    """
    n_members = _validate.positive_int(n_members=n_members)
    n_nonmembers = _validate.positive_int(n_nonmembers=n_nonmembers)
    missed = checked_part(total_name="n_members", total=n_members, false_negatives=false_negatives)
    alarms = checked_part(total_name="n_nonmembers", total=n_nonmembers, false_positives=false_positives)
    error = error_of(confidence_level)
    low, high = (float(bound) for bound in bounds)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"bounds={bounds!r} must be two finite ascending numbers, for example (0, 100).")
    fnr = float(clopper_pearson_upper(missed, n_members, error / 2.0))
    fpr = float(clopper_pearson_upper(alarms, n_nonmembers, error / 2.0))
    curve = np.asarray([trade_off(fpr, at) for at in np.linspace(low, high, _CHECKED_AT)], np.float64)
    if not ((curve >= -1e-12) & (curve <= 1.0 + 1e-12)).all() or (np.diff(curve) > 1e-12).any():
        raise ValueError(
            f"trade_off must lie in [0, 1] and fall in its parameter; at FPR {fpr:.6g} it takes the values "
            f"{np.array2string(curve, precision=4, threshold=6)} over bounds={bounds!r}."
        )
    return largest_rejected(lambda parameter: fnr < trade_off(fpr, parameter), low, high)
