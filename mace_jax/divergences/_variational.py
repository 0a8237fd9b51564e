"""Cross-fitted log ratios ``ln p/q`` from any estimator of membership, and the bounds they give."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mace_jax._random import as_seed
from mace_jax._types import FloatArray, Seed
from mace_jax.data import stratified_folds
from mace_jax.estimators import AbstractEstimator, Objective, Threshold

__all__ = ["CrossFitted", "cross_fitted_log_ratio", "donsker_varadhan", "nwj", "plug_in"]

_FOLDS = 2
_BALANCED = (0.0, 4.0, -2.0, 1.0, 0.0, 0.0)  # TPR - FPR at prior one half


class CrossFitted(NamedTuple):
    """``T`` estimates ``ln p/q``; each row is judged by a rule fitted on the other fold."""

    p: FloatArray
    q: FloatArray
    fold_p: np.ndarray
    fold_q: np.ndarray
    clipped: bool


def cross_fitted_log_ratio(p: FloatArray, q: FloatArray, estimator: AbstractEstimator, *, seed: Seed) -> CrossFitted:
    """Logit of the posterior at prior one half, kept within what k neighbors resolve and within ``ln`` of the rows."""
    if isinstance(estimator, Threshold) or not estimator.supports(p.shape[1]):
        why = "gives no posterior" if isinstance(estimator, Threshold) else f"cannot use {p.shape[1]} features"
        raise ValueError(f"estimator={estimator!r} {why}; pass KNN() or another classifier instead.")
    fold_p, fold_q = stratified_folds(len(p), len(q), _FOLDS, seed=seed)
    objective = Objective(jnp.asarray(_BALANCED, jnp.float32), jnp.asarray(0.5, jnp.float32))
    fold_of, pooled = np.concatenate([fold_p, fold_q]), np.concatenate([p, q])
    labels = (np.arange(len(pooled)) < len(p)).astype(np.int32)
    ratio, clipped = np.empty(len(pooled)), False
    for fold in range(_FOLDS):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        plan = estimator.plan(pooled[train], pooled[test], seed=as_seed(seed))
        outcome = estimator.fit_fold(plan, jnp.asarray(labels[train]), objective)
        posterior = np.asarray(outcome.posterior, dtype=np.float64)
        if not ((posterior >= 0.0) & (posterior <= 1.0)).all():
            raise ValueError(f"estimator={estimator!r} gives scores outside [0, 1]; pass one that gives a posterior.")
        behind = estimator.neighbors(plan, int(outcome.chosen))
        limit = math.log(min(len(p), len(q)) / _FOLDS)
        if behind is not None:
            limit = min(limit, math.log(2 * behind + 1))
        with np.errstate(divide="ignore"):
            raw = np.log(posterior) - np.log1p(-posterior)
        ratio[test] = np.clip(raw, -limit, limit)
        clipped |= bool((np.abs(raw) > limit).any())
    return CrossFitted(ratio[: len(p)], ratio[len(p) :], fold_p, fold_q, clipped)


def plug_in(fitted: CrossFitted) -> tuple[float, tuple[FloatArray, FloatArray]]:
    """Mean of T over P."""
    return float(fitted.p.mean()), (fitted.p, 1.0 - np.exp(fitted.q))


def donsker_varadhan(fitted: CrossFitted) -> tuple[float, tuple[FloatArray, FloatArray]]:
    """Mean over folds of ``E_P T - ln E_Q exp T``, weighted by their rows."""
    value, influence_p, influence_q = 0.0, fitted.p.copy(), np.empty_like(fitted.q)
    for fold in range(_FOLDS):
        in_p, in_q = fitted.fold_p == fold, fitted.fold_q == fold
        weights = np.exp(fitted.q[in_q])
        value += in_p.mean() * fitted.p[in_p].mean() - in_q.mean() * math.log(weights.mean())
        influence_p[in_p] -= fitted.p[in_p].mean()
        influence_q[in_q] = 1.0 - weights / weights.mean()
    return float(value), (influence_p, influence_q)


def nwj(fitted: CrossFitted) -> tuple[float, tuple[FloatArray, FloatArray]]:
    """``E_P T' - E_Q exp(T' - 1)`` with ``T' = T + 1``: unbiased for a fixed T."""
    weights = np.exp(fitted.q)
    return float(fitted.p.mean() + 1.0 - weights.mean()), (fitted.p, 1.0 - weights)
