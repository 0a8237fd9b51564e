"""individual_privacy_risk: the membership posterior of each record given its query output."""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._types import Seed
from mace_jax.data import MembershipSample
from mace_jax.estimators import KNN
from mace_jax.metrics._crossfit import CrossFit, cross_fit
from mace_jax.metrics._individual import IndividualRisk, RecordRisks
from mace_jax.metrics._linear_fractional import balanced_accuracy

__all__ = ["individual_privacy_risk", "risk_of_crossfit"]


def individual_privacy_risk(
    sample: MembershipSample,
    *,
    estimator: KNN | None = None,
    prior: float = 0.5,
    confidence_level: float = 0.95,
    seed: Seed,
) -> IndividualRisk:
    """P(member | query output) of every record, from neighbors in the half it does not belong to.

    With s the share of members among the k neighbors and pi the share among all, the posterior at ``prior`` is
    logit s - logit pi + logit prior on the logit scale; half a count is added to each class.

    Args:
        sample: Query outputs of members ``(n, q)`` and non-members ``(m, q)``.
        estimator: A ``KNN``; its k is chosen by log-loss unless given.
        prior: Probability that a record is a member, as the adversary sees it.
        confidence_level: Of the pointwise Clopper-Pearson limits.
        seed: Fixes the halves.

    Raises:
        ValueError: prior or confidence_level outside (0, 1).
        TypeError: an estimator that does not count neighbors.

    The limits cover the counting error of the neighborhood only, not its smoothing: no certificate, and no worst case
    over queries or retrainings. ``q_value`` controls the false discovery rate (Benjamini and Hochberg 1995) of the
    claim "this output occurs more among members".

    Example:
        >>> sample = MembershipSample([3.0] * 40 + [0.0] * 10, [0.0] * 50)
        >>> risk = individual_privacy_risk(sample, estimator=KNN(k=9), seed=0)
        >>> bool(risk.members.posterior[0] > 0.9), bool(risk.members.posterior[-1] < 0.5)
        (True, True)
    """
    estimator = KNN() if estimator is None else estimator
    if not isinstance(estimator, KNN):
        raise TypeError(f"estimator={estimator!r} does not count neighbors; pass KNN() or KNN(k=...).")
    prior = _validate.in_open_unit(prior=prior)
    confidence_level = _validate.in_open_unit(confidence_level=confidence_level)
    fitted = cross_fit(sample, estimator, balanced_accuracy.objective(), seed=seed)
    return risk_of_crossfit(fitted, prior=prior, confidence_level=confidence_level)


def risk_of_crossfit(fitted: CrossFit, *, prior: float, confidence_level: float, n_looks: int = 1) -> IndividualRisk:
    """The same from an existing kNN cross-fit; ``n_looks`` queries were looked at to choose this one."""
    half = fitted.pooled("posterior").astype(np.float64)
    k, n1, n0 = (np.empty(len(half)) for _ in range(3))
    for fold, neighbors in zip(fitted.folds, fitted.neighbors, strict=True):
        assert neighbors is not None
        k[fold.test] = neighbors
        n1[fold.test] = fitted.labels[fold.train].sum()
        n0[fold.test] = len(fold.train) - fitted.labels[fold.train].sum()
    members = half * n1
    k1 = np.clip(k * members / (members + (1.0 - half) * n0), 0.0, k)
    shift = special.logit(prior) - np.log(n1 / n0)
    log_ratio = np.log((k1 + 0.5) / (k - k1 + 0.5)) - np.log(n1 / n0)
    tail = (1.0 - confidence_level) / 2.0
    with np.errstate(divide="ignore"):
        low = special.expit(special.logit(clopper_pearson_lower(k1, k, tail)) + shift)
        high = special.expit(special.logit(clopper_pearson_upper(k1, k, tail)) + shift)
    # a tied shell gives fractions of a neighbor: rounding down keeps the test conservative
    p_value = stats.binom.sf(np.floor(k1 + 1e-3) - 1.0, k, n1 / (n1 + n0))
    q_value = stats.false_discovery_control(np.minimum(1.0, n_looks * p_value))
    columns = (special.expit(log_ratio + special.logit(prior)), log_ratio, low, high, q_value)
    is_member = fitted.labels == 1
    return IndividualRisk(
        RecordRisks(*(column[is_member] for column in columns)),
        RecordRisks(*(column[~is_member] for column in columns)),
        prior,
        confidence_level,
        max(int(neighbors or 0) for neighbors in fitted.neighbors),
    )
