"""Cross-fitted log ratios ``ln p/q`` from any estimator of membership, and the bounds they give."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mace_jax import _validate
from mace_jax._random import as_seed
from mace_jax._types import FloatArray, Seed
from mace_jax.data import stratified_folds
from mace_jax.divergences._platt import recalibrated
from mace_jax.estimators import AbstractEstimator, Objective, Threshold

__all__ = ["N_FOLDS", "CrossFitted", "cross_fitted_log_ratio", "donsker_varadhan", "nwj", "plug_in"]

N_FOLDS = 5
_MOST_FOLDS = 10
_BALANCED = (0.0, 4.0, -2.0, 1.0, 0.0, 0.0)  # TPR - FPR at prior one half


class CrossFitted(NamedTuple):
    """``T`` estimates ``ln p/q``; each row is judged by a rule fitted on the other folds."""

    p: FloatArray
    q: FloatArray
    clipped: bool


def cross_fitted_log_ratio(
    p: FloatArray, q: FloatArray, estimator: AbstractEstimator, *, seed: Seed, n_folds: int = N_FOLDS
) -> CrossFitted:
    """Logit of the posterior at prior one half, kept within what k neighbors resolve and ``ln`` of the rows fitted."""
    n_folds, smaller = _validate.positive_int(minimum=2, n_folds=n_folds), min(len(p), len(q))
    if n_folds > min(_MOST_FOLDS, smaller):
        raise ValueError(
            f"n_folds={n_folds} must be at most {_MOST_FOLDS}, and at most the {smaller} rows of the smaller sample."
        )
    if isinstance(estimator, Threshold) or not estimator.supports(p.shape[1]):
        why = "gives no posterior" if isinstance(estimator, Threshold) else f"cannot use {p.shape[1]} features"
        raise ValueError(f"estimator={estimator!r} {why}; pass KNN() or another classifier instead.")
    fold_p, fold_q = stratified_folds(len(p), len(q), n_folds, seed=seed)
    objective = Objective(jnp.asarray(_BALANCED, jnp.float32), jnp.asarray(0.5, jnp.float32))
    fold_of, pooled = np.concatenate([fold_p, fold_q]), np.concatenate([p, q])
    labels = (np.arange(len(pooled)) < len(p)).astype(np.int32)
    ratio, clipped = np.empty(len(pooled)), False
    for fold in range(n_folds):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        plan = estimator.plan(pooled[train], pooled[test], seed=as_seed(seed))
        outcome = estimator.fit_fold(plan, jnp.asarray(labels[train]), objective)
        posterior = np.asarray(outcome.posterior, dtype=np.float64)
        if not ((posterior >= 0.0) & (posterior <= 1.0)).all():
            raise ValueError(f"estimator={estimator!r} gives scores outside [0, 1]; pass one that gives a posterior.")
        behind = estimator.neighbors(plan, int(outcome.chosen))
        limit = math.log(smaller * (1.0 - 1.0 / n_folds))
        if behind is not None:
            limit = min(limit, math.log(2 * behind + 1))
        with np.errstate(divide="ignore"):
            raw = np.log(posterior) - np.log1p(-posterior)
        ratio[test] = np.clip(raw, -limit, limit)
        clipped |= bool((np.abs(raw) > limit).any())
    return CrossFitted(ratio[: len(p)], ratio[len(p) :], clipped)


def plug_in(fitted: CrossFitted) -> tuple[float, tuple[FloatArray, FloatArray]]:
    """Mean of T over P, brought to scale on rows it was not fitted on; 0 where T ranks these the wrong way round."""
    found = recalibrated(fitted.p, fitted.q)
    p, q = (fitted.p, fitted.q) if found is None else found
    return 0.0 if found is None else float(p.mean()), (p, 1.0 - np.exp(q))


def donsker_varadhan(fitted: CrossFitted) -> tuple[float, tuple[FloatArray, FloatArray]]:
    """``E_P T - ln E_Q exp T`` over the rows of all folds: by Jensen no more than the mean of what the folds give."""
    weights = np.exp(fitted.q)
    mean = weights.mean()
    return float(fitted.p.mean() - math.log(mean)), (fitted.p, 1.0 - weights / mean)


def nwj(fitted: CrossFitted) -> tuple[float, tuple[FloatArray, FloatArray]]:
    """``E_P T' - E_Q exp(T' - 1)`` with ``T' = T + 1``: unbiased for a fixed T."""
    weights = np.exp(fitted.q)
    return float(fitted.p.mean() + 1.0 - weights.mean()), (fitted.p, 1.0 - weights)
