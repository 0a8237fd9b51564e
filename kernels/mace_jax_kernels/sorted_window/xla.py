"""k nearest values on a sorted line by binary search: every k from one sort, ties bit for bit."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

__all__ = ["Windows", "merge_arms", "sorted_window"]


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


@functools.partial(jax.jit, static_argnames="k")
def merge_arms(
    values: Float[Array, " m"],
    left: Int[Array, " n"],
    right: Int[Array, " n"],
    queries: Float[Array, " n"],
    *,
    k: int,
) -> tuple[Float[Array, "n k"], Int[Array, "n k"], Bool[Array, " n"]]:
    """The ``k`` nearest places on a sorted line and their squared distances, ``O(k)`` per query.

    The two arms from ``left`` down and from ``right`` up are merged from the inside out.

    Args:
        values: Ascending and distinct where finite; at least ``k + 1`` infinities at either end.
        left: int32 place of the first value on the left arm.
        right: int32 place of the first value on the right arm.
        queries: ``(n,)`` at least ``values[left]`` and at most ``values[right]``.
        k: Number of neighbors; there are that many on the arms.

    Returns:
        Squared distances, places, and where two of the first ``k + 1`` rounded squares are equal, so that the order
        of places, not of arms, has to decide.

    Memory: ``(itemsize + 4) * 2 * n * k`` bytes.
    """

    def at(place: Array) -> Array:
        return values.at[place].get(mode="promise_in_bounds")

    def step(arms, _):
        left, right = arms
        below, above = queries - at(left), at(right) - queries
        nearer = below <= above
        moved = (left - nearer.astype(jnp.int32), right + (~nearer).astype(jnp.int32))
        distance = jnp.where(nearer, below, above)
        return moved, (distance * distance, jnp.where(nearer, left, right))

    _, (squared, places) = lax.scan(step, (left, right), None, length=k + 1)
    tied = jnp.any((squared[1:] == squared[:-1]) & jnp.isfinite(squared[1:]), axis=0)
    return squared[:k].T, places[:k].T, tied
