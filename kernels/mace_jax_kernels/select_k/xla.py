"""Exact selection through block minima.

A row is cut into contiguous blocks. Let t be its k-th smallest value: fewer than k blocks hold a value below t, so the
k blocks with the smallest minima hold all of those, and enough values equal to t to fill up. Blocks are contiguous and
visited in ascending order, so equal values keep the order of their columns and the result is that of a stable sort.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["block_size", "select_k"]


def block_size(n: int, k: int) -> int:
    """Entries per block, a power of two near ``sqrt(n / k)``; 1 where a plain top-k is as fast."""
    if k * 128 > n:
        return 1
    return 1 << round(math.log2(math.sqrt(n / k)))


@functools.partial(jax.jit, static_argnums=1)
def select_k(values, k: int):
    """The k smallest of each row, ascending, with int32 columns; ties by column."""
    n = values.shape[-1]
    b = block_size(n, k)
    if b == 1:
        return _smallest(values, k)
    n_blocks = -(-n // b)
    padded = jnp.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, n_blocks * b - n)], constant_values=jnp.inf)
    blocks = padded.reshape(*values.shape[:-1], n_blocks, b)
    _, chosen = _smallest(blocks.min(axis=-1), k)
    chosen = jnp.sort(chosen, axis=-1)
    candidates = jnp.take_along_axis(blocks, chosen[..., None], axis=-2).reshape(*values.shape[:-1], k * b)
    smallest, position = _smallest(candidates, k)
    return smallest, jnp.take_along_axis(chosen, position // b, axis=-1) * b + position % b


def _smallest(values, k: int):
    """Stable k smallest of a short row."""
    negated, indices = lax.top_k(-values, k)
    return -negated, indices.astype(jnp.int32)
