"""The oracle: all direct differences, compared."""

from __future__ import annotations

import jax.numpy as jnp

__all__ = ["radius_count"]


def radius_count(queries, reference, radius):
    """Every distance as sqrt(sum((x - y)^2)), counted where it is at most the radius; quadratic memory."""
    queries, reference = jnp.asarray(queries), jnp.asarray(reference)
    squared = jnp.sum((queries[:, None, :] - reference[None, :, :]) ** 2, axis=-1)
    inside = jnp.sqrt(squared) <= jnp.asarray(radius)[:, None]
    return inside.sum(axis=1, dtype=jnp.int32), jnp.ones(queries.shape[0], bool)
