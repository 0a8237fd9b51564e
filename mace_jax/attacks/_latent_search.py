"""Search for the noise from which a generator makes a given record: by proposals alone, or along gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mace_jax import _random
from mace_jax._row_blocks import in_blocks
from mace_jax._types import FloatArray, Seed

__all__ = ["PROPOSALS", "draw_pool", "refine"]

Decode = Callable[[Any], Any]

PROPOSALS = 8
"""Proposals per step of the search without gradients."""

_BLOCK = 64
_POOL_BLOCK = 1024
_FIRST_STEP, _GROW, _SHRINK = 0.5, 1.3, 0.85


def draw_pool(decode: Decode, latent_dim: int, n: int, seed: Seed) -> tuple[np.ndarray, FloatArray]:
    """Standard normal noise ``(n, z)`` and the records it gives; row i depends on the seed and on i alone."""
    key = _random.key(seed, "latent pool")
    noise, records = [], []
    for block in range(-(-n // _POOL_BLOCK)):
        with jax.enable_x64(False):
            codes = jax.random.normal(jax.random.fold_in(key, block), (_POOL_BLOCK, latent_dim), jnp.float32)
            made = np.asarray(_decoded(decode, codes))
        if made.shape[:1] != (_POOL_BLOCK,) or made.ndim != 2:
            raise ValueError(
                f"generator returned shape {made.shape} for {_POOL_BLOCK} rows of noise; return one row per record."
            )
        if not np.isfinite(made).all():
            raise ValueError("generator returned NaN or infinity for standard normal noise; check its weights.")
        noise.append(np.asarray(codes))
        records.append(made.astype(np.float64))
    return np.concatenate(noise)[:n], np.concatenate(records)[:n]


def refine(
    decode: Decode,
    records: FloatArray,
    starts: np.ndarray,
    *,
    gradients: bool,
    steps: int,
    learning_rate: float,
    prior_weight: float,
    seed: Seed,
) -> FloatArray:
    """The generator's record nearest to each record, of all that were met from its starts ``(n, restarts, z)``.

    Records go through in blocks of one size, the last one filled up, and share their random numbers, so that the result
    of a record depends neither on the others nor on their number.
    """
    key = _random.key(seed, "latent search")
    rate, weight = jnp.float32(learning_rate), jnp.float32(prior_weight)

    def search(targets: np.ndarray, codes: np.ndarray) -> np.ndarray:
        if gradients:
            best = _descend(decode, steps, targets, codes, rate, weight)
        else:
            best = _propose(decode, steps, targets, codes, weight, key)
        return np.asarray(_decoded(decode, best), np.float64)

    with jax.enable_x64(False):
        return in_blocks(search, records.astype(np.float32), starts.astype(np.float32), size=_BLOCK)


@functools.partial(jax.jit, static_argnames=("decode",))
def _decoded(decode: Decode, noise: Float[Array, "n z"]) -> Float[Array, "n d"]:
    return jnp.asarray(decode(noise), jnp.float32)


def _losses(decode: Decode, targets: Array, codes: Array, prior_weight: Array) -> tuple[Array, Array]:
    """What the search lowers, and the mean squared error in it; ``codes (b, ..., z)``, both ``(b, ...)``."""
    flat = codes.reshape(-1, codes.shape[-1])
    made = jnp.asarray(decode(flat), jnp.float32).reshape(*codes.shape[:-1], -1)
    against = targets.reshape(len(targets), *(1,) * (codes.ndim - 2), -1)
    error = jnp.mean(jnp.square(made - against), axis=-1)
    surplus = jnp.sum(jnp.square(codes), axis=-1) - codes.shape[-1]
    return error + prior_weight * jnp.square(surplus), error


def _kept(best: Array, lowest: Array, codes: Array, error: Array) -> tuple[Array, Array]:
    """The codes of lower error, element by element."""
    better = error < lowest  # False where the error is NaN
    return jnp.where(better[..., None], codes, best), jnp.where(better, error, lowest)


def _best_start(best: Array, lowest: Array) -> Float[Array, "b z"]:
    """Of the restarts of each record, the code with the lowest error."""
    return jnp.take_along_axis(best, jnp.argmin(lowest, axis=1)[:, None, None], axis=1)[:, 0]


@functools.partial(jax.jit, static_argnames=("decode", "steps"))
def _descend(
    decode: Decode,
    steps: int,
    targets: Float[Array, "b d"],
    starts: Float[Array, "b r z"],
    learning_rate: Array,
    prior_weight: Array,
) -> Float[Array, "b z"]:
    """Adam on each code by itself: the sum's gradient is that of each term, because rows do not meet."""

    def objective(codes: Array) -> tuple[Array, Array]:
        loss, error = _losses(decode, targets, codes, prior_weight)
        return jnp.sum(loss), error

    def step(carry: Any, count: Array) -> tuple[Any, None]:
        codes, first, second, best, lowest = carry
        (_, error), gradient = jax.value_and_grad(objective, has_aux=True)(codes)
        best, lowest = _kept(best, lowest, codes, error)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * jnp.square(gradient)
        change = (first / (1.0 - 0.9**count)) / (jnp.sqrt(second / (1.0 - 0.999**count)) + 1e-8)
        return (codes - learning_rate * change, first, second, best, lowest), None

    zero = jnp.zeros_like(starts)
    begin = starts, zero, zero, starts, jnp.full(starts.shape[:-1], jnp.inf, jnp.float32)
    (codes, _, _, best, lowest), _ = lax.scan(step, begin, jnp.arange(1, steps + 1, dtype=jnp.float32))
    return _best_start(*_kept(best, lowest, codes, _losses(decode, targets, codes, prior_weight)[1]))


@functools.partial(jax.jit, static_argnames=("decode", "steps"))
def _propose(
    decode: Decode,
    steps: int,
    targets: Float[Array, "b d"],
    starts: Float[Array, "b r z"],
    prior_weight: Array,
    key: Array,
) -> Float[Array, "b z"]:
    """Gaussian proposals around the best code so far; the step grows after a success and shrinks after a failure."""
    loss, error = _losses(decode, targets, starts, prior_weight)
    size = jnp.full(loss.shape, _FIRST_STEP, jnp.float32)

    def step(carry: Any, count: Array) -> tuple[Any, None]:
        codes, loss, size, best, lowest = carry
        shape = (PROPOSALS, *codes.shape[1:])
        moves = jnp.moveaxis(jax.random.normal(jax.random.fold_in(key, count), shape, jnp.float32), 0, 1)
        proposed = codes[:, :, None] + size[:, :, None, None] * moves
        losses, errors = _losses(decode, targets, proposed, prior_weight)
        chosen = jnp.argmin(losses, axis=2)[..., None]
        taken = jnp.take_along_axis(proposed, chosen[..., None], axis=2)[:, :, 0]
        reached, error = (jnp.take_along_axis(part, chosen, axis=2)[..., 0] for part in (losses, errors))
        best, lowest = _kept(best, lowest, taken, error)
        success = reached < loss
        codes, loss = jnp.where(success[..., None], taken, codes), jnp.where(success, reached, loss)
        return (codes, loss, size * jnp.where(success, _GROW, _SHRINK), best, lowest), None

    (_, _, _, best, lowest), _ = lax.scan(step, (starts, loss, size, starts, error), jnp.arange(steps))
    return _best_start(best, lowest)
