"""Bootstrap weights by counter: the weight of a row in a replicate is a function of (key, replicate, row) alone.

Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw 2011), written out so that the compiler fuses it with what
follows. One call on the counter (group, row) feeds several replicates: four 16-bit words for Poisson weights, 64 bits
for double-or-nothing, two 32-bit words for exponential ones.
"""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp

__all__ = ["REPLICATE_BLOCK", "WeightKind", "in_order", "threefry", "weight_parts"]

WeightKind = Literal["poisson", "double_or_nothing", "bayesian"]
REPLICATE_BLOCK = 64  # replicates are drawn by the block, whatever the kind
_CALLS = {"poisson": 16, "double_or_nothing": 1, "bayesian": 32}  # counters per block and row

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
# round(65536 * P(Poisson(1) <= j)): mean 1.0000, variance .99997, third central moment .99985, largest weight 8
_POISSON_STEPS = (24109, 48219, 60273, 64292, 65296, 65497, 65531, 65535)


def threefry(key: jax.Array, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two random 32-bit words for every pair of counters."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    first, second = first + schedule[0], second + schedule[1]
    for step in range(5):
        for turn in _ROTATIONS[step % 2]:
            first = first + second
            second = first ^ ((second << jnp.uint32(turn)) | (second >> jnp.uint32(32 - turn)))
        first = first + schedule[(step + 1) % 3]
        second = second + schedule[(step + 2) % 3] + jnp.uint32(step + 1)
    return first, second


def weight_parts(
    key: jax.Array, first_block: jax.Array | int, n_blocks: int, rows: jax.Array, kind: WeightKind
) -> list[jax.Array]:
    """Weights of mean and variance 1 of replicates ``64 * first_block`` and on, in parts.

    Rows with ids ``rows``, uint32 ``(n,)``. Every part is float32 ``(n_blocks * calls, n)``; ``in_order`` puts what was
    computed from each part back into the order of the replicates. Parts stay apart because joining them first would
    keep the compiler from fusing the drawing of weights with their use.
    """
    calls = _CALLS.get(kind)
    if calls is None:
        raise NotImplementedError(f"weights={kind!r} cannot be drawn by row; use one of {get_args(WeightKind)}.")
    blocks = jnp.asarray(first_block, jnp.uint32) + jnp.arange(n_blocks, dtype=jnp.uint32)
    groups = (blocks[:, None] * jnp.uint32(calls) + jnp.arange(calls, dtype=jnp.uint32)).ravel()
    words = threefry(key, groups[:, None], rows[None, :])
    if kind == "poisson":
        return [_poisson((word >> jnp.uint32(shift)) & jnp.uint32(0xFFFF)) for word in words for shift in (0, 16)]
    if kind == "double_or_nothing":
        bits = [(word >> jnp.uint32(bit)) & jnp.uint32(1) for word in words for bit in range(32)]
        return [(bit * jnp.uint32(2)).astype(jnp.float32) for bit in bits]
    return [-jnp.log((word.astype(jnp.float32) + 0.5) * jnp.float32(2.0**-32)) for word in words]


def in_order(parts: list[jax.Array], n_blocks: int) -> jax.Array:
    """``(n_blocks * 64, ...)`` from what each part of ``weight_parts`` gave, ``(n_blocks * calls, ...)``."""
    stacked = jnp.stack([part.reshape(n_blocks, -1, *part.shape[1:]) for part in parts], axis=1)
    return stacked.reshape(n_blocks * REPLICATE_BLOCK, *parts[0].shape[1:])


def _poisson(word: jax.Array) -> jax.Array:
    weight = jnp.zeros(word.shape, jnp.int32)
    for step in _POISSON_STEPS:
        weight = weight + (word >= jnp.uint32(step)).astype(jnp.int32)
    return weight.astype(jnp.float32)
