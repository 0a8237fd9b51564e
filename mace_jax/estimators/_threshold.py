"""Threshold: guess "member" above, or below, one cut of a scalar score."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from mace_jax._types import FloatArray, Seed, pytree
from mace_jax.estimators._base import AbstractEstimator, FoldOutcome, Objective, running_total

__all__ = ["Threshold", "ThresholdPlan"]


@pytree
class ThresholdPlan:
    """Training scores in order, and where every score falls between their midpoints."""

    order: Int[Array, " s"]
    cut: Bool[Array, " s"]  # a cut is possible after this place: the next score differs
    train_above: Int[Array, " s"]  # number of midpoints below each training score
    test_above: Int[Array, " t"]


@final
@dataclasses.dataclass(frozen=True)
class Threshold(AbstractEstimator):
    """The best single cut of a scalar score, its direction chosen with it, fitted on the training part.

    It reaches the optimum when the likelihood ratio is monotone in the score (Gaussian shift, Laplace shift); otherwise
    it reaches the Kolmogorov-Smirnov distance, a lower bound of the total variation distance. Cuts lie midway between
    neighboring scores; equal scores are never separated. It gives an order, no posterior; ``dkw_bound`` is what all
    cuts together prove about a score fixed beforehand.

    References: Kolmogorov (1933), Smirnov (1939) for the distance; Yeom et al. (2018) for the attack.

    Example:
        >>> Threshold().supports(1), Threshold().supports(2)
        (True, False)
    """

    gives_posterior: ClassVar[bool] = False

    def supports(self, n_outputs: int) -> bool:
        """Scalar outputs only."""
        return n_outputs == 1

    def plan(self, train: FloatArray, test: FloatArray, *, seed: Seed) -> ThresholdPlan:
        """Sort once; the labels are not needed."""
        scores, unseen = train[:, 0], test[:, 0]
        order = np.argsort(scores, kind="stable")
        values = scores[order]
        midpoints = np.append(values[:-1] + (values[1:] - values[:-1]) / 2, np.inf)
        # a midpoint that rounds to its upper neighbor would separate nothing: keep the lower score
        midpoints[:-1] = np.where(midpoints[:-1] >= values[1:], values[:-1], midpoints[:-1])
        return ThresholdPlan(
            jnp.asarray(order, dtype=jnp.int32),
            jnp.asarray(np.append(values[1:] > values[:-1], True)),
            jnp.asarray(np.searchsorted(midpoints, scores, side="left"), dtype=jnp.int32),
            jnp.asarray(np.searchsorted(midpoints, unseen, side="left"), dtype=jnp.int32),
        )

    @functools.partial(jax.jit, static_argnums=0)
    def fit_fold(self, plan: ThresholdPlan, labels: Int[Array, " s"], objective: Objective) -> FoldOutcome:
        """The posterior is a rank oriented by the fitted direction: no probability, only an order."""
        place, upward = _fit(plan, labels, objective)
        direction = jnp.where(upward, 1.0, -1.0)
        return FoldOutcome(
            direction * plan.test_above.astype(jnp.float32),
            _beyond(plan.test_above, place, upward),
            direction * plan.train_above.astype(jnp.float32),
            _beyond(plan.train_above, place, upward),
            place,
        )

    @functools.partial(jax.jit, static_argnums=0)
    def decide_fold(self, plan: ThresholdPlan, labels: Int[Array, " s"], objective: Objective) -> Bool[Array, " t"]:
        """The decisions of ``fit_fold`` alone."""
        return _beyond(plan.test_above, *_fit(plan, labels, objective))

    def neighbors(self, plan: ThresholdPlan, chosen: int) -> None:
        """No neighbors are involved."""


def _beyond(above: Array, place: Array, upward: Array) -> Array:
    return (above > place) == upward


def _fit(plan: ThresholdPlan, labels: Int[Array, " s"], objective: Objective) -> tuple[Array, Array]:
    """Place of the best cut in sorted order, and whether members lie above it."""
    ordered = labels.at[plan.order].get(mode="promise_in_bounds")
    members = running_total(ordered)
    others = jnp.arange(1, labels.shape[0] + 1, dtype=jnp.int32) - members
    below1, below0 = members / jnp.maximum(members[-1], 1), others / jnp.maximum(others[-1], 1)
    upward = jnp.where(plan.cut, objective.value(1.0 - below1, 1.0 - below0), -jnp.inf)
    downward = jnp.where(plan.cut, objective.value(below1, below0), -jnp.inf)
    best_up, best_down = jnp.max(upward), jnp.max(downward)
    is_up = best_up >= best_down
    best = jnp.where(is_up, upward == best_up, downward == best_down)
    # the first place that attains the maximum; a minimum is several times as fast as argmax on a CPU
    return jnp.min(jnp.where(best, jnp.arange(len(best)), len(best))), is_up
