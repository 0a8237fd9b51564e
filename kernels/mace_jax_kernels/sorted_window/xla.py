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
    names: Int[Array, "2 m"],
    left: Int[Array, " n"],
    right: Int[Array, " n"],
    queries: Float[Array, " n"],
    own: Int[Array, " n"],
    sure: Float[Array, " bounds"],
    *,
    k: int,
) -> tuple[Float[Array, "n k"], Int[Array, "n k"], Bool[Array, " n"]]:
    """The ``k`` nearest names on a sorted line by (squared distance, name), ``O(k)`` per query.

    The two arms from ``left`` down and from ``right`` up are merged from the inside out.

    Args:
        values: Ascending, at least ``k + 3`` infinities at either end; equal values are welcome.
        names: int32 names of the places, as met on the way down and as met on the way up: on either way the names of
            equal values ascend.
        left: int32 place of the last value below the query.
        right: int32 place of the first value not below the query.
        queries: ``(n,)`` finite.
        own: int32 name left out, -1 for none.
        sure: From the first to below the second of these squared distances, different values on one arm have
            different rounded squares.
        k: Number of neighbors; there are that many on the arms.

    Returns:
        Squared distances, names, and where the order is in doubt: a square below the first of ``sure``, or two equal
        ones from the second on.

    Memory: ``(itemsize + 6) * 3 * n * k`` bytes.
    """
    size = values.shape[0]
    names = names.reshape(-1)

    def squared_at(place: Array) -> Array:
        return lax.square(queries - values.at[place].get(mode="promise_in_bounds"))

    def name_at(place: Array) -> Array:
        return names.at[place].get(mode="promise_in_bounds")

    def step(arms, _):
        left, right, below, above, name_below, name_above, last, doubtful = arms
        down = (below < above) | ((below == above) & (name_below < name_above))
        squared, name = jnp.where(down, below, above), jnp.where(down, name_below, name_above)
        tied = (squared == last) & (squared >= sure[1]) & jnp.isfinite(squared)
        doubtful |= (squared < sure[0]) | tied
        place = jnp.where(down, left - 1, right + 1)
        left, right = jnp.where(down, place, left), jnp.where(down, right, place)
        ahead, name_ahead = squared_at(place), name_at(jnp.where(down, place, place + size))
        below, above = jnp.where(down, ahead, below), jnp.where(down, above, ahead)
        name_below, name_above = jnp.where(down, name_ahead, name_below), jnp.where(down, name_above, name_ahead)
        return (left, right, below, above, name_below, name_above, squared, doubtful), (squared, name)

    start = (
        *(left, right, squared_at(left), squared_at(right), name_at(left), name_at(right + size)),
        *(jnp.full_like(queries, -1), jnp.zeros(queries.shape, bool)),
    )
    # One place for the name left out, one to see a tie with the last.
    (*_, doubtful), (squared, found) = lax.scan(step, start, None, length=k + 2)
    passed = lax.cumsum((found == own).astype(jnp.int32), axis=0)[:k] > 0
    squared = jnp.where(passed, squared[1 : k + 1], squared[:k])
    found = jnp.where(passed, found[1 : k + 1], found[:k])
    return squared.T, found.astype(jnp.int_).T, doubtful
