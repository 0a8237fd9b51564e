"""A trained VAE applied to blocks of rows, compiled once per model shape."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from mace_jax.models._row_noise import row_noise
from mace_jax.models.vae_trainer import VAETrainer, gaussian_divergence, squared_error

__all__ = ["decode_rows", "encode_rows", "evaluate_rows", "generate_rows"]


@functools.partial(jax.jit, static_argnames=("trainer",))
def encode_rows(
    trainer: VAETrainer, parameters: Any, unit: Float[Array, "n d"], one_hot: Float[Array, "n c"]
) -> Float[Array, "n z"]:
    """Mean codes of records in the unit cube."""
    return trainer.encode(parameters, unit, one_hot)[0]


@functools.partial(jax.jit, static_argnames=("trainer",))
def decode_rows(
    trainer: VAETrainer, parameters: Any, codes: Float[Array, "n z"], one_hot: Float[Array, "n c"]
) -> Float[Array, "n d"]:
    """Records in the unit cube from their codes."""
    return trainer.decode(parameters, codes, one_hot)


@functools.partial(jax.jit, static_argnames=("trainer",))
def generate_rows(
    trainer: VAETrainer, parameters: Any, key: Array, rows: Int[Array, " n"], one_hot: Float[Array, "n c"]
) -> Float[Array, "n d"]:
    """Records in the unit cube; the code of a row depends on the key and the row's number."""
    return trainer.decode(parameters, row_noise(key, rows, trainer.settings.latent_dim), one_hot)


@functools.partial(jax.jit, static_argnames=("trainer",))
def evaluate_rows(
    trainer: VAETrainer,
    parameters: Any,
    noise: Float[Array, "draws z"],
    unit: Float[Array, "n d"],
    one_hot: Float[Array, "n c"],
) -> Float[Array, "n 3"]:
    """Mean squared error and mean cost over the latent draws, and the divergence of the code from the prior."""
    mean, sd = trainer.encode(parameters, unit, one_hot)

    def add(total: Array, draw: Array) -> tuple[Array, None]:
        logits = trainer.logits(parameters, mean + sd * draw.reshape(1, -1), one_hot)
        error = squared_error(unit, jax.nn.sigmoid(logits))
        return total + jnp.stack([error, trainer.cost(unit, logits)], axis=1), None

    total, _ = lax.scan(add, jnp.zeros((len(unit), 2), jnp.float32), noise)
    return jnp.concatenate([total / len(noise), gaussian_divergence(mean, sd)[:, None]], axis=1)
