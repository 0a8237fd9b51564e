"""Lower bounds on the privacy profile delta(epsilon)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower
from mace_jax._types import FloatArray
from mace_jax.certificates._counts import checked_part, error_of, rate_limits

__all__ = ["delta_from_mixture", "privacy_profile_bound"]


def privacy_profile_bound(
    true_positives: int,
    n_members: int,
    false_positives: int,
    n_nonmembers: int,
    epsilons: ArrayLike,
    *,
    confidence_level: float = 0.95,
) -> FloatArray:
    """Lower bound on delta(epsilon), at all epsilons at once, from the counts of one rule that was fixed beforehand.

    max(0, TPR_L - e^epsilon FPR_U, (1 - FPR_U) - e^epsilon (1 - TPR_L)) with Clopper-Pearson limits, half of the error
    each. One pair of limits serves every epsilon and both directions, so that the whole curve holds at
    ``confidence_level`` and any number of epsilons may be read off. It crosses a delta where ``epsilon_from_counts``
    gives that epsilon.

    Args:
        true_positives: Members guessed "member".
        n_members: All members guessed about.
        false_positives: Non-members guessed "member".
        n_nonmembers: All non-members guessed about.
        epsilons: At least 0, any shape.
        confidence_level: One-sided.

    Returns:
        Bounds in the shape of ``epsilons``.

    Raises:
        ValueError: counts outside their totals, a negative epsilon, confidence_level outside (0, 1).
        TypeError: a count that is no integer.

    References: Balle, Barthe and Gaboardi (2018) for the profile as a hockey-stick divergence.

    Example:
        >>> privacy_profile_bound(500, 500, 0, 500, [0.0, 4.0, 6.0]).round(4)
        array([0.9853, 0.5913, 0.    ])
    """
    limits = rate_limits(true_positives, n_members, false_positives, n_nonmembers, error=error_of(confidence_level))
    at = np.asarray(epsilons, np.float64)
    if not (np.isfinite(at).all() and (at >= 0.0).all()):
        raise ValueError(f"epsilons={epsilons!r} must be finite and at least 0.")
    grown = np.exp(np.minimum(at, 700.0))  # beyond it no rate that a float can hold is left
    tpr, fpr = limits
    return np.maximum(0.0, np.maximum(tpr - grown * fpr, (1.0 - fpr) - grown * (1.0 - tpr)))


def delta_from_mixture(n_correct: int, n_records: int, epsilon: float, *, confidence_level: float = 0.95) -> float:
    """Lower bound on delta(epsilon) from how often a classifier is right on records of a mixture.

    If a share 1 / (1 + e^epsilon) of the records are members, each drawn by its own coin, an accuracy A means
    TPR - e^epsilon FPR = A (1 + e^epsilon) - e^epsilon, a lower bound on delta(epsilon); A is replaced by its
    Clopper-Pearson lower limit. (epsilon, delta) is rejected if the result exceeds delta. All of the error goes to one
    limit, but the records answer at this one epsilon only; and for a large epsilon members are rare.

    Args:
        n_correct: Records classified rightly, by a rule fixed beforehand.
        n_records: Records drawn from the mixture.
        epsilon: The one that fixed the share of members.
        confidence_level: One-sided.

    Raises:
        ValueError: more correct than records, epsilon negative, confidence_level outside (0, 1).
        TypeError: a count that is no integer.

    References: the variational form of the hockey-stick divergence, Sason and Verdú (2016).

    Example:
        >>> round(delta_from_mixture(900, 1000, 0.0), 4)
        0.766
    """
    n_records = _validate.positive_int(n_records=n_records)
    n_correct = checked_part(total_name="n_records", total=n_records, n_correct=n_correct)
    epsilon, error = _validate.non_negative(epsilon=epsilon), error_of(confidence_level)
    accuracy = float(clopper_pearson_lower(n_correct, n_records, error))
    # with e^epsilon taken out, so that a large epsilon gives 0 and not a difference of infinities
    return max(0.0, accuracy - (1.0 - accuracy) * float(np.exp(min(epsilon, 700.0))))
