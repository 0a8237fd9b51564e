"""Signals of a block of logits ``(b, C)`` and labels ``(b,)``; traceable, in the precision of the logits.

Everything comes from ``phi_i = z_i - logsumexp_{j != i} z_j``, the log odds of class i: ``ln p_i = -softplus(-phi_i)``
and ``ln (1 - p_i) = -softplus(phi_i)``. No difference of nearly equal numbers is taken, so that nothing saturates.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = ["KERNELS"]

Logits = Float[Array, "b C"]
Labels = Int[Array, " b"]
Signal = Float[Array, " b"]


def _softplus(x: Array) -> Array:
    return jnp.logaddexp(x, jnp.zeros((), x.dtype))


def _at(values: Logits, column: Labels) -> Signal:
    return jnp.take_along_axis(values, column[:, None], axis=1)[:, 0]


def _is(column: Labels, values: Logits) -> Array:
    return jnp.arange(values.shape[1]) == column[:, None]


def _without(logits: Logits, column: Labels) -> Logits:
    return jnp.where(_is(column, logits), -jnp.inf, logits)


def log_odds(logits: Logits, column: Labels) -> Signal:
    """``phi`` of one class per row."""
    return _at(logits, column) - jax.nn.logsumexp(_without(logits, column), axis=1)


def hinge(logits: Logits, labels: Labels) -> Signal:
    """Own logit minus the largest other."""
    return _at(logits, labels) - _without(logits, labels).max(axis=1)


def confidence(logits: Logits, labels: Labels) -> Signal:
    """Probability of the label."""
    return jax.nn.sigmoid(log_odds(logits, labels))


def loss(logits: Logits, labels: Labels) -> Signal:
    """Cross-entropy."""
    return _softplus(-log_odds(logits, labels))


def _log_probabilities(logits: Logits) -> tuple[Logits, Labels, Signal]:
    """``ln p``, the most likely class and its log odds; all other classes have at most probability one half."""
    top = jnp.argmax(logits, axis=1)
    phi = log_odds(logits, top)
    return logits - (_at(logits, top) + _softplus(-phi))[:, None], top, phi


def entropy(logits: Logits, labels: Labels) -> Signal:
    """``-sum p ln p``; the labels are not used."""
    del labels
    log_p, top, phi = _log_probabilities(logits)
    log_p = jnp.where(_is(top, logits), -_softplus(-phi)[:, None], log_p)
    p = jnp.exp(log_p)
    return jnp.where(p > 0.0, -p * log_p, 0.0).sum(axis=1)


def modified_entropy(logits: Logits, labels: Labels) -> Signal:
    """``-(1 - p_y) ln p_y - sum_{i != y} p_i ln (1 - p_i)``."""
    log_p, top, phi = _log_probabilities(logits)
    log_p = jnp.where(_is(top, logits), -_softplus(-phi)[:, None], log_p)
    p = jnp.exp(log_p)
    missing = jnp.where(_is(top, logits), _softplus(phi)[:, None], -jnp.log1p(-jnp.minimum(p, 0.5)))
    others = jnp.where(_is(labels, logits) | (p == 0.0), 0.0, p * missing).sum(axis=1)
    own = log_odds(logits, labels)
    return jax.nn.sigmoid(-own) * _softplus(-own) + others


def entropy_floored(probabilities: Logits, labels: Labels, floor: Array) -> Signal:
    """The entropy with a floor under the argument of the logarithm."""
    del labels
    return 0.0 - (probabilities * jnp.log(jnp.maximum(probabilities, floor))).sum(axis=1)


def modified_entropy_floored(probabilities: Logits, labels: Labels, floor: Array) -> Signal:
    """The modified entropy with a floor under the arguments of the logarithms."""
    rest = 1.0 - probabilities
    own = _is(labels, probabilities)
    weight = jnp.where(own, rest, probabilities)
    return 0.0 - (weight * jnp.log(jnp.maximum(jnp.where(own, probabilities, rest), floor))).sum(axis=1)


KERNELS = {
    name: jax.jit(kernel)
    for name, kernel in {
        "confidence": confidence,
        "entropy": entropy,
        "entropy_floored": entropy_floored,
        "hinge": hinge,
        "loss": loss,
        "modified_entropy": modified_entropy,
        "modified_entropy_floored": modified_entropy_floored,
        "rescaled_logit": log_odds,
    }.items()
}
