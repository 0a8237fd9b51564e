"""Bootstrap weights in two steps: one word of code per counter, then all the weights that the code stands for.

The codes of a tile of rows are drawn once and stored; weights are unpacked from them on the way into a product. They
are the weights of ``_weights.weight_parts`` to the last bit.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mace_jax_kernels._weights import _CALLS, _POISSON_STEPS, WeightKind, threefry, weight_parts

__all__ = ["codes", "unpack"]

_FIELDS = np.asarray([0, 16, 4, 20], np.uint32)  # where the Poisson weights of one counter lie in its code
_TOP, _REST = 0x80008000, 0x7FFF7FFF  # the first bit and the other 15 of both 16-bit halves


def codes(
    key: jax.Array, first_block: jax.Array, n_blocks: int, rows: jax.Array, kind: WeightKind
) -> tuple[jax.Array, ...]:
    """What ``unpack`` makes weights of: arrays ``(counters, n)``."""
    if kind == "bayesian":
        return tuple(weight_parts(key, first_block, n_blocks, rows, kind))
    calls = _CALLS[kind]
    groups = first_block * jnp.uint32(calls) + jnp.arange(n_blocks * calls, dtype=jnp.uint32)
    words = threefry(key, groups[:, None], rows[None, :])
    if kind == "poisson":
        return (_poisson_halves(words[0]) | (_poisson_halves(words[1]) << jnp.uint32(4)),)
    return words


def unpack(code: tuple[jax.Array, ...], kind: WeightKind) -> list[jax.Array]:
    """Weights ``(counters, parts, n)``, float32, one array or several that follow each other in ``parts``."""
    if kind == "bayesian":
        return [part[:, None, :] for part in code]
    if kind == "poisson":
        fields = (code[0][:, None, :] >> jnp.asarray(_FIELDS)[None, :, None]) & jnp.uint32(15)
        return [fields.astype(jnp.int32).astype(jnp.float32)]
    shifts = jnp.arange(32, dtype=jnp.uint32)[None, :, None]
    bits = [(word[:, None, :] >> shifts) & jnp.uint32(1) for word in code]
    return [(bit * jnp.uint32(2)).astype(jnp.int32).astype(jnp.float32) for bit in bits]


def _poisson_halves(word: jax.Array) -> jax.Array:
    """How many Poisson steps each 16-bit half of a word has reached, in the lowest bits of that half.

    Both halves are compared with a step in one addition that carries into the first bit. Only the lowest step lies
    below 2^15, so the others count if that bit of the word is set. Steps are reached in order: the three binary digits
    of how many of the seven follow from the comparisons without adding them up.
    """
    rest = word & jnp.uint32(_REST)
    first, *later = [rest + jnp.uint32(0x10001 * (0x8000 - step % 0x8000)) for step in _POISSON_STEPS]
    top = word & jnp.uint32(_TOP)
    ones = later[0]
    for reached in later[1:]:
        ones = ones ^ reached
    twos, fours = (later[1] & ~later[3]) | later[5], later[3]
    lowest = (word | first) & jnp.uint32(_TOP)
    return (
        (lowest >> jnp.uint32(15))
        + ((ones & top) >> jnp.uint32(15))
        + ((twos & top) >> jnp.uint32(14))
        + ((fours & top) >> jnp.uint32(13))
    )
