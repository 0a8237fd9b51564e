"""Windows of the 1, 2, ... nearest values on a sorted line: one step outwards per neighbor."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mace_jax_kernels.sorted_window import Windows, sorted_window

__all__ = ["shares", "walk_windows"]


@functools.partial(jax.jit, static_argnames=("first", "last"))
def walk_windows(values: Float[Array, " n"], queries: Float[Array, " m"], *, first: int, last: int) -> Windows:
    """``sorted_window`` for k = ``first`` .. ``last``, at the cost of about one step of its binary search per k.

    The nearer of the two next values is taken ``last`` times. Its distance opens a shell where it exceeds the one
    before: the open window is what was taken until then, the closed one what has been taken when the next shell opens.
    Where nothing is nearer than the k-th value, the empty open window may lie elsewhere than in ``sorted_window``.

    Memory: ``21 (last - first + 1) m`` bytes for the result and what leads to it, and ``sorted_window`` of one k.
    """
    fenced = jnp.concatenate([jnp.full(1, -jnp.inf), values, jnp.full(1, jnp.inf)])

    def distance(place: Array) -> Array:
        return jnp.abs(queries - fenced.at[place + 1].get(mode="promise_in_bounds"))

    def outwards(arms, _):
        left, right, below, above, reached, low, high = arms
        down, near = below <= above, jnp.minimum(below, above)
        opens = near > reached
        low, high = jnp.where(opens, left + 1, low), jnp.where(opens, right, high)
        place = jnp.where(down, left - 1, right + 1)
        left, right, ahead = jnp.where(down, place, left), jnp.where(down, right, place), distance(place)
        below, above = jnp.where(down, ahead, below), jnp.where(down, above, ahead)
        return (left, right, below, above, near, low, high), (left + 1, low, high, opens)

    right = jnp.searchsorted(values, queries).astype(jnp.int32)
    left = right - 1
    start = (left, right, distance(left), distance(right), jnp.full_like(queries, -1), right, right)
    for _ in range(first - 1):
        start, _ = outwards(start, None)
    _, (taken, open_low, open_high, opens) = jax.lax.scan(outwards, start, None, length=last - first + 1)
    farthest = sorted_window(values, queries, jnp.full(1, last))

    def inwards(later: tuple[Array, Array, Bool[Array, " m"]], here: tuple[Array, Array, Array]):
        low, k, opens = here
        closed_low, closed_high = jnp.where(later[2], low, later[0]), jnp.where(later[2], low + k, later[1])
        return (closed_low, closed_high, opens), (closed_low, closed_high)

    end = farthest.closed_low[0], farthest.closed_high[0], jnp.zeros(queries.shape, bool)
    counted = jnp.arange(first, last + 1, dtype=jnp.int32)
    _, (closed_low, closed_high) = jax.lax.scan(inwards, end, (taken, counted, opens), reverse=True)
    return Windows(closed_low, open_low, open_high, closed_high)


@functools.partial(jax.jit, static_argnames="itself")
def shares(windows: Windows, k: Int[Array, " K"], *, itself: bool) -> Float[Array, "K m"]:
    """Expected part of the tied shell among the k nearest others; with ``itself`` the query is one of the values."""
    inside = windows.open_high - windows.open_low
    shell = windows.closed_high - windows.closed_low - inside
    share = (k[:, None] + itself - inside) / shell
    if itself:
        # k copies of the record: it lies in the shell itself
        share = jnp.where(inside == 0, k[:, None] / jnp.maximum(shell - 1, 1), share)
    return share.astype(jnp.float32)
