"""Discrete: membership posterior of a finite-valued query from the shares of each value in both classes."""

from __future__ import annotations

import dataclasses
import functools
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from mace_jax._types import FloatArray, Seed, pytree
from mace_jax.estimators._base import AbstractEstimator, FoldOutcome, Objective, from_shares

__all__ = ["Discrete", "DiscretePlan"]


@pytree
class DiscretePlan:
    """Which value every record has; values of the training part are numbered from 0, unseen ones are the last."""

    train: Int[Array, " s"]
    test: Int[Array, " t"]
    size: Int[Array, " c"]  # training records per value, zero-padded to s + 1 values


@final
@dataclasses.dataclass(frozen=True)
class Discrete(AbstractEstimator):
    """Posterior of a query with finitely many values: equal outputs are one value, rows of a vector as a whole.

    With c1 and c0 of the n1 members and n0 non-members of the training part showing the value, the posterior at prior
    one half is (c1/n1) / (c1/n1 + c0/n0), and one half for a value that the training part never shows. A training
    record is left out of its own value (c1 - 1 of n1 - 1 for a member).

    Biased towards: too small an advantage of the held-out rule where values are rare, since an unseen value is a coin
    flip; too large a plug-in, by about sqrt(2/pi) of the bound in ``discrete_bounds``. Do not use it for continuous
    outputs: nothing repeats, every record is unseen and the advantage 0; ``Histogram`` bins a scalar first.

    Cost: one label count per fold, O(s); memory ``12 s + 4 t`` bytes per fold.

    References: Devroye, Gyorfi and Lugosi (1996), chapter 27.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from mace_jax.metrics import balanced_accuracy
        >>> plan = Discrete().plan(np.asarray([[0.0], [0.0], [0.0], [1.0]]), np.asarray([[0.0], [7.0]]), seed=0)
        >>> Discrete().fit_fold(plan, jnp.asarray([1, 1, 0, 0]), balanced_accuracy.objective()).posterior.tolist()
        [0.6666666865348816, 0.5]
    """

    def supports(self, n_outputs: int) -> bool:
        """Any width."""
        return n_outputs >= 1

    def plan(self, train: FloatArray, test: FloatArray, *, seed: Seed) -> DiscretePlan:
        """Number the values; the labels are not needed."""
        rows = np.concatenate([train, test]) + 0.0  # -0.0 is 0.0
        value = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
        known, first = np.unique(value[: len(train)], return_inverse=True)
        place = np.minimum(np.searchsorted(known, value[len(train) :]), len(known) - 1)
        unseen = known[place] != value[len(train) :]
        return DiscretePlan(
            jnp.asarray(first.reshape(-1), dtype=jnp.int32),
            jnp.asarray(np.where(unseen, len(train), place), dtype=jnp.int32),
            jnp.asarray(np.bincount(first.reshape(-1), minlength=len(train) + 1), dtype=jnp.int32),
        )

    @functools.partial(jax.jit, static_argnums=0)
    def fit_fold(self, plan: DiscretePlan, labels: Int[Array, " s"], objective: Objective) -> FoldOutcome:
        """Count, and apply to the fold and to the training part itself."""
        counts, own, reached = _fit(plan, labels, objective)
        posterior = _posterior(plan, counts, labels)
        unseen = posterior[plan.test]
        return FoldOutcome(
            unseen,
            objective.decide(unseen, reached),
            own,
            objective.decide(posterior[plan.train], reached),
            jnp.zeros((), jnp.int32),
        )

    @functools.partial(jax.jit, static_argnums=0)
    def decide_fold(self, plan: DiscretePlan, labels: Int[Array, " s"], objective: Objective) -> Bool[Array, " t"]:
        """The decisions of ``fit_fold`` alone."""
        counts, _, reached = _fit(plan, labels, objective)
        return objective.decide(_posterior(plan, counts, labels)[plan.test], reached)

    def neighbors(self, plan: DiscretePlan, chosen: int) -> None:
        """No neighbors are involved."""


def _posterior(plan: DiscretePlan, counts: Array, labels: Array) -> Array:
    """Of every value."""
    n1 = jnp.sum(labels)
    return from_shares(counts, plan.size - counts, n1, labels.shape[0] - n1)


def _fit(plan: DiscretePlan, labels: Array, objective: Objective) -> tuple[Array, Array, Array]:
    """Members per value, posterior of the training records each left out, and the metric those reach."""
    counts = jnp.zeros_like(plan.size).at[plan.train].add(labels, mode="promise_in_bounds")
    n1 = jnp.sum(labels)
    n0 = labels.shape[0] - n1
    c1 = counts.at[plan.train].get(mode="promise_in_bounds")
    c0 = plan.size.at[plan.train].get(mode="promise_in_bounds") - c1
    own = from_shares(c1 - labels, c0 - (1 - labels), n1 - labels, n0 - (1 - labels))
    return counts, own, objective.optimum(own, labels)
