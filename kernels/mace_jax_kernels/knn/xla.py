"""Tiled search: bound every pair by a matrix product, keep the smallest bounds, measure those again."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from mace_jax_kernels._precision import dot_precision, unit_roundoff
from mace_jax_kernels._tiling import Rows
from mace_jax_kernels.select_k import select_k

__all__ = [
    "centered",
    "group_minima",
    "knn_padded",
    "propose_block",
    "propose_groups",
    "rank_groups",
]

_RANK_BYTES = 2 << 20


@functools.partial(jax.jit, static_argnames="tile_rows")
def propose_block(
    queries: Float[Rows, "n d"],
    query_norms: Float[Rows, " n"],
    reference: Float[Rows, "m d"],
    reference_norms: Float[Rows, " m"],
    first_id: ArrayLike,
    exclude_ids: Int[Rows, " n"],
    keep: ArrayLike,
    bounds: Float[Rows, "n c"],
    ids: Int[Rows, "n c"],
    *,
    tile_rows: int,
) -> tuple[Float[Array, "n c"], Int[Array, "n c"]]:
    """Merge one block of reference rows into the running lists of smallest lower bounds.

    The bound is ``keep * (|x|^2 + |y|^2) - 2 x.y`` with ``keep = 1 - relative_slack``; padding rows have an infinite
    norm and never enter. Lists stay in the order (bound, id) when blocks come with ascending ids.

    Args:
        queries: ``(n, d)``, centered.
        query_norms: ``(n,)`` squared norms, ``inf`` for padding.
        reference: ``(m, d)``, centered alike; ``m`` is a multiple of ``tile_rows``.
        reference_norms: ``(m,)`` squared norms, ``inf`` for padding, which comes last.
        first_id: int32 id of the first reference row.
        exclude_ids: int32 ``(n,)``, -1 for none.
        keep: Scalar, ``1 - relative_slack``; 1 where products are exact.
        bounds: ``(n, c)`` running list, ``inf`` to start with.
        ids: int32 ``(n, c)`` running list, -1 to start with.
        tile_rows: Reference rows per tile.

    Peak memory beyond operands: about three tiles of ``itemsize * n * tile_rows`` bytes.
    """
    candidates = bounds.shape[1]
    per_tile = min(candidates, tile_rows)
    precision = dot_precision()

    def search(state, tile):
        rows, norms, start = tile
        product = jnp.matmul(queries, rows.T, precision=precision)
        lower = keep * (query_norms[:, None] + norms[None, :]) - 2 * product
        columns = start + jnp.arange(tile_rows, dtype=jnp.int32)
        lower = jnp.where(exclude_ids[:, None] == columns[None, :], jnp.inf, lower)

        def merge(state):
            values, positions = select_k(lower, per_tile)
            found = jnp.where(jnp.isinf(values), jnp.int32(-1), start + positions)
            pool = jnp.concatenate([state[0], values], axis=1)
            pool_ids = jnp.concatenate([state[1], found], axis=1)
            kept, where = lax.top_k(-pool, candidates)
            return -kept, jnp.take_along_axis(pool_ids, where, axis=1)

        needed = jnp.any(lower.min(axis=1) < state[0][:, -1])
        return lax.cond(needed, merge, lambda state: state, state)

    def visit(state, tile):
        holds_rows = jnp.isfinite(tile[1][0])
        return lax.cond(holds_rows, search, lambda state, tile: state, state, tile), None

    n_tiles = reference.shape[0] // tile_rows
    starts = first_id + tile_rows * jnp.arange(n_tiles, dtype=jnp.int32)
    tiles = (reference.reshape(n_tiles, tile_rows, -1), reference_norms.reshape(n_tiles, tile_rows), starts)
    state, _ = lax.scan(visit, (jnp.asarray(bounds), jnp.asarray(ids)), tiles)
    return state


@functools.partial(jax.jit, static_argnames=("tile_rows", "chunk_rows", "group_rows"))
def propose_groups(
    queries: Float[Rows, "n d"],
    reference: Float[Rows, "m d"],
    weights: Float[Rows, " m"],
    first_group: ArrayLike,
    values: Float[Rows, "n c"],
    groups: Int[Rows, "n c"],
    *,
    tile_rows: int,
    chunk_rows: int,
    group_rows: int,
) -> tuple[Float[Array, "n c"], Int[Array, "n c"]]:
    """Merge reference rows into the running lists of groups (runs of rows) with the smallest ``weight - 2 x.y``.

    Only the minimum over each group leaves a tile, so a pair costs one product and one comparison; ``rank_groups``
    then looks inside the groups that were kept. The ``k`` first groups by (minimum, group) hold the ``k`` first rows
    by (value, id), and every group left out has a minimum of at least the last one kept.

    Args:
        queries: ``(n, d)``, centered.
        reference: ``(m, d)``, centered alike; ``m`` is a multiple of ``chunk_rows``.
        weights: ``(m,)``, ``(1 - relative_slack) * |y|^2``; ``inf`` for padding, which comes last.
        first_group: int32 number of the first group.
        values: ``(n, c)`` running list of group minima, ``inf`` to start with.
        groups: int32 ``(n, c)`` running list, -1 to start with.
        tile_rows: Reference rows per matrix product.
        chunk_rows: Reference rows per selection, a multiple of ``tile_rows``.
        group_rows: Rows per group, a divisor of ``tile_rows``.

    Peak memory beyond operands, in bytes: ``itemsize * n * (2 * tile_rows + 3 * chunk_rows / group_rows)``.
    """
    n, kept = values.shape
    per_tile, per_chunk = tile_rows // group_rows, chunk_rows // group_rows
    doubled = -2 * queries

    def minima(start):
        rows = lax.dynamic_slice_in_dim(reference, start, tile_rows)
        added = lax.dynamic_slice_in_dim(weights, start, tile_rows)
        return _minima(doubled, rows, added, group_rows)[0]

    def nothing(start):
        return jnp.full((per_tile, n), jnp.inf, queries.dtype)

    def search(state, start):
        starts = start + tile_rows * jnp.arange(chunk_rows // tile_rows, dtype=jnp.int32)
        lowest = lax.map(lambda at: lax.cond(jnp.isfinite(weights[at]), minima, nothing, at), starts)
        found, where = select_k(lowest.reshape(per_chunk, n).T, min(kept, per_chunk))
        numbers = jnp.where(jnp.isinf(found), jnp.int32(-1), first_group + start // group_rows + where)
        pool = jnp.concatenate([state[0], found], axis=1)
        pool_groups = jnp.concatenate([state[1], numbers], axis=1)
        negated, where = lax.top_k(-pool, kept)
        return -negated, jnp.take_along_axis(pool_groups, where, axis=1)

    def visit(state, start):
        return lax.cond(jnp.isfinite(weights[start]), search, lambda state, start: state, state, start), None

    chunks = chunk_rows * jnp.arange(reference.shape[0] // chunk_rows, dtype=jnp.int32)
    state, _ = lax.scan(visit, (jnp.asarray(values), jnp.asarray(groups)), chunks)
    return state


@functools.partial(jax.jit, static_argnames="group_rows", donate_argnames="scratch", keep_unused=True)
def group_minima(
    doubled: Float[Rows, "n d"],
    reference: Float[Rows, "m d"],
    weights: Float[Rows, " m"],
    scratch: Float[Array, "m n"],
    *,
    group_rows: int,
) -> tuple[Float[Array, "g n"], Float[Array, "m n"]]:
    """Smallest ``weight + doubled . y`` over each group (run of ``group_rows`` rows), for every query.

    Args:
        doubled: ``(n, d)``, minus two times the centered queries.
        reference: ``(m, d)`` of the same dtype, one tile; bfloat16 products are added up in float32.
        weights: ``(m,)`` float32 or wider; ``inf`` for padding.
        scratch: ``(m, n)`` as wide, of any content, overwritten and handed back for the next call: the products.
        group_rows: A divisor of ``m``.

    Returns:
        ``(minima, scratch)``.
    """
    return _minima(doubled, reference, weights, group_rows)


def _minima(doubled, reference, weights, group_rows):
    m, n = reference.shape[0], doubled.shape[0]
    # Reference rows run down, queries run along the vector lanes: minima need no shuffles.
    products = lax.dot_general(
        reference,
        doubled,
        (((1,), (1,)), ((), ())),
        precision=dot_precision(),
        preferred_element_type=weights.dtype,
    )
    grouped = products.reshape(m // group_rows, group_rows, n)
    added = weights.reshape(m // group_rows, group_rows, 1)
    return functools.reduce(jnp.minimum, [grouped[:, i] + added[:, i] for i in range(group_rows)]), products


@functools.partial(jax.jit, static_argnames=("group_rows", "near"))
def rank_groups(
    queries: Float[Rows, "n d"],
    reference: Float[Rows, "m d"],
    weights: Float[Rows, " m"],
    groups: Int[Rows, "n c"],
    *,
    near: int,
    group_rows: int,
) -> tuple[Float[Array, "n near"], Int[Array, "n near"]]:
    """The ``near`` rows with the smallest ``weight - 2 x.y`` in each query's groups, by (value, id).

    Arguments as in ``propose_groups`` over all of the reference; a group of -1 is absent. Ids are -1 at value ``inf``
    where there are fewer rows.

    Peak memory beyond operands: a few times ``_RANK_BYTES``, or ``itemsize * c * group_rows * d`` for one query.
    """
    groups = jnp.sort(groups, axis=1)
    n, kept = groups.shape
    d = queries.shape[1]
    blocks = reference.reshape(-1, group_rows, d)
    added = weights.reshape(-1, group_rows)

    def rank(part):
        x, numbers = part
        safe = jnp.maximum(numbers, 0)
        # A matrix product, as in propose_groups: the slack of the filter is proven for its rounding.
        products = jnp.matmul(blocks[safe].reshape(-1, d), x, precision=dot_precision())
        values = added[safe] - 2 * products.reshape(kept, group_rows)
        return jnp.where((numbers < 0)[:, None], jnp.inf, values).ravel()

    batch = 1
    while batch < n and 2 * batch * kept * group_rows * d * queries.dtype.itemsize <= _RANK_BYTES:
        batch *= 2
    negated, where = lax.top_k(-lax.map(rank, (queries, groups), batch_size=batch), near)
    ids = jnp.take_along_axis(groups, where // group_rows, axis=1) * group_rows + where % group_rows
    return -negated, jnp.where(jnp.isinf(negated), jnp.int32(-1), ids)


def centered(queries, reference, n, m):
    """Both arrays minus their pooled mean over valid rows, and squared norms that are infinite on padding."""
    valid_n = jnp.arange(queries.shape[0]) < n
    valid_m = jnp.arange(reference.shape[0]) < m
    # Halves first: the sum of two finite means may not be finite.
    mean = (queries.sum(axis=0) / n + reference.sum(axis=0) / m) / 2
    queries, reference = queries - mean, reference - mean
    query_norms = jnp.where(valid_n, jnp.sum(queries**2, axis=1), jnp.inf)
    reference_norms = jnp.where(valid_m, jnp.sum(reference**2, axis=1), jnp.inf)
    return queries, query_norms, reference, reference_norms


@functools.partial(jax.jit, static_argnames=("k", "candidates", "query_rows", "tile_rows"))
def knn_padded(
    queries, reference, exclude_ids, n, m, slack, *, k: int, candidates: int, query_rows: int, tile_rows: int
):
    """Search padded arrays of which the first ``n`` queries and ``m`` reference rows count."""
    moved, query_norms, shifted, reference_norms = centered(queries, reference, n, m)
    infinite = jnp.full((query_rows, candidates), jnp.inf, queries.dtype)
    nobody = jnp.full((query_rows, candidates), -1, jnp.int32)
    rounding = 1 - (queries.shape[1] + 2) * unit_roundoff(queries.dtype)
    underflow = 8 * queries.shape[1] * float(jnp.finfo(queries.dtype).tiny)

    def search(part):
        rows, moved_rows, norms, excluded = part
        bounds, ids = propose_block(
            moved_rows,
            norms,
            shifted,
            reference_norms,
            jnp.int32(0),
            excluded,
            1 - slack,
            infinite,
            nobody,
            tile_rows=tile_rows,
        )
        squared = jnp.sum((rows[:, None, :] - reference[ids]) ** 2, axis=-1)
        squared = jnp.where(ids < 0, jnp.inf, squared)
        squared, ids = lax.sort((squared, ids), dimension=1, num_keys=2)
        # Every row left out has a bound of at least the last one kept; a list that is not full holds them all.
        return squared[:, :k], ids[:, :k], rounding * bounds[:, -1] - underflow > squared[:, k - 1]

    def tiled(array):
        return array.reshape(-1, query_rows, *array.shape[1:])

    found = lax.map(search, (tiled(queries), tiled(moved), tiled(query_norms), tiled(exclude_ids)))
    return tuple(part.reshape(-1, *part.shape[2:]) for part in found)
