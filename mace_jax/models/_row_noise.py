"""Noise whose rows do not depend on how many are drawn, or in which company."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = ["row_noise"]


def row_noise(key: Array, rows: Int[Array, " n"], width: int) -> Float[Array, "n z"]:
    """Standard normal numbers for the given row numbers; a row depends on the key and on its number alone."""
    return jax.vmap(lambda row: jax.random.normal(jax.random.fold_in(key, row), (width,), jnp.float32))(rows)
