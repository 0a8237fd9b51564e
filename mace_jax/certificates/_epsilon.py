"""Epsilon of differential privacy from error counts or from a metric, and back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax.metrics import LinearFractional, balanced_accuracy

__all__ = ["advantage_from_epsilon", "epsilon_from_advantage", "epsilon_from_counts", "epsilon_from_rates"]


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
    method: Literal["clopper_pearson"] = "clopper_pearson",
) -> float:
    """Lower bound on epsilon from the counts of one rule that was fixed beforehand.

    Clopper-Pearson limits of TPR and FPR, half of the error each, put through both inequalities of
    ``epsilon_from_rates``; one pair of limits serves both.

    Args:
        true_positives: Members guessed "member".
        n_members: All members guessed about.
        false_positives: Non-members guessed "member".
        n_nonmembers: All non-members guessed about.
        delta: Of (epsilon, delta)-differential privacy.
        confidence_level: One-sided: the bound exceeds the truth with probability at most 1 minus this.
        method: Only "clopper_pearson".

    Raises:
        ValueError: counts outside their totals, delta outside [0, 1), confidence_level outside (0, 1).

    The draws must be independent. Counts from one trained model bound that model's own rates; the epsilon of the
    training algorithm needs records included by independent coins, or independent trainings.

    References: Jagielski, Ullman and Oprea (2020).

    Example:
        >>> round(epsilon_from_counts(500, 500, 0, 500, confidence_level=0.99), 6)
        4.541916
    """
    n_members = _validate.positive_int(n_members=n_members)
    n_nonmembers = _validate.positive_int(n_nonmembers=n_nonmembers)
    for name, hits, total in (
        ("true_positives", true_positives, n_members),
        ("false_positives", false_positives, n_nonmembers),
    ):
        if _validate.positive_int(minimum=0, **{name: hits}) > total:
            raise ValueError(f"{name}={hits} exceeds its total {total}; counts are out of the group's records.")
    delta = _validate.probability(delta=delta)
    error = 1.0 - _validate.in_open_unit(confidence_level=confidence_level)
    if method != "clopper_pearson":
        raise ValueError(f"method={method!r} is not known; pass 'clopper_pearson'.")
    return epsilon_from_rates(
        float(clopper_pearson_lower(true_positives, n_members, error / 2.0)),
        float(clopper_pearson_upper(false_positives, n_nonmembers, error / 2.0)),
        delta=delta,
    )


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
    small = np.exp(-epsilon)
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
    if advantage == 1.0 or excess(700.0) < 0.0:
        return float("inf")
    return optimize.bisect(excess, 0.0, 700.0, xtol=1e-13)  # type: ignore[return-value]
