"""What (epsilon, delta)-differential privacy allows a metric, an AUC, a TPR or a posterior; and the inverses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mace_jax import _validate
from mace_jax.certificates._epsilon import advantage_from_epsilon, epsilon_from_advantage
from mace_jax.metrics import LinearFractional, balanced_accuracy

__all__ = [
    "auc_from_epsilon",
    "epsilon_from_auc",
    "epsilon_from_metric",
    "metric_from_epsilon",
    "posterior_cap",
    "tpr_cap",
]


def metric_from_epsilon(
    epsilon: float, *, delta: float = 0.0, metric: LinearFractional = balanced_accuracy, prior: float = 0.5
) -> float:
    """The largest metric, in its own unit, of any guess under (epsilon, delta)-differential privacy.

    ``advantage_from_epsilon`` without the normalization.

    Raises:
        ValueError: epsilon negative, delta outside [0, 1), prior outside (0, 1).

    Example:
        >>> round(metric_from_epsilon(1.0), 6)
        0.731059
    """
    trivial = metric.trivial(prior=prior)
    return trivial + (1.0 - trivial) * advantage_from_epsilon(epsilon, delta=delta, metric=metric, prior=prior)


def epsilon_from_metric(
    value: float, *, delta: float = 0.0, metric: LinearFractional = balanced_accuracy, prior: float = 0.5
) -> float:
    """The smallest epsilon that allows a metric this large, in its own unit: inverse of ``metric_from_epsilon``.

    0 up to the best constant guess, infinite at 1. Feed it a lower confidence limit, not an estimate.

    Raises:
        ValueError: value that is no number or above 1, delta outside [0, 1), prior outside (0, 1).

    Example:
        >>> round(epsilon_from_metric(0.731058578), 6)
        1.0
    """
    if not float(value) <= 1.0:
        raise ValueError(f"value={value!r} must be at most 1, which is what a perfect guess has.")
    advantage = float(metric.normalize(value, prior=prior))
    return epsilon_from_advantage(advantage, delta=delta, metric=metric, prior=prior)


def auc_from_epsilon(epsilon: float, *, delta: float = 0.0) -> float:
    """The largest AUC under (epsilon, delta)-differential privacy: 1 - (1 - delta)^2 / (e^epsilon + 1).

    The area below TPR = min(1, e^epsilon FPR + delta, 1 - e^-epsilon (1 - delta - FPR)).

    Raises:
        ValueError: epsilon negative, delta outside [0, 1).

    Example:
        >>> round(auc_from_epsilon(1.0), 6)
        0.731059
    """
    epsilon, delta = _validate.non_negative(epsilon=epsilon), _validate.probability(delta=delta)
    return float(1.0 - (1.0 - delta) ** 2 * special.expit(-epsilon))


def epsilon_from_auc(auc: float, *, delta: float = 0.0) -> float:
    """The smallest epsilon that allows an AUC this large: inverse of ``auc_from_epsilon``; infinite at 1.

    Feed it a lower confidence limit of the AUC, not an estimate.

    Raises:
        ValueError: auc outside [0, 1], delta outside [0, 1).

    Example:
        >>> round(epsilon_from_auc(0.731058578), 6)
        1.0
    """
    if not 0.0 <= float(auc) <= 1.0:
        raise ValueError(f"auc={auc!r} must lie in [0, 1].")
    delta = _validate.probability(delta=delta)
    if auc == 1.0:
        return float("inf")
    odds = (1.0 - delta) ** 2 / (1.0 - float(auc)) - 1.0
    return float(np.log(odds)) if odds > 1.0 else 0.0


def tpr_cap(epsilon: float, false_positive_rate: ArrayLike, *, delta: float = 0.0) -> Any:
    """The largest TPR at an FPR f under (epsilon, delta)-differential privacy, a number or an array.

    min(1, e^epsilon f + delta, 1 - e^-epsilon (1 - delta - f)) (Kairouz, Oh and Viswanath 2015).

    Raises:
        ValueError: epsilon negative, delta outside [0, 1), an FPR outside [0, 1].

    Example:
        >>> round(tpr_cap(4.0, 0.001), 6)
        0.054598
    """
    epsilon, delta = _validate.non_negative(epsilon=epsilon), _validate.probability(delta=delta)
    fpr = np.asarray(false_positive_rate, np.float64)
    if not ((fpr >= 0.0) & (fpr <= 1.0)).all():
        raise ValueError(f"false_positive_rate={false_positive_rate!r} must lie in [0, 1].")
    with np.errstate(over="ignore", divide="ignore"):
        grown = np.exp(np.minimum(epsilon + np.log(fpr), 1.0)) + delta  # beyond e it is above 1 in any case
    out = np.minimum(1.0, np.minimum(grown, 1.0 - np.exp(-epsilon) * (1.0 - delta - fpr)))
    return float(out) if out.ndim == 0 else out


def posterior_cap(epsilon: float, *, prior: float = 0.5) -> float:
    """The largest posterior probability of membership, at any output, under epsilon-differential privacy (delta = 0).

    prior e^epsilon / (1 - prior + prior e^epsilon); also the largest precision of any guess. With delta > 0 there is
    none: an output may reveal a record with probability delta.

    Raises:
        ValueError: epsilon negative, prior outside (0, 1).

    Example:
        >>> round(posterior_cap(1.0, prior=0.1), 6)
        0.231969
    """
    epsilon, prior = _validate.non_negative(epsilon=epsilon), _validate.in_open_unit(prior=prior)
    return float(special.expit(epsilon + special.logit(prior)))
