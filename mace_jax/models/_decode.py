"""What fitted models share that map noise to records inside other JAX programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mace_jax.models.encoding import Labels, Scaling

__all__ = ["decode_noise"]


def decode_noise(
    decode: Callable[[Array, Array], Array], noise: Any, latent_dim: int, scaling: Scaling, labels: Labels, label: Any
) -> Float[Array, "n d"]:
    """Records, in their own units, of ``decode(noise, one-hot rows)`` in the unit cube."""
    codes = jnp.asarray(noise, jnp.float32)
    if codes.ndim != 2 or codes.shape[1] != latent_dim:
        raise ValueError(f"noise has shape {codes.shape}; pass one row of latent_dim={latent_dim} numbers per record.")
    given = None if label is None else np.full(len(codes), label)
    one_hot = jnp.asarray(labels.required(given, len(codes)))
    low, span = (jnp.asarray(part, jnp.float32) for part in (scaling.low, scaling.span))
    with jax.numpy_dtype_promotion("standard"):
        return low + span * decode(codes, one_hot)
