"""optimal_membership_advantage: what the best rule on a query gains over guessing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from mace_jax import _validate
from mace_jax._status import Status
from mace_jax._types import FloatArray, Seed
from mace_jax.data import MembershipSample
from mace_jax.estimators import KNN, AbstractEstimator, Objective, OneNNBracket, one_nn_bracket
from mace_jax.metrics._crossfit import N_FOLDS, CrossFit, checked_folds, cross_fit
from mace_jax.metrics._linear_fractional import LinearFractional, balanced_accuracy, named_metric
from mace_jax.metrics._null import permutation_null, permuted_posteriors
from mace_jax.metrics._plug_in import plug_ins

__all__ = [
    "AdvantageEstimate",
    "RuleCounts",
    "count_rule",
    "estimate_advantage",
    "held_and_own",
    "optimal_membership_advantage",
]

_FEW = 30
_RARE = 10
_PLUG_INS = 50  # permutations behind the null of the plug-in, of which only the mean is used


@dataclasses.dataclass(frozen=True)
class RuleCounts:
    """What one rule, or a pair of cross-fitted ones, did to members and non-members."""

    true_positives: int
    n_members: int
    false_positives: int
    n_nonmembers: int

    @property
    def true_positive_rate(self) -> float:
        return self.true_positives / self.n_members

    @property
    def false_positive_rate(self) -> float:
        return self.false_positives / self.n_nonmembers

    @property
    def rarest(self) -> int:
        """The smallest of the four confusion counts."""
        return min(
            self.true_positives,
            self.n_members - self.true_positives,
            self.false_positives,
            self.n_nonmembers - self.false_positives,
        )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AdvantageEstimate:
    """An estimate of the optimal membership advantage (the total variation distance for balanced accuracy).

    ``lower_rule`` is the normalized metric of cross-fitted rules on records they never saw: in expectation no rule can
    exceed the optimum, so it errs downwards. ``advantage`` is the same, not below 0. ``in_sample`` is what the rules
    reach on the records they were fitted on, ``plug_in`` the optimum over the estimated posteriors; both err upwards.
    """

    metric: LinearFractional
    prior: float
    value: float  # the metric itself, in its own unit
    advantage: float
    lower_rule: float
    in_sample: float
    plug_in: float
    held_out: RuleCounts
    own: RuleCounts  # of the rules on the records they were fitted on
    null: FloatArray  # (n_permutations,) lower_rule under permuted membership
    estimator: AbstractEstimator
    n_neighbors: tuple[int | None, ...]  # per fold
    status: Status
    null_plug_in: FloatArray = dataclasses.field(default_factory=lambda: np.empty(0))  # plug_in under permutation
    n_folds: int = N_FOLDS
    one_nn: OneNNBracket | None = None

    resampling: Literal["cells"] = "cells"

    @property
    def null_mean(self) -> float:
        """Mean of the permutation null; NaN without permutations."""
        return float(self.null.mean()) if len(self.null) else float("nan")

    @property
    def null_plug_in_mean(self) -> float:
        """Mean plug-in of the first 50 permutations, NaN without: what the plug-in shows where nothing is leaked.

        Subtracting it from the plug-in is right without a leak only.
        """
        return float(self.null_plug_in.mean()) if len(self.null_plug_in) else float("nan")

    @property
    def p_value(self) -> float:
        """One-sided permutation p-value, (1 + #{null >= observed}) / (1 + n_permutations)."""
        return float((1 + np.count_nonzero(self.null >= self.lower_rule)) / (1 + len(self.null)))

    def at_rates(self, true_positive_rate: Any, false_positive_rate: Any) -> Any:
        """The normalized metric at given error rates (any shape)."""
        raw = self.metric.value(true_positive_rate, false_positive_rate, prior=self.prior)
        return self.metric.normalize(raw, prior=self.prior)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "metric": self.metric.name,
            "prior": self.prior,
            "value": self.value,
            "advantage": self.advantage,
            "lower_rule": self.lower_rule,
            "in_sample": self.in_sample,
            "plug_in": self.plug_in,
            "held_out": dataclasses.asdict(self.held_out),
            "own": dataclasses.asdict(self.own),
            "null": self.null.tolist(),
            "p_value": self.p_value,
            "null_plug_in": self.null_plug_in.tolist(),
            "n_folds": self.n_folds,
            "one_nn": None if self.one_nn is None else self.one_nn._asdict(),
            "estimator": repr(self.estimator),
            "n_neighbors": list(self.n_neighbors),
            "status": list(self.status.sentences),
        }

    def __repr__(self) -> str:
        return (
            f"AdvantageEstimate(advantage={self.advantage:.4f}, {self.metric.name}={self.value:.4f}, "
            f"plug_in={self.plug_in:.4f}, null_mean={self.null_mean:.4f}, p_value={self.p_value:.4g})"
        )


def optimal_membership_advantage(
    sample: MembershipSample,
    *,
    estimator: AbstractEstimator | None = None,
    metric: LinearFractional | str = balanced_accuracy,
    prior: float = 0.5,
    n_permutations: int = 999,
    n_folds: int = N_FOLDS,
    bracket: bool = False,
    seed: Seed,
) -> AdvantageEstimate:
    """Estimate how much better than guessing the best rule on these query outputs can be.

    A rule is fitted on a random half and judged on the other half, and the other way round. Under balanced accuracy the
    target is the total variation distance TV = sup_A P(A | member) - P(A | non-member).

    Args:
        sample: Query outputs of members ``(n, q)`` and non-members ``(m, q)``; the columns of several queries together
            are one vector query.
        estimator: How rules are fitted; ``KNN()`` by default. Where JAX cannot trace it (``on_host``), every
            permutation is a complete fit in a plain loop: ask for fewer.
        metric: A linear-fractional metric or the name of one.
        prior: Probability that a record is a member, as the adversary sees it.
        n_permutations: Size of the permutation null; 0 skips it (the p-value is then 1).
        n_folds: 2 to 10. More folds fit each rule on more records, which lowers the downward bias, and share more of
            them between rules; intervals were checked for two.
        bracket: Also bracket the total variation distance by the nearest-neighbor error (``one_nn``); searches the
            neighbors of all records once more.
        seed: Fixes folds and permutations.

    Returns:
        The estimate; pass it to ``bootstrap`` for an interval.

    Raises:
        ValueError: prior outside (0, 1), an unknown metric, an estimator that cannot use vector outputs, more folds
            than records of a class.

    Biased downwards: rules fitted on n records do not reach the optimum, notably in high dimension. It describes this
    model on records like these; it is no bound (see ``certify``).

    References: Liu et al. (2020) for the quantity; Yeom et al. (2018) for the membership advantage.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> sample = MembershipSample(rng.normal(1, 1, 2000), rng.normal(0, 1, 2000))
        >>> bool(abs(optimal_membership_advantage(sample, n_permutations=19, seed=0).advantage - 0.383) < 0.04)
        True
    """
    metric, estimator = named_metric(metric), KNN() if estimator is None else estimator
    prior = _validate.in_open_unit(prior=prior)
    n_permutations = _validate.positive_int(minimum=0, n_permutations=n_permutations)
    objective = metric.objective(prior=prior)
    fitted = cross_fit(sample, estimator, objective, seed=seed, n_folds=checked_folds(sample, n_folds))
    return estimate_advantage(
        fitted,
        objective,
        metric,
        prior,
        n_permutations=n_permutations,
        n_plug_ins=min(n_permutations, _PLUG_INS) if estimator.gives_posterior else 0,
        one_nn=one_nn_bracket(sample) if bracket else None,
        seed=seed,
    )


def estimate_advantage(
    fitted: CrossFit,
    objective: Objective,
    metric: LinearFractional,
    prior: float,
    *,
    n_permutations: int,
    n_plug_ins: int = 0,
    one_nn: OneNNBracket | None = None,
    seed: Seed,
    on_progress: Callable[[float], None] | None = None,
) -> AdvantageEstimate:
    """The estimate from an existing cross-fit; nothing is searched again."""
    held_out, own = held_and_own(fitted)
    value = metric.value(held_out.true_positive_rate, held_out.false_positive_rate, prior=prior)
    lower_rule = metric.normalize(value, prior=prior)
    in_sample = metric.value(own.true_positive_rate, own.false_positive_rate, prior=prior)
    if n_permutations:
        rates = permutation_null(fitted, objective, n_permutations, seed=seed, on_progress=on_progress)
        null = metric.normalize(metric.value(*rates, prior=prior), prior=prior)
    else:
        null = np.empty(0)
    permuted = permuted_posteriors(fitted, objective, n_plug_ins, seed=seed) if n_plug_ins else []
    status = Status.OK
    if min(held_out.n_members, held_out.n_nonmembers) < _FEW:
        status |= Status.TOO_FEW_SAMPLES
    if min(held_out.rarest, own.rarest) < _RARE:
        status |= Status.RARE_COUNTS
    return AdvantageEstimate(
        metric=metric,
        prior=prior,
        value=value,
        advantage=max(0.0, lower_rule),
        lower_rule=lower_rule,
        in_sample=metric.normalize(in_sample, prior=prior),
        plug_in=_plug_in(fitted, own, metric, prior),
        held_out=held_out,
        own=own,
        null=np.asarray(null),
        estimator=fitted.estimator,
        n_neighbors=fitted.neighbors,
        status=status,
        null_plug_in=np.asarray([plug_ins(*pair, [(metric, prior)])[0] for pair in permuted]),
        n_folds=len(fitted.folds),
        one_nn=one_nn,
    )


def count_rule(decisions: np.ndarray, labels: np.ndarray) -> RuleCounts:
    """Confusion counts of pooled decisions."""
    member = labels == 1
    return RuleCounts(
        int(decisions[member].sum()), int(member.sum()), int(decisions[~member].sum()), int((~member).sum())
    )


def held_and_own(fitted: CrossFit) -> tuple[RuleCounts, RuleCounts]:
    """Counts on unseen records, and on the training parts: there a record is counted once, by its mean decision."""
    held_out = count_rule(fitted.pooled("decisions"), fitted.labels)
    own = [
        count_rule(outcome.own_decisions, fitted.labels[fold.train])
        for fold, outcome in zip(fitted.folds, fitted.outcomes, strict=True)
    ]
    times = len(fitted.folds) - 1
    return held_out, RuleCounts(
        round(sum(counts.true_positives for counts in own) / times),
        held_out.n_members,
        round(sum(counts.false_positives for counts in own) / times),
        held_out.n_nonmembers,
    )


def _plug_in(fitted: CrossFit, own: RuleCounts, metric: LinearFractional, prior: float) -> float:
    """The optimum over out-of-fold posteriors, or over all cuts where the estimator only orders records."""
    if not fitted.estimator.gives_posterior:
        value = metric.value(own.true_positive_rate, own.false_positive_rate, prior=prior)
        return metric.normalize(max(value, metric.trivial(prior=prior)), prior=prior)
    return float(plug_ins(fitted.pooled("posterior"), fitted.labels, [(metric, prior)])[0])
