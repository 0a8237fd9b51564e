"""Short copies of rows, bfloat16 or bytes, with what is left of a squared distance as a proven lower bound.

With x = x' + u and y = y' + v after rounding, 2 |x.y - x'.y'| <= 2 |x| |v| + 2 |y'| |u|, and for any ratio a > 0 that
is at most (a |x|^2 + |v|^2 / a) + (a |y'|^2 + |u|^2 / a). A row's share of the bound is ``keep |x|^2`` less
(a |x|^2 + |u|^2 / a), with a little room; the sum of two shares less 2 x'.y' is below the squared distance. Where only
y is rounded, |v|^2 / a is all that is taken from its share, and a |x|^2 from the other.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Float32, Int8, Int32, UInt8

from mace_jax_kernels._byte_dot import byte_dot
from mace_jax_kernels._tiling import Rows

__all__ = ["byte_minima", "query_bytes", "reference_bytes", "shortened"]

_LARGEST_BYTE = 127
_ZERO = 128
"""What stands for 0 in the bytes of reference rows, which have no sign."""
_MOST_STEPS, _NO_STEPS = 1 << 27, 1 << 30
"""Sums of products of bytes are below the first; no sum of two of them comes near the second."""
_EVEN = 1.7
"""Rows whose largest entries differ by no more than this factor share one scale."""
_SMALLEST = 2.0**-100
"""Rows with no larger entry are rounded to zero."""


class Shares(NamedTuple):
    """A row's part of the lower bound of a squared distance; ``inf`` for padding."""

    both: Float32[Rows, " m"]  # where both rows are rounded
    alone: Float32[Rows, " m"]  # where the other row is not


@functools.partial(jax.jit, static_argnames="factor")
def shortened(
    rows: Float32[Rows, "m d"], norms: Float32[Rows, " m"], keep: ArrayLike, ratio: ArrayLike, *, factor: int
) -> tuple[Float[Array, "m d"], Shares]:
    """``factor`` (a power of two, any sign) times the rows in bfloat16, and their shares.

    Args:
        rows: ``(m, d)``, centered.
        norms: ``(m,)`` squared norms; ``inf`` for padding.
        keep: Scalar, 1 less the relative slack of the float32 sums.
        ratio: Scalar, about the norm of what rounding takes from a row over the row's norm.
        factor: 1 for reference rows, -2 for the queries of ``group_minima``.
    """
    short = rows.astype(jnp.bfloat16)
    return jnp.multiply(factor, short), _shares(rows - short.astype(rows.dtype), norms, keep, ratio)


class Bytes(NamedTuple):
    """Rows as whole numbers of at most 127 times a scale: one for all where rows are of a size, else each its own."""

    rows: UInt8[Rows, "m d"] | Int8[Rows, "m d"]
    scales: Float32[Rows, " m"]
    shares: Shares


@jax.jit
def reference_bytes(rows: Float32[Rows, "m d"], norms: Float32[Rows, " m"], keep: ArrayLike, ratio: ArrayLike) -> Bytes:
    """Reference rows for ``byte_minima``; arguments as in ``shortened``."""
    short = _short(rows, norms, keep, ratio)
    return short._replace(rows=(short.rows + _ZERO).astype(jnp.uint8))


@jax.jit
def query_bytes(rows: Float32[Rows, "n d"], norms: Float32[Rows, " n"], keep: ArrayLike, ratio: ArrayLike) -> Bytes:
    """Queries for ``byte_minima``; arguments as in ``shortened``."""
    short = _short(rows, norms, keep, ratio)
    return short._replace(rows=short.rows.astype(jnp.int8))


def _short(rows, norms, keep, ratio):
    largest = jnp.max(jnp.abs(rows), axis=1)
    longest = jnp.max(largest)  # padding is zero
    shortest = jnp.min(jnp.where(jnp.isinf(norms), jnp.inf, largest))
    largest = jnp.where(longest <= _EVEN * shortest, longest, largest)
    scales = jnp.where(largest > _SMALLEST, largest / _LARGEST_BYTE, 1.0)
    whole = jnp.clip(jnp.round(rows / scales[:, None]), -_LARGEST_BYTE, _LARGEST_BYTE)
    return Bytes(whole, scales, _shares(rows - scales[:, None] * whole, norms, keep, ratio))


def _shares(remainders, norms, keep, ratio):
    alone = keep * norms - 1.02 * jnp.sum(remainders**2, axis=1) / ratio
    both = alone - 1.02 * ratio * norms
    return Shares(*(jnp.where(jnp.isinf(norms), jnp.inf, share) for share in (both, alone)))


@functools.partial(jax.jit, static_argnames="group_rows", donate_argnames="scratch", keep_unused=True)
def byte_minima(
    queries: Int8[Rows, "n d"],
    query_scales: Float32[Rows, " n"],
    reference: UInt8[Rows, "m d"],
    scales: Float32[Rows, " m"],
    shares: Float32[Rows, " m"],
    scratch: Int32[Array, "m n"],
    *,
    group_rows: int,
) -> tuple[Float32[Array, "g n"], Int32[Array, "m n"]]:
    """Smallest ``share - 2 x.y`` over each group (run of ``group_rows`` rows) of one tile, for every query.

    Products and their sums are exact; what follows rounds by less than the slack of float32 sums. Where all queries
    have one scale and all rows have one scale, minima are taken of whole numbers, which is faster.

    Args:
        queries: ``(n, d)`` from ``query_bytes``.
        query_scales: ``(n,)`` alike.
        reference: ``(m, d)`` from ``reference_bytes``.
        scales: ``(m,)`` alike.
        shares: ``(m,)`` alike, with both rows rounded.
        scratch: int32 ``(m, n)`` of any content, overwritten and handed back for the next call: the products.
        group_rows: A divisor of ``m``.

    Returns:
        ``(minima, scratch)``.
    """
    m, n = reference.shape[0], queries.shape[0]
    scratch = byte_dot(reference, queries)
    products = scratch.reshape(m // group_rows, group_rows, n)
    excess = _ZERO * jnp.sum(queries, axis=1, dtype=jnp.int32)

    padding, unit = jnp.isinf(shares), 2 * scales[0] * query_scales[0]

    def smallest(bound):
        return functools.reduce(jnp.minimum, map(bound, range(group_rows)))

    def of_one_scale(products):
        whole = jnp.where(padding, _NO_STEPS, jnp.floor(shares / unit).astype(jnp.int32))  # a share is never rounded up
        added = whole.reshape(-1, group_rows, 1)
        lowest = smallest(lambda i: added[:, i] - products[:, i]) + excess
        return jnp.where(lowest > _NO_STEPS // 2, jnp.inf, unit * lowest.astype(jnp.float32))

    def of_their_own(products):
        added, doubled = (jnp.reshape(part, (-1, group_rows, 1)) for part in (shares, 2 * scales))
        return smallest(
            lambda i: added[:, i] - doubled[:, i] * (query_scales * (products[:, i] - excess).astype(jnp.float32))
        )

    even = jnp.all(scales == scales[0]) & jnp.all(query_scales == query_scales[0])
    even &= jnp.all(padding | (jnp.abs(shares) < _MOST_STEPS * unit))
    return lax.cond(even, of_one_scale, of_their_own, products), scratch
