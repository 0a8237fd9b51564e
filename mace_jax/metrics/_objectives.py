"""Objectives of three kinds of metric, as estimators fit them; the rules they lead to are those of ``Objective``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mace_jax._types import pytree
from mace_jax.estimators import Objective

__all__ = ["FractionalObjective", "LinearObjective", "RecallObjective"]

_MOST_STEPS = 8  # at most 4 were seen
_BITS_OF_ONE = 0x3F800000


@pytree
class LinearObjective(Objective):
    """A metric whose denominator is constant: what is reached does not move its threshold, and is not worked out."""

    def optimum(self, posterior: Float[Array, " n"], labels: Int[Array, " n"]) -> Float[Array, ""]:
        """Zero, which ``decide`` multiplies by zero."""
        return jnp.zeros_like(self.prior)


@pytree
class FractionalObjective(Objective):
    """Any other metric; as ``Objective``, but the iteration ends when nothing changes."""

    def optimum(self, posterior: Float[Array, " n"], labels: Int[Array, " n"]) -> Float[Array, ""]:
        """Largest metric any threshold on the posterior reaches on these records."""
        return _dinkelbach(self, posterior, labels)


@pytree
class RecallObjective(Objective):
    """An objective whose rules catch at least a share ``min_recall`` of the members they are fitted on.

    What is ``reached`` is a cut on the posterior: the lower of the metric's own and the one that reaches the recall.
    """

    min_recall: Float[Array, ""]

    def value(self, true_positive_rate: Array, false_positive_rate: Array) -> Array:
        """The metric at given error rates (any shape), completed by random guesses up to the minimum recall."""
        missing = jnp.maximum(self.min_recall - true_positive_rate, 0.0)
        at_random = missing / jnp.maximum(1.0 - true_positive_rate, 1.0 - self.min_recall)
        return super().value(
            true_positive_rate + at_random * (1.0 - true_positive_rate),
            false_positive_rate + at_random * (1.0 - false_positive_rate),
        )

    def decide(self, posterior: Float[Array, " n"], reached: Float[Array, ""]) -> Bool[Array, " n"]:
        """At the cut or above it."""
        return posterior >= reached

    def optimum(self, posterior: Float[Array, " n"], labels: Int[Array, " n"]) -> Float[Array, ""]:
        """The lower of two cuts: Dinkelbach's, and the one midway between the last member needed and the next."""
        needed = jnp.ceil(self.min_recall * jnp.sum(labels) - 1e-4)
        last, below = _order_statistic(posterior, labels, needed)
        best = _dinkelbach(self, posterior, labels)
        _, c1, c2, _, d1, d2 = self.coefficients
        at_prior = jnp.clip((best * d2 - c2) / (c1 - best * d1), 0.0, 1.0)
        odds = at_prior * (1.0 - self.prior)
        own = odds / (odds + (1.0 - at_prior) * self.prior)
        return jnp.minimum(own, (last + below) / 2.0)


@jax.jit  # so that estimators on the host compile it once
def _order_statistic(posterior: Array, labels: Array, needed: Array) -> tuple[Array, Array]:
    """The ``needed``-th largest posterior of a member, and the next smaller one of a member; 0 where there is none.

    Bisection over the bits of a float32, which order non-negative numbers as their values do: exact, and faster than a
    sort on a CPU.
    """
    members = labels.astype(posterior.dtype)
    bits = jax.lax.bitcast_convert_type(posterior, jnp.int32)

    def halve(_, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds  # enough members at low or above, too few at high or above
        middle = low + (high - low) // 2
        enough = (bits >= middle).astype(posterior.dtype) @ members >= needed
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    zero = jnp.zeros((), jnp.int32)
    last, _ = jax.lax.fori_loop(0, 30, halve, (zero, zero + jnp.int32(_BITS_OF_ONE + 1)))
    below = jnp.max(jnp.where((bits < last) & (labels == 1), posterior, 0.0))
    return jax.lax.bitcast_convert_type(last, posterior.dtype), below


@jax.jit
def _dinkelbach(objective: Objective, posterior: Array, labels: Array) -> Array:
    """The best value over rules (c1 - L d1) eta + (c2 - L d2) > 0, by raising L to what its rule reaches."""
    _, c1, c2, _, d1, d2 = objective.coefficients
    prior = objective.prior
    at_prior = prior * posterior / (prior * posterior + (1.0 - prior) * (1.0 - posterior))
    members = labels.astype(posterior.dtype)  # counts below 2^24 are exact, and a product is the fastest sum
    n1 = jnp.sum(labels)
    n0 = labels.shape[0] - n1

    def improve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        _, reached, step = state
        chosen = ((c1 - reached * d1) * at_prior + (c2 - reached * d2) > 0.0).astype(posterior.dtype)
        hits = chosen @ members
        alarms = jnp.sum(chosen) - hits
        found = objective.value(hits / jnp.maximum(n1, 1), alarms / jnp.maximum(n0, 1))
        return reached, jnp.maximum(reached, found), step + 1

    start = jnp.zeros_like(prior)
    state = (start - 1.0, start, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda s: (s[1] > s[0]) & (s[2] < _MOST_STEPS), improve, state)[1]
