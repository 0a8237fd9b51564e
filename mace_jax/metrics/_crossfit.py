"""Cross-fitting: every record is judged by a rule that was fitted on the other folds, by default the other half."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mace_jax import _validate
from mace_jax._random import as_seed
from mace_jax._types import Seed
from mace_jax.data import MembershipSample, stratified_folds
from mace_jax.estimators import KNN, AbstractEstimator, Objective
from mace_jax.estimators._folds import plan_folds as plan_all
from mace_jax.estimators._line import LinePlan
from mace_jax.estimators._space import SpacePlan

__all__ = ["N_FOLDS", "CrossFit", "FoldData", "JudgedFold", "checked_folds", "cross_fit", "plan_folds", "refit"]

N_FOLDS = 2
_MOST_FOLDS = 10


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
        """A per-record field of the outcomes, in pooled row order; own fields need two folds."""
        own = field.startswith("own_")
        if own and len(self.folds) > N_FOLDS:
            raise ValueError(f"With {len(self.folds)} folds a record is in several training parts, so {field} is many.")
        first = np.asarray(getattr(self.outcomes[0], field))
        out = np.empty(len(self.labels), dtype=first.dtype)
        for fold, outcome in zip(self.folds, self.outcomes, strict=True):
            out[fold.train if own else fold.test] = getattr(outcome, field)
        return out


def checked_folds(sample: MembershipSample, n_folds: int) -> int:
    """The number of folds, if every class has a record for each."""
    n_folds = _validate.positive_int(minimum=2, n_folds=n_folds)
    fewest = min(len(sample.members), len(sample.nonmembers))
    if n_folds > min(_MOST_FOLDS, fewest):
        raise ValueError(
            f"n_folds={n_folds} must be at most {_MOST_FOLDS} and no more than the records of the smaller class, "
            f"{fewest}."
        )
    return n_folds


def plan_folds(
    sample: MembershipSample, estimator: AbstractEstimator, *, seed: Seed, n_folds: int = N_FOLDS
) -> tuple[np.ndarray, np.ndarray, Iterator[FoldData]]:
    """Labels, fold of every pooled row, and the label-free plans, one after the other.

    The folds depend on the seed and the class sizes alone, so several queries of the same records share them.
    """
    if not estimator.supports(sample.n_outputs):
        raise ValueError(
            f"estimator={estimator!r} cannot use {sample.n_outputs} query outputs per record; pass KNN() instead."
        )
    n, m = len(sample.members), len(sample.nonmembers)
    fold_of = np.concatenate(stratified_folds(n, m, checked_folds(sample, n_folds), seed=seed))
    labels = np.concatenate([np.ones(n, np.int32), np.zeros(m, np.int32)])
    return labels, fold_of, _plans(np.concatenate([sample.members, sample.nonmembers]), estimator, fold_of, seed)


def _plans(pooled: np.ndarray, estimator: AbstractEstimator, fold_of: np.ndarray, seed: Seed) -> Iterator[FoldData]:
    parts = [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(fold_of.max() + 1)]
    if len(parts) > N_FOLDS and isinstance(estimator, KNN) and pooled.shape[1] > 1:
        # one neighbor search for all folds; with two folds each of them searches less than that
        plans = plan_all(estimator, pooled, fold_of, seed=as_seed(seed))
        yield from (FoldData(*part, plan) for part, plan in zip(parts, plans, strict=True))
        return
    for train, test in parts:
        yield FoldData(train, test, estimator.plan(pooled[train], pooled[test], seed=as_seed(seed)))


def cross_fit(
    sample: MembershipSample,
    estimator: AbstractEstimator,
    objective: Objective,
    *,
    seed: Seed,
    n_folds: int = N_FOLDS,
    keep_candidates: bool = True,
) -> CrossFit:
    """Fit on all folds but one, judge that one.

    Without ``keep_candidates`` the plans of a kNN keep the k that each fold chose, and nothing of the others.
    """
    labels, fold_of, planned = plan_folds(sample, estimator, seed=seed, n_folds=n_folds)
    folds, outcomes, neighbors = [], [], []
    for fold in planned:
        outcome = _judge(fold, estimator, objective, labels)
        outcomes.append(outcome)
        neighbors.append(estimator.neighbors(fold.plan, int(outcome.chosen)))
        folds.append(fold if keep_candidates else _at_chosen(fold, outcome))
    return CrossFit(sample, estimator, labels, fold_of, tuple(folds), tuple(outcomes), tuple(neighbors))


def refit(
    sample: MembershipSample,
    estimator: AbstractEstimator,
    objective: Objective,
    labels: np.ndarray,
    fold_of: np.ndarray,
    folds: tuple[FoldData, ...],
) -> CrossFit:
    """The same from existing plans, for another objective."""
    outcomes = tuple(_judge(fold, estimator, objective, labels) for fold in folds)
    neighbors = tuple(
        estimator.neighbors(fold.plan, int(outcome.chosen)) for fold, outcome in zip(folds, outcomes, strict=True)
    )
    return CrossFit(sample, estimator, labels, fold_of, folds, outcomes, neighbors)


def _judge(fold: FoldData, estimator: AbstractEstimator, objective: Objective, labels: np.ndarray) -> JudgedFold:
    outcome = estimator.fit_fold(fold.plan, jnp.asarray(labels[fold.train]), objective)
    return JudgedFold(*(np.asarray(field) for field in outcome))


def _at_chosen(fold: FoldData, outcome: JudgedFold) -> FoldData:
    """The fold with the one candidate it chose, where its plan has candidates."""
    if not isinstance(fold.plan, LinePlan | SpacePlan):
        return fold
    one = {name: getattr(fold.plan, name).at(jnp.asarray(outcome.chosen)) for name in ("probe", "inner", "outer")}
    return dataclasses.replace(fold, plan=dataclasses.replace(fold.plan, **one))
