"""Streaming log-sum-exp: one tile of squared distances at a time, every bandwidth from the same tile."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from mace_jax_kernels._precision import dot_precision
from mace_jax_kernels._tiling import Rows
from mace_jax_kernels.knn.xla import centered

__all__ = ["add_block", "finish", "sums_padded"]

_RUN = 8
_FEATURES = 8


@functools.partial(jax.jit, static_argnames=("tile_rows", "direct"))
def add_block(
    queries: Float[Rows, "n d"],
    query_norms: Float[Rows, " n"],
    reference: Float[Rows, "m d"],
    reference_norms: Float[Rows, " m"],
    log_weights: Float[Rows, " m"],
    exclude_ids: Int[Rows, " n"],
    rates: Float[Rows, " b"],
    largest: Float[Rows, "b n"],
    total: Float[Rows, "b n"],
    *,
    tile_rows: int,
    direct: bool,
) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
    """Merge one block of reference rows into running log-sums ``largest + log(total)``.

    Per query and bandwidth, ``largest`` is the largest exponent ``log w - rate |x - y|^2`` so far and ``total`` the sum
    of ``exp(exponent - largest)``: at least 1 once a row counted, so that nothing underflows to an empty sum.

    Args:
        queries: ``(n, d)``; centered unless ``direct``.
        query_norms: ``(n,)`` squared norms, any value with ``direct``.
        reference: ``(m, d)``, centered alike; ``m`` is a multiple of ``tile_rows``.
        reference_norms: ``(m,)`` squared norms, any value with ``direct``.
        log_weights: ``(m,)``, ``-inf`` for rows that do not count, padding among them.
        exclude_ids: int32 ``(n,)``, a row of this block or -1.
        rates: ``(b,)``, ``1 / (2 h^2)``.
        largest: ``(b, n)``, ``-inf`` to start with.
        total: ``(b, n)``, 0 to start with.
        tile_rows: Reference rows per tile.
        direct: Sum squares of differences, without cancellation, in place of a matrix product.

    Peak memory beyond operands: about three tiles of ``itemsize * n * tile_rows`` bytes.
    """
    n, d = queries.shape
    run = min(_RUN, tile_rows)
    columns = jnp.pad(queries, ((0, 0), (0, -d % _FEATURES if direct else 0))).T
    precision = dot_precision()

    def by_product(start, rows):
        norms = lax.dynamic_slice_in_dim(reference_norms, start, tile_rows)
        product = jnp.matmul(rows, -2 * columns, precision=precision)
        return jnp.maximum(product + norms[:, None] + query_norms[None, :], 0)

    def by_difference(rows):
        rows = jnp.pad(rows, ((0, 0), (0, -d % _FEATURES)))

        def add(i, squared):
            ours = lax.dynamic_slice_in_dim(columns, i * _FEATURES, _FEATURES)
            theirs = lax.dynamic_slice_in_dim(rows, i * _FEATURES, _FEATURES, axis=1)
            squares = [(theirs[:, f, None] - ours[f]) ** 2 for f in range(_FEATURES)]
            return functools.reduce(jnp.add, squares, squared)

        zeros = jnp.zeros((tile_rows, n), queries.dtype)
        return add(0, zeros) if d <= _FEATURES else lax.fori_loop(0, len(columns) // _FEATURES, add, zeros)

    def visit(state, start, weights):
        rows = lax.dynamic_slice_in_dim(reference, start, tile_rows)
        squared = by_difference(rows) if direct else by_product(start, rows)
        ids = start + jnp.arange(tile_rows, dtype=jnp.int32)
        squared = jnp.where(ids[:, None] == exclude_ids, jnp.inf, squared)
        # Computed once: without the barrier each use below would compute the tile again.
        squared = lax.optimization_barrier(squared.reshape(tile_rows // run, run, n))
        added = weights.reshape(tile_rows // run, run, 1)

        def merge(one):
            rate, before, total = one
            # Reference rows run down, queries run along the vector lanes; sums of runs keep rounding short.
            top = functools.reduce(jnp.maximum, [added[:, i] - rate * squared[:, i] for i in range(run)]).max(axis=0)
            top = jnp.maximum(before, top)
            shift = lax.optimization_barrier(jnp.where(jnp.isinf(top), 0, top))
            terms = [jnp.exp(added[:, i] - rate * squared[:, i] - shift) for i in range(run)]
            return top, total * jnp.exp(before - shift) + functools.reduce(jnp.add, terms).sum(axis=0)

        return lax.map(merge, (rates, *state))

    def step(state, start):
        weights = lax.dynamic_slice_in_dim(log_weights, start, tile_rows)
        counts = jnp.any(weights > -jnp.inf)
        return lax.cond(counts, visit, lambda state, start, weights: state, state, start, weights), None

    starts = tile_rows * jnp.arange(reference.shape[0] // tile_rows, dtype=jnp.int32)
    state, _ = lax.scan(step, (jnp.asarray(largest), jnp.asarray(total)), starts)
    return state


def finish(largest, total):
    """The log-sums; ``-inf`` where no row counted."""
    return largest + jnp.log(total)


@functools.partial(jax.jit, static_argnames=("query_rows", "tile_rows", "direct"))
def sums_padded(
    queries, reference, log_weights, exclude_ids, inverse_bandwidth, n, m, *, query_rows, tile_rows, direct
):
    """Log-sums over padded arrays of which the first ``n`` queries and ``m`` reference rows count."""
    rates = inverse_bandwidth**2 / 2
    moved, query_norms, shifted, reference_norms = centered(queries, reference, n, m)
    if direct:  # differences of the rows as they came are exact to rounding, centered ones are not
        moved, shifted = queries, reference
    nothing = jnp.full((len(rates), query_rows), -jnp.inf, queries.dtype)

    def search(part):
        rows, norms, excluded = part
        state = add_block(
            rows,
            norms,
            shifted,
            reference_norms,
            log_weights,
            excluded,
            rates,
            nothing,
            jnp.zeros_like(nothing),
            tile_rows=tile_rows,
            direct=direct,
        )
        return finish(*state)

    def tiled(array):
        return array.reshape(-1, query_rows, *array.shape[1:])

    found = lax.map(search, (tiled(moved), tiled(query_norms), tiled(exclude_ids)))
    return jnp.moveaxis(found, 1, 0).reshape(len(rates), -1)
