"""What adversarial models minimize, record by record, as pure functions of logits.

Trainers average these over batches; averaged over a law instead, they are the games of Goodfellow et al. (2014),
Mukherjee et al. (2021) and Hassanzadeh and Tillman (2022). All are in nats.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

__all__ = [
    "Penalty",
    "entropy_penalty",
    "fooling_loss",
    "gradient_penalty",
    "hiding_loss",
    "mean_part_loss",
    "other_parts",
    "part_loss",
    "real_or_fake_loss",
]

Penalty = Literal["info", "uniform", "other"]
"""How a generator is kept from revealing a record's part; see ``entropy_penalty``."""


def real_or_fake_loss(logits: Float[Array, " n"], target: Float[Array, " n"]) -> Float[Array, " n"]:
    """Cross-entropy of the discriminator: ``-t log D(x) - (1 - t) log(1 - D(x))`` with D the logits' sigmoid."""
    return optax.sigmoid_binary_cross_entropy(logits, target)


def fooling_loss(logits: Float[Array, " n"]) -> Float[Array, " n"]:
    """What the generator minimizes on its records: ``-log D(x)``, the non-saturating form."""
    return jax.nn.softplus(-logits)


def part_loss(logits: Float[Array, "n parts"], parts: Int[Array, " n"]) -> Float[Array, " n"]:
    """Cross-entropy of a classifier of parts: ``-log Q(c | x)`` with Q the logits' softmax."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), parts[:, None], axis=1)[:, 0]


def mean_part_loss(logits: Float[Array, "n parts"], parts: Int[Array, " n"]) -> Float[Array, ""]:
    """What a classifier of parts minimizes over a batch."""
    return jnp.mean(part_loss(logits, parts))


def entropy_penalty(
    kind: Penalty, logits: Float[Array, "n parts"], parts: Int[Array, " n"], others: Int[Array, " n"]
) -> Float[Array, " n"]:
    """What a generator pays for records whose part the classifier Q can tell.

    ``"info"`` is ``log Q(c | x)``, whose mean at the best Q is the information of a record about its part minus the
    entropy of the part; its gradient fades as Q becomes sure. ``"uniform"`` is the cross-entropy of Q to the uniform
    law, ``-mean_k log Q(k | x)``; ``"other"`` that to one other part, ``-log Q(other | x)``. At the best Q all three
    are least when all parts have the same law.
    """
    if kind == "info":
        return -part_loss(logits, parts)
    if kind == "uniform":
        return -jnp.mean(jax.nn.log_softmax(logits), axis=1)
    return part_loss(logits, others)


def hiding_loss(
    logits: Float[Array, " n"],
    part_logits: Float[Array, "n parts"],
    parts: Int[Array, " n"],
    others: Int[Array, " n"],
    *,
    penalty: Penalty,
    weight: float,
) -> tuple[Array, tuple[Array, Array]]:
    """Mean over a batch of what a generator minimizes that hides parts; then it without penalty, and Q's mean loss."""
    fooling, told = jnp.mean(fooling_loss(logits)), mean_part_loss(part_logits, parts)
    if weight == 0.0:
        return fooling, (fooling, told)
    return fooling + weight * jnp.mean(entropy_penalty(penalty, part_logits, parts, others)), (fooling, told)


def other_parts(key: Array, parts: Int[Array, " n"], n_parts: int) -> Int[Array, " n"]:
    """For each part another one, uniform over the others."""
    return (parts + jax.random.randint(key, parts.shape, 1, n_parts, parts.dtype)) % n_parts


def gradient_penalty(gradients: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Squared distance of a critic's slope from 1: ``(||grad f(x)|| - 1)^2``."""
    norms = jnp.sqrt(jnp.sum(jnp.square(gradients), axis=1) + 1e-12)  # the root has no slope at 0
    return jnp.square(norms - 1.0)
