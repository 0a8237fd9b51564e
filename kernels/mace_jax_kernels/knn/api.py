"""``knn``: the k nearest reference rows of each query, proposed by matrix products and proven row by row."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mace_jax_kernels._precision import relative_slack
from mace_jax_kernels._tiling import TILE_BYTES, Rows, candidate_bucket, is_traced, pad_rows, padded_size, tile_sizes
from mace_jax_kernels.knn import reference as oracle
from mace_jax_kernels.knn import xla

__all__ = ["NearestNeighbors", "knn"]


class NearestNeighbors(NamedTuple):
    """Ascending ``squared_distances (n, k)``, int32 ``indices (n, k)``, and ``certified (n,)``: proven exact."""

    squared_distances: Float[Array, "n k"]
    indices: Int[Array, "n k"]
    certified: Bool[Array, " n"]


def knn(
    queries: Float[Rows, "n d"],
    reference: Float[Rows, "m d"],
    k: int,
    *,
    exclude_ids: Int[Rows, " n"] | None = None,
    implementation: str | None = None,
    tile_bytes: int = TILE_BYTES,
) -> NearestNeighbors:
    """The ``k`` nearest rows of ``reference`` for each query, ordered by (squared distance, id).

    Both inputs are finite float arrays of one dtype (float32, or float64 under ``jax.enable_x64``). Centered matrix
    products give a lower bound on every squared distance; the rows with the smallest bounds are measured again as
    ``sum((x - y)**2)``. A row is ``certified`` when the smallest bound left out exceeds its k-th measured distance, so
    that no other row can belong to the list; the caller redoes other rows. Sizes are padded to powers of two on the
    host, so another size in the same bucket reuses the compiled code.

    Args:
        queries: ``(n, d)``.
        reference: ``(m, d)`` with ``m < 2**31``.
        k: Number of neighbors, at most ``m``, or ``m - 1`` with ``exclude_ids``.
        exclude_ids: Per query one reference row to leave out, -1 for none.
        implementation: ``"xla"`` (default) or ``"reference"`` (quadratic memory).
        tile_bytes: Budget of one distance tile.

    Peak memory beyond the padded operands and their centered copies, in bytes: about ``3 * tile_bytes`` plus
    ``itemsize * query_rows * candidates * (d + 8)``.

    Raises:
        ValueError: shapes, dtypes or ``k`` do not fit.
        NotImplementedError: unknown ``implementation``.

    Example:
        >>> import numpy as np
        >>> found = knn(np.float32([[0.0]]), np.float32([[3.0], [1.0], [-1.0]]), 2)
        >>> found.indices.tolist(), found.squared_distances.tolist()
        ([[1, 2]], [[1.0, 1.0]])
    """
    check_operands(queries, reference)
    (n, d), m = queries.shape, reference.shape[0]
    if exclude_ids is None:
        exclude_ids = np.full(n, -1, np.int32)
        available = m
    else:
        exclude_ids = exclude_ids.astype(np.int32)
        available = m - 1
    if not 1 <= k <= available:
        raise ValueError(f"k={k!r} must be between 1 and {available}, the number of reference rows to choose from.")
    if implementation == "reference":
        return NearestNeighbors(*map(jnp.asarray, oracle.knn(queries, reference, k, exclude_ids)))
    if implementation not in (None, "xla"):
        raise NotImplementedError(f"implementation={implementation!r} does not exist; use 'xla' or 'reference'.")
    query_rows, tile_rows, _ = tile_sizes(n, m, d, queries.dtype.itemsize, tile_bytes)
    padded_n, padded_m = padded_size(n, query_rows), padded_size(m, tile_rows)
    found = xla.knn_padded(
        pad_rows(queries, padded_n),
        pad_rows(reference, padded_m),
        pad_rows(exclude_ids, padded_n, -1),
        np.int32(n),
        np.int32(m),
        queries.dtype.type(relative_slack(d, queries.dtype)),
        k=k,
        candidates=max(k, min(candidate_bucket(k), padded_m)),
        query_rows=query_rows,
        tile_rows=tile_rows,
    )
    if is_traced(found[0]):
        return NearestNeighbors(*(part[:n] for part in found))
    return NearestNeighbors(*(jnp.asarray(np.asarray(part)[:n]) for part in found))


def check_operands(queries: Rows, reference: Rows) -> None:
    """Refuse arrays the tiled kernels cannot take."""
    if queries.ndim != 2 or reference.ndim != 2 or queries.shape[1] != reference.shape[1]:
        raise ValueError(f"queries {queries.shape} and reference {reference.shape} must be (n, d) and (m, d).")
    if 0 in queries.shape or 0 in reference.shape:
        raise ValueError(f"queries {queries.shape} and reference {reference.shape} must not be empty.")
    if queries.dtype != reference.dtype or queries.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"queries ({queries.dtype}) and reference ({reference.dtype}) must be of one dtype, float32 or float64."
        )
    if queries.dtype == np.float64 and jnp.result_type(float) != np.float64:
        raise ValueError("float64 input needs the call inside `with jax.enable_x64(True):`.")
