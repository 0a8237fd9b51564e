"""Cross-fitting over two halves: every record is judged by a rule that was fitted on the other half."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mace_jax._random import as_seed
from mace_jax._types import Seed
from mace_jax.data import MembershipSample, stratified_folds
from mace_jax.estimators import AbstractEstimator, Objective

__all__ = ["CrossFit", "FoldData", "cross_fit", "plan_folds"]

N_FOLDS = 2


@dataclasses.dataclass(frozen=True, eq=False)
class FoldData:
    """One fold: who trains, who is judged, and the estimator's label-free plan."""

    train: np.ndarray  # pooled row numbers, members first
    test: np.ndarray
    plan: Any


class JudgedFold(NamedTuple):
    """``FoldOutcome`` as host arrays."""

    posterior: np.ndarray
    decisions: np.ndarray
    own_posterior: np.ndarray
    own_decisions: np.ndarray
    chosen: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class CrossFit:
    """Out-of-fold results of one estimator on one query; pooled rows are members first, then non-members."""

    sample: MembershipSample
    estimator: AbstractEstimator
    labels: np.ndarray  # (n + m,) int32, 1 = member
    fold_of: np.ndarray  # (n + m,) int8
    folds: tuple[FoldData, ...]
    outcomes: tuple[JudgedFold, ...]
    neighbors: tuple[int | None, ...]  # k per fold

    def pooled(self, field: str) -> np.ndarray:
        """A per-record field of the outcomes, in pooled row order."""
        first = np.asarray(getattr(self.outcomes[0], field))
        out = np.empty(len(self.labels), dtype=first.dtype)
        for fold, outcome in zip(self.folds, self.outcomes, strict=True):
            out[fold.train if field.startswith("own_") else fold.test] = getattr(outcome, field)
        return out


def plan_folds(
    sample: MembershipSample, estimator: AbstractEstimator, *, seed: Seed
) -> tuple[np.ndarray, np.ndarray, tuple[FoldData, ...]]:
    """Labels, fold of every pooled row, and the label-free plans.

    The folds depend on the seed and the class sizes alone, so several queries of the same records share them.
    """
    if not estimator.supports(sample.n_outputs):
        raise ValueError(
            f"estimator={estimator!r} cannot use {sample.n_outputs} query outputs per record; pass KNN() instead."
        )
    n, m = len(sample.members), len(sample.nonmembers)
    fold_of = np.concatenate(stratified_folds(n, m, N_FOLDS, seed=seed))
    pooled = np.concatenate([sample.members, sample.nonmembers])
    labels = np.concatenate([np.ones(n, np.int32), np.zeros(m, np.int32)])
    folds = []
    for fold in range(N_FOLDS):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        folds.append(FoldData(train, test, estimator.plan(pooled[train], pooled[test], seed=as_seed(seed))))
    return labels, fold_of, tuple(folds)


def cross_fit(sample: MembershipSample, estimator: AbstractEstimator, objective: Objective, *, seed: Seed) -> CrossFit:
    """Fit on each half, judge the other."""
    labels, fold_of, folds = plan_folds(sample, estimator, seed=seed)
    return refit(sample, estimator, objective, labels, fold_of, folds)


def refit(
    sample: MembershipSample,
    estimator: AbstractEstimator,
    objective: Objective,
    labels: np.ndarray,
    fold_of: np.ndarray,
    folds: tuple[FoldData, ...],
) -> CrossFit:
    """The same from existing plans, for another objective."""
    outcomes = []
    for fold in folds:
        outcome = estimator.fit_fold(fold.plan, jnp.asarray(labels[fold.train]), objective)
        outcomes.append(JudgedFold(*(np.asarray(field) for field in outcome)))
    neighbors = tuple(
        estimator.neighbors(fold.plan, int(outcome.chosen)) for fold, outcome in zip(folds, outcomes, strict=True)
    )
    return CrossFit(sample, estimator, labels, fold_of, folds, tuple(outcomes), neighbors)
