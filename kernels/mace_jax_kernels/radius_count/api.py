"""``radius_count``: closed balls, pairs near the boundary measured again."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from mace_jax_kernels._precision import relative_slack
from mace_jax_kernels._tiling import TILE_BYTES, Rows, is_traced, pad_rows, padded_size, tile_sizes
from mace_jax_kernels.knn.api import check_operands
from mace_jax_kernels.radius_count import reference as oracle
from mace_jax_kernels.radius_count import xla

__all__ = ["RadiusCount", "radius_count"]

BORDERLINE = 64


class RadiusCount(NamedTuple):
    """int32 ``counts (n,)`` and ``certified (n,)``: every pair near the boundary was measured directly."""

    counts: Int[Array, " n"]
    certified: Bool[Array, " n"]


def radius_count(
    queries: Float[Rows, "n d"],
    reference: Float[Rows, "m d"],
    radius: ArrayLike,
    *,
    implementation: str | None = None,
    tile_bytes: int = TILE_BYTES,
) -> RadiusCount:
    """Number of reference rows with ``sqrt(sum((x - y)**2)) <= radius`` for each query.

    Matrix products decide pairs that are clear of the boundary; up to 64 pairs per query that are not are measured by
    direct difference. A row with more of them is not ``certified`` and its count is a lower bound for the caller to
    redo.

    Args:
        queries: ``(n, d)``, finite, float32 (float64 under ``jax.enable_x64``).
        reference: ``(m, d)``, same dtype.
        radius: Scalar or ``(n,)``, not negative; in the units of the features.
        implementation: ``"xla"`` (default) or ``"reference"`` (quadratic memory).
        tile_bytes: Budget of one distance tile.

    Peak memory as in ``knn`` with 64 candidates.

    Raises:
        ValueError: shapes or dtypes do not fit.
        NotImplementedError: unknown ``implementation``.

    Example:
        >>> import numpy as np
        >>> radius_count(np.float32([[0.0]]), np.float32([[3.0], [1.0], [-1.0]]), 1.0).counts.tolist()
        [2]
    """
    check_operands(queries, reference)
    (n, d), m = queries.shape, reference.shape[0]
    xp = jnp if is_traced(radius) else np
    radius = xp.broadcast_to(xp.asarray(radius, queries.dtype), (n,))
    if implementation == "reference":
        return RadiusCount(*map(jnp.asarray, oracle.radius_count(queries, reference, radius)))
    if implementation not in (None, "xla"):
        raise NotImplementedError(f"implementation={implementation!r} does not exist; use 'xla' or 'reference'.")
    query_rows, tile_rows, _ = tile_sizes(n, m, d, queries.dtype.itemsize, tile_bytes)
    padded_n, padded_m = padded_size(n, query_rows), padded_size(m, tile_rows)
    counts, certified = xla.count_padded(
        pad_rows(queries, padded_n),
        pad_rows(reference, padded_m),
        pad_rows(radius, padded_n),
        np.int32(n),
        np.int32(m),
        queries.dtype.type(relative_slack(d, queries.dtype)),
        borderline=BORDERLINE,
        query_rows=query_rows,
        tile_rows=tile_rows,
    )
    if is_traced(counts):
        return RadiusCount(counts[:n], certified[:n])
    return RadiusCount(jnp.asarray(np.asarray(counts)[:n]), jnp.asarray(np.asarray(certified)[:n]))
