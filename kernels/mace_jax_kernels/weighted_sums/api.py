"""``weighted_sums``: checks, chains of rows, and which compiled program runs where."""

from __future__ import annotations

import functools
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt32

from mace_jax_kernels._tiling import Rows, bucket, is_traced, pad_rows, resident_size
from mace_jax_kernels._weights import REPLICATE_BLOCK, WeightKind
from mace_jax_kernels.weighted_sums import reference as oracle
from mace_jax_kernels.weighted_sums import xla

__all__ = [
    "CHAIN_ROWS",
    "Weights",
    "chained_size",
    "draws_block",
    "replicate_blocks",
    "replicates_in_memory",
    "sums_block",
    "weighted_sums",
]

Weights = Literal["poisson", "double_or_nothing", "bayesian", "multinomial"]

CHAIN_ROWS = 1 << 16
"""Rows whose sums are added up in the dtype of the values; beyond it they are added up in float64."""

_TILE_ROWS = 1024
_BAYESIAN_TILE_ROWS = 256  # products with weights that are not whole round, the more so the longer their sums

_WEIGHT_BYTES = {"cpu": 4 << 20}
_ACCELERATOR_WEIGHT_BYTES = 64 << 20
_COUNT_BYTES = 16 << 20
_WIDEST = {"xla_cpu_prefer_vector_width": 512}  # where a processor has less, the compiler uses what it has

_tile_sums = functools.partial(jax.jit, static_argnames=("n_blocks", "kind", "tile_rows", "stored"))
_on_cpu = _tile_sums(xla.tile_sums, compiler_options=_WIDEST)
_elsewhere = _tile_sums(xla.tile_sums)
_draw_sums = jax.jit(xla.draw_sums, static_argnames=("n_replicates", "tile_rows"))


def _tile_rows(kind: str) -> int:
    return _BAYESIAN_TILE_ROWS if kind == "bayesian" else _TILE_ROWS


def replicate_blocks(n_resamples: int, kind: str, parts: int = 1, *, platform: str | None = None) -> int:
    """How many blocks of 64 replicates to compute at a time: a power of two that leaves work for ``parts`` workers."""
    platform = platform or jax.default_backend()
    budget = _WEIGHT_BYTES.get(platform, _ACCELERATOR_WEIGHT_BYTES)
    share = -(-n_resamples // (REPLICATE_BLOCK * parts))
    return min(bucket(share, 1), budget // (4 * REPLICATE_BLOCK * _tile_rows(kind)))


def chained_size(n: int) -> int:
    """Rows that ``n`` are padded to: a power of two up to one chain, then whole chains in few sizes."""
    return bucket(n) if n <= CHAIN_ROWS else -(-resident_size(n) // CHAIN_ROWS) * CHAIN_ROWS


def sums_block(
    key: UInt32[Rows, " 2"],
    first_block: Any,
    values: Float[Rows, "n c"],
    rows: UInt32[Rows, " n"],
    n: Any,
    *,
    n_blocks: int,
    kind: WeightKind,
    platform: str | None = None,
) -> Float[jax.Array, "b c"]:
    """Sums of weight times value over the first ``n`` rows, for replicates ``64 * first_block`` and the next.

    The inner step for a caller that holds one chain of rows at a time.

    Args:
        key: Two words.
        first_block: Which block of 64 replicates comes first.
        values: ``(rows, c)``, padded with zeros to a power of two, at most ``CHAIN_ROWS``.
        rows: ``(rows,)`` ids; rows of one id share their weights.
        n: Valid rows.
        n_blocks: Blocks of replicates.
        kind: What weights are drawn.
        platform: Where the values lie; by default JAX's default backend.

    Returns:
        ``(64 * n_blocks, c)`` in the dtype of the values.

    Peak memory beyond the operands, in bytes: ``327,680 n_blocks`` for Poisson weights of a tile of 1024 rows and
    their codes (131,072 for Bayesian ones, in tiles of 256), and 8 results.
    """
    platform = platform or jax.default_backend()
    settings: dict[str, Any] = {
        "n_blocks": n_blocks,
        "kind": kind,
        "tile_rows": min(_tile_rows(kind), values.shape[0]),
        "stored": platform == "cpu",
    }
    first_block = np.uint32(first_block) if isinstance(first_block, int) else first_block
    n = np.int32(n) if isinstance(n, int) else n
    if any(map(is_traced, (key, first_block, values, rows, n))):  # compiler options belong to whole programs
        as_array = jnp.asarray
        return xla.tile_sums(
            as_array(key), as_array(first_block), as_array(values), as_array(rows), as_array(n), **settings
        )
    return (_on_cpu if platform == "cpu" else _elsewhere)(key, first_block, values, rows, n, **settings)


def draws_block(
    key: UInt32[Rows, " 2"],
    first_replicate: Any,
    values: Float[Rows, "n c"],
    n: Any,
    first_row: Any,
    n_total: Any,
    *,
    n_replicates: int,
) -> Float[jax.Array, "b c"]:
    """Sums over those of ``n_total`` draws with replacement that hit the ``n`` rows here.

    Args:
        key: Two words.
        first_replicate: Number of the first replicate.
        values: ``(rows, c)``, padded to a power of two or to a multiple of ``CHAIN_ROWS``.
        n: Valid rows.
        first_row: Which of all rows comes first.
        n_total: Rows and draws altogether.
        n_replicates: Replicates; ``replicates_in_memory`` says how many.

    Peak memory beyond the operands: ``itemsize * n_replicates * rows`` bytes of counts.
    """
    numbers = [jnp.asarray(number, jnp.uint32) for number in (first_replicate, n, first_row, n_total)]
    replicate, *counts = numbers
    tile_rows = min(values.shape[0], _TILE_ROWS)
    return _draw_sums(key, replicate, values, *counts, n_replicates=n_replicates, tile_rows=tile_rows)


def replicates_in_memory(rows: int, n_resamples: int) -> int:
    """How many replicates ``draws_block`` may count at a time: a power of two, 16 MiB of counts, but at least two.

    (Products of a single row are added up one after the other, which rounds twice as much.)
    """
    return min(bucket(n_resamples, 2), max(2, bucket(_COUNT_BYTES // (4 * rows) + 1, 1) // 2))


def weighted_sums(
    key: UInt32[Rows, " 2"],
    values: Float[Rows, "n c"],
    *,
    n_resamples: int,
    weights: Weights = "poisson",
    first_replicate: int = 0,
    rows: UInt32[Rows, " n"] | None = None,
    first_row: int = 0,
    n_total: int | None = None,
    implementation: str | None = None,
) -> Any:
    """Sums of weight times value per column, and the total weight, for every bootstrap replicate.

    ``sum_i w_bi v_ij`` with weights of mean and variance 1 that are a function of (key, replicate, row id) alone: parts
    of the rows, in any layout, have sums that add up to those of the whole, and replicates may be computed in any
    grouping. Poisson weights are thresholded 16-bit words, double-or-nothing weights single bits, Bayesian weights
    exponential. Multinomial weights count ``n_total`` draws with replacement, each a function of (key, replicate,
    draw): every part of the rows goes through all draws.

    Sums err by a few roundings: of the result, and for Bayesian weights of the largest partial sum of 256 rows, so
    center the values.

    Args:
        key: Two uint32 words.
        values: ``(n, c)``, finite, float32 (float64 under ``jax.enable_x64``).
        n_resamples: Replicates.
        weights: "poisson", "double_or_nothing", "bayesian" or "multinomial".
        first_replicate: Number of the first one.
        rows: uint32 ids ``(n,)``; rows of one id share a weight. By default ``first_row`` and the next.
        first_row: Id of the first row.
        n_total: Rows of all parts together, for multinomial weights of a part.
        implementation: ``"xla"`` (default) or ``"reference"`` (memory ``8 * n_resamples * n`` bytes).

    Returns:
        ``(n_resamples, c + 1)`` with the total weight last: a NumPy array, added up in float64 over chains of 65,536
        rows, or an array in the dtype of the values while JAX is tracing.

    Peak memory beyond the operands and the result is that of ``sums_block`` plus one padded chain of rows; for
    multinomial weights that of ``draws_block`` with 16 MiB of counts, plus all rows, padded. Another number of rows in
    the same bucket compiles nothing.

    Raises:
        ValueError: shapes, dtypes or numbers do not fit.
        NotImplementedError: unknown ``implementation`` or ``weights``; multinomial weights by row id, or of a part
            of the rows without ``n_total``.

    Example:
        >>> values = np.float32([[1.0], [2.0]])
        >>> weighted_sums(np.uint32([0, 1]), values, n_resamples=3, weights="double_or_nothing").tolist()
        [[2.0, 2.0], [4.0, 2.0], [6.0, 4.0]]
    """
    n = _check(key, values, n_resamples, weights, first_replicate, rows, first_row)
    if weights == "multinomial":
        if rows is not None or (first_row != 0 and n_total is None):
            raise NotImplementedError("multinomial weights need n_total for a part of the rows, and take no rows.")
        n_total = n if n_total is None else n_total
        if not first_row + n <= n_total < 2**32:
            raise ValueError(f"n_total={n_total} must be at least first_row + n = {first_row + n} and below 2^32.")
    if rows is None:
        rows = (first_row + np.arange(n, dtype=np.int64)).astype(np.uint32)
    if implementation == "reference":
        return oracle.weighted_sums(key, values, n_resamples, weights, first_replicate, rows, first_row, n_total)
    if implementation not in (None, "xla"):
        raise NotImplementedError(f"implementation={implementation!r} does not exist; use 'xla' or 'reference'.")
    if weights == "multinomial":
        assert n_total is not None
        return _multinomial(key, values, n_resamples, first_replicate, first_row, n_total)
    traced = is_traced(values) or is_traced(key) or is_traced(rows)
    xp = jnp if traced else np
    first_block, skipped = divmod(first_replicate, REPLICATE_BLOCK)
    last_block = -(-(first_replicate + n_resamples) // REPLICATE_BLOCK)
    step = replicate_blocks(n_resamples + skipped, weights)
    sums: list[Any] = [0.0] * (-(-(last_block - first_block) // step))
    for start in range(0, n, CHAIN_ROWS):
        chain = values[start : start + CHAIN_ROWS]
        size = bucket(chain.shape[0])
        ones = xp.ones((chain.shape[0], 1), values.dtype)
        padded = pad_rows(xp.concatenate([chain, ones], axis=1), size)
        ids = pad_rows(rows[start : start + CHAIN_ROWS], size)
        for place in range(len(sums)):
            found = sums_block(
                key, first_block + place * step, padded, ids, chain.shape[0], n_blocks=step, kind=weights
            )
            sums[place] = sums[place] + (found if traced else np.asarray(found, np.float64))
    return xp.concatenate(sums)[skipped : skipped + n_resamples]


def _multinomial(key: Any, values: Any, n_resamples: int, first_replicate: int, first_row: int, n_total: int) -> Any:
    """All draws over all rows, for as many replicates at a time as counts fit into memory."""
    n, traced = values.shape[0], is_traced(values) or is_traced(key)
    xp = jnp if traced else np
    padded = jnp.asarray(pad_rows(xp.concatenate([values, xp.ones((n, 1), values.dtype)], axis=1), chained_size(n)))
    step = replicates_in_memory(padded.shape[0], n_resamples)
    parts = []
    for first in range(first_replicate, first_replicate + n_resamples, step):
        found = draws_block(key, first, padded, n, first_row, n_total, n_replicates=step)
        parts.append(found if traced else np.asarray(found, np.float64))
    return xp.concatenate(parts)[:n_resamples]


def _check(key: Any, values: Any, n_resamples: int, weights: str, first_replicate: int, rows: Any, first: int) -> int:
    """Refuse what does not fit together; the number of rows otherwise."""
    if weights not in get_args(Weights):
        raise NotImplementedError(f"weights={weights!r} are not known; use one of {get_args(Weights)}.")
    if key.shape != (2,) or key.dtype != np.uint32:
        raise ValueError(f"key has shape {key.shape} and dtype {key.dtype}; it must be two uint32 words.")
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"values has shape {values.shape}; it must be (n, c) and must not be empty.")
    if values.dtype not in (np.float32, np.float64):
        raise ValueError(f"values ({values.dtype}) must be float32 or float64.")
    if n_resamples < 1 or first_replicate < 0 or first_replicate + n_resamples > 2**26:
        raise ValueError(
            f"n_resamples={n_resamples} must be at least 1 and first_replicate={first_replicate} at least 0, "
            "together at most 2^26."
        )
    n = values.shape[0]
    if rows is not None and (rows.shape != (n,) or rows.dtype != np.uint32):
        raise ValueError(f"rows has shape {rows.shape} and dtype {rows.dtype}; it must be uint32 of shape ({n},).")
    if first < 0 or first + n > 2**32:
        raise ValueError(f"first_row={first} must be at least 0 and first_row + n at most 2^32.")
    return n
