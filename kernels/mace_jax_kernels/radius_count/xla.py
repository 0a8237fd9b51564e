"""Tiled counting: a matrix product settles the clear pairs and lists the others."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from mace_jax_kernels._precision import dot_precision, unit_roundoff
from mace_jax_kernels._tiling import Rows
from mace_jax_kernels.knn.xla import centered
from mace_jax_kernels.select_k import select_k

__all__ = ["count_block", "count_groups", "count_padded"]

_RUN = 16


@functools.partial(jax.jit, static_argnames="tile_rows")
def count_block(
    queries: Float[Rows, "n d"],
    query_norms: Float[Rows, " n"],
    reference: Float[Rows, "m d"],
    reference_norms: Float[Rows, " m"],
    first_id: ArrayLike,
    low: Float[Rows, " n"],
    high: Float[Rows, " n"],
    slack: ArrayLike,
    counts: Int[Rows, " n"],
    n_near: Int[Rows, " n"],
    near_ids: Int[Rows, "n c"],
    *,
    tile_rows: int,
) -> tuple[Int[Array, " n"], Int[Array, " n"], Int[Array, "n c"]]:
    """Add one block of reference rows to the running counts.

    With ``e = slack * (|x|^2 + |y|^2)`` around the matrix form of a squared distance: a pair is inside if the form plus
    ``e`` is at most ``low``, outside if the form minus ``e`` exceeds ``high``, and near the boundary otherwise.

    Args:
        queries: ``(n, d)``, centered.
        query_norms: ``(n,)`` squared norms, ``inf`` for padding.
        reference: ``(m, d)``, centered alike; ``m`` is a multiple of ``tile_rows``.
        reference_norms: ``(m,)`` squared norms, ``inf`` for padding, which comes last.
        first_id: int32 id of the first reference row.
        low: ``(n,)`` squared radius rounded down, ``-inf`` for padding.
        high: ``(n,)`` squared radius rounded up, ``-inf`` for padding.
        slack: Scalar relative slack; 0 where products are exact.
        counts: int32 ``(n,)`` pairs inside.
        n_near: int32 ``(n,)`` pairs near the boundary.
        near_ids: int32 ``(n, c)``, the first ``c`` of those; -1 where there are fewer.
        tile_rows: Reference rows per tile.

    Peak memory beyond operands: about four tiles of ``itemsize * n * tile_rows`` bytes.
    """
    capacity = near_ids.shape[1]
    per_tile = min(capacity, tile_rows)
    precision = dot_precision()

    def count(state, tile):
        rows, norms, start = tile
        counts, n_near, near_ids = state
        product = 2 * jnp.matmul(queries, rows.T, precision=precision)
        total = query_norms[:, None] + norms[None, :]
        inside = (1 + slack) * total - product <= low[:, None]
        near = ((1 - slack) * total - product <= high[:, None]) & ~inside
        added = near.sum(axis=1, dtype=jnp.int32)

        def keep_ids(near_ids):
            flags, positions = select_k(jnp.where(near, 0.0, jnp.inf).astype(queries.dtype), per_tile)
            found = jnp.where(jnp.isinf(flags), jnp.int32(-1), start + positions)
            pool = jnp.concatenate([near_ids, found], axis=1)
            _, where = lax.top_k((pool >= 0).astype(jnp.float32), capacity)
            return jnp.take_along_axis(pool, where, axis=1)

        near_ids = lax.cond(jnp.any(added > 0), keep_ids, lambda near_ids: near_ids, near_ids)
        return counts + inside.sum(axis=1, dtype=jnp.int32), n_near + added, near_ids

    def visit(state, tile):
        holds_rows = jnp.isfinite(tile[1][0])
        return lax.cond(holds_rows, count, lambda state, tile: state, state, tile), None

    n_tiles = reference.shape[0] // tile_rows
    starts = first_id + tile_rows * jnp.arange(n_tiles, dtype=jnp.int32)
    tiles = (reference.reshape(n_tiles, tile_rows, -1), reference_norms.reshape(n_tiles, tile_rows), starts)
    state, _ = lax.scan(visit, (jnp.asarray(counts), jnp.asarray(n_near), jnp.asarray(near_ids)), tiles)
    return state


@functools.partial(jax.jit, static_argnames=("tile_rows", "group_rows"))
def count_groups(
    queries: Float[Rows, "n d"],
    reference: Float[Rows, "m d"],
    upper: Float[Rows, " m"],
    lower: Float[Rows, " m"],
    inner: Float[Rows, " n"],
    outer: Float[Rows, " n"],
    *,
    tile_rows: int,
    group_rows: int,
) -> tuple[Int[Array, "g n"], Int[Array, "g n"]]:
    """Counts per group of reference rows, and how many pairs of each the matrix product does not decide.

    A pair is inside if ``upper - 2 x.y <= inner``, outside if ``lower - 2 x.y > outer`` and undecided otherwise.

    Args:
        queries: ``(n, d)``, centered.
        reference: ``(m, d)``, centered alike; ``m`` is a multiple of ``tile_rows``.
        upper: ``(m,)``, ``(1 + relative_slack) * |y|^2``; ``inf`` for padding, which comes last.
        lower: ``(m,)``, ``(1 - relative_slack) * |y|^2``; ``inf`` for padding.
        inner: ``(n,)``, the squared radius rounded down less ``(1 + relative_slack) * |x|^2``.
        outer: ``(n,)``, the squared radius rounded up less ``(1 - relative_slack) * |x|^2``.
        tile_rows: Reference rows per matrix product.
        group_rows: Rows per group, a divisor of ``tile_rows``.

    Peak memory beyond operands and results: ``2 * itemsize * n * tile_rows`` bytes.
    """
    n = queries.shape[0]
    run = min(_RUN, group_rows)
    precision = dot_precision()
    doubled = -2 * queries.T

    def split(array, start):
        return lax.dynamic_slice_in_dim(array, start, tile_rows).reshape(tile_rows // run, run, 1)

    def count(start):
        rows = lax.dynamic_slice_in_dim(reference, start, tile_rows)
        products = jnp.matmul(rows, doubled, precision=precision).reshape(tile_rows // run, run, n)

        def within(added, limit):
            hits = [(products[:, i] + added[:, i] <= limit).astype(jnp.int32) for i in range(run)]
            # The barrier keeps the second sum from computing the first one again in a slow order.
            runs = lax.optimization_barrier(functools.reduce(jnp.add, hits)).reshape(-1, group_rows // run, n)
            return functools.reduce(jnp.add, [runs[:, i] for i in range(group_rows // run)])

        inside = within(split(upper, start), inner)
        return inside, within(split(lower, start), outer) - inside

    def nothing(start):
        zeros = jnp.zeros((tile_rows // group_rows, n), jnp.int32)
        return zeros, zeros

    starts = tile_rows * jnp.arange(reference.shape[0] // tile_rows, dtype=jnp.int32)
    inside, near = lax.map(lambda start: lax.cond(jnp.isfinite(upper[start]), count, nothing, start), starts)
    return inside.reshape(-1, n), near.reshape(-1, n)


@functools.partial(jax.jit, static_argnames=("borderline", "query_rows", "tile_rows"))
def count_padded(queries, reference, radius, n, m, slack, *, borderline: int, query_rows: int, tile_rows: int):
    """Count over padded arrays of which the first ``n`` queries and ``m`` reference rows count."""
    moved, query_norms, shifted, reference_norms = centered(queries, reference, n, m)
    # The comparison is of rounded distances with the radius: leave room for the rounding of the direct sum as well.
    room = (queries.shape[1] + 8) * unit_roundoff(queries.dtype)
    valid = jnp.isfinite(query_norms)
    low = jnp.where(valid, radius * radius * (1 - room), -jnp.inf)
    high = jnp.where(valid, radius * radius * (1 + room), -jnp.inf)
    zeros = jnp.zeros(query_rows, jnp.int32)
    nobody = jnp.full((query_rows, borderline), -1, jnp.int32)

    def search(part):
        rows, moved_rows, norms, limit, low, high = part
        counts, n_near, ids = count_block(
            moved_rows,
            norms,
            shifted,
            reference_norms,
            jnp.int32(0),
            low,
            high,
            slack,
            zeros,
            zeros,
            nobody,
            tile_rows=tile_rows,
        )
        distance = jnp.sqrt(jnp.sum((rows[:, None, :] - reference[ids]) ** 2, axis=-1))
        hits = (ids >= 0) & (distance <= limit[:, None])
        return counts + hits.sum(axis=1, dtype=jnp.int32), n_near <= borderline

    def tiled(array):
        return array.reshape(-1, query_rows, *array.shape[1:])

    parts = tuple(tiled(array) for array in (queries, moved, query_norms, radius, low, high))
    return tuple(part.reshape(-1) for part in lax.map(search, parts))
