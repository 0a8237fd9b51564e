"""Randomness that depends on the seed and on what it is for, never on batch size or layout."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
import numpy as np

from mace_jax._types import Seed

__all__ = ["as_seed", "generator", "key"]


def as_seed(seed: Seed) -> int:
    """A non-negative integer from an integer or a JAX key."""
    if isinstance(seed, jax.Array):
        data = jax.random.key_data(seed) if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key) else seed
        words = np.asarray(data, dtype=np.uint64).ravel()
        if words.size > 1:
            return int(sum(int(word) << (32 * place) for place, word in enumerate(words[::-1])))
        seed = int(words[0])
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be a non-negative integer or a JAX key, got {seed!r}.")
    if seed < 0:
        raise ValueError(f"seed={seed} must be at least 0.")
    return int(seed)


def _path(path: tuple[str | int, ...]) -> tuple[int, ...]:
    return tuple(zlib.crc32(step.encode()) if isinstance(step, str) else int(step) for step in path)


def generator(seed: Seed, *path: str | int) -> np.random.Generator:
    """A NumPy generator for one named purpose, independent of every other purpose."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(as_seed(seed), spawn_key=_path(path))))


def key(seed: Seed, *path: str | int) -> jax.Array:
    """A JAX key for one named purpose."""
    number = as_seed(seed)
    made = jax.random.key(number & 0xFFFFFFFF)
    while number := number >> 32:
        made = jax.random.fold_in(made, number & 0xFFFFFFFF)
    for step in _path(path):
        made = jax.random.fold_in(made, step)
    return made
