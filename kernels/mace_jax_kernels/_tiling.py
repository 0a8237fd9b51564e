"""Tile and bucket sizes: plain integers worked out from shapes and a byte budget, before anything is traced."""

from __future__ import annotations

from typing import TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = [
    "MAX_QUERY_TILE",
    "TILE_BYTES",
    "Rows",
    "bucket",
    "candidate_bucket",
    "is_traced",
    "pad_rows",
    "padded_size",
    "resident_size",
    "tile_sizes",
]

Rows = jax.Array | np.ndarray

TILE_BYTES = 16 << 20
MAX_QUERY_TILE = 512
MAX_BLOCK_ROWS = 1 << 17
MAX_BLOCK_BYTES = 64 << 20


def bucket(n: int, minimum: int = 8) -> int:
    """Smallest power of two that is at least ``n`` and ``minimum``; sizes in one bucket share compiled code."""
    return max(minimum, 1 << max(0, int(n) - 1).bit_length())


def candidate_bucket(k: int) -> int:
    """How many neighbors to propose to prove ``k``: ``k + max(16, k // 2)``, rounded up to 2^i or 3 * 2^i."""
    need = k + max(16, k // 2)
    power = bucket(need)
    return 3 * power // 4 if 3 * power // 4 >= need else power


def tile_sizes(
    n_queries: int,
    n_reference: int,
    d: int,
    itemsize: int,
    tile_bytes: int = TILE_BYTES,
    most_queries: int = MAX_QUERY_TILE,
) -> tuple[int, int, int]:
    """``(query_rows, tile_rows, block_rows)``: all powers of two; ``block_rows`` is a multiple of ``tile_rows``.

    One distance tile holds ``query_rows * tile_rows * itemsize <= tile_bytes`` (down to 8 x 8), and one block of the
    reference at most 64 MiB and 131072 rows.
    """
    query_rows = min(bucket(n_queries), most_queries)
    while query_rows > 8 and query_rows * query_rows * itemsize > tile_bytes:
        query_rows //= 2
    tile_rows = max(8, bucket(tile_bytes // (itemsize * query_rows) + 1) // 2)
    block_limit = min(MAX_BLOCK_ROWS, max(8, bucket(MAX_BLOCK_BYTES // (itemsize * d) + 1) // 2))
    block_rows = min(block_limit, bucket(n_reference))
    return query_rows, min(tile_rows, block_rows), block_rows


def padded_size(n: int, tile: int) -> int:
    """A power-of-two number of tiles that holds ``n`` rows."""
    return tile * bucket(-(-n // tile), 1)


def resident_size(n: int) -> int:
    """``n`` rounded up to a power of two, and from 8192 on to a quarter of one: padding adds at most a fourth."""
    power = bucket(n)
    step = power // 8 if n > 8192 else power
    return -(-n // step) * step


def is_traced(array: object) -> TypeGuard[jax.Array]:
    """Whether JAX is tracing, so that there is no value to look at."""
    return isinstance(array, Tracer)


def pad_rows(array: Rows, rows: int, fill: float | int = 0.0) -> Rows:
    """``array`` with ``fill`` rows appended up to ``rows``; on the host unless JAX is tracing, so nothing compiles."""
    missing = rows - array.shape[0]
    if missing == 0:
        return array
    widths = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    pad = jnp.pad if is_traced(array) else np.pad
    return pad(array, widths, constant_values=fill)
