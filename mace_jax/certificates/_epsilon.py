"""Epsilon of differential privacy from error counts or from a metric, and back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from mace_jax import _validate
from mace_jax.certificates._counts import error_of, rate_limits
from mace_jax.certificates._ratio import RATIO_METHODS, epsilon_from_ratio
from mace_jax.metrics import LinearFractional, balanced_accuracy

__all__ = ["advantage_from_epsilon", "epsilon_from_advantage", "epsilon_from_counts", "epsilon_from_rates"]

Method = Literal["clopper_pearson", "katz", "adjusted_log", "bailey", "inverse_sinh"]
_LARGEST = 700.0  # the largest epsilon whose exponential is a float


def epsilon_from_rates(true_positive_rate: ArrayLike, false_positive_rate: ArrayLike, *, delta: float = 0.0) -> Any:
    """Smallest epsilon at which (epsilon, delta)-indistinguishable laws allow these error rates; 0 if all do.

    Uses both half-planes: TPR <= e^epsilon FPR + delta, and 1 - FPR <= e^epsilon (1 - TPR) + delta
    (Kairouz, Oh and Viswanath 2015). Infinite where a rate is exactly 0 or 1 on the wrong side.
    """
    tpr, fpr = np.asarray(true_positive_rate, np.float64), np.asarray(false_positive_rate, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(tpr > delta, np.log((tpr - delta) / fpr), 0.0)
        second = np.where(1.0 - fpr > delta, np.log((1.0 - fpr - delta) / (1.0 - tpr)), 0.0)
    out = np.maximum(0.0, np.maximum(first, second))
    return float(out) if out.ndim == 0 else out


def epsilon_from_counts(
    true_positives: int,
    n_members: int,
    false_positives: int,
    n_nonmembers: int,
    *,
    delta: float = 0.0,
    confidence_level: float = 0.95,
    method: Method = "clopper_pearson",
    group_size: int = 1,
) -> float:
    """Lower bound on epsilon from the counts of one rule that was fixed beforehand.

    "clopper_pearson" is exact: limits of TPR and FPR, half of the error each, put through both inequalities of
    ``epsilon_from_rates``; one pair of limits serves both. Its error is at most 1 - ``confidence_level`` at every
    number of records.

    The others are asymptotic limits of the ratios TPR / FPR and (1 - FPR) / (1 - TPR), half of the error each:
    "katz" (log ratio minus z standard errors), "adjusted_log" (the same after adding one half to every count),
    "bailey" (Fieller's limit of the ratio of cube roots), "inverse_sinh" (log ratio minus 2 asinh(z / 2 standard
    errors)). A zero in a denominator counts as one half. With delta > 0 a tenth of each half is spent on an exact limit
    L of the numerator's rate p, since p - delta >= p (1 - delta / L). They can exceed the truth too often
    where few guesses are expected in the denominator. At a nominal 5 % (enumerated exactly, over TPR, FPR and group
    sizes of 50 to 1,000): all four exceed with probability 0.60 at TPR = FPR = 1 % with 1,000 members and 50
    non-members, and 0.09 at TPR = FPR = 5 %; with groups of equal size they stay at or below 5.3 %.

    Args:
        true_positives: Members guessed "member".
        n_members: All members guessed about.
        false_positives: Non-members guessed "member".
        n_nonmembers: All non-members guessed about.
        delta: Of (epsilon, delta)-differential privacy.
        confidence_level: One-sided: the bound exceeds the truth with probability at most 1 minus this.
        method: "clopper_pearson", "katz", "adjusted_log", "bailey" or "inverse_sinh".
        group_size: Records that changed together between the two worlds, such as copies of one poisoned record; the
            bound is divided by it (group privacy), which is valid at delta = 0 only.

    Raises:
        ValueError: counts outside their totals, delta outside [0, 1), confidence_level outside (0, 1), an unknown
            method, a group of several records with delta > 0.
        TypeError: a count that is no integer.

    The draws must be independent. Counts from one trained model bound that model's own rates; the epsilon of the
    training algorithm needs records included by independent coins, or independent trainings.

    References: Jagielski, Ullman and Oprea (2020); Katz et al. (1978); Walter (1975); Bailey (1987); Newman (2001);
    compared for audits by Lu et al. (2022).

    Example:
        >>> round(epsilon_from_counts(500, 500, 0, 500, confidence_level=0.99), 6)
        4.541916
    """
    delta, error = _validate.probability(delta=delta), error_of(confidence_level)
    limits = rate_limits(true_positives, n_members, false_positives, n_nonmembers, error=error)
    group = _validate.positive_int(group_size=group_size)
    if group > 1 and delta > 0.0:
        raise ValueError(
            f"group_size={group} with delta={delta}: dividing by the group is valid at delta=0 only; pass delta=0."
        )
    if method == "clopper_pearson":
        return epsilon_from_rates(*limits, delta=delta) / group
    if method not in RATIO_METHODS:
        known = ", ".join(repr(name) for name in ("clopper_pearson", *RATIO_METHODS))
        raise ValueError(f"method={method!r} is not known; pass one of {known}.")
    counts = int(true_positives), int(n_members), int(false_positives), int(n_nonmembers)
    return epsilon_from_ratio(method, *counts, delta=delta, error=error) / group


def advantage_from_epsilon(
    epsilon: float, *, delta: float = 0.0, metric: LinearFractional = balanced_accuracy, prior: float = 0.5
) -> float:
    """The largest normalized metric any guess can reach under (epsilon, delta)-differential privacy.

    A metric that rises in TPR and falls in FPR is largest at a vertex of the reachable region, or, where it asks for a
    minimum recall, at the smallest FPR of that recall. For balanced accuracy this is
    (e^epsilon - 1 + 2 delta) / (e^epsilon + 1), which is tanh(epsilon / 2) at delta = 0.

    Raises:
        ValueError: epsilon negative, delta outside [0, 1), prior outside (0, 1).

    Example:
        >>> round(advantage_from_epsilon(1.0), 6)
        0.462117
    """
    epsilon, delta = _validate.non_negative(epsilon=epsilon), _validate.probability(delta=delta)
    # written with e^-epsilon so that a large epsilon does not overflow
    small = np.exp(-min(epsilon, _LARGEST))
    corner = (1.0 - delta) * small / (1.0 + small), (1.0 + delta * small) / (1.0 + small)
    vertices = [(0.0, 0.0), (0.0, delta), corner, (1.0 - delta, 1.0), (1.0, 1.0)]
    if metric.min_recall > 0.0:
        recall = metric.min_recall
        vertices.append((max(0.0, (recall - delta) * small, 1.0 - delta - (1.0 - recall) / small), recall))
    fpr, tpr = np.asarray(vertices).T
    return metric.normalize(float(np.max(metric.value(tpr, fpr, prior=prior))), prior=prior)


def epsilon_from_advantage(
    advantage: float, *, delta: float = 0.0, metric: LinearFractional = balanced_accuracy, prior: float = 0.5
) -> float:
    """The smallest epsilon that allows a normalized metric this large: inverse of ``advantage_from_epsilon``.

    Infinite for a perfect guess. Feed it a certified advantage, not an estimate.

    Raises:
        ValueError: advantage above 1, delta outside [0, 1), prior outside (0, 1).

    Example:
        >>> round(epsilon_from_advantage(0.4), 3)
        0.847
    """
    if not advantage <= 1.0:
        raise ValueError(f"advantage={advantage!r} must be at most 1; normalize the metric first.")

    def excess(epsilon: float) -> float:
        return advantage_from_epsilon(epsilon, delta=delta, metric=metric, prior=prior) - advantage

    if excess(0.0) >= 0.0:
        return 0.0
    if advantage == 1.0 or excess(_LARGEST) < 0.0:
        return float("inf")
    return optimize.bisect(excess, 0.0, _LARGEST, xtol=1e-13)  # type: ignore[return-value]
