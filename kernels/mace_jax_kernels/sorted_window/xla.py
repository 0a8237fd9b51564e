"""k nearest values on a sorted line by binary search: every k from one sort, ties bit for bit."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = ["Windows", "sorted_window"]


class Windows(NamedTuple):
    """Half-open index ranges into the sorted values, per k and query.

    The open range holds the values strictly nearer than the k-th neighbor, the closed range also those tied with
    it; the open range lies inside the closed one and has fewer than k values, the closed one at least k.
    """

    closed_low: Int[Array, "K m"]
    open_low: Int[Array, "K m"]
    open_high: Int[Array, "K m"]
    closed_high: Int[Array, "K m"]


@jax.jit
def sorted_window(
    values: Float[Array, " n"],
    queries: Float[Array, " m"],
    k: Int[Array, " K"],
) -> Windows:
    """Index ranges of the k nearest values of every query, for several k.

    Distances are the rounded differences ``|query - value|`` themselves, which are monotone along the sorted line,
    so membership in a range agrees with the k-th distance bit for bit.

    Args:
        values: Ascending.
        queries: Any order; a query that is itself one of the values finds itself at distance zero.
        k: Numbers of neighbors, each between 1 and n (traced: another k does not compile again).

    Memory: 4 ranges of int32, ``16 * K * m`` bytes, and a few vectors of length m.
    """
    n = values.shape[0]
    steps = max(1, n.bit_length())

    def at(index: Array) -> Array:
        return values.at[jnp.clip(index, 0, n - 1)].get(mode="promise_in_bounds")

    def first_true(predicate, low: Array, high: Array) -> Array:
        """Smallest index in [low, high] from which the monotone predicate holds (high if nowhere before)."""

        def halve(_, bounds):
            low, high = bounds
            middle = (low + high) // 2
            holds = predicate(middle)
            open_range = low < high
            return (
                jnp.where(open_range & ~holds, middle + 1, low),
                jnp.where(open_range & holds, middle, high),
            )

        return jax.lax.fori_loop(0, steps, halve, (low, high))[0]

    zeros = jnp.zeros(queries.shape, jnp.int32)
    ends = jnp.full(queries.shape, n, jnp.int32)

    def for_one(k: Array) -> Windows:
        k = k.astype(jnp.int32)
        start = first_true(lambda i: queries - at(i) <= at(i + k) - queries, zeros, zeros + (n - k))
        radius = jnp.maximum(jnp.abs(queries - at(start)), jnp.abs(at(start + k - 1) - queries))
        closed_low = first_true(lambda i: queries - at(i) <= radius, zeros, ends)
        closed_high = first_true(lambda i: at(i) - queries > radius, zeros, ends)
        open_low = first_true(lambda i: queries - at(i) < radius, zeros, ends)
        open_high = first_true(lambda i: at(i) - queries >= radius, zeros, ends)
        return Windows(closed_low, open_low, jnp.maximum(open_low, open_high), closed_high)

    return jax.lax.map(for_one, k)
