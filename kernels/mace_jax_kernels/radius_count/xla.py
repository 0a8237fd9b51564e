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

__all__ = ["count_block", "count_padded"]


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
