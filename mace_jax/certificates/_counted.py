"""One rule, fixed beforehand and counted once: its epsilon, advantage and privacy profile by any method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax.certificates._epsilon import epsilon_from_counts, epsilon_from_rates
from mace_jax.certificates._gdp import epsilon_gdp, positive_delta

__all__ = [
    "FAMILY",
    "METHOD_NAMES",
    "CountMethod",
    "checked_epsilons",
    "checked_method",
    "counted",
    "method_assumptions",
    "profile_of",
]

CountMethod = Literal["clopper_pearson", "katz", "adjusted_log", "bailey", "inverse_sinh", "gdp"]

METHOD_NAMES = {
    "clopper_pearson": "Clopper-Pearson",
    "katz": "Katz log ratio",
    "adjusted_log": "adjusted log ratio",
    "bailey": "Bailey ratio",
    "inverse_sinh": "inverse sinh ratio",
    "gdp": "Clopper-Pearson, Gaussian family",
}


def checked_method(method: str, delta: float) -> None:
    """Refuse what gives no certificate from counts, and say what to do instead."""
    if method in ("one_run", "one_run_fdp", "models"):
        raise ValueError(
            f"method={method!r} needs records that were included in training by independent coins; draw them before "
            "training with mace_jax.certificates.design, and pass the scores with design=."
        )
    if method == "joint_beta":
        raise ValueError(
            "method='joint_beta' gives a credible interval, which is no certificate; call epsilon_joint_beta for it."
        )
    if method not in METHOD_NAMES:
        known = ", ".join(map(repr, get_args(CountMethod)))
        raise ValueError(f"method={method!r} is not known; pass one of {known}.")
    if method == "gdp":
        positive_delta(delta)


def checked_epsilons(epsilons: ArrayLike) -> tuple[float, ...]:
    """Where the profile is wanted: numbers of at least 0."""
    return tuple(_validate.non_negative(epsilons=value) for value in np.atleast_1d(np.asarray(epsilons, np.float64)))


def counted(
    hits: int, n_members: int, alarms: int, n_nonmembers: int, *, method: str, delta: float, error: float
) -> dict[str, Any]:
    """Counts and what they certify; everything in it holds together with probability 1 - ``error``."""
    exact = method in ("clopper_pearson", "gdp")  # these read epsilon off the limits of the advantage
    share = error if exact else error / 2.0
    tpr = float(clopper_pearson_lower(hits, n_members, share / 2.0))
    fpr = float(clopper_pearson_upper(alarms, n_nonmembers, share / 2.0))
    if method == "clopper_pearson":
        epsilon, more = float(epsilon_from_rates(tpr, fpr, delta=delta)), {}
    elif method == "gdp":
        bound = epsilon_gdp(
            n_members - hits, n_members, alarms, n_nonmembers, delta=delta, confidence_level=1.0 - error
        )
        epsilon, more = bound.epsilon, {"mu": bound.mu}
    else:
        epsilon = epsilon_from_counts(
            hits,
            n_members,
            alarms,
            n_nonmembers,
            delta=delta,
            confidence_level=1.0 - share,
            method=method,  # type: ignore[arg-type]
        )
        more = {}
    return {
        "true_positives": hits,
        "members": n_members,
        "false_positives": alarms,
        "nonmembers": n_nonmembers,
        "true_positive_rate_low": tpr,
        "false_positive_rate_high": fpr,
        "advantage": max(0.0, tpr - fpr),
        "epsilon": epsilon,
        **more,
    }


def profile_of(counts: Sequence[dict[str, Any]], epsilons: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Lower bounds of delta(epsilon) from limits that hold already, so that no further error is spent."""
    out = []
    for epsilon in epsilons:
        grown, found = float(np.exp(min(epsilon, 700.0))), 0.0
        for row in counts:
            tpr, fpr = row["true_positive_rate_low"], row["false_positive_rate_high"]
            found = max(found, tpr - grown * fpr, (1.0 - fpr) - grown * (1.0 - tpr))
        out.append((epsilon, found))
    return tuple(out)


def method_assumptions(method: str) -> tuple[str, ...]:
    """What a method adds to what a certificate rests on."""
    if method == "clopper_pearson":
        return ()
    return (FAMILY,) if method == "gdp" else (_ASYMPTOTIC,)


FAMILY = (
    "The trade-off curve is that of two unit normals (Gaussian differential privacy): one operating point is "
    "extrapolated to delta. Where this is wrong, epsilon can exceed the truth; 'clopper_pearson', or 'one_run' with a "
    "design, do not need it."
)
_ASYMPTOTIC = (
    "Epsilon comes from a large-sample approximation of a ratio of two rates: it can exceed the truth more often than "
    "the confidence level says, notably with few counts. 'clopper_pearson' is exact."
)
