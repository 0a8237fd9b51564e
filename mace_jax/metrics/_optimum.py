"""The optimum of a linear-fractional metric over a given posterior, as a JAX function."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from mace_jax.metrics._linear_fractional import LinearFractional, balanced_accuracy, named_metric

__all__ = ["optimum", "shift_prior"]

_MOST_STEPS = 64  # at most 4 were seen


def shift_prior(posterior: ArrayLike, *, prior: ArrayLike = 0.5, to: ArrayLike) -> Any:
    """A posterior at another prior, without refitting: logit eta' = logit eta + logit p' - logit p.

    Args:
        posterior: P(member | output) at ``prior``, any shape.
        prior: Prior it was estimated at.
        to: Prior that is wanted.

    Example:
        >>> round(float(shift_prior(0.5, to=0.01)), 6)
        0.01
    """
    eta, old, new = jnp.asarray(posterior), jnp.asarray(prior), jnp.asarray(to)
    member, other = eta * new * (1.0 - old), (1.0 - eta) * (1.0 - new) * old
    return member / (member + other)


def optimum(
    posterior: Float[ArrayLike, " n"],
    weights: Float[ArrayLike, " n"],
    *,
    metric: LinearFractional | str = balanced_accuracy,
    prior: ArrayLike = 0.5,
) -> Float[Array, ""]:
    """Largest metric of any rule on a finite set of outputs; jit- and vmap-able, also over ``prior``.

    L* = max over rules A of L(A), by Dinkelbach's iteration: guess "member" where (c1 - L d1) eta + (c2 - L d2) > 0,
    raise L to what that rule reaches, repeat until nothing changes. With a minimum recall, the best point of the
    randomized rules in descending order of posterior.

    Args:
        posterior: P(member | output) at ``prior``.
        weights: P(output) at ``prior``, summing to 1.
        metric: A linear-fractional metric or the name of one; static under jit.
        prior: Probability that a record is a member; may be traced.

    Returns:
        The metric in its own unit, in the precision of the arguments. Memory: O(n).

    References: Dinkelbach (1967); Koyejo et al. (2014).

    Example:
        >>> inside, outside = jnp.asarray([0.7, 0.3]), jnp.asarray([0.2, 0.8])
        >>> def at(p):
        ...     weights = p * inside + (1 - p) * outside
        ...     return optimum(p * inside / weights, weights, metric="accuracy", prior=p)
        >>> [round(float(value), 3) for value in jax.vmap(at)(jnp.asarray([0.5, 0.1]))]
        [0.75, 0.9]
    """
    metric = named_metric(metric)
    return _optimum(metric, jnp.asarray(posterior), jnp.asarray(weights), jnp.asarray(prior))


@functools.partial(jax.jit, static_argnums=0)
def _optimum(metric: LinearFractional, posterior: Array, weights: Array, prior: Array) -> Array:
    c0, c1, c2, d0, d1, d2 = (jnp.asarray(part, dtype=posterior.dtype) for part in metric.reduced(prior))

    def value(positives: Array, guesses: Array) -> Array:
        below = d0 + d1 * positives + d2 * guesses
        return jnp.where(below > 0, (c0 + c1 * positives + c2 * guesses) / jnp.where(below > 0, below, 1), -jnp.inf)

    if metric.min_recall > 0.0:
        order = jnp.argsort(-posterior, stable=True)
        guesses = jnp.append(0.0, jnp.cumsum(weights[order]))
        positives = jnp.append(0.0, jnp.cumsum((posterior * weights)[order]))
        needed = metric.min_recall * positives[-1]
        corners = jnp.where(positives >= needed, value(positives, guesses), -jnp.inf)
        return jnp.maximum(jnp.max(corners), value(needed, jnp.interp(needed, positives, guesses)))

    def improve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        _, reached, step = state
        chosen = (c1 - reached * d1) * posterior + (c2 - reached * d2) > 0
        found = value(jnp.sum(jnp.where(chosen, posterior * weights, 0)), jnp.sum(jnp.where(chosen, weights, 0)))
        return reached, jnp.maximum(reached, found), step + 1

    p = prior.astype(posterior.dtype)
    trivial = jnp.maximum(value(p, jnp.ones_like(p)), value(jnp.zeros_like(p), jnp.zeros_like(p)))
    state = (jnp.full_like(trivial, -jnp.inf), trivial, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda s: (s[1] > s[0]) & (s[2] < _MOST_STEPS), improve, state)[1]
