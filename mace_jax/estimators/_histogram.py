"""Histogram: a scalar query cut into bins of equal mass."""

from __future__ import annotations

import dataclasses
import functools
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed, pytree
from mace_jax.estimators._base import AbstractEstimator, FoldOutcome, Objective, from_shares, running_total

__all__ = ["Histogram", "HistogramPlan"]

_SIZES = (2, 5, 10, 20, 50, 100)
_LEAST = 10  # training records per bin, on average, for a size to be tried


@pytree
class HistogramPlan:
    """For C candidate numbers of bins, where the cuts lie and the bin of every record; padding bins are empty."""

    order: Int[Array, " s"]  # training records in ascending order of their output
    edges: Int[Array, "C b"]  # sorted training places where bins end; the last ones are s
    train: Int[Array, "C s"]
    test: Int[Array, "C t"]


@final
@dataclasses.dataclass(frozen=True)
class Histogram(AbstractEstimator):
    """Posterior of a scalar query from bins that hold equally many training records.

    With c1 of n1 members and c0 of n0 non-members in the bin, the posterior at prior one half is
    (c1/n1) / (c1/n1 + c0/n0); a training record is left out of its own bin. Cuts lie midway between neighboring
    training outputs, at the place nearest to equal mass where outputs differ: equal outputs always share a bin.

    Args:
        bins: Number of bins, fewer where ties forbid; None chooses in each fold, by leave-one-out log-loss on the
            training part, among 2, 5, 10, 20, 50 and 100 (with 10 records per bin or more).

    Biased towards: too small an advantage where the likelihood ratio crosses one inside a bin; too large a plug-in
    with many bins, by about sqrt(B (1/n1 + 1/n0) / (2 pi)). Do not use it for vector outputs, which it refuses: bins
    of equal mass need an order. ``KNN`` takes vectors, and ``Discrete`` vectors with finitely many values.

    Cost: one sort per fold; then O(s) per set of labels. Memory ``4 C (s + t)`` bytes for C candidates.

    Raises:
        ValueError: ``bins`` below 2.

    References: Devroye, Gyorfi and Lugosi (1996), chapters 6 and 20.

    Example:
        >>> Histogram(bins=10).supports(1), Histogram(bins=10).supports(2)
        (True, False)
    """

    bins: int | None = None

    def __post_init__(self) -> None:
        if self.bins is not None:
            _validate.positive_int(minimum=2, bins=self.bins)

    def supports(self, n_outputs: int) -> bool:
        """Scalar outputs only."""
        return n_outputs == 1

    def plan(self, train: FloatArray, test: FloatArray, *, seed: Seed) -> HistogramPlan:
        """Sort and cut once; the labels are not needed."""
        if train.shape[1] != 1:
            raise ValueError(
                f"Histogram cannot use {train.shape[1]} query outputs per record: bins of equal mass need an order; "
                "pass KNN(), or Discrete() for vectors with finitely many values."
            )
        n = len(train)
        if self.bins is not None and self.bins > n:
            raise ValueError(
                f"bins={self.bins} were asked for but a training part has only {n} records; use bins <= {n}."
            )
        wanted = [size for size in _SIZES if size == 2 or size * _LEAST <= n] if self.bins is None else [self.bins]
        wanted += [wanted[-1]] * (len(_SIZES) - len(wanted) if self.bins is None else 0)  # one shape for every n
        order = np.argsort(train[:, 0], kind="stable")
        values = train[order, 0]
        cuts = [_cuts(values, size) for size in wanted]
        edges = np.full((len(wanted), max(wanted)), n, np.int32)
        for row, cut in zip(edges, cuts, strict=True):
            row[: len(cut)] = cut
        halfway = [_midpoints(values, cut) for cut in cuts]
        return HistogramPlan(
            jnp.asarray(order, dtype=jnp.int32),
            jnp.asarray(edges),
            jnp.asarray(np.stack([np.searchsorted(cut, train[:, 0]) for cut in halfway]), dtype=jnp.int32),
            jnp.asarray(np.stack([np.searchsorted(cut, test[:, 0]) for cut in halfway]), dtype=jnp.int32),
        )

    @functools.partial(jax.jit, static_argnums=0)
    def fit_fold(self, plan: HistogramPlan, labels: Int[Array, " s"], objective: Objective) -> FoldOutcome:
        """Choose the number of bins on the training part, apply to the fold, and to the training part itself."""
        choice, c1, c0, own, reached = _fit(plan, labels, objective)
        n1 = jnp.sum(labels)
        posterior = from_shares(c1, c0, n1, labels.shape[0] - n1)
        unseen = posterior[plan.test[choice]]
        with_itself = posterior[plan.train[choice]]
        return FoldOutcome(
            unseen, objective.decide(unseen, reached), own, objective.decide(with_itself, reached), choice
        )

    @functools.partial(jax.jit, static_argnums=0)
    def decide_fold(self, plan: HistogramPlan, labels: Int[Array, " s"], objective: Objective) -> Bool[Array, " t"]:
        """The decisions of ``fit_fold`` alone."""
        choice, c1, c0, _, reached = _fit(plan, labels, objective)
        n1 = jnp.sum(labels)
        posterior = from_shares(c1, c0, n1, labels.shape[0] - n1)
        return objective.decide(posterior, reached)[plan.test[choice]]

    def neighbors(self, plan: HistogramPlan, chosen: int) -> None:
        """No neighbors are involved."""


def _cuts(values: FloatArray, bins: int) -> np.ndarray:
    """Sorted places where a bin ends, each between two different values, as near to equal mass as ties allow."""
    allowed = np.flatnonzero(values[1:] > values[:-1]) + 1
    if not len(allowed):
        return allowed
    ideal = len(values) * np.arange(1, bins) / bins
    above = np.minimum(np.searchsorted(allowed, ideal), len(allowed) - 1)
    below = np.maximum(above - 1, 0)
    nearer = np.where(ideal - allowed[below] < allowed[above] - ideal, below, above)
    return np.unique(allowed[nearer])


def _midpoints(values: FloatArray, cuts: np.ndarray) -> FloatArray:
    """Midway between the outputs on either side of each cut; the lower one if the midpoint rounds to the upper."""
    low, high = values[cuts - 1], values[cuts]
    middle = low / 2 + high / 2
    return np.where((middle >= high) | (middle < low), low, middle)


def _fit(plan: HistogramPlan, labels: Array, objective: Objective) -> tuple[Array, Array, Array, Array, Array]:
    """Chosen candidate, members and non-members per bin, posterior of left-out training records, metric reached."""
    total = jnp.concatenate(
        [jnp.zeros(1, jnp.int32), running_total(labels.at[plan.order].get(mode="promise_in_bounds"))]
    )
    up_to = total[plan.edges]
    c1 = jnp.diff(up_to, axis=1, prepend=0)
    c0 = jnp.diff(plan.edges, axis=1, prepend=0) - c1
    n1 = total[-1]
    n0 = labels.shape[0] - n1
    # half a record is added to each class, and every record is left out of its own bin
    of_member = from_shares(c1 - 0.5, c0 + 0.5, n1, n0)
    of_other = from_shares(c1 + 0.5, c0 - 0.5, n1, n0)
    losses = -(
        jnp.sum(jnp.where(c1 > 0, c1 * jnp.log(of_member), 0.0), axis=1) / jnp.maximum(n1, 1)
        + jnp.sum(jnp.where(c0 > 0, c0 * jnp.log1p(-of_other), 0.0), axis=1) / jnp.maximum(n0, 1)
    )
    choice = jnp.argmin(losses)
    c1, c0 = c1[choice], c0[choice]
    bins = plan.train[choice]
    left1, left0 = c1[bins] - labels, c0[bins] - (1 - labels)
    own = from_shares(left1, left0, n1 - labels, n0 - (1 - labels))
    return choice, c1, c0, own, objective.optimum(own, labels)
