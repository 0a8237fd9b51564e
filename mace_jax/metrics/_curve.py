"""advantage_curve: every metric at every prior from one cross-fit."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.data import MembershipSample
from mace_jax.estimators import KNN, AbstractEstimator, Objective
from mace_jax.metrics._advantage import RuleCounts, count_rule, held_and_own
from mace_jax.metrics._crossfit import N_FOLDS, CrossFit, checked_folds, cross_fit, refit
from mace_jax.metrics._decide import decide_all, decide_all_on_host, stack_objectives
from mace_jax.metrics._linear_fractional import (
    LinearFractional,
    accuracy,
    balanced_accuracy,
    f_beta,
    jaccard,
    named_metric,
    precision,
)
from mace_jax.metrics._null import permutation_nulls, permuted_posteriors
from mace_jax.metrics._plug_in import plug_ins

__all__ = ["AdvantageCurve", "CurvePoint", "advantage_curve"]

_METRICS = (balanced_accuracy, accuracy, f_beta(1.0), jaccard, precision)
_PRIORS = (0.5, 0.1, 0.01, 0.001)
_PLUG_INS = 50


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """One metric at one prior. The advantages are normalized: 0 is the best constant guess, 1 a perfect one."""

    metric: str
    prior: float
    trivial: float  # the metric of the best constant guess, in its own unit
    value: float  # of the held-out rule, in the metric's own unit
    lower_rule: float  # its normalized form: errs downwards
    plug_in: float  # the normalized optimum over estimated posteriors: errs upwards
    null_mean: float  # of lower_rule under permuted membership; NaN without permutations
    null_plug_in_mean: float  # of plug_in, over the first 50 permutations
    p_value: float  # of lower_rule, one-sided; not corrected for the other points
    true_positive_rate: float
    false_positive_rate: float

    @property
    def advantage(self) -> float:
        """``lower_rule``, not below 0."""
        return max(0.0, self.lower_rule)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self) | {"advantage": self.advantage}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AdvantageCurve:
    """Advantages by metric and prior; iterate over its points, or ask for one with ``at(metric, prior)``."""

    points: tuple[CurvePoint, ...]  # metric by metric, priors in the order given
    null: FloatArray  # (points, n_permutations) lower_rule under permuted membership, the same draws in every row
    estimator: AbstractEstimator
    n_neighbors: tuple[int | None, ...]  # per fold
    n_folds: int

    def __iter__(self) -> Iterator[CurvePoint]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def at(self, metric: LinearFractional | str, prior: float) -> CurvePoint:
        """The point of this metric and prior."""
        name = named_metric(metric).name if not isinstance(metric, str) else metric
        for point in self.points:
            if point.metric == name and point.prior == prior:
                return point
        raise KeyError(f"No point for metric={name!r} at prior={prior}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "points": [point.to_dict() for point in self.points],
            "n_permutations": self.null.shape[1],
            "estimator": repr(self.estimator),
            "n_neighbors": list(self.n_neighbors),
            "n_folds": self.n_folds,
        }

    def __repr__(self) -> str:
        rows = [
            f"{'metric':<20} {'prior':>6} {'trivial':>8} {'value':>8} {'advantage':>9} {'plug-in':>8} {'p-value':>8}"
        ]
        rows += [
            f"{p.metric:<20} {p.prior:>6g} {p.trivial:>9.4f} {p.value:>9.4f} {p.advantage:>9.4f} {p.plug_in:>9.4f} "
            f"{p.p_value:>9.4g}"
            for p in self.points
        ]
        return "\n".join(rows)


def advantage_curve(
    sample: MembershipSample,
    *,
    estimator: AbstractEstimator | None = None,
    metrics: Sequence[LinearFractional | str] = _METRICS,
    priors: Sequence[float] = _PRIORS,
    n_permutations: int = 999,
    n_folds: int = N_FOLDS,
    permute_choice: bool = True,
    seed: Seed,
    on_progress: Callable[[float], None] | None = None,
) -> AdvantageCurve:
    """The optimal membership advantage under every metric at every prior, from one cross-fit and one null.

    Another metric or prior moves only the threshold on the posterior, logit eta' = logit eta + logit p' - logit p:
    nothing is searched again, all points share the folds and the label draws of the permutation null, and neighbors
    are counted once per draw. Each point equals ``optimal_membership_advantage`` with the same arguments and seed.

    Args:
        sample: Query outputs of members ``(n, q)`` and non-members ``(m, q)``.
        estimator: How rules are fitted; ``KNN()`` by default.
        metrics: Linear-fractional metrics or names.
        priors: Probabilities that a record is a member, as the adversary sees it.
        n_permutations: Size of the permutation null; 0 skips it.
        n_folds: 2 to 10.
        permute_choice: Whether each permutation chooses k again, as the p-value's exactness asks; False keeps the k
            that each fold chose, which with many candidates (``KNN(k=range(1, 201))``) saves most of the work.
        seed: Fixes folds and permutations.
        on_progress: Called with the share of the null that is done.

    Returns:
        A table with a point per (metric, prior). Its p-values are not corrected for the number of points.

    Raises:
        ValueError: no metric or prior, one of them unknown or outside (0, 1), or an estimator that cannot use the
            sample.

    Small priors put the threshold where few posteriors are: the held-out rule then often guesses "non-member"
    throughout, with advantage 0, although something is leaked. Memory: ``16 J (n + m)`` bytes for J points, and the
    null's.

    References: Koyejo et al. (2014) for thresholds of linear-fractional metrics.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sample = MembershipSample(rng.normal(1, 1, 900), rng.normal(0, 1, 900))
        >>> curve = advantage_curve(sample, metrics=["accuracy"], priors=[0.5, 0.1], n_permutations=19, seed=0)
        >>> [round(point.trivial, 3) for point in curve]
        [0.5, 0.9]
    """
    estimator = KNN() if estimator is None else estimator
    chosen = [named_metric(metric) for metric in ((metrics,) if isinstance(metrics, str) else metrics)]
    pairs = [(metric, _validate.in_open_unit(prior=prior)) for metric, prior in itertools.product(chosen, priors)]
    if not pairs:
        raise ValueError("metrics and priors must not be empty.")
    n_permutations = _validate.positive_int(minimum=0, n_permutations=n_permutations)
    objectives = [metric.objective(prior=prior) for metric, prior in pairs]
    fitted = cross_fit(
        sample,
        estimator,
        objectives[0],
        seed=seed,
        n_folds=checked_folds(sample, n_folds),
        keep_candidates=permute_choice,
    )
    counts, in_sample = _observed(fitted, objectives)
    nulls = np.empty((len(pairs), 0))
    permuted = []
    if n_permutations:
        tpr, fpr = permutation_nulls(fitted, objectives, n_permutations, seed=seed, on_progress=on_progress)
        nulls = np.stack(
            [
                metric.normalize(metric.value(tpr[row], fpr[row], prior=prior), prior=prior)
                for row, (metric, prior) in enumerate(pairs)
            ]
        )
        if estimator.gives_posterior:
            permuted = permuted_posteriors(fitted, objectives[0], min(n_permutations, _PLUG_INS), seed=seed)
    if estimator.gives_posterior:
        plugged = plug_ins(fitted.pooled("posterior"), fitted.labels, pairs)
    else:
        plugged = np.asarray([max(0.0, _normalized(own, *pair)) for own, pair in zip(in_sample, pairs, strict=True)])
    under_null = (
        np.mean([plug_ins(*pair, pairs) for pair in permuted], axis=0) if permuted else np.full(len(pairs), np.nan)
    )
    points = tuple(
        _point(*pair, count, null, float(plug_in), float(at_null))
        for pair, count, null, plug_in, at_null in zip(pairs, counts, nulls, plugged, under_null, strict=True)
    )
    return AdvantageCurve(points, nulls, estimator, fitted.neighbors, len(fitted.folds))


def _normalized(counts: RuleCounts, metric: LinearFractional, prior: float) -> float:
    value = metric.value(counts.true_positive_rate, counts.false_positive_rate, prior=prior)
    return metric.normalize(value, prior=prior)


def _point(
    metric: LinearFractional, prior: float, counts: RuleCounts, null: FloatArray, plug_in: float, null_plug_in: float
) -> CurvePoint:
    lower_rule = _normalized(counts, metric, prior)
    return CurvePoint(
        metric=metric.name,
        prior=prior,
        trivial=metric.trivial(prior=prior),
        value=metric.value(counts.true_positive_rate, counts.false_positive_rate, prior=prior),
        lower_rule=lower_rule,
        plug_in=plug_in,
        null_mean=float(null.mean()) if len(null) else float("nan"),
        null_plug_in_mean=null_plug_in,
        p_value=float((1 + np.count_nonzero(null >= lower_rule)) / (1 + len(null))),
        true_positive_rate=counts.true_positive_rate,
        false_positive_rate=counts.false_positive_rate,
    )


def _observed(fitted: CrossFit, objectives: Sequence[Objective]) -> tuple[list[RuleCounts], list[RuleCounts]]:
    """Counts per objective on unseen records; and in sample, where the estimator has no posterior."""
    if not fitted.estimator.gives_posterior:
        fits = [refit(*_parts(fitted, objective)) for objective in objectives]
        held_out, own = zip(*(held_and_own(one) for one in fits), strict=True)
        return list(held_out), list(own)
    judged = np.empty((len(objectives), len(fitted.labels)), bool)
    places, stacked = stack_objectives(objectives)
    for fold in fitted.folds:
        labels = fitted.labels[fold.train]
        if fitted.estimator.on_host:
            judged[:, fold.test] = decide_all_on_host(fitted.estimator, fold.plan, labels, objectives)
            continue
        for place, decisions in zip(
            places, _decide(fitted.estimator, fold.plan, jnp.asarray(labels), stacked), strict=True
        ):
            judged[np.ix_(place, fold.test)] = decisions
    return [count_rule(row, fitted.labels) for row in judged], []


def _parts(fitted: CrossFit, objective: Objective) -> tuple[Any, ...]:
    return fitted.sample, fitted.estimator, objective, fitted.labels, fitted.fold_of, fitted.folds


@functools.partial(jax.jit, static_argnums=0)
def _decide(estimator: AbstractEstimator, plan: Any, labels: jax.Array, stacked: tuple[Objective, ...]):
    return decide_all(estimator, plan, labels, stacked)
