"""Tiled sums: weights of a tile of rows are drawn, multiplied with the values and forgotten."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from mace_jax_kernels._precision import dot_precision
from mace_jax_kernels._weights import REPLICATE_BLOCK, WeightKind, threefry
from mace_jax_kernels.weighted_sums._packed import codes, unpack

__all__ = ["DRAW_TILE", "draw_sums", "tile_sums"]

DRAW_TILE = 4096


def tile_sums(
    key: UInt32[Array, " 2"],
    first_block: UInt32[Array, ""],
    values: Float[Array, "n c"],
    rows: UInt32[Array, " n"],
    n: Int[Array, ""],
    *,
    n_blocks: int,
    kind: WeightKind,
    tile_rows: int,
    stored: bool,
) -> Float[Array, "b c"]:
    """Sums over the first ``n`` rows of padded values, tile after tile; tiles without valid rows are not visited.

    Values are split in two, so that products with whole weights and their sums within a tile are exact but for what
    the second parts lose; sums of tiles are compensated.

    ``stored`` keeps the codes of a tile in memory: the branch around them is one that a compiler cannot merge into the
    products, which on a processor would draw the codes once per product and part.
    """
    draw = functools.partial(codes, key, first_block, n_blocks, kind=kind)
    precision = dot_precision()
    split = kind != "bayesian" and values.dtype == jnp.float32
    units = _units(values)

    def product(weights, here):
        flat = weights.reshape(-1, tile_rows).astype(values.dtype)
        return jnp.matmul(flat, here, precision=precision).reshape(*weights.shape[:2], -1)

    def add(tile, sums):
        start = tile * tile_rows
        rows_here = lax.dynamic_slice_in_dim(rows, start, tile_rows)
        here = lax.dynamic_slice_in_dim(values, start, tile_rows)
        here = _in_two(here, units) if split else here
        if stored:
            shapes = jax.eval_shape(draw, rows_here)
            empty = lambda ids: tuple(jnp.zeros(shape.shape, shape.dtype) for shape in shapes)  # noqa: E731
            code = lax.cond(start < n, draw, empty, rows_here)
        else:
            code = draw(rows_here)
        return [_plus(total, product(part, here)) for total, part in zip(sums, unpack(code, kind), strict=True)]

    shapes = jax.eval_shape(lambda rows: unpack(draw(rows), kind), rows[:tile_rows])
    c = values.shape[1] * (2 if split else 1)
    sums = [(jnp.zeros((*shape.shape[:2], c), values.dtype),) * 2 for shape in shapes]
    sums = lax.fori_loop(0, (n + tile_rows - 1) // tile_rows, add, sums)
    return _by_replicate(jnp.concatenate([_whole(total, split) for total in sums], axis=1), n_blocks)


def _units(values: jax.Array) -> jax.Array:
    """2^-16 of the largest entry of every column, rounded up to a power of two."""
    _, exponents = jnp.frexp(jnp.abs(values).max(axis=0))
    return jnp.maximum(jnp.ldexp(jnp.ones_like(values[0]), exponents - 16), jnp.finfo(values.dtype).tiny)


def _in_two(values: jax.Array, units: jax.Array) -> jax.Array:
    """Columns rounded to whole units, then what is left of them.

    Products of the first parts with small whole weights are whole multiples of a unit too: sums of them are exact as
    long as they stay below 2^24 units, 256 times the largest entry.
    """
    coarse = jnp.round(values / units) * units
    return jnp.concatenate([coarse, values - coarse], axis=1)


def _whole(total: tuple[jax.Array, jax.Array], split: bool) -> jax.Array:
    """A compensated sum, both parts of the columns together."""
    sums, lost = total
    if not split:
        return sums
    c = sums.shape[-1] // 2
    return sums[..., :c] + (sums[..., c:] - lost[..., :c])


def _plus(total: tuple[jax.Array, jax.Array], more: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A running sum and what rounding has kept out of it (Kahan)."""
    so_far, lost = total
    more = more - lost
    new = so_far + more
    return new, (new - so_far) - more


def _by_replicate(sums: jax.Array, n_blocks: int) -> jax.Array:
    """From (block, counter), part to the order of the replicates: block, part, counter."""
    counters, parts, c = sums.shape
    split = sums.reshape(n_blocks, counters // n_blocks, parts, c)
    return split.transpose(0, 2, 1, 3).reshape(n_blocks * REPLICATE_BLOCK, c)


def draw_sums(
    key: UInt32[Array, " 2"],
    first_replicate: UInt32[Array, ""],
    values: Float[Array, "n c"],
    n: UInt32[Array, ""],
    first_row: UInt32[Array, ""],
    n_total: UInt32[Array, ""],
    *,
    n_replicates: int,
    tile_rows: int,
) -> Float[Array, "b c"]:
    """Sums of rows times how often ``n_total`` draws with replacement from as many rows hit them."""
    size = values.shape[0]
    replicates = (first_replicate + jnp.arange(n_replicates, dtype=jnp.uint32))[:, None]
    places = jnp.arange(n_replicates)[:, None]

    def count(tile, counts):
        draws = tile * jnp.uint32(DRAW_TILE) + jnp.arange(DRAW_TILE, dtype=jnp.uint32)[None, :]
        row = _scaled(*threefry(key, replicates, draws), n_total) - first_row
        row = jnp.where((row < n) & (draws < n_total), row, jnp.uint32(size))
        return counts.at[places, row].add(1.0, mode="drop")

    n_tiles = (n_total + jnp.uint32(DRAW_TILE - 1)) // jnp.uint32(DRAW_TILE)
    counts = jnp.zeros((n_replicates, size), values.dtype)
    counts = lax.fori_loop(jnp.uint32(0), n_tiles, count, counts)

    def add(tile, sums):
        start = tile * tile_rows
        here = lax.dynamic_slice_in_dim(values, start, tile_rows)
        here = _in_two(here, units) if split else here
        counted = lax.dynamic_slice_in_dim(counts, start, tile_rows, axis=1)
        return _plus(sums, jnp.matmul(counted, here, precision=precision))

    precision = dot_precision()
    split = values.dtype == jnp.float32
    units = _units(values)
    sums = (jnp.zeros((n_replicates, values.shape[1] * (2 if split else 1)), values.dtype),) * 2
    return _whole(lax.fori_loop(0, size // tile_rows, add, sums), split)


def _scaled(high: jax.Array, low: jax.Array, n: jax.Array) -> jax.Array:
    """``floor(n u)`` for the 64-bit fraction ``u = (2^32 high + low) / 2^64``."""
    upper, lower = _wide_product(high, n)
    carried = lower + _wide_product(low, n)[0]
    return upper + (carried < lower).astype(jnp.uint32)


def _wide_product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The upper and the lower 32 bits of a product of two 32-bit words."""
    half, mask = jnp.uint32(16), jnp.uint32(0xFFFF)
    a_high, a_low, b_high, b_low = a >> half, a & mask, b >> half, b & mask
    low, cross, other = a_low * b_low, a_high * b_low, a_low * b_high
    middle = (low >> half) + (cross & mask) + (other & mask)
    return a_high * b_high + (cross >> half) + (other >> half) + (middle >> half), (middle << half) | (low & mask)
