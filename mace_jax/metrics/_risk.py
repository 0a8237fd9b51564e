"""individual_privacy_risk: the membership posterior of each record given its query output."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import special, stats

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._types import FloatArray, Seed
from mace_jax.data import MembershipSample
from mace_jax.estimators import KNN, AbstractEstimator
from mace_jax.metrics._calibration import crossfitted_blocks
from mace_jax.metrics._crossfit import N_FOLDS, CrossFit, checked_folds, cross_fit
from mace_jax.metrics._individual import IndividualRisk, RecordRisks
from mace_jax.metrics._linear_fractional import balanced_accuracy

__all__ = ["individual_privacy_risk", "risk_of_crossfit"]


def individual_privacy_risk(
    sample: MembershipSample,
    *,
    estimator: AbstractEstimator | None = None,
    prior: float = 0.5,
    confidence_level: float = 0.95,
    recalibrate: Literal["isotonic"] | None = None,
    n_folds: int = N_FOLDS,
    seed: Seed,
) -> IndividualRisk:
    """P(member | query output) of every record, from a rule fitted on the folds it does not belong to.

    For a kNN with s the share of members among the k neighbors and pi the share among all, the posterior at ``prior``
    is logit s - logit pi + logit prior on the logit scale; half a count is added to each class. Other estimators give
    their own posterior.

    Args:
        sample: Query outputs of members ``(n, q)`` and non-members ``(m, q)``.
        estimator: Anything that gives a posterior; ``KNN()`` by default, its k chosen by log-loss.
        prior: Probability that a record is a member, as the adversary sees it.
        confidence_level: Of the pointwise Clopper-Pearson limits.
        recalibrate: "isotonic" replaces every posterior by the share of members in its block of an increasing step
            function (pool adjacent violators), fitted inside the fold on four fifths that leave the record out.
        n_folds: 2 to 10.
        seed: Fixes the folds, and the fifths.

    Raises:
        ValueError: prior or confidence_level outside (0, 1), an unknown recalibration, or fewer than about 10 records
            of a class for one.
        TypeError: an estimator that only orders records.

    Limits are Clopper-Pearson limits of a share of members: among the k neighbors, or, for estimators without
    neighbors and for recalibrated posteriors, in the isotonic block of the record (widened to include the posterior).
    They cover the counting error only, neither smoothing nor the choice of the blocks: no certificate, and no worst
    case over queries or retrainings. ``q_value`` controls the false discovery rate (Benjamini and Hochberg 1995) of the
    claim "this output occurs more among members": by the binomial law of the neighborhood, or without neighbors by the
    rank of the posterior among the non-members of its fold, whose smallest p-value is 1 / (their number + 1).

    References: Zadrozny and Elkan (2002) for isotonic recalibration; Bates et al. (2023) for ranks as p-values.

    Example:
        >>> sample = MembershipSample([3.0] * 40 + [0.0] * 10, [0.0] * 50)
        >>> risk = individual_privacy_risk(sample, estimator=KNN(k=9), seed=0)
        >>> bool(risk.members.posterior[0] > 0.9), bool(risk.members.posterior[-1] < 0.5)
        (True, True)
    """
    estimator = KNN() if estimator is None else estimator
    if not estimator.gives_posterior:
        raise TypeError(
            f"estimator={estimator!r} orders records but gives no posterior; pass for example KNN() or Histogram()."
        )
    if recalibrate not in (None, "isotonic"):
        raise ValueError(f"recalibrate={recalibrate!r} is not known; pass 'isotonic' or None.")
    prior = _validate.in_open_unit(prior=prior)
    confidence_level = _validate.in_open_unit(confidence_level=confidence_level)
    n_folds = checked_folds(sample, n_folds)
    fitted = cross_fit(sample, estimator, balanced_accuracy.objective(), seed=seed, n_folds=n_folds)
    if recalibrate is None and all(k is not None for k in fitted.neighbors):
        return risk_of_crossfit(fitted, prior=prior, confidence_level=confidence_level)
    return _risk_of_blocks(fitted, prior, confidence_level, recalibrate=recalibrate is not None, seed=seed)


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
    log_ratio = np.log((k1 + 0.5) / (k - k1 + 0.5)) - np.log(n1 / n0)
    low, high = _limits(k1, k, np.log(n1 / n0), prior, confidence_level)
    # a tied shell gives fractions of a neighbor: rounding down keeps the test conservative
    p_value = stats.binom.sf(np.floor(k1 + 1e-3) - 1.0, k, n1 / (n1 + n0))
    return _risk(fitted, log_ratio, low, high, np.minimum(1.0, n_looks * p_value), prior, confidence_level)


def _risk_of_blocks(
    fitted: CrossFit, prior: float, confidence_level: float, *, recalibrate: bool, seed: Seed
) -> IndividualRisk:
    half, labels = fitted.pooled("posterior").astype(np.float64), fitted.labels
    k1, k0, share = crossfitted_blocks(half, labels, fitted.fold_of, seed=seed)
    odds = special.logit(share)
    low, high = _limits(k1, k1 + k0, odds, prior, confidence_level)
    if recalibrate:
        log_ratio = np.log((k1 + 0.5) / (k0 + 0.5)) - odds
    else:
        # a posterior of 0 or 1 is as far as float32, in which rules are fitted, can tell it from its neighbor
        log_ratio = special.logit(np.clip(half, 2.0**-24, 1.0 - 2.0**-24))
        stated = special.expit(log_ratio + special.logit(prior))
        low, high = np.minimum(low, stated), np.maximum(high, stated)
    p_value = np.empty(len(half))
    for fold in fitted.folds:
        of_others = np.sort(half[fold.test][labels[fold.test] == 0])
        above = len(of_others) - np.searchsorted(of_others, half[fold.test], side="left")
        member = labels[fold.test] == 1  # a non-member is among those it is ranked with
        p_value[fold.test] = np.where(member, (1.0 + above) / (1.0 + len(of_others)), above / len(of_others))
    return _risk(fitted, log_ratio, low, high, p_value, prior, confidence_level)


def _limits(
    k1: FloatArray, k: FloatArray, log_odds: FloatArray, prior: float, confidence_level: float
) -> tuple[FloatArray, FloatArray]:
    """Clopper-Pearson limits of a share among records with these odds of members, carried to ``prior``."""
    tail, shift = (1.0 - confidence_level) / 2.0, special.logit(prior) - log_odds
    with np.errstate(divide="ignore"):
        return (
            special.expit(special.logit(clopper_pearson_lower(k1, k, tail)) + shift),
            special.expit(special.logit(clopper_pearson_upper(k1, k, tail)) + shift),
        )


def _risk(
    fitted: CrossFit,
    log_ratio: FloatArray,
    low: FloatArray,
    high: FloatArray,
    p_value: FloatArray,
    prior: float,
    confidence_level: float,
) -> IndividualRisk:
    columns = (
        special.expit(log_ratio + special.logit(prior)),
        log_ratio,
        low,
        high,
        stats.false_discovery_control(p_value),
    )
    is_member = fitted.labels == 1
    return IndividualRisk(
        RecordRisks(*(column[is_member] for column in columns)),
        RecordRisks(*(column[~is_member] for column in columns)),
        prior,
        confidence_level,
        max(int(neighbors or 0) for neighbors in fitted.neighbors),
    )
