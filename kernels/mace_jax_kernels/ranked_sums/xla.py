"""Tiles of the sorted list, best score first; within a tile small products, between tiles running sums per replicate.

Wins of a tile are ``M' n`` with the member weight ``M'`` above the tile and the non-member weight ``n`` in it, plus the
pairs within the tile as a quadratic form of its weights, less half of what is tied across the edge between two tiles.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt32

from mace_jax_kernels._precision import dot_precision
from mace_jax_kernels._tiling import Rows
from mace_jax_kernels._weights import WeightKind
from mace_jax_kernels.ranked_sums.plan import Plan
from mace_jax_kernels.weighted_sums._packed import codes, unpack

__all__ = ["ranked_blocks"]

_ROUNDING = 1 + 2.0**-22  # f * total is rounded twice: what equals the limit must not exceed it
_PARTS = {"poisson": 4, "double_or_nothing": 64, "bayesian": 2}  # weights that one counter makes


def ranked_blocks(
    plan: Plan,
    member_key: UInt32[Rows, " 2"],
    nonmember_key: UInt32[Rows, " 2"],
    rates: Float[Rows, " q"],
    first_block,
    *,
    n_blocks: int,
    chunk: int,
    kind: WeightKind,
) -> tuple[Float[Array, " b"], Float[Array, "b q"], Float[Array, " b"], Float[Array, " b"]]:
    """Wins, hits and total weights of ``n_blocks`` blocks of replicates, ``chunk`` blocks at a time."""
    plan = Plan(*map(jnp.asarray, plan))

    def some(start):
        weights = functools.partial(_weights, plan, member_key, nonmember_key, start, chunk, kind)
        wins, members, others = _pair_wins(plan, weights)
        hits = _hits(plan, weights, others, jnp.asarray(rates))
        return tuple(_by_replicate(array, chunk, _PARTS[kind]) for array in (wins, hits, members, others))

    starts = jnp.asarray(first_block, jnp.uint32) + chunk * jnp.arange(n_blocks // chunk, dtype=jnp.uint32)
    wins, hits, members, others = (array.reshape(-1, *array.shape[2:]) for array in lax.map(some, starts))
    return wins, hits, members, others


def _weights(plan, member_key, nonmember_key, first_block, n_blocks, kind, tile):
    """Weights of one tile ``(counters * parts, TILE)``; every row is drawn with the key of its group.

    The branch keeps the compiler from drawing them again for every use.
    """
    key = jnp.where(plan.member[tile], jnp.asarray(member_key)[:, None], jnp.asarray(nonmember_key)[:, None])
    ids = plan.ids[tile]

    def draw():
        return tuple(codes(key, first_block, n_blocks, ids, kind))

    shapes = jax.eval_shape(draw)
    code = lax.cond(tile < plan.n_tiles, draw, lambda: tuple(jnp.zeros(shape.shape, shape.dtype) for shape in shapes))
    parts = unpack(code, kind)
    parts = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)
    return parts.reshape(-1, len(ids))


def _by_replicate(array, n_blocks, parts):
    """From (block, counter), part to the order of the replicates: block, part, counter."""
    split = array.reshape(n_blocks, -1, parts, *array.shape[1:])
    return jnp.moveaxis(split, 2, 1).reshape(array.shape)


def _pair_wins(plan, weights):
    """``(wins, member weight, non-member weight)`` of all replicates; wins are summed with their rounding errors."""

    def visit(tile, state):
        wins, rest, members, others, tied = state
        member, nonmember, level = plan.member[tile], plan.nonmember[tile], plan.level[tile]
        pair = (level[:, None] < level) + 0.5 * (level[:, None] == level)
        pair = jnp.where(member[:, None] & nonmember, pair, 0.0)
        open_before, open_after = level == plan.before[tile], level == level[-1]
        columns = jnp.stack([member, nonmember, nonmember & open_before, member & open_after], axis=1)
        weight, width = weights(tile), len(level)
        product = jnp.concatenate([pair, columns], axis=1).astype(jnp.float32)
        sums = jnp.matmul(weight, product, precision=dot_precision())
        new_members, new_others, tied_others, open_members = (sums[:, width + place] for place in range(4))
        within = jnp.sum(weight * sums[:, :width], axis=1)
        added = members * new_others - 0.5 * tied * tied_others + within
        total = wins + added
        previous = total - added
        rest = rest + ((wins - previous) + (added - (total - previous)))
        still_open = (level[-1] == plan.before[tile]).astype(jnp.float32)
        return total, rest, members + new_members, others + new_others, open_members + still_open * tied

    zeros = jnp.zeros(jax.eval_shape(weights, jnp.int32(0)).shape[0], jnp.float32)
    wins, rest, members, others, _ = lax.fori_loop(0, plan.n_tiles, visit, (zeros,) * 5)
    return wins + rest, members, others


def _hits(plan, weights, totals, rates):
    """Member weight above the lowest threshold that keeps each rate; stops once no replicate allows more."""
    limits = rates * jnp.float32(_ROUNDING) * totals[:, None]
    highest = limits.max(axis=1, initial=0.0)

    def undecided(state):
        tile, _, others, _ = state
        return (tile < plan.n_tiles) & jnp.any(others <= highest)

    def visit(state):
        tile, members, others, hits = state
        member, nonmember, weight = plan.member[tile], plan.nonmember[tile], weights(tile)
        width = weight.shape[1]
        up_to = jnp.arange(width)[:, None] <= jnp.arange(width)
        both = jnp.concatenate([up_to & member[:, None], up_to & nonmember[:, None]], axis=1).astype(jnp.float32)
        sums = jnp.matmul(weight, both, precision=dot_precision())
        caught = members[:, None] + sums[:, :width]
        alarms = jnp.where(plan.last[tile], others[:, None] + sums[:, width:], jnp.inf)
        found = [jnp.max(jnp.where(alarms <= limits[:, [place]], caught, 0.0), axis=1) for place in range(len(rates))]
        hits = jnp.maximum(hits, jnp.stack(found, axis=1)) if found else hits
        return tile + 1, members + sums[:, width - 1], others + sums[:, -1], hits

    zeros = jnp.zeros_like(totals)
    return lax.while_loop(undecided, visit, (jnp.int32(0), zeros, zeros, jnp.zeros_like(limits)))[3]
