"""Networks that give quantiles of a score from a record's features."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mace_jax import _random
from mace_jax._row_blocks import in_blocks
from mace_jax._types import FloatArray, Seed

__all__ = ["LOG_SD_LIMITS", "pinball", "predict", "train"]

LOG_SD_LIMITS = (-7.0, 7.0)
"""Of the Gaussian head, where the scores have standard deviation 1."""

_BLOCK = 1024


def pinball(errors: Array, levels: Array) -> Array:
    """``level e`` above the quantile and ``(level - 1) e`` below it, for errors ``e = score - quantile``."""
    return jnp.maximum(levels * errors, (levels - 1.0) * errors)


def _network(hidden: tuple[int, ...], levels: tuple[float, ...]) -> Any:
    """One output per level; without levels the mean and the log standard deviation."""
    from mace_jax.models._shadow_network import Perceptron

    return Perceptron(hidden, len(levels) or 2, "gelu")


def train(
    features: FloatArray,
    scores: FloatArray,
    levels: tuple[float, ...],
    *,
    hidden: tuple[int, ...],
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: Seed,
) -> Any:
    """Weights after AdamW with a cosine decay of its step size; batches are drawn with replacement."""
    key = _random.key(seed, "quantile regression")
    with jax.enable_x64(False):
        data = jnp.asarray(features, jnp.float32), jnp.asarray(scores, jnp.float32)
        rates = jnp.float32(learning_rate), jnp.float32(weight_decay)
        weights, loss = _train(hidden, levels, steps, min(batch_size, len(scores)), *data, *rates, key)
    if not np.isfinite(np.asarray(loss)):
        raise FloatingPointError(f"quantile regression diverged; lower learning_rate={learning_rate!r}.")
    return jax.tree.map(np.asarray, weights)


@functools.partial(jax.jit, static_argnames=("hidden", "levels", "steps", "size"))
def _train(
    hidden: tuple[int, ...],
    levels: tuple[float, ...],
    steps: int,
    size: int,
    features: Float[Array, "n d"],
    scores: Float[Array, " n"],
    learning_rate: Array,
    weight_decay: Array,
    key: Array,
) -> tuple[Any, Array]:
    from mace_jax.estimators._network import optax

    network = _network(hidden, levels)
    adam = optax.adamw(optax.cosine_decay_schedule(learning_rate, steps), weight_decay=weight_decay)
    start, draws = jax.random.split(key)
    weights = network.init(start, features[:1])

    def loss(weights: Any, rows: Array) -> Array:
        outputs, wanted = network.apply(weights, features[rows]), scores[rows, None]
        if levels:
            return jnp.mean(jnp.sum(pinball(wanted - outputs, jnp.asarray(levels)), axis=1))
        log_sd = jnp.clip(outputs[:, 1:], *LOG_SD_LIMITS)
        return jnp.mean(log_sd + 0.5 * ((wanted - outputs[:, :1]) * jnp.exp(-log_sd)) ** 2)

    def body(step: Array, carry: tuple[Any, Any, Array]) -> tuple[Any, Any, Array]:
        weights, moments, _ = carry
        rows = jax.random.randint(jax.random.fold_in(draws, step), (size,), 0, len(scores))
        value, slope = jax.value_and_grad(loss)(weights, rows)
        change, moments = adam.update(slope, moments, weights)
        return optax.apply_updates(weights, change), moments, value

    weights, _, last = lax.fori_loop(0, steps, body, (weights, adam.init(weights), jnp.float32(0.0)))
    return weights, last


def predict(hidden: tuple[int, ...], levels: tuple[float, ...], weights: Any, features: FloatArray) -> FloatArray:
    """Outputs of the network, in blocks of one shape: company does not change a record's."""
    apply = functools.partial(_apply, hidden, levels, weights)
    with jax.enable_x64(False):
        return in_blocks(apply, features.astype(np.float32), size=_BLOCK).astype(np.float64)


@functools.partial(jax.jit, static_argnames=("hidden", "levels"))
def _apply(hidden: tuple[int, ...], levels: tuple[float, ...], weights: Any, features: Float[Array, "n d"]) -> Array:
    return _network(hidden, levels).apply(weights, features)
